//! Idmapped bind mounts. Runs in the runtime, after the container's id maps are written: only a process
//! privileged over the file system may translate its ids, and init no longer is.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs::HostFds;
use crate::rootfs::switch::unescaped;
use crate::sys::mount::{Attr, mount_setattr, open_tree_of_path};
use crate::sys::procfs::Proc;
use crate::sys::userns;

/// Puts the id translation on the trees that init inherited: its descriptors refer to the same mounts as ours.
/// `userns` is the container's user namespace, if it has one.
pub fn idmap(plan: &RootfsPlan, host: &HostFds, userns: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut foreign: Vec<(&(String, String), OwnedFd)> = Vec::new();
    let none = || Error::new("no user namespace to take the ids from");
    for (index, op, bind) in plan.opened_by_runtime() {
        let Some(idmap) = &bind.idmap else { continue };
        let phrase = || format!("map the ids of {}", bind.source.display());
        let tree = host.trees.iter().find(|(of, _)| *of == index).map(|(_, tree)| tree.as_fd());
        let tree =
            tree.ok_or_else(|| Error::new("the source is not open").at(op.at.clone()).doing(phrase()))?;
        let known = idmap.maps.as_ref().and_then(|maps| foreign.iter().position(|(of, _)| *of == maps));
        let namespace = match (&idmap.maps, known) {
            (None, _) => userns.ok_or_else(none)?,
            (Some(maps), None) => {
                let made = userns::with_maps(&maps.0, &maps.1);
                foreign.push((maps, made.map_err(|e| e.at(op.at.clone()).doing(phrase()))?));
                foreign.last().map(|(_, fd)| fd.as_fd()).ok_or_else(none)?
            }
            (Some(_), Some(at)) => foreign.get(at).map(|(_, fd)| fd.as_fd()).ok_or_else(none)?,
        };
        let attr = Attr { userns: Some(namespace), ..Attr::default() };
        mount_setattr(tree, idmap.recursive, attr).map_err(|e| {
            let e = match e.errno() {
                // The only word the kernel has for it.
                libc::EINVAL => e.hint(format!(
                    "{} cannot be idmapped by kernel {}",
                    unmappable(&bind.source, idmap.recursive, namespace),
                    rustix::system::uname().release().to_string_lossy()
                )),
                libc::EPERM => e.hint(
                    "neither can a mount that is idmapped already, nor a file system that was mounted outside our user namespace",
                ),
                libc::ENOSYS => e.hint("idmapped mounts need Linux 5.12"),
                _ => e,
            };
            e.at(op.at.clone()).doing(phrase())
        })?;
    }
    Ok(())
}

/// Which file system the kernel has refused: that of the source, or of what is mounted below it. Tried one by one, and
/// only once there is something to explain.
fn unmappable(source: &Path, recursive: bool, userns: BorrowedFd<'_>) -> String {
    let source = std::fs::canonicalize(source).unwrap_or_else(|_| source.into());
    let table = Proc::host().and_then(|proc| proc.read("self/mountinfo")).unwrap_or_default();
    let mounts = mounts(&String::from_utf8_lossy(&table));
    let below =
        mounts.iter().map(|(on, _)| on).filter(|on| recursive && **on != source && on.starts_with(&source));
    let refused = |at: &&PathBuf| {
        let tree = CString::new(at.as_os_str().as_encoded_bytes())
            .ok()
            .and_then(|at| open_tree_of_path(&at, false).ok());
        let attr = Attr { userns: Some(userns), ..Attr::default() };
        tree.is_some_and(|tree| mount_setattr(tree.as_fd(), false, attr).is_err())
    };
    let at = std::iter::once(&source).chain(below).find(refused).unwrap_or(&source);
    format!("{} at {}", fs_type(&mounts, at), at.display())
}

/// Mount points and file system types, out of a mountinfo table (proc_pid_mountinfo(5)).
fn mounts(table: &str) -> Vec<(PathBuf, String)> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let on = unescaped(left.split(' ').nth(4)?).into();
        Some((on, right.split(' ').next()?.to_owned()))
    };
    table.lines().filter_map(line).collect()
}

/// The type of the mount that `path` lies on: the last of the deepest.
fn fs_type<'a>(mounts: &'a [(PathBuf, String)], path: &Path) -> &'a str {
    let over = mounts.iter().filter(|(on, _)| path.starts_with(on));
    over.max_by_key(|(on, _)| on.components().count()).map_or("the file system", |(_, fs_type)| fs_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_last_of_the_deepest_mounts() {
        let mounts = mounts(
            "22 1 8:1 / / rw - ext4 /dev/a rw\n\
             23 22 0:22 / /srv/a\\040b rw shared:7 - tmpfs none rw\n\
             24 22 0:23 / /srv rw - xfs /dev/b rw\n\
             25 24 0:24 / /srv rw - fuse.sshfs far rw\n\
             torn\n",
        );
        let on = |path: &str| fs_type(&mounts, Path::new(path));
        assert_eq!(on("/srv/a b/c"), "tmpfs");
        assert_eq!(on("/srv/a"), "fuse.sshfs");
        assert_eq!(on("/srv2"), "ext4");
        assert_eq!(fs_type(&[], Path::new("/")), "the file system");
    }

    #[test]
    fn what_the_kernel_refuses_is_named() {
        if !rustix::process::geteuid().is_root() {
            return crate::skip::skip(&["root"], "needs root");
        }
        let userns = userns::with_maps("0 100000 1\n", "0 100000 1\n").unwrap();
        assert_eq!(unmappable(Path::new("/proc/self/.."), false, userns.as_fd()), "proc at /proc");
    }
}
