# What podman does with a container's files, and what it tells of it: diff, cp, mount, commit, export, stats, events.
run -d --name files -l kind=tested -v "$work:/host:ro" $image \
    sh -c 'echo kept >/root/new; rm /etc/group; trap "exit 0" TERM; while :; do sleep 0.1; done' >"$work/log" 2>&1
within 15 podman exec files test -s /root/new
output=$(podman diff files 2>&1)
has "podman diff: a new file" '^A /root/new' "$output"
has "podman diff: a removed file" '^D /etc/group' "$output"
lacks "podman diff: no mount point of ours is new" '^A /(host|dev|proc|sys)/' "$output"
echo copied >"$work/copied"
succeeds "podman cp: into a running container" podman cp "$work/copied" files:/tmp/in
same "podman cp: the file is there" copied "$(podman exec files cat /tmp/in 2>&1)"
succeeds "podman cp: out of a running container" podman cp files:/root/new "$work/out"
same "podman cp: the file is here" kept "$(cat "$work/out")"
succeeds "podman cp: out of a mount" podman cp files:/host/copied "$work/out2"
succeeds "podman mount: the root" podman mount files
same "podman mount: its files" kept "$(cat "$output/root/new" 2>&1)"
podman unmount files >"$work/log" 2>&1
succeeds "podman commit: of a running container" podman commit -q files localhost/committed
same "podman commit: the container goes on" running "$(inspect '{{.State.Status}}' files)"
same "podman commit: the image runs" kept "$(run --rm localhost/committed cat /root/new 2>&1)"
succeeds "podman export: of a running container" podman export -o "$work/export.tar" files
has "podman export: its files" '^root/new$' "$(tar tf "$work/export.tar")"
output=$(podman stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}} {{.CPUPerc}}' files 2>&1)
has "podman stats: memory, processes and CPU" '^files [0-9.]+[kM]?B / [0-9.]+GB [1-9][0-9]* [0-9.]+%' "$output"
podman stop -t 5 files >"$work/log" 2>&1
succeeds "podman cp: into an ended container" podman cp "$work/copied" files:/tmp/late
podman start files >"$work/log" 2>&1
same "podman start: what was copied meanwhile is there" copied "$(podman exec files cat /tmp/late 2>&1)"
podman rm -f -t 0 files >"$work/log" 2>&1
output=$(podman events --stream=false --since 10m --filter container=files --format '{{.Status}}' 2>&1)
for event in create init start exec exec_died cleanup died remove commit; do
    has "podman events: $event" "^$event$" "$output"
done
run -d --name log --log-driver k8s-file --log-opt path="$work/k8s.log" $image echo logged >"$work/log" 2>&1
podman wait log >"$work/log" 2>&1
has "podman run --log-driver k8s-file: the line" ' stdout F logged$' "$(cat "$work/k8s.log")"
run --rm --log-driver json-file --log-opt path="$work/json.log" $image echo logged >"$work/log" 2>&1
has "podman run --log-driver json-file: the line" 'logged' "$(cat "$work/json.log")"
same "podman run --log-driver none: only the caller sees it" quiet "$(run --name quiet --log-driver none $image echo quiet 2>&1)"
run -d --name flood $image sh -c 'yes 0123456789abcdef | head -n 50000' >"$work/log" 2>&1
podman wait flood >"$work/log" 2>&1
same "podman logs: fifty thousand lines" 50000 "$(podman logs flood | wc -l)"
podman rmi -f localhost/committed >"$work/log" 2>&1
