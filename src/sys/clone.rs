//! Making processes: clone3 with the new namespaces, into a cgroup where the kernel can, with a pidfd
//! from birth. The child is a fork-like copy of the runtime; it runs a closure that cannot return.
//!
//! Older kernels know less, and profiles around us may refuse more: without CLONE_INTO_CGROUP (5.7) the child enters
//! by itself, without clone3 (5.3) it is clone(2), without CLONE_PIDFD (5.2) the pidfd comes from the number.

use crate::error::{Call, Doing, Error, Result};
use crate::sys::kernel::is_missing;
use crate::sys::{ns, pidfd};
use rustix::fs::{Mode, OFlags};
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A child and the descriptor that is its identity.
#[derive(Debug)]
pub struct Child {
    /// As seen from the caller's pid namespace.
    pub pid: i32,
    /// See pidfd.rs for what else it may be.
    pub pidfd: OwnedFd,
    /// Whether the kernel has put it into the cgroup asked for; if not the child must enter by itself.
    pub in_cgroup: bool,
}

impl Child {
    /// A child of ours that another child has cloned ([`clone3_sibling`]). It is not reaped, so its number is its own. No
    /// other process is taken: what is done to it later is for children only.
    pub fn of_sibling(pid: i32, pidfd: Option<OwnedFd>) -> Result<Self> {
        let pidfd = pidfd.map_or_else(|| pidfd::pidfd_open(pid), Ok)?;
        if !pidfd::is_child(pidfd.as_fd())? {
            return Err(Error::new(format!("process {pid} is no child of ours")));
        }
        Ok(Self { pid, pidfd, in_cgroup: true })
    }
}

/// A process cloned where /proc may be a container's, or of another pid namespace.
#[derive(Debug)]
pub struct Unseen {
    /// As seen from the caller's pid namespace.
    pub pid: i32,
    /// None where clone(2) gives none, and there is no /proc to open a stand-in in.
    pub pidfd: Option<OwnedFd>,
}

/// What clone3 is asked for (clone(2)).
#[derive(Debug, Default)]
pub struct Clone<'a> {
    /// CLONE_NEW*.
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
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_NEWTIME: u64 = ns::CLONE_NEWTIME as u64;
/// CLONE_ARGS_SIZE_VER0 (linux/sched.h): up to `tls`, all that 5.3 knows.
const FIRST_SIZE: usize = 64;

/// Clones the (single-threaded) runtime; the child runs `child`, which is told whether it was born in the
/// cgroup asked for, and leaves by execve or `_exit` only, so no guard of the parent's frames runs twice.
pub fn clone3(request: &Clone, child: impl FnOnce(bool) -> Infallible) -> Result<Child> {
    let born = clone(request.flags, request.into_cgroup, child)?;
    let pidfd = born.pidfd.map_or_else(|| pidfd::pidfd_open(born.pid), Ok).inspect_err(|_| {
        // SAFETY: takes numbers only; the child is ours and not reaped. Nobody could ever wait for it.
        unsafe { libc::kill(born.pid, libc::SIGKILL) };
        let pid = rustix::process::Pid::from_raw(born.pid);
        let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
    })?;
    Ok(Child { pid: born.pid, pidfd, in_cgroup: born.in_cgroup })
}

/// The same with CLONE_PARENT, for a caller that ends soon: the parent of the caller gets a child, of which
/// [`Child::of_sibling`] makes what it needs.
pub fn clone3_sibling(flags: u64, child: impl FnOnce() -> Infallible) -> Result<Unseen> {
    let born = clone(flags | libc::CLONE_PARENT as u64, None, |_| child())?;
    Ok(Unseen { pid: born.pid, pidfd: born.pidfd })
}

/// A plain copy of a caller in any process of the tree; [`pidfd::poll_child`] and [`pidfd::wait_child`] wait for it.
pub fn fork(child: impl FnOnce() -> Infallible) -> Result<Unseen> {
    let born = clone(0, None, |_| child())?;
    Ok(Unseen { pid: born.pid, pidfd: born.pidfd })
}

struct Born {
    pid: i32,
    pidfd: Option<OwnedFd>,
    in_cgroup: bool,
}

