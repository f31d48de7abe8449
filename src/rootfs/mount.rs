//! mounts[] below the new root. Runs in init, except for [`change_attributes`], which the runtime calls too.
//!
//! A mount is made, given its flags and only then attached to the descriptor of its mount point; the mount point
//! was looked up in the root once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::plan::rootfs::{BindOp, Fallback, FsOp, MOUNT_ATTR_ATIME_MASK, MountOp, Opener, Target, What};
use crate::rootfs::{Filler, Real, copy_up, devices, masks};
use crate::sys::mount::{self, Attr, is_procfs};
use crate::sys::path::{self, Found, Last, RootFd, kind, kind_words};
use crate::sys::tree::{self, NewFs, Tree};

impl Filler {
    pub(super) fn mount(&mut self, index: usize, op: &MountOp) -> Result<()> {
        let answer = match &op.what {
            What::FileSystem(fs) => self.file_system(op, fs),
            What::Bind(bind) => self.bind(index, op, bind),
            What::Remount { flags, data } => self.remount(op, *flags, data),
            What::RemountBind { set, clear, must_clear } => self.remount_bind(op, *set, *clear, *must_clear),
        };
        answer.at_with(|| op.at.clone()).doing_with(|| phrase(op))
    }

    fn file_system(&mut self, op: &MountOp, fs: &FsOp) -> Result<()> {
        let target = self.mount_point(op, FileType::Directory)?;
        let fd = match self.new_fs(op, fs, &target) {
            Err(e) if matches!(e.errno(), libc::EPERM | libc::EBUSY) => {
                let Some(fallback) = &fs.fallback else { return Err(hinted(e, fs)) };
                let Some(tree) = stand_in(op, fallback)? else { return Ok(()) };
                self.attach(op, tree, target.fd.as_fd())?
            }
            answer => answer.map_err(|e| hinted(e, fs))?,
        };
        self.finish(op, fd)
    }

    fn new_fs(&self, op: &MountOp, fs: &FsOp, target: &Found) -> Result<OwnedFd> {
        let mut options = std::borrow::Cow::Borrowed(&fs.options);
        let mut data = std::borrow::Cow::Borrowed(fs.data.as_str());
        if fs.mode_of_target && !target.made {
            let mode = rustix::fs::fstat(&target.fd).call("fstat")?.st_mode & 0o7777;
            options.to_mut().push(("mode".into(), Some(format!("{mode:o}"))));
            let data = data.to_mut();
            if !data.is_empty() {
                data.push(',');
            }
            data.push_str(&format!("mode={mode:o}"));
        }
        let mut tree = Tree::new_fs(&NewFs {
            fs_type: &fs.fs_type,
            source: &fs.source,
            flags: fs.flags,
            superblock: &fs.superblock,
            options: &options,
            data: &data,
            only_mount: fs.only_mount,
        })?;
        if let Some((set, clear)) = op.recursive {
            tree.set_attr_recursive(set, clear)?;
        }
        let fd = self.attach(op, tree, target.fd.as_fd())?;
        if fs.copy_up {
            // The descriptor of the mount point still shows what is below the new mount.
            copy_up::copy(target.fd.as_fd(), fd.as_fd()).doing("copy what was there")?;
        }
        if let Some(label) = &fs.label {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(&fd, c".", flags, Mode::empty()).call("openat")?;
            let flags = XattrFlags::empty();
            rustix::fs::fsetxattr(dir, c"security.selinux", label.as_bytes(), flags).call("fsetxattr")?;
        }
        Ok(fd)
    }

    fn bind(&mut self, index: usize, op: &MountOp, bind: &BindOp) -> Result<()> {
        let tree = match self.open_source(index, op, bind) {
            Err(e) if bind.optional && e.errno() == libc::ENOENT => return Ok(()),
            answer => answer?,
        };
        let source = tree.fd().ok_or_else(|| Error::new("the source has no descriptor"))?;
        if op.only_procfs && !is_procfs(source)? {
            return Err(Error::new("only a procfs can be mounted on /proc"));
        }
        let target = self.mount_point(op, kind(source)?)?;
        let fd = self.attach(op, tree, target.fd.as_fd())?;
        self.finish(op, fd)
    }

