//! The container's root as a mount of its own, and the way into it. Runs in init.
//!
//! pivot_root(2) wants a mount point whose parent is not shared; so the root is cloned, made private and
//! attached on top of itself. On an initramfs there is nothing to pivot from: then (`--no-pivot`) the root is
//! moved over `/`, after the host's proc and sysfs were taken out of reach.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::plan::rootfs::{RootfsPlan, Switch};
use crate::rootfs::Jail;
use crate::sys::mount;
use crate::sys::path::{RootFd, identity};
use crate::sys::procfs::Proc;
use crate::sys::tree::{self, LazyProc, Tree};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Clones the root and attaches it; the answer is the descriptor below which everything happens. `seen` is what
/// the runtime found at the path: another directory there by now means that somebody exchanged it.
pub fn attach_root(
    plan: &RootfsPlan,
    seen: OwnedFd,
    unreachable: Option<OwnedFd>,
    proc: &LazyProc,
) -> Result<RootFd> {
    let place = match open_dir(&plan.path) {
        Err(e) if e.errno() == libc::EACCES => {
            let tree = unreachable.ok_or(e)?;
            // The mapped root may not walk to the path; `/` it can always reach, and what lies there goes away
            // with the old root.
            let place = open_dir(Path::new("/"))?;
            return finish(plan, Tree::detached(tree), place, proc);
        }
        answer => answer?,
    };
    drop(unreachable);
    if identity(place.as_fd())? != identity(seen.as_fd())? {
        return Err(Error::new("the directory was exchanged while the container was created"));
    }
    drop(seen);
    let tree = Tree::of_fd(place.as_fd(), true).hint("an unbindable mount cannot be a root")?;
    finish(plan, tree, place, proc)
}

fn finish(plan: &RootfsPlan, tree: Tree, place: OwnedFd, proc: &LazyProc) -> Result<RootFd> {
    if plan.private_parent {
        private_parent(place.as_fd(), proc).doing("make the mount that holds the root private")?;
    }
    let fd = tree.attach(place.as_fd(), proc, || open_dir(&plan.path))?;
    // Otherwise what is mounted below the host's directory later would appear in the container.
    tree::set_propagation(fd.as_fd(), libc::MS_PRIVATE, proc)?;
    Ok(RootFd::new(fd))
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).call("openat")
}

/// Walks up to the root of the mount: the call refuses (EINVAL) any other directory of it.
fn private_parent(from: BorrowedFd<'_>, proc: &LazyProc) -> Result<()> {
    let mut at = from.try_clone_to_owned().call("fcntl")?;
    loop {
        match tree::set_propagation(at.as_fd(), libc::MS_PRIVATE, proc) {
            Err(e) if e.errno() == libc::EINVAL => {}
            answer => return answer,
        }
        let above = rustix::fs::openat(&at, c"..", DIRECTORY, Mode::empty()).call("openat")?;
        if identity(above.as_fd())? == identity(at.as_fd())? {
            return Err(Error::sys("mount_setattr", libc::EINVAL));
        }
        at = above;
    }
}

impl Jail {
    /// Enters the root; the working directory is `/` afterwards. Runs in init (N5).
    pub fn switch(&self, plan: &RootfsPlan) -> Result<()> {
        match plan.switch {
            Switch::Pivot => self.pivot(plan).doing("pivot into the root"),
            Switch::MoveRoot => self.move_root(plan).doing("move the root over /"),
            Switch::Chroot => self.chroot().doing("change into the root"),
        }
    }

    fn pivot(&self, plan: &RootfsPlan) -> Result<()> {
        let old = open_dir(Path::new("/"))?;
        rustix::process::fchdir(&self.root).call("fchdir")?;
        // With both arguments `.` the old root ends up on top of the new one: no directory for it is needed in
        // an image that may be read-only.
        mount::pivot_root_here().map_err(|e| {
            if e.errno() == libc::EINVAL { e.hint("on an initramfs use --no-pivot") } else { e }
        })?;
        rustix::process::fchdir(&old).call("fchdir")?;
        if plan.private_parent {
            // The detach must not travel to the host.
            mount::mount(None, c".", None, libc::MS_SLAVE | libc::MS_REC, None)?;
        }
        mount::umount_detach(c".")?;
        rustix::process::chdir(c"/").call("chdir")
    }

    fn move_root(&self, plan: &RootfsPlan) -> Result<()> {
        let host = Proc::host()?;
        let table = host.read("self/mountinfo")?;
        for mount_point in revealing(&String::from_utf8_lossy(&table), &plan.path) {
            cover(Path::new(&mount_point)).doing_with(|| format!("cover {mount_point}"))?;
        }
        rustix::process::fchdir(&self.root).call("fchdir")?;
        mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
        rustix::process::chroot(c".").call("chroot")?;
        rustix::process::chdir(c"/").call("chdir")
    }

    fn chroot(&self) -> Result<()> {
        rustix::process::fchdir(&self.root).call("fchdir")?;
        rustix::process::chroot(c".").call("chroot")?;
        rustix::process::chdir(c"/").call("chdir")
    }
}

/// The host's whole procfs and sysfs mounts outside the container's root, out of a mountinfo table
/// (proc_pid_mountinfo(5)). They would stay reachable below a root that was only moved, and an unmasked one of
/// them would let a user namespace mount another.
fn revealing(table: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut left = left.split(' ').skip(3);
        let (Some(in_fs), Some(mount_point)) = (left.next(), left.next()) else { continue };
        let fs_type = right.split(' ').next().unwrap_or_default();
        let mount_point = unescaped(mount_point);
        if in_fs == "/" && matches!(fs_type, "proc" | "sysfs") && !Path::new(&mount_point).starts_with(root) {
            found.push(mount_point);
        }
    }
    found
}

/// `\040` and its kin.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let octal = bytes.by_ref().take(3).fold(0u32, |sum, digit| sum * 8 + u32::from(digit & 7));
        plain.push(u8::try_from(octal).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn cover(mount_point: &Path) -> Result<()> {
    let fd = match open_dir(mount_point) {
        // Under another mount: nobody can reach it.
        Err(e) if e.errno() == libc::ENOENT => return Ok(()),
        answer => answer?,
    };
    let name = std::ffi::CString::new(mount_point.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::new("a NUL in a mount point"))?;
    mount::mount(None, &name, None, libc::MS_SLAVE | libc::MS_REC, None)?;
    match mount::umount_detach(&name) {
        // Locked by the user namespace's owner: cover it.
        Err(e) if matches!(e.errno(), libc::EINVAL | libc::EPERM) => {
            drop(fd);
            mount::mount(Some(c"tmpfs"), &name, Some(c"tmpfs"), 0, None)
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_proc_and_sysfs_are_found_in_the_table() {
        let table = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                     23 27 0:22 / /sys rw shared:7 - sysfs sysfs rw\n\
                     24 27 0:22 /fs /mnt/a\\040b rw - sysfs sysfs rw\n\
                     25 27 0:22 / /mnt/a\\040b rw - sysfs sysfs rw\n\
                     26 27 0:21 / /c/rootfs/proc rw - proc proc rw\n\
                     27 1 254:0 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(revealing(table, Path::new("/c/rootfs")), ["/proc", "/sys", "/mnt/a b"]);
    }
}
