#!/bin/bash
# run.sh: the systemd cgroup driver with a real systemd, in a container of its own on any host: orlop runs Debian's systemd
# as process 1 of a container with writable cgroups, and inside of it $RUNTIME (orlop, or Debian's runc or crun) makes
# its containers by --systemd-cgroup. TAP lines, then `N passed, N failed, N skipped`.
set -uo pipefail
. "$(dirname "$0")/../lib/begin.sh"
before_namespaces() {
    local suite
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    systemd_tar=$cache/systemd-$suite.tar
    if [ ! -s "$systemd_tar" ]; then
        mkdir -p "$cache"
        mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,dbus,runc,crun --format=tar "$suite" \
            "$systemd_tar.$$" >&2 && mv "$systemd_tar.$$" "$systemd_tar"
    fi
    export systemd_tar
}
begin systemd mmdebstrap python3

outer=$top/target/x86_64-unknown-linux-gnu/release/orlop
[ "$runtime" != orlop ] || outer=$RUNTIME
root=$work/machine/rootfs
mkdir -p "$root"
tar -C "$root" --numeric-owner -xpf "$systemd_tar"
[ "$runtime" != orlop ] || cp "$RUNTIME" "$root/usr/bin/orlop"
busybox_root "$root/box/rootfs"

# The machine's config: what systemd asks of a container manager (systemd.io, CONTAINER_INTERFACE).
(cd "$work/machine" && "$outer" spec)
python3 - "$work/machine/config.json" "/$tag/machine" <<'PY'
import json, sys
path, cgroup = sys.argv[1:]
config = json.load(open(path))
process, linux = config["process"], config["linux"]
names = """AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MKNOD
    NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_NICE
    SYS_PACCT SYS_PTRACE SYS_TTY_CONFIG"""
process["capabilities"] = {kind: ["CAP_" + name for name in names.split()] for kind in ("bounding", "effective", "permitted")}
process.update(args=["/sbin/init"], terminal=False, noNewPrivileges=False, env=["PATH=/usr/sbin:/usr/bin", "container=oci"])
process.pop("rlimits", None)
config["root"]["readonly"] = False
for mount in config["mounts"]:
    if mount["destination"] in ("/sys", "/sys/fs/cgroup"):
        mount["options"] = [option for option in mount["options"] if option != "ro"]
tmpfs = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"]}
config["mounts"] += [{"destination": place, **tmpfs} for place in ("/run", "/run/lock", "/tmp")]
linux.update(maskedPaths=[], readonlyPaths=[], cgroupsPath=cgroup, resources={"devices": [{"allow": True, "access": "rwm"}]})
if not any(namespace["type"] == "cgroup" for namespace in linux["namespaces"]):
    linux["namespaces"].append({"type": "cgroup"})
json.dump(config, open(path, "w"))
PY

machine() { timeout 60 "$outer" --root "$work/state" exec machine "$@"; }
rt() { machine "$runtime" "$@"; }
stop_client() { "$outer" --root "$work/state" delete --force machine; }
up() { machine systemctl is-system-running | grep -qE 'running|degraded'; }
"$outer" --root "$work/state" run --detach --bundle "$work/machine" machine >"$work/boot.log" 2>&1 </dev/null
if ! within 60 up; then
    not_ok "systemd: it boots" "$(cat "$work/boot.log"; machine systemctl --no-pager --failed)"
    closing
    exit
fi
ok "systemd: it boots"
if [ "$runtime" = crun ] && machine grep -qs . /sys/fs/cgroup/unified/cgroup.controllers; then
    skip "run --systemd-cgroup" "crun of Debian 12 refuses hybrid hosts whose cgroup2 has controllers"
    closing
    exit
fi

