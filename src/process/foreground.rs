//! Waiting for a container's process in the foreground: `run` and `exec` without `--detach`. Runs in
//! the runtime, from before the first clone (signals are blocked early, none is lost) to the exit code.
//!
//! Every signal that somebody sends us goes on to the process, all children are reaped (we are the
//! subreaper), and the terminal, when there is one, is relayed by the same poll(2).

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::notify::Notify;
use crate::console::relay::Relay;
use crate::error::{Call, Doing, Error, Result};
use crate::sys::pidfd::{self, pidfd_send_signal};
pub use crate::sys::signal::BlockedSignals;
use crate::sys::signal::set_default;

/// How often a terminal that nobody has open is looked at again.
const RETRY: Duration = Duration::from_millis(100);

/// Blocks all signals and makes waiting for children possible. The mask is inherited: a child must call
/// `sys::process::reset_signals` before execve.
pub fn begin() -> Result<BlockedSignals> {
    // An ignored SIGCHLD, inherited from the caller, would let the kernel reap (wait(2), ECHILD).
    set_default(libc::SIGCHLD)?;
    BlockedSignals::new()
}

/// Processes whose parents die become our children, to be reaped here: without `--no-subreaper`.
pub fn adopt_orphans() -> Result<()> {
    let ourselves = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(ourselves)).call("prctl(PR_SET_CHILD_SUBREAPER)")
}

/// Waits for our child `pid` and returns its exit code, 128 + N after the signal N. What goes wrong beside
/// that (the notification of the host's service manager) becomes a warning.
pub fn wait(
    signals: &BlockedSignals,
    pidfd: BorrowedFd<'_>,
    pid: Pid,
    mut relay: Option<Relay>,
    mut notify: Option<Notify>,
    warnings: &mut Vec<String>,
) -> Result<i32> {
    loop {
        let ready = poll_all(signals, pidfd, relay.as_ref(), notify.as_ref())?;
        if let Some(relay) = &mut relay {
            for end in ready.ends {
                relay.ready(end)?;
            }
        }
        if ready.notify
            && let Some(Err(e)) = notify.as_ref().map(Notify::pass_on_ready)
        {
            warnings.push(e.to_string());
            notify = None;
        }
        if ready.signals {
            pass_on(signals, pidfd, relay.as_mut())?;
        }
        // SIGCHLD may stand for several children and for none of ours, so every round looks.
        if let Some(code) = reap(pid)? {
            if let Some(relay) = relay {
                relay.finish()?;
            }
            return Ok(code);
        }
        if ready.exited {
            return Err(Error::new(format!(
                "process {pid} ended but is not ours to wait for",
                pid = pid.as_raw_pid()
            )));
        }
    }
}

#[derive(Default)]
struct Ready {
    signals: bool,
    exited: bool,
    notify: bool,
    ends: Vec<crate::console::relay::End>,
}

fn poll_all(
    signals: &BlockedSignals,
    pidfd: BorrowedFd<'_>,
    relay: Option<&Relay>,
    notify: Option<&Notify>,
) -> Result<Ready> {
    let watched = relay.map(Relay::watched).unwrap_or_default();
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(watched.iter().map(|(_, fd, events)| PollFd::from_borrowed_fd(*fd, *events)));
    fds.extend(notify.map(|notify| PollFd::from_borrowed_fd(notify.as_fd(), PollFlags::IN)));
    let retry = relay.is_some_and(Relay::wants_retry);
    let exited = pidfd::poll(&mut fds, pidfd, retry.then_some(RETRY))?;
    let mut answers = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut ready = Ready { signals: answers.next() == Some(true), exited, ..Ready::default() };
    for ((end, _, _), _) in watched.iter().zip(&mut answers).filter(|(_, answer)| *answer) {
        ready.ends.push(*end);
    }
    ready.notify = answers.next() == Some(true);
    if retry {
        ready.ends.push(crate::console::relay::End::Master);
    }
    Ok(ready)
}

/// All pending signals: SIGCHLD is ours, SIGWINCH is the terminal's, SIGURG is nobody's (Go's runtimes send
/// it to themselves), and the rest is the container's.
fn pass_on(signals: &BlockedSignals, pidfd: BorrowedFd<'_>, mut relay: Option<&mut Relay>) -> Result<()> {
    let ourselves = rustix::process::getpid().as_raw_pid().unsigned_abs();
    while let Some(signal) = signals.next()? {
        match (signal.number, &mut relay) {
            (libc::SIGCHLD | libc::SIGURG, _) => continue,
            (libc::SIGWINCH, relay) => {
                relay.iter().for_each(|relay| relay.resize());
                continue;
            }
            (libc::SIGCONT, Some(relay)) => relay.resume(),
            // SIGPIPE for our own write to a reader that is gone.
            (libc::SIGPIPE, _) if signal.sender == ourselves => continue,
            _ => {}
        }
        match pidfd_send_signal(pidfd, signal.number) {
            Ok(()) => {}
            Err(e) if e.errno() == libc::ESRCH => {}
            Err(e) => return Err(e.doing(format!("pass on signal {}", signal.number))),
        }
    }
    Ok(())
}

/// Reaps every dead child; the exit code when `pid` is among them.
fn reap(pid: Pid) -> Result<Option<i32>> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((dead, status))) if dead == pid => code = Some(exit_code(status)),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(code),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).call("wait4").doing("wait for children"),
        }
    }
}

/// As shells and all callers expect it: the status, or 128 + the signal.
fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}

#[cfg(test)]
#[path = "foreground_tests.rs"]
mod tests;
