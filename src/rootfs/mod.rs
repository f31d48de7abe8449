//! Carries out a [`RootfsPlan`]: from a fresh mount namespace to a container that sees nothing but its own root.
//!
//! Four calls, each in its place of the process tree: [`open_host`] in the runtime before the clone,
//! [`idmap`] in the runtime once the id maps are written, [`populate`] in init (N3), then [`Jail::switch`] and
//! [`Jail::seal`] in init (N5), with the console, the sysctls and the host name between those two. Everything
//! below the root is reached through one [`RootFd`] and mounted by descriptor; no path inside the container is
//! ever given to the kernel twice.

mod copy_up;
mod devices;
mod idmap;
mod masks;
mod mount;
pub mod null;
mod switch;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Doing, Error, Result};
use crate::plan::rootfs::{MOUNT_ATTR_RDONLY, MountNs, MountOp, Op, Opener, RootfsPlan};
use crate::sys::mount::Attr;
use crate::sys::path::{Last, RootFd, is_char_device};
use crate::sys::procfs::Proc;
use crate::sys::tree::{self, LazyProc, Tree};
use crate::sys::{mount as sys_mount, path};

pub use idmap::idmap;

/// What the runtime opens on the host before the clone; init inherits it. All close-on-exec.
#[derive(Debug)]
pub struct HostFds {
    /// root.path, O_PATH: init compares what it finds there with it.
    pub rootfs: OwnedFd,
    /// A clone of it, for a mapped root that may not walk to the path.
    pub rootfs_tree: Option<OwnedFd>,
    /// A clone of the host's verified /dev/null, for masked files.
    pub null: Option<OwnedFd>,
    /// Clones of bind sources by index into the plan's operations.
    pub trees: Vec<(usize, OwnedFd)>,
    /// What links say that are copied instead of mounted, in the same way: a mapped root may not be able to read them.
    pub links: Vec<(usize, CString)>,
}

/// A container's root on its way: after [`populate`] complete but not entered, after [`Jail::switch`] entered,
/// after [`Jail::seal`] final.
#[derive(Debug)]
pub struct Jail {
    root: RootFd,
    proc: LazyProc,
    null: Option<OwnedFd>,
    /// Mounts that become read-only at the end.
    late_readonly: Vec<LateReadonly>,
    /// What lies at /proc and /sys.
    real: Vec<Real>,
    mount_ns: MountNs,
    own_dev: bool,
}

/// A mounted procfs or sysfs.
#[derive(Debug)]
struct Real {
    path: PathBuf,
    /// Device and inode number.
    identity: (u64, u64),
    root: RootFd,
}

#[derive(Debug)]
struct LateReadonly {
    at: String,
    destination: PathBuf,
    fd: OwnedFd,
}

/// Opens what only the runtime can open. Runs in the runtime before the clone; touches no mount.
pub fn open_host(plan: &RootfsPlan) -> Result<HostFds> {
    let phrase = || format!("open the root {}", plan.path.display());
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let rootfs = rustix::fs::openat(CWD, &plan.path, flags, Mode::empty()).call("openat");
    let rootfs = rootfs.at("root.path").doing_with(phrase)?;
    let kind = path::kind(rootfs.as_fd()).doing_with(phrase)?;
    if kind != FileType::Directory {
        let is = path::kind_words(kind);
        return Err(Error::new(format!("is {is}, not a directory")).at("root.path").doing(phrase()));
    }
    let mut host = HostFds { rootfs, rootfs_tree: None, null: None, trees: Vec::new(), links: Vec::new() };
    if plan.mount_ns == MountNs::None {
        return Ok(host);
    }
    host.null = if plan.masked_paths.is_empty() { None } else { host_null()? };
    if plan.userns {
        // Init tries by itself first; a failure here is then reported from there.
        let tree = sys_mount::open_tree_clone(host.rootfs.as_fd(), c"", true);
        host.rootfs_tree = tree.and_then(|tree| as_old_root(plan, tree)).ok();
    }
    for (index, op, bind) in plan.copied_links() {
        match rustix::fs::readlinkat(CWD, &bind.source, Vec::new()) {
            Ok(target) => host.links.push((index, target)),
            // No link: it is mounted. Nothing at all: whoever mounts it says so.
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(Error::sys("readlinkat", e.raw_os_error()).at(op.at.clone())),
        }
    }
    for (index, op, bind) in plan.opened_by_runtime() {
        if host.links.iter().any(|(of, _)| *of == index) {
            continue;
        }
        let tree = Tree::of_path(&bind.source, bind.recursive).and_then(|mut tree| {
            mount::change_attributes(&mut tree, op, bind, mount::Changer::RuntimeForUserns)?;
            as_old_root(plan, tree.into_detached()?)
        });
        match tree {
            Ok(fd) => host.trees.push((index, fd)),
            Err(_) if bind.opener == Opener::InitElseRuntime => {}
            Err(e) => {
                return Err(e.at(op.at.clone()).doing(format!("open {}", bind.source.display())));
            }
        }
    }
    Ok(host)
}

