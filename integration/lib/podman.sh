# podman.sh, sourced by the run.sh of Podman and of Buildah: their configuration and the image that the cases use.

# podman_begin: configuration in $work, from the containers.conf that users are given.
podman_begin() {
    # Podman's locks are one file in /dev/shm for the whole host: ours are our own.
    mount -t tmpfs -o mode=1777 none /dev/shm
    # Containers with a user namespace of their own reach their roots through here as another user.
    chmod 711 "$work"
    mkdir -p "$work"/{graph,run,tmp,config,volumes,etc}
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/etc/policy.json"
    : >"$work/etc/registries.conf"
    cat >"$work/etc/storage.conf" <<TOML
[storage]
driver = "overlay"
graphroot = "$work/graph"
runroot = "$work/run"
TOML
    # The file as users have it: for another runtime its name stands where orlop's stood.
    sed "s|\"/usr/local/bin/orlop\", \"/usr/bin/orlop\"|\"$RUNTIME\"|" "$lib/../podman/containers.conf" >"$work/etc/orlop.conf"
    sed "s|^orlop = |$runtime = |; s|\"orlop\"|\"$runtime\"|" "$work/etc/orlop.conf" >"$work/etc/containers.conf"
    export CONTAINERS_CONF=$work/etc/containers.conf CONTAINERS_STORAGE_CONF=$work/etc/storage.conf
    export CONTAINERS_REGISTRIES_CONF=$work/etc/registries.conf TMPDIR=$work/tmp XDG_CONFIG_HOME=$work/config
    podman_options=(--volumepath "$work/volumes" --network-config-dir "$work/etc/networks" --events-backend file)
    image=localhost/busybox
}

# podman ARG...: a client that hangs fails its case, not the whole run.
podman() { timeout -k 5 "${patience:-40}" /usr/bin/podman "${podman_options[@]}" "$@"; }

# podman_typed [STEP...] -- ARG...: podman on a terminal of 31 lines and 101 columns.
podman_typed() {
    local steps=()
    while [ "$1" != -- ]; do steps+=("$1"); shift; done
    shift
    typed --size 31x101 "${steps[@]}" -- /usr/bin/podman "${podman_options[@]}" "$@"
}

# run, create [podman option...] IMAGE ARG...: their cgroups below ours.
run() { podman run --cgroup-parent "/$tag" "$@"; }
create() { podman create --cgroup-parent "/$tag" "$@"; }

import_busybox() {
    busybox_root "$work/busybox"
    tar -C "$work/busybox" -cf "$work/busybox.tar" .
    succeeds "$client: the image is imported" podman import --quiet --change 'CMD ["/bin/sh"]' \
        --change ENV=PATH=/usr/sbin:/usr/bin:/sbin:/bin "$work/busybox.tar" "$image"
}

# hold [podman option...] NAME: a container that stays and ends at once when asked to.
hold() {
    local name=${*: -1}
    run -d --name "$name" "${@:1:$#-1}" "$image" sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done' >"$work/hold.log" 2>&1 ||
        cat "$work/hold.log" >&2
}

# inspect FORMAT NAME
inspect() { podman inspect --format "$1" "$2" 2>&1; }

# cgroup_file CONTAINER CONTROLLER FILE: a file of its cgroup, seen from the host.
cgroup_file() {
    local pid path
    pid=$(inspect '{{.State.Pid}}' "$1")
    path=$(sed -n "s/^[0-9]*:\([a-z_,]*,\)\?$2\(,[a-z_,]*\)\?://p" "/proc/$pid/cgroup")
    cat "/sys/fs/cgroup/$2$path/$3"
}

# remove_all: containers that others depend on go in the second round.
remove_all() {
    podman pod rm -fa -t 0 >/dev/null 2>&1
    podman rm -fa -t 0 >/dev/null 2>&1 || podman rm -fa -t 0 >"$work/rm.log" 2>&1 || cat "$work/rm.log"
}

podman_end() {
    remove_all
    # `podman play kube` 4.3 takes no parent for its cgroups; directories that are in use stay.
    find /sys/fs/cgroup -depth -path '*/libpod_parent/*' -type d -exec rmdir {} + 2>/dev/null
}

# left_of_containers: cgroups. Not counted, as they belong to Podman: conmon's, one for all containers of the parent, and
# those of pods in the hierarchies without controllers, which it does not remove.
left_of_containers() {
    left_cgroups | grep -vE "/$tag/conmon$|/(systemd|unified)/$tag/[0-9a-f]{64}(/conmon)?$"
}

conmons() { left_processes '^[^ ]*conmon ' | grep -v -- '--exit-delay' | cut -c1-120; }
no_conmon() { [ -z "$(conmons)" ]; }

# nothing_left: after all containers are removed.
nothing_left() {
    remove_all
    same "$client: no container is left" "" "$(podman ps -aq --external 2>&1)"
    same "$client: no cgroup is left" "" "$(left_of_containers)"
    # For exec sessions of its service Podman has conmon wait five minutes more, with any runtime.
    within 15 no_conmon
    same "$client: no conmon is left" "" "$(conmons)"
    same "$client: no process of the runtime is left" "" "$(left_processes "^($RUNTIME|orlop:)")"
    same "$client: no state is left" "" "$(ls "/run/$runtime" 2>/dev/null)"
    same "$client: no network namespace is left" "" "$(ls /run/netns 2>/dev/null)"
    same "$client: no mount is left" "" "$(left_mounts "$work" | grep -vE "^$work/(graph/overlay|run/overlay|etc/.*)$")"
}

# choose_subjects: $subjects is what the script was asked for, or every file of cases/ beside it.
choose_subjects() {
    local path
    subjects=("${arguments[@]}")
    [ ${#subjects[@]} = 0 ] || return 0
    for path in "$here"/cases/*.sh; do
        path=${path##*/}
        subjects+=("${path%.sh}")
    done
}
