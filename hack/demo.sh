#!/bin/bash
# demo.sh: one busybox container through its whole life, every command shown before it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
hack/need.sh busybox-static
export RUNTIME=${RUNTIME:-$PWD/target/x86_64-unknown-linux-gnu/release/orlop}
work=$(mktemp -d)
name=$(basename "$RUNTIME")
id=demo-$$
root=$work/state
trap '"$RUNTIME" --root "$root" delete --force "$id" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

say() { printf '\n# %s\n' "$*"; }
# The shown line is the one to type; --root keeps the demo apart from the containers of this machine.
show() {
    printf '$ %s %s\n' "$name" "$*"
    "$RUNTIME" --root "$root" "$@"
}

say "A bundle is a directory with a root filesystem and a config.json; '$name spec' prints the latter."
hack/bundle.sh "$work/hello" sh -c 'echo "hello from pid $$ on $(hostname), uid $(id -u)"; ls /'
cd "$work/hello"
ls
grep -A 4 '"args"' config.json

if "$RUNTIME" --help 2>&1 | grep -qw explain; then
    say "explain prints what would be done, without doing it (some of its lines)"
    echo "\$ $name explain"
    "$RUNTIME" explain | grep -E '^(container|tree|new|hostname|rootfs.ops|process\.(argv|cap.*effective|rlimits|no_new))' | cut -c1-120 | head -n 12
fi

say "run: create, start, wait, delete in one"
show run "$id"

cd - >/dev/null
hack/bundle.sh "$work/sleep" sleep 1000
cd "$work/sleep"
say "create prepares everything and stops just before the program"
show create --pid-file "$work/pid" "$id" </dev/null
show state "$id"
echo "waiting at the gate: $(tr '\0' ' ' <"/proc/$(cat "$work/pid")/cmdline")"

say "start lets it go"
show start "$id"
show list
for _ in $(seq 50); do
    grep -q sleep "/proc/$(cat "$work/pid")/cmdline" && break
    sleep 0.1
done
echo "now: $(tr '\0' ' ' <"/proc/$(cat "$work/pid")/cmdline")"

say "kill sends a signal, delete removes what is left"
show kill "$id" KILL
for _ in $(seq 50); do
    "$RUNTIME" --root "$root" state "$id" | grep -q stopped && break
    sleep 0.1
done
show delete "$id"
show list
