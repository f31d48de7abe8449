//! Option `tmpcopyup`: what an image has at a mount point, copied into the new tmpfs. Runs in init.
//!
//! Directory by directory through descriptors, no link is followed. Owner, mode and times are kept; devices
//! and sockets are left out, for a node of the image has no business in a container's tmpfs. Holes stay holes: what
//! takes no room in the image would fill the memory. How much data fits is for the limit to say, which holds by now
//! (`CgroupPlan::before_copies`).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, seek,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use crate::error::{Call, Doing, Error, Result};

/// Deeper trees than this are an attack or a loop of bind mounts.
const DEEPEST: u32 = 128;

/// Copies the content of directory `from` (O_PATH will do) into directory `to`.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    directory(from, to, 0)
}

fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::new(format!("more than {DEEPEST} directories deep")));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, c".", flags, Mode::empty()).call("openat")?;
    let entries = Dir::read_from(&from).call("getdents64")?;
    for entry in entries {
        let entry = entry.call("getdents64")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(from.as_fd(), to, name, depth).doing_with(|| format!("copy {}", name.to_string_lossy()))?;
        }
    }
    Ok(())
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> Result<()> {
    let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(from, name, look, Mode::empty()).call("openat")?;
    let stat = rustix::fs::fstat(&node).call("fstat")?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            // 0700 until it is filled; populate has set the umask to 0.
            rustix::fs::mkdirat(to, name, Mode::RWXU).call("mkdirat")?;
            let made =
                rustix::fs::openat(to, name, look | OFlags::DIRECTORY, Mode::empty()).call("openat")?;
            directory(node.as_fd(), made.as_fd(), depth + 1)?;
        }
        FileType::RegularFile => return file(from, to, name, &stat),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&node, c"", Vec::new()).call("readlinkat")?;
            rustix::fs::symlinkat(target, to, name).call("symlinkat")?;
        }
        FileType::Fifo => rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0).call("mknodat")?,
        _ => return Ok(()),
    }
    let stay = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = owner(&stat);
    rustix::fs::chownat(to, name, Some(uid), Some(gid), stay).call("fchownat")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        // After the owner, which clears the set-id bits. The tmpfs is ours alone: nobody swaps names in it.
        rustix::fs::chmodat(to, name, mode, AtFlags::empty()).call("fchmodat")?;
    }
    rustix::fs::utimensat(to, name, &times(&stat), stay).call("utimensat")
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty()).call("openat")?;
    let seen = rustix::fs::fstat(&source).call("fstat")?;
    if (seen.st_dev, seen.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(Error::new("the file was exchanged while it was copied"));
    }
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made: OwnedFd = rustix::fs::openat(to, name, write, Mode::RUSR | Mode::WUSR).call("openat")?;
    content(&source, &made, seen.st_size.cast_unsigned())?;
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&made, Some(uid), Some(gid)).call("fchown")?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o7777)).call("fchmod")?;
    rustix::fs::futimens(&made, &times(stat)).call("futimens")
}

/// Holes stay holes. Where a file system does not tell of any (FUSE and others need not), or has no size (procfs), all that
/// can be read is content.
fn content(source: &OwnedFd, made: &OwnedFd, size: u64) -> Result<()> {
    let mut end = 0;
    loop {
        let start = match seek(source, SeekFrom::Data(end)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) if size > 0 => return rustix::fs::ftruncate(made, size).call("ftruncate"),
            Err(_) => return stretch(source, made, end, u64::MAX),
        };
        let Ok(hole) = seek(source, SeekFrom::Hole(start)) else {
            return stretch(source, made, start, u64::MAX);
        };
        stretch(source, made, start, hole)?;
        if hole <= start {
            return Ok(());
        }
        end = hole;
    }
}

fn stretch(source: &OwnedFd, made: &OwnedFd, start: u64, end: u64) -> Result<()> {
    let mut buffer = [0u8; 16 << 10];
    let mut place = start;
    while place < end {
        let wanted = usize::try_from(end - place).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        let got = retry_on_intr(|| pread(source, &mut *part, place)).call("pread")?;
        let mut rest = part.get(..got).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let put = retry_on_intr(|| pwrite(made, rest, place)).call("pwrite")?;
            place += put as u64;
            rest = rest.get(put..).unwrap_or_default();
        }
    }
    Ok(())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    // Nanoseconds are below 10^9 and fit.
    let of = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: of(stat.st_atime, stat.st_atime_nsec),
        last_modification: of(stat.st_mtime, stat.st_mtime_nsec),
    }
}
