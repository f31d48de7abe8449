//! The state root and its entries on disk: everything relative to directory descriptors, every write a
//! rename, every read tolerant of an entry that vanishes.

use super::{Record, VERSION};
use crate::error::{Call, Doing, Error, Kind, Result};
use crate::sys::regex::Regex;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::ClockId;
use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const STATE: &str = "state.json";
pub const CONFIG: &str = "config.json";
pub const START_FIFO: &str = "start.fifo";
pub const STATUS_PAGE: &str = "exec.status";
const TRASH: &str = ".trash.";

/// How long a command waits for another one on the same container.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// The way out of a lock that is never let go.
const FORCE: &str = "orlop delete --force ends it";

/// The directory that `--root` names.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

/// One container's directory.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    dir: OwnedFd,
    path: PathBuf,
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

impl Root {
    /// Opens the root; None when it does not exist.
    pub fn open(path: &Path) -> Result<Option<Root>> {
        match rustix::fs::open(path, directory(), Mode::empty()) {
            Ok(dir) => Ok(Some(Root { dir, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::sys("open", e.raw_os_error()).at(path.display().to_string()))
                .doing("open the state root"),
        }
    }

    /// Opens the root, making what is missing of it (0700).
    pub fn create(path: &Path) -> Result<Root> {
        if let Some(root) = Root::open(path)? {
            return Ok(root);
        }
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .recursive(true)
            .create(path)
            .call("mkdir")
            .at_with(|| path.display().to_string())
            .doing("make the state root")
            .hint("choose another one with --root")?;
        Root::open(path)?.ok_or_else(|| Error::sys("open", libc::ENOENT).at(path.display().to_string()))
    }

    /// Takes the id: mkdir is the claim. The entry comes back locked.
    pub fn claim(&self, id: &str) -> Result<Entry> {
        match rustix::fs::mkdirat(&self.dir, id, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::new("container with given ID already exists")),
            Err(e) => {
                return Err(Error::sys("mkdir", e.raw_os_error()).at(self
                    .path
                    .join(id)
                    .display()
                    .to_string()))
                .doing("make the state directory");
            }
        }
        let taken = self.entry(id).and_then(|entry| entry.lock().map(|()| entry));
        taken.map_err(|e| {
            // NoContainer: somebody else removed it, and the name may be taken again.
            if e.kind() != Kind::NoContainer
                && rustix::fs::unlinkat(&self.dir, id, AtFlags::REMOVEDIR).is_err()
            {
                return e.hint(format!("orlop delete --force {id} removes the rest"));
            }
            e
        })
    }

    /// The entry of an existing container.
    pub fn entry(&self, id: &str) -> Result<Entry> {
        match rustix::fs::openat(&self.dir, id, directory() | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(dir) => Ok(Entry { id: id.to_owned(), dir, path: self.path.join(id) }),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Err(no_container()),
            Err(e) => Err(Error::sys("open", e.raw_os_error()).at(self.path.join(id).display().to_string())),
        }
    }

    /// Ids of all entries, sorted. Leftovers of a `delete` that was killed are swept on the way.
    pub fn ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).call("getdents")? {
            let entry = entry.call("getdents")?;
            let name = entry.file_name().to_string_lossy();
            if name.starts_with(TRASH) {
                // Best effort: another command may be at it, and nothing depends on it.
                let _ = self.empty_trash(&name);
            } else if !name.starts_with('.') && entry.file_type() == FileType::Directory {
                ids.push(name.into_owned());
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Ids that an extended regular expression matches.
    pub fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let regex = Regex::new(pattern)?;
        Ok(self.ids()?.into_iter().filter(|id| regex.matches(id)).collect())
    }

    /// Finishes the removals that a killed `delete` has left half done.
    pub fn sweep(&self) -> Result<()> {
        self.ids().map(|_| ())
    }

    /// Frees the name at once by a rename, then removes the files.
    ///
    /// Only what the entry was opened as: the name may by now be another container's.
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        if !entry.is_named()? {
            return Ok(());
        }
        let trash = format!("{TRASH}{}.{}", std::process::id(), entry.id.get(..64).unwrap_or(&entry.id));
        match rustix::fs::renameat(&self.dir, &entry.id, &self.dir, &trash) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => {
                return Err(Error::sys("rename", e.raw_os_error()).at(entry.path.display().to_string()))
                    .doing("remove the state directory");
            }
        }
        self.empty_trash(&trash).doing("remove the state directory")
    }

    fn empty_trash(&self, name: &str) -> Result<()> {
        let dir = match rustix::fs::openat(&self.dir, name, directory() | OFlags::NOFOLLOW, Mode::empty()) {
            // Another command has swept it already.
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.call("open")?,
        };
        remove_contents(&dir)?;
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => {
                Err(Error::sys("rmdir", e.raw_os_error()).at(self.path.join(name).display().to_string()))
            }
        }
    }
}

