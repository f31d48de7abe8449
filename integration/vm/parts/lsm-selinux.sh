# lsm-selinux.sh, sourced by lsm.sh: SELinux with Debian's policy and the module guest/vmbox.cil.
box=system_u:system_r:vmbox_t
files=system_u:object_r:vmbox_file_t:s0
context='exec 2>&1; tr -d "\0" </proc/self/attr/current; echo'
as() { echo ".process.selinuxLabel = \"$1\""; }
mounted() { echo ".linux.mountLabel = \"$1\""; }
label_of() { tr -d '\0' <"/proc/$(pid_of "$1")/attr/current"; }

# valid CONTEXT: to the policy that is loaded.
valid() { printf %s "$1" 2>/dev/null >/sys/fs/selinux/context; }

selinux_cases() {
    if ! valid "$box:s0"; then
        load_policy -i 2>/dev/null
        valid "$box:s0" || { not_ok "SELinux: the policy with its module is loaded" "$(dmesg | grep -i selinux | tail -n 5)"; return; }
    fi
    ok "SELinux: the policy with its module is loaded"
    echo "# SELinux $(getenforce), own label $(id -Z)"
    echo "# SELinux: init"
    selinux_init
    echo "# SELinux: exec"
    selinux_exec
    echo "# SELinux: mounts"
    selinux_mounts
    echo "# SELinux: keyring"
    selinux_keys
    echo "# SELinux: refusals"
    selinux_refused
    echo "# SELinux: enforcing"
    selinux_enforcing
}

selinux_init() {
    local nnp
    says plain "$(as $box:s0) | $(sh_ "$context")"
    same "a label" "0 $box:s0" "$status $output"
    says cats "$(as $box:s0:c1,c2) | $(sh_ "$context")"
    same "a label with categories" "0 $box:s0:c1,c2" "$status $output"
    says empty "$(as "") | $(sh_ "$context")"
    same "an empty label: the runtime's own" "0 $(id -Z)" "$status $output"
    says nnp "$(as $box:s0) | .process.noNewPrivileges = true | $(sh_ "$context")"
    same "no_new_privs" "0 $box:s0" "$status $output"
    says mapped "$(as $box:s0) | $userns | $(sh_ "$context")"
    same "a user namespace" "0 $box:s0" "$status $output"
    says keeper "$(as $box:s0) | .process.user = {uid: 1000, gid: 1000} | del(.process.capabilities) | $(sh_ "$context")"
    same "an ordinary user" "0 $box:s0" "$status $output"
    for nnp in true false; do
        goes "mute-$nnp" "$(as $box:s0) | .process.noNewPrivileges = $nnp | .linux.seccomp = $no_write"
        same "a filter that denies open and write, noNewPrivileges $nnp" "0 $box:s0" "$status $(label_of "mute-$nnp" 2>&1)"
        stop "mute-$nnp"
    done
    goes noproc "$(as $box:s0) | del(.mounts) | del(.linux.maskedPaths, .linux.readonlyPaths)"
    same "no /proc in the container" "0 $box:s0" "$status $(label_of noproc 2>&1)"
    stop noproc
}

selinux_exec() {
    goes joined "$(as $box:s0:c1,c2)"
    joins joined -- sh -c "$context"
    same "exec: the container's label" "0 $box:s0:c1,c2" "$status $output"
    jq "$(as $box:s0:c5) | .process | .args = $(jq -nc --arg script "$context" '["sh", "-c", $script]')" \
        "$work/joined/config.json" >"$work/process.json"
    output=$(rt exec --process "$work/process.json" joined 2>&1 </dev/null)
    same "exec --process" "$box:s0:c5" "$output"
    joins joined --process-label $box:s0:c3 -- sh -c "$context"
    same "exec --process-label" "0 $box:s0:c3" "$status $output"
    joins joined --process-label $box:s0:c3 --user 1000:1000 --no-new-privs -- sh -c "$context"
    same "exec --process-label --user --no-new-privs" "0 $box:s0:c3" "$status $output"
    joins joined --process-label no:such:label:s0 -- true
    has "exec --process-label that the policy does not know: fails" '^[1-9]' "$status $output"
    same "exec --process-label that the policy does not know: one line" 1 "$(wc -l <<<"$output")"
    ! ours || has "exec --process-label that the policy does not know: the words" \
        '^exec failed: --process-label: label no:such:label:s0 is not valid in the loaded SELinux policy$' "$output"
    stop joined
    goes inside "$(as $box:s0:c1) | $userns"
    joins inside -- sh -c "$context"
    same "exec into a user namespace" "0 $box:s0:c1" "$status $output"
    stop inside
}

# labels NAME ID LABEL PATH...: of files in a running container.
labels() {
    local name=$1 id=$2 label=$3 path
    for path in "${@:4}"; do
        same "$name: $path" "$label" "$(stat -c %C "/proc/$(pid_of "$id")/root$path" 2>&1)"
    done
}

