#!/bin/bash
# run.sh [--compare] [CLIENT...]: every client's cases (the folders here with a run.sh) with $RUNTIME, the closing line of
# each and last the sum. --compare repeats them with runc and crun and prints the table client × case × runtime; then a
# case that runc passes and $RUNTIME does not is what fails the run. Logs stay in target/integration/RUNTIME/CLIENT.tap.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/.." && pwd)
RUNTIME=${RUNTIME:-$top/target/x86_64-unknown-linux-gnu/release/orlop}
RUNTIME=$(realpath "$(command -v "$RUNTIME" || echo "$RUNTIME")")
logs=$top/target/integration
compare=
if [ "${1-}" = --compare ]; then
    compare=1
    shift
fi
clients=("$@")
[ $# -gt 0 ] || clients=(bundles readme containerd docker podman buildah systemd suites/crun suites/libpod)
passed=0 failed=0 skipped=0

# client RUNTIME NAME: runs it; its counts are added to the sum.
client() {
    local log=$logs/$(basename "$1")/${2//\//-}.tap began=$SECONDS p f s status=0
    mkdir -p "$(dirname "$log")"
    RUNTIME=$1 "$here/$2/run.sh" >"$log" 2>&1 </dev/null || status=$?
    read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
    # A script that ends before its closing line, or fails against it, is a failure by itself.
    if [ -z "${p-}" ] || { [ $status != 0 ] && [ "$f" = 0 ]; }; then
        f=$((${f:-0} + 1))
        tail -n 20 "$log"
    fi
    awk '/^(not )?ok / { show = /^not ok/ && !/ # TODO/ } show' "$log" | head -n 120
    printf '%s on %s: %d passed, %d failed, %d skipped (%d s)\n' "$2" "$(basename "$1")" "${p:-0}" "$f" "${s:-0}" \
        $((SECONDS - began))
    passed=$((passed + ${p:-0})) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
}

for name in "${clients[@]}"; do
    client "$RUNTIME" "$name"
done
if [ -n "$compare" ]; then
    ours=$passed,$failed,$skipped
    for peer in runc crun; do
        "$top/hack/need.sh" $peer || exit 1
        for name in "${clients[@]}"; do
            client "$(command -v $peer)" "$name"
        done
    done
    IFS=, read -r passed failed skipped <<<"$ours"
    "$here/table.py" "$logs" "$(basename "$RUNTIME")" runc crun "${clients[@]//\//-}" >"$logs/table.md" || failed=$((failed + 1))
    sed -n '/^## /q;p' "$logs/table.md"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
