#!/bin/bash
# run.sh [SUBJECT...]: Buildah, as root, with $RUNTIME running what a build runs. TAP lines, then
# `N passed, N failed, N skipped`. Each subject is a file in cases/; without arguments all of them run.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
. "$(dirname "$0")/../lib/podman.sh"
# The Debian image needs a network to be made.
before_namespaces() { debian_tar "$(mktemp -u)" >/dev/null; }
begin buildah buildah podman conmon

podman_begin
stop_client() { podman_end; }
import_busybox
cd "$work" || exit

# buildah ARG...: with the runtime under test named outright, as Buildah does not read it from containers.conf.
buildah() { timeout -k 5 "${patience:-100}" /usr/bin/buildah "$@"; }
# bud TAG [option...]: builds the Containerfile that comes on stdin, with $work/context as context.
mkdir -p "$work/context/dir"
echo from the context >"$work/context/file"
echo deep >"$work/context/dir/deep"
bud() {
    local name=$1
    shift
    cat >"$work/Containerfile"
    # To Buildah the "parent" is the container's own cgroup.
    buildah bud --runtime "$RUNTIME" --isolation oci --cgroup-parent "/$tag/build" --format docker --layers=false -q -t "$name" -f "$work/Containerfile" "$@" \
        "$work/context" </dev/null 2>&1
}
# in_container CONTAINER [buildah run option...] -- ARG...
in_container() {
    local name=$1
    shift
    buildah run --runtime "$RUNTIME" --isolation oci "${options[@]}" "$name" "$@"
}

choose_subjects
for subject in "${subjects[@]}"; do
    . "$here/cases/$subject.sh"
done
buildah rm -a >"$work/rm.log" 2>&1
same "buildah: no container is left" "" "$(buildah containers -q)"
same "buildah: no mount is left" "" "$(left_mounts "$work" | grep -vE "^$work/(graph/overlay|run/overlay)$")"
same "buildah: no process of the runtime is left" "" "$(left_processes "^($RUNTIME|orlop:)")"
same "buildah: no state is left" "" "$(ls "/run/$runtime" 2>/dev/null)"
same "buildah: no directory of its own is left" "" "$(ls "$TMPDIR" | grep -v '^buildah-cache$')"
same "buildah: no cgroup is left" "" "$(left_of_containers)"
closing