# config JSON-MERGE: the box's config.json with these members of linux and annotations.
config() {
    rm -f "$root/box/config.json"
    rt spec --bundle /box
    python3 - "$root/box/config.json" "$1" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
given = json.loads(sys.argv[2])
config["process"].update(args=["/bin/sleep", "600"], terminal=False)
config["process"].pop("rlimits", None)
config["annotations"] = given.pop("annotations", {})
config["linux"].update(given)
json.dump(config, open(sys.argv[1], "w"))
PY
}
start() { rt --systemd-cgroup run --detach --bundle /box "$1" >"$work/run.log" 2>&1 </dev/null; }
shows() { machine systemctl show "$1" -p "$2" --value; }
# Of the machine's own view: /sys/fs/cgroup/memory/… or /sys/fs/cgroup/….
limit() { machine sh -c "cat /sys/fs/cgroup/$1/$3 /sys/fs/cgroup/$2/$4 2>/dev/null | head -n 1"; }

unit=cri-one.scope path=machine.slice/machine-a.slice/$unit
config '{"cgroupsPath": "machine-a.slice:cri:one", "annotations": {"org.systemd.property.TimeoutStopSec": "7"},
    "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 33}, "cpu": {"quota": 50000, "period": 100000},
    "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}}'
succeeds "run --systemd-cgroup: it runs" start one
same "run --systemd-cgroup: the unit is active" active "$(machine systemctl is-active $unit)"
same "run --systemd-cgroup: its slice" machine-a.slice "$(shows $unit Slice)"
same "run --systemd-cgroup: it is delegated" yes "$(shows $unit Delegate)"
same "run --systemd-cgroup: TasksMax" 33 "$(shows $unit TasksMax)"
same "run --systemd-cgroup: CPU quota" 500ms "$(shows $unit CPUQuotaPerSecUSec)"
same "run --systemd-cgroup: property of an annotation" 7s "$(shows $unit TimeoutStopUSec)"
same "run --systemd-cgroup: device policy" strict "$(shows $unit DevicePolicy)"
has "run --systemd-cgroup: device rule" '/dev/char/10:229 rw' "$(shows $unit DeviceAllow)"
[ "$runtime" != orlop ] || same "run --systemd-cgroup: systemd needs no reload" no "$(shows $unit NeedDaemonReload)"
same "run --systemd-cgroup: memory limit in the kernel" 67108864 "$(limit "memory/$path" "$path" memory.limit_in_bytes memory.max)"
same "run --systemd-cgroup: pids limit in the kernel" 33 "$(limit "pids/$path" "$path" pids.max pids.max)"
has "exec: in the unit's cgroup" "$path\$" "$(rt exec one cat /proc/self/cgroup)"
same "run --systemd-cgroup: one process" 1 "$(shows $unit TasksCurrent)"
machine systemctl daemon-reload
same "systemctl daemon-reload: the limits stay" 67108864 "$(limit "memory/$path" "$path" memory.limit_in_bytes memory.max)"
ends "systemctl daemon-reload: devices stay forbidden" 1 rt exec one sh -c 'mknod /dev/x c 1 11 && : </dev/x'
succeeds "update: it is taken" rt --systemd-cgroup update --pids-limit 20 --memory 33554432 one
same "update: TasksMax" 20 "$(shows $unit TasksMax)"
same "update: in the kernel" 33554432 "$(limit "memory/$path" "$path" memory.limit_in_bytes memory.max)"
succeeds "pause" rt pause one
succeeds "resume" rt resume one
# The engine that deletes may not know the driver any more (contract: containerd's Stop).
succeeds "delete --force without --systemd-cgroup" rt delete --force one
gone() { [ "$(machine systemctl show $unit -p LoadState --value)" = not-found ]; }
if within 15 gone; then ok "delete: the unit is gone"; else not_ok "delete: the unit is gone" "$(machine systemctl status --no-pager $unit)"; fi
same "delete: no cgroup is left" "" "$(machine find /sys/fs/cgroup -name "$unit")"

for round in 1 2 3 4 5; do
    config '{"cgroupsPath": "machine-a.slice:cri:again"}'
    start again && rt kill again KILL && rt delete --force again || break
done
same "run --systemd-cgroup: the same unit five times" 5 "$round"

