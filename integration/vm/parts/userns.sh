# Idmapped mounts in user namespaces: whose files are seen, and whose are made, on the file systems that the machine has; what
# the kernel cannot do is refused in a sentence with path, file system and kernel.
. "$(dirname "$0")/begin.sh"
ids=()
finish() {
    for id in "${ids[@]}"; do rt delete --force "$id" >/dev/null 2>&1; done
    grep " $work/" /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r mount; do umount "$mount"; done
    rm -rf --one-file-system "$work"
}
trap finish EXIT
IFS=. read -r major minor _ < <(uname -r)
since() { [ "$major" -gt "$1" ] || { [ "$major" = "$1" ] && [ "${minor%%-*}" -ge "$2" ]; }; }

# runs ID MOUNT-FIELDS SCRIPT [FILTER]: $output and $status of a script in a container with $data mounted at /d.
runs() {
    ids+=("$1")
    bundle "$1" "$userns | .mounts += [{destination: \"${at-/d}\", type: \"bind\", source: \"$data\"} + {$2}]
        | .process.args = $(jq -nc --arg script "$3" '["sh", "-c", $script]') | ${4:-.}" || return
    status=0
    output=$(rt run --bundle "$work/$1" "$1" 2>&1 </dev/null) || status=$?
}

# refused NAME PATTERN ID: the last start failed, in one line that matches, and left nothing.
refused() {
    local left=
    [ "$status" != 0 ] || left="exit status 0; "
    [ "$(wc -l <<<"$output")" = 1 ] || left+="more than one line; "
    [ ! -e "$work/state/$3" ] || left+="a state directory; "
    if [ -z "$left" ] && grep -qE -- "$2" <<<"$output"; then ok "$1"; else not_ok "$1" "$left$output"; fi
}

# files DIR: one by each of some owners.
files() {
    local id
    mkdir -p "$1"
    chmod 777 "$1"
    for id in 0 1000 70000 200000; do
        echo $id >"$1/$id"
        chown $id:$id "$1/$id"
    done
}

bundle none . || exit 1
# The mapped root may not make mount points in a root that is not its own.
mkdir "$work"/rootfs/{d,e,f}
touch "$work/rootfs/file"
userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}]
    | .linux.gidMappings = .linux.uidMappings'
own='uidMappings: [{containerID: 0, hostID: 200000, size: 65536}], gidMappings: [{containerID: 0, hostID: 200000, size: 65536}]'
narrow='uidMappings: [{containerID: 1000, hostID: 200000, size: 1}], gidMappings: [{containerID: 2000, hostID: 200000, size: 1}]'
# As `stat` in the container and on the disk.
owners='cd /d; stat -c "%n %u:%g" *'
makes='touch /d/made && echo made'
data=$work/data
files "$data"
echo "# kernel $(uname -r), the disk is $(stat -f -c %T "$work")"

echo "# the disk"
runs plain 'options: ["bind"]' "$owners"
same "a bind without idmap" $'0 65534:65534\n1000 65534:65534\n200000 0:0\n70000 65534:65534' "$output"
mapped=$'0 0:0\n1000 1000:1000\n200000 65534:65534\n70000 65534:65534'
runs word 'options: ["bind", "idmap"]' "$owners; $makes"
if ! since 5 12; then
    refused "idmap: refused by name" "ids of $data: .*mounts\[[0-9]+\], mount_setattr.*need Linux 5\.12" word
    skip "idmapped mounts" "they came with Linux 5.12"
    closing
    exit
