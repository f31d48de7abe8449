//! The last stage of init as the runtime sees it: lay out its plan, put it into a sealed memfd, become it.
//! What it does is in stage.rs; ARCHITECTURE.md ("the last stage") says why it is a program of its own.

mod hooks;
pub mod image;
pub mod layout;
mod raw;
mod stage;

use crate::error::{Call, Error, Result};
use crate::sys::kernel::is_there;
use crate::sys::memfd::memfd_executable;
use rustix::fs::SealFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What the operator should know of [`enter_forked`] (CVE-2019-5736).
pub const FORKED: &str = "no memfd can be executed here (memfd_create, execveat): the container can reach the runtime's \
                          own binary through /proc; mount it read-only";

/// A sealed memfd with the program and its plan: nobody can change what init is going to execute, and
/// what /proc/PID/exe leads to is worth nothing (CVE-2019-5736).
///
/// None where there is no memfd that may be executed (vm.memfd_noexec=2, a filter around us): then [`enter_forked`],
/// and [`FORKED`] is to be said.
pub fn seal(plan: &[u8]) -> Result<Option<OwnedFd>> {
    if !is_there(libc::SYS_execveat) {
        return Ok(None);
    }
    let Some(fd) = memfd_executable(c"orlop")? else { return Ok(None) };
    let file = image::executable(plan);
    let mut rest = &file[..];
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest).call("write")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&fd, seals).call("fcntl(F_ADD_SEALS)")?;
    Ok(Some(fd))
}

/// Becomes the program in `image` (from [`seal`]); returns only on failure.
pub fn enter(image: BorrowedFd) -> Error {
    let argv = [layout::ARGV0.as_ptr(), c"init".as_ptr().cast(), std::ptr::null()];
    let envp: [*const u8; 1] = [std::ptr::null()];
    // SAFETY: all pointers are to live, NUL-terminated constants in null-terminated arrays; on success
    // the call does not return.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            image.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    debug_assert_eq!(result, -1);
    Error::sys("execveat", super::last_errno()).doing("enter the last stage")
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