/// What every command says of an id that nothing is known of; callers look for the words.
pub fn no_container() -> Error {
    Error::new("container does not exist").of_kind(Kind::NoContainer)
}

trait HintIfHeld {
    fn hint_if_held(self, hint: impl FnOnce() -> Cow<'static, str>) -> Self;
}

impl HintIfHeld for Result<()> {
    fn hint_if_held(self, hint: impl FnOnce() -> Cow<'static, str>) -> Self {
        self.map_err(|e| if e.kind() == Kind::Held { e.hint(hint()) } else { e })
    }
}

/// From the text of /proc/locks: `1: FLOCK  ADVISORY  WRITE 1234 00:2a:5678 0 EOF`. Processes of other pid namespaces have
/// number 0 or less.
fn holder_of(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_lock = words.next() == Some("FLOCK");
        let pid = words.nth(2)?.parse().ok()?;
        (is_lock && words.next() == Some(file) && pid > 0).then_some(pid)
    })
}

/// The one field that records of all versions have.
#[derive(serde::Deserialize)]
struct Versioned {
    v: u32,
}

fn other_version(v: u32) -> String {
    format!("record version {v} (this orlop reads {VERSION})")
}

/// tmpfs and ramfs (linux/magic.h): nothing of them outlives the host.
fn is_in_memory(file: &OwnedFd) -> Result<bool> {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    let (magic, _) = crate::sys::mount::fstatfs(file.as_fd())?;
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&magic))
}

