# data.sh, sourced: what docker does with a container's files: diff, cp, commit, export.

docker run -d --name files $image sh -c 'echo new >/root/new; rm /etc/group; mkdir -p /srv/deep; sleep 1000' >/dev/null
within 15 docker exec files test -d /srv/deep
output=$(docker diff files)
has "docker diff: an added file" '^A /root/new$' "$output"
has "docker diff: a deleted file" '^D /etc/group$' "$output"
has "docker diff: a changed directory" '^C /etc$' "$output"
echo outside >"$work/outside"
succeeds "docker cp: into a running container" docker cp "$work/outside" files:/srv/deep/inside
same "docker cp: what the container reads" outside "$(docker exec files cat /srv/deep/inside)"
succeeds "docker cp: out of a running container" docker cp files:/root/new "$work/copied"
same "docker cp: what came out" new "$(cat "$work/copied" 2>&1)"
has "docker cp: to stdout as a tar" 'new' "$(docker cp files:/root/new - | tar -t)"
succeeds "docker commit: of a running container" docker commit --change 'CMD ["cat", "/root/new"]' files committed
succeeds "docker commit: the image runs" run committed
same "docker commit: with the container's files" new "$output"
has "docker export: the file system as a tar" '^srv/deep/inside$' "$(docker export files | tar -t)"
docker stop --time 0 files >/dev/null
succeeds "docker cp: into a stopped container" docker cp "$work/outside" files:/root/later
succeeds "docker start: of a container with copied files" docker start files
same "docker start: the files of before are there" "new outside" "$(docker exec files sh -c 'echo $(cat /root/new) $(cat /root/later)')"
remove files
docker rmi committed >/dev/null
