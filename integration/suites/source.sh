# source.sh, sourced: public test suites, out of the source packages of Debian; kept in $cache, never part of this tree.

# The mirror that this host's apt reads its own packages from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 2>/dev/null | grep -m 1 '/debian/*$' ||
        apt-get indextargets --format '$(SITE)' | grep -m 1 '/debian/*$'
}

# debian_source SUITE PACKAGE: prints the folder with the unpacked upstream source (tests are not patched by Debian).
# Needs the network the first time.
debian_source() {
    local suite=$1 package=$2 folder=$cache/source/$1/$2 options
    if [ ! -e "$folder/unpacked" ]; then
        rm -rf "$folder"
        mkdir -p "$folder"/{lists/partial,unpacking}
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$folder/sources.list"
        options=(-qq -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Cache::pkgcache=
            -o "Dir::State::lists=$folder/lists" -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
        (
            cd "$folder" && apt-get "${options[@]}" update &&
                apt-get "${options[@]}" source --only-source --tar-only "$package" &&
                tar -C unpacking --strip-components=1 -xf ./*.orig.tar.* && rm -rf lists && mv unpacking unpacked
        ) >"$folder/log" 2>&1 || { cat "$folder/log" >&2; return 1; }
    fi
    echo "$folder/unpacked"
}
