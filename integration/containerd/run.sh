#!/bin/bash
# run.sh: containerd with $RUNTIME below it, driven by ctr. TAP lines, then `N passed, N failed, N skipped`.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
begin containerd containerd

cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
TOML
ctr() { timeout 60 ctr --address "$work/containerd.sock" "$@"; }
stop_client() { kill "$containerd"; wait "$containerd"; }

containerd --config "$work/config.toml" >"$work/containerd.log" 2>&1 &
containerd=$!
within 20 ctr version || { not_ok "containerd: it starts" "$(tail "$work/containerd.log")"; closing; exit; }

busybox_root "$work/busybox"
tar -C "$work/busybox" -cf "$work/busybox.tar" .
oci_image "$work/busybox.tar" "$work/image" busybox --config.cmd /bin/sh >"$work/umoci.log" 2>&1 &&
    tar -C "$work/image" -cf "$work/image.tar" .
succeeds "containerd: the image is imported" ctr images import --base-name docker.io/local/busybox "$work/image.tar"
image=docker.io/local/busybox:busybox
# run [ctr run options] ID ARG...: with the runtime under test, its state and its cgroups below ours.
run() {
    local options=()
    while [[ $1 == -* ]]; do options+=("$1"); shift; done
    local id=$1
    shift
    ctr run --runc-binary "$RUNTIME" --runc-root "$work/runtime" --cgroup "/$tag/$id" "${options[@]}" "$image" "$id" "$@"
}

succeeds "ctr run: the program's output" run --rm one id -u
same "ctr run: uid 0" 0 "$output"
ends "ctr run: the program's exit status" 7 run --rm two sh -c 'exit 7'
same "containerd: no cgroup is left" "" "$(left_cgroups)"
same "containerd: no shim is left" "" "$(left_processes containerd-shim)"
same "containerd: no state is left" "" "$(ls "$work/runtime/default" 2>/dev/null)"
closing
