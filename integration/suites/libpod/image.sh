# image.sh, sourced: what stands in for the images that libpod's tests pull from quay.io, and for quay.io itself.
#
# The test image is made as test/system/build-testimage says, with Debian's busybox in place of Alpine. A registry of our
# own, on the loopback device of our network namespace, has it under its own name, together with the few others.

test_image_root() {
    local dir=$1
    busybox_root "$dir"
    cp "$dir/bin/busybox" "$dir/bin/busybox-extras"
    mkdir -p "$dir"/{home/podman,var/www,mnt,usr/sbin,sbin,lib,opt,srv,media}
    echo 20220615 >"$dir/home/podman/testimage-id"
    # The `run --tz` case knows this time.
    touch --date=@1600000000 "$dir/home/podman/testimage-id"
    cat >"$dir/home/podman/pause" <<'SH'
#!/bin/sh
#
# Trivial little pause script, used in one of the pod tests
#
echo Confirmed: testimage pause invoked as $0
while :; do
    sleep 0.1
done
SH
    # Alpine's has this, Debian's busybox has not: adduser -u UID -G GROUP -D -g GECOS -s SHELL NAME.
    cat >"$dir/bin/adduser" <<'SH'
#!/bin/sh
while getopts u:G:Dg:s: option; do
    case $option in
    u) uid=$OPTARG ;;
    G) gid=$(sed -n "s/^$OPTARG:[^:]*:\([0-9]*\):.*/\1/p" /etc/group) ;;
    g) gecos=$OPTARG ;;
    s) shell=$OPTARG ;;
    esac
done
shift $((OPTIND - 1))
echo "$1:x:$uid:$gid:$gecos:/home/$1:$shell" >>/etc/passwd
SH
    # So does this: its own environment, not that of a shell.
    printf '#!/bin/sh\ntr "\\0" "\\n" </proc/$$/environ\n' >"$dir/bin/printenv"
    chmod 755 "$dir/home/podman/pause" "$dir"/bin/{adduser,printenv}
    ln -s /proc/mounts "$dir/etc/mtab"
    echo 3.16.0 >"$dir/etc/alpine-release"
    printf 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.16.0\n' >"$dir/etc/os-release"
    printf '127.0.0.1\tlocalhost\n' >"$dir/etc/hosts"
    printf 'http\t80/tcp\n' >"$dir/etc/services"
    cat >"$dir/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/ash
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
mail:x:8:12:mail:/var/mail:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
PASSWD
    printf '%s\n' root:x:0:root bin:x:1:root,bin,daemon daemon:x:2:root,bin,daemon tty:x:5: mail:x:12:mail users:x:100:games \
        ping:x:999: nogroup:x:65533: nobody:x:65534: >"$dir/etc/group"
}

# test_image: builds it into podman's storage and pushes it to the registry, together with others of the same content.
test_image() {
    local name=127.0.0.1:5999/libpod created=1655300000 other
    mkdir "$work/build"
    test_image_root "$work/image"
    tar -C "$work/image" -cf "$work/build/root.tar" .
    printf 'FROM scratch\nADD root.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' >"$work/build/first"
    podman build --squash-all --file "$work/build/first" -t interim-image "$work/build" || return 1
    for other in testimage:20220615 testimage:00000004 testimage:multiimage alpine:latest busybox:latest; do
        cat >"$work/build/$other" <<TEXT
FROM localhost/interim-image:latest
LABEL created_by=test/system/build-testimage
LABEL created_at=$(date --utc --date="@$created" +%Y-%m-%dT%H:%M:%SZ)
WORKDIR /home/podman
CMD ["/bin/echo", "This container is intended for podman CI testing"]
TEXT
        created=$((created + 1))
        podman build --timestamp="$created" --squash --file "$work/build/$other" -t "$name/$other" "$work/build" &&
            podman push --tls-verify=false "$name/$other" || return 1
    done
    # The cases begin with the one image they know.
    podman tag "$name/testimage:20220615" quay.io/libpod/testimage:20220615 &&
        podman rmi interim-image "$name"/{testimage:20220615,testimage:00000004,testimage:multiimage,alpine:latest,busybox:latest}
}

# start_registry: quay.io, on this machine; its process is $registry.
start_registry() {
    cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:5999" }
YAML
    docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
    registry=$!
    within 10 curl -sf http://127.0.0.1:5999/v2/
}
