# mounts.sh, sourced: read-only roots, tmpfs, volumes, bind mounts and their propagation.

mkdir -p "$work/shared" "$work/plain"
echo host >"$work/plain/file"

output=$(run --read-only --tmpfs /scratch $image sh -c 'touch /refused; touch /scratch/taken && echo taken; echo x >/dev/shm/x && echo shm; touch /etc/hosts' 2>&1)
has "docker run --read-only: the root cannot be written" '/refused: Read-only file system' "$output"
has "docker run --tmpfs: it can" '^taken$' "$output"
has "docker run --read-only: /dev/shm can" '^shm$' "$output"
has "docker run --read-only: the daemon's own files cannot" '/etc/hosts: Read-only file system' "$output"
output=$(run --tmpfs /scratch:size=4m,mode=1770,uid=5,exec $image sh -c 'stat -c "%a %u" /scratch; df -k /scratch | tail -n 1; grep " /scratch " /proc/mounts')
has "docker run --tmpfs: mode and owner" '^1770 5$' "$output"
has "docker run --tmpfs: size" '^tmpfs +4096 ' "$output"
has "docker run --tmpfs: flags" ' /scratch tmpfs rw,nosuid,nodev,relatime,size=4096k' "$output"

run -v named:/data $image sh -c 'echo kept >/data/file'
same "docker run -v: a named volume keeps its files" kept "$(run -v named:/data $image cat /data/file)"
has "docker run -v :ro: a named volume cannot be written" 'Read-only file system' "$(run -v named:/data:ro $image touch /data/no 2>&1)"
same "docker run -v: a new volume takes the image's files" root "$(run -v fresh:/etc $image sh -c 'head -n 1 /etc/passwd | cut -d: -f1')"
docker volume rm named fresh >/dev/null
docker run -d --name anonymous -v /data $image sh -c 'echo x >/data/x; sleep 1000' >/dev/null
has "docker inspect: an anonymous volume" '^volume [0-9a-f]{64}$' "$(inspect anonymous '{{range .Mounts}}{{.Type}} {{.Name}}{{end}}')"
same "docker run --volumes-from: the other's volume" x "$(run --volumes-from anonymous $image cat /data/x)"
docker rm -f -v anonymous >/dev/null
same "docker rm -v: the anonymous volume is gone" "" "$(docker volume ls -q)"

same "docker run -v: a bind mount" host "$(run -v "$work/plain:/mnt" $image cat /mnt/file)"
run -v "$work/plain:/mnt" $image sh -c 'echo written >/mnt/back'
same "docker run -v: writes reach the host" written "$(cat "$work/plain/back" 2>&1)"
has "docker run -v :ro: writes are refused" 'Read-only file system' "$(run -v "$work/plain:/mnt:ro" $image touch /mnt/no 2>&1)"
same "docker run -v: of one file" host "$(run -v "$work/plain/file:/root/one" $image cat /root/one)"
run -v "$work/plain/made:/mnt" $image true
same "docker run -v: a missing source is made a directory" directory "$(stat -c %F "$work/plain/made")"
same "docker run --mount type=bind: it is there" host "$(run --mount "type=bind,source=$work/plain,target=/mnt" $image cat /mnt/file)"
has "docker run --mount readonly: writes are refused" 'Read-only file system' \
    "$(run --mount "type=bind,source=$work/plain,target=/mnt,readonly" $image touch /mnt/no 2>&1)"
has "docker run --mount type=tmpfs: size and mode" '^700 tmpfs +8192 ' \
    "$(run --mount type=tmpfs,target=/scratch,tmpfs-size=8m,tmpfs-mode=700 $image sh -c 'echo $(stat -c %a /scratch) $(df -k /scratch | tail -n 1)')"
has "docker run --mount volume-opt: a tmpfs volume" '^memory /data tmpfs .*size=2048k' \
    "$(run --mount 'type=volume,target=/data,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=memory,"volume-opt=o=size=2m"' $image grep ' /data ' /proc/mounts)"
same "docker run -v: of the same place under two names" host "$(run -v "$work/plain:/a" -v "$work/plain:/b:ro" $image cat /b/file)"
echo inner >"$work/inner"
same "docker run -v: one inside another" "host inner" \
    "$(run -v "$work/plain:/a" -v "$work/inner:/a/new:ro" --tmpfs /a/made $image sh -c 'touch /a/made/x && echo $(cat /a/file) $(cat /a/new)' 2>&1)"
same "docker run --tmpfs: inside a bind mount it keeps the host's files away" "" "$(ls "$work/plain/made")"

# A mount below the source of a bind mount.
mkdir -p "$work/plain/below" && mount -t tmpfs none "$work/plain/below" && touch "$work/plain/below/seen"
same "docker run -v: mounts below the source come along" seen "$(run -v "$work/plain:/mnt" $image ls /mnt/below)"
same "docker run --mount bind-nonrecursive: they do not" "" \
    "$(run --mount "type=bind,source=$work/plain,target=/mnt,bind-nonrecursive" $image ls /mnt/below)"
umount "$work/plain/below"

# Propagation: a mount made on the host (in) and one made in the container (out), by a container that may mount.
mount -t tmpfs none "$work/shared" && mount --make-shared "$work/shared" && mkdir "$work/shared"/{in,out}
propagated() {
    local mode=$1 in=$2 out=$3
    docker run -d --name spreading --cap-add SYS_ADMIN --security-opt seccomp=unconfined -v "$work/shared:/mnt:$mode" $image sleep 1000 >/dev/null
    mount -t tmpfs none "$work/shared/in" && touch "$work/shared/in/from-host"
    same "docker run -v :$mode: a later mount of the host" "$in" "$(docker exec spreading ls /mnt/in)"
    docker exec spreading sh -c 'mount -t tmpfs none /mnt/out && touch /mnt/out/from-container'
    same "docker run -v :$mode: a mount of the container on the host" "$out" "$(ls "$work/shared/out")"
    remove spreading
    umount "$work/shared/in"
    umount "$work/shared/out" 2>/dev/null
}
propagated rprivate "" ""
propagated rslave from-host ""
propagated rshared from-host from-container
same "docker run --mount bind-propagation: rslave" "from-host" \
    "$(docker run -d --name slave --mount "type=bind,source=$work/shared,target=/mnt,bind-propagation=rslave" $image sleep 1000 >/dev/null
    mount -t tmpfs none "$work/shared/in" && touch "$work/shared/in/from-host"; docker exec slave ls /mnt/in)"
remove slave
umount "$work/shared/in"
umount "$work/shared"

output=$(run $image cat /proc/mounts)
has "docker run: /sys is read-only" '^sysfs /sys sysfs ro,nosuid,nodev,noexec' "$output"
has "docker run: /proc/sys is read-only" '^proc /proc/sys proc ro,' "$output"
has "docker run: /proc/acpi or /sys/firmware is masked" '^tmpfs (/proc/acpi|/sys/firmware) tmpfs ro' "$output"
has "docker run: /dev/shm" '^shm /dev/shm tmpfs rw,nosuid,nodev,noexec,.*size=65536k' "$output"
has "docker run --shm-size: /dev/shm" 'size=131072k' "$(run --shm-size 128m $image grep ' /dev/shm ' /proc/mounts)"
has "docker run: its own /etc/hosts" ' /etc/hosts ext4 | /etc/hosts ' "$output"
lacks "docker run: no mount of the host is seen" "$work" "$(cut -d ' ' -f 2 <<<"$output")"
