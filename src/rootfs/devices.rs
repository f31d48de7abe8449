//! Device nodes and links below the new root. Runs in init, after the mounts.
//!
//! The directory they go into is a descriptor, and /dev itself must be a directory and no link: an image whose
//! /dev is a link once had nodes made wherever it pointed. What exists already is looked at, never followed.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Call, Doing, Error, Result};
use crate::plan::rootfs::{DeviceKind, DeviceOp, How, LinkOp, MountOp};
use crate::rootfs::Filler;
use crate::sys::path::{Last, RootFd, kind_words};
use crate::sys::tree::Tree;

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Filler {
    pub(super) fn device(&mut self, op: &DeviceOp) -> Result<()> {
        let phrase = || format!("create the device {}", op.path.display());
        self.make_device(op).at_with(|| op.at.clone()).doing_with(phrase)
    }

    pub(super) fn link(&mut self, op: &LinkOp) -> Result<()> {
        self.make_link(op).doing_with(|| format!("create the link {}", op.path.display()))
    }

    /// Option `copy-symlink`: the source's link at the destination. What is there already must say the same.
    pub(super) fn copied_link(&mut self, op: &MountOp, target: &CStr) -> Result<()> {
        let mut make = || -> Result<()> {
            if op.only_procfs {
                return Err(Error::new("only a procfs can be mounted on /proc"));
            }
            let name = op.destination.file_name().ok_or_else(|| Error::new("the path names no file"))?;
            self.enter_parent(&op.destination)?;
            let Some((_, dir)) = &self.parent else { return Ok(()) };
            match rustix::fs::symlinkat(target, dir, name) {
                Err(Errno::EXIST) => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                    Ok(there) if there.as_c_str() == target => Ok(()),
                    _ => Err(Error::sys("symlinkat", libc::EEXIST)),
                },
                answer => answer.call("symlinkat"),
            }
        };
        make()
            .at_with(|| op.at.clone())
            .doing_with(|| format!("create the link {}", op.destination.display()))
    }

    fn make_device(&mut self, op: &DeviceOp) -> Result<()> {
        let name = op.path.file_name().ok_or_else(|| Error::new("the path names no file"))?;
        self.enter_parent(&op.path)?;
        let Some((_, dir)) = &self.parent else { return Ok(()) };
        if op.how == How::Bind {
            return self.bind_device(op, dir.as_fd(), name);
        }
        let number = rustix::fs::makedev(op.major, op.minor);
        let mode = Mode::from_raw_mode(op.mode);
        match rustix::fs::mknodat(dir, name, file_type(op.kind), mode, number) {
            Ok(()) => {}
            Err(Errno::PERM) if op.how == How::MknodElseBind => {
                return self.bind_device(op, dir.as_fd(), name);
            }
            Err(Errno::EXIST) => return verify(op, open_at(dir.as_fd(), name)?.as_fd()),
            answer => return answer.call("mknodat"),
        }
        if (op.uid, op.gid) == (0, 0) {
            return Ok(());
        }
        // By descriptor: the name may already be a link to somebody else's file.
        let node = open_at(dir.as_fd(), name)?;
        verify(op, node.as_fd())?;
        let (uid, gid) = (Uid::from_raw(op.uid), Gid::from_raw(op.gid));
        rustix::fs::chownat(&node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).call("fchownat")
    }

    /// The host's node of the same path, or of the same number where the path is another.
    fn bind_device(&self, op: &DeviceOp, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let class = if op.kind == DeviceKind::Block { "block" } else { "char" };
        let by_number = format!("/dev/{class}/{}:{}", op.major, op.minor);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut first = None;
        for source in [op.path.as_path(), Path::new(&by_number)] {
            let node = rustix::fs::openat(CWD, source, flags, Mode::empty()).call("openat");
            match node.and_then(|node| verify(op, node.as_fd()).map(|()| node)) {
                Ok(node) => {
                    let target = mount_point(dir, name)?;
                    let tree = Tree::of_fd(node.as_fd(), false)?;
                    return tree.attach(target.as_fd(), &self.proc, || open_at(dir, name)).map(drop);
                }
                Err(e) => first = first.or(Some(e)),
            }
        }
        let e = first.unwrap_or_else(|| Error::sys("openat", libc::ENOENT));
        Err(e.hint(format!(
            "the node cannot be made here, and the host has no {class} device {}",
            numbers(op)
        )))
    }

    fn make_link(&mut self, op: &LinkOp) -> Result<()> {
        if let Some(needed) = &op.only_if
            && rustix::fs::statat(CWD, needed, AtFlags::SYMLINK_NOFOLLOW).is_err()
        {
            return Ok(());
        }
        let name = op.path.file_name().ok_or_else(|| Error::new("the path names no file"))?;
        self.enter_parent(&op.path)?;
        let Some((_, dir)) = &self.parent else { return Ok(()) };
        match rustix::fs::symlinkat(&op.target, dir, name) {
            Err(Errno::EXIST) if op.replace => {}
            Err(Errno::EXIST) => return Ok(()),
            answer => return answer.call("symlinkat"),
        }
        if let Ok(target) = rustix::fs::readlinkat(dir, name, Vec::new())
            && target.as_bytes() == op.target.as_os_str().as_encoded_bytes()
        {
            return Ok(());
        }
        rustix::fs::unlinkat(dir, name, AtFlags::empty()).call("unlinkat")?;
        rustix::fs::symlinkat(&op.target, dir, name).call("symlinkat")
    }

    /// Makes the directory of `path` the current one.
    fn enter_parent(&mut self, path: &Path) -> Result<()> {
        let above = path.parent().unwrap_or(Path::new("/"));
        if self.parent.as_ref().is_some_and(|(known, _)| known == above) {
            return Ok(());
        }
        let dev = Path::new("/dev");
        let fd = if above == dev {
            real_dir(&self.root, dev)?
        } else {
            if above.starts_with(dev) {
                real_dir(&self.root, dev)?;
            }
            self.root.make_dir_all(above)?.fd
        };
        self.parent = Some((above.to_path_buf(), fd));
        Ok(())
    }
}

