#!/usr/bin/env python3
"""Kill a runtime command at every system call of each of its processes, then look for what it left behind.

For each point (process, system call, occurrence) of one recorded run: run the command again, SIGKILL that process just
before that call, wait, run `delete --force` once, and look for processes, cgroups, mounts, state and keyrings of the
container. Controls come first: leaks made on purpose, which must be found. Needs root; only its own containers are touched.
"""

import argparse
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tracer import Tracer

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 15.0  # seconds a command may take before it counts as hanging
GRACE = 1.0  # seconds in which the kernel may still be clearing away
# Calls whose number depends on the scheduling of threads or on waiting; Go programs make many of them.
UNSTEADY = {"futex", "nanosleep", "epoll_pwait", "sched_yield", "tgkill", "getpid", "rt_sigreturn", "madvise", "timer_settime"}
PR_SET_CHILD_SUBREAPER, CLONE_NEWNS, MS_REC_PRIVATE = 36, 0x20000, 1 << 14 | 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def cgroup_mounts():
    return [line.split()[4] for line in read("/proc/self/mountinfo").splitlines() if line.split(" - ")[1].startswith("cgroup")]


class Worker:
    """One process with its own mount namespace (so that every change in its mount table is the runtime's) and, as a
    subreaper, the parent of all that outlives the command."""

    def __init__(self, options, number):
        self.options, self.count = options, 0
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC_PRIVATE, None) != 0:
            raise OSError(ctypes.get_errno(), "private mount namespace")
        self.root = os.path.join(options.work, f"state{number}")
        os.mkdir(self.root, 0o700)
        self.name = f"sw{os.getpid()}"
        self.hierarchies = cgroup_mounts()

    def command(self, *args):
        return [self.options.runtime, "--root", self.root, *args]

    def words(self, verb, container):
        if verb in ("create", "run"):
            return self.command(verb, "--bundle", self.options.bundle, container)
        return self.command(verb, container, *(["KILL"] if verb == "kill" else []))

    def plain(self, words):
        """Run to the end with a limit. (exit status or None when it hung, output)"""
        with open(os.path.join(self.root + ".out"), "w+b") as out:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                status = child.wait(LIMIT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                status = None
            out.seek(0)
            return status, out.read().decode(errors="replace").strip()

    def prepare(self, container):
        """The state in which the swept command starts."""
        verbs = {"create": [], "run": [], "start": ["create"], "kill": ["create", "start"], "delete": ["create", "start", "kill"]}
        for verb in verbs[self.options.command]:
            status, output = self.plain(self.words(verb, container))
            if status != 0:
                raise RuntimeError(f"{verb} before the sweep: {output}")
            if verb == "kill":
                self.wait_stopped(container)

    def wait_stopped(self, container):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and '"stopped"' not in self.plain(self.words("state", container))[1]:
            time.sleep(0.02)

    def traced(self, container, target):
        """Run the swept command under the tracer, in a process of its own. Returns what the tracer saw."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            signal.alarm(int(LIMIT))
            output = os.open(self.root + ".log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            tracer = Tracer(self.words(self.options.command, container), output, target, self.options.program)
            status = tracer.run()
            seen = {"hit": tracer.hit, "root": tracer.root, "status": status, "points": tracer.points}
            os.write(writer, b"")
            with os.fdopen(writer, "w") as pipe:
                json.dump(seen, pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        os.waitpid(child, 0)
        return json.loads(text) if text else None

    def settle(self, pid):
        """Wait for the command itself, which is our child once the tracer is gone. False when it hangs."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    return True
            except ChildProcessError:
                return True
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False

    def orphans(self):
        """Living processes below us, after reaping the dead ones."""
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        found, queue = [], [os.getpid()]
        while queue:
            pid = queue.pop()
            children = [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
            found += children
            queue += children
        return found

    def leaks(self, container, mounts):
        found = []
        for pid in self.orphans():
            words = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            found.append(("process", f"{pid} {words or read(f'/proc/{pid}/comm').strip()}"))
        for mount in self.hierarchies:
            for directory, below, _ in os.walk(mount):
                found += [("cgroup", os.path.join(directory, name)) for name in below if container in name]
        for line in set(read("/proc/self/mountinfo").splitlines()) - mounts:
            found.append(("mount", line.split()[4]))
        for name in os.listdir(self.root):
            if container in name or name.startswith(".trash"):
                found.append(("state", os.path.join(self.root, name)))
        for line in read("/proc/keys").splitlines():
            if container in line:
                found.append(("keyring", line.split(None, 8)[-1]))
        return found

    def judge(self, container, mounts):
        """Leaks that stay; the kernel gets a moment to finish what is under way."""
        end = time.monotonic() + GRACE
        while True:
            found = self.leaks(container, mounts)
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.01)

    def clear(self, container, found):
        """Take away what leaked, so that the next point starts clean."""
        for pid in [pid for pid in self.orphans() if pid != os.getpid()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        end = time.monotonic() + 5
        while self.orphans() and time.monotonic() < end:
            time.sleep(0.005)
        for kind, what in reversed(found):
            if kind == "cgroup":
                for directory, _, _ in os.walk(what, topdown=False):
                    try:
                        os.rmdir(directory)
                    except OSError as error:
                        print(f"# {directory}: {error.strerror}", file=sys.stderr)
            elif kind == "mount":
                libc.umount2(what.encode(), 2)
            elif kind == "state":
                shutil.rmtree(what, ignore_errors=True)

    def next_container(self):
        self.count += 1
        return f"{self.name}-{self.count}x"  # no id is the beginning of another

    def point(self, target):
        container = self.next_container()
        mounts = set(read("/proc/self/mountinfo").splitlines())
        self.prepare(container)
        seen = self.traced(container, target)
        faults = []
        if seen is None:
            faults.append(("hang", "the command, under the tracer"))
        elif not self.settle(seen["root"]):
            faults.append(("hang", f"{self.options.command} for more than {LIMIT:.0f} s"))
        status, output = self.plain(self.command("delete", "--force", container))
        if status != 0:
            faults.append(("delete", f"--force: {'hangs' if status is None else f'status {status}'}: {output[-200:]}"))
        found = self.judge(container, mounts)
        if found:
            self.clear(container, found)
        return {"point": target, "hit": bool(seen and seen["hit"]), "faults": faults + found}

    def record(self):
        """Points of one undisturbed run."""
        container = self.next_container()
        mounts = set(read("/proc/self/mountinfo").splitlines())
        self.prepare(container)
        seen = self.traced(container, None)
        if not seen or seen["status"] != 0:
            raise RuntimeError(f"{self.options.command} fails undisturbed: {read(self.root + '.log').strip()[-500:]}")
        status, output = self.plain(self.command("delete", "--force", container))
        left = self.judge(container, mounts)
        self.clear(container, left)
        if status != 0 or left:
            raise RuntimeError(f"undisturbed, delete --force leaves {left} (status {status}: {output})")
        return [tuple(point) for point in seen["points"]]

    def control(self):
        """Leaks on purpose: the kinds the detector must report. {kind: found}"""
        container = self.next_container()
        mounts = set(read("/proc/self/mountinfo").splitlines())
        status, output = self.plain(self.words("create", container))
        if status != 0:
            raise RuntimeError(f"create for the control: {output}")
        libc.mount(b"tmpfs", self.options.work.encode() + b"/mnt", b"tmpfs", 0, None)
        # add_key(2) of a keyring with the container's name into our own process keyring.
        keyring = libc.syscall(248, b"keyring", f"_ses.{container}".encode(), None, ctypes.c_size_t(0), ctypes.c_int(-2))
        found = self.leaks(container, mounts)
        libc.syscall(250, 3, ctypes.c_int(keyring), 0, 0, 0)  # keyctl(KEYCTL_REVOKE)
        self.plain(self.command("delete", "--force", container))
        libc.umount2(self.options.work.encode() + b"/mnt", 2)
        self.clear(container, self.judge(container, mounts))
        kinds = {kind for kind, _ in found}
        wanted = ["process", "cgroup", "mount", "state"] + (["keyring"] if keyring > 0 else [])
        return {kind: kind in kinds for kind in wanted}


def in_worker(options, number, work):
    """Run work(worker, emit) in a child; returns (pid, read end). emit(x) sends one JSON line."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            worker = Worker(options, number)
            work(worker, lambda value: os.write(writer, json.dumps(value).encode() + b"\n"))
            status = 0
        except Exception as error:  # noqa: BLE001 - the parent turns it into a failure
            print(f"not ok - worker: {error}", flush=True)
        os._exit(status)
    os.close(writer)
    return pid, reader


def collect(workers):
    """JSON values of all workers as they come; a worker that failed raises at the end."""
    buffers, failed = {reader: b"" for _, reader in workers}, False
    while buffers:
        for reader in select.select(list(buffers), [], [])[0]:
            data = os.read(reader, 65536)
            if not data:
                del buffers[reader]
                os.close(reader)
                continue
            *lines, buffers[reader] = (buffers[reader] + data).split(b"\n")
            yield from (json.loads(line) for line in lines)
    for pid, _ in workers:
        failed |= os.waitpid(pid, 0)[1] != 0
    if failed:
        raise RuntimeError("a worker failed")


def sweep(options):
    passed = failed = skipped = 0
    number = iter(range(1_000_000))

    def alone(work):
        return list(collect([in_worker(options, next(number), work)]))

    if options.control:
        (control,) = alone(lambda worker, emit: emit(worker.control()))
        for kind, found in control.items():
            print(f"{'ok' if found else 'not ok'} - control: a leaked {kind} is found")
            passed, failed = passed + found, failed + (not found)
    (points,) = alone(lambda worker, emit: emit(worker.record()))
    every = [tuple(point) for point in points if point[1] not in UNSTEADY]
    chosen = every[options.offset :: options.every]
    roles = {}
    for role, _, _ in every:
        roles[role] = roles.get(role, 0) + 1
    print(f"# {options.command}: {len(every)} points, " + ", ".join(f"{role}: {n}" for role, n in roles.items()))
    print(f"# trying {len(chosen)}", flush=True)

    def walk(lane):
        return lambda worker, emit: [emit(worker.point(target)) for target in chosen[lane :: options.jobs]]

    began, leaky = time.monotonic(), {}
    for result in collect([in_worker(options, next(number), walk(lane)) for lane in range(options.jobs)]):
        role, name, occurrence = result["point"]
        what = f"{role} {name} #{occurrence}"
        if result["faults"]:
            failed += 1
            for kind in {kind for kind, _ in result["faults"]}:
                leaky[kind] = leaky.get(kind, 0) + 1
            print(f"not ok - {what}: " + "; ".join(f"{kind} {text}" for kind, text in result["faults"]), flush=True)
        elif not result["hit"]:
            skipped += 1
            if options.verbose:
                print(f"ok - {what} # SKIP not reached this time")
        else:
            passed += 1
            if options.verbose:
                print(f"ok - {what}")
    kinds = ", ".join(f"{kind} at {n}" for kind, n in sorted(leaky.items())) or "none"
    print(f"# leaks: {kinds}; {skipped} points not reached; {time.monotonic() - began:.0f} s")
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default=os.environ.get("RUNTIME", "orlop"))
    parser.add_argument("--command", default="create", choices=["create", "start", "run", "kill", "delete"])
    parser.add_argument("--bundle", help="default: a busybox bundle made for the occasion")
    parser.add_argument("--every", type=int, default=1, help="try every N-th point")
    parser.add_argument("--offset", type=int, default=0, help="the first point to try")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--no-control", dest="control", action="store_false")
    parser.add_argument("--verbose", action="store_true", help="list the points that passed, too")
    options = parser.parse_args()
    options.runtime = shutil.which(options.runtime) or options.runtime
    options.work = tempfile.mkdtemp(prefix="sweep-")
    os.mkdir(options.work + "/mnt")
    options.program = "busybox"
    if not options.bundle:
        options.bundle = options.work + "/bundle"
        program = ["true"] if options.command == "run" else ["sleep", "1000"]
        environment = dict(os.environ, RUNTIME=options.runtime)
        subprocess.run([HERE + "/../../hack/bundle.sh", options.bundle, *program], check=True, env=environment)
    options.bundle = os.path.abspath(options.bundle)
    try:
        passed, failed, skipped = sweep(options)
    except RuntimeError as error:
        print(f"not ok - {error}")
        passed, failed, skipped = 0, 1, 0
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
