# security.sh, sourced: capabilities, seccomp, no_new_privs, users, sysctls, privileged containers.

caps() { run "$@" $image sed -n 's/^CapEff:.//p' /proc/self/status 2>&1; }
same "docker run: the fourteen default capabilities" 00000000a80425fb "$(caps)"
same "docker run --cap-drop ALL" 0000000000000000 "$(caps --cap-drop ALL)"
same "docker run --cap-drop ALL --cap-add: one" 0000000000000400 "$(caps --cap-drop ALL --cap-add NET_BIND_SERVICE)"
same "docker run --cap-add: one more" 00000000aa0425fb "$(caps --cap-add CAP_SYS_TIME)"
same "docker run --cap-drop: one less" 00000000a80425fa "$(caps --cap-drop chown)"
has "docker run --cap-drop CHOWN: chown is refused" 'not permitted' "$(run --cap-drop CHOWN $image chown 5 /tmp 2>&1)"
has "docker run --cap-add ALL: at least what the host may give" '^[0-9a-f]*3f[0-9a-f]+$' "$(caps --cap-add ALL)"
has "docker run --user: no capabilities" '^0+$' "$(caps --user keeper)"

# seccomp: a profile that denies one call with an errno of its own, the daemon's default, and none.
cat >"$work/profile.json" <<'JSON'
{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [ { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 } ] }
JSON
has "docker run seccomp=FILE: the denied call and its errno" 'No space left on device' "$(run --security-opt "seccomp=$work/profile.json" $image mkdir /tmp/x 2>&1)"
same "docker run seccomp=FILE: other calls pass" ok "$(run --security-opt "seccomp=$work/profile.json" $image sh -c 'touch /tmp/x && echo ok' 2>&1)"
sed -i 's/"SCMP_ACT_ERRNO", "errnoRet": 28/"SCMP_ACT_KILL_PROCESS"/' "$work/profile.json"
run --security-opt "seccomp=$work/profile.json" $image sh -c 'mkdir /tmp/x; echo status $?' >"$work/killed" 2>&1
has "docker run seccomp=FILE: a call that kills" '^status 159$' "$(cat "$work/killed")"
has "docker run: the default profile refuses a user namespace" 'Operation not permitted' "$(run $image unshare -U true 2>&1)"
same "docker run seccomp=unconfined: a user namespace is made" made "$(run --security-opt seccomp=unconfined $image sh -c 'unshare -U true && echo made' 2>&1)"
same "docker run: a filter" 2 "$(run $image sed -n 's/^Seccomp:.//p' /proc/self/status)"
same "docker run seccomp=unconfined: no filter" 0 "$(run --security-opt seccomp=unconfined $image sed -n 's/^Seccomp:.//p' /proc/self/status)"
same "docker run no-new-privileges: set" 1 "$(run --security-opt no-new-privileges $image sed -n 's/^NoNewPrivs:.//p' /proc/self/status)"
same "docker run: not set otherwise" 0 "$(run $image sed -n 's/^NoNewPrivs:.//p' /proc/self/status)"

who() { run "$@" $image sh -c 'echo $(id -u):$(id -g) $(id -G) $HOME' 2>&1; }
same "docker run --user: by name" "1000:1000 1000 2000 /home" "$(who --user keeper)"
same "docker run --user: by number that has a name" "1000:1000 1000 2000 /home" "$(who --user 1000)"
same "docker run --user: unknown numbers" "4444:5555 5555 /" "$(who --user 4444:5555)"
same "docker run --user: name and group" "1000:2000 2000 /home" "$(who --user keeper:rope)"
same "docker run --group-add: by name and number" "0:0 0 2000 7777 /root" "$(who --group-add rope --group-add 7777)"
has "docker run --user: stdout can be written" '^x$' "$(run --user keeper $image sh -c 'echo x >/dev/stdout' 2>&1)"
has "docker run -t --user: the terminal belongs to the user" '^1000$' "$(run -t --user keeper $image sh -c 'stat -c %u $(tty)' | tr -d '\r')"

same "docker run --sysctl: a value" 4242 "$(run --sysctl kernel.msgmax=4242 $image cat /proc/sys/kernel/msgmax)"
same "docker run --sysctl: of the network" 1 "$(run --sysctl net.ipv4.ip_forward=1 $image cat /proc/sys/net/ipv4/ip_forward)"
same "docker run: ports below 1024 are open to all" 0 "$(run $image cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"

output=$(run --privileged $image sh -c '
    cat /proc/self/status; mount -t tmpfs none /tmp && echo mounted; grep " /sys " /proc/mounts
    echo 0 >/proc/sys/net/ipv4/ip_forward && echo sysctl; mkdir /sys/fs/cgroup/pids/x && rmdir /sys/fs/cgroup/pids/x && echo cgroup' 2>&1)
has "docker run --privileged: it runs" '^mounted$' "$output"
has "docker run --privileged: no filter" '^Seccomp:.0$' "$output"
has "docker run --privileged: /sys can be written" '^sysfs /sys sysfs rw' "$output"
has "docker run --privileged: /proc/sys can be written" '^sysctl$' "$output"
if ! v2; then has "docker run --privileged: its cgroup can be written" '^cgroup$' "$output"; fi
same "docker run --privileged: nothing is masked" 1 "$(run --privileged $image grep -c ' /proc' /proc/mounts 2>&1)"
