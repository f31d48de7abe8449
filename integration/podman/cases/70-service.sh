# `podman system service`: the same by its two programming interfaces, with curl.
patience=300 podman system service --time=0 "unix://$work/api.sock" >"$work/service.log" 2>&1 &
service=$!
# api METHOD PATH [JSON]: the answer's body; its status in $work/status.
api() {
    local data=()
    [ $# -lt 3 ] || data=(-H 'Content-Type: application/json' -d "$3")
    curl -s -m 30 --unix-socket "$work/api.sock" -X "$1" -o "$work/body" -w '%{http_code}' "${data[@]}" "http://d$2" >"$work/status"
    cat "$work/body" 2>/dev/null
    rm -f "$work/body"
}
status() { cat "$work/status"; }
within 10 curl -sf --unix-socket "$work/api.sock" http://d/_ping
same "podman service: it answers" OK "$(api GET /_ping)"
hold_script='trap \"exit 3\" TERM; echo begun; while :; do sleep 0.1; done'
for kind in docker libpod; do
    if [ $kind = docker ]; then
        at=/v1.41/containers
        body="{\"Image\": \"$image\", \"Cmd\": [\"sh\", \"-c\", \"$hold_script\"], \"Labels\": {\"by\": \"api\"},
            \"HostConfig\": {\"CgroupParent\": \"/$tag\", \"Memory\": 33554432, \"NanoCpus\": 500000000, \"Binds\": [\"$work:/host:ro\"]}}"
    else
        at=/v4.0.0/libpod/containers
        body="{\"image\": \"$image\", \"command\": [\"sh\", \"-c\", \"$hold_script\"], \"cgroup_parent\": \"/$tag\", \"name\": \"by-libpod\",
            \"resource_limits\": {\"memory\": {\"limit\": 33554432}, \"cpu\": {\"quota\": 50000, \"period\": 100000}},
            \"mounts\": [{\"type\": \"bind\", \"source\": \"$work\", \"destination\": \"/host\", \"options\": [\"ro\"]}]}"
    fi
    id=$(api POST "$at/create" "$body" | jq -r .Id)
    same "podman service $kind: create" 201 "$(status)"
    api POST "$at/$id/start" >"$work/log"
    same "podman service $kind: start" 204 "$(status)"
    same "podman service $kind: inspect says running" running "$(api GET "$at/$id/json" | jq -r .State.Status)"
    same "podman service $kind: the limit on memory" 33554432 "$(cgroup_file "$id" memory memory.limit_in_bytes)"
    same "podman service $kind: the limit on CPU" 50000 "$(cgroup_file "$id" cpu cpu.cfs_quota_us)"
    has "podman service $kind: logs" begun "$(api GET "$at/$id/logs?stdout=true" | tr -d '\0')"
    exec_id=$(api POST "$at/$id/exec" '{"Cmd": ["sh", "-c", "echo by exec; exit 6"], "AttachStdout": true, "AttachStderr": true}' | jq -r .Id)
    same "podman service $kind: exec is made" 201 "$(status)"
    has "podman service $kind: exec's output" 'by exec' "$(api POST "${at%/containers}/exec/$exec_id/start" '{"Detach": false, "Tty": false}' | tr -d '\0')"
    same "podman service $kind: exec's exit status" 6 "$(api GET "${at%/containers}/exec/$exec_id/json" | jq -r .ExitCode)"
    exec_id=$(api POST "$at/$id/exec" '{"Cmd": ["/missing"], "AttachStdout": true, "AttachStderr": true}' | jq -r .Id)
    has "podman service $kind: exec of a missing program, in words" '/missing' "$(api POST "${at%/containers}/exec/$exec_id/start" '{"Detach": false, "Tty": false}' | tr -d '\0')"
    [ "$(api GET "$at/$id/stats?stream=false" | jq -r '.memory_stats.limit // .Stats[0].MemLimit')" = 33554432 ] ||
        [ "$(api GET "${at%/containers}/containers/stats?stream=false&containers=$id" | jq -r '.Stats[0].MemLimit')" = 33554432 ]
    same "podman service $kind: stats have the limit" 0 $?
    has "podman service $kind: top" 'sleep' "$(api GET "$at/$id/top")"
    api POST "$at/$id/pause" >"$work/log"
    same "podman service $kind: pause" "204 paused" "$(status) $(inspect '{{.State.Status}}' "$id")"
    api POST "$at/$id/unpause" >"$work/log"
    same "podman service $kind: unpause" "204 running" "$(status) $(inspect '{{.State.Status}}' "$id")"
    api POST "$at/$id/kill?signal=TERM" >"$work/log"
    same "podman service $kind: kill" 204 "$(status)"
    has "podman service $kind: wait" '3' "$(api POST "$at/$id/wait")"
    api DELETE "$at/$id?force=true" >"$work/log"
    has "podman service $kind: delete" '^20[04]$' "$(status)"
    id=$(api POST "$at/create" "${body/\"sh\", \"-c\"/\"\/missing\"}" | jq -r .Id)
    has "podman service $kind: start of a missing program, in words" 'missing.*no such file|not found' "$(api POST "$at/$id/start")"
    has "podman service $kind: start of a missing program" '^(400|404|500)$' "$(status)"
    api DELETE "$at/$id?force=true" >"$work/log"
done
# The remote client goes the same way, terminal and input included.
remote() { timeout 30 /usr/bin/podman --remote --url "unix://$work/api.sock" "$@"; }
same "podman --remote run: input and output" given "$(echo given | remote run --cgroup-parent "/$tag" --rm -i $image cat 2>&1)"
remote run --cgroup-parent "/$tag" --rm $image sh -c 'exit 5' >"$work/log" 2>&1
same "podman --remote run: the exit status" 5 $?
kill $service
wait $service 2>/dev/null
same "podman service: no container is left" "" "$(podman ps -aq)"
