//! A mount that is made but not yet attached, whatever the kernel's age.
//!
//! Since Linux 5.2 a mount is a descriptor first: it gets its attributes (mount_setattr, 5.12) before anybody
//! can see it, and is attached to a descriptor of the mount point. Older kernels, and profiles around us that
//! refuse one of the calls, get mount(2) through our own procfs; then attributes come by a remount right after,
//! and what mount(2) cannot say (attributes of a whole tree) is an error. Used in the runtime and in init.

use std::cell::OnceCell;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::sys::mount::{self, Attr, MOUNT_ATTR_NOSYMFOLLOW};
use crate::sys::procfs::Proc;

/// The attributes that statfs(2) shows: ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC have the bits of MOUNT_ATTR_*.
const LOCKABLE: u64 = 0x0f;
/// statfs(2); these two have other bits.
const ST_NODIRATIME: u64 = 0x0800;
const ST_NOSYMFOLLOW: u64 = 0x2000;
const MOUNT_ATTR_NODIRATIME: u64 = 0x80;

/// Our procfs, made when first needed: most starts never do.
#[derive(Debug)]
pub struct LazyProc {
    made: OnceCell<Proc>,
    /// Opened while /proc was still the host's, for when no instance of our own can be made.
    host: OnceCell<Proc>,
}

impl LazyProc {
    /// Before the container's root is entered.
    pub fn new() -> Self {
        let host = OnceCell::new();
        if let Ok(proc) = Proc::host() {
            // A fresh cell: cannot be full.
            let _ = host.set(proc);
        }
        Self { made: OnceCell::new(), host }
    }

    /// The instance with the process directories.
    pub fn get(&self) -> Result<&Proc> {
        if let Some(proc) = self.made.get() {
            return Ok(proc);
        }
        match (Proc::private_pids(), self.host.get()) {
            (Ok(proc), _) => Ok(self.made.get_or_init(|| proc)),
            (Err(_), Some(host)) => Ok(host),
            (Err(e), None) => Err(e.doing("open a private procfs")),
        }
    }

    /// Calls `act` with an instance that also has /proc/sys, gone again afterwards.
    pub fn with_sysctls<T>(&self, act: impl FnOnce(&Proc) -> Result<T>) -> Result<T> {
        match (Proc::open_whole(), self.host.get()) {
            (Ok(proc), _) => act(&proc),
            (Err(_), Some(host)) => act(host),
            (Err(e), None) => Err(e),
        }
    }
}

impl Default for LazyProc {
    fn default() -> Self {
        Self::new()
    }
}

/// A new mount of a file system type.
#[derive(Debug, Clone)]
pub struct NewFs<'a> {
    pub fs_type: &'a str,
    pub source: &'a str,
    /// MS_* as mount(2) takes them.
    pub flags: u64,
    /// Which of these belong to the superblock, in fsconfig's words (`ro`, `sync`).
    pub superblock: &'a [String],
    /// The file system's own options.
    pub options: &'a [(String, Option<String>)],
    /// The same as one string for mount(2).
    pub data: &'a str,
    /// Only mount(2) can say this (a value of 256 bytes or more, a comma in a value, `iversion`).
    pub only_mount: bool,
}

#[derive(Debug)]
enum Form {
    Detached(OwnedFd),
    /// Without open_tree(2): bound by mount(2) when attached.
    Bind {
        source: OwnedFd,
        recursive: bool,
    },
    /// Without fsopen(2): mounted by mount(2) when attached.
    Mount {
        fs_type: CString,
        source: CString,
        flags: u64,
        data: CString,
    },
}

/// Attributes that wait for the remount, since nothing can give them to a tree that is not attached.
#[derive(Debug, Clone, Copy, Default)]
struct Late {
    /// MOUNT_ATTR_*.
    set: u64,
    clear: u64,
    /// Those of `clear` that may stay where they are locked.
    may_stay: u64,
}