    fn open_source(&mut self, index: usize, op: &MountOp, bind: &BindOp) -> Result<Tree> {
        let opened = self.trees.iter().position(|(of, _)| *of == index);
        let opened = opened.map(|at| self.trees.swap_remove(at).1);
        let wants = |e: Error| {
            e.doing(format!("open the source {}", bind.source.display())).hint(
                "the source must exist and be reachable for the container's root user \
                 (or the kernel have open_tree and mount_setattr, Linux 5.12)",
            )
        };
        if bind.opener == Opener::Runtime {
            let missing = || Error::new("the runtime did not open the source");
            return opened.map(Tree::detached).ok_or_else(missing);
        }
        match Tree::of_path(&bind.source, bind.recursive) {
            Ok(mut tree) => {
                change_attributes(&mut tree, op, bind, Changer::Init)?;
                Ok(tree)
            }
            Err(e) if e.errno() == libc::EACCES => opened.map(Tree::detached).ok_or_else(|| wants(e)),
            Err(e) if e.errno() == libc::EINVAL && !bind.recursive => Err(e.hint(
                "a source with mounts below it that the kernel has locked can only be bound with rbind",
            )),
            Err(e) => Err(wants(e)),
        }
    }

    fn remount(&mut self, op: &MountOp, flags: u64, data: &str) -> Result<()> {
        let target = self.root.find(&op.destination, Last::Follow)?;
        let data = std::ffi::CString::new(data).map_err(|_| Error::new("a NUL in an option"))?;
        let data = (!data.is_empty()).then_some(data.as_c_str());
        self.proc.get()?.mount(None, target.as_fd(), None, flags, data)?;
        self.remounted(op, target)
    }

    /// Never mount(2)'s MS_REMOUNT alone: that would change the file system, which may be the host's.
    fn remount_bind(&mut self, op: &MountOp, set: u64, clear: u64, must_clear: u64) -> Result<()> {
        let target = self.root.find(&op.destination, Last::Follow)?;
        let change = |clear| tree::set_attr(target.as_fd(), set, clear, &self.proc);
        match change(clear) {
            Err(e) if e.errno() == libc::EPERM => keep_locked(target.as_fd(), clear, must_clear, e, change)?,
            Err(e) if e.errno() == libc::EINVAL => return Err(e.hint("is anything mounted there?")),
            answer => answer?,
        }
        self.remounted(op, target)
    }

    fn remounted(&mut self, op: &MountOp, target: OwnedFd) -> Result<()> {
        if let Some((set, clear)) = op.recursive {
            mount::mount_setattr(target.as_fd(), true, Attr { set, clear, ..Attr::default() })?;
        }
        self.finish(op, target)
    }

    /// The mount point, created when missing, of the type that fits a source of type `source`.
    fn mount_point(&self, op: &MountOp, source: FileType) -> Result<Found> {
        let destination = op.destination.as_path();
        let found = match op.target {
            Target::RealDirectory => Found { fd: devices::real_dir(&self.root, destination)?, made: false },
            Target::Directory => self.root.make_dir_all(destination)?,
            Target::LikeSource if source == FileType::Directory => self.root.make_dir_all(destination)?,
            Target::LikeSource => self.root.make_file(destination)?,
        };
        let there = kind(found.fd.as_fd())?;
        if (there == FileType::Directory) != (source == FileType::Directory) {
            return Err(Error::sys("mount", libc::ENOTDIR).hint(format!(
                "the mount point is {}, what is mounted is {}",
                kind_words(there),
                kind_words(source)
            )));
        }
        if !op.over_proc && is_procfs(found.fd.as_fd())? {
            return Err(Error::new("the mount point lies in a procfs, which nothing may cover"));
        }
        Ok(found)
    }

    fn attach(&self, op: &MountOp, tree: Tree, target: BorrowedFd<'_>) -> Result<OwnedFd> {
        tree.attach(target, &self.proc, || self.root.find(&op.destination, Last::Follow))
    }

    fn finish(&mut self, op: &MountOp, fd: OwnedFd) -> Result<()> {
        self.real.retain(|real| real.path != op.destination);
        if op.target == Target::RealDirectory {
            // Renamed away between lookup and mount, by a container that shares the tree, the mount would lie
            // where no masked path covers it.
            let there = self.root.find(&op.destination, Last::Stay)?;
            let identity = path::identity(fd.as_fd())?;
            if path::identity(there.as_fd())? != identity {
                return Err(Error::new("the mount point was exchanged while it was mounted on"));
            }
            let root = RootFd::new(fd.try_clone().call("fcntl")?);
            self.real.push(Real { path: op.destination.clone(), identity, root });
        }
        for flags in &op.propagation {
            tree::set_propagation(fd.as_fd(), *flags, &self.proc).doing("set the propagation")?;
        }
        if op.late_readonly {
            self.late_readonly(op, fd);
        }
        Ok(())
    }
}

