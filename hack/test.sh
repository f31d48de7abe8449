#!/bin/bash
# test.sh SUITE...: run the named suites (unit rooms contract old-kernel peers clients sweep vm), print the closing line of
# each runner, and last the sum. Logs stay in target/test-logs. Exit status 1 when anything failed.
#
# $RUNTIME is the runtime under test. $NEEDS_HAVE (see needs.sh) names what tests may not skip for.
set -uo pipefail
cd "$(dirname "$0")/.."
export RUNTIME=${RUNTIME:-$PWD/target/x86_64-unknown-linux-gnu/release/orlop}
case $RUNTIME in */*) RUNTIME=$(realpath "$RUNTIME") ;; esac
export NEEDS_HAVE=${NEEDS_HAVE-} RUST_BACKTRACE=0
logs=$PWD/target/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

# tally LOG: sum of cargo's `test result:` lines and of our own closing lines. A contract test that is skipped says so
# and passes as far as cargo knows, maybe behind what libtest has begun to say of another test; its failures quote result
# lines of single tests, which filter others out.
tally() {
    sed -n -e 's/^test result: [^.]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.* 0 filtered out.*/\1 \2 \3/p' \
        -e 's/^\(test [^ ]* \.\.\. \)\?\(skip\|skipped\|ours-only\): .*/-1 0 1/p' \
        -e 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' \
        -e 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2 0/p' "$1" |
        awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }'
}

# suite NAME COMMAND...: a runner that fails without saying so in its closing line counts as one failure.
suite() {
    local name=$1 log=$logs/$1.log status=0 began=$SECONDS p f s
    shift
    "$@" </dev/null >"$log" 2>&1 || status=$?
    read -r p f s < <(tally "$log")
    if [ $status != 0 ] && [ "$f" = 0 ]; then f=1; fi
    if [ $((p + f)) = 0 ] && [ $status = 0 ] && [ "$s" = 0 ]; then
        echo "$name: no test ran" | tee -a "$log"
        f=1
    fi
    if [ "$f" != 0 ]; then
        awk '/^(not )?ok / { show = /^not ok/ && !/ # TODO/ } show' "$log" | head -n 200
        grep -E -A 8 '^(error|thread .* panicked)' "$log" | head -n 200
        echo "... the end of $log:"
        tail -n 25 "$log"
    fi
    grep -E '^(test [^ ]* \.\.\. )?(skip|skipped): |^(ok .*# SKIP|not ok .*# TODO)' "$log" | head -n 60
    printf '%-10s %d passed, %d failed, %d skipped (%d s)\n' "$name:" "$p" "$f" "$s" $((SECONDS - began))
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

for name; do
    case $name in
    unit)
        hack/need.sh gcc libc6-dev binutils || exit 1
        suite unit cargo test --locked --no-fail-fast --lib --test layers
        ;;
    rooms)
        # One room of the house each, on the real kernel; the seccomp compiler against libseccomp.
        hack/need.sh gcc libc6-dev binutils libseccomp-dev || exit 1
        targets=()
        for file in tests/*.rs tests/*/main.rs; do
            room=${file#tests/} room=${room%.rs} room=${room%/main}
            case $room in layers | contract) ;; *) targets+=(--test "$room") ;; esac
        done
        suite rooms cargo test --locked --no-fail-fast "${targets[@]}"
        ;;
    contract)
        hack/need.sh gcc libc6-dev binutils busybox-static strace util-linux || exit 1
        suite contract cargo test --locked --test contract
        ;;
    old-kernel)
        hack/need.sh gcc libc6-dev binutils busybox-static strace util-linux || exit 1
        suite old-kernel hack/old-kernel.sh
        ;;
    peers)
        # The contract is believed only as far as the incumbents keep it.
        hack/need.sh runc crun busybox-static || exit 1
        for peer in runc crun; do
            suite "$peer" env RUNTIME="$(command -v $peer)" cargo test --locked --test contract
        done
        ;;
    clients)
        # FAST keeps the public suites to what touches the runtime most: the gate has an hour.
        for client in ${CLIENTS:-bundles readme containerd docker podman buildah systemd suites/crun suites/libpod}; do
            suite "${client//\//-}" env FAST=1 "integration/$client/run.sh"
        done
        ;;
    vm)
        # The main variant; `make vm-test` has the others, and the peers.
        # shellcheck disable=SC2086
        suite vm integration/vm/run.sh ${VM_PARTS:-v2 limits lsm userns rootless ctr}
        ;;
    sweep)
        hack/need.sh strace python3 busybox-static || exit 1
        suite sweep integration/sweep/sweep.py --runtime "$RUNTIME" --every "${SWEEP_EVERY:-7}"
        ;;
    *)
        echo "test.sh: no suite $name" >&2
        exit 2
        ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
