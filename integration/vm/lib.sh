# lib.sh, sourced by build-image, add-kernel, run-in-vm and run.sh.
# VM_SUITE: the Debian release of the machine; each has a folder of its own.
VM_SUITE=${VM_SUITE:-bookworm}
VM_CACHE=${VM_CACHE:-${XDG_CACHE_HOME:-/var/cache}/orlop/vm}
[ "$VM_SUITE" = bookworm ] || VM_CACHE=$VM_CACHE/$VM_SUITE

# mirror: the one that the host's apt uses.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1
}

# apt_of DIR SUITE: in $apt_options what makes apt work with lists and sources of its own in DIR; the host's are not touched.
apt_of() {
    mkdir -p "$1"/{lists/partial,cache/archives/partial}
    : >"$1/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $2 main" >"$1/sources.list"
    apt_options=(-o "Dir::State::Lists=$1/lists" -o "Dir::Cache=$1/cache" -o "Dir::Etc::sourcelist=$1/sources.list"
        -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::status=$1/status" -o APT::Sandbox::User=root
        -o Acquire::Languages=none)
    apt-get -q "${apt_options[@]}" update >/dev/null || { echo "$(mirror) has no suite $2" >&2 && return 1; }
}

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
