# Namespaces that a container shares with the host or with another one, and networks between them.
ns() { readlink "/proc/$(inspect '{{.State.Pid}}' "$1")/ns/$2"; }
hold --hostname first first
hold --pid container:first --ipc container:first --uts container:first --network container:first second
for kind in pid ipc uts net; do
    same "podman run --$kind container: shared" "$(ns first $kind)" "$(ns second $kind)"
done
[ "$(ns first mnt)" != "$(ns second mnt)" ]
same "podman run: the mount namespace is its own" 0 $?
has "podman run --pid container: the other's processes" 'sleep 0.1' "$(podman exec second ps 2>&1)"
same "podman run --uts container: the other's name" first "$(podman exec second hostname 2>&1)"
succeeds "podman stop: of a container in another's namespaces" podman stop -t 5 second
same "podman inspect: the other goes on" running "$(inspect '{{.State.Status}}' first)"
hold --pid host --ipc host --uts host --network host --cgroupns host host
for kind in pid ipc uts net cgroup; do
    same "podman run --$kind host: the host's" "$(readlink "/proc/$$/ns/$kind")" "$(ns host $kind)"
done
succeeds "podman exec: in the host's namespaces" podman exec host true
podman exec -d host sh -c 'trap "" TERM; sleep 4321' >"$work/log" 2>&1
succeeds "podman rm -f: in the host's pid namespace" podman rm -f -t 2 host
same "podman rm -f: no process of it is left on the host" "" "$(left_processes 'sleep 4321')"
hold --network none none
same "podman run --network none: only lo" lo "$(podman exec none ls /sys/class/net | xargs)"
same "podman run --hostname: the name" third "$(run --rm --hostname third $image hostname 2>&1)"
same "podman run --network ns: a path" "$(ns none net)" \
    "$(run --rm --network "ns:/proc/$(inspect '{{.State.Pid}}' none)/ns/net" $image readlink /proc/self/ns/net 2>&1)"

run -d --name web -p 127.0.0.1:18080:80 $image sh -c 'mkdir /www; echo served >/www/page; exec httpd -f -p 80 -h /www' >"$work/log" 2>&1
within 15 curl -sf http://127.0.0.1:18080/page
same "podman run -p: a page through the published port" served "$(curl -sf -m 5 http://127.0.0.1:18080/page)"
address=$(inspect '{{.NetworkSettings.IPAddress}}' web)
same "podman run: a page from the container's own address" served "$(curl -sf -m 5 "http://$address/page")"
same "podman run: from one container to another" served \
    "$(run --rm $image sh -c "printf 'GET /page HTTP/1.0\r\n\r\n' | nc -w 5 $address 80 | tail -n 1" 2>&1)"
has "podman run: its address is in /etc/hosts" "^$address" "$(podman exec web cat /etc/hosts)"
has "podman run --add-host: the line" '^10.9.8.7.*elsewhere' "$(run --rm --add-host elsewhere:10.9.8.7 $image cat /etc/hosts)"
has "podman run --dns: the line" '^nameserver 10.9.8.7$' "$(run --rm --dns 10.9.8.7 $image cat /etc/resolv.conf)"
podman restart -t 0 web >"$work/log" 2>&1
within 15 curl -sf http://127.0.0.1:18080/page
same "podman restart: the published port works again" served "$(curl -sf -m 5 http://127.0.0.1:18080/page)"
podman pause web >"$work/log" 2>&1
ends "podman pause: nobody answers" 28 curl -sf -m 1 http://127.0.0.1:18080/page
podman unpause web >"$work/log" 2>&1
same "podman unpause: it answers again" served "$(curl -sf -m 5 http://127.0.0.1:18080/page)"
podman network create --subnet 10.77.0.0/24 side >"$work/log" 2>&1
hold --network side --ip 10.77.0.9 placed
has "podman run --ip: the address" 'inet 10.77.0.9/24' "$(podman exec placed ip -4 addr)"
succeeds "podman network connect: a second network" podman network connect podman placed
same "podman network connect: a second device" "eth0 eth1 lo" "$(podman exec placed ls /sys/class/net | xargs)"
podman rm -f -t 0 placed >"$work/log" 2>&1
podman network rm -f side >"$work/log" 2>&1

