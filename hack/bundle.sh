#!/bin/bash
# bundle.sh DIR [ARG...]: make a bundle of a static busybox and what `$RUNTIME spec` prints, running ARG... (default: sh).
set -eu
dir=$1
shift
[ $# -gt 0 ] || set -- sh
busybox=$(command -v busybox)
mkdir -p "$dir/rootfs"/{bin,dev,etc,proc,root,sys,tmp}
cp "$busybox" "$dir/rootfs/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$dir/rootfs/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/rootfs/etc/passwd"
rm -f "$dir/config.json"
(cd "$dir" && "${RUNTIME:-orlop}" spec)
args=
for arg; do
    arg=${arg//\\/\\\\}
    args+="${args:+, }\"${arg//\"/\\\"}\""
done
# The printed document has exactly one `"sh"`: its args. The container gets no terminal.
args=${args//\\/\\\\}
args=${args//&/\\&}
sed -i -e 's/"terminal": *true/"terminal": false/' -e "s|\"sh\"|${args//|/\\|}|" "$dir/config.json"
