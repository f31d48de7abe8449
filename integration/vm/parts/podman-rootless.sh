# Podman without root, with $RUNTIME below it: `tester` in a login session, systemd's cgroups and Podman's own, slirp4netns.
# On cgroup v1 Podman leaves cgroups alone (--cgroup-manager disabled).
[ "$(id -u)" != 0 ] || {
    # What only a group of the user's may read.
    groupadd -f shelf && usermod -aG shelf tester && install -d -m 750 -g shelf /srv/shelf && echo kept >/srv/shelf/note
    # Podman refuses to nest its storage on what is not the user's own; a login session is what users have.
    exec su -l tester -c "RUNTIME=${RUNTIME-} WORK_BELOW=/home/tester exec bash $(realpath "$0")"
}
. "$(dirname "$0")/begin.sh"
patience=120
finish() {
    p rm -fa -t 0 >/dev/null 2>&1
    p pod rm -fa -t 0 >/dev/null 2>&1
    podman unshare rm -rf --one-file-system "$work/graph" 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap finish EXIT

mkdir -p "$work"/{graph,etc,config,tmp}
# Its limits are root's: an ordinary user's hard ones may be lower, and Podman then chooses by itself.
sed "/^default_ulimits/d; s|\"/usr/local/bin/orlop\", \"/usr/bin/orlop\"|\"$RUNTIME\"|; s|^orlop = |$runtime = |; s|\"orlop\"|\"$runtime\"|" \
    "$top/integration/podman/containers.conf" >"$work/etc/containers.conf"
cat >"$work/etc/storage.conf" <<TOML
[storage]
driver = "vfs"
graphroot = "$work/graph"
runroot = "$XDG_RUNTIME_DIR/rl-$$"
TOML
export CONTAINERS_CONF=$work/etc/containers.conf CONTAINERS_STORAGE_CONF=$work/etc/storage.conf TMPDIR=$work/tmp
manager=
p() { timeout -k 5 $patience podman --events-backend file ${manager:+--cgroup-manager $manager} "$@"; }
inspect() { p inspect --format "$1" "$2" 2>&1; }
# In the container's own cgroup: crun has one more below the scope.
knob() { cat "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(inspect '{{.State.Pid}}' "$1")/cgroup")/$2" 2>&1; }
above() { cat "/sys/fs/cgroup$(dirname "$(sed -n 's/^0:://p' "/proc/$(inspect '{{.State.Pid}}' "$1")/cgroup")")/$2" 2>&1; }

busybox_root "$work/busybox"
tar -C "$work/busybox" -cf "$work/busybox.tar" .
cd "$work" || exit
image=localhost/busybox
succeeds "the image is imported" p import --quiet --change 'CMD ["/bin/sh"]' \
    --change ENV=PATH=/usr/sbin:/usr/bin:/sbin:/bin "$work/busybox.tar" $image
hold='trap "exit 0" TERM; echo held; while :; do sleep 0.2; done'

# life FROM [LIMIT...]: what becomes of one container.
life() {
    local from=$1 one
    shift
    succeeds "$from: run --detach" p run -d --name box "$@" $image sh -c "$hold"
    same "$from: exec" "in" "$(p exec box echo in 2>&1)"
    ends "$from: exec --user: exit status" 9 p exec --user 1000 box sh -c '[ $(id -u) = 1000 ] && exit 9'
    same "$from: exec --detach" 0 "$(p exec -d box sleep 600 >/dev/null 2>&1; echo $?)"
    has "$from: top" 'sleep 600' "$(p top box 2>&1)"
    if [ $# -gt 0 ]; then
        for one in "memory.max 67108864" "pids.max 55" "cpu.max 50000 100000"; do
            if [ "$(knob box "${one%% *}")" = "${one#* }" ] || [ "$(above box "${one%% *}")" = "${one#* }" ]; then
                ok "$from: ${one%% *}"
            else
                not_ok "$from: ${one%% *}" "$(knob box "${one%% *}")"
            fi
        done
        has "$from: stats" '^box [2-9]' "$(p stats --no-stream --format '{{.Name}} {{.PIDs}}' box 2>&1)"
        succeeds "$from: pause" p pause box
        same "$from: pause: state" paused "$(inspect '{{.State.Status}}' box)"
        succeeds "$from: unpause" p unpause box
    fi
    has "$from: logs" '^held$' "$(p logs box 2>&1)"
    succeeds "$from: stop" p stop -t 20 box
    same "$from: stop: exit status" 0 "$(inspect '{{.State.ExitCode}}' box)"
    succeeds "$from: start again" p start box
    succeeds "$from: kill" p kill box
    succeeds "$from: rm" p rm -f -t 0 box
}

# users FROM: ids and networks.
users() {
    local from=$1
    ends "$from: run: no such program" 127 p run --rm $image nosuch
    has "$from: run: runs by this runtime" "/$runtime\$" "$(p info --format '{{.Host.OCIRuntime.Path}}' 2>&1)"
    succeeds "$from: run --user" p run --rm --user 1000:1000 --network slirp4netns:allow_host_loopback=true -v "$work/etc:/v:ro" $image \
        sh -c 'id -u; ip addr show tap0; ls /v; nc -w 5 10.0.2.2 22 </dev/null | head -n 1'
    has "$from: run --user: its output" '^1000$' "$output"
    has "$from: network by slirp4netns: the address" '10\.0\.2\.100' "$output"
    has "$from: network by slirp4netns: the way out" '^SSH-2' "$output"
    has "$from: volume" '^storage.conf$' "$output"
    same "$from: run --group-add keep-groups: reads what a group may" kept \
        "$(p run --rm --network none --group-add keep-groups -v /srv/shelf:/s:ro $image cat /s/note 2>&1)"
    ends "$from: without keep-groups it does not" 1 p run --rm --network none -v /srv/shelf:/s:ro $image cat /s/note
    succeeds "$from: run --userns keep-id" p run --rm --userns keep-id --network host $image sh -c 'id -u; ls /sys/class/net'
    has "$from: run --userns keep-id: its output" '^1000$' "$output"
    has "$from: network of the host: its interfaces" 'eth0' "$output"
}

round() {
    local from=$1
    echo "# $from"
    ends "$from: run: exit status" 7 p run --rm $image sh -c 'echo ahoy; cat /proc/self/uid_map; exit 7'
    has "$from: run: its output" '^ahoy$' "$output"
    has "$from: run: root inside is the user outside" '^ *0 +1000 +1$' "$output"
    life "$@"
}

pods() {
    local from=$1
    succeeds "$from: pod create" p pod create --name pod
    succeeds "$from: pod: a container" p run -d --pod pod --name inpod $image sh -c "$hold"
    same "$from: pod: one network" "$(p exec inpod readlink /proc/self/ns/net 2>&1)" "$(p run --rm --pod pod $image readlink /proc/self/ns/net 2>&1)"
    succeeds "$from: pod stop" p pod stop -t 5 pod
    succeeds "$from: pod rm" p pod rm -f pod
}

if [ $cgroups = v2 ]; then
    manager=systemd
    round systemd --memory 64m --pids-limit 55 --cpus 0.5
    users systemd
    pods systemd
    ends "systemd: out of memory" 137 p run --name oom --memory 20m --memory-swap 20m $image tail /dev/zero
    # OOMKilled is not asked for: conmon 2.1.6 puts its note where it was started, and only if it looks before the scope goes.
    p rm -f oom >/dev/null 2>&1
    manager=cgroupfs
    round cgroupfs
    [ "$runtime" = runc ] || succeeds "cgroups disabled: run" p run --rm --cgroups=disabled $image echo ahoy
else
    manager=cgroupfs
    round "cgroup v1"
    users "cgroup v1"
fi
same "nothing is left" "" "$(p ps -aq 2>&1)"
closing
