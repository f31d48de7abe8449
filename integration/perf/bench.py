#!/usr/bin/env python3
"""Time runtimes side by side: in every round each runtime does the same thing once, in changing order.

Printed: wall time (min, p25, median), CPU time of everything involved (median), peak memory, and both times as a ratio to
the first runtime of the table that is called floor, else to the first. On a shared machine read p25 and CPU.
"""

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../hack"))
import mkconfig  # noqa: E402

LIMIT = "20"  # seconds for one command
SCENARIOS = ["run", "cycle", "exec", "state", "kill", "list", "syscalls"]
libc = ctypes.CDLL(None, use_errno=True)


class Runtime:
    def __init__(self, name, path, state):
        self.name, self.path, self.root = name, path, os.path.join(state, name)
        os.mkdir(self.root, 0o700)

    def words(self, *args):
        return [self.path, "--root", self.root, *args]


class Sample:
    """One measured command: wall and cpu in microseconds, peak in KiB."""

    def __init__(self, words):
        line = subprocess.run([BUILD + "/measure", LIMIT, *words], stdout=subprocess.PIPE, check=True).stdout
        self.wall, self.cpu, self.peak, self.status = (int(field) for field in line.split())


class Table:
    def __init__(self, title, runtimes):
        self.title, self.runtimes, self.rows = title, runtimes, {}

    def add(self, phase, runtime, wall, cpu, peak):
        self.rows.setdefault(phase, {}).setdefault(runtime.name, []).append((wall, cpu, peak))

    def print(self):
        print(f"\n{self.title} (microseconds, KiB)")
        print(f"{'':12} {'':16} {'min':>8} {'p25':>8} {'median':>8} {'x':>6} {'cpu':>8} {'x':>6} {'peak':>7} {'n':>5}")
        for phase, by_name in self.rows.items():
            base = by_name.get("floor") or next(iter(by_name.values()))
            base_wall, base_cpu = quantile(base, 0, 0.25), quantile(base, 1, 0.5)
            for name, samples in by_name.items():
                wall = [quantile(samples, 0, q) for q in (0, 0.25, 0.5)]
                cpu, peak = quantile(samples, 1, 0.5), max(sample[2] for sample in samples)
                print(
                    f"{phase:12} {name:16} {wall[0]:8.0f} {wall[1]:8.0f} {wall[2]:8.0f} {wall[1] / max(base_wall, 1):6.2f} "
                    f"{cpu:8.0f} {cpu / max(base_cpu, 1):6.2f} {peak:7} {len(samples):5}"
                )
        sys.stdout.flush()


