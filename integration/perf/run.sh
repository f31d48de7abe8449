#!/bin/bash
# run.sh [bench.py options] [NAME=PATH...]: build the drivers and time $RUNTIME (where it exists), crun, runc and the floor.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
"$top/hack/need.sh" gcc libc6-dev musl-tools python3 strace busybox-static runc crun
build=$top/target/perf
mkdir -p "$build"
for name in floor measure; do
    [ "$build/$name" -nt "$here/$name.c" ] ||
        musl-gcc -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu -O2 -Wall -static -no-pie -o "$build/$name" "$here/$name.c"
done
RUNTIME=${RUNTIME:-$top/target/x86_64-unknown-linux-gnu/release/orlop}
runtimes=()
case " $* " in
*=/*) ;;
*)
    runtimes=("floor=$build/floor")
    case $(basename "$RUNTIME") in runc | crun) ;; *) [ ! -x "$RUNTIME" ] || runtimes+=("$(basename "$RUNTIME")=$RUNTIME") ;; esac
    runtimes+=("crun=$(command -v crun)" "runc=$(command -v runc)")
    ;;
esac
# Every runtime sees the same: the view that crun of Debian 12 needs, and the first turn of the processor.
exec "$top/hack/crun-view.sh" nice -n -20 "$here/bench.py" --build "$build" "$@" -- "${runtimes[@]}"
