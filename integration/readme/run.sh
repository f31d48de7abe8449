#!/bin/bash
# run.sh: what the README says about engines, word for word: its files go where it puts them, its commands are run as
# they stand, with the engines' own paths. All of that is private to this script's mount namespace.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
begin readme containerd docker.io podman buildah containernetworking-plugins

# block HEADING N: the Nth indented block below the README's heading that has this word.
block() {
    awk -v heading="$1" -v wanted="$2" '
        /^##/ { inside = index($0, heading) > 0; blocks = 0; open = 0; next }
        inside && /^    / { if (!open) { open = 1; blocks++ } if (blocks == wanted) print substr($0, 5); next }
        /./ { open = 0 }' "$top/README.md"
}

# private DIR...: an empty directory of ours in its place.
private() {
    local dir
    for dir; do
        mkdir -p "$dir" "$work/private$dir"
        mount --bind "$work/private$dir" "$dir"
    done
}

# says NAME COMMANDS...: each line of the README's commands prints what they all print.
says() {
    local name=$1 line got
    shift
    [ -n "$*" ] || not_ok "$name: the README has commands"
    while read -r line; do
        got=$(cd "$work/context" && timeout 60 bash -c "$line" 2>&1 </dev/null)
        has "$name: $line" '(^|: )ahoy$' "$got"
    done <<<"$*"
}

# start NAME PROBE... -- COMMAND...: a daemon that has 20 seconds.
daemons=()
start() {
    local name=$1 probe=()
    shift
    while [ "$1" != -- ]; do probe+=("$1"); shift; done
    shift
    "$@" >"$work/$name.log" 2>&1 &
    daemons+=($!)
    if within 20 "${probe[@]}"; then ok "$name starts with the file of the README"; else
        not_ok "$name starts with the file of the README" "$(tail -n 5 "$work/$name.log")"
    fi
}
stop_client() {
    [ ${#daemons[@]} = 0 ] || kill "${daemons[@]}"
    wait "${daemons[@]}" 2>/dev/null
    find /sys/fs/cgroup -depth -type d \( -path '*/default/hello' -o -path '*/default' -o -path '*/docker' -o -path '*/libpod_parent' \
        -o -path '*/machine.slice' \) -exec rmdir {} \; 2>/dev/null
}

cp -r /etc/containers "$work/containers"
private /usr/local/sbin /etc/containerd /etc/docker /etc/containers /var/lib/containerd /var/lib/docker /var/lib/containers \
    /etc/cni
cp "$RUNTIME" /usr/local/sbin/orlop
cp "$work/containers/policy.json" /etc/containers/
mkdir -p "$work/context"
busybox_root "$work/busybox"
tar -C "$work/busybox" -cf "$work/busybox.tar" .
PATH=/usr/sbin:/usr/bin:/sbin:/bin

block containerd 1 >/etc/containerd/config.toml
oci_image "$work/busybox.tar" "$work/image" latest --config.cmd /bin/sh >"$work/umoci.log" 2>&1
tar -C "$work/image" -cf "$work/image.tar" .
start containerd ctr version -- containerd
succeeds "containerd: the image is there" ctr images import --base-name docker.io/library/busybox "$work/image.tar"
says containerd "$(block containerd 2)"
has "containerd: CRI knows the handler" 'runtimes.orlop' "$(containerd config dump)"

block Docker 1 >/etc/docker/daemon.json
start dockerd docker version -- dockerd
succeeds "docker: the image is there" docker import -c 'CMD ["/bin/sh"]' "$work/busybox.tar" busybox
says docker "$(block Docker 2)"
has "docker: the default runtime" 'Default Runtime: orlop' "$(docker info 2>/dev/null)"

block Podman 1 >/etc/containers/containers.conf
if [ "$(ulimit -Hn)" -lt 1048576 ] && ! ulimit -Hn 1048576 2>/dev/null; then
    printf '[containers]\n%s\n' "$(sed -n 's/.*add `\(default_ulimits[^`]*\)`.*/\1/p' "$top/README.md")" >>/etc/containers/containers.conf
fi
succeeds "podman: the image is there" podman import -c 'CMD ["/bin/sh"]' "$work/busybox.tar" busybox
printf 'FROM localhost/busybox\nRUN echo ahoy\n' >"$work/context/Containerfile"
says podman "$(block Podman 2)"
same "podman: no container is left" "" "$(podman ps -aq)"
for path in /etc/containers /var/lib/docker /var/lib/containers /var/lib/containerd; do umount_below $path; done
closing
