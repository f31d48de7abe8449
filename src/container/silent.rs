//! What the runtime looks at when a child of ours has been silent for a while: a process of the container that sees it
//! may have stopped it, or may hold a copy of a descriptor whose end-of-file is waited for. Runs in the runtime, and
//! never in the usual case, where all is said within [`super::message::LOOK`].

use crate::error::{Error, Result};
use crate::sys::pidfd::pidfd_send_signal;
use std::os::fd::BorrowedFd;

/// How many looks, ten a second, may find the same trouble.
pub const PATIENCE: u32 = 100;

/// The looks in a row that have found a child stopped.
#[derive(Debug, Default)]
pub struct Stops(u32);

impl Stops {
    /// Lets `pid` go on if it is stopped; an error when that does not help. One that is frozen is in another state.
    pub fn look(&mut self, who: &str, pid: i32, pidfd: BorrowedFd<'_>) -> Result<()> {
        // T: by a signal; t: by a tracer, whom only our kill can beat. One that cannot be looked at is waited for.
        let stopped = match state(pid) {
            Some('T') => true,
            Some('t') => !is_traced_by_operator(pid),
            _ => false,
        };
        if !stopped {
            self.0 = 0;
            return Ok(());
        }
        self.0 += 1;
        if self.0 >= PATIENCE {
            return Err(Error::new(format!("{who} cannot go on: a process of the container has stopped it")));
        }
        // It may be gone meanwhile.
        let _ = pidfd_send_signal(pidfd, libc::SIGCONT);
        Ok(())
    }
}

fn state(pid: i32) -> Option<char> {
    crate::host::process_stat(pid).ok().flatten().map(|stat| stat.state)
}

/// A debugger of the host's may take its time. It is in the runtime's pid namespace, or where we may not look.
fn is_traced_by_operator(pid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map_or("0", str::trim);
    let namespace = |of: &str| rustix::fs::stat(format!("/proc/{of}/ns/pid")).map(|found| found.st_ino);
    match (namespace(tracer), namespace("self")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => true,
    }
}

/// Whether `pid` sleeps until somebody says something. Who is throttled or waits for a disk does not, nor who is frozen,
/// with a cgroup above the container's too.
pub fn is_waiting(pid: i32) -> bool {
    let frozen = || {
        let place = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        ["freez", "refrigerator"].iter().any(|word| place.contains(word))
    };
    state(pid) == Some('S') && !frozen()
}

/// Device and inode of a program's file.
pub type Image = (u64, u64);

/// What a process runs; None where nobody may look (without root, at one that hides), or when it has ended.
pub fn image(pid: i32) -> Option<Image> {
    let stat = rustix::fs::stat(format!("/proc/{pid}/exe")).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::pidfd_open;
    use std::os::fd::AsFd;
    use std::process::Command;

    #[test]
    fn who_is_stopped_goes_on_but_not_for_ever() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = child.id().cast_signed();
        let pidfd = pidfd_open(pid).unwrap();
        let state = || crate::host::process_stat(pid).unwrap().unwrap().state;
        let until = |wanted: fn(char) -> bool| {
            while !wanted(state()) {
                std::thread::yield_now();
            }
        };
        let mut stops = Stops::default();
        stops.look("it", pid, pidfd.as_fd()).unwrap();
        until(|state| state == 'S');
        assert!(is_waiting(pid));
        for _ in 1..PATIENCE {
            pidfd_send_signal(&pidfd, libc::SIGSTOP).unwrap();
            until(|state| state == 'T');
            stops.look("it", pid, pidfd.as_fd()).unwrap();
            until(|state| state != 'T');
        }
        pidfd_send_signal(&pidfd, libc::SIGSTOP).unwrap();
        until(|state| state == 'T');
        assert!(!is_waiting(pid));
        assert!(stops.look("it", pid, pidfd.as_fd()).is_err());
        stops.look("it", pid, pidfd.as_fd()).unwrap_err();
        pidfd_send_signal(&pidfd, libc::SIGCONT).unwrap();
        until(|state| state == 'S');
        stops.look("it", pid, pidfd.as_fd()).unwrap();
        pidfd_send_signal(&pidfd, libc::SIGSTOP).unwrap();
        until(|state| state == 'T');
        stops.look("it", pid, pidfd.as_fd()).expect("they are counted in a row");
        assert_ne!(image(pid), image(std::process::id().cast_signed()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(image(pid), None);
    }
}
