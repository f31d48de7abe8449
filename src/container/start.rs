//! `start`: opens the gate and reports what happened behind it, up to the workload's execve.
//!
//! Runs in the runtime. One byte into the FIFO releases init; init's descriptor of the FIFO closes at
//! execve, which shows as POLLERR on our end. What failed before that stands in the status page: plain
//! memory, so that no filter can hide it.

use super::hooks::{self, HookState, OCI_VERSION};
use super::last::page_failure;
use super::status::{Status, observe};
use crate::error::{Doing, Error, Result};
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
    let pidfd = must_wait(entry, record)?;
    if !record.has_process {
        return Err(Error::new("process: is missing from config.json, nothing to start"));
    }
    let stopped = || Error::new("cannot start a container that has stopped");
    let pidfd = pidfd.ok_or_else(stopped)?;
    let page = entry.open_page()?;
    let gate = entry.open_gate()?.ok_or_else(stopped)?;
    release(&gate)?;
    wait_for_exec(&gate, &pidfd)?;
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

/// An error unless init waits at its gate.
pub fn must_wait(entry: &Entry, record: &Record) -> Result<Option<OwnedFd>> {
    let (status, pidfd) = observe(entry, record)?;
    match status {
        Status::Created => Ok(pidfd),
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

/// Until the last reader of the gate is gone: execve happened, or init is dead. startContainer hooks
/// run in this time and have their own limits.
fn wait_for_exec(gate: &OwnedFd, pidfd: &OwnedFd) -> Result<()> {
    loop {
        let mut polls = vec![PollFd::new(gate, PollFlags::empty())];
        let ended = pidfd::poll(&mut polls, pidfd.as_fd(), None)?;
        if ended || polls.iter().any(|poll| !poll.revents().is_empty()) {
            return Ok(());
        }
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
