#!/bin/bash
# run.sh [SUBJECT...]: dockerd with $RUNTIME below it as the default runtime. TAP lines, then `N passed, N failed,
# N skipped`. A subject is the name of a file beside this one without its .sh; without any, all of them.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
begin docker docker.io docker-compose iptables python3 tini
. "$here/daemon.sh"

daemon_files
busybox_tar
start_dockerd || { not_ok "dockerd: it starts" "$(tail "$work/dockerd.log")"; closing; exit; }
succeeds "docker import: an image from a tar" import_busybox

subjects=(runtimes streams errors exec life data update limits oom mounts devices security namespaces networks policies
    build compose remap swarm)
[ ${#arguments[@]} = 0 ] || subjects=("${arguments[@]}")
for subject in "${subjects[@]}"; do
    subject_began=$SECONDS
    . "$here/$subject.sh"
    echo "# $subject: $((SECONDS - subject_began)) s"
done

# What is left when all containers are gone.
docker ps -aq | xargs -r timeout 60 /usr/bin/docker rm -f >/dev/null 2>&1
left_state() { find "$work/exec"/runtime-*/moby -mindepth 1 -maxdepth 1 2>/dev/null; }
left_container_mounts() { left_mounts "$work/data" | grep -vx "$work/data\(/overlay2\)\?"; }
within 10 eval '[ -z "$(left_cgroups; left_processes containerd-shim; left_state; left_container_mounts)" ]'
same "docker: no cgroup is left" "" "$(left_cgroups)"
same "docker: no shim is left" "" "$(left_processes 'containerd-shim')"
same "docker: no state is left" "" "$(left_state)"
same "docker: no mount of a container is left" "" "$(left_container_mounts)"
closing
