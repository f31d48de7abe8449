//! Descriptors by number: the standard ones that a caller may have closed, and those it passes on purpose.
//! Runs at the very start of the program, before anything is opened, and again before execve.

use std::os::fd::{BorrowedFd, IntoRawFd};

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Error, Result};

/// fcntl(F_GETFD): None when `number` is not open, else whether it is closed on execve.
pub fn close_on_exec(number: u32) -> Option<bool> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: F_GETFD takes no pointer; a number that is not open is answered with EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags & libc::FD_CLOEXEC != 0)
}

/// Opens /dev/null, close-on-exec, on each of 0, 1, 2 that is closed: otherwise the next file opened would be
/// taken for one of them. Later the container's own /dev/null takes their place.
pub fn fill_closed() -> Result<()> {
    while (0..3).any(|number| close_on_exec(number).is_none()) {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .call("open")
            .map_err(|e| e.at("/dev/null"))?;
        // open(2) gives the lowest free number, so this is one of the three; it stays open for good.
        let _stays_open = null.into_raw_fd();
    }
    Ok(())
}

/// The three standard descriptors in their order. [`fill_closed`] has made sure that they are open.
pub fn all() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// Makes `number` (0, 1 or 2) a copy of `source` that survives execve.
pub fn replace(number: usize, source: BorrowedFd<'_>) -> Result<()> {
    match number {
        0 => rustix::stdio::dup2_stdin(source),
        1 => rustix::stdio::dup2_stdout(source),
        _ => rustix::stdio::dup2_stderr(source),
    }
    .call("dup2")
}

/// Everything from `first` on is closed by the next execve (CVE-2024-21626: what stays open is a way out).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: takes numbers only; CLOSE_RANGE_CLOEXEC closes nothing now, so no owner loses its descriptor.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return Ok(());
    }
    match super::last_errno() {
        // Before 5.9 the call is missing, before 5.11 the flag; some filters answer EPERM.
        libc::ENOSYS | libc::EINVAL | libc::EPERM => each_of_proc(first),
        errno => Err(Error::sys("close_range", errno)),
    }
}

fn each_of_proc(first: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open("/proc/self/fd", flags, Mode::empty()) {
        // No /proc: some commands need none.
        Err(rustix::io::Errno::NOENT) => {
            each_number(first);
            return Ok(());
        }
        answer => answer.call("open").map_err(|e| e.at("/proc/self/fd"))?,
    };
    for entry in rustix::fs::Dir::read_from(&directory).call("getdents64")? {
        let entry = entry.call("getdents64")?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|n| u32::try_from(*n).is_ok_and(|n| n >= first)) {
            // SAFETY: F_SETFD takes no pointer; the number was just listed, and one that is closed since
            // (the reader's own) is answered with EBADF, which is as good.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// The end of the numbers that descriptors may have, within reason; a limit that was lowered closes nothing, so by the
/// hard one.
pub fn limit() -> u32 {
    const MOST: u64 = 1 << 20;
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(MOST).min(MOST) as u32
}

fn each_number(first: u32) {
    for number in first..limit() {
        // SAFETY: F_SETFD takes no pointer; a number that is not open is answered with EBADF.
        unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn numbers_are_asked_one_by_one() {
        let (r, _w) = rustix::pipe::pipe().unwrap();
        let number = u32::try_from(r.as_raw_fd()).unwrap();
        assert_eq!(close_on_exec(number), Some(false));
        each_of_proc(number).unwrap();
        assert_eq!(close_on_exec(number), Some(true));
        crate::sys::process::keep_on_exec(r.as_raw_fd()).unwrap();
        assert_eq!(close_on_exec(number), Some(false));
        each_number(number);
        assert_eq!(close_on_exec(number), Some(true));
        assert_eq!(close_on_exec(1_000_000), None);
        assert_eq!(close_on_exec(u32::MAX), None);
        fill_closed().unwrap();
    }
}
