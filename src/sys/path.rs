//! Paths inside a directory that somebody else filled: an image, a volume, a procfs.
//!
//! A [`RootFd`] is opened once; every name is looked up below it and comes back as an O_PATH descriptor, so
//! that what was checked is what is used. `/` and `..` stop at the root, links are followed inside it. The
//! kernel does the lookup (openat2(2), RESOLVE_IN_ROOT, Linux 5.6); without that call, and whenever something
//! is to be created, this file steps from component to component with O_NOFOLLOW and follows links itself.
//!
//! The content of the tree is hostile: another container that shares a volume may rename and relink it while
//! we look. Stepping never leaves the root because `..` returns to the descriptor it came from.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::sys::kernel::is_missing;

/// Links followed in one lookup, as the kernel's MAXSYMLINKS (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The longest path including its NUL (PATH_MAX, limits.h).
const LONGEST_PATH: usize = 4096;
/// How long a lookup is repeated while renames elsewhere make openat2 answer EAGAIN. A count is not enough:
/// 32 tries failed in 3 of 100 starts on a busy machine.
const PATIENCE: Duration = Duration::from_millis(100);

/// What happens when the last component is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    Follow,
    /// The link itself is the answer.
    Stay,
}

/// What to create where the path ends early; missing parents become directories of mode 0755.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    Nothing,
    Dir,
    File,
}

/// The answer of a lookup that may create.
#[derive(Debug)]
pub struct Found {
    /// O_PATH.
    pub fd: OwnedFd,
    /// The last component did not exist before.
    pub made: bool,
}

/// A directory that lookups cannot leave. See the module text.
#[derive(Debug)]
pub struct RootFd {
    fd: OwnedFd,
    /// openat2 was refused once: step from now on.
    step: Cell<bool>,
}

impl AsFd for RootFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RootFd {
    /// `fd` is a directory, opened with O_PATH or made by open_tree(2).
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, step: Cell::new(false) }
    }

    /// One that never calls openat2.
    pub fn stepping(fd: OwnedFd) -> Self {
        Self { fd, step: Cell::new(true) }
    }

    /// Looks `path` up; O_PATH|O_CLOEXEC. Errors name what stands in the way.
    pub fn find(&self, path: &Path, last: Last) -> Result<OwnedFd> {
        match self.open(path, OFlags::PATH, last) {
            // Stepping costs a few calls more and tells which component it was.
            Err(e) if matches!(e.errno(), libc::ENOTDIR | libc::ELOOP) => {
                self.walk(path, last, Make::Nothing).map(|found| found.fd)
            }
            answer => answer,
        }
    }

    /// Opens an existing file with `flags`. Whatever a hostile tree offers, this does not block on a FIFO
    /// (O_NONBLOCK) nor make a terminal ours (O_NOCTTY); a device may still act on being opened, so look with
    /// [`RootFd::find`] first.
    pub fn open(&self, path: &Path, flags: OFlags, last: Last) -> Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if last == Last::Stay {
            flags |= OFlags::NOFOLLOW;
        }
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
        }
        if !self.step.get() {
            match self.openat2(path, flags) {
                Err(e) if is_missing(libc::SYS_openat2, e.raw_os_error()) => self.step.set(true),
                answer => return answer.call("openat2"),
            }
        }
        if flags.contains(OFlags::PATH) {
            return self.walk(path, last, Make::Nothing).map(|found| found.fd);
        }
        // Opened by the name at which the walk ended, all links followed, and only if it is what the walk has seen.
        let mut walk = self.walked(path, last, Make::Nothing)?;
        let Some(looked) = walk.at.pop() else {
            return rustix::fs::openat(&self.fd, c".", flags | OFlags::NOFOLLOW, Mode::empty())
                .call("openat");
        };
        let opened = rustix::fs::openat(walk.here(), &looked.name, flags | OFlags::NOFOLLOW, Mode::empty());
        let opened = opened.call("openat")?;
        if identity(looked.fd.as_fd())? == identity(opened.as_fd())? {
            return Ok(opened);
        }
        Err(Error::sys("openat", libc::EAGAIN).hint("the path is being changed while it is opened"))
    }

    /// The directory, created with its parents (mode 0755) where missing. A dangling link is followed and its
    /// target created inside the root, as runc does: images rely on it (`/var/run -> /run`).
    pub fn make_dir_all(&self, path: &Path) -> Result<Found> {
        self.find_or_make(path, Make::Dir)
    }

    /// The file, created empty with its parents where missing (0644); an existing one is left as it is,
    /// whatever its type.
    pub fn make_file(&self, path: &Path) -> Result<Found> {
        self.find_or_make(path, Make::File)
    }

    fn find_or_make(&self, path: &Path, make: Make) -> Result<Found> {
        match self.open(path, OFlags::PATH, Last::Follow) {
            Ok(fd) => Ok(Found { fd, made: false }),
            Err(e) if matches!(e.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
                self.walk(path, Last::Follow, make)
            }
            Err(e) => Err(e),
        }
    }

    fn openat2(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut deadline = None;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::XDEV) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                    if Instant::now() > deadline {
                        return Err(Errno::AGAIN);
                    }
                }
                answer => return answer,
            }
        }
    }

    fn walk(&self, path: &Path, last: Last, make: Make) -> Result<Found> {
        let mut walk = self.walked(path, last, make)?;
        let fd = match walk.at.pop() {
            Some(Step { fd, .. }) => fd,
            None => self.fd.try_clone().call("fcntl")?,
        };
        Ok(Found { fd, made: walk.made })
    }

    /// The way from the root to where `path` leads.
    fn walked(&self, path: &Path, last: Last, make: Make) -> Result<Walk<'_>> {
        if path.as_os_str().len() >= LONGEST_PATH {
            return Err(Error::sys("openat", libc::ENAMETOOLONG));
        }
        if path.as_os_str().is_empty() {
            return Err(Error::sys("openat", libc::ENOENT));
        }
        let mut walk = Walk {
            root: self.fd.as_fd(),
            at: Vec::new(),
            left: VecDeque::new(),
            links: 0,
            last,
            make,
            made: false,
            until: None,
        };
        walk.prepend(path.as_os_str());
        while let Some(name) = walk.left.pop_front() {
            walk.step(name)?;
        }
        Ok(walk)
    }
}

