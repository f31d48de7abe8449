//! What state a container is in: always derived, never believed from the record.
//!
//! identity alive (pidfd + pidfd inode or start time + boot id)? → frozen? → gate present and somebody at it?
//! A zombie counts as stopped: its parent may never reap it.

use crate::cgroup::{Freezer, Manager};
use crate::error::Result;
use crate::state::store::no_container;
use crate::state::{Entry, Identity, Record};
use crate::sys::pidfd::{has_ended, pidfd_inode, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A descriptor of init if it still is the process that the record means, and lives.
pub fn living_init(record: &Record) -> Result<Option<OwnedFd>> {
    living(record, record.init.as_ref())
}

/// The same for an init that has not got as far as its gate: nobody's but `delete --force`'s.
pub fn living_or_forming(record: &Record) -> Result<Option<OwnedFd>> {
    living(record, record.init.as_ref().or(record.forming.as_ref()))
}

fn living(record: &Record, identity: Option<&Identity>) -> Result<Option<OwnedFd>> {
    let Some(identity) = identity else { return Ok(None) };
    if record.boot_id != crate::host::boot_id()? {
        return Ok(None);
    }
    let pidfd = match pidfd_open(identity.pid) {
        Ok(pidfd) => pidfd,
        // EINVAL: the number now belongs to a thread of somebody.
        Err(e) if matches!(e.errno(), libc::ESRCH | libc::EINVAL) => return Ok(None),
        Err(e) => return Err(e),
    };
    if has_ended(pidfd.as_fd()) || !is_same(&pidfd, identity)? {
        return Ok(None);
    }
    Ok(Some(pidfd))
}

/// The pidfd is open now, so the number cannot change hands between this check and its use.
fn is_same(pidfd: &OwnedFd, identity: &Identity) -> Result<bool> {
    let inode = pidfd_inode(pidfd.as_fd());
    if inode != 0 && identity.pidfd_inode != 0 {
        return Ok(inode == identity.pidfd_inode);
    }
    Ok(crate::host::process_stat(identity.pid)?.is_some_and(|stat| stat.start_time == identity.start_time))
}

pub fn status(entry: &Entry, record: Option<&Record>) -> Result<Status> {
    record.map_or(Ok(Status::Creating), |record| Ok(observe(entry, record)?.0))
}

/// The status, with the descriptor of init that it was seen by.
pub fn observe(entry: &Entry, record: &Record) -> Result<(Status, Option<OwnedFd>)> {
    let (status, seen) = observe_gate(entry, record)?;
    Ok((status, seen.map(|seen| seen.init)))
}

/// A living init, and the gate if it waits there.
#[derive(Debug)]
pub struct Seen {
    pub init: OwnedFd,
    pub gate: Option<OwnedFd>,
}

/// The same with the gate.
pub fn observe_gate(entry: &Entry, record: &Record) -> Result<(Status, Option<Seen>)> {
    if record.init.is_none() {
        return Ok((Status::Creating, None));
    }
    let Some(init) = living_init(record)? else { return Ok((Status::Stopped, None)) };
    // A created container can be paused, too: who asks wants to know that nothing in it runs, and resume leads back.
    let gate = entry.open_gate()?;
    let status = match Manager::open(&record.cgroup).state()? {
        Freezer::Frozen => Status::Paused,
        _ if gate.is_some() => Status::Created,
        _ => Status::Running,
    };
    Ok((status, Some(Seen { init, gate })))
}

/// The record of an entry that has got beyond its claim; a container still being created does not exist
/// for commands that act on one.
pub fn record(entry: &Entry) -> Result<Record> {
    entry.load()?.ok_or_else(no_container)
}