/// What is mounted where the file system itself is refused; None when that may be absent and is.
fn stand_in(op: &MountOp, fallback: &Fallback) -> Result<Option<Tree>> {
    let bound = |bind: &BindOp| -> Result<Tree> {
        let mut tree = Tree::of_path(&bind.source, bind.recursive)?;
        change_attributes(&mut tree, op, bind, Changer::Init)?;
        if bind.recursive {
            // It stands for one mount: its flags are those of all that comes with it.
            tree.set_attr_recursive(bind.set, 0)?;
        }
        Ok(tree)
    };
    match fallback {
        Fallback::Empty(label) => masks::empty(label.as_ref()).map(Some),
        Fallback::Bind(bind) => match bound(bind) {
            Err(e) if bind.optional && e.errno() == libc::ENOENT => Ok(None),
            answer => answer.map(Some),
        },
        Fallback::BindElseEmpty(bind, label) => match bound(bind) {
            Err(e) if e.errno() == libc::ENOENT => masks::empty(label.as_ref()).map(Some),
            answer => answer.map(Some),
        },
    }
}

/// Who changes attributes, and with it whether the kernel itself keeps locked flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changer {
    Init,
    /// Outside the user namespace nothing is locked: what the kernel would keep for init is kept by us.
    RuntimeForUserns,
}

/// Gives a bound tree the attributes of its options before anybody sees it.
pub(super) fn change_attributes(tree: &mut Tree, op: &MountOp, bind: &BindOp, who: Changer) -> Result<()> {
    if bind.set | bind.clear != 0 {
        let answer = match who {
            Changer::Init => tree.set_attr(bind.set, bind.clear),
            Changer::RuntimeForUserns => Err(Error::sys("mount_setattr", libc::EPERM)),
        };
        match answer {
            Err(e) if e.errno() == libc::EPERM => {
                let Some(fd) = tree.fd().map(|fd| fd.try_clone_to_owned()) else { return Err(e) };
                let fd = fd.call("fcntl")?;
                keep_locked(fd.as_fd(), bind.clear, bind.must_clear, e, |clear| {
                    tree.set_attr(bind.set, clear)
                })?;
            }
            answer => answer?,
        }
        tree.may_stay(bind.clear & !bind.must_clear);
    }
    match op.recursive {
        Some((set, clear)) => tree.set_attr_recursive(set, clear),
        None => Ok(()),
    }
}

/// Flags of a mount that came from a more privileged mount namespace are locked: they stay, unless the
/// configuration insists.
fn keep_locked(
    mount: BorrowedFd<'_>,
    clear: u64,
    must_clear: u64,
    refused: Error,
    change: impl FnOnce(u64) -> Result<()>,
) -> Result<()> {
    let locked = tree::lockable_attr(mount)? & clear;
    if locked & must_clear != 0 {
        return Err(refused.hint(format!(
            "the source is mounted {}, which a user namespace cannot undo",
            attr_words(locked & must_clear)
        )));
    }
    change(clear & !locked).map_err(|e| match clear & MOUNT_ATTR_ATIME_MASK {
        0 => e,
        _ => e.hint("a user namespace cannot change the access-time flags of the source"),
    })
}

/// The four attributes that statfs(2) shows, in option words.
fn attr_words(attr: u64) -> String {
    let words = [(0x01, "ro"), (0x02, "nosuid"), (0x04, "nodev"), (0x08, "noexec")];
    let words = words.iter().filter(|(bit, _)| attr & bit != 0).map(|(_, word)| *word);
    words.collect::<Vec<_>>().join(",")
}

fn phrase(op: &MountOp) -> String {
    let on = op.destination.display();
    match &op.what {
        What::FileSystem(fs) => format!("mount {} on {on}", fs.fs_type),
        What::Bind(bind) => format!("mount {} on {on}", bind.source.display()),
        What::Remount { .. } | What::RemountBind { .. } => format!("remount {on}"),
    }
}

/// Where errno alone misleads.
fn hinted(e: Error, fs: &FsOp) -> Error {
    let is = |word: &str| fs.options.iter().any(|(key, _)| key == word);
    match (e.errno(), fs.fs_type.as_str()) {
        (libc::EPERM, "proc") => e.hint(
            "a user namespace can mount proc only with a pid namespace of its own and an unmasked /proc",
        ),
        (libc::EPERM, "sysfs") => e.hint(
            "a user namespace can mount sysfs only with a network namespace of its own and an unmasked /sys",
        ),
        (libc::EPERM, "mqueue") => {
            e.hint("a user namespace can mount mqueue only with an ipc namespace of its own")
        }
        (libc::EPERM, _) => e.hint(format!("this user namespace may not mount {}", fs.fs_type)),
        (libc::EINVAL, "devpts") if is("gid") => e.hint("is the group of gid= mapped in the user namespace?"),
        (libc::EINVAL, _) if fs.data.len() > 4095 => e.hint("mount(2) takes at most 4095 bytes of options"),
        _ => e,
    }
}
