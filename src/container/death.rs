//! A child of ours died without a word: how, and why as far as can be known. Runs in the runtime.

use crate::cgroup::Manager;
use crate::error::Error;
use crate::plan::cgroup::CgroupRecord;
use crate::sys::clone::Child;
use crate::sys::pidfd::{ended_within, peek};
use crate::sys::process::Ended;
use std::os::fd::AsFd;
use std::time::Duration;

/// `who`: "init" or what else it is to the operator. `at`: how far it had got, e.g. "before Ready".
pub fn explain(child: &Child, cgroup: &CgroupRecord, who: &str, at: &str) -> Error {
    // Its end of the channel closes a moment before the pid can be waited for.
    let pidfd = child.pidfd.as_fd();
    let ended = if ended_within(pidfd, Duration::from_secs(1)) { peek(pidfd) } else { None };
    let oom = Manager::open(cgroup).oom_kills().unwrap_or(0);
    if oom > 0 && ended == Some(Ended::Killed(libc::SIGKILL)) {
        return Error::new(format!("container {who} was OOM-killed (memory limit too low?)"))
            .at("linux.resources.memory.limit");
    }
    match ended {
        Some(Ended::Killed(libc::SIGSYS)) => {
            Error::new(format!("{who} was killed by the seccomp filter {at}")).at("linux.seccomp").hint(
                "the profile forbids a system call that entering the container needs (read, close, execve)",
            )
        }
        Some(Ended::Killed(signal)) => Error::new(format!("{who} was killed by signal {signal} {at}")),
        Some(Ended::Exited(code)) => Error::new(format!("{who} exited with status {code} {at}")),
        None => Error::new(format!("{who} died {at}")),
    }
}

/// Whether the child was killed and its cgroup is gone, with the kernel's count of those killed for memory: systemd takes
/// a scope away when nobody is left in it. For a child with a memory limit.
pub fn took_its_cgroup(child: &Child, cgroup: &CgroupRecord) -> bool {
    let pidfd = child.pidfd.as_fd();
    Manager::open(cgroup).memory_is_gone().unwrap_or(false)
        && ended_within(pidfd, Duration::from_secs(1))
        && peek(pidfd) == Some(Ended::Killed(libc::SIGKILL))
}
