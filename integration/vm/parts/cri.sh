# Kubernetes' way as its hosts have it: containerd with systemd's cgroup driver, and AppArmor, below the client of
# integration/containerd.
. "$(dirname "$0")/begin.sh"
clients=$top/integration/containerd
. "$clients/daemon.sh"
. "$clients/cri.sh"
. "$lib/left.sh"
known_file=$clients/known.txt
tag=orlopcri.slice systemd_cgroup=true here=$clients cri_folder=/share/python
export CRI_PATIENCE=6
tear_down() {
    stop_containerd
    systemctl stop $tag >/dev/null 2>&1
    umount_below "$work"
    rm -rf --one-file-system "$work"
}
trap tear_down EXIT
start_containerd || within 60 ctr version || { not_ok "containerd: it starts" "$(tail "$work/containerd.log")"; closing; exit; }
make_images
part_cri
same "cri: no unit is left" "" "$(systemctl list-units --all --no-legend --plain 'cri-containerd-*.scope' | xargs)"
closing
