# An OCI image made, changed and unpacked by umoci, run with the config.json that umoci writes, unchanged.
"$top/hack/need.sh" busybox-static umoci || true

oci_cases() {
    layout=$work/image
    umoci init --layout "$layout" && umoci new --image "$layout:v1" &&
        umoci unpack --image "$layout:v1" "$work/layer" || return 1
    mkdir -p "$work/layer/rootfs"/{bin,dev,proc,sys,tmp,etc,srv}
    cp "$(command -v busybox)" "$work/layer/rootfs/bin/busybox"
    ln -s busybox "$work/layer/rootfs/bin/sh"
    echo 'keeper:x:1234:1234::/srv:/bin/sh' >"$work/layer/rootfs/etc/passwd"
    umoci repack --image "$layout:v1" "$work/layer" &&
        umoci config --image "$layout:v1" --config.user 1234:1234 --config.workingdir /srv --config.env MOORED=yes \
            --config.entrypoint /bin/sh --config.cmd -c \
            --config.cmd 'echo "at $(/bin/busybox pwd) as $(/bin/busybox id -u):$(/bin/busybox id -g) moored=$MOORED"; exit 4' || return 1
    umoci unpack --image "$layout:v1" "$work/unpacked"
}

if [ "$(id -u)" != 0 ] || ! command -v umoci >/dev/null; then
    skip "oci image" "needs root and umoci"
elif log=$(oci_cases 2>&1); then
    # umoci asks for a terminal.
    run_pty "$work/unpacked"
    same "oci image: exit status" 4 "$status"
    has "oci image: user, directory and environment of the image" '^at /srv as 1234:1234 moored=yes$' "$output"
else
    not_ok "oci image: umoci makes one" "$log"
fi
