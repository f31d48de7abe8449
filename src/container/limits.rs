//! rlimits and the OOM score of a new process: from outside and late. A small RLIMIT_NOFILE must not break the
//! mounts of init, and the container could not raise them. Runs in the runtime, before the process gives up the
//! equal ids that prlimit(2) asks for.

use crate::error::{Call, Error, Result};
use crate::plan::process::ProcessPlan;
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;

/// `pid`: a child of ours that has not been reaped.
pub fn set_rlimits(pid: i32, process: &ProcessPlan) -> Result<()> {
    let child = rustix::process::Pid::from_raw(pid).ok_or_else(|| Error::new("no process"))?;
    crate::process::rlimits::set(child, &process.rlimits)
}

/// `pid`: ourselves, or a child whose own files the kernel gives us: not, for another user than root, one that hides.
pub fn set_oom_score(pid: i32, value: i32) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()).call("open")?;
    crate::security::oom::set_score_adj(directory.as_fd(), value)
}
