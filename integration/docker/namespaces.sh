# namespaces.sh, sourced: namespaces shared with the host and with other containers; names; the settings of the image.

docker run -d --name other --ipc shareable --hostname otherhost $image sh -c 'mkfifo /tmp/f; echo there >/dev/shm/note; exec sleep 777' >/dev/null
pid=$(inspect other '{{.State.Pid}}')
link() { readlink "/proc/${2:-self}/ns/$1"; }
inner() { run "$@" $image sh -c 'for ns in pid net ipc uts mnt cgroup; do echo $ns $(readlink /proc/self/ns/$ns); done' 2>&1; }

output=$(inner)
for ns in pid net ipc uts mnt; do
    lacks "docker run: its own $ns namespace" "^$ns ${ns}:\\[$(link $ns | tr -dc 0-9)\\]\$" "$output"
done
output=$(inner --pid host --network host --ipc host --uts host)
for ns in pid net ipc uts; do
    has "docker run --$ns=host: the host's $ns namespace" "^$ns $ns:\\[$(link $ns | tr -dc 0-9)\\]\$" "$output"
done
output=$(inner --pid container:other --network container:other --ipc container:other)
for ns in pid net ipc; do
    has "docker run --$ns=container: the other's $ns namespace" "^$ns $ns:\\[$(link $ns "$pid" | tr -dc 0-9)\\]\$" "$output"
done
has "docker run --pid=container: the other's processes" 'sleep 777' "$(run --pid container:other $image ps)"
same "docker run --ipc=container: the other's shared memory" there "$(run --ipc container:other $image cat /dev/shm/note)"
same "docker run --network=container: the other's name" otherhost "$(run --network container:other $image hostname)"
has "docker run --ipc=private: it cannot be joined" 'non-shareable IPC' \
    "$(docker run -d --name closed --ipc private $image sleep 1000 >/dev/null; run --ipc container:closed $image true 2>&1)"
remove closed
same "docker run --ipc=none: no shared memory" "no" "$(run --ipc none $image sh -c 'grep -q " /dev/shm " /proc/mounts && echo yes || echo no')"
has "docker run --pid=host: the host's processes" 'dockerd' "$(run --pid host $image ps)"
same "docker run --pid=host: stop ends it" "exited" \
    "$(docker run -d --name hostpid --pid host $image sh -c 'sleep 888 & sleep 888' >/dev/null; docker stop --time 1 hostpid >/dev/null; inspect hostpid '{{.State.Status}}')"
same "docker run --pid=host: its children end with it" "" "$(left_processes '^sleep 888')"
remove hostpid
if v2; then
    has "docker run: its own cgroup namespace" '^0::/$' "$(run $image cat /proc/self/cgroup)"
else
    has "docker run: on cgroup v1 the host's cgroup namespace" "^cgroup $(link cgroup | sed 's/[][]/\\&/g')\$" "$(inner)"
    output=$(run --cgroupns private $image cat /proc/self/cgroup 2>&1)
    has "docker run --cgroupns=private: its own, or refused by the daemon" '^[0-9]+:pids:/$|not supported|invalid' "$output"
fi
remove other

output=$(run --init $image ps -o pid,comm)
has "docker run --init: docker-init is pid 1" '^ +1 docker-init$' "$output"
output=$(docker run -d --name reaping --init $image sh -c 'sh -c "sleep 0.1 & exec true"; sleep 1000'; sleep 0.7; docker exec reaping ps)
lacks "docker run --init: orphans are reaped" '\[sleep\]|<defunct>| Z ' "$output"
remove reaping
same "docker run: a program without --init is pid 1" 1 "$(run $image sh -c 'echo $$')"

output=$(run --hostname vessel --domainname sea.example --dns 192.0.2.53 --dns-search example.org --dns-option ndots:3 \
    --add-host friend:192.0.2.7 $image sh -c 'hostname; cat /proc/sys/kernel/domainname /etc/resolv.conf /etc/hosts; cat /etc/hostname')
has "docker run --hostname: the name" '^vessel$' "$output"
has "docker run --domainname: the domain" '^sea.example$' "$output"
has "docker run --dns: the server" '^nameserver 192.0.2.53$' "$output"
has "docker run --dns-search: the domain" '^search example.org$' "$output"
has "docker run --dns-option: the option" '^options ndots:3$' "$output"
has "docker run --add-host: in /etc/hosts" '^192.0.2.7.friend$' "$output"

printf 'FROM_FILE=three\nHOME=/tmp\n' >"$work/env"
output=$(GIVEN=two run --env ONE=one --env GIVEN --env-file "$work/env" $image env)
has "docker run --env: a value" '^ONE=one$' "$output"
has "docker run --env: from the client's environment" '^GIVEN=two$' "$output"
has "docker run --env-file: from a file" '^FROM_FILE=three$' "$output"
has "docker run --env: HOME given" '^HOME=/tmp$' "$output"
same "docker run --entrypoint: with arguments" "a b" "$(run --entrypoint echo $image a b)"
same "docker run --workdir: the directory" /var/tmp "$(run --workdir /var/tmp $image pwd)"
same "docker run --label: read back" "blue" \
    "$(docker run -d --name labelled --label colour=blue $image sleep 1000 >/dev/null; inspect labelled '{{index .Config.Labels "colour"}}')"
remove labelled
