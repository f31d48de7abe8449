#!/usr/bin/env python3
"""Print a config.json: mkconfig.py [--like spec|docker] [options] ROOTFS -- ARG...

`spec` is what runtimes' `spec` command prints, `docker` what dockerd hands over through containerd for a container
without options but with limits: all namespaces, 14 capabilities, a seccomp profile, masked paths, bind mounts of files.
"""

import argparse
import json
import os
import re

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FEW = "AUDIT_WRITE KILL NET_BIND_SERVICE"
DOCKERS = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
)
# What Docker's default profile keeps from a container with these capabilities, by subject.
DENIED = """
    acct add_key bpf clock_adjtime clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount
    fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl
    kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr move_mount move_pages nfsservctl
    open_by_handle_at open_tree perf_event_open pivot_root process_madvise query_module quotactl quotactl_fd reboot
    request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday stime swapoff swapon
    sysfs syslog umount umount2 unshare uselib userfaultfd ustat vhangup vserver _sysctl
"""
CONDITIONAL = "clone clone3 personality socket"
NAMESPACE_FLAGS = 0x7E020000
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)


def caps(names):
    return {kind: ["CAP_" + name for name in names.split()] for kind in ("bounding", "effective", "permitted")}


def all_calls():
    for header in ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"):
        if os.path.exists(header):
            with open(header, encoding="ascii") as text:
                return re.findall(r"#define __NR_(\w+) ", text.read())
    raise SystemExit("mkconfig.py: the seccomp profile is made from the C headers (libc6-dev)")


def seccomp():
    allowed = sorted(set(all_calls()) - set(DENIED.split()) - set(CONDITIONAL.split()))
    rules = [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]
    for value in PERSONALITIES:
        rules.append(rule("personality", {"index": 0, "value": value, "op": "SCMP_CMP_EQ"}))
    rules.append(rule("socket", {"index": 0, "value": 40, "op": "SCMP_CMP_NE"}))
    rules.append(rule("clone", {"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}))
    # ENOSYS lets the C library fall back to clone, whose flags a filter can see.
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38})
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": architectures, "syscalls": rules}


def rule(name, condition):
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}


def mount(destination, kind, source, *options):
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def spec():
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "env": [PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": caps(FEW),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"readonly": True},
        "hostname": "orlop",
        "mounts": [
            mount("/proc", "proc", "proc"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": [
                *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
                *("/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"),
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def device(kind, major, minor, allow=True):
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": "rwm"}


def docker(files, limits):
    config = spec()
    process, linux = config["process"], config["linux"]
    config["root"]["readonly"] = False
    config["hostname"] = "0123456789ab"
    process["env"] = [PATH, "HOSTNAME=0123456789ab"]
    process["capabilities"] = caps(DOCKERS)
    process["oomScoreAdj"] = 0
    del process["noNewPrivileges"], process["rlimits"]
    config["mounts"][0]["options"] = ["nosuid", "noexec", "nodev"]
    config["mounts"][6]["options"] = ["ro", "nosuid", "noexec", "nodev"]
    for name in ("resolv.conf", "hostname", "hosts") if files else ():
        config["mounts"].append(mount(f"/etc/{name}", "bind", f"{files}/{name}", "rbind", "rprivate"))
    linux["namespaces"].append({"type": "cgroup"})
    linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    allowed = [device("c", *number) for number in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1))]
    linux["resources"]["devices"] += allowed + [device("c", 10, 229, allow=False)]
    if limits:
        linux["resources"]["memory"] = {"limit": 512 << 20}
        linux["resources"]["cpu"] = {"shares": 512, "quota": 100000, "period": 100000}
        linux["resources"]["pids"] = {"limit": 64}
    linux["maskedPaths"] += ["/proc/interrupts", "/sys/devices/virtual/powercap"]
    linux["seccomp"] = seccomp()
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--like", choices=["spec", "docker"], default="spec")
    parser.add_argument("--files", help="docker: directory with resolv.conf, hostname, hosts")
    parser.add_argument("--no-limits", dest="limits", action="store_false")
    parser.add_argument("--user", type=int, default=0)
    parser.add_argument("--caps", choices=["few", "docker", "none"])
    parser.add_argument("--env", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--terminal", action="store_true")
    parser.add_argument("--writable", action="store_true", help="a root file system that can be written")
    parser.add_argument("--hook", metavar="COMMAND", help="a prestart hook, run by /bin/sh")
    parser.add_argument("rootfs")
    parser.add_argument("args", nargs="+")
    options = parser.parse_args()
    config = docker(options.files, options.limits) if options.like == "docker" else spec()
    config["root"]["path"] = options.rootfs
    process = config["process"]
    process.update(args=options.args, terminal=options.terminal, user={"uid": options.user, "gid": options.user})
    process["env"] += options.env
    if options.caps:
        process["capabilities"] = caps({"few": FEW, "docker": DOCKERS, "none": ""}[options.caps])
    if options.user:
        process["capabilities"].update(effective=[], permitted=[])
    if options.writable:
        config["root"]["readonly"] = False
    if options.hook:
        config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", options.hook]}]}
    print(json.dumps(config, indent=2))


if __name__ == "__main__":
    main()