/// See the module text.
#[derive(Debug)]
pub struct Tree {
    form: Form,
    late: Option<Late>,
}

impl Tree {
    /// A tree that was opened elsewhere.
    pub fn detached(fd: OwnedFd) -> Self {
        Self { form: Form::Detached(fd), late: None }
    }

    /// A clone of the tree at an absolute host path. Links are followed: sources are trusted.
    pub fn of_path(path: &Path, recursive: bool) -> Result<Self> {
        let path = c_string(path.as_os_str().as_encoded_bytes())?;
        match mount::open_tree_of_path(&path, recursive) {
            Err(e) if mount::is_missing(&e) => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let source = rustix::fs::openat(CWD, &path, flags, Mode::empty()).call("openat")?;
                Ok(Self { form: Form::Bind { source, recursive }, late: None })
            }
            answer => Ok(Self::detached(answer?)),
        }
    }

    /// A clone of the tree whose root (or a file or directory in it) `fd` is.
    pub fn of_fd(fd: BorrowedFd<'_>, recursive: bool) -> Result<Self> {
        match mount::open_tree_clone(fd, c"", recursive) {
            Err(e) if mount::is_missing(&e) => {
                let source = fd.try_clone_to_owned().call("fcntl")?;
                Ok(Self { form: Form::Bind { source, recursive }, late: None })
            }
            answer => Ok(Self::detached(answer?)),
        }
    }

    /// A new instance of a file system.
    pub fn new_fs(new: &NewFs<'_>) -> Result<Self> {
        if !new.only_mount {
            match mount::fsopen(new.fs_type) {
                Ok(context) => match configured(context, new) {
                    Err(e) if mount::is_missing(&e) => {}
                    // Before Linux 6.8 overlay has no `lowerdir+`.
                    Err(e)
                        if e.errno() == libc::EINVAL
                            && new.options.iter().any(|(key, _)| key == "lowerdir+") => {}
                    answer => return answer.map(Self::detached),
                },
                Err(e) if mount::is_missing(&e) => {}
                Err(e) if e.errno() == libc::ENODEV => {
                    return Err(e.hint(format!("this kernel has no file system {:?}", new.fs_type)));
                }
                Err(e) => return Err(e),
            }
        }
        let form = Form::Mount {
            fs_type: c_string(new.fs_type.as_bytes())?,
            source: c_string(new.source.as_bytes())?,
            flags: new.flags,
            data: c_string(new.data.as_bytes())?,
        };
        Ok(Self { form, late: None })
    }

    /// The descriptor of a tree that needs nothing more: what a child can inherit and attach.
    pub fn into_detached(self) -> Result<OwnedFd> {
        match self {
            Self { form: Form::Detached(fd), late: None } => Ok(fd),
            _ => Err(Error::sys("open_tree", libc::ENOSYS).hint("a mount made ahead needs Linux 5.12")),
        }
    }

    /// The descriptor when the tree has one already: a directory to fill, a file to look at.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.form {
            Form::Detached(fd) => Some(fd.as_fd()),
            Form::Bind { source, .. } => Some(source.as_fd()),
            Form::Mount { .. } => None,
        }
    }

    /// Changes MOUNT_ATTR_* of the top mount, before anybody sees it where the kernel can.
    pub fn set_attr(&mut self, set: u64, clear: u64) -> Result<()> {
        if let Form::Detached(fd) = &self.form {
            match mount::mount_setattr(fd.as_fd(), false, Attr { set, clear, ..Attr::default() }) {
                Err(e) if mount::is_missing(&e) => {}
                answer => return answer,
            }
        }
        let before = self.late.unwrap_or_default();
        let (set, clear) = (before.set & !clear | set, before.clear & !set | clear);
        self.late = Some(Late { set, clear, ..before });
        Ok(())
    }

    /// Attributes that [`Tree::set_attr`] was to clear, and that may stay if a user namespace's owner has locked them:
    /// only the remount, if there is one, will know.
    pub fn may_stay(&mut self, attr: u64) {
        if let Some(late) = &mut self.late {
            late.may_stay |= attr & LOCKABLE;
        }
    }

    /// Changes MOUNT_ATTR_* of every mount in the tree.
    pub fn set_attr_recursive(&mut self, set: u64, clear: u64) -> Result<()> {
        match &self.form {
            Form::Detached(fd) => {
                mount::mount_setattr(fd.as_fd(), true, Attr { set, clear, ..Attr::default() })
            }
            // One mount and nothing below it.
            Form::Mount { .. } => self.set_attr(set, clear),
            Form::Bind { .. } => {
                Err(Error::sys("mount_setattr", libc::ENOSYS).hint("recursive options need Linux 5.12"))
            }
        }
    }

    /// Attaches the tree on top of `target` and gives the descriptor of its root. `again` looks the mount point
    /// up once more, needed only after mount(2).
    pub fn attach(
        self,
        target: BorrowedFd<'_>,
        proc: &LazyProc,
        again: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        let asked = match &self.form {
            Form::Mount { flags, .. } => *flags,
            _ => 0,
        };
        match self.form {
            Form::Detached(fd) => {
                mount::move_mount(fd.as_fd(), target)?;
                late_remount(proc, fd.as_fd(), self.late)?;
                return Ok(fd);
            }
            Form::Bind { source, recursive } => {
                let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
                let source = mount::fd_name(&source)?;
                proc.get()?.mount(Some(&source), target, None, flags, None)?;
            }
            Form::Mount { fs_type, source, flags, data } => {
                let data = (!data.is_empty()).then_some(data.as_c_str());
                let flags = flags & !libc::MS_REC;
                proc.get()?.mount(Some(&source), target, Some(&fs_type), flags, data)?;
            }
        }
        let fd = again()?;
        late_remount(proc, fd.as_fd(), self.late)?;
        if asked & libc::MS_NOSYMFOLLOW != 0 {
            check_nosymfollow(fd.as_fd())?;
        }
        Ok(fd)
    }
}

