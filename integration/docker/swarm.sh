#!/bin/bash
# swarm.sh, run on its own or sourced by run.sh: a swarm of three dockerds, each in network, mount and uts namespaces of its
# own on one bridge, every task run by $RUNTIME. Without IP_VS in the kernel a service has no virtual address: endpoints are
# DNS round robin (dnsrr) and ports are published by mode=host.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -uo pipefail
    . "$(dirname "$0")/../lib/begin.sh"
    begin docker-swarm docker.io iptables iproute2 python3
    . "$here/daemon.sh"
    daemon_files
    busybox_tar
    alone=1
else
    # Two dockerds at a time are enough for this machine.
    stop_dockerd
    alone=
fi

# on N ARGUMENT...: docker, at the dockerd of node N; node 1 is the manager.
on() { local node=$1; shift; timeout 90 /usr/bin/docker -H "unix://$work/node$node.sock" "$@"; }
quietly() { "$@" >/dev/null 2>&1; }

start_node() {
    local node=$1
    if [ ! -e "/run/netns/node$node" ]; then
        ip netns add "node$node"
        ip link add "wire$node" type veth peer name eth0 netns "node$node"
        ip link set "wire$node" master sea up
        ip -n "node$node" addr add "10.77.0.$node/24" dev eth0
        ip -n "node$node" link set eth0 up
        ip -n "node$node" link set lo up
        # No default route: an agent that asks a registry for the image is told at once that there is none.
    fi
    # Not `ip netns exec`: its new /sys would hide the cgroups.
    # shellcheck disable=SC2016
    nsenter --net="/run/netns/node$node" unshare --mount --uts --propagation private sh -c '
        hostname "node$1"; work=$2; tag=$3
        mount -t tmpfs -o mode=755 none /run && mount --make-rshared /
        exec dockerd --host "unix://$work/node$1.sock" --config-file "$work/daemon.json" --data-root "$work/node$1" \
            --exec-root "$work/exec$1" --pidfile "$work/node$1.pid" --cgroup-parent "/$tag" --shutdown-timeout 5
    ' node "$node" "$work" "$tag" >>"$work/node$node.log" 2>&1 &
    nodes[node]=$!
    within 30 on "$node" version
}

stop_nodes() {
    local pid
    for pid in "${nodes[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${nodes[@]}"; do wait "$pid" 2>/dev/null; done
    [ -z "${KEEP_LOG-}" ] || cat "$work"/node*.log >"$KEEP_LOG.swarm"
    nodes=()
    ip link del sea 2>/dev/null
    for pid in 1 2 3; do ip netns del "node$pid" 2>/dev/null; done
}

# lose_node N: its dockerd, containerd, shims and containers are killed at once, as by a power cut.
lose_node() {
    local pids
    pids=$(on "$1" ps -q | xargs -r timeout 30 /usr/bin/docker -H "unix://$work/node$1.sock" inspect -f '{{.State.Pid}}')
    kill -9 "${nodes[$1]}" $(left_processes "$work/exec$1/containerd" | cut -d ' ' -f 1) $pids 2>/dev/null
    wait "${nodes[$1]}" 2>/dev/null
    unset "nodes[$1]"
}

# tasks SERVICE [NODE]: how many of its tasks run [there].
tasks() {
    on 1 service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' "$1" 2>/dev/null | grep -c "^${2-.*} Running"
}
runs() { [ "$(tasks "$1" "${3-.*}")" = "$2" ]; }
# task NODE SERVICE: the id of one of the service's containers on that node.
task() { on "$1" ps -q --filter "label=com.docker.swarm.service.name=$2" | head -n 1; }

# editions: what each container that runs, on every node, was given as its edition, a line each.
editions() {
    local node id
    for node in 1 2 3; do
        for id in $(on $node ps -q); do on $node exec "$id" sh -c 'echo $edition' </dev/null; done
    done
}

# containers: how many run on all nodes that are there.
containers() {
    local node sum=0
    for node in "${!nodes[@]}"; do sum=$((sum + $(on "$node" ps -q | wc -l))); done
    echo $sum
}

# joins N: on a loaded machine dockerd answers "Timeout was reached", and goes on joining.
joins() {
    on "$1" swarm join --token "$token" --advertise-addr "10.77.0.$1" 10.77.0.1:2377 ||
        within 90 eval '[ "$(on '"$1"' info -f "{{.Swarm.LocalNodeState}}")" = active ]'
}

