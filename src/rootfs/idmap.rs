//! Idmapped bind mounts. Runs in the runtime, after the container's id maps are written: only a process
//! privileged over the file system may translate its ids, and init no longer is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Error, Result};
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs::HostFds;
use crate::sys::mount::{Attr, mount_setattr};
use crate::sys::userns;

/// Puts the id translation on the trees that init inherited: its descriptors refer to the same mounts as ours.
/// `userns` is the container's user namespace.
pub fn idmap(plan: &RootfsPlan, host: &HostFds, userns: BorrowedFd<'_>) -> Result<()> {
    let mut foreign: Vec<(&(String, String), OwnedFd)> = Vec::new();
    for (index, op, bind) in plan.opened_by_runtime() {
        let Some(idmap) = &bind.idmap else { continue };
        let phrase = || format!("map the ids of {}", bind.source.display());
        let tree = host.trees.iter().find(|(of, _)| *of == index).map(|(_, tree)| tree.as_fd());
        let tree =
            tree.ok_or_else(|| Error::new("the source is not open").at(op.at.clone()).doing(phrase()))?;
        let known = idmap.maps.as_ref().and_then(|maps| foreign.iter().position(|(of, _)| *of == maps));
        let namespace = match (&idmap.maps, known) {
            (None, _) => userns,
            (Some(maps), None) => {
                let made = userns::with_maps(&maps.0, &maps.1);
                foreign.push((maps, made.map_err(|e| e.at(op.at.clone()).doing(phrase()))?));
                foreign.last().map_or(userns, |(_, fd)| fd.as_fd())
            }
            (Some(_), Some(at)) => foreign.get(at).map_or(userns, |(_, fd)| fd.as_fd()),
        };
        let attr = Attr { userns: Some(namespace), ..Attr::default() };
        mount_setattr(tree, idmap.recursive, attr).map_err(|e| {
            let e = match e.errno() {
                // The only word the kernel has for it.
                libc::EINVAL => e.hint(format!("{} cannot be idmapped by this kernel", fs_name(tree))),
                _ => e,
            };
            e.at(op.at.clone()).doing(phrase())
        })?;
    }
    Ok(())
}

/// The file system type of a tree by its magic number (statfs(2)): those that users try.
fn fs_name(tree: BorrowedFd<'_>) -> String {
    let magic = crate::sys::mount::fstatfs(tree).map(|(magic, _)| magic).unwrap_or(0);
    match magic {
        0xef53 => "ext4".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlay".into(),
        0x6969 => "nfs".into(),
        0x6573_5546 => "fuse".into(),
        0x0102_1997 => "9p".into(),
        0x9fa0 => "proc".into(),
        0x6265_6572 => "sysfs".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        0xff53_4d42 => "cifs".into(),
        other => format!("the file system with magic number {other:#x}"),
    }
}