config '{"resources": {}}'
succeeds "run --systemd-cgroup: no cgroupsPath" start two
has "run --systemd-cgroup: no cgroupsPath, in system.slice" "system.slice/$runtime-two.scope\$" "$(rt exec two cat /proc/self/cgroup)"
rt delete --force two
config '{"cgroupsPath": "machine-a.slice::bare"}'
succeeds "run --systemd-cgroup: no prefix" start bare
has "run --systemd-cgroup: no prefix: the name begins with a dash" 'machine-a.slice/-bare.scope$' "$(rt exec bare cat /proc/self/cgroup)"
succeeds "delete: no prefix" rt delete --force bare
config '{"cgroupsPath": "/plain/path"}'
if start three; then not_ok "run --systemd-cgroup: a plain path is refused"; rt delete --force three; else
    has "run --systemd-cgroup: a plain path is refused" 'slice:prefix:name' "$(cat "$work/run.log")"; fi
config '{"cgroupsPath": "a--b.slice:cri:x"}'
if start three; then not_ok "run --systemd-cgroup: a bad slice is refused"; rt delete --force three; else
    has "run --systemd-cgroup: a bad slice is refused" 'invalid slice name' "$(cat "$work/run.log")"; fi
units() { machine systemctl list-units --all --no-legend 'cri-*' "$runtime-*"; }
# systemd forgets a unit a while after its end.
no_units() { local left; left=$(units) && [ -z "$left" ]; }
within 15 no_units
same "run --systemd-cgroup: refusals leave no unit" "" "$(units)"

if [ "$runtime" = orlop ]; then
    # A slice: a scope without processes may be gone before anybody stops it.
    config '{"cgroupsPath": "machine-a.slice::machine-a-held.slice", "annotations": {"org.systemd.property.RefuseManualStop": "true"}}'
    succeeds "run --systemd-cgroup: a unit that systemd will not stop" start held
    succeeds "delete: a unit that systemd will not stop" rt delete --force held
    has "delete: a unit that systemd will not stop: it is said" 'stop the unit machine-a-held.slice: ' "$output"
    same "delete: a unit that systemd will not stop: no cgroup is left" "" "$(machine find /sys/fs/cgroup -name machine-a-held.slice)"
    lacks "delete: a unit that systemd will not stop: no record is left" held "$(rt list -q)"
    config '{"cgroupsPath": "machine-a.slice:cri:cut"}'
    for delay in 0.000 0.003 0.006 0.010 0.015 0.025; do
        machine sh -c "orlop --systemd-cgroup create --bundle /box cut >/dev/null 2>&1 </dev/null & p=\$!; sleep $delay; kill -9 \$p; wait \$p"
        rt delete --force cut || break
    done
    same "create killed: delete --force" 0 $?
    idle() { [ -z "$(machine systemctl list-units --all --no-legend 'cri-*')" ]; }
    within 15 idle
    same "create killed: no unit is left" "" "$(machine systemctl list-units --all --no-legend 'cri-*')"
    same "create killed: no sleeper is left" "" "$(machine sh -c 'cat /proc/[0-9]*/comm' | grep orlop)"
    machine systemctl stop dbus.socket dbus.service >/dev/null 2>&1
    config '{"cgroupsPath": "machine-a.slice:cri:nobus"}'
    succeeds "run --systemd-cgroup: by systemd's own socket when there is no bus" start nobus
    succeeds "delete: without a bus" rt delete --force nobus
    same "delete: without a bus no unit is left" "" "$(machine find /sys/fs/cgroup -name 'cri-nobus*')"
    output=$("$outer" --root "$work/state" --systemd-cgroup run --bundle "$root/box" none 2>&1 </dev/null)
    has "run --systemd-cgroup: no systemd at all" 'connect to systemd: .*no such file or directory.*hint: ' "$output"
fi
same "systemd: no container is left" "" "$(rt list -q)"
"$outer" --root "$work/state" delete --force machine
same "systemd: no cgroup is left" "" "$(left_cgroups)"
closing
