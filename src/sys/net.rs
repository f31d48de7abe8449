//! The one thing orlop does to a network interface: bring it up (netdevice(7)).

use crate::error::{Call, Error, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::ffi::CStr;
use std::os::fd::AsRawFd;

/// Sets IFF_UP on interface `name` of this network namespace.
pub fn bring_up(name: &CStr) -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket")?;
    // SAFETY: ifreq is plain data for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(15).zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    // A new namespace's loopback has no flags worth keeping.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: a live socket and a live, initialised ifreq.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).call("ioctl(SIOCSIFFLAGS)").map_err(|e: Error| e),
    }
}
