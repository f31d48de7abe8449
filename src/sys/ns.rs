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
        _ if flags == CLONE_NEWTIME && super::last_errno() == libc::EINVAL => {
            Err(last("unshare").hint(NEEDS_TIME))
        }
        _ => Err(last("unshare")),
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
