# A Debian image: packages are installed in RUN, without a network.
debian_tar "$work/debian.tar"
succeeds "buildah bud: the Debian image is imported" podman import --quiet "$work/debian.tar" localhost/debian
mkdir -p "$work/package/DEBIAN" "$work/package/usr/share/tested"
printf 'Package: tested\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\nDescription: tested\n' >"$work/package/DEBIAN/control"
printf '#!/bin/sh\nset -e\nadduser --system --group --no-create-home tested 2>/dev/null || useradd -r tested\nchown tested /usr/share/tested/file\n' >"$work/package/DEBIAN/postinst"
chmod 755 "$work/package/DEBIAN/postinst"
echo packed >"$work/package/usr/share/tested/file"
dpkg-deb --root-owner-group -b "$work/package" "$work/context/tested.deb" >"$work/log" 2>&1 || cat "$work/log"
output=$(bud localhost/debian2 --network none <<'DOCKER'
FROM localhost/debian
COPY tested.deb /tmp/
RUN dpkg -i /tmp/tested.deb && dpkg -s tested | grep '^Status'
RUN apt-get -qq check && dpkg --configure -a && ldconfig
RUN dpkg -P --force-depends tzdata >/dev/null 2>&1; dpkg --verify tested; useradd -m -u 1234 builder && su builder -c 'id -u >~/id'
USER builder
RUN whoami >/tmp/who && perl -e 'print "perl\n"' >>/tmp/who
DOCKER
) && ok "buildah bud: dpkg, apt-get check, useradd, su, perl" || not_ok "buildah bud: dpkg, apt-get check, useradd, su, perl" "$output"
same "buildah bud: what they did is in the image" "packed tested 1234 builder perl" \
    "$(run --rm localhost/debian2 sh -c 'cat /usr/share/tested/file; stat -c %U /usr/share/tested/file; cat /home/builder/id /tmp/who' 2>&1 | xargs)"
