//! The standard descriptors of the container and those passed on purpose. The checks run first thing in
//! the runtime, before it opens anything; the rest in init, after the switch of the root and before the ids
//! change.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid, major, minor};
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

/// Puts the container's /dev/null where 0, 1 or 2 is a null device of the host, so that no inode of the host
/// stays in reach. `root` is the container's root directory. Both sides must be the null device
/// (CVE-2026-88265: comparing device numbers alone takes two regular files for equal).
pub fn reopen_null(root: BorrowedFd<'_>) -> Result<()> {
    for (number, fd) in stdio::all().into_iter().enumerate() {
        if !is_null(&rustix::fs::fstat(fd).call("fstat")?) {
            continue;
        }
        match open_null(root)? {
            Some(null) => stdio::replace(number, null.as_fd())?,
            // An image without the device: the host's is harmless, a closed descriptor is not.
            None => stdio::keep_on_exec(u32::try_from(number).unwrap_or_default())?,
        }
    }
    Ok(())
}

/// None when the container has no /dev/null. The handle is checked before it is opened: opening some devices
/// has effects, opening a FIFO waits.
fn open_null(root: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let open = |at: BorrowedFd<'_>, name: &str, flags: OFlags| {
        rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    };
    let refused = || {
        Error::new("is not the null device")
            .at("/dev/null in the container")
            .doing("open the container's null device")
    };
    let dev = match open(root, "dev", OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(refused()),
        other => other.call("openat").at("/dev in the container")?,
    };
    let handle = match open(dev.as_fd(), "null", OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.call("openat").at("/dev/null in the container")?,
    };
    if !is_null(&rustix::fs::fstat(&handle).call("fstat")?) {
        return Err(refused());
    }
    let null = open(dev.as_fd(), "null", OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY)
        .call("openat")
        .at("/dev/null in the container")?;
    if !is_null(&rustix::fs::fstat(&null).call("fstat")?) {
        return Err(refused());
    }
    // O_NONBLOCK was only against a swapped FIFO; the program shall not inherit it.
    rustix::fs::fcntl_setfl(&null, OFlags::empty()).call("fcntl")?;
    Ok(Some(null))
}

fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

/// Gives 0, 1 and 2 to `uid`, the id inside the container, so that a program that is not root can open
/// /dev/stdout again. The group stays: 5 (tty) on a terminal.
pub fn own(uid: u32) -> Result<()> {
    stdio::all().into_iter().try_for_each(|fd| own_one(fd, uid))
}

fn own_one(fd: BorrowedFd<'_>, uid: u32) -> Result<()> {
    let stat = rustix::fs::fstat(fd).call("fstat")?;
    // The null device belongs to everybody.
    if stat.st_uid == uid || is_null(&stat) {
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
    use std::os::unix::fs::symlink;

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

    fn root_with(make: impl FnOnce(&std::path::Path)) -> Result<Option<OwnedFd>> {
        let root = tempfile::tempdir().unwrap();
        make(root.path());
        open_null(std::fs::File::open(root.path()).unwrap().as_fd())
    }

    #[test]
    fn only_a_real_null_device_is_taken() {
        use rustix::fs::{CWD, makedev, mknodat};
        let dev = |root: &std::path::Path| std::fs::create_dir(root.join("dev")).unwrap();
        assert!(root_with(|_| {}).unwrap().is_none());
        assert!(root_with(dev).unwrap().is_none());
        assert!(root_with(|r| symlink("/dev", r.join("dev")).unwrap()).is_err());
        assert!(
            root_with(|r| {
                dev(r);
                symlink("/dev/null", r.join("dev/null")).unwrap();
            })
            .is_err()
        );
        assert!(
            root_with(|r| {
                dev(r);
                std::fs::write(r.join("dev/null"), "").unwrap();
            })
            .is_err()
        );
        assert!(
            root_with(|r| {
                dev(r);
                mknodat(CWD, r.join("dev/null"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
            })
            .is_err()
        );
        if rustix::process::geteuid().is_root() {
            let null = root_with(|r| {
                dev(r);
                let name = r.join("dev/null");
                mknodat(CWD, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
                    .unwrap();
            });
            // A file system mounted nodev refuses to open it.
            match null {
                Ok(null) => assert!(is_null(&rustix::fs::fstat(null.unwrap()).unwrap())),
                Err(e) => assert_eq!(e.errno(), libc::EACCES, "{e}"),
            }
        }
    }

    #[test]
    fn pipes_change_their_owner_and_null_does_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (r, _w) = rustix::pipe::pipe().unwrap();
        own_one(r.as_fd(), 1234).unwrap();
        assert_eq!(rustix::fs::fstat(&r).unwrap().st_uid, 1234);
        let null = std::fs::File::open("/dev/null").unwrap();
        own_one(null.as_fd(), 1234).unwrap();
        assert_ne!(rustix::fs::fstat(&null).unwrap().st_uid, 1234);
    }
}