fi
same "idmap without mappings: the container's" "$mapped"$'\nmade' "$output"
same "idmap without mappings: a new file's owner on the disk" 0:0 "$(stat -c %u:%g "$data/made" 2>&1)"
rm -f "$data/made"
runs both "options: [\"bind\", \"idmap\"], $own" "$owners"
same "idmap with the container's mappings" "$mapped" "$output"
runs silent "options: [\"bind\"], $own" "$owners"
same "mappings without the word" "$mapped" "$output"
runs user 'options: ["bind", "idmap"]' "$makes" '.process.user = {uid: 1000, gid: 1000}'
same "idmap: an ordinary user makes a file" "made 1000:1000" "$output $(stat -c %u:%g "$data/made" 2>&1)"
rm -f "$data/made"
# The kernel lets nobody write to a directory whose own owner is not mapped.
data=$work/of-narrow
files "$data"
chown 1000:2000 "$data"
runs narrow "options: [\"bind\", \"idmap\"], $narrow" "$owners; $makes"
same "mappings of their own: what is seen" $'0 65534:65534\n1000 0:65534\n200000 65534:65534\n70000 65534:65534\nmade' "$output"
same "mappings of their own: a new file's owner on the disk" 1000:2000 "$(stat -c %u:%g "$data/made" 2>&1)"
rm -f "$data/made"
runs odd "options: [\"bind\", \"idmap\"], $narrow" "$makes" '.process.user = {uid: 5, gid: 5}'
has "mappings of their own: a user outside cannot make files" 'Value too large' "$output"
data=$work/data
runs two 'options: ["bind", "idmap"],
    uidMappings: [{containerID: 0, hostID: 200000, size: 1}, {containerID: 70000, hostID: 200007, size: 2}],
    gidMappings: [{containerID: 0, hostID: 200000, size: 1}, {containerID: 70000, hostID: 200008, size: 1}]' "$owners"
