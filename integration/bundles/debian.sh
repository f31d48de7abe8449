# A Debian root file system: bash, dpkg and apt, by pipe and on a terminal, as root and as uid 1000.
debian_cases() {
    root=$work/debian-root
    mkdir -p "$root" && tar -C "$root" --numeric-owner -xpf "$work/debian.tar"
    bundle debian --like docker --no-limits "$root" -- bash -c \
        'echo "bash ${BASH_VERSINFO[0]}"; . /etc/os-release; echo "is $ID"; dpkg -l | grep -c ^ii; apt list --installed; apt-cache policy bash; id'
    run "$work/debian"
    same "debian: bash, dpkg and apt succeed" 0 "$status"
    has "debian: bash of a Debian" '^is debian$' "$output"
    has "debian: dpkg -l lists packages" '^[0-9]{2,}$' "$output"
    has "debian: apt list" '^apt/.*installed' "$output"
    has "debian: apt-cache policy" 'Installed: 5\.' "$output"
    has "debian: root" '^uid=0\(root\) gid=0\(root\)' "$output"

    # apt drops to its own user, dpkg unpacks, chowns and runs maintainer scripts.
    bundle install --like docker --no-limits "$root" -- bash -ec '
        mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin
        printf "Package: hold\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\nDescription: d\n" >/tmp/p/DEBIAN/control
        printf "#!/bin/sh\nchown games:games /usr/bin/hold\n" >/tmp/p/DEBIAN/postinst
        printf "#!/bin/sh\necho stowed\n" >/tmp/p/usr/bin/hold
        chmod 755 /tmp/p/DEBIAN/postinst /tmp/p/usr/bin/hold
        dpkg-deb --root-owner-group -b /tmp/p /tmp/hold.deb
        apt-get install -y /tmp/hold.deb
        hold; stat -c "owner %U" /usr/bin/hold; apt-get remove -y hold; ! test -e /usr/bin/hold'
    run "$work/install"
    same "debian: apt-get installs and removes a package" 0 "$status"
    has "debian: the package's program runs" '^stowed$' "$output"
    has "debian: its maintainer script ran" '^owner games$' "$output"

    bundle user --user 1000 "$root" -- bash -c \
        'id -u; grep -E "^Cap(Eff|Prm)" /proc/self/status; echo x >/etc/x; echo x >/dev/shm/x && echo shm; grep NoNewPrivs /proc/self/status'
    run "$work/user"
    has "debian: uid 1000" '^1000$' "$output"
    same "debian: uid 1000 has no capabilities" 2 "$(grep -c '^Cap.*:.0000000000000000$' <<<"$output")"
    has "debian: uid 1000 may not write to /etc" 'etc/x: (Permission denied|Read-only file system)' "$output"
    has "debian: uid 1000 may write to /dev/shm" '^shm$' "$output"

    for uid in 0 1000; do
        bundle "pty$uid" --terminal --user $uid --env 'PS1=ready>' "$root" -- bash --norc --noediting
        # runc sets the size a moment after the program has begun. noflsh: a terminal throws away what is written while it is
        # still at sending the signal.
        run_pty "$work/pty$uid" \
            'ready>=>tty; for i in $(seq 50); do [ "$(stty size)" = "33 111" ] && break; sleep 0.2; done; stty size; echo $((6*7)) $(id -u)\n' \
            "\\n42 $uid=>" 'ready>=>stty noflsh; sh -c '"'trap \"echo; echo caught; exit 9\" INT; echo sleeping; while :; do sleep 0.1; done'"'\n' \
            '\nsleeping=>>\x03' '\ncaught=>' 'ready>=>echo status $?\n' '\nstatus 9=>' 'ready>=>exit 5\n'
        same "debian: shell of uid $uid on a terminal ends with its status" 5 "$status"
        has "debian: uid $uid has a terminal" '^/dev/(pts/0|console)' "$output"
        has "debian: uid $uid sees the size of the terminal" '^33 111$' "$output"
        lacks "debian: uid $uid has job control" 'no job control|cannot set terminal' "$output"
    done
}

if [ "$(id -u)" != 0 ]; then
    skip "debian" "not root"
elif debian_tar "$work/debian.tar" 2>"$work/mmdebstrap.log"; then
    debian_cases
else
    skip "debian" "no root file system: $(tail -n 1 "$work/mmdebstrap.log" 2>/dev/null)"
fi
