# lib.sh, sourced by build-image, add-kernel, run-in-vm and run.sh.
VM_CACHE=${VM_CACHE:-${XDG_CACHE_HOME:-/var/cache}/orlop/vm}

# fetch_kernel DIR PACKAGE [APT-OPTION...]: unpack the kernel that the meta package stands for into DIR/x. From 6.17 on modules
# and image may lie in packages of their own.
fetch_kernel() {
    local dir=$1 package=$2 real more
    shift 2
    real=$(apt-cache "$@" depends "$package" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    real=${real:-$package}
    more=$(apt-cache "$@" depends "$real" | sed -n 's/^ *Depends: \(linux-\(modules\|binary\|base\)-[0-9].*\)/\1/p')
    (
        cd "$dir" || exit 1
        apt-get -q -o APT::Sandbox::User=root "$@" download "$real" $more >/dev/null || exit 1
        for deb in *.deb; do dpkg-deb -x "$deb" x || exit 1; done
    )
}
