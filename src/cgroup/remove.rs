//! Removal of a container's cgroups, children first.
//!
//! The kernel says EBUSY for a moment after the last process died, so a busy directory is tried again
//! with growing pauses, about a second for all hierarchies together. Parents stay: other containers
//! may be on their way into them.

use super::files::{Place, is_no_mount};
use super::kill;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::plan::cgroup::{CgroupRecord, Hierarchy};
use crate::sys::cgroupfs;
use std::thread::sleep;
use std::time::Duration;

/// First pause; doubled ten times at most.
const PAUSE: Duration = Duration::from_millis(1);
const TRIES: u32 = 10;

/// Removes the cgroup of every hierarchy; missing ones are fine. All that cannot go is named.
pub(super) fn remove(record: &CgroupRecord) -> Result<()> {
    let mut errors = vec![];
    let mut pauses = 0;
    for hierarchy in ours(record) {
        let place = match Place::open(hierarchy) {
            Ok(place) => place,
            // The hierarchy is not mounted any more, and its cgroups with it.
            Err(e) if is_no_mount(&e) => continue,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        if let Err(e) = remove_place(&place, record.made, &mut pauses) {
            errors.push(e);
        }
    }
    Error::joined(errors).map_or(Ok(()), |e| Err(e.doing("remove the cgroup")))
}

/// Where the cgroup was made by create. What was there before is not deleted (runtime.md, delete), nor what the
/// payload left in it: it cannot be told from what was there.
pub(super) fn ours(record: &CgroupRecord) -> impl Iterator<Item = &Hierarchy> {
    record.hierarchies.iter().filter(|hierarchy| !record.found.contains(&hierarchy.mount))
}

/// Removes cgroups that nobody is in, without a look inside: the kernel refuses to remove one with processes or
/// children. False at the first that stays.
pub(super) fn remove_deserted(record: &CgroupRecord) -> Result<bool> {
    if !record.found.is_empty() {
        // It stays, so nothing tells whether somebody is in it.
        return Ok(false);
    }
    for hierarchy in &record.hierarchies {
        let place = match Place::open(hierarchy) {
            Ok(place) => place,
            Err(e) if is_no_mount(&e) => continue,
            Err(_) => return Ok(false),
        };
        match cgroupfs::rmdirat(&place.mount, &place.path) {
            Ok(()) => {}
            Err(e) if is_no_cgroup(&e) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Gone or never made, or the path names one of the kernel's own files (`/parent/tasks`), where none can be.
fn is_no_cgroup(e: &Error) -> bool {
    [libc::ENOENT, libc::ENOTDIR].contains(&e.errno())
}

fn remove_place(place: &Place, ours: bool, pauses: &mut u32) -> Result<()> {
    loop {
        let busy = match cgroupfs::rmdirat(&place.mount, &place.path) {
            Ok(()) => return Ok(()),
            Err(e) if e.errno() == libc::EBUSY => e,
            Err(e) if is_no_cgroup(&e) => return Ok(()),
            // On a read-only mount a missing one gives EROFS.
            Err(e) if e.errno() == libc::EROFS && !exists(place) => return Ok(()),
            Err(e) => return Err(e.at(place.shown.display().to_string())),
        };
        if !ours {
            if *pauses >= TRIES {
                // Not marked as ours: whoever is in there is not of this container.
                return Ok(());
            }
        } else if remove_children(place)? {
            continue;
        } else if *pauses >= TRIES {
            let pids = kill::processes(place).unwrap_or_default();
            let e = busy.at(place.shown.display().to_string());
            return Err(if pids.is_empty() { e } else { e.hint(format!("held by {}", kill::show(&pids))) });
        }
        sleep(PAUSE * (1 << *pauses));
        *pauses += 1;
    }
}

pub(super) fn exists(place: &Place) -> bool {
    cgroupfs::openat_dir(&place.mount, &place.path, false).is_ok()
}

/// Removes what the payload made below. True when at least one directory went, so that a try at the top
/// is worth while.
fn remove_children(place: &Place) -> Result<bool> {
    let top = match place.open_dir() {
        Ok(dir) => dir,
        Err(e) if e.errno() == libc::ENOENT => return Ok(true),
        Err(e) => return Err(e),
    };
    let mut removed = false;
    let mut walk = Walk::begin(top)?;
    loop {
        let Some(name) = walk.child() else {
            let Some(name) = walk.up()? else { return Ok(removed) };
            // Its children had their try; if it is still busy, the pause may help.
            removed |= cgroupfs::rmdirat(walk.dir(), name.as_c_str()).is_ok();
            continue;
        };
        match cgroupfs::rmdirat(walk.dir(), name.as_c_str()) {
            Ok(()) => removed = true,
            Err(e) if e.errno() == libc::EBUSY => {
                // False, gone meanwhile: as good as removed.
                walk.down(name)?;
            }
            Err(e) if e.errno() == libc::ENOENT => {}
            Err(e) => return Err(e),
        }
    }
}
