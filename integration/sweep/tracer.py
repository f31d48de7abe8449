"""Trace a command and all it forks with ptrace, count the system calls of each process, and kill one of them at one call.

strace's `inject=NAME:signal=SIGKILL:when=K` counts per process, but applies to every process: the first one to reach its
K-th NAME dies. A sweep needs to choose the process, hence this tracer. A point is (role, name, occurrence):
role is the place in the process tree ("0" the command, "0.1" its first child process, "0.1.1" that one's first), with one
"+" for every execve so far; threads belong to their process. The process dies before the call is carried out.
"""

import ctypes
import os
import re
import signal
import time

WALL = 0x40000000
GETEVENTMSG, SEIZE, LISTEN, SYSCALL, GET_SYSCALL_INFO = 0x4201, 0x4206, 0x4208, 24, 0x420E
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
OPTIONS = 1 | 1 << EVENT_FORK | 1 << EVENT_VFORK | 1 << EVENT_CLONE | 1 << EVENT_EXEC  # 1: TRACESYSGOOD
ENTRY = 1
SETTLE = 0.1  # seconds without any event after the command's end: the others wait for something

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def syscall_names():
    """Names by number from the C headers; without them points carry numbers."""
    names = {}
    for path in ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"):
        try:
            with open(path, encoding="ascii") as header:
                for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read()):
                    names[int(number)] = name
        except OSError:
            pass
    return names


NAMES = syscall_names()


def ptrace(request, pid, address=0, data=0):
    """A process that was killed meanwhile answers ESRCH: its end is reported by wait."""
    return libc.ptrace(request, pid, address, data)


class Process:
    def __init__(self, role):
        self.role, self.execs, self.children, self.counts, self.foreign = role, 0, 0, {}, False

    def label(self):
        return self.role + "+" * self.execs


class Tracer:
    """Runs in a process of its own: its end detaches every tracee and lets it go on."""

    def __init__(self, argv, output, target=None, program=None):
        self.target = target  # (role, name, occurrence) to kill at, or None to record
        self.program = program  # base name of the container's program: its calls are not the runtime's
        self.tasks = {}  # thread id -> Process
        self.early = set()  # children that stopped before their parent's event named them
        self.points = []
        self.hit = False
        self.root = self.spawn(argv, output)

    def spawn(self, argv, output):
        pid = os.fork()
        if pid == 0:
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.closerange(3, 256)
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        os.waitpid(pid, os.WUNTRACED)
        if ptrace(SEIZE, pid, 0, OPTIONS) != 0:
            raise OSError(ctypes.get_errno(), "ptrace(SEIZE)")
        self.tasks[pid] = Process("0")
        os.kill(pid, signal.SIGCONT)
        return pid

    def run(self):
        """Until the command has ended and the rest is quiet, or the target was killed. Returns the wait status or None."""
        ended, quiet_since = None, None
        while True:
            try:
                tid, status = os.waitpid(-1, WALL | (os.WNOHANG if ended is not None else 0))
            except ChildProcessError:
                return ended
            if tid == 0:
                if time.monotonic() - quiet_since > SETTLE:
                    return ended
                time.sleep(0.001)
                continue
            quiet_since = time.monotonic()
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self.tasks.pop(tid, None)
                if tid == self.root:
                    ended = status
                continue
            self.stopped(tid, status)
            if self.hit:
                return ended

    def stopped(self, tid, status):
        event, number = status >> 16, os.WSTOPSIG(status)
        process = self.tasks.get(tid)
        if process is None:
            self.early.add(tid)
            return
        deliver = 0
        if event in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
            self.born(process, self.message(tid))
        elif event == EVENT_EXEC:
            self.replaced(tid, process)
        elif event == EVENT_STOP:
            if number != signal.SIGTRAP:
                ptrace(LISTEN, tid)
                return
        elif number == signal.SIGTRAP | 0x80:
            if self.entered(tid, process):
                return
        else:
            deliver = number
        ptrace(SYSCALL, tid, 0, deliver)

    @staticmethod
    def message(tid):
        value = ctypes.c_ulong()
        ptrace(GETEVENTMSG, tid, 0, ctypes.addressof(value))
        return value.value

    def born(self, parent, tid):
        if tid == 0:
            return
        try:
            with open(f"/proc/{tid}/status", encoding="ascii", errors="replace") as status:
                thread = f"Tgid:\t{tid}\n" not in status.read()
        except OSError:
            thread = False
        if thread:
            self.tasks[tid] = parent
        else:
            parent.children += 1
            self.tasks[tid] = Process(f"{parent.role}.{parent.children}")
        if tid in self.early:
            self.early.discard(tid)
            ptrace(SYSCALL, tid)

    def replaced(self, tid, process):
        for other in [t for t, p in self.tasks.items() if p is process and t != tid]:
            del self.tasks[other]
        self.tasks[tid] = process
        process.execs += 1
        process.counts = {}
        try:
            process.foreign = os.path.basename(os.readlink(f"/proc/{tid}/exe")) == self.program
        except OSError:
            pass

    def entered(self, tid, process):
        """True when the process was killed here."""
        info = (ctypes.c_ubyte * 88)()
        if ptrace(GET_SYSCALL_INFO, tid, 88, ctypes.addressof(info)) <= 0 or info[0] != ENTRY or process.foreign:
            return False
        number = int.from_bytes(bytes(info[24:32]), "little")
        name = NAMES.get(number, str(number))
        count = process.counts[name] = process.counts.get(name, 0) + 1
        point = (process.label(), name, count)
        if self.target is None:
            self.points.append(point)
        elif point == self.target:
            self.hit = True
            os.kill(tid, signal.SIGKILL)
            return True
        return False