/// What init opens by itself gets the propagation of the old root (slave, unless the configuration shares the root); what
/// is opened here must have it, too, or mounts of the container would show up on the host.
fn as_old_root(plan: &RootfsPlan, tree: OwnedFd) -> Result<OwnedFd> {
    if let Some(flags) = plan.old_propagation {
        let attr = Attr { propagation: flags & !libc::MS_REC, ..Attr::default() };
        sys_mount::mount_setattr(tree.as_fd(), flags & libc::MS_REC != 0, attr)?;
    }
    Ok(tree)
}

/// A clone of a host's mount is its peer: what somebody mounted on a masked file would lie on the host's /dev/null, too.
/// So it is private, and read-only, for through a writable mount container root could change mode and owner of the
/// node. None on kernels that cannot make it so at once (before 5.12), and where we may not mount on the host (rootless):
/// then masked files get the container's, verified.
fn host_null() -> Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty()).call("openat").at("/dev/null")?;
    if !is_char_device(null.as_fd(), 1, 3)? {
        return Err(Error::new("the host's /dev/null is not the character device 1:3"));
    }
    let alone = Attr { set: MOUNT_ATTR_RDONLY, propagation: libc::MS_PRIVATE, ..Attr::default() };
    let made = sys_mount::open_tree_clone(null.as_fd(), c"", false)
        .and_then(|fd| sys_mount::mount_setattr(fd.as_fd(), false, alone).map(|()| fd));
    match made {
        Err(e) if sys_mount::is_missing(&e) || e.errno() == libc::EPERM => Ok(None),
        answer => answer.map(Some).at("/dev/null"),
    }
}

/// Fills the root: propagation, mounts, devices, links, working directory. Runs in init, inside its namespaces
/// and, with a user namespace, with its mapped ids, before it enters the root (N3).
pub fn populate(plan: &RootfsPlan, host: HostFds) -> Result<Jail> {
    // Modes of nodes and directories are meant as they are written.
    let umask = rustix::process::umask(Mode::empty());
    let answer = fill(plan, host);
    rustix::process::umask(umask);
    answer
}

fn fill(plan: &RootfsPlan, host: HostFds) -> Result<Jail> {
    let proc = LazyProc::new();
    let HostFds { rootfs, rootfs_tree, null, trees, links } = host;
    if let Some(flags) = plan.old_propagation {
        sys_mount::mount(None, c"/", None, flags, None).doing("set the propagation of the old root")?;
    }
    let root = match plan.mount_ns {
        MountNs::None => RootFd::new(rootfs),
        _ => {
            let phrase = || format!("bind the root {} on itself", plan.path.display());
            switch::attach_root(plan, rootfs, rootfs_tree, &proc).at("root.path").doing_with(phrase)?
        }
    };
    let mut filler = Filler { root, proc, trees, late_readonly: Vec::new(), real: Vec::new(), parent: None };
    for (index, op) in plan.ops.iter().enumerate() {
        match op {
            Op::Mount(op) => {
                filler.parent = None;
                match links.iter().find(|(of, _)| *of == index) {
                    Some((_, target)) => filler.copied_link(op, target)?,
                    None => filler.mount(index, op)?,
                }
            }
            Op::Device(op) => filler.device(op)?,
            Op::Link(op) => filler.link(op)?,
        }
    }
    if let Some(cwd) = &plan.cwd {
        filler.working_directory(cwd)?;
    }
    let Filler { root, proc, late_readonly, real, .. } = filler;
    Ok(Jail { root, proc, null, late_readonly, real, mount_ns: plan.mount_ns, own_dev: plan.own_dev })
}

/// The state of [`populate`].
struct Filler {
    root: RootFd,
    proc: LazyProc,
    trees: Vec<(usize, OwnedFd)>,
    late_readonly: Vec<LateReadonly>,
    real: Vec<Real>,
    /// The directory of the last node or link: they come in a row.
    parent: Option<(PathBuf, OwnedFd)>,
}

impl Filler {
    fn late_readonly(&mut self, op: &MountOp, fd: OwnedFd) {
        let (at, destination) = (op.at.clone(), op.destination.clone());
        self.late_readonly.push(LateReadonly { at, destination, fd });
    }

    /// process.cwd, made now because the root may become read-only. What cannot be reached or made is left to
    /// chdir(2), which has the final ids and says so.
    fn working_directory(&self, cwd: &Path) -> Result<()> {
        match self.root.make_dir_all(cwd) {
            Err(e) if !matches!(e.errno(), libc::EACCES | libc::ENOTDIR | libc::EROFS) => {
                Err(e.at("process.cwd").doing(format!("create the working directory {}", cwd.display())))
            }
            _ => Ok(()),
        }
    }
}

impl Jail {
    /// The container's root, before and after it is entered.
    pub fn root(&self) -> &RootFd {
        &self.root
    }

