//! Masked and read-only paths. Runs in init after the root is entered.
//!
//! A masked file gets a /dev/null that was cloned and verified on the host, never the container's own, which
//! an image could have replaced. Masked directories share one empty read-only tmpfs. A path is looked up once,
//! and what was found is what is covered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FileType;

use crate::error::{Call, Doing, Error, Result};
use crate::plan::rootfs::{MOUNT_ATTR_RDONLY, MountLabel, RootfsPlan};
use crate::rootfs::{Jail, devices};
use crate::sys::path::{Last, is_char_device, kind};
use crate::sys::tree::{self, LazyProc, NewFs, Tree};

/// A read-only change waits for a writer that is just leaving.
const BUSY_TRIES: u32 = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What covers one kind of masked path: the first one is attached as it is, the others are clones of that
/// mount, since a detached one cannot be cloned.
enum Cover {
    Fresh(Tree),
    Attached(OwnedFd),
}

impl Cover {
    fn on(self, target: BorrowedFd<'_>, path: &Path, jail: &Jail) -> Result<Self> {
        let again = || look_up(jail, path);
        match self {
            Self::Fresh(tree) => Ok(Self::Attached(tree.attach(target, &jail.proc, again)?)),
            Self::Attached(first) => {
                Tree::of_fd(first.as_fd(), false)?.attach(target, &jail.proc, again)?;
                Ok(Self::Attached(first))
            }
        }
    }
}

/// Covers linux.maskedPaths; what does not exist is passed over.
pub fn mask(jail: &Jail, plan: &RootfsPlan) -> Result<()> {
    let (mut file, mut dir) = (None, None);
    for (index, path) in plan.masked_paths.iter().enumerate() {
        let mut cover_one = || -> Result<()> {
            let Some(target) = find(jail, path)? else { return Ok(()) };
            if kind(target.as_fd())? == FileType::Directory {
                let cover = match dir.take() {
                    Some(cover) => cover,
                    None => Cover::Fresh(empty(plan.mask_label.as_ref())?),
                };
                dir = Some(cover.on(target.as_fd(), path, jail)?);
            } else {
                let cover = match file.take() {
                    Some(cover) => cover,
                    None => Cover::Fresh(null(jail)?),
                };
                file = Some(cover.on(target.as_fd(), path, jail)?);
            }
            Ok(())
        };
        let answer = cover_one();
        let answer = answer.at_with(|| format!("linux.maskedPaths[{index}]"));
        answer.doing_with(|| format!("mask {}", path.display()))?;
    }
    Ok(())
}

/// Binds linux.readonlyPaths on themselves; what does not exist is passed over. Other flags stay as they are.
pub fn readonly(jail: &Jail, plan: &RootfsPlan) -> Result<()> {
    for (index, path) in plan.readonly_paths.iter().enumerate() {
        let bind = || -> Result<()> {
            let Some(target) = find(jail, path)? else { return Ok(()) };
            let mut tree = Tree::of_fd(target.as_fd(), true)?;
            tree.set_attr(MOUNT_ATTR_RDONLY, 0)?;
            let again = || look_up(jail, path);
            tree.attach(target.as_fd(), &jail.proc, again).map(drop)
        };
        let answer = bind().at_with(|| format!("linux.readonlyPaths[{index}]"));
        answer.doing_with(|| format!("make {} read-only", path.display()))?;
    }
    Ok(())
}

/// Makes the mount `fd` is the root of read-only; every other flag, locked or not, stays.
pub fn set_readonly(fd: BorrowedFd<'_>, proc: &LazyProc) -> Result<()> {
    let mut tries = 1;
    loop {
        match tree::set_attr(fd, MOUNT_ATTR_RDONLY, 0, proc) {
            Err(e) if e.errno() == libc::EBUSY && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            answer => return answer,
        }
    }
}

fn look_up(jail: &Jail, path: &Path) -> Result<OwnedFd> {
    let (root, path) = jail.place(path);
    root.find(path, Last::Follow)
}

fn find(jail: &Jail, path: &Path) -> Result<Option<OwnedFd>> {
    match look_up(jail, path) {
        Err(e) if matches!(e.errno(), libc::ENOENT | libc::ENOTDIR) => Ok(None),
        answer => answer.map(Some),
    }
}

fn null(jail: &Jail) -> Result<Tree> {
    match &jail.null {
        Some(null) => Ok(Tree::detached(null.try_clone().call("fcntl")?)),
        // Without open_tree(2) nothing of the host's can be kept until now: the container's own, if it is one.
        None => {
            let dev = devices::real_dir(&jail.root, Path::new("/dev"))?;
            let null = devices::open_at(dev.as_fd(), "null".as_ref())?;
            if is_char_device(null.as_fd(), 1, 3)? {
                return Tree::of_fd(null.as_fd(), false);
            }
            Err(Error::new("the container's /dev/null is not the character device 1:3"))
        }
    }
}

/// An empty tmpfs that cannot be filled even if somebody makes it writable: two inodes, one block.
pub(super) fn empty(label: Option<&MountLabel>) -> Result<Tree> {
    let option = |key: &str, value: &str| (key.to_string(), Some(value.to_string()));
    let mut options = vec![option("nr_blocks", "1"), option("nr_inodes", "2")];
    let mut data = "nr_blocks=1,nr_inodes=2".to_string();
    if let Some(label) = label {
        label.add_to(&mut options, &mut data);
    }
    Tree::new_fs(&NewFs {
        fs_type: "tmpfs",
        source: "tmpfs",
        flags: libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
        superblock: &[],
        options: &options,
        data: &data,
        only_mount: false,
    })
}
