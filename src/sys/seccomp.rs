//! What the kernel knows of seccomp(2).

/// Whether a filter may be installed with `flags`. The kernel looks at the flags first and at the filter then: without
/// one the answer is EFAULT, for unknown flags EINVAL.
pub fn knows_filter_flags(flags: u64) -> bool {
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel reads the filter, which is none; nothing can be installed.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none) };
    answer < 0 && super::last_errno() == libc::EFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_flags_get_as_far_as_the_filter() {
        // Since 3.17 and 4.14; the last bit has no meaning yet.
        assert!(knows_filter_flags(0) && knows_filter_flags(libc::SECCOMP_FILTER_FLAG_LOG));
        assert!(!knows_filter_flags(1 << 31));
    }
}
