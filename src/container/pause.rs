//! `pause` and `resume`: all processes of the container stop, and go on.

use super::status::{Status, status};
use crate::cgroup::Manager;
use crate::error::{Doing, Error, Result};
use crate::state::{Entry, Record};

/// Freezes a created or running container. Takes no lock: a command that waits for the frozen container may
/// hold it.
pub fn pause(entry: &Entry, record: &Record) -> Result<()> {
    match status(entry, Some(record))? {
        Status::Created | Status::Running => {}
        Status::Paused => return Err(Error::new("container not running: it is paused already")),
        _ => return Err(Error::new("container not running")),
    }
    Manager::open(&record.cgroup).freeze().doing("pause the container")
}

pub fn resume(entry: &Entry, record: &Record) -> Result<()> {
    if status(entry, Some(record))? != Status::Paused {
        return Err(Error::new("container not paused"));
    }
    Manager::open(&record.cgroup).thaw().doing("resume the container")
}