/// Others may be at it too: what is gone is gone.
fn remove_contents(dir: &OwnedFd) -> Result<()> {
    for entry in rustix::fs::Dir::read_from(dir).call("getdents")? {
        let entry = match entry {
            Err(Errno::NOENT) => return Ok(()),
            entry => entry.call("getdents")?,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut flags = AtFlags::empty();
        if entry.file_type() == FileType::Directory {
            match rustix::fs::openat(dir, name, directory() | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                below => remove_contents(&below.call("open")?)?,
            }
            flags = AtFlags::REMOVEDIR;
        }
        match rustix::fs::unlinkat(dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => {
                return Err(Error::sys("unlink", e.raw_os_error()).at(name.to_string_lossy().into_owned()));
            }
        }
    }
    Ok(())
}

impl Entry {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock (flock on the directory: the kernel drops it when its holder dies), waiting up to
    /// ten seconds; then makes sure that the directory still is the container's.
    pub fn lock(&self) -> Result<()> {
        self.take_lock(FlockOperation::NonBlockingLockExclusive).hint_if_held(|| FORCE.into())
    }

    /// The same for the command that has killed the container's processes already.
    pub fn lock_by_force(&self) -> Result<()> {
        self.take_lock(FlockOperation::NonBlockingLockExclusive).hint_if_held(|| self.whom_to_end())
    }

    fn whom_to_end(&self) -> Cow<'static, str> {
        match self.holder() {
            Some(pid) => format!("end process {pid}, which works on it").into(),
            None => "end the orlop process that works on it".into(),
        }
    }

    /// Who holds the lock. Nobody, where /proc/locks does not tell or gives another number for the device.
    fn holder(&self) -> Option<u32> {
        let stat = rustix::fs::fstat(&self.dir).ok()?;
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        holder_of(
            &std::fs::read_to_string("/proc/locks").ok()?,
            &format!("{major:02x}:{minor:02x}:{}", stat.st_ino),
        )
    }

    /// The same beside others who only share it: the container stays, and many may join it at once.
    pub fn lock_shared(&self) -> Result<()> {
        self.take_lock(FlockOperation::NonBlockingLockShared).hint_if_held(|| FORCE.into())
    }

    fn take_lock(&self, operation: FlockOperation) -> Result<()> {
        let deadline = Instant::now() + LOCK_DEADLINE;
        loop {
            match rustix::fs::flock(&self.dir, operation) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::new("another command has been working on this container for 10 s")
                        .of_kind(Kind::Held));
                }
                Err(e) => return Err(Error::sys("flock", e.raw_os_error())),
            }
        }
        if self.is_named()? { Ok(()) } else { Err(no_container()) }
    }

    /// Whether the name still leads to this very directory.
    pub fn is_named(&self) -> Result<bool> {
        let ours = rustix::fs::fstat(&self.dir).call("fstat")?;
        match rustix::fs::stat(&self.path) {
            Ok(named) => Ok((named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev)),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(Error::sys("stat", e.raw_os_error()).at(self.path.display().to_string())),
        }
    }

    /// Lets the next command in; the end of the process would do the same.
    pub fn unlock(&self) {
        // Cannot fail on a lock that we hold.
        let _ = rustix::fs::flock(&self.dir, FlockOperation::Unlock);
    }

    /// Writes the record: a new file, then a rename over the old one. On a disk its content goes first: a crash of the
    /// host would leave the name without it.
    pub fn save(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|e| Error::new(e.to_string()))?;
        const NEXT: &str = ".state.json";
        let file = self.write(NEXT, &bytes).doing("write state.json")?;
        if !is_in_memory(&file)? {
            rustix::fs::fdatasync(&file).call("fdatasync").doing("write state.json")?;
        }
        rustix::fs::renameat(&self.dir, NEXT, &self.dir, STATE).call("rename").doing("write state.json")
    }

    /// None while `create` has not yet got to writing it.
    pub fn load(&self) -> Result<Option<Record>> {
        let Some(bytes) = self.read(STATE).doing("read the record")? else { return Ok(None) };
        let broken = |problem: String| {
            let path = self.path.display();
            Error::new(format!("{path}/{STATE}: {problem}"))
                .doing("read the record")
                .hint(format!("remove its processes and cgroup by hand, then {path}"))
        };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.v == VERSION => Ok(Some(record)),
            Ok(record) => Err(broken(other_version(record.v))),
            // Another version may well have other fields.
            Err(e) => Err(broken(match serde_json::from_slice(&bytes) {
                Ok(Versioned { v }) if v != VERSION => other_version(v),
                _ => e.to_string(),
            })),
        }
    }

    /// Whether there is a record of nothing, or of zeros, that nobody has touched since this boot: what a crash of the
    /// host leaves of a file that was not on the disk yet. No process that it was about is alive.
    pub fn is_lost(&self) -> Result<bool> {
        let Some(bytes) = self.read(STATE)? else { return Ok(false) };
        let written = rustix::fs::statat(&self.dir, STATE, AtFlags::SYMLINK_NOFOLLOW).call("stat")?.st_mtime;
        let now = |clock| rustix::time::clock_gettime(clock).tv_sec;
        let booted = now(ClockId::Realtime) - now(ClockId::Boottime);
        Ok(bytes.iter().all(|byte| *byte == 0) && written < booted)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .call("open")
            .at_with(|| self.path.join(name).display().to_string())?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest)
                .call("write")
                .at_with(|| self.path.join(name).display().to_string())?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(file)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        // O_NONBLOCK: a FIFO of that name must not hang whoever looks through the state root.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let place = || self.path.join(name).display().to_string();
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(Error::sys("open", e.raw_os_error()).at(place())),
        };
        let mut bytes = vec![0; 8192];
        let mut length = 0;
        loop {
            let rest = bytes.get_mut(length..).unwrap_or_default();
            match rustix::io::read(&file, rest).call("read").at_with(place)? {
                0 => break,
                got => length += got,
            }
            if length == bytes.len() {
                bytes.resize(length * 2, 0);
            }
        }
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    /// Makes the start gate and the status page; both ends of the gate come back in one descriptor.
    pub fn make_gate(&self) -> Result<(OwnedFd, OwnedFd)> {
        rustix::fs::mknodat(&self.dir, START_FIFO, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .call("mkfifo")
            .at(START_FIFO)?;
        let rw = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // O_RDWR: a reader alone would see end-of-file at once, and it keeps the open from blocking.
        let fifo =
            rustix::fs::openat(&self.dir, START_FIFO, rw, Mode::empty()).call("open").at(START_FIFO)?;
        let page = rustix::fs::openat(&self.dir, STATUS_PAGE, rw | OFlags::CREATE, Mode::RUSR | Mode::WUSR)
            .call("open")
            .at(STATUS_PAGE)?;
        // Written, not only sized: a store into a hole of a full file system would kill init (SIGBUS), and the
        // page would count against the container's memory.
        rustix::io::pwrite(&page, &[0; crate::sys::last_stage::layout::PAGE_SIZE], 0)
            .call("write")
            .at(STATUS_PAGE)?;
        Ok((fifo, page))
    }

    /// The writing end of the start gate. `Ok(None)`: no gate, or nobody waits at it.
    pub fn open_gate(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.dir, START_FIFO, flags, Mode::empty()) {
            Ok(fifo) => Ok(Some(fifo)),
            Err(Errno::NOENT | Errno::NXIO) => Ok(None),
            Err(e) => Err(Error::sys("open", e.raw_os_error()).at(START_FIFO)),
        }
    }

    pub fn open_page(&self) -> Result<OwnedFd> {
        rustix::fs::openat(&self.dir, STATUS_PAGE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call("open")
            .at(STATUS_PAGE)
    }

    /// The gate is passed: the container is no longer "created".
    pub fn remove_gate(&self) -> Result<()> {
        match rustix::fs::unlinkat(&self.dir, START_FIFO, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::sys("unlink", e.raw_os_error()).at(START_FIFO)),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