/// mount(2) passes over what it does not know: before Linux 5.10 the links would be followed.
fn check_nosymfollow(fd: BorrowedFd<'_>) -> Result<()> {
    match mount::fstatfs(fd)?.1 & ST_NOSYMFOLLOW {
        0 => Err(Error::sys("mount", libc::ENOSYS).hint("nosymfollow needs Linux 5.10")),
        _ => Ok(()),
    }
}

/// Changes MOUNT_ATTR_* of the attached mount `fd` is the root of.
pub fn set_attr(fd: BorrowedFd<'_>, set: u64, clear: u64, proc: &LazyProc) -> Result<()> {
    match mount::mount_setattr(fd, false, Attr { set, clear, ..Attr::default() }) {
        Err(e) if mount::is_missing(&e) => remount(proc.get()?, fd, set, clear),
        answer => answer,
    }
}

/// Changes the propagation of the attached mount `fd` is the root of: one MS_* type, with MS_REC for the tree.
pub fn set_propagation(fd: BorrowedFd<'_>, flags: u64, proc: &LazyProc) -> Result<()> {
    let attr = Attr { propagation: flags & !libc::MS_REC, ..Attr::default() };
    match mount::mount_setattr(fd, flags & libc::MS_REC != 0, attr) {
        Err(e) if mount::is_missing(&e) => proc.get()?.mount(None, fd, None, flags, None),
        answer => answer,
    }
}

/// MOUNT_ATTR_* of the mount behind `fd` that a user namespace's owner may have locked.
pub fn lockable_attr(fd: BorrowedFd<'_>) -> Result<u64> {
    let (_, flags) = mount::fstatfs(fd)?;
    Ok(flags & LOCKABLE)
}