same "mappings of two ranges" $'0 0:0\n1000 65534:65534\n200000 65534:65534\n70000 7:8' "$output"
runs inline 'options: ["bind", "idmap=uids=0-200000-1#70000-200007-2;gids=@0-0-1#@70000-8-1"]' "$owners"
same "mappings of two ranges, inside the option" $'0 0:0\n1000 65534:65534\n200000 65534:65534\n70000 7:8' "$output"
runs readonly 'options: ["bind", "idmap", "ro"]' "$owners; $makes"
has "idmap, ro: owners" '^1000 1000:1000$' "$output"
has "idmap, ro: read-only" 'Read-only file system' "$output"
runs strict 'options: ["bind", "idmap", "nosuid", "nodev", "noexec"]' 'grep " /d " /proc/self/mounts; stat -c %u /d/1000'
has "idmap, nosuid, nodev, noexec: flags" ' nosuid,nodev,noexec|nosuid,nodev,noexec' "$output"
has "idmap, nosuid, nodev, noexec: owners" '^1000$' "$output"
data=$work/data/1000 at=/file
runs file 'options: ["bind", "idmap"]' 'stat -c %u:%g /file; cat /file'
same "a file" $'1000:1000\n1000' "$output"
unset at
data=$work/data
files "$work/second"
runs several 'options: ["bind", "idmap"]' "$owners; stat -c %u /e/1000 /f/1000" \
    ".mounts += [{destination: \"/e\", type: \"bind\", source: \"$work/second\", options: [\"bind\"], $narrow},
        {destination: \"/f\", type: \"bind\", source: \"$work/second\", options: [\"bind\"]}]"
same "three binds, two of them mapped, each in its own way" "$mapped"$'\n0\n65534' "$output"
ids+=(lives)
bundle lives "$userns | .mounts += [{destination: \"/d\", type: \"bind\", source: \"$data\", options: [\"bind\", \"idmap\"]}]"
start lives
same "exec sees the mapped mount" "$mapped" "$(rt exec lives sh -c "$owners" 2>&1 </dev/null)"
pid=$(pid_of lives)
ids+=(guest)
bundle guest "(.linux.namespaces += [{type: \"user\", path: \"/proc/$pid/ns/user\"}])
    | .mounts += [{destination: \"/d\", type: \"bind\", source: \"$data\", options: [\"bind\", \"idmap\"]}]
    | .process.args = $(jq -nc --arg script "$owners" '["sh", "-c", $script]')"
same "a joined user namespace: idmap takes its mappings" "$mapped" "$(rt run --bundle "$work/guest" guest 2>&1 </dev/null)"
rt delete --force lives

echo "# what is mounted below"
files "$work/third"
mkdir "$data/below"
mount --bind "$work/third" "$data/below"
below='stat -c "%n %u" /d/1000 /d/below/1000; touch /d/below/made && rm /d/below/made && echo made'
runs top 'options: ["rbind", "idmap"]' "$below"
same "rbind, idmap: only the top" $'/d/1000 1000\n/d/below/1000 65534\nmade' "$output"
runs all 'options: ["rbind", "ridmap"]' "$below"
same "rbind, ridmap: all" $'/d/1000 1000\n/d/below/1000 1000\nmade' "$output"
runs lone 'options: ["bind", "ridmap"]' 'stat -c "%n %u" /d/1000; ls /d/below'
same "bind, ridmap: nothing below is bound" '/d/1000 1000' "$output"
runs own-all "options: [\"rbind\", \"ridmap\"], $narrow" "$below"
has "rbind, ridmap, mappings of their own: the top" '^/d/1000 0$' "$output"
has "rbind, ridmap, mappings of their own: below" '^/d/below/1000 0$' "$output"
runs rro 'options: ["rbind", "ridmap", "rro"]' "$below"
has "rbind, ridmap, rro: owners below" '^/d/below/1000 1000$' "$output"
has "rbind, ridmap, rro: read-only below" 'Read-only file system' "$output"
runs ro 'options: ["rbind", "ridmap", "ro"]' "$below"
has "rbind, ridmap, ro: below it stays writable" '^made$' "$output"
umount "$data/below"

# kernel_says NAME ID PATH FILE-SYSTEM: refused with all that the reader needs.
kernel_says() {
    refused "$1: refused" . "$2"
    ! ours || has "$1: the words" \
        "mounts\\[[0-9]+\\].*; hint: .*$4 .*cannot be idmapped by kernel $(uname -r | sed 's/[.+]/\\&/g')" "$output"
    ! ours || has "$1: the path" "$3" "$output"
}

echo "# file systems"
data=$work/on-tmpfs
mkdir "$data"
mount -t tmpfs none "$data"
files "$data"
runs tmpfs 'options: ["bind", "idmap"]' "$owners"
if since 6 3; then
    same "tmpfs" "$mapped" "$output"
else
    kernel_says "tmpfs" tmpfs "$data" tmpfs
fi
mkdir "$work"/{upper,lower,inner,on-overlay}
files "$work/lower"
data=$work/on-overlay
mount -t overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/inner" none "$data"
chmod 777 "$data"
runs overlay 'options: ["bind", "idmap"]' "$owners; $makes"
if since 7 0; then
    same "overlay" "$mapped"$'\nmade' "$output"
    same "overlay: a new file's owner in the upper layer" 0:0 "$(stat -c %u:%g "$work/upper/made" 2>&1)"
else
    kernel_says "overlay" overlay "$data" overlay
fi
layers=
for layer in $(seq 10 29); do
    mkdir -p "$work/layers/$layer" && echo "$layer" >"$work/layers/$layer/$layer"
    layers+=:$work/layers/$layer
done
cd /root || exit 1
runs long 'options: ["bind"]' 'ls /f | wc -l' \
    ".mounts += [{destination: \"/f\", type: \"overlay\", source: \"overlay\", options: [\"lowerdir=${layers#:}\"]}]"
same "a new overlay of twenty layers, started in a folder that the mapped root may not enter" 20 "$output"
cd / || exit 1
data=/sys/kernel
runs sysfs 'options: ["bind", "idmap"]' true
kernel_says "sysfs" sysfs "$data" sysfs
data=$work/data
mount -t ramfs none "$data/below"
runs mixed 'options: ["rbind", "ridmap"]' true
kernel_says "ridmap over a ramfs" mixed "$data/below" ramfs
umount "$data/below"

echo "# refusals"
runs half 'options: ["bind", "idmap"], uidMappings: [{containerID: 0, hostID: 200000, size: 65536}]' true
refused "uidMappings alone" 'uidMappings|gidMappings|[mM]apping' half
runs host 'options: ["bind", "idmap"]' true 'del(.linux.uidMappings, .linux.gidMappings)
    | .linux.namespaces |= map(select(.type != "user"))'
refused "idmap without a user namespace" 'user ?(namespace|ns)' host
runs overlap 'options: ["bind", "idmap"],
    uidMappings: [{containerID: 0, hostID: 200000, size: 10}, {containerID: 5, hostID: 300000, size: 10}],
    gidMappings: [{containerID: 0, hostID: 200000, size: 10}]' true
refused "ranges that overlap" '[iI]nvalid argument|overlap' overlap
runs fs 'type: "tmpfs", source: "tmpfs", options: ["idmap"]' true
refused "a new file system cannot be idmapped" . fs
if ours; then
    has "a new file system cannot be idmapped: the words" 'mounts\[[0-9]+\]: only bind mounts can be idmapped' "$output"
    runs short 'options: ["bind", "idmap=uids=0-200000;gids=0-200000-10"]' true
    refused "mappings inside the option: not of three numbers" 'idmap=uids=.*FROM-TO-SIZE.*mounts\[[0-9]+\]\.options' short
fi
same "no container is left" "" "$(rt list --quiet 2>/dev/null)"
closing
