#!/bin/bash
# old-kernel.sh [--errno ENOSYS|EPERM]... [CALLS [FILTER...]]: the contract tests with modern system calls refused around the
# runtime, as by an old kernel (ENOSYS) or by an outer engine's old seccomp profile (EPERM).
#
# Without CALLS: everything newer than Linux 4.18 at once on the whole suite, then each call alone on the modules in
# FILTERS. `CALLS` is a list for fake-enosys, `all` or `each`; FILTER... are names of tests or modules (`mounts::`).
# $RUNTIME is the orlop to be wrapped. Logs stay in target/test-logs. Exit status 1 when anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:$HOME/.cargo/bin RUST_BACKTRACE=0 CONTRACT_JOBS=${CONTRACT_JOBS:-2}
logs=$PWD/target/test-logs
mkdir -p "$logs"

# Newer than Linux 4.18, with what 4.18 knows of the call but not of its argument: clone with CLONE_PIDFD (5.2) and
# waitid with P_PIDFD (5.4). A kernel would not refuse CLONE_PIDFD but ignore it, which a filter cannot show.
NEWER=(openat2 clone3 'clone:0&0x1000' pidfd_open pidfd_send_signal pidfd_getfd waitid:0=3 fsopen fsconfig fsmount
    open_tree move_mount mount_setattr close_range faccessat2)
# 4.18 has these, but profiles were written before them.
OLDER=(memfd_create execveat statx keyctl)
FILTERS=(lifecycle:: run:: exec:: mounts:: binds:: namespaces:: kill_delete:: rootfs::)

errnos=()
while [ "${1-}" = --errno ]; do
    errnos+=("$2")
    shift 2
done
[ ${#errnos[@]} -gt 0 ] || errnos=(ENOSYS EPERM)

# Where a test's unprivileged callers reach it, too.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
made() { sed -n "s/.*\"executable\":\"\([^\"]*\/$1\)\".*/\1/p" | tail -n 1; }
tool=$(cargo build --quiet --locked --example fake-enosys --message-format json-render-diagnostics | made fake-enosys)
orlop=${RUNTIME:-$(cargo build --quiet --locked --bin orlop --message-format json-render-diagnostics | made orlop)}
suite=$(cargo test --quiet --locked --test contract --no-run --message-format json-render-diagnostics |
    made 'contract-[0-9a-f]*')
install -m 755 "$tool" "$work/fake-enosys"
install -m 755 "$suite" "$work/contract"
install -D -m 755 "$orlop" "$work/real/orlop"

passed=0 failed=0 skipped=0
# run NAME ERRNO CALLS FILTER...: one line, and the failures before it.
run() {
    local name=$1 errno=$2 calls=$3 log=$logs/old-kernel-$1-$2.log status=0 began=$SECONDS p f s all
    shift 3
    # Marks go by the name of the runtime; `exec` keeps the pid and all that it inherits.
    mkdir -p "$work/$name-$errno"
    printf '#!/bin/sh\nexec %s --errno %s %q -- %s "$@"\n' "$work/fake-enosys" "$errno" "$calls" "$work/real/orlop" \
        >"$work/$name-$errno/orlop"
    chmod 755 "$work/$name-$errno/orlop"
    RUNTIME=$work/$name-$errno/orlop CONTRACT_REFUSED=$calls "$work/contract" "$@" </dev/null >"$log" 2>&1 || status=$?
    # The last result line is the suite's; single tests quote their own before it.
    all=$(sed -n 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" | tail -n 1)
    read -r p f <<<"${all:-0 1}"
    s=$(grep -cE '^(test [^ ]* \.\.\. )?(skip|ours-only): ' "$log")
    p=$((p - s))
    [ "$f" = 0 ] || grep -E '^    [a-z_0-9]+::' "$log" | sort -u
    [ $status = 0 ] || [ "$f" != 0 ] || f=1
    printf '%-20s %-7s %3d passed, %d failed, %d skipped (%d s)\n' "$name" "$errno" "$p" "$f" "$s" $((SECONDS - began))
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

together=$(IFS=,; echo "${NEWER[*]}")
all() {
    for errno in "${errnos[@]}"; do run all "$errno" "$together" "$@"; done
}
each() {
    [ $# -gt 0 ] || set -- "${FILTERS[@]}"
    for call in "${NEWER[@]}" "${OLDER[@]}"; do
        for errno in "${errnos[@]}"; do run "${call//[^a-z0-9_]/-}" "$errno" "$call" "$@"; done
    done
}

calls=${1-}
shift $(($# > 0))
case $calls in
'') all && each ;;
all) all "$@" ;;
each) each "$@" ;;
*) for errno in "${errnos[@]}"; do run "$(tr -c 'a-z0-9_\n' - <<<"$calls" | cut -c 1-60)" "$errno" "$calls" "$@"; done ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
