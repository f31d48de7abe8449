//! `start`: opens the gate and reports what happened behind it, up to the workload's execve.
//!
//! Runs in the runtime. One byte into the FIFO releases init; init's descriptor of the FIFO closes at
//! execve, which shows as POLLERR on our end (O_RDWR it must be: a reader alone would see the end-of-file). What failed before that stands in the status page: plain
//! memory, so that no filter can hide it.

use super::hooks::{self, HookState, OCI_VERSION};
use super::last::page_failure;
use super::message::LOOK;
use super::silent::{Image, PATIENCE, Stops, image};
use super::status::{Seen, Status, observe_gate};
use crate::error::{Call, Doing, Error, Result};
use crate::plan::hooks::HookPlan;
use crate::state::{Entry, Record};
use crate::sys::last_stage::read_page;
use crate::sys::pidfd::{self, ended_within};
use rustix::event::{PollFd, PollFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A process that dies lets go of its descriptors a moment before its pid shows the end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// What `start` learns from the copied configuration only when something went wrong.
#[derive(Debug, Default)]
pub struct Words {
    pub argv0: String,
    pub start_container: Vec<HookPlan>,
}

/// Starts a created container. The caller holds the lock. `words` is asked for only after a failure.
pub fn start(entry: &Entry, record: &Record, words: impl Fn() -> Words) -> Result<()> {
    let waiting = must_wait(entry, record)?;
    if !record.has_process {
        return Err(Error::new("process: is missing from config.json, nothing to start"));
    }
    let stopped = || Error::new("cannot start a container that has stopped");
    let Some(Seen { init: pidfd, gate: Some(gate) }) = waiting else { return Err(stopped()) };
    let page = entry.open_page()?;
    let pid = record.init.as_ref().map_or(0, |init| init.pid);
    let start = Start { gate: &gate, pidfd: &pidfd, page: &page, pid, last_stage: image(pid) };
    release(&gate)?;
    if let Err(e) = start.wait_for_exec() {
        // It has not run its program, and nobody is to find it half started.
        let _ = pidfd::pidfd_send_signal(&pidfd, libc::SIGKILL);
        ended_within(pidfd.as_fd(), LAST_MOMENTS);
        return Err(e);
    }
    let outcome = read_page(page.as_fd())?;
    entry.remove_gate()?;
    let words_needed = outcome.failed != 0;
    if words_needed {
        let words = words();
        if let Some(e) = page_failure(&outcome, &words.argv0, &words.start_container) {
            // The failed init is on its way out; a caller that looks at once should see "stopped".
            ended_within(pidfd.as_fd(), LAST_MOMENTS);
            return Err(e);
        }
    }
    // Stage 9 is stored just before execve: less means that init never got there. Its descriptors close a
    // moment before its pid shows the end.
    if outcome.stage < 9 {
        ended_within(pidfd.as_fd(), LAST_MOMENTS);
        return Err(Error::new("container init was killed before it could execute the program"));
    }
    Ok(())
}

/// An error unless init waits at its gate: the two.
pub fn must_wait(entry: &Entry, record: &Record) -> Result<Option<Seen>> {
    let (status, seen) = observe_gate(entry, record)?;
    match status {
        Status::Created => Ok(seen),
        Status::Stopped => Err(Error::new("cannot start a container that has stopped")),
        Status::Running => Err(Error::new("cannot start an already running container")),
        other => Err(Error::new(format!("cannot start a container in the {} state", other.word()))),
    }
}

fn release(gate: &OwnedFd) -> Result<()> {
    match rustix::io::write(gate, b"0") {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::PIPE) => Err(Error::new("cannot start a container that has stopped")),
        Err(e) => Err(Error::sys("write", e.raw_os_error())).doing("open the start gate"),
    }
}

/// A gate that has been opened, and who waited at it.
struct Start<'a> {
    gate: &'a OwnedFd,
    pidfd: &'a OwnedFd,
    page: &'a OwnedFd,
    pid: i32,
    /// What it ran as long as it waited, if that can be known.
    last_stage: Option<Image>,
}

impl Start<'_> {
    /// Until the last reader of the gate is gone: execve happened, or init is dead. startContainer hooks run in this time
    /// and have their own limits. Where others see init they may stop it, or hold a copy of its end of the gate, and read
    /// the byte: after a while it is looked at.
    fn wait_for_exec(&self) -> Result<()> {
        let (mut stops, mut robbed) = (Stops::default(), 0);
        loop {
            let mut polls = vec![PollFd::new(self.gate, PollFlags::empty())];
            let ended = pidfd::poll(&mut polls, self.pidfd.as_fd(), Some(LOOK))?;
            if ended || polls.iter().any(|poll| !poll.revents().is_empty()) || self.has_executed() {
                return Ok(());
            }
            stops.look("init", self.pid, self.pidfd.as_fd())?;
            if self.has_byte()? {
                continue;
            }
            robbed += 1;
            if robbed > PATIENCE {
                return Err(Error::new("init cannot go on: a process of the container reads its start gate"));
            }
            release(self.gate)?;
        }
    }

    fn has_executed(&self) -> bool {
        self.last_stage.is_some() && image(self.pid).is_some_and(|now| Some(now) != self.last_stage)
    }

    /// Init has read it, or will.
    fn has_byte(&self) -> Result<bool> {
        const PASSED: u32 = 8;
        let unread = rustix::io::ioctl_fionread(self.gate).call("ioctl(FIONREAD)")?;
        Ok(unread > 0 || read_page(self.page.as_fd())?.stage >= PASSED)
    }
}

/// A failing poststart hook is an error of start, and the container is stopped (runtime.md, step 9).
pub fn poststart(record: &Record) -> Result<()> {
    if record.poststart.is_empty() {
        return Ok(());
    }
    let state = HookState {
        oci_version: OCI_VERSION,
        id: &record.id,
        status: "running",
        pid: record.init.as_ref().map_or(0, |init| init.pid),
        bundle: &record.bundle,
        annotations: &record.annotations,
    };
    let env: Vec<String> = crate::host::environment();
    let cwd = std::ffi::CString::new(record.bundle.as_os_str().as_encoded_bytes()).ok();
    hooks::run(&record.poststart, &state, &env, cwd.as_deref(), None)
}