fn clone(
    flags: u64,
    into_cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce(bool) -> Infallible,
) -> Result<Born> {
    let mut pidfd: i32 = -1;
    // clone(2): CLONE_PARENT takes the exit signal of the caller, and clone3 wants 0 said.
    let exit_signal = if flags & libc::CLONE_PARENT as u64 != 0 { 0 } else { libc::SIGCHLD as u64 };
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = into_cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let mut in_cgroup = into_cgroup.is_some();
    let mut waitable: fn(&OwnedFd) -> bool = |_| true;
    let mut answer = raw_clone3(&args);
    // Before 5.7 the longer arguments are too big, and the flag is unknown.
    if in_cgroup && matches!(answer, Err(libc::E2BIG | libc::EINVAL)) {
        in_cgroup = false;
        args.flags &= !CLONE_INTO_CGROUP;
        args.cgroup = 0;
        answer = raw_clone3(&args);
    }
    if let Err(errno) = answer
        && is_missing(libc::SYS_clone3, errno)
    {
        in_cgroup = false;
        answer = clone2(flags, exit_signal, &mut pidfd)?;
        waitable = |pidfd| pidfd::is_waitable(pidfd.as_fd());
    }
    let pid = answer.map_err(|errno| {
        let e = Error::sys("clone3", errno);
        // The flags of namespaces are within 32 bits.
        if flags == 0 { e } else { ns::why_not(e, flags as i32) }
    })?;
    if pid == 0 {
        child(in_cgroup);
    }
    // SAFETY: on success the kernel has stored a new descriptor of ours in `pidfd`; it knows no CLONE_PIDFD if not.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Born { pid, pidfd: pidfd.filter(waitable), in_cgroup })
}

/// The pid or, in the child, 0; errno.
fn raw_clone3(args: &CloneArgs) -> std::result::Result<i32, i32> {
    let size = if args.cgroup == 0 { FIRST_SIZE } else { size_of::<CloneArgs>() };
    // SAFETY: `args` is initialised and lives through the call; without CLONE_VM the child gets a copy of
    // the single thread's memory, so its view of Rust's state is consistent. The pidfd's place outlives the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const *args, size) } {
        pid if pid >= 0 => Ok(pid as i32),
        _ => Err(super::last_errno()),
    }
}

/// clone(2). The lowest byte of its flags is the exit signal, so CLONE_NEWTIME cannot be said there: the time
/// namespace is made for our children before, and ours is theirs again afterwards. The outer error is of that.
fn clone2(flags: u64, exit_signal: u64, pidfd: &mut i32) -> Result<std::result::Result<i32, i32>> {
    let mut time = None;
    if flags & CLONE_NEWTIME != 0 {
        // A caller that clones for its parent has no more children, and /proc may be a container's there.
        if flags & libc::CLONE_PARENT as u64 == 0 {
            let own = rustix::fs::open("/proc/self/ns/time", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            time = Some(own.call("open").at("/proc/self/ns/time").hint(ns::NEEDS_TIME)?);
        }
        ns::unshare(ns::CLONE_NEWTIME)?;
    }
    let flags = flags & !CLONE_NEWTIME | exit_signal;
    let mut clone = |flags: u64| {
        // SAFETY: no stack is given, so the child continues on a copy of ours; parent_tid receives the pidfd
        // (clone(2), CLONE_PIDFD) and outlives the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut *pidfd, 0usize, 0usize) };
        if pid >= 0 { Ok(pid as i32) } else { Err(super::last_errno()) }
    };
    let answer = match clone(flags | CLONE_PIDFD) {
        // A filter that knows the flag; a refusal of something else is met again. Kernels before 5.2 ignore it.
        Err(libc::ENOSYS | libc::EPERM) => clone(flags),
        answer => answer,
    };
    if let (Some(time), Ok(1..) | Err(_)) = (time, answer)
        && let Err(e) = ns::setns(time.as_fd(), ns::CLONE_NEWTIME)
    {
        if let Ok(pid) = answer {
            // SAFETY: takes numbers only. What would be left is a child that nobody knows of.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        return Err(e.doing("leave the container's time namespace"));
    }
    Ok(answer)
}
