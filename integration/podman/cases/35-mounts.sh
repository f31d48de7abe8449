# What is mounted into a container: read-only roots, tmpfs, volumes of all kinds, propagation, secrets.
mkdir -p "$work/bind/below" "$work/bind2" && echo host >"$work/bind/file" && chmod 777 "$work/bind" "$work/bind2"
mount -t tmpfs none "$work/bind/below" && echo deep >"$work/bind/below/deep"

output=$(run --rm --read-only -v "$work/bind:/bind" -v "$work/bind:/ro:ro" -v "$work/bind:/over:O" --tmpfs /small:size=64k,mode=1700,noexec \
    --mount "type=tmpfs,target=/large,tmpfs-size=1m,tmpfs-mode=1770" --shm-size 2m $image sh -c '
    touch /new 2>/dev/null; echo root $?
    touch /tmp/new /run/new; echo tmp $?
    cat /ro/file; touch /ro/new 2>/dev/null; echo ro $?
    echo changed >/over/file && cat /over/file
    cat /ro/below/deep; touch /ro/below/new 2>/dev/null; echo below $?
    echo written >/bind/new; echo rw $?
    stat -c "small %a" /small; stat -c "large %a" /large
    df -k /small /large /dev/shm | awk "NR>1 {print \$6, \$2}"
    grep -E " /(small|ro|bind) " /proc/self/mountinfo | cut -d" " -f5-6' 2>&1)
has "podman run --read-only: the root cannot be written" '^root 1$' "$output"
has "podman run --read-only: /tmp and /run can" '^tmp 0$' "$output"
has "podman run -v: read-only" '^ro 1$' "$output"
has "podman run -v: mounts below the source come along" '^deep$' "$output"
has "podman run -v: writable" '^rw 0$' "$output"
same "podman run -v: the host sees what was written" written "$(cat "$work/bind/new")"
has "podman run -v :O: an overlay can be written" '^changed$' "$output"
same "podman run -v :O: the source stays as it was" host "$(cat "$work/bind/file")"
has "podman run --tmpfs: its mode" '^small 1700$' "$output"
has "podman run --tmpfs: its size" '^/small 64$' "$output"
has "podman run --tmpfs: its options" '^/small .*noexec' "$output"
has "podman run --mount type=tmpfs: its mode" '^large 1770$' "$output"
has "podman run --mount type=tmpfs: its size" '^/large 1024$' "$output"
has "podman run --shm-size: the size" '^/dev/shm 2048$' "$output"
ends "podman run --read-only-tmpfs=false: nothing can be written" 1 run --rm --read-only --read-only-tmpfs=false $image touch /tmp/new

output=$(run --rm -v named:/named -v "$work/bind:/shared:z" -v "$work/bind2:/private:Z,U" \
    --user 1000:1000 --mount "type=bind,source=$work/bind,target=/mbind,readonly,bind-propagation=rprivate" \
    --mount "type=image,source=$image,target=/image" --mount "type=volume,source=named2,target=/named2" $image sh -c '
    cat /shared/file; stat -c "private %u" /private
    cat /mbind/file; touch /mbind/new 2>/dev/null; echo mbind $?
    ls /image/bin/busybox; touch /image/new 2>/dev/null; echo image $?
    test -d /named2; echo named2 $?' 2>&1)
has "podman run -v :z: harmless without SELinux" '^host$' "$output"
has "podman run -v :U: the source belongs to the user" '^private 1000$' "$output"
has "podman run --mount type=bind,readonly: it is" '^mbind 1$' "$output"
has "podman run --mount type=image: its files" '^/image/bin/busybox$' "$output"
has "podman run --mount type=image: read-only" '^image 1$' "$output"
has "podman run --mount type=volume: it is there" '^named2 0$' "$output"
run --rm -v named:/named $image sh -c 'echo stays >/named/file' >"$work/log" 2>&1
same "podman run -v: a named volume outlives its container" stays "$(run --rm -v named:/other $image cat /other/file 2>&1)"
same "podman run -v: a new volume takes the image's files" keeper "$(run --rm -v fresh:/etc $image sed -n 's/^\(keeper\):.*/\1/p' /etc/passwd 2>&1)"
same "podman run --volumes-from: the other's volumes" stays \
    "$(create --name giver -v named:/given $image true >/dev/null; run --rm --volumes-from giver $image cat /given/file 2>&1)"
same "podman run -v: a file onto a file" host "$(run --rm -v "$work/bind/file:/etc/hostname" $image cat /etc/hostname 2>&1)"
same "podman run -v: a link in the image is followed inside" host \
    "$(run --rm -v "$work/bind:/var/run/sub/dir" $image cat /var/run/sub/dir/file 2>&1)"

for kind in rshared rslave rprivate; do
    mkdir -p "$work/$kind/host" "$work/$kind/inside" && mount --bind "$work/$kind" "$work/$kind" && mount --make-shared "$work/$kind"
    hold --cap-add SYS_ADMIN --security-opt seccomp=unconfined -v "$work/$kind:/prop:$kind" $kind
    mount -t tmpfs none "$work/$kind/host"
    podman exec $kind mount -t tmpfs none /prop/inside >"$work/log" 2>&1 || cat "$work/log"
    seen=$(podman exec $kind grep -c ' /prop/host ' /proc/mounts)
    given=0
    ! mountpoint -q "$work/$kind/inside" || given=1
    case $kind in
    rshared) same "podman run -v :rshared: mounts go both ways" "1 1" "$seen $given" ;;
    rslave) same "podman run -v :rslave: mounts come in, none goes out" "1 0" "$seen $given" ;;
    rprivate) same "podman run -v :rprivate: mounts stay where they are" "0 0" "$seen $given" ;;
    esac
    podman rm -f -t 1 $kind >"$work/log" 2>&1
    umount_below "$work/$kind"
done

echo -n hidden | podman secret create word - >"$work/log" 2>&1
same "podman run --secret: a file" hidden "$(run --rm --secret word $image cat /run/secrets/word 2>&1)"
same "podman run --secret: a variable" hidden "$(run --rm --secret word,type=env,target=WORD $image sh -c 'echo $WORD' 2>&1)"
podman secret rm word >"$work/log" 2>&1
busybox_root "$work/rootfs"
same "podman run --rootfs: a directory as root" keeper "$(run --rm --rootfs "$work/rootfs" sh -c 'touch /mark; sed -n "s/^\(keeper\):.*/\1/p" /etc/passwd' 2>&1)"
same "podman run --rootfs: what is written stays there" "$work/rootfs/mark" "$(ls "$work/rootfs/mark" 2>&1)"
same "podman run --rootfs :O: what is written does not" "ok gone" \
    "$(run --rm --rootfs "$work/rootfs:O" sh -c 'touch /mark2 && echo ok' 2>&1) $(test -e "$work/rootfs/mark2" || echo gone)"
output=$(run --rm $image cat /proc/self/mountinfo 2>&1 | awk '{print $5, $6}')
for point in '/proc ' '/sys ro' '/dev ' '/dev/pts ' '/dev/mqueue ' '/dev/shm ' '/sys/fs/cgroup ' '/etc/hosts ' '/etc/resolv.conf ' \
    '/etc/hostname ' '/proc/keys ' '/sys/firmware ro' '/proc/sys ro'; do
    has "podman run: mounted: ${point% }" "^$point" "$output"
done
podman volume prune -f >"$work/log" 2>&1
umount "$work/bind/below"
