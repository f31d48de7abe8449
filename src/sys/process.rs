//! What a process does to itself and to its children by number; processes by descriptor are in pidfd.rs.

use crate::error::{Call, Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Leaves a forked child at once: no destructors, no flushing of buffers copied from the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// PR_SET_DUMPABLE: 0 keeps other processes of the container away from /proc/PID and ptrace.
pub fn set_dumpable(dumpable: bool) {
    // SAFETY: prctl with plain numbers; cannot fail for 0 and 1.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, i32::from(dumpable), 0, 0, 0) };
}

pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: a live NUL-terminated string; the kernel copies 16 bytes of it at most.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Takes from a clone of ours the command line and the environment that it has of its parent: /proc/PID/cmdline is for
/// everybody who sees the process, and a command line may hold what nobody in a container shall know (`exec -e`). Only what
/// was copied before is left: `std::env` finds nothing any more. While /proc is the host's; without one nothing happens.
pub fn forget_arguments() {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    for (start, end) in argument_areas(&text) {
        // SAFETY: the kernel says where it has put the strings of execve, in the first pages of the stack, which are ours to
        // write. In a clone of the single thread nobody holds a reference into them: std::env copies what it is asked for.
        unsafe { std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(start), 0, end - start) };
    }
}

/// arg_start and arg_end, env_start and env_end: fields 48 to 51 of proc_pid_stat(5), 0 for strangers.
fn argument_areas(stat: &str) -> Vec<(usize, usize)> {
    const BEFORE: usize = 45;
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers: Vec<usize> =
        rest.split_ascii_whitespace().skip(BEFORE).take(4).map_while(|text| text.parse().ok()).collect();
    let pairs = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(start, end)| 0 < *start && start < end).collect()
}

/// SIGKILL when the parent, which is `parent`, ends (PR_SET_PDEATHSIG); at once if it has ended already.
pub fn die_with_parent(parent: i32) {
    // SAFETY: plain numbers. It cannot fail for a valid signal.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if rustix::process::getppid().map(rustix::process::Pid::as_raw_pid) != Some(parent) {
        exit_now(1);
    }
}

pub fn setsid() -> Result<()> {
    rustix::process::setsid().map(|_| ()).call("setsid")
}

/// All user and group ids of this process become 0 of its user namespace. Where an id 0 is not mapped (EINVAL), `uid` or
/// `gid` serves: without a root there, the change takes no capabilities (capabilities(7)).
pub fn become_root((uid, gid): (u32, u32)) -> Result<()> {
    // SAFETY: plain numbers; raw calls, because libc's wrappers signal threads that do not exist here.
    let set = |number, id: u32| match unsafe { libc::syscall(number, id, id, id) } {
        0 => Ok(()),
        _ => Err(super::last_errno()),
    };
    for (call, number, id) in
        [("setresgid", libc::SYS_setresgid, gid), ("setresuid", libc::SYS_setresuid, uid)]
    {
        match set(number, 0) {
            Err(libc::EINVAL) => set(number, id),
            done => done,
        }
        .map_err(|errno| Error::sys(call, errno))?;
    }
    Ok(())
}

/// Default dispositions and an empty mask: what we ignore or block must not reach the workload.
pub fn reset_signals() {
    // `struct sigaction` of the kernel: SIG_DFL, no flags, no restorer, an empty mask.
    let default = [0u64; 4];
    // Real-time ones too, and those that libc keeps for itself: ignored by a caller, they stay so through every
    // execve.
    for number in 1..=64 {
        // SAFETY: `default` is at least as large as the kernel's structure and installs no handler code; no old
        // action is asked for; the mask has 8 bytes. SIGKILL and SIGSTOP refuse, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    // SAFETY: an empty set on the stack, initialised by sigemptyset before its use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn last(call: &'static str) -> Error {
    Error::sys(call, super::last_errno())
}

/// In a child of clone3: closes a descriptor whose owner lives in the parent's frames, which never return
/// here.
pub fn close_inherited(fd: BorrowedFd) {
    // SAFETY: the owning value belongs to frames below the clone; the child leaves by exec or _exit, so
    // nobody uses or closes this number again.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Where the descriptors of this process end, for [`close_all_but`] later on, when /proc may be the container's.
pub fn descriptors_end() -> u32 {
    /// What is opened until then takes the lowest free numbers.
    const MORE: u32 = 256;
    // SAFETY: plain numbers; above every descriptor, so nothing is closed.
    if unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) } == 0 {
        return u32::MAX;
    }
    // Before 5.9 they are closed one by one: where a service has no limit, a billion numbers.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse::<u32>().ok());
    size.map_or_else(super::stdio::limit, |size| size.saturating_add(MORE))
}

/// In a child that will never return to its callers: closes every descriptor from `first` to `end` ([`descriptors_end`])
/// but those of `keep`.
pub fn close_all_but(first: u32, end: u32, keep: &[i32]) {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut from = first;
    for kept in keep.into_iter().chain([end]) {
        if from < kept {
            close_range(from, kept - 1);
        }
        from = from.max(kept.saturating_add(1));
    }
}

fn close_range(first: u32, last: u32) {
    // SAFETY: plain numbers; the owners are values of frames that never run again (see close_all_but).
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    for number in first..=last {
        // SAFETY: as above; a number that is not open is answered with EBADF.
        unsafe { libc::close(number.cast_signed()) };
    }
}

/// Lets a descriptor survive execve; -1 (none) is fine.
pub fn keep_on_exec(fd: i32) -> Result<()> {
    if fd < 0 {
        return Ok(());
    }
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } == 0 { Ok(()) } else { Err(last("fcntl(F_SETFD)")) }
}

/// SIG_IGN for `signal`; [`reset_signals`] takes it back in every child.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN installs no handler code.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR { Err(last("signal")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strings_of_execve_are_found_where_the_kernel_has_put_them() {
        let line = format!("7 (a) b) S{} 100 200 200 300 0", " 9".repeat(44));
        assert_eq!(argument_areas(&line), [(100, 200), (200, 300)]);
        assert!(argument_areas(&line.replace("00", "0").replace(" 10 20 20 30", " 0 0 0 0")).is_empty());
        assert!(argument_areas("").is_empty());
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (start, end) = argument_areas(&own)[0];
        assert_eq!(end - start, std::fs::read("/proc/self/cmdline").unwrap().len());
    }
}
