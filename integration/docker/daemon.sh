# daemon.sh, sourced: one dockerd (with its own containerd) whose every container is run by $RUNTIME, and the client.
#
# Three names lead to the runtime under test:
#   tested   the default runtime, from daemon.json
#   debug    the same with runtimeArgs: dockerd then writes a wrapper script
#   runc     what dockerd itself and its BuildKit look up in PATH: a script that notes its arguments in $work/runc.calls
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client COMPOSE_INTERACTIVE_NO_CLI=1
image=busybox

docker() { timeout 60 /usr/bin/docker "$@"; }
run() { docker run --rm "$@"; }
inspect() { docker inspect -f "$2" "$1" 2>&1; }
remove() { docker rm -f "$@" >/dev/null 2>&1; }
is() { [ "$(inspect "$1" "$2")" = "$3" ]; }
logged() { docker logs "$1" 2>&1 | grep -qE -- "$2"; }

daemon_files() {
    mkdir -p "$work/bin" "$DOCKER_CONFIG"
    cat >"$work/bin/runc" <<SH
#!/bin/sh
echo "\$*" >>"$work/runc.calls"
exec "$RUNTIME" "\$@"
SH
    chmod 755 "$work/bin/runc"
    : >"$work/runc.calls"
    cat >"$work/daemon.json" <<JSON
{ "default-runtime": "tested",
  "runtimes": {
    "tested": { "path": "$RUNTIME" },
    "debug": { "path": "$RUNTIME", "runtimeArgs": ["--debug"] } } }
JSON
}

# start_dockerd [OPTION...]: returns when it answers.
start_dockerd() {
    PATH="$work/bin:$PATH" dockerd --host "$DOCKER_HOST" --config-file "$work/daemon.json" --data-root "$work/data" \
        --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --cgroup-parent "/$tag" --shutdown-timeout 5 "$@" \
        >>"$work/dockerd.log" 2>&1 &
    dockerd=$!
    within 30 docker version
}

stop_dockerd() {
    kill "$dockerd" 2>/dev/null
    wait "$dockerd" 2>/dev/null
}

stop_client() {
    if declare -F stop_nodes >/dev/null; then stop_nodes; fi
    if [ -n "${dockerd-}" ]; then stop_dockerd; fi
    # Shims outlive a dockerd that was killed or told to keep its containers.
    local pid
    for pid in $(left_processes 'containerd|sleep|runc init' | cut -d ' ' -f 1); do kill -9 "$pid" 2>/dev/null; done
    sleep 0.2
    [ ! -e "$work/dockerd.log" ] || [ -z "${KEEP_LOG-}" ] || cp "$work/dockerd.log" "$KEEP_LOG"
}

# busybox_tar: once per run, in $work/busybox.tar.
busybox_tar() {
    [ -e "$work/busybox" ] || busybox_root "$work/busybox"
    printf '#!/bin/sh\necho data\n' >"$work/busybox/etc/not-executable"
    tar -C "$work/busybox" -cf "$work/busybox.tar" .
}

import_busybox() {
    docker import --change 'CMD ["/bin/sh"]' --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$work/busybox.tar" "$image" >/dev/null
}

# cgroup CONTAINER CONTROLLER FILE [V2FILE]: the value; with cgroup v2, of the other file.
cgroup() {
    local id
    id=$(inspect "$1" '{{.Id}}')
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        cat "/sys/fs/cgroup/$tag/$id/${4:-$3}" 2>&1
    else
        cat "/sys/fs/cgroup/$2/$tag/$id/$3" 2>&1
    fi
}
v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }
