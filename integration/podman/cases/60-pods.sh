# Pods: an infra container that the runtime runs too, and containers that share its namespaces; then the same from YAML.
ns() { readlink "/proc/$(inspect '{{.State.Pid}}' "$1")/ns/$2"; }
sed -i "s|^\[engine\]$|&\ninfra_image = \"localhost/infra\"\ninfra_command = \"/bin/infra\"|" "$work/etc/containers.conf"
podman build -q -t localhost/infra -f - "$work/etc" >"$work/log" 2>&1 <<DOCKER || cat "$work/log"
FROM $image
RUN printf '#!/bin/sh\ntrap "exit 0" TERM\nwhile :; do sleep 0.2; done\n' >/bin/infra && chmod 755 /bin/infra
CMD ["/bin/infra"]
DOCKER
infra="--infra-image localhost/infra --infra-command /bin/infra"
succeeds "podman pod create: it is made" podman pod create --cgroup-parent "/$tag" $infra --name pod -p 127.0.0.1:18090:80 --hostname podded --share net,ipc,uts,pid
inpod() { podman run -d --pod pod "$@"; }
inpod --name one $image sh -c 'mkdir /www; echo from a pod >/www/page; exec httpd -f -p 80 -h /www' >"$work/log" 2>&1 || cat "$work/log"
inpod --name two $image sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done' >"$work/log" 2>&1 || cat "$work/log"
for kind in net ipc uts pid; do
    same "podman run --pod: $kind is shared" "$(ns one $kind)" "$(ns two $kind)"
done
same "podman run --pod: the pod's name" podded "$(podman exec two hostname 2>&1)"
same "podman run --pod: one reaches the other on localhost" "from a pod" "$(podman exec two wget -q -O - http://127.0.0.1/page 2>&1)"
within 15 curl -sf http://127.0.0.1:18090/page
same "podman pod create -p: the published port" "from a pod" "$(curl -sf -m 5 http://127.0.0.1:18090/page)"
has "podman run --pod: the infra container's processes are seen" 'infra' "$(podman exec two ps 2>&1)"
has "podman pod ps: running with three" '^pod Running 3' "$(podman pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}')"
has "podman pod inspect: running" '^Running' "$(podman pod inspect --format '{{.State}}' pod 2>&1)"
has "podman pod stats: its containers" '^one [0-9.]+' "$(podman pod stats --no-stream --format '{{.Name}} {{.CPU}}' pod 2>&1)"
has "podman pod top: processes of all" 'httpd' "$(podman pod top pod 2>&1)"
succeeds "podman pod pause: it pauses" podman pod pause pod
ends "podman pod pause: nobody answers" 28 curl -sf -m 1 http://127.0.0.1:18090/page
succeeds "podman pod unpause: it goes on" podman pod unpause pod
same "podman pod unpause: it answers" "from a pod" "$(curl -sf -m 5 http://127.0.0.1:18090/page)"
has "podman run --pod: its cgroup is below the pod's" "/$tag/[0-9a-f]{64}/libpod-" "$(cat "/proc/$(inspect '{{.State.Pid}}' two)/cgroup")"
succeeds "podman pod kill: a signal to all" podman pod kill -s WINCH pod
succeeds "podman pod stop: it stops" podman pod stop -t 3 pod
same "podman pod stop: no process is left" "" "$(left_processes 'httpd -f -p 80|/bin/infra')"
succeeds "podman pod start: it starts again" podman pod start pod
within 15 curl -sf http://127.0.0.1:18090/page
same "podman pod start: the published port" "from a pod" "$(curl -sf -m 5 http://127.0.0.1:18090/page)"
succeeds "podman pod restart: it restarts" podman pod restart pod
has "podman generate kube: a pod" '^kind: Pod' "$(podman generate kube pod 2>&1)"
podman generate kube pod >"$work/pod.yaml" 2>/dev/null
succeeds "podman pod rm -f: it goes" podman pod rm -f -t 1 pod
same "podman pod rm -f: no container of it is left" "" "$(podman ps -aq)"
same "podman pod rm -f: no cgroup is left" "" "$(left_of_containers)"

succeeds "podman pod create --userns: it is made" podman pod create --cgroup-parent "/$tag" $infra --name mapped --uidmap 0:100000:5000 --gidmap 0:100000:5000
podman run -d --pod mapped --name inner $image sleep 100 >"$work/log" 2>&1 || cat "$work/log"
same "podman run --pod: in the pod's user namespace" "0 100000 5000" "$(xargs <"/proc/$(inspect '{{.State.Pid}}' inner)/uid_map")"
same "podman exec: in a pod in a user namespace" 0 "$(podman exec inner stat -c %u /bin/busybox 2>&1)"
podman pod rm -f -t 0 mapped >"$work/log" 2>&1
succeeds "podman pod create --memory, --cpus: it is made" podman pod create --cgroup-parent "/$tag" $infra --name small --cpus 0.5 --cpuset-cpus 0 --shm-size 1m
podman run -d --pod small --name inner $image sleep 100 >"$work/log" 2>&1 || cat "$work/log"
same "podman pod create --shm-size: shared" 1024 "$(podman exec inner df -k /dev/shm | awk 'NR == 2 {print $2}')"
podman pod rm -f -t 0 small >"$work/log" 2>&1

cat >"$work/play.yaml" <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {greeting: from a map}
---
apiVersion: v1
kind: Pod
metadata: {name: played, labels: {app: played}}
spec:
  hostname: stage
  restartPolicy: Never
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: words, configMap: {name: words}}
  initContainers:
    - name: before
      image: $image
      command: [sh, -c, "echo prepared >/shared/file"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: main
      image: $image
      command: [sh, -c, "trap 'exit 0' TERM; touch /tmp/live; while :; do sleep 0.1; done"]
      env:
        - {name: PLAIN, value: plain}
        - {name: MAPPED, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}
      resources: {limits: {memory: 48Mi, cpu: 250m}}
      securityContext: {runAsUser: 1000, runAsGroup: 1000, readOnlyRootFilesystem: false, capabilities: {drop: [ALL]}}
      livenessProbe: {exec: {command: [test, -e, /tmp/live]}, initialDelaySeconds: 1, periodSeconds: 5}
      volumeMounts: [{name: shared, mountPath: /shared}, {name: words, mountPath: /words}]
    - name: side
      image: $image
      command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
YAML
succeeds "podman play kube: it plays" podman play kube "$work/play.yaml"
same "podman play kube: an init container ran first" prepared "$(podman exec played-main cat /shared/file 2>&1)"
same "podman play kube: a variable from a config map" "plain from a map" "$(podman exec played-main sh -c 'echo $PLAIN $MAPPED' 2>&1)"
same "podman play kube: a volume from a config map" "from a map" "$(podman exec played-main cat /words/greeting 2>&1)"
same "podman play kube: the user" 1000 "$(podman exec played-main id -u 2>&1)"
same "podman play kube: the limit on memory" 50331648 "$(cgroup_file played-main memory memory.limit_in_bytes)"
same "podman play kube: the limit on CPU" 25000 "$(cgroup_file played-main cpu cpu.cfs_quota_us)"
ends "podman play kube: a probe" 0 podman healthcheck run played-main
same "podman play kube: the name" stage "$(podman exec played-side hostname 2>&1)"
succeeds "podman play kube --down: it goes" podman play kube --down "$work/play.yaml"
same "podman play kube --down: nothing is left" "" "$(podman pod ps -q)$(podman ps -aq)"
