# daemon.sh, sourced: containerd's configuration, its start and stop, the image, and ctr with the runtime under test.

# One configuration for ctr and CRI. `restrict_oom_score_adj`: a host without CAP_SYS_RESOURCE cannot lower a score.
configure() {
    cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "$work/state"
[grpc]
  address = "$work/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/busybox:pause"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$work/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tested"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
      BinaryName = "$RUNTIME"
      Root = "$work/runtime"
      SystemdCgroup = ${systemd_cgroup:-false}
TOML
}

start_containerd() {
    [ -e "$work/config.toml" ] || configure
    # `ctr c create` has no option for the runtime's path: it finds the one under test in runc's place.
    # Root of a mapped user namespace must come through to the bundle.
    chmod 711 "$work"
    mkdir -p "$work/path"
    ln -sfn "$RUNTIME" "$work/path/runc"
    PATH=$work/path:$PATH containerd --config "$work/config.toml" >>"$work/containerd.log" 2>&1 &
    containerd=$!
    within 20 ctr version
}

stop_containerd() {
    [ -n "${containerd-}" ] || return 0
    kill "$containerd"
    wait "$containerd"
    containerd=
}

# A program that is pid 1 ignores the SIGTERM that ctr passes on: hence -k.
ctr() { timeout -k 2 30 ctr --address "$work/containerd.sock" "$@"; }

# Two names of one file system: `busybox` for what is run, `pause` whose program only waits, for the sandboxes of CRI.
make_images() {
    busybox_root "$work/busybox"
    printf 'not a program\n' >"$work/busybox/etc/text"
    chmod 644 "$work/busybox/etc/text"
    printf '#!/no/such/interpreter\n' >"$work/busybox/bin/orphan"
    chmod 755 "$work/busybox/bin/orphan"
    tar -C "$work/busybox" -cf "$work/busybox.tar" .
    oci_image "$work/busybox.tar" "$work/image" busybox --config.cmd /bin/sh >"$work/umoci.log" 2>&1 &&
        oci_image "$work/busybox.tar" "$work/image" pause --config.cmd /bin/sleep --config.cmd 1000000 \
            >>"$work/umoci.log" 2>&1 && tar -C "$work/image" -cf "$work/image.tar" .
    succeeds "containerd: the image is imported" ctr images import --base-name docker.io/local/busybox "$work/image.tar"
    image=docker.io/local/busybox:busybox
}

# run [--option=value...] ID ARG...: a container of the image, by the runtime under test, its state and cgroups below ours.
run() {
    local options=()
    while [[ $1 == -* ]]; do options+=("$1"); shift; done
    local id=$1
    shift
    ctr run --runc-binary "$RUNTIME" --runc-root "$work/runtime" --cgroup "/$tag/$id" "${options[@]}" "$image" "$id" "$@"
}

# spec_file ID ARG...: $work/ID.json, which is the runtime's own `spec` with a few values of ours.
spec_file() {
    rm -f "$work/config.json"
    "$RUNTIME" spec --bundle "$work" || return 1
    python3 - "$work" "$tag" "$@" <<'PYTHON'
import json, sys
work, tag, name, *args = sys.argv[1:]
spec = json.load(open(work + "/config.json"))
spec["process"].update(terminal=False, args=args, oomScoreAdj=777,
                       rlimits=[{"type": "RLIMIT_NOFILE", "soft": 333, "hard": 444}])
spec["root"] = {"path": work + "/busybox"}
spec["hostname"] = "by-spec"
spec["linux"]["cgroupsPath"] = f"/{tag}/{name}"
spec["linux"].setdefault("resources", {})["pids"] = {"limit": 55}
json.dump(spec, open(f"{work}/{name}.json", "w"))
PYTHON
}

# remove ID...: whatever state they are in.
remove() {
    local id
    for id; do
        ctr task kill -s SIGKILL "$id"
        ctr task delete --force "$id"
        ctr c delete "$id"
    done >/dev/null 2>&1
}

status_of() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
pid_of() { ctr task ls | awk -v id="$1" '$1 == id { print $2 }'; }
is() { [ "$(status_of "$1")" = "$2" ]; }

# cgroup_of ID CONTROLLER: the folder of the container's cgroup in v1's hierarchy of the controller, or in v2's.
cgroup_of() {
    if [ -e "/sys/fs/cgroup/$2" ]; then echo "/sys/fs/cgroup/$2/$tag/$1"; else echo "/sys/fs/cgroup/$tag/$1"; fi
}

# limit ID CONTROLLER FILE-V1 FILE-V2: a value read back from the kernel.
limit() {
    local dir
    dir=$(cgroup_of "$1" "$2")
    if [ -e "$dir/$3" ]; then cat "$dir/$3"; else cat "$dir/$4"; fi
}

# nothing_left WHERE: cgroups, shims, state and mounts of containers are gone. What ends late has ten seconds for it.
nothing_left() {
    within 10 clean
    same "$1: no cgroup is left" "" "$(left_cgroups)"
    same "$1: no shim is left" "" "$(left_processes containerd-shim-runc)"
    same "$1: no state is left" "" "$(left_state)"
    same "$1: no mount is left" "" "$(left_mounts "$work/state")"
}
clean() {
    [ -z "$(left_cgroups)$(left_processes containerd-shim-runc)$(left_mounts "$work/state")$(left_state)" ]
}
left_state() { find "$work/runtime" /run/containerd/runc -mindepth 2 -maxdepth 2 2>/dev/null; }
