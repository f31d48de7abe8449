//! Which file systems a user namespace may mount: the kernel's rules, so that `explain` can warn beforehand.

use super::View;

/// Why mounting `fs_type` from inside the container's user namespace will be refused, or None. The rules: a
/// file system that shows a namespace (proc, mqueue) wants that namespace owned by the same user
/// namespace; of the others only those flagged FS_USERNS_MOUNT.
pub fn obstacle(fs_type: &str, view: &View<'_>) -> Option<&'static str> {
    if !view.userns {
        return None;
    }
    let missing = |own: bool, why: &'static str| (!own).then_some(why);
    match fs_type {
        "proc" => {
            missing(view.own_pid_ns, "a user namespace can mount proc only with a pid namespace of its own")
        }
        "mqueue" => missing(
            view.own_ipc_ns,
            "a user namespace can mount mqueue only with an ipc namespace of its own",
        ),
        // Refused without a network or cgroup namespace of its own; then the host's are bound (see `mounts`, `cgroups`).
        "sysfs" | "cgroup" | "cgroup2" => None,
        // tmpfs, ramfs, devpts: always; overlay since 5.11; fuse since 4.18; binfmt_misc since 6.7; bpf since 6.9 with a
        // token. Of a kernel that is older the mount itself tells.
        "tmpfs" | "ramfs" | "devpts" | "overlay" | "fuse" | "binder" | "binfmt_misc" | "bpf" => None,
        _ => Some("a user namespace cannot mount this file system type"),
    }
}
