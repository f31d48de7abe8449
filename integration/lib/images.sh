# images.sh, sourced: root file systems and images, made on the spot from Debian's packages.
cache=${XDG_CACHE_HOME:-/var/cache}/orlop

# busybox_root DIR: a static busybox with all its applets, a user `keeper` (1000:1000), world-writable /tmp.
busybox_root() {
    local dir=$1 busybox applet
    busybox=$(PATH=/usr/bin:/bin command -v busybox)
    mkdir -p "$dir"/{bin,dev,etc,home,proc,root,run,sys,tmp,usr/bin,var/tmp}
    chmod 1777 "$dir/tmp" "$dir/var/tmp"
    cp "$busybox" "$dir/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$dir/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nkeeper:x:1000:1000::/home:/bin/sh\n' >"$dir/etc/passwd"
    printf 'root:x:0:\nkeeper:x:1000:\nrope:x:2000:keeper\n' >"$dir/etc/group"
}

# debian_tar FILE: a Debian with apt, of this host's own suite; made once and kept in $cache. Needs the network.
debian_tar() {
    local suite
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    if [ ! -s "$cache/debian-$suite.tar" ]; then
        mkdir -p "$cache"
        "$top/hack/need.sh" mmdebstrap || return 1
        # Without a mirror of its own this reads the host's apt sources.
        mmdebstrap --quiet --variant=apt --format=tar "$suite" "$cache/debian-$suite.tar.$$" >&2 || return 1
        mv "$cache/debian-$suite.tar.$$" "$cache/debian-$suite.tar"
    fi
    [ "$1" = "$cache/debian-$suite.tar" ] || ln -sfn "$cache/debian-$suite.tar" "$1"
}

# oci_image ROOTFS.TAR LAYOUT TAG [umoci config option...]: an OCI image of one layer.
oci_image() {
    local tar=$1 layout=$2 name=$3
    shift 3
    [ -e "$layout" ] || umoci init --layout "$layout" || return 1
    umoci new --image "$layout:$name" && umoci raw add-layer --image "$layout:$name" "$tar" &&
        umoci config --image "$layout:$name" --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
