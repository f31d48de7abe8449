//! What happens to the container's file system, in order, as one plain value.
//!
//! PURE: [`plan`] turns the configuration and what is known of the namespaces into a [`RootfsPlan`];
//! `crate::rootfs` carries it out and decides nothing but what a system call answered. What cannot be known
//! here is typed: [`Target::LikeSource`] (file or directory), [`Opener::InitElseRuntime`] (whether the mapped
//! root reaches a source), masked paths that turn out to be files, directories or absent.

mod attributes;
pub mod cgroups;
pub mod devices;
pub mod label;
pub mod masks;
pub mod mounts;
pub mod notify;
pub mod userns;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::plan::cgroup::{Hierarchy, Layout};
use crate::spec::Bundle;

pub use crate::spec::mount_options::{MOUNT_ATTR_ATIME_MASK, MOUNT_ATTR_RDONLY};
pub use devices::{DeviceKind, DeviceOp, How, LinkOp};
pub use label::MountLabel;
pub use mounts::{BindOp, Fallback, FsOp, IdmapOp, MountOp, Opener, Target, What};

/// Where the mounts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountNs {
    /// The runtime's own: then nothing is mounted at all.
    None,
    New,
    Joined,
}

/// What the rest of the plan knows and this part needs.
#[derive(Debug, Clone)]
pub struct View<'a> {
    pub mount_ns: MountNs,
    /// The container's user namespace is created with it.
    pub new_userns: bool,
    /// The container is in a user namespace other than the runtime's, created or joined.
    pub userns: bool,
    /// The runtime itself is in a user namespace other than the host's.
    pub in_user_namespace: bool,
    /// A pid namespace other than the runtime's, created or joined; the same holds for the next two.
    pub own_pid_ns: bool,
    pub own_net_ns: bool,
    pub own_ipc_ns: bool,
    /// The container has a cgroup namespace of its own.
    pub cgroupns: bool,
    pub rootless: bool,
    /// The runtime's uid is 0, of the host or of a user namespace.
    pub root: bool,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// linux.mountLabel; that SELinux is off is found out when it is used.
    pub mount_label: Option<MountLabel>,
    /// The container's cgroups.
    pub cgroups: &'a [Hierarchy],
    pub layout: Layout,
    /// The host directory of the notification socket, to be mounted on /run/notify.
    pub notify: Option<PathBuf>,
}

/// How init enters its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    Pivot,
    /// `--no-pivot`: for a root on an initramfs, which cannot be pivoted away from.
    MoveRoot,
    /// Without a mount namespace.
    Chroot,
}

/// One step below the new root, before init enters it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // almost all are mounts
pub enum Op {
    Mount(MountOp),
    Device(DeviceOp),
    Link(LinkOp),
}

/// See the module text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RootfsPlan {
    /// root.path, absolute, on the host.
    pub path: PathBuf,
    pub mount_ns: MountNs,
    pub userns: bool,
    /// Propagation of the whole old tree before anything is mounted: MS_SLAVE|MS_REC unless the container asks
    /// to share, so that no mount of ours is ever seen outside.
    pub old_propagation: Option<u64>,
    /// The mount that holds the root must be made private, because the old tree stays shared.
    pub private_parent: bool,
    /// In the order of the configuration; the index is that of [`RootfsPlan::opened_by_runtime`].
    pub ops: Vec<Op>,
    /// process.cwd, created (0755) when it is missing.
    pub cwd: Option<PathBuf>,
    pub switch: Switch,
    pub masked_paths: Vec<PathBuf>,
    /// SELinux label of what covers masked directories.
    pub mask_label: Option<MountLabel>,
    pub readonly_paths: Vec<PathBuf>,
    /// root.readonly.
    pub readonly: bool,
    /// linux.rootfsPropagation, applied to the new root at the very end: MS_* with MS_REC for the r-forms.
    pub propagation: Option<u64>,
    /// /dev is ours: default devices and links are made, and stdio that is the host's /dev/null is exchanged.
    /// False when the configuration binds a /dev of the host's.
    pub own_dev: bool,
}

/// Whether the container's /dev is its own ([`RootfsPlan::own_dev`]).
pub fn has_own_dev(bundle: &Bundle) -> bool {
    !mounts::binds_dev(bundle)
}

impl RootfsPlan {
    /// Indices into `ops` and the sources that may be links to be copied.
    pub fn copied_links(&self) -> impl Iterator<Item = (usize, &MountOp, &BindOp)> {
        self.binds().filter(|(_, _, bind)| bind.copy_link)
    }

    /// Indices into `ops` and the binds whose sources the runtime opens before the clone.
    pub fn opened_by_runtime(&self) -> impl Iterator<Item = (usize, &MountOp, &BindOp)> {
        self.binds().filter(|(_, _, bind)| bind.opener != Opener::Init)
    }