/// The directory at `path`, created when missing; a link to one is refused.
pub(super) fn real_dir(root: &RootFd, path: &Path) -> Result<OwnedFd> {
    let fd = match root.find(path, Last::Stay) {
        Err(e) if e.errno() == libc::ENOENT => {
            root.make_dir_all(path)?;
            root.find(path, Last::Stay)?
        }
        answer => answer?,
    };
    match crate::sys::path::kind(fd.as_fd())? {
        FileType::Directory => Ok(fd),
        other => Err(Error::new(format!(
            "{} in the root is {}, not an ordinary directory",
            path.display(),
            kind_words(other)
        ))),
    }
}

/// O_PATH of `name`, whatever it is.
pub(super) fn open_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, LOOK, Mode::empty()).call("openat")
}

/// The file `name` to mount something on, created empty when missing. A link or directory there is refused.
pub(super) fn mount_point(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        // A read-only /dev of the image's own still may have the file.
        Err(Errno::ROFS) => {}
        Err(e) => return Err(e).call("openat"),
    }
    let fd = open_at(dir, name)?;
    match crate::sys::path::kind(fd.as_fd())? {
        kind @ (FileType::Symlink | FileType::Directory) => Err(Error::new(format!(
            "{} in the root is {}, on which no device can be mounted",
            name.to_string_lossy(),
            kind_words(kind)
        ))),
        _ => Ok(fd),
    }
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

fn numbers(op: &DeviceOp) -> String {
    format!("{}:{}", op.major, op.minor)
}

/// An existing file counts only if it is the very device (config-linux.md: another type or number is an error).
fn verify(op: &DeviceOp, fd: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(fd).call("fstat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let same = kind == file_type(op.kind)
        && (op.kind == DeviceKind::Fifo || stat.st_rdev == rustix::fs::makedev(op.major, op.minor));
    if same {
        return Ok(());
    }
    let found = match kind {
        FileType::CharacterDevice | FileType::BlockDevice => {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            format!("{} {major}:{minor}", kind_words(kind))
        }
        _ => kind_words(kind).to_string(),
    };
    Err(Error::new(format!(
        "there is {found} already, not {} {}",
        kind_words(file_type(op.kind)),
        numbers(op)
    )))
}
