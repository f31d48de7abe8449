# What a container may do: users, groups, capabilities, filters, masks, devices.
facts() { sed -n "s/^$1:.//p" <<<"$output" | head -n 1; }
status='cat /proc/self/status; id; stat -c "mode %a" /tmp/made; umask; pwd; env'

output=$(run --rm --user 1000:2000 --group-add 77 --umask 027 -w /tmp --cap-add NET_ADMIN --cap-drop CHOWN --env-host --unsetenv HOSTNAME \
    --tz Asia/Tokyo -e ONE=1 --annotation run.oci.systemd.subgroup= \
    --passwd-entry 'unused:x:4321:0::/:/bin/sh' $image sh -c "touch made; $status" 2>&1)
has "podman run --user: the ids" '^uid=1000\(keeper\) gid=2000\(rope\)' "$output"
has "podman run --group-add: the group" 'groups=.*77' "$output"
has "podman run --umask: new files" '^mode 640$' "$output"
has "podman run --umask: the mask" '^0027$' "$output"
has "podman run -w: the directory" '^/tmp$' "$output"
has "podman run --env-host: the host's environment" "^XDG_CONFIG_HOME=$work/config" "$output"
has "podman run --user: no effective capability but those added" '^0000000000001000$' "$(facts CapEff)"
[ $((0x$(facts CapBnd) & 1)) = 0 ] && [ $((0x$(facts CapBnd) & 0x1000)) != 0 ]
same "podman run --cap-drop, --cap-add: the bounding set" 0 $?
same "podman run: a filter is loaded" 2 "$(facts Seccomp)"
same "podman run: no_new_privs is off" 0 "$(facts NoNewPrivs)"
same "podman run --cap-drop all: none is left" "0000000000000000 0000000000000000" \
    "$(output=$(run --rm --cap-drop all $image cat /proc/self/status); echo "$(facts CapEff) $(facts CapBnd)")"
output=$(run --rm --security-opt seccomp=unconfined --security-opt no-new-privileges --security-opt mask=/etc/group:/root \
    --security-opt unmask=/proc/kcore:/sys/firmware --personality LINUX32 $image \
    sh -c 'cat /proc/self/status; wc -c </etc/group; touch /root/x 2>/dev/null; echo masked $?; grep -cE " /(proc/kcore|sys/firmware) " /proc/self/mountinfo; uname -m' 2>&1)
same "podman run --security-opt seccomp=unconfined: no filter" 0 "$(facts Seccomp)"
same "podman run --security-opt no-new-privileges: it is set" 1 "$(facts NoNewPrivs)"
has "podman run --security-opt mask: a file is empty" '^0$' "$output"
has "podman run --security-opt mask: a directory is read-only" '^masked 1$' "$output"
has "podman run --personality LINUX32: the machine" '^i686$' "$output"
same "podman run --security-opt unmask: not masked" 0 "$(run --rm --security-opt unmask=ALL $image grep -cE ' /(proc/kcore|proc/keys|sys/firmware) ' /proc/self/mountinfo)"
cat >"$work/deny.json" <<'JSON'
{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
 "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
              {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
JSON
output=$(run --rm --security-opt "seccomp=$work/deny.json" $image sh -c 'mkdir /x; (chmod 700 /tmp); echo status $?' 2>&1)
has "podman run --security-opt seccomp=FILE: the errno" 'not supported' "$output"
has "podman run --security-opt seccomp=FILE: the kill" '^status 159$' "$output"
same "podman run --annotation run.oci.keep_original_groups: the caller's groups" "1000 55 66" \
    "$(setpriv --groups 55,66 /usr/bin/podman --events-backend file run --cgroup-parent "/$tag" --rm --user 1000:1000 \
    --annotation run.oci.keep_original_groups=1 $image sh -c 'echo $(id -G)' 2>&1)"

output=$(run --rm --device /dev/tty0:/dev/seat:r --device /dev/loop-control --device-cgroup-rule 'c 10:183 r' --cap-add MKNOD $image sh -c '
    open() { (: <"$1") 2>/tmp/err && echo yes || sed "s/.*: //" /tmp/err; }
    stat -c "%t:%T" /dev/seat
    (: >/dev/seat) 2>/dev/null && echo seat written || echo seat not written
    mknod /tmp/hwrng c 10 183; echo rule $(open /tmp/hwrng)
    echo added $(open /dev/loop-control)
    mknod /tmp/loop b 7 0; echo other $(open /tmp/loop)
    ls /dev | xargs' 2>&1)
has "podman run --device: under another name" '^4:0$' "$output"
has "podman run --device :r: it cannot be written" '^seat not written$' "$output"
has "podman run --device: it can be opened" '^added yes$' "$output"
lacks "podman run --device-cgroup-rule: one's own node works" '^rule Operation not permitted$' "$output"
has "podman run: other devices do not" '^other Operation not permitted$' "$output"
has "podman run: /dev" '^(core )?fd full loop-control mqueue null ptmx pts random seat shm stderr stdin stdout tty urandom zero$' "$output"

output=$(run --rm --privileged --ulimit nofile=512:1024 --ulimit nproc=512:1024 $image sh -c 'cat /proc/self/status; ls /dev | wc -l; mount -t tmpfs none /tmp && echo mounted; echo 1 >/proc/sys/vm/drop_caches && echo sysctl; hostname changed && hostname' 2>&1)
caps=$(sed -n 's/^CapBnd:.//p' /proc/self/status)
same "podman run --privileged: what the caller has" "$caps" "$(facts CapEff)"
same "podman run --privileged: no filter" 0 "$(facts Seccomp)"
has "podman run --privileged: it may mount" '^mounted$' "$output"
has "podman run --privileged: /proc/sys can be written" '^sysctl$' "$output"
[ "$(grep -E '^[0-9]+$' <<<"$output" | tail -n 1)" -gt 15 ] 2>/dev/null
same "podman run --privileged: the host's devices" 0 $?
same "podman run --sysctl: of the network" 1 "$(run --rm --sysctl net.ipv4.ip_forward=1 $image cat /proc/sys/net/ipv4/ip_forward 2>&1)"
same "podman run --sysctl: of IPC, with a dot or a slash" "77 99" \
    "$(run --rm --sysctl kernel.shmmni=77 --sysctl fs.mqueue.msg_max=99 $image cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max 2>&1 | xargs)"
same "podman run --init: pid 1 is the init" "1 podman-init" "$(run --rm --init $image ps -o pid,comm 2>&1 | awk '$1 == 1 {print $1, $2}')"
output=$(run --rm --systemd=always $image sh -c 'cat /proc/self/mountinfo; touch /run/x /run/lock/y /tmp/z && echo writable; echo $container' 2>&1)
has "podman run --systemd=always: tmpfs on /run" ' /run .*tmpfs' "$output"
has "podman run --systemd=always: they can be written" '^writable$' "$output"
has "podman run --systemd=always: \$container" '^(oci|podman)$' "$output"
has "podman run --systemd=always: its cgroup can be written" ' /sys/fs/cgroup/systemd rw' "$output"
