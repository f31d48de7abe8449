//! The runtime's own executable, run again from where nobody can write to it.
//!
//! A process that joins a container shows the file it runs from in /proc/PID/exe until its last stage is executed,
//! and whoever may look at it there (CAP_SYS_PTRACE, no user namespace) can open that file and write to it once
//! nobody runs it any more (CVE-2019-5736). A read-only clone of the file's mount refuses that for good: it is
//! attached nowhere, so nobody can make it writable again.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use crate::sys::kernel::is_missing;
use crate::sys::memfd::memfd_executable;
use rustix::fs::{Mode, OFlags, SealFlags, StatVfsMountFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::sys::mount::{Attr, mount_setattr, open_tree_clone};

const EXE: &str = "/proc/self/exe";
const MOUNT_ATTR_RDONLY: u64 = 0x1;

/// Whether what /proc/PID/exe of ours leads to cannot be written: a read-only mount, or a sealed copy.
pub fn is_protected() -> Result<bool> {
    let file = open(OFlags::RDONLY)?;
    let mount = rustix::fs::fstatvfs(&file).call("fstatvfs").at(EXE)?;
    if mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    // EINVAL: no file of memory.
    Ok(rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// Executes this program again, same arguments and environment, from a read-only clone of its mount; where the
/// kernel makes none, from a sealed copy. Descriptors stay open as their flags say. Returns on failure only.
pub fn run_again() -> Result<Infallible> {
    let image = match read_only_clone() {
        Ok(image) => image,
        // Before 5.12, a mount that cannot be bound, a filter around us.
        Err(_) => sealed_copy()?,
    };
    let strings = |texts: Vec<OsString>| -> Vec<CString> {
        texts.into_iter().filter_map(|text| CString::new(text.into_vec()).ok()).collect()
    };
    let argv = strings(std::env::args_os().collect());
    let variable = |(name, value): (OsString, OsString)| {
        let mut text = name;
        text.push("=");
        text.push(value);
        text
    };
    let envp = strings(std::env::vars_os().map(variable).collect());
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, envp_pointers) = (pointers(&argv), pointers(&envp));
    // SAFETY: both arrays end in null and point into `argv` and `envp`, which live through the call; on success
    // it does not return.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            image.as_raw_fd(),
            c"".as_ptr(),
            argv_pointers.as_ptr(),
            envp_pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    let errno = super::last_errno();
    if !is_missing(libc::SYS_execveat, errno) {
        return Err(Error::sys("execveat", errno));
    }
    // We are still on the host, whose /proc is nobody else's.
    let name = format!("/proc/self/fd/{}", image.as_raw_fd());
    let name = CString::new(name).map_err(|_| Error::new("a NUL in a name"))?;
    // SAFETY: as above.
    unsafe { libc::execve(name.as_ptr(), argv_pointers.as_ptr(), envp_pointers.as_ptr()) };
    Err(Error::sys("execve", super::last_errno()))
}

fn open(flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(EXE, flags | OFlags::CLOEXEC, Mode::empty()).call("open").at(EXE)
}

fn read_only_clone() -> Result<OwnedFd> {
    let tree = open_tree_clone(open(OFlags::PATH)?.as_fd(), c"", false)?;
    let attr = Attr { set: MOUNT_ATTR_RDONLY, ..Attr::default() };
    mount_setattr(tree.as_fd(), false, attr)?;
    Ok(tree)
}

fn sealed_copy() -> Result<OwnedFd> {
    let own = open(OFlags::RDONLY)?;
    let copy = memfd_executable(c"orlop")?.ok_or_else(|| Error::sys("memfd_create", libc::EACCES))?;
    let mut left = rustix::fs::fstat(&own).call("fstat")?.st_size as u64;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let sent = rustix::fs::sendfile(&copy, &own, None, wanted).call("sendfile")?;
        if sent == 0 {
            break;
        }
        left -= sent as u64;
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals).call("fcntl(F_ADD_SEALS)")?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_images_refuse_writers() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let reopened = |image: &OwnedFd| {
            let path = format!("/proc/self/fd/{}", image.as_raw_fd());
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        };
        match read_only_clone() {
            // The file is busy as long as we run.
            Ok(tree) => assert!(matches!(
                reopened(&tree).unwrap_err(),
                rustix::io::Errno::ROFS | rustix::io::Errno::TXTBSY
            )),
            Err(e) => assert!(matches!(e.errno(), libc::EPERM | libc::ENOSYS), "{e}"),
        }
        let copy = sealed_copy().unwrap();
        let own = std::fs::metadata("/proc/self/exe").unwrap().len();
        assert_eq!(rustix::fs::fstat(&copy).unwrap().st_size as u64, own);
        let writer = reopened(&copy).unwrap();
        assert_eq!(rustix::io::pwrite(&writer, b"x", 0).unwrap_err(), rustix::io::Errno::PERM);
    }
}
