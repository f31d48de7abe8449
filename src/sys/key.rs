//! keyctl(2): the session keyring of a container. Runs in init, before its ids change.

use std::ffi::CStr;

use crate::error::{Error, Result};

/// The serial number of a key or keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySerial(i32);

/// Longest description the kernel gives for a keyring: type;uid;gid;perm;name with a name of at most 4095 bytes.
const LONGEST_DESCRIPTION: usize = 4200;

/// KEYCTL_JOIN_SESSION_KEYRING: the keyring `name` becomes the session keyring; it is made when the caller
/// can see none of that name.
pub fn join_session_keyring(name: &CStr) -> Result<KeySerial> {
    // SAFETY: `name` is NUL-terminated and outlives the call; the kernel only reads it.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    match i32::try_from(serial) {
        Ok(serial) if serial >= 0 => Ok(KeySerial(serial)),
        _ => Err(failed()),
    }
}

/// KEYCTL_DESCRIBE: `keyring;uid;gid;perm;name`.
pub fn describe(key: KeySerial) -> Result<String> {
    let mut text = vec![0u8; LONGEST_DESCRIPTION];
    // SAFETY: the kernel writes at most `text.len()` bytes into `text`, which lives through the call.
    let length = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, key.0, text.as_mut_ptr(), text.len())
    };
    let length = usize::try_from(length).map_err(|_| failed())?;
    // The length counts the final NUL, and may be that of a longer text than was written.
    text.truncate(length.saturating_sub(1));
    String::from_utf8(text).map_err(|_| Error::new("the description of a key is not UTF-8"))
}

/// KEYCTL_SETPERM: the permission mask of keyctl_setperm(3).
pub fn set_permission(key: KeySerial, mask: u32) -> Result<()> {
    // SAFETY: takes two numbers, touches no memory of ours.
    if unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key.0, mask) } == 0 {
        Ok(())
    } else {
        Err(failed())
    }
}

fn failed() -> Error {
    Error::sys("keyctl", super::last_errno())
}