    /// A container that shares the root directory can rename /proc away while hooks run: its masks would be passed over,
    /// and all of it be there under another name.
    fn check_real(&self, plan: &RootfsPlan) -> Result<()> {
        for real in self.real.iter().filter(|real| !plan.masked_paths.contains(&real.path)) {
            let there = self.root.find(&real.path, Last::Stay)?;
            if path::identity(there.as_fd())? != real.identity {
                let problem = Error::new("was exchanged while the container was made");
                return Err(problem.at(real.path.display().to_string()));
            }
        }
        Ok(())
    }

    /// From where `path` is looked up. What is in a procfs or sysfs is found below its mount: that may be elsewhere for a
    /// moment, renamed away and back between two looks, while its masks go to what took its place.
    fn place<'a>(&'a self, path: &'a Path) -> (&'a RootFd, &'a Path) {
        let plain = |rest: &Path| rest.components().all(|part| matches!(part, Component::Normal(_)));
        let below =
            self.real.iter().filter_map(|real| Some((&real.root, path.strip_prefix(&real.path).ok()?)));
        // `..` could lead out of it.
        let below = below.filter(|(_, rest)| !rest.as_os_str().is_empty() && plain(rest));
        below.min_by_key(|(_, rest)| rest.components().count()).unwrap_or((&self.root, path))
    }

    /// A procfs that the container cannot touch, for labels and the like.
    pub fn proc(&self) -> Result<&Proc> {
        self.proc.get()
    }

    /// Writes the sysctl at `path` below /proc/sys (`net/ipv4/ip_forward`), in the caller's namespaces; before
    /// [`Jail::seal`].
    pub fn write_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.proc.with_sysctls(|proc| proc.write_sysctl(path, value))
    }

    /// Binds the terminal on /dev/console, as the specification wants for `terminal`. After [`Jail::switch`],
    /// before [`Jail::seal`]. Nothing happens without a mount namespace.
    pub fn bind_console(&self, terminal: BorrowedFd<'_>) -> Result<()> {
        if self.mount_ns == MountNs::None {
            return Ok(());
        }
        let bind = || {
            if path::kind(terminal)? != FileType::CharacterDevice {
                return Err(Error::new("the terminal is not a character device"));
            }
            let dev = devices::real_dir(&self.root, Path::new("/dev"))?;
            let target = devices::mount_point(dev.as_fd(), "console".as_ref())?;
            let again = || devices::open_at(dev.as_fd(), "console".as_ref());
            Tree::of_fd(terminal, false)?.attach(target.as_fd(), &self.proc, again).map(drop)
        };
        bind().doing("bind the terminal on /dev/console")
    }

    /// The end: masked and read-only paths, what had to stay writable until now, the root itself, its
    /// propagation, and stdio that is still the host's /dev/null. Runs in init after [`Jail::switch`] and after
    /// all that needs a writable /proc/sys or /dev.
    pub fn seal(&self, plan: &RootfsPlan) -> Result<()> {
        if self.mount_ns != MountNs::None {
            self.check_real(plan)?;
            masks::mask(self, plan)?;
            masks::readonly(self, plan)?;
            self.check_real(plan)?;
            for late in &self.late_readonly {
                let phrase = || format!("make {} read-only", late.destination.display());
                masks::set_readonly(late.fd.as_fd(), &self.proc)
                    .at_with(|| late.at.clone())
                    .doing_with(phrase)?;
            }
            if plan.readonly {
                let answer = masks::set_readonly(self.root.as_fd(), &self.proc);
                answer.at("root.readonly").doing("make the root read-only")?;
            }
            if let Some(flags) = plan.propagation {
                let answer = tree::set_propagation(self.root.as_fd(), flags, &self.proc);
                answer.at("linux.rootfsPropagation").doing("set the propagation of the root")?;
            }
        }
        if self.own_dev { null::own(&self.root) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something else lies at /proc by now; what is masked is the procfs all the same.
    #[test]
    fn what_is_below_a_mounted_procfs_is_found_there_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("keys"), "").unwrap();
            std::fs::File::open(dir.path().join(name)).unwrap()
        };
        let (fake, moved) = (open("proc"), open("moved"));
        let root = RootFd::new(std::fs::File::open(dir.path()).unwrap().into());
        let real = Real {
            path: "/proc".into(),
            identity: path::identity(moved.as_fd()).unwrap(),
            root: RootFd::new(moved.try_clone().unwrap().into()),
        };
        let jail = Jail {
            root,
            proc: LazyProc::new(),
            null: None,
            late_readonly: Vec::new(),
            real: vec![real],
            mount_ns: MountNs::New,
            own_dev: true,
        };
        let found = |path: &str| {
            let (root, path) = jail.place(Path::new(path));
            path::identity(root.find(path, Last::Follow).unwrap().as_fd()).unwrap()
        };
        let of = |dir: &std::fs::File, name: &str| {
            let file = rustix::fs::openat(dir, name, OFlags::PATH, Mode::empty()).unwrap();
            path::identity(file.as_fd()).unwrap()
        };
        assert_eq!(found("/proc//keys"), of(&moved, "keys"));
        assert_eq!(found("/proc"), of(&fake, "."));
        assert_eq!(found("/proc/../moved/keys"), of(&moved, "keys"), "not below it");
        assert_eq!(found("/moved"), of(&moved, "."));
    }
}
