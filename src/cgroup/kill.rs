//! The processes of a cgroup tree, and their end.
//!
//! Signals go through pidfds only: a number read from cgroup.procs may belong to a stranger a moment
//! later. A pidfd is used when its number is still in the cgroup after it was opened.

use super::files::{Place, read_at};
use super::walk::Walk;
use crate::error::{Doing, Error, Result};
use crate::sys::cgroupfs;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;

/// Process ids in the cgroup and below, each once. A cgroup that is gone has none.
pub(super) fn processes(place: &Place) -> Result<Vec<i32>> {
    let mut pids = vec![];
    match cgroupfs::openat_dir(&place.mount, &place.path, true) {
        Ok(dir) => collect(dir, &mut pids).at_with(|| place.shown.display().to_string())?,
        Err(e) if e.errno() == libc::ENOENT => {}
        Err(e) => return Err(e.at(place.shown.display().to_string())),
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect(top: OwnedFd, pids: &mut Vec<i32>) -> Result<()> {
    let mut walk = Walk::begin(top)?;
    loop {
        let text = match read_at(walk.dir(), "cgroup.procs") {
            // A threaded cgroup lists its threads only.
            Err(e) if e.errno() == libc::EOPNOTSUPP => read_at(walk.dir(), "cgroup.threads")?,
            text => text?,
        };
        // 0 is a process of a pid namespace that we do not see.
        let numbers = text.iter().flat_map(|t| t.lines()).filter_map(|l| l.parse::<i32>().ok());
        pids.extend(numbers.filter(|pid| *pid > 0));
        loop {
            match walk.child() {
                Some(name) => {
                    if walk.down(name)? {
                        break;
                    }
                }
                None if walk.up()?.is_some() => {}
                None => return Ok(()),
            }
        }
    }
}

/// Descriptors at a time: callers may run under the usual limit of 1024.
const AT_ONCE: usize = 256;

/// A signal to all that `list` names, ascending, if it still names them once they are held.
pub fn signal_listed(signal: i32, list: impl Fn() -> Result<Vec<i32>>) -> Result<()> {
    for some in list()?.chunks(AT_ONCE) {
        let mut held: Vec<(i32, OwnedFd)> = vec![];
        for &pid in some {
            match pidfd_open(pid) {
                Ok(fd) => held.push((pid, fd)),
                // Gone; or a thread of a threaded cgroup, whose process is listed elsewhere.
                Err(e) if [libc::ESRCH, libc::EINVAL].contains(&e.errno()) => {}
                Err(e) => return Err(e.at(format!("pid {pid}"))),
            }
        }
        let still = list()?;
        for (pid, fd) in held.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
            match pidfd_send_signal(fd, signal) {
                Err(e) if e.errno() == libc::ESRCH => {}
                done => done.at_with(|| format!("pid {pid}"))?,
            }
        }
    }
    Ok(())
}

/// The kernel kills the whole tree at once, newborn children included (v2, since 5.14). False when it
/// has no such file.
pub(super) fn cgroup_kill(place: &Place) -> Result<bool> {
    match place.write("cgroup.kill", "1") {
        Ok(()) => Ok(true),
        // EOPNOTSUPP: a threaded cgroup.
        Err(e) if [libc::ENOENT, libc::EOPNOTSUPP, libc::ENODEV].contains(&e.errno()) => Ok(false),
        Err(e) => Err(e.doing("kill the cgroup")),
    }
}

/// `pid 12 (D), pid 13 (Z)`: who is left and in which state (proc(5)).
pub(super) fn show(pids: &[i32]) -> String {
    let mut shown: Vec<String> =
        pids.iter().take(8).map(|pid| format!("pid {pid} ({})", state_of(*pid))).collect();
    if pids.len() > shown.len() {
        shown.push(format!("{} more", pids.len() - shown.len()));
    }
    shown.join(", ")
}

fn state_of(pid: i32) -> char {
    let stat = read_at(cgroupfs::CWD, &format!("/proc/{pid}/stat")).ok().flatten().unwrap_or_default();
    // The name in parentheses may itself contain anything.
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
}

/// Somebody would not die.
pub(super) fn survivors(pids: &[i32]) -> Error {
    Error::new(format!("processes survive SIGKILL: {}", show(pids)))
        .hint("state D waits for the kernel (disk, NFS, FUSE), state Z for its parent or its other threads")
}
