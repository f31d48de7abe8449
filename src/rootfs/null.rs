//! Standard descriptors that are the host's /dev/null become the container's own: through the host's, container
//! root could change the mode or the owner of the node. Runs in init at the end (N6) and in a process that
//! joins a container, whose /dev may be hostile by then.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::devices;
use crate::error::{Call, Doing, Error, Result};
use crate::sys::mount;
use crate::sys::path::{RootFd, identity, is_char_device};
use crate::sys::stdio;

/// Exchanges each of the descriptors 0–2 that is a /dev/null for the one below `root`.
pub fn own(root: &RootFd) -> Result<()> {
    let mut own: Option<OwnedFd> = None;
    for (number, fd) in stdio::all().into_iter().enumerate() {
        // A closed descriptor is not ours to open.
        if !is_char_device(fd, 1, 3).unwrap_or(false) {
            continue;
        }
        let null = match own.take() {
            Some(null) => null,
            // A broken /dev must not keep anybody from an exec that repairs it. In a user namespace, where no node can be
            // made, it is a mount that its root can take away as well.
            None => match open(root) {
                Ok(null) => null,
                Err(e) => private().map_err(|_| e).doing("open the container's /dev/null")?,
            },
        };
        stdio::replace(number, null.as_fd())?;
        own = Some(null);
    }
    Ok(())
}

/// A node that nobody else has: in a file system of its own, which ends with the descriptor.
fn private() -> Result<OwnedFd> {
    let context = mount::fsopen("tmpfs")?;
    mount::fsconfig_create(context.as_fd())?;
    let dir = mount::fsmount(context.as_fd(), 0)?;
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(&dir, c"null", FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
        .call("mknodat")?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let null = rustix::fs::openat(&dir, c"null", flags, Mode::empty()).call("openat")?;
    // Whatever the umask is.
    rustix::fs::fchmod(&null, Mode::from_raw_mode(0o666)).call("fchmod")?;
    Ok(null)
}

/// Verified before it is opened, for opening alone can act on a device, and after, for the name may have
/// changed in between.
fn open(root: &RootFd) -> Result<OwnedFd> {
    let refuse = || Error::new("is not the character device 1:3").at("/dev/null");
    let dev = devices::real_dir(root, Path::new("/dev"))?;
    let looked = devices::open_at(dev.as_fd(), "null".as_ref())?;
    if !is_char_device(looked.as_fd(), 1, 3)? {
        return Err(refuse());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&dev, c"null", flags, Mode::empty()).call("openat")?;
    if identity(opened.as_fd())? != identity(looked.as_fd())? || !is_char_device(opened.as_fd(), 1, 3)? {
        return Err(refuse());
    }
    rustix::fs::fcntl_setfl(&opened, OFlags::empty()).call("fcntl")?;
    Ok(opened)
}
