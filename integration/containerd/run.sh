#!/bin/bash
# run.sh [PART...]: containerd with $RUNTIME below it, driven by ctr and by a client of its CRI service. Without
# arguments all parts: start options limits life errors cri. TAP lines, then `N passed, N failed, N skipped`.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/daemon.sh"
for part in start options limits life errors cri; do . "$here/$part.sh"; done
[ $# -gt 0 ] || set -- start options limits life errors cri

# The CRI client's packages, fetched before the network is gone.
before_namespaces() {
    case " ${parts[*]} " in *" cri "*) cri_packages ;; esac
}
parts=("$@")
begin containerd containerd containernetworking-plugins python3 python3-pip

stop_client() { stop_containerd; }
start_containerd || { not_ok "containerd: it starts" "$(tail "$work/containerd.log")"; closing; exit; }
make_images
for part in "${parts[@]}"; do "part_$part"; done
closing
