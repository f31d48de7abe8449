# The contract tests, in a machine whose processor is emulated: deadlines are stretched, and the tests that read the
# project's sources stay on the host.
. "$(dirname "$0")/begin.sh"
export CONTRACT_GUEST=/usr/local/bin/guest CONTRACT_SCHEMAS=/share/spec-schema CONTRACT_PATIENCE=8 CONTRACT_ELSEWHERE=1
log=$work/log said=$work/said
# shellcheck disable=SC2086
RUNTIME=$RUNTIME contract --skip differences --skip conformance_table ${CONTRACT_FILTER-} >"$log" 2>"$said" </dev/null
# A test that is skipped, or that a peer is known to fail, says so on stderr, apart from the verdicts, and passes.
declare -A skips differs
while IFS='|' read -r kind name why; do
    if [ "$kind" = differs ]; then differs[$name]=$why; else skips[$name]=$why; fi
done < <(sed -n 's/^\(skip\|ours-only\|differs\): \([a-z_0-9:]*\): \(.*\)/\1|\2|\3/p' "$said")
while read -r name verdict; do
    if [ "$verdict" = FAILED ]; then
        not_ok "$name"
    elif [ -n "${differs[$name]-}" ]; then
        skipped=$((skipped + 1))
        echo "not ok - $name # TODO ${differs[$name]}"
    elif [ -n "${skips[$name]-}" ]; then
        skip "$name" "${skips[$name]}"
    else
        ok "$name"
    fi
done < <(sed -n 's/^test \([a-z_0-9:]*\) \.\.\. \(ok\|FAILED\)$/\1 \2/p' "$log")
[ $((passed + failed)) != 0 ] || not_ok "contract: it runs" "$(tail -n 20 "$log" "$said")"
sed -n '/^failures:$/,$p' "$log" | head -n 600 | sed 's/^/# /'
closing
