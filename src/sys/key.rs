//! keyctl(2): the session keyring of a container. Runs in init, before its ids change.

use std::ffi::CStr;

use crate::error::{Error, Result};

/// KEY_SPEC_SESSION_KEYRING: whatever the caller's session keyring is.
const SESSION: i32 = -3;
/// Longest description the kernel gives for a keyring: type;uid;gid;perm;name with a name of at most 4095 bytes.
const LONGEST_DESCRIPTION: usize = 4200;

/// KEYCTL_JOIN_SESSION_KEYRING: the keyring `name` becomes the session keyring; it is made when the caller
/// can see none of that name.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call; the kernel only reads it.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    // Not kept: the kernel answers 0 when the keyring was the session keyring already.
    if serial >= 0 { Ok(()) } else { Err(failed()) }
}

/// KEYCTL_JOIN_SESSION_KEYRING without a name: a new and empty one, of our user, for us and our children alone.
pub fn new_session_keyring() -> Result<()> {
    let name: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name is allowed.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) };
    if serial >= 0 { Ok(()) } else { Err(failed()) }
}

/// KEYCTL_DESCRIBE of the session keyring: `keyring;uid;gid;perm;name`.
pub fn describe_session() -> Result<String> {
    let mut text = vec![0u8; LONGEST_DESCRIPTION];
    // SAFETY: the kernel writes at most `text.len()` bytes into `text`, which lives through the call.
    let length = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, SESSION, text.as_mut_ptr(), text.len())
    };
    let length = usize::try_from(length).map_err(|_| failed())?;
    // The length counts the final NUL, and may be that of a longer text than was written.
    text.truncate(length.saturating_sub(1));
    String::from_utf8(text).map_err(|_| Error::new("the description of a key is not UTF-8"))
}

/// KEYCTL_SETPERM of the session keyring: the permission mask of keyctl_setperm(3).
pub fn set_session_permission(mask: u32) -> Result<()> {
    // SAFETY: takes two numbers, touches no memory of ours.
    if unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, SESSION, mask) } == 0 {
        Ok(())
    } else {
        Err(failed())
    }
}

/// KEYCTL_GET_KEYRING_ID of the session keyring.
#[cfg(test)]
pub fn session_serial() -> Result<libc::c_long> {
    // SAFETY: takes numbers only.
    let serial = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, SESSION, 0) };
    if serial > 0 { Ok(serial) } else { Err(failed()) }
}

fn failed() -> Error {
    Error::sys("keyctl", super::last_errno())
}
