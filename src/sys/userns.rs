//! User namespaces that exist only for their id maps. Runs in the single-threaded runtime, on the host.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Call, Doing, Error, Result};

/// A user namespace with the given lines of uid_map and gid_map (user_namespaces(7)). It lives as long as the
/// descriptor; the child that it is born in only waits to be seen.
pub fn with_maps(uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    let (wait, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2")?;
    // SAFETY: fork-like (no stack, no shared memory); we are single-threaded, and the child below only closes,
    // reads and leaves by _exit.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0usize, 0usize, 0usize, 0usize)
    };
    match pid {
        -1 => {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(Error::sys("clone", errno).doing("create a user namespace"));
        }
        0 => {
            drop(hold);
            let mut byte = [0u8; 1];
            // End of file when the parent is done or gone.
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&wait, &mut byte));
            // SAFETY: ends this process at once and runs no destructors of the parent's.
            unsafe { libc::_exit(0) }
        }
        _ => {}
    }
    let maps = || -> Result<OwnedFd> {
        for (file, map) in [("gid_map", gid_map), ("uid_map", uid_map)] {
            let path = format!("/proc/{pid}/{file}");
            fs::write(&path, map).call("write").at_with(|| path.clone())?;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, format!("/proc/{pid}/ns/user"), flags, Mode::empty()).call("openat")
    };
    let answer = maps().doing("write the id maps");
    drop(hold);
    let pid = i32::try_from(pid).unwrap_or_default();
    let child = rustix::process::Pid::from_raw(pid);
    let waited = rustix::io::retry_on_intr(|| {
        rustix::process::waitpid(child, rustix::process::WaitOptions::empty()).map(drop)
    });
    waited.call("waitpid")?;
    answer
}
