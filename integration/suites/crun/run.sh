#!/bin/bash
# run.sh: crun's own test suite (tests/*.py of the source packages of Debian 12 and 13) on $RUNTIME. Each case is run by
# itself, under a time limit: one that hangs takes no other with it. TAP lines, then `N passed, N failed, N skipped`.
#
# expected.txt has the cases that cannot pass here, `RUNTIME|PATTERN|reason`: see ../expect.sh.
set -uo pipefail
. "$(dirname "$0")/../../lib/begin.sh"
. "$(dirname "$0")/../source.sh"
. "$(dirname "$0")/../expect.sh"
releases=(bookworm trixie)

before_namespaces() {
    local release
    for release in "${releases[@]}"; do
        debian_source "$release" crun >/dev/null || { not_ok "crun: the source of $release can be fetched"; return 1; }
    done
}
begin crun gcc libc6-dev libseccomp-dev python3

# Folders of containers are opened by users of theirs.
chmod 755 "$work"
mkdir -m 1777 "$work/tmp"
export TMPDIR=$work/tmp SUITE_TAG=$tag PYTHONPATH=$here/python PYTHONDONTWRITEBYTECODE=1 LANG=C
python=/usr/bin/python3
# One case takes a pid to have five digits.
echo 20000 >/proc/sys/kernel/ns_last_pid

# runc has no such options: what they ask for is what it does anyway.
if [ "$runtime" = runc ]; then
    cat >"$work/runc" <<SH
#!/bin/bash
arguments=()
while [ \$# -gt 0 ]; do
    case \$1 in
    --cgroup-manager | --config) shift ;;
    *) arguments+=("\$1") ;;
    esac
    shift
done
exec "$RUNTIME" "\${arguments[@]}"
SH
    chmod 755 "$work/runc"
    export OCI_RUNTIME=$work/runc
else
    export OCI_RUNTIME=$RUNTIME
fi

# One case of test_delete.py freezes its container from outside, in a cgroup of its own at the top of the host's freezer, which
# has no namespace: our copy of the case has another name in each run, so that runs do not meet, nor what a killed one left.
frozen=/sys/fs/cgroup/freezer/frozen-$tag
stop_client() {
    local pid
    if [ -e "$frozen" ]; then
        echo THAWED >"$frozen/freezer.state"
        within 15 rmdir "$frozen"
    fi
    # As pid 1 of our own namespace this reaches nobody else's processes.
    [ $$ != 1 ] || kill -KILL -1 2>/dev/null
    our_cgroups -exec cat {}/cgroup.procs \; 2>/dev/null | sort -u | while read -r pid; do kill -KILL "$pid" 2>/dev/null; done
    within 15 no_cgroups
}
our_cgroups() {
    find /sys/fs/cgroup -depth \( -fstype cgroup -o -fstype cgroup2 \) -type d -path "*/test-$tag-*" "$@"
}
no_cgroups() {
    our_cgroups -exec rmdir {} \; 2>/dev/null
    [ -z "$(our_cgroups)" ]
}

# case_of FILE CASE: runs it and prints its verdict: ok, skip or fail; its words are in $work/said.
case_of() {
    # Into a file: an orphan of the suite's own init, which waits for ever when its parent has died, would keep a pipe open.
    RUN_TESTS=$2 timeout --kill-after 5 "${CASE_SECONDS:-30}" "$python" "$1" >"$work/out" 2>"$work/said" </dev/null
    cat "$work/out" >>"$work/said"
    case $(grep -E '^(not )?ok ' "$work/out" | tail -n 1) in
    ok*'#SKIP'*) echo skip ;;
    ok*) echo ok ;;
    *) echo fail ;;
    esac
}

suite_of() {
    local release=$1 source version file name case
    source=$(debian_source "$release" crun)
    version=$(cat "$source/.tarball-version")
    cp -r "$source/tests" "$work/$release"
    sed -i "s|/sys/fs/cgroup/freezer/frozen/|$frozen/|" "$work/$release/test_delete.py"
    cd "$work/$release" || return
    # What ./configure finds on a Debian.
    printf '#define HAVE_SECCOMP 1\n#define HAVE_ERROR_H 1\n#define HAVE_LINUX_IOPRIO_H 1\n' >config.h
    # Two cases look for it where a build tree has it.
    mkdir tests && ln -s ../init tests/init
    export INIT=$work/$release/init
    succeeds "crun $version: init is built" gcc -static -w -I. -o init init.c -lseccomp || return
    for file in test_*.py; do
        name=${file%.py}
        for case in $("$python" -c "import $name; print(*$name.all_tests)" 2>/dev/null); do
            verdict "crun $version $name: $case" "$(case_of "$file" "$case")" "$(tail -c 3000 "$work/said")"
            stop_client
        done
    done
    cd "$work" || return
}
for release in "${releases[@]}"; do suite_of "$release"; done
closing
