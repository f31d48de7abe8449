# build.sh, sourced: docker build by the classic builder, whose RUN is a container of the default runtime, and by
# dockerd's BuildKit, which looks `runc` up in PATH and calls `runc run` itself.

rm -rf "$work/context" && mkdir -p "$work/context"
echo payload >"$work/context/payload"
cat >"$work/context/Dockerfile" <<'DOCKERFILE'
FROM busybox AS first
ARG flavour=plain
ENV flavour=$flavour
RUN echo "made with $flavour by $(id -un)" >/made
RUN adduser -D -h /home/smith smith || echo smith:x:1500:1500::/home:/bin/sh >>/etc/passwd
USER smith
WORKDIR /tmp/shop
RUN id -un >/tmp/who && pwd >/tmp/where
FROM busybox
COPY --from=first /made /tmp/who /tmp/where /result/
COPY payload /result/payload
RUN cat /result/payload >/result/copied
ENTRYPOINT ["/bin/sh", "-c", "cat /result/made /result/who /result/where /result/copied"]
DOCKERFILE
printf 'FROM busybox\nRUN echo before; exit 42\n' >"$work/context/Failing"
printf 'FROM busybox\nRUN no-such-command\n' >"$work/context/Missing"
printf 'FROM busybox\nRUN sh -c "cat /proc/self/status; echo seen; ls /dev; cat /proc/mounts"; touch /x\n' >"$work/context/Inside"

# built NAME BUILDKIT
built() {
    local name=$1
    export DOCKER_BUILDKIT=$2
    succeeds "$name: RUN, USER, WORKDIR, ARG, stages" docker build --force-rm --build-arg flavour=salt -t made "$work/context"
    output=$(run made 2>&1)
    has "$name: RUN and ARG" '^made with salt by root$' "$output"
    has "$name: USER" '^smith$' "$output"
    has "$name: WORKDIR" '^/tmp/shop$' "$output"
    has "$name: COPY and RUN in the second stage" '^payload$' "$output"
    ends "$name: a RUN that fails: exit status" "$3" docker build --force-rm --no-cache -f "$work/context/Failing" "$work/context"
    has "$name: a RUN that fails: its output" '(^|[0-9.]+ )before$' "$output"
    has "$name: a RUN that fails: its status is named" '(returned a non-zero code|exit code): 42' "$output"
    ends "$name: a command that is missing: exit status" "$4" docker build --force-rm --no-cache -f "$work/context/Missing" "$work/context"
    has "$name: a command that is missing: named" 'no-such-command: not found' "$output"
    output=$(docker build --force-rm --no-cache --progress plain -f "$work/context/Inside" "$work/context" 2>&1 || docker build --force-rm --no-cache -f "$work/context/Inside" "$work/context" 2>&1)
    has "$name: RUN has the default capabilities" 'CapEff:.00000000a80425fb' "$output"
    has "$name: RUN is filtered" 'Seccomp:.2' "$output"
    docker rmi -f made >/dev/null 2>&1
    unset DOCKER_BUILDKIT
}
built "docker build" 0 42 127
: >"$work/runc.calls"
built "docker build with BuildKit" 1 1 1
has "docker build with BuildKit: the runtime is runc of PATH" '(^| )run .*--bundle' "$(cat "$work/runc.calls")"
left_builds() { find "$work/data/buildkit/executor" -mindepth 1 -maxdepth 1 ! -name 'hosts*' ! -name 'resolv.conf*' ! -name runc-log.json 2>/dev/null; }
within 10 eval '[ -z "$(left_builds; left_cgroups | grep "/buildkit/.")" ]'
same "docker build with BuildKit: no state is left" "" "$(left_builds)"
same "docker build with BuildKit: no cgroup of a RUN is left" "" "$(left_cgroups | grep '/buildkit/.')"
find /sys/fs/cgroup -depth -type d -path "*/$tag/buildkit" -exec rmdir {} + 2>/dev/null
docker builder prune -af >/dev/null 2>&1
