# errors.sh, sourced: what a user of ctr reads when a container cannot start: text and exit status. A line
# `# error WHAT | STATUS | TEXT` for each makes the table of the runtimes.

part_errors() {
    programs
    bad_values
    log_file
    features
    nothing_left "containerd after the errors"
}

# told WHAT STATUS PATTERN COMMAND...: it fails so; ctr's line of usage and its own name in front are left out.
told() {
    local what=$1 status=$2 pattern=$3 got=0 text
    shift 3
    text=$("$@" 2>&1 </dev/null) || got=$?
    text=$(grep '^ctr: ' <<<"$text" | tail -n 1)
    echo "# error $what | $got | ${text#ctr: }"
    same "ctr error, $what: the exit status" "$status" "$got"
    has "ctr error, $what: the sentence" "$pattern" "$text"
    lacks "ctr error, $what: no panic and no trace" 'panicked|goroutine|RUST_BACKTRACE' "$text"
}
# refused WHAT PATTERN [--option...] ARG...: `ctr run` fails with status 1. A name of its own for each, as ctr leaves the
# snapshot behind when it fails before the runtime is asked.
refused() {
    local what=$1 pattern=$2 options=()
    shift 2
    while [[ $1 == -* ]]; do options+=("$1"); shift; done
    refusals=$((refusals + 1))
    told "$what" 1 "$pattern" run --rm "${options[@]}" "refused$refusals" "$@"
    ctr c delete "refused$refusals" >/dev/null 2>&1
}
refusals=0

programs() {
    refused "a missing program" '[Nn]o such file or directory' /no/such
    refused "a program that is not in PATH" 'executable file (`no-such` )?not found in \$PATH' no-such
    refused "a file that is not executable" '[Pp]ermission denied|not executable' /etc/text
    refused "a directory as program" '[Pp]ermission denied|is a directory' /etc
    refused "a script without its interpreter" '/bin/orphan.*[Nn]o such file or directory' /bin/orphan
    run -d host sleep 1000
    told "exec of a missing program" 1 '[Nn]o such file or directory' ctr task exec --exec-id a host /no/such
    told "exec of a program that is not in PATH" 1 'not found in \$PATH' ctr task exec --exec-id b host no-such
    told "exec of a file that is not executable" 1 '[Pp]ermission denied|not executable' \
        ctr task exec --exec-id c host /etc/text
    told "exec in a missing directory" 1 '[Nn]o such file or directory' \
        ctr task exec --exec-id d --cwd /no/such host true
    told "exec with a missing user" 1 'no users found' ctr task exec --exec-id e --user nobody-such host true
    remove host
}

bad_values() {
    refused "a memory limit that is too low" 'memory' --memory-limit=4096 true
    # 10:250 may be allowed, but nobody drives it: the node is made, opening it is the program's own failure.
    refused "a missing device" '[Nn]o such file or directory' --device=/dev/no-such true
    refused "a missing source of a bind" '[Nn]o such file or directory' \
        --mount=type=bind,src=/no/such,dst=/mnt,options=rbind true
    refused "a mount on a file of the image's" '[Nn]ot a directory' \
        "--mount=type=bind,src=$work/busybox/etc,dst=/bin/busybox/below,options=rbind" true
    refused "a mount of an unknown type" 'nosuchfs|no such device|No such device' --mount=type=nosuchfs,dst=/mnt true
    refused "an unknown option of a mount" 'sparkling|[Ii]nvalid argument' \
        --mount=type=tmpfs,dst=/mnt,options=sparkling true
    refused "a quota that is too small" 'cpu|quota|CPU' --cpu-quota=10 --cpu-period=100000 true
    refused "a missing namespace" '/no/such' --with-ns=network:/no/such true
    refused "a file as namespace" '[Ii]nvalid argument|not a namespace|namespace' --with-ns=network:/etc/passwd true
    refused "a profile with an unknown action" 'SCMP_ACT_NONE' --seccomp "--seccomp-profile=$(bad_profile)" true
    spec_file user true
    python3 - "$work/user.json" "$work/nowhere.json" <<'PYTHON'
import json, sys
spec = json.load(open(sys.argv[1]))
spec["process"]["user"] = {"uid": 4294967295, "gid": 0}
json.dump(spec, open(sys.argv[1], "w"))
spec["process"]["user"] = {"uid": 0, "gid": 0}
spec["root"]["path"] = "/no/such/root"
json.dump(spec, open(sys.argv[2], "w"))
PYTHON
    told "a user that cannot be" 1 'uid|[Ii]nvalid argument|user' ctr run --rm --runc-binary "$RUNTIME" \
        --runc-root "$work/runtime" --config "$work/user.json" refused
    told "a missing root" 1 '/no/such/root|no such file' ctr run --rm --runc-binary "$RUNTIME" \
        --runc-root "$work/runtime" --config "$work/nowhere.json" refused
    ctr c delete refused >/dev/null 2>&1
    told "a missing runtime" 1 'no-such-runtime' ctr run --rm --runc-binary /no-such-runtime "$image" refused true
    ctr c delete refused >/dev/null 2>&1
    succeeds "ctr run: after all the errors a container runs" run --rm refused true
}
bad_profile() {
    echo '{"defaultAction": "SCMP_ACT_NONE"}' >"$work/bad.json"
    echo "$work/bad.json"
}

# The shim gives every command --log BUNDLE/log.json --log-format json and looks for the error there.
log_file() {
    run -d logged sleep 1000
    ctr task exec --exec-id x logged /no/such >/dev/null 2>&1
    local log=$work/state/io.containerd.runtime.v2.task/default/logged/log.json
    same "ctr task exec: the runtime's log has an error with level, time and msg" error "$(python3 -c '
import datetime, json, sys
last = [json.loads(line) for line in open(sys.argv[1])][-1]
datetime.datetime.fromisoformat(last["time"].replace("Z", "+00:00"))
print(last["level"] if "/no/such" in last["msg"] else last)' "$log" 2>&1)"
    remove logged
}

# `containerd-shim-runc-v2 -info` of containerd 2 runs `RUNTIME features` and reads its stdout.
features() {
    same "containerd: features is JSON with versions, namespaces, capabilities and mount options" "yes" "$("$RUNTIME" features |
        python3 -c '
import json, sys
told = json.load(sys.stdin)
linux = told["linux"]
good = told["ociVersionMin"] <= told["ociVersionMax"] and "user" in linux["namespaces"]
print("yes" if good and "CAP_CHOWN" in linux["capabilities"] and "rro" in told["mountOptions"] else told)' 2>&1)"
}