nodes=()
# The bridge stands for a switch: the rules that the stopped dockerd has left here (FORWARD DROP) are not for its frames.
! [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip link add sea type bridge && ip addr add 10.77.0.254/24 dev sea && ip link set sea up
for node in 1 2 3; do
    start_node $node || not_ok "swarm: node $node starts" "$(tail "$work/node$node.log")"
    on $node import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$work/busybox.tar" $image >/dev/null
done

succeeds "docker swarm init: a manager" on 1 swarm init --advertise-addr 10.77.0.1 --task-history-limit 3
token=$(on 1 swarm join-token -q worker)
succeeds "docker swarm join: the first worker" joins 2
succeeds "docker swarm join: the second worker" joins 3
within 60 eval '[ "$(on 1 node ls --format "{{.Status}}" | grep -c Ready)" = 3 ]'
same "docker node ls: three are ready" "node1 node2 node3" "$(on 1 node ls --format '{{.Hostname}} {{.Status}}' | sed -n 's/ Ready//p' | sort | xargs)"

echo hidden | quietly on 1 secret create password -
echo shown | quietly on 1 config create settings -
service=(--detach --no-resolve-image --endpoint-mode dnsrr --restart-delay 200ms --update-monitor 1s)
succeeds "docker service create: with limits, secret and config" on 1 service create "${service[@]}" --name crew --replicas 3 \
    --secret password --config source=settings,target=/etc/settings,mode=0444 --env edition=1 \
    --limit-memory 32m --limit-pids 20 --cap-drop CHOWN --read-only --init --stop-grace-period 1s \
    --mount type=tmpfs,target=/scratch --hostname '{{.Node.Hostname}}-{{.Task.Slot}}' --user keeper --group rope \
    $image sh -c 'echo edition $edition; exec sleep 1000'
within 60 runs crew 3
same "docker service create: three tasks on three nodes" "1 1 1" "$(tasks crew node1) $(tasks crew node2) $(tasks crew node3)"
for node in 1 2 3; do
    same "docker service create: the task on node $node is run by the default runtime" tested \
        "$(on $node inspect -f '{{.HostConfig.Runtime}}' "$(task $node crew)" 2>&1)"
done
output=$(on 2 exec "$(task 2 crew)" sh -c 'cat /run/secrets/password /etc/settings; hostname; id -u; grep -E "^Cap(Bnd|Eff)" /proc/self/status; touch /x; touch /scratch/x && echo scratch' 2>&1)
has "docker service: the secret is in the task" '^hidden$' "$output"
has "docker service: the config is in the task" '^shown$' "$output"
has "docker service: the host name by a template" '^node2-[123]$' "$output"
has "docker service: the user" '^1000$' "$output"
has "docker service: a dropped capability" '^CapBnd:.00000000a80425fa$' "$output"
has "docker service: a read-only root" '/x: Read-only file system' "$output"
has "docker service: a tmpfs mount" '^scratch$' "$output"
id=$(on 3 inspect -f '{{.Id}}' "$(task 3 crew)")
if v2; then output=$(cat "/sys/fs/cgroup/$tag/$id/memory.max"); else output=$(cat "/sys/fs/cgroup/memory/$tag/$id/memory.limit_in_bytes"); fi
same "docker service --limit-memory: the cgroup's limit" 33554432 "$output"
has "docker service logs: of all tasks" '^crew\.[123]\..* edition 1$' "$(on 1 service logs crew 2>&1)"

succeeds "docker service scale: more" on 1 service scale --detach crew=5
within 40 runs crew 5
same "docker service scale: five run" 5 "$(tasks crew)"
succeeds "docker service scale: fewer" on 1 service scale --detach crew=3
within 40 runs crew 3
same "docker service scale: three run" 3 "$(tasks crew)"
within 20 eval '[ "$(containers)" = 3 ]'
same "docker service scale: the containers of the others are gone" 3 "$(containers)"
kill -9 "$(on 1 inspect -f '{{.State.Pid}}' "$(task 1 crew)")"
within 20 eval 'on 1 service ps --format "{{.CurrentState}}" crew | grep -q Failed'
has "docker service: a task that died is replaced" 'Failed' "$(on 1 service ps --format '{{.CurrentState}}' crew)"
within 40 runs crew 3
same "docker service: three run again" 3 "$(tasks crew)"

for order in start-first stop-first; do
    succeeds "docker service update --update-order $order: it converges" on 1 service update --quiet --detach=false --no-resolve-image \
        --update-order $order --update-parallelism 1 --update-delay 0s --env-add "edition=$order" crew
    same "docker service update --update-order $order: completed" completed "$(on 1 service inspect -f '{{.UpdateStatus.State}}' crew)"
    same "docker service update --update-order $order: every task is of the new edition" "3 3" \
        "$(tasks crew) $(editions | grep -c "^$order\$")"
done
succeeds "docker service rollback: it converges" on 1 service rollback --quiet --detach=false crew
within 20 runs crew 3
same "docker service rollback: the edition of before" start-first "$(editions | sort -u)"

quietly on 1 service create "${service[@]}" --name lost --restart-condition none $image no-such-program
within 20 eval 'on 1 service ps --format "{{.CurrentState}}" lost | grep -q "Rejected\|Failed"'
output=$(on 1 service ps --no-trunc --format '{{.Error}}' lost)
echo "# sentence | swarm: a missing binary | $output"
has "docker service ps: a program that is missing is named" 'no-such-program' "$output"
quietly on 1 service rm lost

# The ports of the nodes themselves; the nodes are one network with us.
quietly on 1 service create "${service[@]}" --name web --mode global --publish mode=host,target=80,published=8080 \
    $image sh -c 'hostname >/tmp/index.html; exec httpd -f -p 80 -h /tmp'
within 40 runs web 3
for node in 1 2 3; do
    within 10 timeout 5 bash -c "exec 3<>/dev/tcp/10.77.0.$node/8080"
    same "docker service --publish mode=host: node $node answers" "$(on $node inspect -f '{{.Config.Hostname}}' "$(task $node web)")" \
        "$(python3 -c "import urllib.request; print(urllib.request.urlopen('http://10.77.0.$node:8080/', timeout=5).read().decode().strip())" 2>&1)"
done
quietly on 1 service rm web

if ip link add vxlan-probe type vxlan id 77 dstport 0 2>/dev/null; then
    ip link del vxlan-probe
    succeeds "docker network create: an overlay" on 1 network create -d overlay --attachable --subnet 10.99.0.0/24 deep
    quietly on 1 service create "${service[@]}" --name pair --mode global --network deep \
        $image sh -c 'hostname >/tmp/index.html; exec httpd -f -p 80 -h /tmp'
    within 40 runs pair 3
    first=$(task 1 pair)
    # Each node learns of the others' tasks by gossip.
    within 20 eval '[ "$(on 1 exec "$first" nslookup tasks.pair 2>/dev/null | grep -c "^Address: 10.99.0")" = 3 ]'
    output=$(on 1 exec "$first" sh -c 'nslookup tasks.pair | sed -n "s/^Address: //p" | grep ^10.99 | while read a; do timeout 5 wget -q -O - "http://$a/" </dev/null; done' 2>&1)
    for node in 1 2 3; do
        has "docker service on an overlay network: node 1 reaches the task on node $node by name" \
            "^$(on $node inspect -f '{{.Config.Hostname}}' "$(task $node pair)")\$" "$output"
    done
    has "docker run on an overlay network: a task of another node answers" '^[0-9a-f]{12}$' \
        "$(on 2 run --rm --network deep $image sh -c 'a=$(nslookup tasks.pair | sed -n "s/^Address: //p" | tail -n 1); timeout 5 wget -q -O - "http://$a/"' 2>&1)"
    quietly on 1 service rm pair
else
    skip "docker network create: an overlay" "no vxlan in this kernel"
fi

succeeds "docker node update --availability drain: it returns" on 1 node update --availability drain node2
within 40 eval 'runs crew 0 node2 && runs crew 3'
same "docker node drain: the tasks run elsewhere" "0 3" "$(tasks crew node2) $(tasks crew)"
within 20 eval '[ -z "$(on 2 ps -q)" ]'
same "docker node drain: no container is left there" "" "$(on 2 ps -q)"
quietly on 1 node update --availability active node2

# A loss is noticed by heartbeats that stay out; for all else a busy machine may be late with them.
quietly on 1 swarm update --dispatcher-heartbeat 1s
lose_node 3
within 40 eval 'on 1 node ls --format "{{.Hostname}} {{.Status}}" | grep -q "node3 Down"'
has "docker node ls: a lost node is down" '^node3 Down$' "$(on 1 node ls --format '{{.Hostname}} {{.Status}}')"
quietly on 1 swarm update --dispatcher-heartbeat 5s
within 40 eval '[ "$(containers)" = 3 ]'
same "docker service: the tasks of the lost node run on the others" 3 "$(containers)"
start_node 3 || not_ok "swarm: the lost node starts again" "$(tail "$work/node3.log")"
within 40 eval 'on 1 node ls --format "{{.Hostname}} {{.Status}}" | grep -q "node3 Ready"'
has "docker node ls: the lost node is ready again" '^node3 Ready$' "$(on 1 node ls --format '{{.Hostname}} {{.Status}}')"
succeeds "docker service update --force: over all nodes again" on 1 service update --quiet --detach=false --force crew
# How many is the scheduler's choice: it has been seen to give a returned node two.
has "docker service update --force: the node that was lost has tasks again" '^[1-3]$' "$(tasks crew node3)"

succeeds "docker service rm: it goes" on 1 service rm crew
within 30 eval '[ -z "$(on 1 ps -aq; on 2 ps -aq; on 3 ps -q)" ]'
same "docker service rm: its containers are gone" "" "$(on 1 ps -aq; on 2 ps -aq; on 3 ps -q)"
for node in 3 2; do succeeds "docker swarm leave: worker $node" on $node swarm leave; done
succeeds "docker swarm leave --force: the manager" on 1 swarm leave --force
for node in 1 2 3; do on $node ps -aq | xargs -r timeout 60 /usr/bin/docker -H "unix://$work/node$node.sock" rm -f >/dev/null 2>&1; done
within 10 eval '[ -z "$(left_cgroups; left_processes "containerd-shim|^(sleep 1000|httpd)")" ]'
same "swarm: no cgroup is left" "" "$(left_cgroups)"
same "swarm: no shim is left" "" "$(left_processes containerd-shim)"
same "swarm: no task's program is left" "" "$(left_processes '^(sleep 1000|httpd)')"
stop_nodes
if [ -n "$alone" ]; then
    closing
else
    start_dockerd || not_ok "dockerd: it starts" "$(tail "$work/dockerd.log")"
fi