def quantile(samples, column, q):
    values = sorted(sample[column] for sample in samples)
    place = q * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def reap(block):
    """CPU microseconds of orphans; `block` waits for one (the container's first process)."""
    total = 0.0
    while True:
        try:
            pid, _, used = os.wait4(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            return total
        if pid == 0:
            return total
        total += (used.ru_utime + used.ru_stime) * 1e6
        block = False


class Bench:
    def __init__(self, options, runtimes):
        self.options, self.runtimes, self.number, self.failed = options, runtimes, 0, {}

    def next_id(self):
        self.number += 1
        return f"bench-{os.getpid()}-{self.number}"

    def take(self, runtime, *args):
        sample = Sample(runtime.words(*args))
        if sample.status != 0:
            self.failed.setdefault((runtime.name, args[0]), []).append(sample.status)
        return sample

    def rounds(self, warm_up=3):
        """(counts, runtime): the order shifts from round to round."""
        for turn in range(-warm_up, self.options.rounds):
            for place in range(len(self.runtimes)):
                yield turn >= 0, self.runtimes[(place + turn) % len(self.runtimes)]

    def run(self, bundle):
        table = Table(f"run /bin/true, {bundle} bundle", self.runtimes)
        for counts, runtime in self.rounds():
            container = self.next_id()
            sample = self.take(runtime, "run", "-b", f"{WORK}/{bundle}", container)
            if sample.status != 0:
                subprocess.run(runtime.words("delete", "--force", container), stderr=subprocess.DEVNULL, check=False)
            elif counts:
                table.add("run", runtime, sample.wall, sample.cpu + reap(False), sample.peak)
        table.print()

    def cycle(self, bundle):
        table = Table(f"create, start, delete, {bundle} bundle", self.runtimes)
        for counts, runtime in self.rounds():
            container = self.next_id()
            create = self.take(runtime, "create", "-b", f"{WORK}/{bundle}", container)
            if create.status != 0:
                subprocess.run(runtime.words("delete", "--force", container), stderr=subprocess.DEVNULL, check=False)
                reap(False)
                continue
            start = self.take(runtime, "start", container)
            container_cpu = reap(True)
            delete = self.take(runtime, "delete", container)
            container_cpu += reap(False)
            if counts:
                samples = (create, start, delete)
                for phase, sample in zip(("create", "start", "delete"), samples):
                    table.add(phase, runtime, sample.wall, sample.cpu, sample.peak)
                total = sum(sample.cpu for sample in samples) + container_cpu
                table.add("all", runtime, sum(sample.wall for sample in samples), total, max(s.peak for s in samples))
        table.print()

    def verb(self, verb):
        """exec, state, kill or list with --containers of them running."""
        table = Table(f"{verb}, {self.options.containers} containers", self.runtimes)
        running = {}
        for runtime in self.runtimes:
            if runtime.name == "floor" and verb == "list":
                continue
            running[runtime.name] = [self.next_id() for _ in range(self.options.containers)]
            for container in running[runtime.name]:
                self.take(runtime, "create", "-b", f"{WORK}/default-sleep", container)
                self.take(runtime, "start", container)
        for counts, runtime in self.rounds():
            if runtime.name not in running:
                continue
            first = running[runtime.name][0]
            words = {"exec": [first, "/bin/true"], "state": [first], "kill": [first, "WINCH"], "list": []}
            sample = self.take(runtime, verb, *words[verb])
            if counts and sample.status == 0:
                table.add(verb, runtime, sample.wall, sample.cpu + reap(False), sample.peak)
        for runtime in self.runtimes:
            for container in running.get(runtime.name, []):
                Sample(runtime.words("delete", "--force", container))
        reap(False)
        table.print()

    def syscalls(self):
        """Calls of all processes of each command, by strace -c -f. The container's program is among them."""
        print("\nsystem calls (strace -c -f)")
        verbs = ["run", "create", "start", "exec", "state", "kill", "list", "delete"]
        print(f"{'':10} {'':16} " + " ".join(f"{verb:>7}" for verb in verbs))
        for bundle in ("default", "docker"):
            for runtime in self.runtimes:
                first, second = self.next_id(), self.next_id()
                counts = {"run": self.traced(runtime, "run", "-b", f"{WORK}/{bundle}", first)}
                # strace stays until the container ends: create's is told to let go.
                counts["create"] = self.traced(runtime, "create", "-b", f"{WORK}/{bundle}", second)
                Sample(runtime.words("delete", "--force", second))
                third = self.next_id()
                self.take(runtime, "create", "-b", f"{WORK}/{bundle}-sleep", third)
                for verb, words in (("start", [third]), ("exec", [third, "/bin/true"]), ("state", [third]), ("kill", [third, "WINCH"]), ("list", [])):
                    if not (runtime.name == "floor" and verb == "list"):
                        counts[verb] = self.traced(runtime, verb, *words)
                if runtime.name != "floor":
                    self.take(runtime, "kill", third, "KILL")
                    reap(True)
                counts["delete"] = self.traced(runtime, "delete", third)
                Sample(runtime.words("delete", "--force", third))
                reap(False)
                print(f"{bundle:10} {runtime.name:16} " + " ".join(f"{counts.get(verb) or '-':>7}" for verb in verbs), flush=True)

    def traced(self, runtime, *args):
        out = f"{WORK}/strace.out"
        if os.path.exists(out):
            os.unlink(out)
        tracer = subprocess.Popen(
            ["strace", "-f", "-I", "2", "-qq", "-c", "-U", "calls,name", "-o", out, *runtime.words(*args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            tracer.wait(0.7 if args[0] == "create" else 20)
        except subprocess.TimeoutExpired:
            tracer.terminate()  # it writes its table and lets the waiting container go
            tracer.wait()
        if not os.path.exists(out):
            return None
        with open(out, encoding="ascii", errors="replace") as table:
            total = re.search(r"^\s*(\d+)\s+total", table.read(), re.M)
        return int(total.group(1)) if total else None


def write_filter(path):
    """The docker profile as libseccomp compiles it into a binary tree, for the floor. Needs the library only."""
    profile = mkconfig.seccomp()
    try:
        lib = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return

    class Comparison(ctypes.Structure):
        _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

    operators = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(0x00050001)))
    lib.seccomp_attr_set(context, 8, ctypes.c_uint32(2))
    for architecture in (0x40000003, 0x4000003E):
        lib.seccomp_arch_add(context, ctypes.c_uint32(architecture))
    for rule in profile["syscalls"]:
        action = 0x7FFF0000 if rule["action"] == "SCMP_ACT_ALLOW" else 0x00050000 | rule["errnoRet"]
        compare = [Comparison(a["index"], operators[a["op"]], a["value"], a.get("valueTwo", 0)) for a in rule.get("args", [])]
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(compare), (Comparison * len(compare))(*compare))
    with open(path, "wb") as out:
        lib.seccomp_export_bpf(context, out.fileno())


def make_bundles():
    rootfs, files = f"{WORK}/rootfs", f"{WORK}/files"
    busybox = shutil.which("busybox")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        os.makedirs(f"{rootfs}/{name}")
    shutil.copy(busybox, f"{rootfs}/bin/busybox")
    for applet in ("true", "sleep", "sh"):
        os.symlink("busybox", f"{rootfs}/bin/{applet}")
    os.mkdir(files)
    for name in ("hosts", "hostname", "resolv.conf"):
        for directory in (files, f"{rootfs}/etc"):
            with open(f"{directory}/{name}", "w", encoding="ascii") as file:
                file.write("127.0.0.1 localhost\n")
    for like in ("default", "docker"):
        for suffix, args in (("", ["/bin/true"]), ("-sleep", ["/bin/sleep", "100000"])):
            bundle = f"{WORK}/{like}{suffix}"
            os.mkdir(bundle)
            os.symlink("../rootfs", f"{bundle}/rootfs")
            os.symlink("../files", f"{bundle}/files")
            config = mkconfig.docker(files, True) if like == "docker" else mkconfig.spec()
            config["root"]["path"] = rootfs
            config["process"]["args"] = args
            with open(f"{bundle}/config.json", "w", encoding="ascii") as file:
                json.dump(config, file)
            if like == "docker":
                write_filter(f"{bundle}/filter.bpf")


def hierarchies():
    """Mount points of the cgroup hierarchies in use: cgroup2 only where it is the one at /sys/fs/cgroup."""
    found = []
    with open("/proc/self/mountinfo", encoding="ascii", errors="replace") as mounts:
        for line in mounts:
            before, after = line.split(" - ")
            point, kind = before.split()[4], after.split()[0]
            if kind == "cgroup" or (kind == "cgroup2" and point == "/sys/fs/cgroup"):
                found.append(point)
    return found


def private_mounts():
    if libc.unshare(0x20000) != 0 or libc.mount(None, b"/", None, 1 << 14 | 1 << 18, None) != 0:
        raise SystemExit(f"bench.py: private mount namespace: {os.strerror(ctypes.get_errno())}")


def main():
    global BUILD, WORK
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="directory with floor and measure")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--containers", type=int, default=10, help="how many run while state, kill and list are timed")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("runtimes", nargs="+", metavar="NAME=PATH")
    options = parser.parse_args()
    BUILD, WORK = options.build, tempfile.mkdtemp(prefix="bench-")
    private_mounts()
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    os.mkdir(f"{WORK}/state")
    libc.mount(b"tmpfs", f"{WORK}/state".encode(), b"tmpfs", 0, b"mode=700")
    os.environ["FLOOR_CGROUPS"] = ":".join(hierarchies())
    runtimes = [Runtime(*word.split("=", 1), f"{WORK}/state") for word in options.runtimes]
    bench = Bench(options, runtimes)
    try:
        make_bundles()
        with open("/proc/loadavg", encoding="ascii") as load:
            print(f"kernel {os.uname().release}, {os.cpu_count()} cpus, load {load.read().split()[0]}, {options.rounds} rounds")
        for scenario in options.only:
            if scenario in ("run", "cycle"):
                for bundle in ("default", "docker"):
                    getattr(bench, scenario)(bundle)
            elif scenario == "syscalls":
                bench.syscalls()
            else:
                bench.verb(scenario)
    finally:
        libc.umount2(f"{WORK}/state".encode(), 2)
        shutil.rmtree(WORK, ignore_errors=True)
    for (name, verb), statuses in bench.failed.items():
        print(f"{name} {verb}: {len(statuses)} failed, status {statuses[0]}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
