//! Directory-relative calls for cgroup trees.
//!
//! Nothing here creates a regular file: a plain directory that stands where a hierarchy is expected
//! must give an error, never a fake cgroup.

use crate::error::{Call, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use rustix::fs::CWD;

/// Magic numbers of statfs(2) (linux/magic.h).
pub const CGROUP_SUPER_MAGIC: i64 = 0x27_e0eb;
pub const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Largest file read here; cgroup.procs of a fork bomb is the longest.
const MAX_FILE: usize = 64 << 20;

/// Opens a directory, following no symbolic link in the last element.
pub fn openat_dir(dir: impl AsFd, path: impl rustix::path::Arg, readable: bool) -> Result<OwnedFd> {
    let access = if readable { OFlags::RDONLY } else { OFlags::PATH };
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty()).call("openat")
}

/// Opens a mount point; a symbolic link on the way is the host's own.
pub fn open_mount(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).call("open")
}

pub fn openat_read(dir: impl AsFd, path: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty()).call("openat")
}

pub fn openat_write(dir: impl AsFd, path: &str) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty()).call("openat")
}

/// f_type of statfs(2).
pub fn fstatfs(fd: impl AsFd) -> Result<i64> {
    rustix::fs::fstatfs(fd).map(|s| s.f_type).call("fstatfs")
}

/// Number of hard links; in a cgroup directory the number of children plus 2.
pub fn fstat_nlink(fd: impl AsFd) -> Result<u64> {
    rustix::fs::fstat(fd).map(|s| s.st_nlink).call("fstat")
}

pub fn mkdirat(dir: impl AsFd, path: &str) -> Result<()> {
    rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(0o755)).call("mkdirat")
}

pub fn rmdirat(dir: impl AsFd, path: impl rustix::path::Arg) -> Result<()> {
    rustix::fs::unlinkat(dir, path, AtFlags::REMOVEDIR).call("rmdir")
}

/// Gives a file to `uid`; the group stays.
pub fn chownat(dir: impl AsFd, path: &str, uid: u32) -> Result<()> {
    let owner = rustix::fs::Uid::from_raw(uid);
    rustix::fs::chownat(dir, path, Some(owner), None, AtFlags::SYMLINK_NOFOLLOW).call("fchownat")
}

/// One write(2): cgroup files take a value whole.
pub fn write(fd: impl AsFd, value: &[u8]) -> Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(&fd, value)) {
        Ok(n) if n == value.len() => Ok(()),
        Ok(_) => Err(Error::sys("write", libc::EIO)),
        Err(e) => Err(e).call("write"),
    }
}

/// The whole file.
pub fn read(fd: impl AsFd) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    loop {
        if out.len() == out.capacity() {
            out.reserve(out.capacity());
        }
        let spare = rustix::buffer::spare_capacity(&mut out);
        match rustix::io::read(&fd, spare) {
            Ok(0) => return Ok(out),
            Ok(_) if out.len() > MAX_FILE => return Err(Error::sys("read", libc::EFBIG)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).call("read"),
        }
    }
}

/// Names of the subdirectories.
pub fn getdents_dirs(dir: impl AsFd) -> Result<Vec<std::ffi::CString>> {
    let mut out = vec![];
    for entry in rustix::fs::Dir::read_from(dir).call("getdents")? {
        let entry = entry.call("getdents")?;
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory && !matches!(name.to_bytes(), b"." | b"..") {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

/// Waits until the kernel says that the content of an open kernfs file changed (POLLPRI), at most
/// `milliseconds`. A time-out is no error.
pub fn poll_changed(file: BorrowedFd<'_>, milliseconds: u16) -> Result<()> {
    let timeout = Timespec {
        tv_sec: i64::from(milliseconds / 1000),
        tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
    };
    let mut fds = [PollFd::from_borrowed_fd(file, PollFlags::PRI)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e).call("poll"),
    }
}