fn late_remount(proc: &LazyProc, fd: BorrowedFd<'_>, late: Option<Late>) -> Result<()> {
    let Some(Late { set, clear, may_stay }) = late else { return Ok(()) };
    let proc = proc.get()?;
    match remount(proc, fd, set, clear) {
        Err(e) if e.errno() == libc::EPERM && may_stay & clear != 0 => {
            remount(proc, fd, set, clear & !may_stay).map_err(|_| e)
        }
        answer => answer,
    }
}

/// mount(2) with MS_REMOUNT|MS_BIND replaces all per-mount flags, so what stays must be said again.
fn remount(proc: &Proc, fd: BorrowedFd<'_>, set: u64, clear: u64) -> Result<()> {
    let (_, shown) = mount::fstatfs(fd)?;
    let stays = [(ST_NODIRATIME, MOUNT_ATTR_NODIRATIME), (ST_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW)]
        .iter()
        .filter(|(bit, _)| shown & bit != 0)
        .fold(shown & LOCKABLE, |all, (_, attr)| all | attr);
    let attr = (stays & !clear) | set;
    let mut flags = libc::MS_REMOUNT | libc::MS_BIND;
    for (bit, flag) in [
        (0x01, libc::MS_RDONLY),
        (0x02, libc::MS_NOSUID),
        (0x04, libc::MS_NODEV),
        (0x08, libc::MS_NOEXEC),
        (MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
        (MOUNT_ATTR_NOSYMFOLLOW, libc::MS_NOSYMFOLLOW),
    ] {
        if attr & bit != 0 {
            flags |= flag;
        }
    }
    // No access-time flag at all keeps the one in force (mount(2), MS_REMOUNT).
    if clear & 0x70 != 0 {
        flags |= match set & 0x70 {
            0x10 => libc::MS_NOATIME,
            0x20 => libc::MS_STRICTATIME,
            _ => libc::MS_RELATIME,
        };
    }
    proc.mount(None, fd, None, flags, None)?;
    if set & MOUNT_ATTR_NOSYMFOLLOW != 0 { check_nosymfollow(fd) } else { Ok(()) }
}

/// MOUNT_ATTR_* for the MS_* flags of a new mount.
pub fn attr_of_flags(flags: u64) -> u64 {
    let mut attr = 0;
    for (flag, bit) in [
        (libc::MS_RDONLY, 0x01),
        (libc::MS_NOSUID, 0x02),
        (libc::MS_NODEV, 0x04),
        (libc::MS_NOEXEC, 0x08),
        (libc::MS_NODIRATIME, 0x80),
        (libc::MS_NOSYMFOLLOW, 0x0020_0000),
    ] {
        if flags & flag != 0 {
            attr |= bit;
        }
    }
    // One field with three values; relatime, the default, is 0.
    if flags & libc::MS_STRICTATIME != 0 {
        attr | 0x20
    } else if flags & libc::MS_NOATIME != 0 {
        attr | 0x10
    } else {
        attr
    }
}

fn configured(context: OwnedFd, new: &NewFs<'_>) -> Result<OwnedFd> {
    let context = context.as_fd();
    let configure = || -> Result<()> {
        if !new.source.is_empty() {
            mount::fsconfig_string(context, "source", new.source)?;
        }
        for word in new.superblock {
            mount::fsconfig_flag(context, word).doing_with(|| format!("set option {word}"))?;
        }
        for (key, value) in new.options {
            let answer = match value {
                Some(value) => mount::fsconfig_string(context, key, value),
                None => mount::fsconfig_flag(context, key),
            };
            answer.doing_with(|| format!("set option {key}"))?;
        }
        mount::fsconfig_create(context)
    };
    let answer = configure().and_then(|()| mount::fsmount(context, attr_of_flags(new.flags)));
    answer.map_err(|e| match mount::context_messages(context) {
        Some(said) => e.hint(format!("the kernel says: {said}")),
        None => e,
    })
}

fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new("a NUL byte in a path or option"))
}