/// One directory (or, at the very end, file) on the way from the root.
struct Step {
    name: OsString,
    fd: OwnedFd,
    kind: FileType,
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    at: Vec<Step>,
    left: VecDeque<OsString>,
    links: usize,
    last: Last,
    make: Make,
    made: bool,
    /// Set while one component is being created again and again because somebody else acts on it.
    until: Option<Instant>,
}

impl Walk<'_> {
    /// Puts the components of `path` before what is left. A trailing slash becomes `.`: it demands a directory
    /// and makes the component before it not the last, as in the kernel.
    fn prepend(&mut self, path: &OsStr) {
        let bytes = path.as_bytes();
        let mut parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        if bytes.ends_with(b"/") && !parts.is_empty() {
            parts.push(b".");
        }
        for part in parts.iter().rev() {
            self.left.push_front(OsStr::from_bytes(part).to_owned());
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.at.last().map_or(self.root, |step| step.fd.as_fd())
    }

    /// Takes one component: the only place where the stack grows.
    fn step(&mut self, name: OsString) -> Result<()> {
        if let Some(step) = self.at.last()
            && step.kind != FileType::Directory
        {
            return Err(self.not_a_directory());
        }
        match name.as_bytes() {
            b"." => return Ok(()),
            b".." => {
                self.at.pop();
                return Ok(());
            }
            _ => {}
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(self.here(), &name, flags, Mode::empty()) {
            Err(Errno::NOENT) if self.make != Make::Nothing => return self.create(name),
            answer => answer.call("openat")?,
        };
        self.until = None;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).call("fstat")?.st_mode);
        if kind != FileType::Symlink || (self.left.is_empty() && self.last == Last::Stay) {
            self.at.push(Step { name, fd, kind });
            return Ok(());
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Error::sys("openat", libc::ELOOP).hint(format!(
                "more than {MOST_LINKS} symbolic links, the last one at {}",
                self.text(&name)
            )));
        }
        // Read from the descriptor: the name may already be something else.
        let target = rustix::fs::readlinkat(&fd, c"", Vec::new()).call("readlinkat")?.into_bytes();
        if target.first() == Some(&b'/') {
            self.at.clear();
        }
        self.prepend(&OsString::from_vec(target));
        Ok(())
    }

    /// Creates the missing component and looks again, without following: what stands there then, ours or not,
    /// is inside the root.
    fn create(&mut self, name: OsString) -> Result<()> {
        let end = self.left.iter().all(|part| part == ".");
        let made = if end && self.make == Make::File && self.left.is_empty() {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(self.here(), &name, flags, Mode::from_raw_mode(0o644)).map(drop).call("openat")
        } else {
            rustix::fs::mkdirat(self.here(), &name, Mode::from_raw_mode(0o755)).call("mkdirat")
        };
        match made {
            Ok(()) => self.made |= end,
            Err(e) if e.errno() == libc::EEXIST => {}
            Err(e) => {
                let path = self.text(&name);
                return Err(e.doing(format!("create {path} in the root")));
            }
        }
        if Instant::now() > *self.until.get_or_insert_with(|| Instant::now() + PATIENCE) {
            return Err(Error::sys("openat", libc::EAGAIN).hint("the path is being changed while it is made"));
        }
        self.left.push_front(name);
        Ok(())
    }

    fn text(&self, name: &OsStr) -> String {
        let mut text = String::new();
        for part in self.at.iter().map(|step| step.name.as_os_str()).chain([name]) {
            text.push('/');
            text.push_str(&part.to_string_lossy());
        }
        text
    }

    fn not_a_directory(&self) -> Error {
        let kind = self.at.last().map_or("file", |step| kind_words(step.kind));
        let path = self.text(OsStr::new(""));
        Error::sys("openat", libc::ENOTDIR)
            .hint(format!("{} inside the root is {kind}, not a directory", path.trim_end_matches('/')))
    }
}

/// A file type in words, with its article.
pub fn kind_words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of an unknown type",
    }
}

/// The type of the file behind a descriptor.
pub fn kind(fd: BorrowedFd<'_>) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd).call("fstat")?.st_mode))
}

/// Device and inode number: what a descriptor refers to, whatever its name.
pub fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd).call("fstat")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether the descriptor is the character device `major`:`minor`. The type counts: a regular file has the
/// device number 0:0, and comparing numbers alone has made runtimes write into host files.
pub fn is_char_device(fd: BorrowedFd<'_>, major: u32, minor: u32) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).call("fstat")?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(major, minor))
}
