//! Making processes: clone3 with the new namespaces, into a cgroup where the kernel can, with a pidfd
//! from birth. The child is a fork-like copy of the runtime; it runs a closure that cannot return.

use crate::error::{Error, Result};
use std::convert::Infallible;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A child and the descriptor that is its identity.
#[derive(Debug)]
pub struct Child {
    /// As seen from the caller's pid namespace.
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Whether the kernel has put it into the cgroup asked for; if not the child must enter by itself.
    pub in_cgroup: bool,
}

/// What clone3 is asked for (clone(2)).
#[derive(Debug, Default)]
pub struct Clone<'a> {
    /// CLONE_NEW* and CLONE_PARENT.
    pub flags: u64,
    /// cgroup2 directory to be born in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Clones the (single-threaded) runtime; the child runs `child`, which is told whether it was born in the
/// cgroup asked for, and leaves by execve or `_exit` only, so no guard of the parent's frames runs twice.
///
/// Falls back to clone(2) where clone3 is missing or refused (kernels before 5.3, seccomp filters around
/// the runtime), then without the cgroup.
pub fn clone3(request: &Clone, child: impl FnOnce(bool) -> Infallible) -> Result<Child> {
    let mut pidfd: i32 = -1;
    // clone(2): CLONE_PARENT takes the exit signal of the caller, and clone3 wants 0 said.
    let exit_signal = if request.flags & libc::CLONE_PARENT as u64 != 0 { 0 } else { libc::SIGCHLD as u64 };
    let mut args = CloneArgs {
        flags: request.flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.into_cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let mut in_cgroup = request.into_cgroup.is_some();
    // SAFETY: `args` is initialised and lives through the call; without CLONE_VM the child gets a copy of
    // the single thread's memory, so its view of Rust's state is consistent. `pidfd` outlives the call.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if pid < 0
        && matches!(super::last_errno(), libc::ENOSYS | libc::EPERM)
        && args.flags & CLONE_INTO_CGROUP == 0
        || pid < 0 && super::last_errno() == libc::ENOSYS
    {
        in_cgroup = false;
        pid = clone2(request.flags, exit_signal, &mut pidfd);
    }
    if pid < 0 {
        let e = Error::sys("clone3", super::last_errno());
        return Err(match request.flags & 0xff {
            0 => e,
            _ => e.hint("a time namespace needs clone3 (Linux 5.5)"),
        });
    }
    if pid == 0 {
        child(in_cgroup);
    }
    // SAFETY: on success the kernel has stored a new descriptor of ours in `pidfd`.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: pid as i32, pidfd, in_cgroup })
}

/// The lowest byte of clone(2)'s flags is the exit signal: CLONE_NEWTIME cannot be said there, and the
/// signal it would turn into must not pass for a time namespace.
fn clone2(flags: u64, exit_signal: u64, pidfd: &mut i32) -> i64 {
    if flags & 0xff != 0 {
        return -1;
    }
    let flags = flags | exit_signal | libc::CLONE_PIDFD as u64;
    // SAFETY: no stack is given, so the child continues on a copy of ours; parent_tid receives the pidfd
    // (clone(2), CLONE_PIDFD) and outlives the call.
    unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, pidfd as *mut i32, 0usize, 0usize) }
}
