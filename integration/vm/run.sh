#!/bin/bash
# run.sh [OPTION...] [PART...]: boot the test machine once and run the parts (parts/*.sh) in it, with each of $RUNTIMES.
#
#   --cgroup v2|v1|hybrid --lsm apparmor|selinux|none --kernel SUITE   what is booted: see run-in-vm
#   RUNTIMES="orlop runc crun"   runtimes to ask (orlop); the peers are those of the image
#   RUNTIME=…                    the orlop binary
#   CONTRACT_FILTER="mounts …"   modules of the contract tests (all)
#
# TAP of each part in target/integration/vm/VARIANT/RUNTIME/PART.tap; one line for each, last the sum. Where there is no
# qemu it says so and skips.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
. "$here/lib.sh"
. "$top/integration/lib/report.sh"
RUNTIME=$(realpath "${RUNTIME:-$top/target/x86_64-unknown-linux-gnu/release/orlop}")
known_file=

main() {
    local cgroup=v2 lsm=apparmor kernel='' variant part runtime logs
    while [[ ${1-} == --* ]]; do
        case $1=${2-} in
        --cgroup=v2 | --cgroup=v1 | --cgroup=hybrid) cgroup=$2 ;;
        --lsm=apparmor | --lsm=selinux | --lsm=none) lsm=$2 ;;
        --kernel=?*) kernel=$2 ;;
        *) echo "run.sh: ${*:1:2}: no such option or value" >&2 && exit 2 ;;
        esac
        shift 2
    done
    for part; do
        [ -f "$here/parts/$part.sh" ] || { echo "run.sh: $part: no such part" >&2 && exit 2; }
    done
    [ $# -gt 0 ] || set -- contract limits v2 rootless lsm userns ctr cri docker podman podman-rootless
    if ! "$top/hack/need.sh" qemu-system-x86 mmdebstrap openssh-client e2fsprogs jq binutils; then
        skip "vm" "qemu cannot be installed here"
        closing
        return
    fi
    "$here/build-image" && { [ -z "$kernel" ] || "$here/add-kernel" "$kernel"; } || { not_ok "vm: the image"; closing; return; }

    variant=${kernel:-$VM_SUITE}-$cgroup-$lsm
    [ "$VM_SUITE" = bookworm ] || [ -z "$kernel" ] || variant=$VM_SUITE-$variant
    logs=$top/target/integration/vm/$variant
    work=$(mktemp -d -t orlop-vm-XXXXXX)
    vm=(--name "run-$$")
    trap 'finish' EXIT
    trap 'exit 143' TERM INT
    lay_out "$work/share" "$@"
    if ! "$here/run-in-vm" up "${vm[@]}" --cgroup "$cgroup" --lsm "$lsm" ${kernel:+--kernel "$kernel"} --share "$work/share"; then
        not_ok "vm: $variant starts"
        closing
        return
    fi
    "$here/run-in-vm" exec "${vm[@]}" -- /share/integration/vm/guest/prepare
    for runtime in ${RUNTIMES:-orlop}; do
        for part; do
            run_part "$runtime" "$part"
        done
    done
    closing
}

finish() {
    "$here/run-in-vm" down "${vm[@]}"
    rm -rf "$work"
}

# lay_out DIR PART...: what the machine sees as /share.
lay_out() {
    local contract
    mkdir -p "$1/bin"
    cp "$RUNTIME" "$1/bin/orlop"
    contract=$(cd "$top" && cargo test --locked --test contract --no-run --message-format=json 2>/dev/null |
        jq -r 'select(.executable != null and .target.name == "contract") | .executable')
    strip -o "$1/bin/contract" "$contract"
    rustc --edition 2024 -O -C target-feature=+crt-static -C panic=abort -C strip=symbols -o "$1/bin/guest" \
        "$top/tests/guest/guest.rs"
    mkdir "$1/integration"
    cp -r "$top"/integration/{lib,vm,podman,seccomp,containerd} "$1/integration/"
    case " ${*:2} " in *" cri "*) python_packages "$1/python" ;; esac
    [ ! -d "$top/../shared/spec-schema" ] || cp -r "$top/../shared/spec-schema" "$1/"
    chmod -R a+rX "$1"
}

# python_packages DIR: of the client of CRI, for the python of the machine, which is this Debian's unless another is named.
python_packages() {
    local version=
    [ "$VM_SUITE" != trixie ] || version=3.13
    . "$top/integration/containerd/cri.sh"
    cri_packages $version && cp -r "$cri_folder" "$1"
}

# run_part RUNTIME PART: its counts are added to the sum.
run_part() {
    local log=$logs/$1/$2.tap began=$SECONDS status=0 p f s
    mkdir -p "$logs/$1"
    "$here/run-in-vm" exec "${vm[@]}" --timeout 6000 -- env RUNTIME="$1" "CONTRACT_FILTER=${CONTRACT_FILTER-}" \
        bash /share/integration/vm/parts/"$2".sh >"$log" 2>&1 </dev/null || status=$?
    read -r p f s < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
    if [ -z "${p-}" ] || { [ $status != 0 ] && [ "$f" = 0 ]; }; then
        f=$((${f:-0} + 1))
        tail -n 20 "$log"
    fi
    awk '/^(not )?ok / { show = /^not ok/ && !/ # TODO/ } show' "$log" | head -n 120
    printf 'vm %s, %s, %s: %d passed, %d failed, %d skipped (%d s)\n' "$variant" "$2" "$1" "${p:-0}" "$f" "${s:-0}" \
        $((SECONDS - began))
    passed=$((passed + ${p:-0})) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
}

# On one line: what is written into this file meanwhile is not read.
main "$@"; exit