    fn binds(&self) -> impl Iterator<Item = (usize, &MountOp, &BindOp)> {
        self.ops.iter().enumerate().filter_map(|(index, op)| match op {
            Op::Mount(mount) => match &mount.what {
                What::Bind(bind) => Some((index, mount, bind)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Something of the image is copied into memory.
    pub fn copies_up(&self) -> bool {
        let copies =
            |op: &Op| matches!(op, Op::Mount(MountOp { what: What::FileSystem(fs), .. }) if fs.copy_up);
        self.ops.iter().any(copies)
    }

    /// Some of them are mapped as the container's own user namespace says.
    pub fn idmaps_by_container(&self) -> bool {
        let own = |bind: &BindOp| bind.idmap.as_ref().is_some_and(|idmap| idmap.maps.is_none());
        self.opened_by_runtime().any(|(_, _, bind)| own(bind))
    }
}

/// The plan. `warnings` receives what is done but will not work as written, one line each.
pub fn plan(bundle: &Bundle, view: &View<'_>, warnings: &mut Vec<String>) -> Result<RootfsPlan> {
    let spec = &bundle.spec;
    let Some(root) = spec.root().as_ref() else {
        return Err(Error::field("root", "is missing"));
    };
    if root.path().as_os_str().is_empty() {
        return Err(Error::field("root.path", "is empty"));
    }
    let linux = spec.linux().as_ref();
    let wanted = linux.and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default();
    let propagation = root_propagation(wanted)?;
    if view.no_pivot && propagation.is_some_and(|flags| flags & libc::MS_PRIVATE != 0) {
        return Err(Error::field("linux.rootfsPropagation", "private cannot be had with --no-pivot"));
    }
    if view.mount_ns == MountNs::None {
        nothing_to_mount(bundle)?;
    }
    let own_dev = has_own_dev(bundle);
    let mut ops = mounts::ops(bundle, view, warnings)?;
    if own_dev {
        ops.extend(devices::ops(bundle, view)?);
    }
    let shared = propagation.is_some_and(|flags| flags & libc::MS_SHARED != 0);
    Ok(RootfsPlan {
        path: bundle.dir.join(root.path()),
        mount_ns: view.mount_ns,
        userns: view.userns,
        old_propagation: (view.mount_ns != MountNs::None).then(|| old_propagation(propagation)),
        private_parent: shared && view.mount_ns != MountNs::None,
        ops,
        cwd: spec.process().as_ref().map(|process| process.cwd().clone()),
        switch: match view.mount_ns {
            MountNs::None => Switch::Chroot,
            _ if view.no_pivot => Switch::MoveRoot,
            _ => Switch::Pivot,
        },
        masked_paths: masks::paths(linux.and_then(|linux| linux.masked_paths().as_deref())),
        mask_label: view.mount_label.clone(),
        readonly_paths: masks::paths(linux.and_then(|linux| linux.readonly_paths().as_deref())),
        readonly: root.readonly().unwrap_or(false),
        propagation,
        own_dev,
    })
}

/// A lexically cleaned absolute path: what names inside the container are compared by. Links are not looked
/// at, `..` cannot climb above `/`, a relative path begins at `/` (spec: deprecated).
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// The words of linux.rootfsPropagation; runc takes the r-forms too.
fn root_propagation(word: &str) -> Result<Option<u64>> {
    let (word, recursive) = match word.strip_prefix('r') {
        Some(rest) => (rest, libc::MS_REC),
        None => (word, 0),
    };
    let flag = match word {
        "" if recursive == 0 => return Ok(None),
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => {
            return Err(Error::field(
                "linux.rootfsPropagation",
                "is none of shared, slave, private, unbindable and their r-forms",
            ));
        }
    };
    Ok(Some(flag | recursive))
}

/// Before the mounts. Unbindable would forbid the binds that are still to come: private hides as much.
fn old_propagation(root: Option<u64>) -> u64 {
    match root {
        Some(flags) if flags & libc::MS_SHARED != 0 => flags,
        Some(flags) if flags & (libc::MS_PRIVATE | libc::MS_UNBINDABLE) != 0 => {
            libc::MS_PRIVATE | libc::MS_REC
        }
        _ => libc::MS_SLAVE | libc::MS_REC,
    }
}

/// Without a mount namespace every mount would be the host's: what needs one cannot be honoured.
fn nothing_to_mount(bundle: &Bundle) -> Result<()> {
    let spec = &bundle.spec;
    let linux = spec.linux().as_ref();
    let some = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let wishes = [
        ("mounts", spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty())),
        ("root.readonly", spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)),
        ("linux.maskedPaths", some(linux.and_then(|linux| linux.masked_paths().as_ref()))),
        ("linux.readonlyPaths", some(linux.and_then(|linux| linux.readonly_paths().as_ref()))),
        (
            "linux.rootfsPropagation",
            linux
                .and_then(|linux| linux.rootfs_propagation().as_deref())
                .is_some_and(|word| !word.is_empty()),
        ),
    ];
    let problems = wishes.iter().filter(|(_, wished)| *wished);
    let problems = problems.map(|(field, _)| Error::field(field, "needs a mount namespace")).collect();
    match Error::joined(problems) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
