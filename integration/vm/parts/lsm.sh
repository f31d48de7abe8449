# The security module that the machine was booted with (--lsm apparmor|selinux|none): labels that are really in force, in init,
# in exec, beside no_new_privs, user namespaces and filters; refusals that leave nothing behind; and labels on a machine
# whose module is off.
. "$(dirname "$0")/begin.sh"
ids=() profiles=()
finish() {
    for id in "${ids[@]}"; do rt delete --force "$id" >/dev/null 2>&1; done
    for profile in "${profiles[@]}"; do echo "profile $profile {}" | apparmor_parser --remove 2>/dev/null; done
    [ -z "${enforced-}" ] || setenforce 0
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# says ID FILTER: $output and $status of `run` with the bundle changed by the filter.
says() {
    ids+=("$1")
    bundle "$1" ".process.args = [\"true\"] | $2" || return
    status=0
    output=$(rt run --bundle "$work/$1" "$1" 2>&1 </dev/null | tr -d '\0'; exit "${PIPESTATUS[0]}") || status=$?
}
# goes ID FILTER: the container runs on; $output and $status of the start.
goes() {
    ids+=("$1")
    bundle "$1" "$2" || return
    status=0
    start "$1" || status=$?
    output=$(tr -d '\0' <"$work/start.log")
}
# joins ID [exec OPTION...] -- COMMAND...: $output and $status.
joins() {
    local id=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    status=0
    output=$(rt exec "${options[@]}" "$id" "$@" 2>&1 </dev/null | tr -d '\0'; exit "${PIPESTATUS[0]}") || status=$?
}
stop() { rt delete --force "$1" >/dev/null 2>&1; }
sh_() { echo ".process.args = $(jq -nc --arg script "$1" '["sh", "-c", $script]')"; }

# refused NAME PATTERN ID: the last start failed, in one line that matches, and nothing of the container is left.
refused() {
    local left=
    [ "$status" != 0 ] || left="exit status 0; "
    [ "$(wc -l <<<"$output")" = 1 ] || left+="more than one line; "
    ! rt state "$3" >/dev/null 2>&1 || left+="the container; "
    [ ! -e "$work/state/$3" ] || left+="its state directory; "
    [ -z "$(find /sys/fs/cgroup -type d -name "$3" -print -quit)" ] || left+="a cgroup; "
    if [ -z "$left" ] && grep -qE -- "$2" <<<"$output"; then ok "$1"; else not_ok "$1" "$left$output"; fi
    stop "$3"
}

userns='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}]
    | .linux.gidMappings = .linux.uidMappings'
powers='(.process.capabilities | .bounding, .effective, .permitted) += ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]'
filter='{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["acct"], action: "SCMP_ACT_ERRNO"}]}'
no_write='{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["write", "openat"], action: "SCMP_ACT_ERRNO", errnoRet: 1}]}'

. "$here/lsm-apparmor.sh"
. "$here/lsm-selinux.sh"

bundle none . || exit 1
echo hidden >"$work/rootfs/hidden"
echo other >"$work/rootfs/other"
echo open >"$work/rootfs/open"
chmod 644 "$work"/rootfs/{hidden,other,open}
modules=$(cat /sys/kernel/security/lsm 2>/dev/null)
case ,$modules, in
*,apparmor,*) apparmor_cases ;;
*) apparmor_off ;;
esac
case ,$modules, in
*,selinux,*) selinux_cases ;;
*) selinux_off ;;
esac
same "no container is left" "" "$(rt list --quiet 2>/dev/null)"
closing
