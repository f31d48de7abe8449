"""What crun's test_mounts.py asks of libmount's python binding, which Debian does not package."""


class _Mount:
    def __init__(self, fields):
        separator = fields.index("-")
        self.target = fields[4]
        self.vfs_options = fields[5]
        self.fs_options = fields[separator + 3]


class Table:
    """The lines of a mountinfo file (proc_pid_mountinfo(5)); of several mounts on one target the last is found."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as lines:
            self.mounts = [_Mount(line.split(" ")) for line in lines if line.strip()]

    def find_target(self, target):
        found = [mount for mount in self.mounts if mount.target == target]
        return found[-1] if found else None
