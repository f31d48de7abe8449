//! A procfs of our own, reachable by nobody else.
//!
//! Init writes its LSM label, sysctls and the like through a procfs that it mounted itself and never attached,
//! so that nothing an image or another container mounts over /proc can redirect the write. Where the kernel
//! refuses a new instance (a user namespace without an own pid namespace, or whose view of /proc is masked)
//! the host's /proc is used, opened before the container's root is entered and checked to be the root of a
//! procfs. Lookups stay on that one mount, and no magic link is followed except the deliberate `self/fd/N`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Doing, Error, Result};
use crate::sys::kernel::is_missing;
use crate::sys::mount;
use crate::sys::path::{Last, RootFd};

/// statfs(2).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;
/// The inode number of a procfs root (linux/proc_ns.h, PROC_ROOT_INO).
const PROC_ROOT_INODE: u64 = 1;
const MOUNT_ATTR_NOSUID_NODEV_NOEXEC: u64 = 0x02 | 0x04 | 0x08;
/// No file that we read is larger; a hostile one would be cut off here.
const MOST_READ: usize = 4 << 20;

/// The root of a procfs. See the module text.
#[derive(Debug)]
pub struct Proc {
    root: RootFd,
}

impl Proc {
    /// An instance with the process directories only (`subset=pid`, Linux 5.8), else whatever
    /// [`Proc::host`] finds.
    pub fn open() -> Result<Self> {
        Self::private_pids().or_else(|_| Self::host()).doing("open a private procfs")
    }

    /// The same without the host's as a last resort.
    pub fn private_pids() -> Result<Self> {
        Self::private(&[("subset", "pid"), ("hidepid", "ptraceable")]).or_else(|_| Self::private(&[]))
    }

    /// An instance with everything in it: keep it only as long as the sysctl takes.
    pub fn open_whole() -> Result<Self> {
        Self::private(&[]).doing("open a private procfs")
    }

    /// The mount on /proc of this process's own mount namespace and root. Only before the container's root is
    /// entered.
    pub fn host() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::verified(rustix::fs::openat(CWD, c"/proc", flags, Mode::empty()).call("openat").at("/proc")?)
    }

    fn private(options: &[(&str, &str)]) -> Result<Self> {
        let context = mount::fsopen("proc")?;
        for (key, value) in options {
            mount::fsconfig_string(context.as_fd(), key, value)?;
        }
        mount::fsconfig_create(context.as_fd())?;
        Self::verified(mount::fsmount(context.as_fd(), MOUNT_ATTR_NOSUID_NODEV_NOEXEC)?)
    }

    fn verified(fd: OwnedFd) -> Result<Self> {
        let (magic, _) = mount::fstatfs(fd.as_fd())?;
        let inode = rustix::fs::fstat(&fd).call("fstat")?.st_ino;
        if magic != PROC_SUPER_MAGIC || inode != PROC_ROOT_INODE {
            return Err(Error::new("is not the root of a procfs").at("/proc"));
        }
        Ok(Self { root: RootFd::new(fd) })
    }

    /// Opens `path` below the root, on this very mount.
    pub fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            // openat2 refuses the two together.
            flags |= OFlags::NOCTTY;
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Err(e) if is_missing(libc::SYS_openat2, e.raw_os_error()) => {}
            answer => return answer.call("openat2").at_with(|| format!("/proc/{path}")),
        }
        let step = RootFd::stepping(self.root.as_fd().try_clone_to_owned().call("fcntl")?);
        let file = step.open(Path::new(path), flags, Last::Follow)?;
        let same_mount = rustix::fs::fstat(&file).call("fstat")?.st_dev
            == rustix::fs::fstat(&self.root).call("fstat")?.st_dev;
        if same_mount {
            return Ok(file);
        }
        Err(Error::new("something else is mounted over it").at(format!("/proc/{path}")))
    }

    /// Writes `value` in one write(2), as these files want it.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        let wrote = rustix::io::retry_on_intr(|| rustix::io::write(&file, value));
        let wrote = wrote.call("write").at_with(|| format!("/proc/{path}"))?;
        if wrote == value.len() {
            return Ok(());
        }
        Err(Error::new(format!("only {wrote} of {} bytes were taken", value.len()))
            .at(format!("/proc/{path}")))
    }

    /// The whole content.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        let mut content = Vec::new();
        let mut buffer = [0u8; 4096];
        loop {
            let got = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer));
            let got = got.call("read").at_with(|| format!("/proc/{path}"))?;
            content.extend_from_slice(buffer.get(..got).unwrap_or_default());
            if got == 0 || content.len() > MOST_READ {
                return Ok(content);
            }
        }
    }

    /// Writes the sysctl at `path` below /proc/sys (`net/ipv4/ip_forward`), in the namespaces of the caller.
    pub fn write_sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.write(&format!("sys/{path}"), value.as_bytes())
    }

    /// Calls `act` with the current directory on this procfs, where `self/fd/N` names descriptor N: the one way
    /// to hand a descriptor to a call that takes only paths. The directory is set back afterwards; to the root, if
    /// this process may not search it (/root in a user namespace).
    pub fn inside<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let before = match rustix::fs::openat(CWD, c".", flags, Mode::empty()) {
            Err(Errno::ACCESS) => rustix::fs::openat(CWD, c"/", flags, Mode::empty()),
            answer => answer,
        };
        let before = before.call("openat")?;
        rustix::process::fchdir(&self.root).call("fchdir")?;
        let answer = act();
        rustix::process::fchdir(&before).call("fchdir")?;
        answer
    }

    /// mount(2) with descriptors for source and target, for kernels without the newer calls.
    pub fn mount(
        &self,
        source: Option<&CStr>,
        target: BorrowedFd<'_>,
        fs_type: Option<&CStr>,
        flags: u64,
        data: Option<&CStr>,
    ) -> Result<()> {
        let target = mount::fd_name(target)?;
        self.inside(|| mount::mount(source, &target, fs_type, flags, data))
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
