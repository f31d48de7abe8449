#!/bin/bash
# need.sh PACKAGE...: install the Debian packages whose command (or file) this machine lacks; say nothing when it has all.
set -eu
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

present() {
    case $1 in
    binutils) command -v ld readelf ;;
    busybox-static) busybox true && ! ldd "$(command -v busybox)" ;;
    libc6-dev) test -e /usr/include/stdio.h ;;
    containerd) command -v containerd ctr ;;
    containernetworking-plugins) test -x /usr/lib/cni/bridge ;;
    docker.io) command -v dockerd && test -x /usr/bin/docker ;;
    e2fsprogs) command -v mke2fs ;;
    fdisk) command -v sfdisk ;;
    iproute2) command -v ip ;;
    kmod) command -v depmod ;;
    netcat-openbsd) command -v nc ;;
    netavark | aardvark-dns) test -x "/usr/lib/podman/$1" ;;
    libseccomp-dev) test -e /usr/include/seccomp.h ;;
    musl-tools) command -v musl-gcc ;;
    openssh-client) command -v ssh ssh-keygen ;;
    qemu-system-x86) command -v qemu-system-x86_64 ;;
    util-linux) command -v unshare nsenter ;;
    python3-pip) python3 -m pip --version ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing=()
for package; do
    present "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "need.sh: please install: ${missing[*]}" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1
}
# Empty lists (a fresh image) need an update first; stale ones show as a failed installation.
ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt update || true
echo "installing ${missing[*]}" >&2
# A daemon that a package brings is not started: the tests start their own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
fi
apt install -y --no-install-recommends "${missing[@]}" ||
    { apt update && apt install -y --no-install-recommends "${missing[@]}"; } ||
    { cat "$log" >&2; exit 1; }
