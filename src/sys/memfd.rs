//! Files without a name: memfd_create(2), and what stands in for it where it is denied.

use crate::error::{Call, Doing, Error, Result};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// An empty file that nobody else can open by name. Filters of an outer container may not know memfd_create (ENOSYS):
/// then it lies in /tmp, without a name.
pub fn memfd_create(name: &CStr) -> Result<OwnedFd> {
    // With vm.memfd_noexec=2 the kernels 6.3 to 6.5 refuse who does not say that it will not be executed.
    let file = match rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        // Before 6.3 nobody can say so.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC),
        answer => answer,
    };
    match file {
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            rustix::fs::open(c"/tmp", flags, Mode::RUSR | Mode::WUSR).call("open").at("/tmp")
        }
        answer => answer.call("memfd_create"),
    }
}

/// One that can be sealed and executed; None where there is none: denied altogether, or vm.memfd_noexec=2.
pub fn memfd_executable(name: &CStr) -> Result<Option<OwnedFd>> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 do not know MFD_EXEC and need it not.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        answer => answer,
    };
    match file {
        Ok(file) => Ok(Some(file)),
        Err(Errno::ACCESS | Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(e) => Err(Error::sys("memfd_create", e.raw_os_error())),
    }
}
