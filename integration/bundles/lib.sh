# Sourced by run.sh and the cases: containers of $RUNTIME that cannot stay behind.
count=0
# next_id: a new container id in $id
next_id() {
    count=$((count + 1))
    id=bundles-$$-$count
    ids+=("$id")
}

rt() { timeout -k 5 60 "$RUNTIME" --root "$work/state" "$@"; }

# run BUNDLE: run it in the foreground; $output and $status say what came of it.
run() {
    next_id
    status=0
    output=$(rt run --bundle "$1" "$id" 2>&1 </dev/null) || status=$?
}

# create BUNDLE [OPTION...]: its output goes to $work/out, which the container's program keeps; a pipe would never end.
create() {
    local bundle=$1
    shift
    next_id
    status=0
    rt create --bundle "$bundle" "$@" "$id" >"$work/out" 2>&1 </dev/null || status=$?
}

# run_pty BUNDLE [STEP...]: the same on a terminal of 33 lines and 111 columns.
run_pty() {
    local bundle=$1
    shift
    next_id
    status=0
    output=$("$here/../lib/terminal.py" --size 33x111 "$@" -- "$RUNTIME" --root "$work/state" run --bundle "$bundle" "$id" 2>&1 </dev/null |
        tr -d '\r'; exit "${PIPESTATUS[0]}") || status=$?
}

# wait_status ID STATUS: within 5 s
wait_status() {
    for _ in $(seq 100); do
        rt state "$1" 2>/dev/null | grep -q "\"$2\"" && return 0
        sleep 0.05
    done
    return 1
}

mkconfig() { "$top/hack/mkconfig.py" "$@"; }

# bundle NAME [mkconfig options] ROOTFS -- ARG...: makes $work/NAME/config.json
bundle() {
    local name=$1
    shift
    mkdir -p "$work/$name"
    mkconfig "$@" >"$work/$name/config.json"
}

# Directories of our containers in any cgroup hierarchy.
left_cgroups() { find /sys/fs/cgroup \( -fstype cgroup -o -fstype cgroup2 \) -type d -name "*bundles-$$-*" 2>/dev/null; }

clean() {
    for id in "${ids[@]}"; do
        rt delete --force "$id" >/dev/null 2>&1
    done
    rm -rf "$work"
}
