//! Namespaces: unshare, setns, and what kind a namespace file is.

use crate::error::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// CLONE_NEWTIME is not in every libc.
pub const CLONE_NEWTIME: i32 = 0x80;
/// What a kernel lacks that refuses it.
pub const NEEDS_TIME: &str = "a time namespace needs Linux 5.6";

pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: plain flags; the process is single-threaded, so no other thread's view changes.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(why_not(last("unshare"), flags)),
    }
}

/// The way out, where the kernel refuses to make the namespaces of `flags` (namespaces(7), user_namespaces(7)).
pub fn why_not(e: Error, flags: i32) -> Error {
    let says = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    match e.errno() {
        libc::EINVAL if flags & CLONE_NEWTIME != 0 => e.hint(NEEDS_TIME),
        libc::EINVAL => e.hint("this kernel was built without one of these namespaces (CONFIG_*_NS)"),
        libc::ENOSPC => e.hint("this host allows no more of them: see /proc/sys/user/max_*_namespaces"),
        libc::EPERM if says("/proc/sys/kernel/unprivileged_userns_clone", "0") => {
            e.hint("kernel.unprivileged_userns_clone is 0: no user namespaces without root")
        }
        libc::EPERM if says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") => {
            e.hint("kernel.apparmor_restrict_unprivileged_userns is 1: orlop needs a profile with `userns,`")
        }
        libc::EPERM if flags & libc::CLONE_NEWUSER == 0 && !rustix::process::geteuid().is_root() => {
            e.hint("only root can make these without a user namespace; see orlop spec --rootless")
        }
        libc::EPERM => e.hint("CAP_SYS_ADMIN is missing, or a filter around us refuses"),
        _ => e,
    }
}

/// Joins the namespace of `fd`; `kind` (CLONE_NEW*) makes the kernel refuse another type with EINVAL.
pub fn setns(fd: BorrowedFd, kind: i32) -> Result<()> {
    // SAFETY: a live descriptor and plain flags; single-threaded as above.
    match unsafe { libc::setns(fd.as_raw_fd(), kind) } {
        0 => Ok(()),
        _ => Err(last("setns")),
    }
}

/// The CLONE_NEW* flag of a namespace file (ioctl_nsfs(2), NS_GET_NSTYPE); None when it is no namespace.
pub fn kind(fd: BorrowedFd) -> Option<i32> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the ioctl takes no argument and returns a number; other file types answer ENOTTY.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    (kind > 0).then_some(kind)
}

fn last(call: &'static str) -> Error {
    Error::sys(call, super::last_errno())
}
