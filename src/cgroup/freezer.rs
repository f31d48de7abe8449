//! Freeze, thaw and their state.
//!
//! v1: freezer.state, which may stay FREEZING as long as new processes slip in, so it is written again
//! and again. v2: cgroup.freeze, with cgroup.events telling when all have stopped. A parent that is
//! frozen does not count as pausing this container, but nothing could start below it.

use super::files::Place;
use super::kill;
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::{Hierarchy, Version};
use crate::sys::cgroupfs;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long all processes may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where it is nobody's wish that they stop.
const MOMENT: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezer {
    Frozen,
    Thawed,
}

/// Refuses a target that belongs to somebody (processes) or that would stop the child at once (frozen).
pub(super) fn check_target(place: &Place, hierarchy: &Hierarchy, known: Option<i32>) -> Result<()> {
    let frozen = match hierarchy.version {
        Version::V2 => {
            let events = place.read("cgroup.events")?.unwrap_or_default();
            events.lines().any(|l| l == "frozen 1")
        }
        Version::V1 if has_freezer(hierarchy) => {
            place.read("freezer.state")?.is_some_and(|state| state != "THAWED")
        }
        Version::V1 => false,
    };
    if frozen {
        return Err(
            Error::new("container's cgroup unexpectedly frozen").at(place.shown.display().to_string())
        );
    }
    if place.is_fresh() {
        return Ok(());
    }
    let found = kill::processes(place)?.iter().filter(|pid| Some(**pid) != known).count();
    if found > 0 {
        return Err(Error::new(format!("container's cgroup is not empty: {found} process(es) found"))
            .at(place.shown.display().to_string()));
    }
    Ok(())
}

pub(super) fn has_freezer(hierarchy: &Hierarchy) -> bool {
    hierarchy.version == Version::V2 || hierarchy.controllers.iter().any(|c| c == "freezer")
}

pub(super) fn state(place: &Place) -> Result<Freezer> {
    let own = match place.version {
        Version::V2 => place.read("cgroup.freeze")?,
        Version::V1 => place.read("freezer.self_freezing")?,
    };
    Ok(if own.as_deref() == Some("1") { Freezer::Frozen } else { Freezer::Thawed })
}

pub(super) fn thaw(place: &Place) -> Result<()> {
    match place.version {
        Version::V2 => place.write("cgroup.freeze", "0"),
        Version::V1 => place.write("freezer.state", "THAWED"),
    }
    .doing("thaw the cgroup")
}

/// A cgroup without a freezer (v2 before 5.2), or none any more.
pub(super) fn is_missing(e: &Error) -> bool {
    [libc::ENOENT, libc::ENODEV].contains(&e.errno())
}

/// Begins to stop all processes and does not wait for it.
pub(super) fn begin(place: &Place) -> Result<()> {
    match place.version {
        Version::V2 => place.write("cgroup.freeze", "1"),
        Version::V1 => place.write("freezer.state", "FROZEN"),
    }
}

/// Stops all processes, those that take longer than a moment excepted.
pub(super) fn hold(place: &Place) -> Result<()> {
    match wait_frozen(place, MOMENT) {
        Err(e) if e.errno() == libc::ETIMEDOUT => Ok(()),
        done => done,
    }
}

fn wait_frozen(place: &Place, patience: Duration) -> Result<()> {
    match place.version {
        Version::V2 => freeze_v2(place, patience),
        Version::V1 => freeze_v1(place, patience),
    }
}

/// Returns when all processes have stopped; when they do not, all run again.
pub(super) fn freeze(place: &Place) -> Result<()> {
    wait_frozen(place, PATIENCE).map_err(|e| {
        let e = e.doing("freeze the cgroup");
        match thaw(place) {
            Ok(()) => e,
            Err(thaw) => e.hint(format!("it could not be thawed either: {thaw}")),
        }
    })
}

fn freeze_v2(place: &Place, patience: Duration) -> Result<()> {
    begin(place)?;
    let deadline = Instant::now() + patience;
    loop {
        // A file of kernfs tells of changes after it was read through this very descriptor.
        let events = place.open_read("cgroup.events")?;
        if String::from_utf8_lossy(&cgroupfs::read(&events)?).lines().any(|l| l == "frozen 1") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(timed_out(place));
        }
        cgroupfs::poll_changed(events.as_fd(), 100)?;
    }
}

fn freeze_v1(place: &Place, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    for round in 1u32.. {
        begin(place)?;
        match place.read("freezer.state")?.as_deref() {
            Some("FROZEN") => return Ok(()),
            Some("FREEZING") => {}
            other => return Err(Error::new(format!("unexpected freezer.state {other:?}"))),
        }
        if Instant::now() >= deadline {
            break;
        }
        if round % 50 == 0 {
            // A process that waits for another one in a way that cannot freeze gets a chance to finish.
            place.write("freezer.state", "THAWED")?;
        }
        sleep(Duration::from_millis(if round < 10 { 1 } else { 10 }));
    }
    Err(timed_out(place))
}

fn timed_out(place: &Place) -> Error {
    Error::sys("write", libc::ETIMEDOUT).at(place.shown.display().to_string())
}
