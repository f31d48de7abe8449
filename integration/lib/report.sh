# report.sh, sourced: TAP lines, the counts behind the closing line, and faults of other runtimes that are known.
#
# A case is one sentence; its name is its identity in the table of clients, so it holds nothing that changes from run to
# run. known.txt beside the run.sh has lines `RUNTIME|PATTERN|reason`: when the runtime under test has that base name and
# the case fails, it is `not ok … # TODO reason` and counts as skipped. It never names orlop.
passed=0 failed=0 skipped=0
known_file=${known_file-}

ok() { passed=$((passed + 1)); echo "ok - $*"; }
skip() { skipped=$((skipped + 1)); echo "ok - $1 # SKIP $2"; }

# known NAME: prints why this runtime is expected to fail there.
known() {
    [ -n "$known_file" ] && [ -e "$known_file" ] || return 1
    local line pattern name=${RUNTIME##*/}
    while IFS= read -r line; do
        # The pattern may have alternatives: it ends at the last bar.
        pattern=${line#*|} pattern=${pattern%|*}
        if [ "${line%%|*}" = "$name" ] && grep -qE -- "^($pattern)$" <<<"$1"; then
            echo "${line##*|}"
            return 0
        fi
    done < <(grep -vE '^(#|$|orlop\|)' "$known_file")
    return 1
}

# not_ok NAME [TEXT]: at most 20 lines of the text follow.
not_ok() {
    local reason
    if reason=$(known "$1"); then
        skipped=$((skipped + 1))
        echo "not ok - $1 # TODO $reason"
    else
        failed=$((failed + 1))
        echo "not ok - $1"
    fi
    [ $# -lt 2 ] || printf '%s\n' "$2" | tail -n 20 | sed 's/^/#   /'
}

# same NAME WANTED GOT
same() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2
got: $3"; fi
}

# has NAME PATTERN TEXT: the text has a line that matches the extended regular expression.
has() {
    if grep -qE -- "$2" <<<"$3"; then ok "$1"; else not_ok "$1" "no line matches $2 in:
$3"; fi
}

# lacks NAME PATTERN TEXT
lacks() {
    if grep -qE -- "$2" <<<"$3"; then not_ok "$1" "$3"; else ok "$1"; fi
}

# succeeds NAME COMMAND...: exit status 0; its output is in $output.
succeeds() {
    local name=$1
    shift
    if output=$("$@" 2>&1 </dev/null); then ok "$name"; else not_ok "$name" "exit status $?: $output"; fi
}

# ends NAME STATUS COMMAND...: that exit status; its output is in $output.
ends() {
    local name=$1 wanted=$2 status=0
    shift 2
    output=$("$@" 2>&1 </dev/null) || status=$?
    same "$name" "$wanted" "$status"
    [ "$wanted" = "$status" ] || printf '%s\n' "$output" | tail -n 10 | sed 's/^/#   /'
}

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

closing() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ]
}
