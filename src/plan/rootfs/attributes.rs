//! What the options of a bind mount change of the mount: MOUNT_ATTR_* of mount_setattr(2). PURE.

use crate::spec::mount_options::{
    MOUNT_ATTR_ATIME_MASK, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME, MountOptions,
};

/// MS_* as MOUNT_ATTR_*, without the access time.
pub fn attr_of(flags: u64) -> u64 {
    let pairs = [
        (libc::MS_RDONLY, MOUNT_ATTR_RDONLY),
        (libc::MS_NOSUID, MOUNT_ATTR_NOSUID),
        (libc::MS_NODEV, MOUNT_ATTR_NODEV),
        (libc::MS_NOEXEC, MOUNT_ATTR_NOEXEC),
        (libc::MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
        (libc::MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
    ];
    pairs.iter().filter(|(flag, _)| flags & flag != 0).fold(0, |all, (_, attr)| all | attr)
}

/// Attributes that one option is enough to replace as a whole.
pub const PLAIN: u64 =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;

/// What a bind mount changes of its source: (set, clear, must_clear).
pub fn bind_attr(options: &MountOptions) -> (u64, u64, u64) {
    const TIMES: u64 = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;
    let mut set = attr_of(options.set);
    let mut clear = 0;
    let mut must_clear = attr_of(options.clear);
    if options.set & TIMES != 0 {
        clear |= MOUNT_ATTR_ATIME_MASK;
        if options.set & libc::MS_STRICTATIME != 0 {
            set |= MOUNT_ATTR_STRICTATIME;
        } else if options.set & libc::MS_NOATIME != 0 {
            set |= MOUNT_ATTR_NOATIME;
        }
    } else if options.clear & TIMES != 0 {
        // Back to relatime, the kernel's default and the value 0.
        clear |= MOUNT_ATTR_ATIME_MASK;
    }
    if set | clear | must_clear != 0 {
        clear |= PLAIN & !set;
    }
    if options.clear & libc::MS_NODIRATIME != 0 {
        clear |= MOUNT_ATTR_NODIRATIME;
    }
    must_clear &= clear;
    (set, clear, must_clear)
}
