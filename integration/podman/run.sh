#!/bin/bash
# run.sh [SUBJECT...]: Podman, as root, with $RUNTIME below it and the containers.conf beside this file. TAP lines, then
# `N passed, N failed, N skipped`. Each subject is a file in cases/; without arguments all of them run.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
. "$(dirname "$0")/../lib/podman.sh"
begin podman podman conmon netavark catatonit iptables curl jq

podman_begin
stop_client() { podman_end; }
import_busybox
cd "$work" || exit

choose_subjects
for subject in "${subjects[@]}"; do
    . "$here/cases/$subject.sh"
    remove_all
done
nothing_left
closing
