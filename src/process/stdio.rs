//! The standard descriptors of the container and those passed on purpose. The checks run first thing in
//! the runtime, before it opens anything; the rest in init, after the switch of the root and before the ids
//! change.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;

use crate::error::{Call, Doing, Error, Result};
use crate::plan::fds::{FIRST, FdPlan};
use crate::sys::stdio;

/// First thing in the program: 0, 1 and 2 are open, and nothing else that the caller left open reaches a
/// container or a hook by itself. Returns how many descriptors from 3 on the caller had open in a row: only
/// those can be asked for with `--preserve-fds`; a number beyond them would be one of ours.
pub fn sanitise() -> Result<u32> {
    let mut open = 0;
    while stdio::close_on_exec(FIRST + open).is_some() {
        open += 1;
    }
    stdio::fill_closed()?;
    stdio::close_on_exec_from(FIRST)?;
    // A peer that hangs up must be an errno. Every child resets it.
    crate::sys::process::ignore(libc::SIGPIPE)?;
    // A caller that ignores SIGCHLD would have the kernel reap our children (wait(2), ECHILD).
    crate::sys::signal::set_default(libc::SIGCHLD)?;
    Ok(open)
}

/// Every descriptor of LISTEN_FDS and `--preserve-fds` was `open` when we were started.
pub fn check_preserved(preserved: FdPlan, open: u32) -> Result<()> {
    let missing = FIRST + open;
    if preserved.first_closed() <= missing {
        return Ok(());
    }
    let option = if missing < FIRST + preserved.listen {
        format!("LISTEN_FDS={}", preserved.listen)
    } else {
        format!("--preserve-fds {}", preserved.preserve)
    };
    Err(Error::new(format!("file descriptor {missing} of {option} is not open")))
}

/// Gives 0, 1 and 2 to `uid`, the id inside the container, so that a program that is not root can open
/// /dev/stdout again. A device of the host's stays whose it is: root's terminal would be the user's from then on, on the
/// host too, to read what root types there. The program writes to what it has; to open /dev/stdout it needs a terminal of
/// its own. (As with crun; in the foreground runc puts pipes between.)
pub fn own(uid: u32) -> Result<()> {
    stdio::all().into_iter().try_for_each(|fd| {
        let stat = rustix::fs::fstat(fd).call("fstat")?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice | FileType::BlockDevice => Ok(()),
            _ => give(fd, stat.st_uid, uid),
        }
    })
}

/// The same for the slave of a terminal that was made for the process. The group stays 5 (tty).
pub fn own_terminal(slave: BorrowedFd<'_>, uid: u32) -> Result<()> {
    give(slave, rustix::fs::fstat(slave).call("fstat")?.st_uid, uid)
}

fn give(fd: BorrowedFd<'_>, owner: u32, uid: u32) -> Result<()> {
    if owner == uid {
        return Ok(());
    }
    match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>) {
        // Not ours to give: a file of another owner without the right, a read-only file system, an owner
        // without a number in the user namespace. The program can still use the descriptor.
        Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).call("fchown").doing("give the standard descriptors to the process's user"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_missing_descriptor_is_named() {
        // Test programs have some descriptors open from 3 on, but never 4000 of them.
        let plan = FdPlan::new(None, 4000).unwrap();
        let e = check_preserved(plan, 0).unwrap_err().to_string();
        assert!(
            e.starts_with("file descriptor ") && e.ends_with(" of --preserve-fds 4000 is not open"),
            "{e}"
        );
        let e = check_preserved(FdPlan::new(Some(4000), 1).unwrap(), 7).unwrap_err().to_string();
        assert!(e.ends_with(" of LISTEN_FDS=4000 is not open"), "{e}");
        check_preserved(FdPlan::default(), 0).unwrap();
    }

    #[test]
    fn a_terminal_that_was_made_for_it_changes_its_owner() {
        use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
        if !rustix::process::geteuid().is_root() {
            return crate::skip::skip(&["root"], "needs root");
        }
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        own_terminal(slave.as_fd(), 1234).unwrap();
        assert_eq!(rustix::fs::fstat(&slave).unwrap().st_uid, 1234);
    }
}
