//! The runtime's own executable, run again from where nobody can write to it.
//!
//! A process that joins a container shows the file it runs from in /proc/PID/exe until its last stage is executed,
//! and whoever may look at it there (CAP_SYS_PTRACE, no user namespace) can open that file and write to it once
//! nobody runs it any more (CVE-2019-5736). A read-only overlay of the file's directory refuses that for good: it has
//! no upper layer, and is attached nowhere. (Nor does it keep the file below busy: the host replaces its binary by rename,
//! as package managers do, not by writing over it.) A read-only clone of the mount would be cheaper, but shares the file's inode:
//! open(2) counts a writer there before it looks at the mount, so who tries again and again makes execve(2) of
//! the runtime fail with ETXTBSY now and then, for everybody on the host.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::sys::kernel::is_missing;
use crate::sys::memfd::memfd_executable;
use rustix::fs::{CWD, Mode, OFlags, SealFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::sys::mount::{fsconfig_create, fsconfig_string, fsmount, fsopen, fstatfs};

const EXE: &str = "/proc/self/exe";
/// An overlay without an upper layer has two lower ones at least, neither inside the other; this one lies below the
/// runtime's directory and adds names that nobody asks for.
const OTHER_LAYER: &str = "/dev";
const MOUNT_ATTR_RDONLY: u64 = 0x1;
/// ST_RDONLY, statfs(2).
const READ_ONLY: u64 = 0x1;
/// OVERLAYFS_SUPER_MAGIC (linux/magic.h).
const OVERLAY: u64 = 0x794c_7630;
/// EROFS and squashfs, which nobody can write, and overlays, some of which.
const UNWRITABLE: [u64; 3] = [OVERLAY, 0xe0f5_e1e2, 0x7371_7368];

/// Whether what /proc/PID/exe of ours leads to cannot be written, nor held against writers: our overlay, a sealed copy,
/// or a file system that is read-only by nature. A read-only mount of another one is not enough.
pub fn is_protected() -> Result<bool> {
    let file = open(OFlags::RDONLY)?;
    let (magic, flags) = fstatfs(file.as_fd()).at(EXE)?;
    if flags & READ_ONLY != 0 && UNWRITABLE.contains(&magic) {
        // The root of a container that we are in may be an overlay mounted read-only: its files can be written elsewhere.
        return Ok(magic != OVERLAY || is_nobody_elses(&file)?);
    }
    // EINVAL: no file of memory.
    Ok(rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// Our overlay is attached nowhere: its link names a path below a root of its own (`/orlop`), where another file lies or
/// none. Who finds `file` by its name can find it where it may be written, too.
fn is_nobody_elses(file: &OwnedFd) -> Result<bool> {
    let path = rustix::fs::readlink(EXE, Vec::new()).call("readlink").at(EXE)?;
    let own = rustix::fs::fstat(file).call("fstat")?;
    let named = rustix::fs::stat(&path);
    Ok(named.map_or(true, |named| (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino)))
}

/// Executes this program again, same arguments and environment, from a read-only overlay; where the kernel makes none,
/// from a sealed copy. Descriptors stay open as their flags say. Returns on failure only.
pub fn run_again() -> Result<Infallible> {
    let image = match overlay() {
        Ok(image) => image,
        // Before 5.2, a file that is deleted or a mount by itself, overlays upon overlays, a filter around us.
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

fn overlay() -> Result<OwnedFd> {
    let own = open(OFlags::PATH)?;
    let path = rustix::fs::readlink(EXE, Vec::new()).call("readlink").at(EXE)?;
    let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
    let (dir, name) = (path.parent(), path.file_name());
    let (Some(dir), Some(name)) = (dir, name) else { return Err(Error::sys("readlink", libc::ENOENT)) };
    let dir = layer(dir.as_os_str())?;
    let other = layer(OsStr::new(OTHER_LAYER))?;
    // Asked for, an unknown file system is one that modprobe is started for, each time.
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.lines().any(|line| line.ends_with("\toverlay")) {
        return Err(Error::sys("fsopen", libc::ENODEV));
    }
    let context = fsopen("overlay")?;
    // By number, since a name may be longer than fsconfig(2) takes, or hold a colon.
    let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", dir.as_raw_fd(), other.as_raw_fd());
    fsconfig_string(context.as_fd(), "lowerdir", &layers)?;
    // Inode numbers as they are below.
    fsconfig_string(context.as_fd(), "xino", "off")?;
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), MOUNT_ATTR_RDONLY)?;
    let image =
        rustix::fs::openat(&mount, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let image = image.call("openat")?;
    // Not what lies below a file that is a mount by itself.
    if identity(&image)? == identity(&own)? { Ok(image) } else { Err(Error::sys("openat", libc::ESTALE)) }
}

fn layer(dir: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dir.as_bytes(), flags, Mode::empty()).call("openat")
}

/// What an overlay tells of a file as its layer does.
fn identity(file: &OwnedFd) -> Result<(u64, i64, i64, u64)> {
    let stat = rustix::fs::fstat(file).call("fstat")?;
    Ok((stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec))
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
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_our_name_leads_to_is_everybodys() {
        assert!(!is_nobody_elses(&open(OFlags::RDONLY).unwrap()).unwrap());
        assert!(is_nobody_elses(&std::fs::File::open("/proc/self/status").unwrap().into()).unwrap());
    }

    #[test]
    fn both_images_refuse_writers() {
        if !rustix::process::geteuid().is_root() {
            return crate::skip::skip(&["root"], "needs root");
        }
        let reopened = |image: &OwnedFd| {
            let path = format!("/proc/self/fd/{}", image.as_raw_fd());
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        };
        let own = std::fs::metadata("/proc/self/exe").unwrap();
        match overlay() {
            Ok(image) => {
                // Not ETXTBSY, although we run: the host's file is not asked.
                assert_eq!(reopened(&image).unwrap_err(), rustix::io::Errno::ROFS);
                let through = rustix::fs::fstat(&image).unwrap();
                assert_eq!((through.st_ino, through.st_size as u64), (own.ino(), own.len()));
                assert_ne!(through.st_dev, own.dev());
            }
            Err(e) => {
                assert!(matches!(e.errno(), libc::EPERM | libc::ENOSYS | libc::ENODEV | libc::EINVAL), "{e}")
            }
        }
        let copy = sealed_copy().unwrap();
        assert_eq!(rustix::fs::fstat(&copy).unwrap().st_size as u64, own.len());
        let writer = reopened(&copy).unwrap();
        assert_eq!(rustix::io::pwrite(&writer, b"x", 0).unwrap_err(), rustix::io::Errno::PERM);
    }
}
