#!/bin/bash
# run.sh [CASE...]: run real bundles (busybox debian oci docker) with $RUNTIME, TAP lines and a sum at the end.
# Root file systems that are downloaded are kept: see ../lib/images.sh.
set -uo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
RUNTIME=${RUNTIME:-$top/target/x86_64-unknown-linux-gnu/release/orlop}
RUNTIME=$(command -v "$RUNTIME" || realpath "$RUNTIME")
export RUNTIME
if [ "$(basename "$RUNTIME")" = crun ] && [ -z "${CRUN_VIEW-}" ]; then
    CRUN_VIEW=1 exec "$top/hack/crun-view.sh" "$here/run.sh" "$@"
fi
"$top/hack/need.sh" python3 || exit 1
work=$(mktemp -d -t bundles-XXXXXX)
ids=()
known_file=$here/known.txt
. "$top/integration/lib/report.sh"
. "$top/integration/lib/images.sh"
. "$here/lib.sh"
trap clean EXIT

for name in "${@:-busybox}" $([ $# -gt 0 ] || echo debian oci docker); do
    . "$here/$name.sh"
done
clean
same "no cgroup is left" "" "$(left_cgroups)"
same "no mount is left" "" "$(grep -F "$work" /proc/self/mountinfo)"
closing