# User namespaces, as root: ids that the container sees, and those that the host sees.
grep -qs '^containers:' /etc/subuid || {
    # --userns=auto takes its ids from here; ours is a file over the host's, in our mount namespace.
    for file in subuid subgid; do
        { cat /etc/$file; echo containers:2000000:1000000; } >"$work/etc/$file"
        mount --bind "$work/etc/$file" /etc/$file
    done
}
mkdir -p "$work/owned" && chown 100000:100000 "$work/owned" && chmod 755 "$work"
map='--uidmap 0:100000:5000 --gidmap 0:100000:5000'
mkdir -p "$work/bind2u"
hold $map -v "$work/owned:/owned" -v "$work/bind2u:/taken:U" -p 18081:80 mapped
pid=$(inspect '{{.State.Pid}}' mapped)
same "podman run --uidmap: the map" "0 100000 5000" "$(xargs <"/proc/$pid/uid_map")"
same "podman run --uidmap: the host's view of uid 0" 100000 "$(stat -c %u "/proc/$pid/root/tmp/.." )"
same "podman run --uidmap: the image's files belong to root" 0 "$(podman exec mapped stat -c %u /bin/busybox 2>&1)"
same "podman exec: in a user namespace" "0 0000" "$(podman exec mapped sh -c 'echo $(id -u) $(sed -n "s/^CapEff:.*\(....\)$/\1/p" /proc/self/status | tr 0-9a-f 0000000000000000)' 2>&1)"
succeeds "podman exec: it writes into a volume of its own" podman exec mapped touch /owned/file
same "podman exec: the host sees the mapped owner" 100000 "$(stat -c %u "$work/owned/file")"
same "podman run -v :U: the mapped root" 100000 "$(stat -c %u "$work/bind2u")"
same "podman exec -u: a mapped user" 100000+1000 "100000+$(podman exec -u 1000 mapped id -u)"
same "podman exec -t: a terminal in a user namespace" /dev/pts/0 "$(podman exec -t mapped tty 2>&1 | tr -d '\r')"
ends "podman exec: no mknod of a device" 1 podman exec mapped mknod /tmp/mem c 1 1
hold --userns container:mapped joined
same "podman run --userns container: shared" "$(ns mapped user)" "$(ns joined user)"
output=$(run --rm $map --network none --ipc private --read-only --tmpfs /t --cap-add SYS_ADMIN --sysctl net.ipv4.ip_forward=1 --device /dev/full $image sh -c '
    cat /proc/sys/net/ipv4/ip_forward; stat -c "%u %n" /t /dev/null /dev/pts /dev/mqueue; (echo >/dev/full) 2>&1 | grep -o "No space"' 2>&1)
has "podman run --uidmap: sysctl of its own network" '^1$' "$output"
has "podman run --uidmap: tmpfs belongs to root" '^0 /t$' "$output"
has "podman run --uidmap: mqueue belongs to root" '^0 /dev/mqueue$' "$output"
has "podman run --uidmap: a device of the host" '^No space$' "$output"
same "podman run --userns auto: uid 0 is another" "0 yes" "$(run --rm --userns auto $image sh -c 'echo $(id -u) $(awk "{print (\$2 > 0) ? \"yes\" : \"no\"}" /proc/self/uid_map)' 2>&1)"
same "podman run --userns auto:size: its size" 3000 "$(run --rm --userns auto:size=3000 $image awk '{n += $3} END {print n}' /proc/self/uid_map 2>&1)"
same "podman run --userns host: no map" 4294967295 "$(run --rm --userns host $image awk '{print $3}' /proc/self/uid_map 2>&1)"
