# The contract tests, in a machine whose processor is emulated: deadlines are stretched, and the tests that read the
# project's sources stay on the host.
. "$(dirname "$0")/begin.sh"
export CONTRACT_GUEST=/usr/local/bin/guest CONTRACT_SCHEMAS=/share/spec-schema CONTRACT_PATIENCE=8
log=$work/log
# shellcheck disable=SC2086
RUNTIME=$RUNTIME contract --skip differences --skip conformance_table ${CONTRACT_FILTER-} >"$log" 2>&1 </dev/null
sed -n -e 's/^test \(.*\) \.\.\. ok$/ok - \1/p' -e 's/^test \(.*\) \.\.\. FAILED$/not ok - \1/p' "$log"
sed -n -e 's/^\(skip\|ours-only\): \([a-z_0-9:]*\): \(.*\)/ok - \2 # SKIP \3/p' "$log"
sed -n '/^failures:$/,$p' "$log" | head -n 400 | sed 's/^/# /'
read -r p f < <(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; .*/\1 \2/p' "$log" | tail -n 1)
s=$(grep -cE '^(skip|ours-only): ' "$log")
echo "$((${p:-0} - s)) passed, ${f:-1} failed, $s skipped"
[ "${f:-1}" = 0 ]
