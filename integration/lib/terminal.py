#!/usr/bin/env python3
"""Type into a command on a pseudo-terminal: terminal.py [--size ROWSxCOLS] [STEP...] -- COMMAND...

STEP is EXPECT=>SEND: wait until the output has the text EXPECT, then send SEND (\\n and \\x03 are understood in both).
EXPECT=>>SEND sends it again every second until the next step's text has come: a key that is a signal can come too early.
All output goes to stdout; the exit status is the command's, or 124 when an expected text does not come in time.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 20.0


def pump(master, seen, expect, again=b""):
    """Read until `expect` has come (and take it out of `seen`), the end of file or the limit; output goes out at once."""
    now = time.monotonic()
    end, due = now + LIMIT, now + 1
    while expect is None or expect not in seen:
        now = time.monotonic()
        if now >= end:
            return False
        if again and now >= due:
            os.write(master, again)
            due = now + 1
        if not select.select([master], [], [], min(end, due) - now if again else end - now)[0]:
            continue
        try:
            data = os.read(master, 4096)
        except OSError:  # EIO: the last slave end is closed
            data = b""
        if not data:
            return False
        seen += data
        os.write(1, data)
    del seen[: seen.index(expect) + len(expect)]
    return True


def unescape(text):
    return text.encode().decode("unicode_escape").encode()


def main():
    words = sys.argv[1:]
    rows, columns = 24, 80
    if words[0] == "--size":
        rows, columns = map(int, words[1].split("x"))
        words = words[2:]
    steps, command = words[: words.index("--")], words[words.index("--") + 1 :]
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execvp(command[0], command)
    seen = bytearray()
    again = b""
    for step in steps:
        expect, send = step.split("=>", 1)
        if not pump(master, seen, unescape(expect), again):
            print(f"\nterminal.py: no {expect!r} within {LIMIT:.0f} s", file=sys.stderr)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return 124
        repeated = send.startswith(">")
        send = unescape(send.removeprefix(">"))
        again = send if repeated else b""
        if send:  # an empty write reads as end of file on the other side
            os.write(master, send)
    pump(master, seen, None, again)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