selinux_mounts() {
    local label=$files:c1,c2 more
    more='.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["size=64k", "mode=1777"]}]'
    goes mounts "$(mounted $label) | $more"
    same "mountLabel: starts" "0 " "$status $output"
    labels "mountLabel" mounts $label /dev /dev/shm /dev/pts /tmp /dev/mqueue /sys/firmware
    has "mountLabel: context= in the mount table" " /tmp .*context=\"?$label" "$(cat "/proc/$(pid_of mounts)/mountinfo")"
    rt exec mounts touch /tmp/new /dev/mqueue/new >/dev/null 2>&1 </dev/null
    labels "mountLabel, a new file" mounts $label /tmp/new
    lacks "mountLabel: proc and sysfs keep the policy's" vmbox \
        "$(stat -c %C "/proc/$(pid_of mounts)/root/proc" "/proc/$(pid_of mounts)/root/sys")"
    stop mounts
    goes mapped-mounts "$(mounted $label) | $userns | $more"
    same "mountLabel in a user namespace: starts" "0 " "$status $output"
    labels "mountLabel in a user namespace" mapped-mounts $label /dev /dev/shm /dev/pts /tmp /dev/mqueue
    stop mapped-mounts
    goes nolabel .
    lacks "no mountLabel: nothing is labelled" context= "$(cat "/proc/$(pid_of nolabel)/mountinfo")"
    stop nolabel
    mkdir -p "$work/layers"/{lower,upper,work}
    says overlay "$(mounted $label) | .mounts += [{destination: \"/mnt\", type: \"overlay\", source: \"overlay\",
        options: [\"lowerdir=$work/layers/lower\", \"upperdir=$work/layers/upper\", \"workdir=$work/layers/work\"]}] |
        $(sh_ 'grep " /mnt " /proc/self/mounts')"
    has "mountLabel: overlay" "context=\"?$label" "$output"
}

# keyrings ID: the serial numbers of those that are named after a container; crun has no prefix.
keyrings() { awk -v name="^(_ses[.])?$1:" '$8 == "keyring" && $9 ~ name { print $1 }' /proc/keys; }

# key_label ID: the label of a container's session keyring (keyctl(2), KEYCTL_GET_SECURITY).
key_label() {
    local key
    key=$(keyrings "$1" | tail -n 1)
    python3 - "$key" <<-'PY'
	import ctypes, sys
	text = ctypes.create_string_buffer(256)
	ctypes.CDLL(None).syscall(250, 17, int(sys.argv[1], 16), text, 256)
	print(text.value.decode())
	PY
}

selinux_keys() {
    goes keys "$(as $box:s0:c1)"
    same "the label of the session keyring" $box:s0:c1 "$(key_label keys 2>&1)"
    rt exec --detach --process-label $box:s0:c3 keys sleep 100 >/dev/null 2>&1 </dev/null
    same "exec --process-label joins the same keyring" "0 1" "$? $(keyrings keys | wc -l)"
    stop keys
    goes nokeys .
    same "no label: the keyring has the runtime's" "$(id -Z)" "$(key_label nokeys 2>&1)"
    stop nokeys
}

selinux_refused() {
    says wrong "$(as no:such:label:s0)"
    refused "a label that the policy does not know" '[iI]nvalid argument|not valid' wrong
    ! ours || has "a label that the policy does not know: the words" 'process\.selinuxLabel: label no:such:label:s0 is not valid in the loaded SELinux policy$' "$output"
    says wrongcats "$(as $box:s0:c99999)"
    refused "a category that the policy does not know" '[iI]nvalid argument|not valid' wrongcats
    says wrongmount "$(mounted no:such:label:s0)"
    refused "a mountLabel that the policy does not know" '[iI]nvalid argument|not valid' wrongmount
    ! ours || has "a mountLabel that the policy does not know: the words" 'linux\.mountLabel: label no:such:label:s0 is not valid in the loaded SELinux policy$' "$output"
}

selinux_enforcing() {
    chcon -R $files "$work/rootfs" && chcon system_u:object_r:vmbox_hidden_t:s0 "$work/rootfs/hidden"
    enforced=yes
    says lax "$(as $box:s0) | $(mounted $files) | $(sh_ 'cat /hidden /open')"
    same "permissive: nothing is refused" $'0 hidden\nopen' "$status $output"
    setenforce 1
    says strict "$(as $box:s0) | $(mounted $files) | $(sh_ "$context; cat /hidden /open; echo x >/dev/shm/new && echo written")"
    has "enforcing: the label" "^$box:s0$" "$output"
    has "enforcing: a file of another type is refused" 'hidden.*Permission denied' "$output"
    has "enforcing: its own can be read" '^open$' "$output"
    has "enforcing: its own tmpfs can be written" '^written$' "$output"
    says tight "$(as $box:s0) | $(mounted $files) | .process.noNewPrivileges = true | .linux.seccomp = $filter | $userns | $(sh_ "$context; cat /hidden")"
    has "enforcing, a user namespace, a filter and no_new_privs: the label" "^$box:s0$" "$output"
    has "enforcing, a user namespace, a filter and no_new_privs: refused" 'hidden.*Permission denied' "$output"
    goes held "$(as $box:s0) | $(mounted $files)"
    joins held -- sh -c "$context; cat /hidden /open"
    has "enforcing, exec: the label" "^$box:s0$" "$output"
    has "enforcing, exec: refused" 'hidden.*Permission denied' "$output"
    stop held
    says never "$(as system_u:system_r:vmbox_never_t:s0)"
    refused "enforcing: a domain that nobody may enter" '[pP]ermi(ssion denied|tted)' never
    setenforce 0
    enforced=
}

selinux_off() {
    says unlabelled "$(as $box:s0)"
    refused "a label without SELinux" 'SELinux|selinux' unlabelled
    ! ours || has "a label without SELinux: the words" \
        "process\.selinuxLabel: label $box:s0 cannot be applied: SELinux is not enabled on this host" "$output"
    if ours; then
        says unmounted "$(mounted $files)"
        refused "a mountLabel without SELinux" 'linux\.mountLabel: label .* SELinux is not enabled on this host' unmounted
    fi
    goes bare2 .
    joins bare2 --process-label $box:s0 -- true
    has "exec --process-label without SELinux" '^[1-9]' "$status $output"
    stop bare2
}
