//! The last stage of init as the runtime sees it: lay out its plan, put it into a file without a name, become it.
//! What it does is in stage.rs; ARCHITECTURE.md ("the last stage") says why it is a program of its own.

mod hooks;
pub mod image;
pub mod layout;
mod raw;
mod stage;

use crate::error::{Call, Error, Result};
use crate::sys::kernel::is_there;
use crate::sys::memfd::memfd_executable;
use crate::sys::mount;
use rustix::fs::{Mode, OFlags, SealFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What the operator should know of [`enter_forked`] (CVE-2019-5736).
pub const FORKED: &str = "neither a memfd can be executed here nor a tmpfs made for it: the container can reach the \
                          runtime's own binary through /proc; mount it read-only";

/// Where the program and its plan go.
#[derive(Debug)]
pub enum Place {
    /// Nobody can change what is going to be executed, and what /proc/PID/exe leads to is worth nothing (CVE-2019-5736).
    Memfd(OwnedFd),
    /// A tmpfs that is mounted nowhere, where there is no memfd that may be executed (vm.memfd_noexec=2, a filter around
    /// us) or no execveat(2). The file in it is executed once, and cannot be written meanwhile (ETXTBSY).
    Tmpfs(OwnedFd),
}

impl Place {
    /// None where no memfd may be executed.
    pub fn memfd() -> Result<Option<Self>> {
        if !is_there(libc::SYS_execveat) {
            return Ok(None);
        }
        let Some(memfd) = memfd_executable(c"orlop")? else { return Ok(None) };
        // What a process may not read leaves it undumpable when it is executed (execve(2)), and out of reach of the user
        // namespaces that do not map the file's owner: a joiner makes this file outside of the container's.
        rustix::fs::fchmod(&memfd, Mode::from_raw_mode(0o111)).call("fchmod")?;
        Ok(Some(Self::Memfd(memfd)))
    }

    /// None without the right to mount: then [`enter_forked`], and [`FORKED`] is to be said. Not where somebody may watch
    /// who can trace us: unlike a memfd it has no seals between filling and executing.
    pub fn tmpfs() -> Option<Self> {
        const MOUNT_ATTR_NOSUID_NODEV: u64 = 0x02 | 0x04;
        let make = || -> Result<OwnedFd> {
            let context = mount::fsopen("tmpfs")?;
            mount::fsconfig_string(context.as_fd(), "mode", "0700")?;
            mount::fsconfig_create(context.as_fd())?;
            mount::fsmount(context.as_fd(), MOUNT_ATTR_NOSUID_NODEV)
        };
        make().map(Self::Tmpfs).ok()
    }

    /// Whether this process may read the file by the capabilities that it has in its user namespace, all of them: then the
    /// owner is mapped there, and what is executed is for the tracers of that namespace (would_dump() in fs/exec.c).
    pub fn is_within_reach(&self) -> bool {
        let (fd, flags) = (self.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH | libc::AT_EACCESS);
        // SAFETY: a live descriptor, an empty string and plain numbers.
        let answer = unsafe { libc::syscall(libc::SYS_faccessat2, fd, c"".as_ptr(), libc::R_OK, flags) };
        // Before 5.8 nothing tells.
        answer == 0 || super::last_errno() != libc::EACCES
    }

    /// Writes the file; it must be executed by this process.
    pub fn fill(self, plan: &[u8]) -> Result<Image> {
        let file = image::executable(plan);
        match self {
            Self::Memfd(memfd) => {
                write(&memfd, &file)?;
                let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
                rustix::fs::fcntl_add_seals(&memfd, seals).call("fcntl(F_ADD_SEALS)")?;
                Ok(Image(Self::Memfd(memfd)))
            }
            Self::Tmpfs(dir) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let writer = rustix::fs::openat(&dir, NAME, flags, Mode::from_raw_mode(0o500));
                // Closed again: whoever has it open for writing keeps it from being executed.
                write(&writer.call("openat")?, &file)?;
                Ok(Image(Self::Tmpfs(dir)))
            }
        }
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let (Self::Memfd(fd) | Self::Tmpfs(fd)) = self;
        fd.as_fd()
    }
}

/// The name of the file in a tmpfs.
const NAME: &CStr = c"orlop";

fn write(fd: &OwnedFd, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        let written = rustix::io::write(fd, rest).call("write")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// A filled [`Place`].
#[derive(Debug)]
pub struct Image(Place);

impl Image {
    /// Becomes the program; returns only on failure.
    pub fn enter(&self) -> Error {
        let argv = [layout::ARGV0.as_ptr(), c"init".as_ptr().cast(), std::ptr::null()];
        let envp: [*const u8; 1] = [std::ptr::null()];
        let failed = match &self.0 {
            Place::Memfd(memfd) => {
                // SAFETY: all pointers are to live, NUL-terminated constants in null-terminated arrays; on success
                // the call does not return.
                unsafe {
                    libc::syscall(
                        libc::SYS_execveat,
                        memfd.as_raw_fd(),
                        c"".as_ptr(),
                        argv.as_ptr(),
                        envp.as_ptr(),
                        libc::AT_EMPTY_PATH,
                    )
                };
                Error::sys("execveat", super::last_errno())
            }
            Place::Tmpfs(dir) => match rustix::process::fchdir(dir).call("fchdir") {
                // The program changes to its own directory.
                Ok(()) => {
                    // SAFETY: as above.
                    unsafe { libc::syscall(libc::SYS_execve, NAME.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
                    Error::sys("execve", super::last_errno())
                }
                Err(e) => e,
            },
        };
        failed.doing("enter the last stage")
    }
}

/// The way without an executable memfd: the forked process itself runs the stage. `plan` builds the
/// plan for the address it is given.
pub fn enter_forked(plan: impl Fn(u64) -> Vec<u8>) -> ! {
    // The address of the allocation must be known before the pointers are laid out.
    let len = plan(0).len();
    let mut place = vec![0u64; len.div_ceil(8)];
    let bytes = plan(place.as_ptr() as u64);
    // SAFETY: `place` is at least `len` bytes long, the two do not overlap, and it is never freed,
    // because `run` does not return. The process is single-threaded (a fork of the runtime).
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_mut_ptr().cast::<u8>(), len);
        stage::run(place.as_ptr().cast())
    }
}

/// Reads a status page back; a short file (never written) reads as zeros.
pub fn read_page(fd: BorrowedFd) -> Result<layout::Page> {
    let mut bytes = [0u8; size_of::<layout::Page>()];
    rustix::io::pread(fd.as_fd(), &mut bytes, 0).call("pread")?;
    // SAFETY: Page is repr(C), consists of integers only, and any bytes are valid for it.
    Ok(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}
