# lsm-apparmor.sh, sourced by lsm.sh: AppArmor.

# profile NAME RULES [FLAGS]: loaded into the kernel, with all that a busybox needs allowed.
profile() {
    profiles+=("$1")
    printf 'profile %s flags=(attach_disconnected,mediate_deleted%s) {\n file,\n capability,\n network,\n signal,\n%s\n}\n' \
        "$1" "${3-}" "$2" | apparmor_parser --replace --skip-cache
}

label='cat /proc/self/attr/current; cat /hidden /other /open'
with() { echo ".process.apparmorProfile = \"$1\""; }

apparmor_cases() {
    profile vm-hidden 'deny /hidden rw,'
    profile vm-other 'deny /other rw,'
    profile vm-complain '' ,complain
    # What engines load: most is allowed, but not the switches of the host.
    profile vm-engine ' umount,
 deny mount,
 deny /proc/sys/kernel/core_pattern wl,
 deny /proc/sysrq-trigger rwklx,
 deny /sys/[^f]*/** wklx,
 signal (receive) peer=unconfined,
 signal (send, receive) peer=vm-engine,
 ptrace (trace, read, tracedby, readby) peer=vm-engine,'

    echo "# AppArmor: init"
    apparmor_init
    echo "# AppArmor: an ordinary user"
    apparmor_user
    echo "# AppArmor: exec"
    apparmor_exec
    echo "# AppArmor: refusals"
    apparmor_refused
}

# denied NAME LABEL FILES: what the last output says of the three files, and by whose order.
denied() {
    local name=$1 wanted=$2 file
    has "$name: the label" "^$wanted$" "$output"
    for file in hidden other open; do
        case " $3 " in
        *" $file "*) has "$name: /$file is refused" "$file.*Permission denied" "$output" ;;
        *) has "$name: /$file can be read" "^$file$" "$output" ;;
        esac
    done
}

# An ordinary user has no right over mounts, and no cgroup to give away.
apparmor_user() {
    local asked="$RUNTIME --root /run/user/1000/$tag"
    spec_options=--rootless bundle user "$(with vm-hidden) | $(sh_ "$label") | .linux.uidMappings[0].hostID = 1000 | .linux.gidMappings[0].hostID = 1000"
    output=$(su -l tester -c "$asked run --bundle $work/user user" 2>&1 </dev/null | tr -d '\0')
    denied "an ordinary user's container" 'vm-hidden \(enforce\)' hidden
    spec_options=--rootless bundle user "$(with vm-hidden) | .linux.uidMappings[0].hostID = 1000 | .linux.gidMappings[0].hostID = 1000"
    su -l tester -c "$asked run --detach --bundle $work/user user" >"$work/user.log" 2>&1 </dev/null || cat "$work/user.log"
    output=$(su -l tester -c "$asked exec user sh -c '$label'" 2>&1 </dev/null | tr -d '\0')
    denied "exec into an ordinary user's container" 'vm-hidden \(enforce\)' hidden
    su -l tester -c "$asked delete --force user" >/dev/null 2>&1
}

apparmor_init() {
    local pid
    says plain "$(with vm-hidden) | $(sh_ "$label")"
    denied "a profile" 'vm-hidden \(enforce\)' hidden
    says stack "$(with vm-hidden//\&vm-other) | $(sh_ "$label")"
    denied "a stack of two profiles" 'vm-hidden(//&vm-other| \(enforce\)//&vm-other) \(enforce\)|vm-other//&vm-hidden \(enforce\)' "hidden other"
    says unconfined "$(with unconfined) | $(sh_ "$label")"
    denied "unconfined" unconfined ""
    says empty "$(with "") | $(sh_ "$label")"
    denied "an empty profile name" unconfined ""
    says complain "$(with vm-complain) | $(sh_ "$label")"
    denied "a profile that complains" 'vm-complain \(complain\)' ""
    says nnp "$(with vm-hidden) | .process.noNewPrivileges = true | $(sh_ "$label; grep NoNewPrivs /proc/self/status")"
    denied "no_new_privs" 'vm-hidden \(enforce\)' hidden
    has "no_new_privs: set" '^NoNewPrivs:.*1$' "$output"
    says stacknnp "$(with vm-hidden//\&vm-other) | .process.noNewPrivileges = true | $(sh_ "$label")"
    denied "a stack and no_new_privs" 'vm-(hidden|other)//&vm-(hidden|other) \(enforce\)' "hidden other"
    says mapped "$(with vm-hidden) | $userns | $(sh_ "$label")"
    denied "a user namespace" 'vm-hidden \(enforce\)' hidden
    says keeper "$(with vm-hidden) | .process.user = {uid: 1000, gid: 1000} | del(.process.capabilities) | $(sh_ "$label; id -u")"
    denied "an ordinary user" 'vm-hidden \(enforce\)' hidden
    has "an ordinary user: the id" '^1000$' "$output"
    says first "$(with vm-hidden) | .process.noNewPrivileges = false | .linux.seccomp = $filter | $(sh_ "$label; grep Seccomp: /proc/self/status")"
    denied "a filter loaded before the identity" 'vm-hidden \(enforce\)' hidden
    has "a filter loaded before the identity: its mode" '^Seccomp:.*2$' "$output"
    says last "$(with vm-hidden) | .process.noNewPrivileges = true | .linux.seccomp = $(<"$top/integration/seccomp/profiles/docker.json") | $(sh_ "$label; grep Seccomp: /proc/self/status")"
    denied "a filter loaded last" 'vm-hidden \(enforce\)' hidden
    has "a filter loaded last: its mode" '^Seccomp:.*2$' "$output"
    says all "$(with vm-hidden) | .process.noNewPrivileges = true | .linux.seccomp = $filter | $userns | .process.user = {uid: 1000, gid: 1000} | $(sh_ "$label")"
    denied "a user namespace, a user, a filter and no_new_privs" 'vm-hidden \(enforce\)' hidden
    for nnp in true false; do
        goes "mute-$nnp" "$(with vm-hidden) | .process.noNewPrivileges = $nnp | .linux.seccomp = $no_write"
        same "a filter that denies open and write, noNewPrivileges $nnp" "0 vm-hidden (enforce)" \
            "$status $(cat "/proc/$(pid_of "mute-$nnp")/attr/current" 2>&1)"
        stop "mute-$nnp"
    done
    goes noproc "$(with vm-hidden) | del(.mounts) | del(.linux.maskedPaths, .linux.readonlyPaths)"
    same "no /proc in the container" "0 vm-hidden (enforce)" "$status $(cat "/proc/$(pid_of noproc)/attr/current" 2>&1)"
    stop noproc
    goes hostpid "$(with vm-hidden) | .linux.namespaces |= map(select(.type != \"pid\"))"
    same "the host's pid namespace" "0 vm-hidden (enforce)" "$status $(cat "/proc/$(pid_of hostpid)/attr/current" 2>&1)"
    stop hostpid
    says few "$(with vm-hidden) | .process.rlimits = [{type: \"RLIMIT_NOFILE\", soft: 24, hard: 24}] | $(sh_ "$label")"
    denied "few descriptors" 'vm-hidden \(enforce\)' hidden
    says engine "$(with vm-engine) | $powers | del(.linux.maskedPaths, .linux.readonlyPaths) | $(sh_ '
        cat /proc/self/attr/current; mount -t tmpfs none /tmp; cat /hidden
        echo x >/proc/sysrq-trigger; echo core >/proc/sys/kernel/core_pattern; sleep 100 & kill $! && echo killed')"
    has "a profile like those of engines: the label" '^vm-engine \(enforce\)$' "$output"
    has "a profile like those of engines: mount is refused to CAP_SYS_ADMIN" 'mount: .*(denied|permitted)' "$output"
    has "a profile like those of engines: sysrq-trigger is refused" 'sysrq-trigger: Permission denied' "$output"
    has "a profile like those of engines: core_pattern is refused" 'core_pattern: Permission denied' "$output"
    has "a profile like those of engines: files are not" '^hidden$' "$output"
    has "a profile like those of engines: signals to its own are not" '^killed$' "$output"
    if [ -e /proc/sys/vm/memfd_noexec ]; then
        # What runs in a new pid namespace may only be stricter than its parent: one for the case.
        output=$(unshare --pid --fork --mount-proc sh -c 'echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"' sh \
            "$RUNTIME" --root "$work/state" run --bundle "$work/plain" nomemfd 2>&1 </dev/null | tr -d '\0')
        denied "no executable memfds" 'vm-hidden \(enforce\)' hidden
    else
        skip "no executable memfds: the label" "vm.memfd_noexec needs Linux 6.3"
    fi
}

apparmor_exec() {
    goes joined "$(with vm-hidden)"
    same "exec: the container" 0 "$status"
    joins joined -- sh -c "$label"
    denied "exec: the container's profile" 'vm-hidden \(enforce\)' hidden
    joins joined --apparmor vm-other -- sh -c "$label"
    denied "exec --apparmor" 'vm-other \(enforce\)' other
    joins joined --apparmor unconfined -- sh -c "$label"
    denied "exec --apparmor unconfined" unconfined ""
    joins joined --apparmor 'vm-hidden//&vm-other' -- sh -c "$label"
    denied "exec --apparmor of a stack" 'vm-(hidden|other)//&vm-(hidden|other) \(enforce\)' "hidden other"
    joins joined --user 1000:1000 --no-new-privs -- sh -c "$label"
    denied "exec --user --no-new-privs" 'vm-hidden \(enforce\)' hidden
    jq "$(with vm-other) | .process | .args = [\"sh\", \"-c\", \"$label\"]" "$work/joined/config.json" >"$work/process.json"
    status=0
    output=$(rt exec --process "$work/process.json" joined 2>&1 </dev/null) || status=$?
    denied "exec --process" 'vm-other \(enforce\)' other
    jq '.process | del(.apparmorProfile) | .args = ["sh", "-c", "'"$label"'"]' "$work/joined/config.json" >"$work/process.json"
    output=$(rt exec --process "$work/process.json" joined 2>&1 </dev/null)
    denied "exec --process without a profile" 'vm-hidden \(enforce\)' hidden
    joins joined --apparmor vm-missing -- true
    has "exec --apparmor of an unknown profile: fails" '^[1-9]' "$status $output"
    same "exec --apparmor of an unknown profile: one line" 1 "$(wc -l <<<"$output")"
    ! ours || has "exec --apparmor of an unknown profile: the words" \
        'set the AppArmor profile vm-missing: no such file or directory \(--apparmor, write\); hint: the kernel has no profile' "$output"
    same "exec --apparmor of an unknown profile: the container runs on" running "$(rt state joined | jq -r .status)"
    same "exec --apparmor of an unknown profile: no process is left" 1 "$(wc -l <"$(cgroup_dir joined)/cgroup.procs")"
    stop joined
    goes exposed "$(with vm-hidden) | $powers"
    joins exposed -- sh -c "$label"
    denied "exec into a container that may trace" 'vm-hidden \(enforce\)' hidden
    stop exposed
    goes inside "$(with vm-hidden) | $userns | .process.noNewPrivileges = true | .linux.seccomp = $filter"
    joins inside -- sh -c "$label"
    denied "exec into a user namespace with a filter" 'vm-hidden \(enforce\)' hidden
    stop inside
    ids+=(waiting)
    bundle waiting "$(with vm-hidden)"
    rt create --bundle "$work/waiting" waiting >"$work/start.log" 2>&1 </dev/null
    joins waiting -- sh -c "$label"
    denied "exec into a created container" 'vm-hidden \(enforce\)' hidden
    rt start waiting
    same "start after create" "vm-hidden (enforce)" "$(cat "/proc/$(pid_of waiting)/attr/current")"
    stop waiting
}

apparmor_refused() {
    local what change
    for what in plain userns nnp; do
        change=$(with vm-missing)
        [ $what != userns ] || change+=" | $userns"
        [ $what != nnp ] || change+=" | .process.noNewPrivileges = true | .linux.seccomp = $filter"
        ids+=("gone-$what")
        bundle "gone-$what" "$change"
        status=0
        output=$(rt create --bundle "$work/gone-$what" "gone-$what" 2>&1 </dev/null) || status=$?
        refused "create with a profile that the kernel has not, $what" 'no such file or directory|No such file or directory' "gone-$what"
    done
    ! ours || has "create with a profile that the kernel has not: the words" \
        'set the AppArmor profile vm-missing: no such file or directory \(process\.apparmorProfile, write\); hint: the kernel has no profile' "$output"
    says odd '.process.apparmorProfile = "no such\nprofile"'
    refused "a profile name of two lines" . odd
}

apparmor_off() {
    says lost "$(with vm-hidden)"
    refused "a profile without AppArmor" 'pparmor|pp[Aa]rmor' lost
    ! ours || has "a profile without AppArmor: the words" \
        'process\.apparmorProfile: profile vm-hidden cannot be applied: AppArmor is not enabled on this host' "$output"
    says loose "$(with unconfined)"
    same "unconfined without AppArmor" 0 "$status"
    goes bare .
    joins bare --apparmor vm-hidden -- true
    has "exec --apparmor without AppArmor" '^[1-9]' "$status $output"
    stop bare
}
