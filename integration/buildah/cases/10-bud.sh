# bud: what a Containerfile's RUN steps see.
echo -n hidden >"$work/secret"
output=$(bud localhost/first --build-arg WORD=argued --secret "id=word,src=$work/secret" --volume "$work/context:/given:ro" \
    --ulimit nofile=123:456 --cap-add SYS_PTRACE --cap-drop CHOWN --add-host elsewhere:10.9.8.7 --shm-size 3m \
    --memory 64m --memory-swap 64m --cpu-shares 300 --cpuset-cpus 0 <<DOCKER
FROM $image AS first
ARG WORD
ENV KEPT=kept
RUN echo one \$WORD \$KEPT >/one
WORKDIR /made/here
RUN pwd >/two && id -u >>/two
USER 1000:1000
RUN id -u >/tmp/three && id -g >>/tmp/three && pwd >>/tmp/three
USER root
RUN --mount=type=bind,target=/ctx cat /ctx/dir/deep >/four && ! touch /ctx/new
RUN --mount=type=tmpfs,target=/fast touch /fast/x && grep -q ' /fast tmpfs ' /proc/mounts && echo tmpfs >/five
RUN --mount=type=secret,id=word cat /run/secrets/word >/six
RUN --mount=type=cache,target=/cache echo cached >/cache/file
RUN --mount=type=cache,target=/cache cat /cache/file >/seven
RUN cat /given/file >/eight; touch /given/new 2>/dev/null || echo readonly >>/eight
RUN ulimit -n >/nine; ulimit -Hn >>/nine; sed -n 's/^CapEff:.//p' /proc/self/status >/ten; grep elsewhere /etc/hosts >/eleven
RUN df -k /dev/shm | awk 'NR == 2 {print \$2}' >/twelve; cat /proc/self/cgroup >/cgroups; cat /proc/self/mountinfo >/mountinfo; sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status >/cpus
RUN sed -n 's/^Seccomp:.//p' /proc/self/status >/seccomp; ls /dev | xargs >/devices; hostname >/name
SHELL ["/bin/ash", "-ec"]
RUN echo \$0 >/shell
RUN ["/bin/sh", "-c", "echo exec form >/form"]
COPY file /copied

FROM $image
COPY --from=first /one /two /tmp/three /four /five /six /seven /eight /nine /ten /eleven /twelve /cgroups /mountinfo /cpus /seccomp /devices /shell /form /copied /all/
RUN test ! -e /one && echo second stage >/all/stage
CMD ["cat", "/all/stage"]
DOCKER
) && ok "buildah bud: it builds" || not_ok "buildah bud: it builds" "$output"
container=$(buildah from --pull-never localhost/first 2>&1)
root=$(buildah mount "$container")
at() { xargs <"$root/all/$1" 2>&1; }
same "buildah bud: ARG and ENV" "one argued kept" "$(at one)"
same "buildah bud: WORKDIR, made on the way" "/made/here 0" "$(at two)"
same "buildah bud: USER" "1000 1000 /made/here" "$(at three)"
same "buildah bud --mount=type=bind: the context, read-only" deep "$(at four)"
same "buildah bud --mount=type=tmpfs: a tmpfs" tmpfs "$(at five)"
same "buildah bud --mount=type=secret: the secret" hidden "$(at six)"
same "buildah bud --mount=type=cache: kept from step to step" cached "$(at seven)"
same "buildah bud --volume: read-only" "from the context readonly" "$(at eight)"
same "buildah bud --ulimit: open files" "123 456" "$(at nine)"
[ $((0x$(at ten) & 1)) = 0 ] && [ $((0x$(at ten) & 0x80000)) != 0 ]
same "buildah bud --cap-add, --cap-drop: the capabilities" 0 $?
has "buildah bud --add-host: the line" '^10.9.8.7' "$(at eleven)"
same "buildah bud --shm-size: the size" 3072 "$(at twelve)"
same "buildah bud --cpuset-cpus: the CPUs" 0 "$(at cpus)"
has "buildah bud: the cgroup is the given one" ":memory:/$tag/build$" "$(cat "$root/all/cgroups")"
same "buildah bud: a filter" 2 "$(at seccomp)"
has "buildah bud: /dev" 'full.* null .*ptmx pts .*shm .*zero' "$(at devices)"
same "buildah bud: SHELL" /bin/ash "$(at shell)"
same "buildah bud: exec form" "exec form" "$(at form)"
same "buildah bud: a second stage" "second stage" "$(at stage)"
same "buildah bud: nothing of ours is left in the image" "" "$(ls "$root/all" | grep -vxE 'one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|cgroups|mountinfo|cpus|seccomp|devices|shell|form|copied|stage')"
buildah rm "$container" >"$work/log" 2>&1
same "podman run: what buildah built" "second stage" "$(run --rm localhost/first 2>&1)"

output=$(bud localhost/bad <<DOCKER
FROM $image
RUN echo before && exit 37
DOCKER
)
same "buildah bud: a failing step's exit status" 37 $?
has "buildah bud: and its sentence" 'exit status 37' "$output"
output=$(bud localhost/bad <<DOCKER
FROM $image
RUN ["/missing", "arg"]
DOCKER
)
has "buildah bud: a missing program, in words" '/missing.*no such file|/missing.*not found|not found.*/missing' "$output"
output=$(bud localhost/bad <<DOCKER
FROM $image
RUN kill -KILL \$\$; sleep 5 & kill -KILL \$!; wait \$!; exit \$?
DOCKER
)
same "buildah bud: a status above 128" 137 $?
output=$(bud localhost/bad --memory 16m --memory-swap 16m <<DOCKER
FROM $image
RUN head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null; exit \$?
DOCKER
)
code=$?
# The kernel may choose the shell, the container's init: to Buildah that is no exit code but a failure.
case "$code $output" in 1\ *"container exited on killed"*) code=137 ;; esac
same "buildah bud --memory: too much is killed" 137 $code
[ $code = 137 ] || printf '%s\n' "$output" | tail -n 20 | sed 's/^/#   /'
output=$(bud localhost/net --network none <<DOCKER
FROM $image
RUN ls /sys/class/net | xargs >/net
DOCKER
) && ok "buildah bud --network=none: it builds" || not_ok "buildah bud --network=none: it builds" "$output"
same "buildah bud --network=none: only lo" lo "$(run --rm localhost/net cat /net 2>&1)"
output=$(bud localhost/net --network host --userns-uid-map 0:100000:5000 --userns-gid-map 0:100000:5000 <<DOCKER
FROM $image
RUN cat /proc/self/uid_map | xargs >/map; touch /owned; stat -c %u /owned >>/map
DOCKER
) && ok "buildah bud --userns-uid-map: it builds" || not_ok "buildah bud --userns-uid-map: it builds" "$output"
same "buildah bud --userns-uid-map: the map and the owner inside" "0 100000 5000 0" "$(run --rm localhost/net cat /map 2>&1 | xargs)"
