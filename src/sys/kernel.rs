//! Whether a system call is there at all: an older kernel has none of its number (ENOSYS), and the profile of an outer
//! container engine answers what it does not know with EPERM, which a kernel that has the call may also mean.

/// Whether `errno`, the answer to the system call of number `call`, means that the call is missing, so that an older one
/// must do. EPERM of a call that is there is a refusal, and stays one.
///
/// The calls that need CAP_SYS_ADMIN before they look at anything else (fsopen, fsmount, move_mount) cannot be told
/// apart without it: the older call, tried then, refuses for the same reason.
pub fn is_missing(call: libc::c_long, errno: i32) -> bool {
    match errno {
        libc::ENOSYS => true,
        libc::EPERM => !is_there(call),
        _ => false,
    }
}

/// Asks with arguments that every kernel refuses for what they are (EINVAL, E2BIG, EFAULT, EBADF): a filter, which sees
/// the number first, never comes that far. Only for the calls that have flags or sizes to be wrong.
pub fn is_there(call: libc::c_long) -> bool {
    const WRONG: usize = usize::MAX;
    // SAFETY: no argument is a descriptor, an address, a set of flags or a size that a kernel takes.
    unsafe { libc::syscall(call, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG) };
    !matches!(super::last_errno(), libc::ENOSYS | libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_kernel_has() {
        assert!(!is_there(100_000));
        assert!(is_missing(100_000, libc::EPERM) && is_missing(libc::SYS_openat2, libc::ENOSYS));
        assert!(!is_missing(100_000, libc::EACCES));
    }

    /// Nothing happens to the caller either.
    #[test]
    fn wrong_arguments_are_told_from_a_missing_call() {
        if !rustix::process::geteuid().is_root() {
            return crate::skip::skip(&["root"], "needs root");
        }
        for call in [
            libc::SYS_openat2,
            libc::SYS_clone3,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_pidfd_getfd,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_keyctl,
        ] {
            // Tests may run where the kernel is old or a filter around them.
            assert!(is_there(call) || super::super::last_errno() == libc::ENOSYS, "call {call}");
        }
    }
}
