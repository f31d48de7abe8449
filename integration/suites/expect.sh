# expect.sh, sourced: cases of a foreign suite that cannot pass, each for a reason that is proven.
#
# expected.txt beside the run.sh has lines `RUNTIME|PATTERN|reason`. RUNTIME is a base name or `*`: what the host lacks or
# the suite gets wrong for all. PATTERN is an extended regular expression for the whole name. Such a case counts as
# skipped, with the reason; if it passes nevertheless, that is a failure: the line has to go.
expected_file=$(cd "$(dirname "$0")" && pwd)/expected.txt

# expected NAME: prints the reason.
expected() {
    local runtimes pattern reason
    [ -e "$expected_file" ] || return 1
    while IFS= read -r line; do
        runtimes=${line%%|*} reason=${line##*|} pattern=${line#*|}
        pattern=${pattern%|*}
        # The base names are separated by commas.
        if [[ $runtimes = '*' || ,$runtimes, = *,$runtime,* ]] && grep -qE -- "^($pattern)$" <<<"$1"; then
            echo "$reason"
            return 0
        fi
    done < <(grep -vE '^(#|$)' "$expected_file")
    return 1
}

# verdict NAME ok|skip|fail TEXT [WHY the suite skips it]
verdict() {
    local reason
    case $2 in
    skip) skip "$1" "the suite: ${4:-not applicable here}" ;;
    ok)
        if reason=$(expected "$1"); then
            not_ok "$1" "it passes, against the line of expected.txt: $reason"
        else
            ok "$1"
        fi
        ;;
    *)
        if reason=$(expected "$1"); then
            skip "$1" "$reason"
            printf '%s\n' "$3" | tail -n 6 | sed 's/^/#   /'
        else
            not_ok "$1" "$3"
        fi
        ;;
    esac
}
