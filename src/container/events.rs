//! `events`: statistics at intervals and out-of-memory kills as they happen, until no process is left.

use super::status::{Status, living_init, status};
use crate::cgroup::Manager;
use crate::cgroup::stats::{self, Stats};
use crate::cgroup::watch::Watch;
use crate::error::{Call, Error, Result};
use crate::state::{Entry, Record};
use crate::sys::pidfd;
use rustix::event::{PollFd, Timespec, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub enum Event {
    Stats(Box<Stats>),
    Oom,
}

/// The statistics of this moment.
pub fn stats(entry: &Entry, record: &Record) -> Result<Stats> {
    must_live(entry, record)?;
    stats::read(&record.cgroup)
}

fn must_live(entry: &Entry, record: &Record) -> Result<()> {
    match status(entry, Some(record))? {
        Status::Stopped | Status::Creating => Err(Error::new("container not running")),
        _ => Ok(()),
    }
}

/// Calls `tell` for every event; false from it (nobody listens any more) is an end, too.
pub fn follow(
    entry: &Entry,
    record: &Record,
    interval: Duration,
    mut tell: impl FnMut(Event) -> Result<bool>,
) -> Result<()> {
    must_live(entry, record)?;
    let mut watch = Watch::new(&record.cgroup)?;
    let mut init = living_init(record)?;
    let mut next = Instant::now() + interval;
    loop {
        let mut fds = Vec::with_capacity(3);
        fds.extend(watch.iter().flat_map(Watch::watched));
        let left = next.saturating_duration_since(Instant::now());
        let died = match &init {
            Some(init) => pidfd::poll(&mut fds, init.as_fd(), Some(left))?,
            None => wait(&mut fds, left).map(|()| false)?,
        };
        // The kernel rings for memory.events some milliseconds late, and init's death may be seen first.
        let rang = fds.iter().any(|fd| !fd.revents().is_empty());
        if let Some(watch) = watch.as_mut().filter(|watch| rang || died && watch.counts()) {
            let happened = watch.look()?;
            if happened.oom && !tell(Event::Oom)? {
                return Ok(());
            }
            if happened.over {
                return Ok(());
            }
        }
        if died {
            init = None;
        }
        let due = Instant::now() >= next;
        // Without init others may live on, where the container has no pid namespace of its own.
        if init.is_none() && (died || due) && Manager::open(&record.cgroup).processes()?.is_empty() {
            return Ok(());
        }
        if due {
            next = Instant::now() + interval;
            if !tell(Event::Stats(Box::new(stats::read(&record.cgroup)?)))? {
                return Ok(());
            }
        }
    }
}

fn wait(fds: &mut [PollFd<'_>], time: Duration) -> Result<()> {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e).call("poll"),
    }
}
