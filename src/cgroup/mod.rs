//! Control groups: executors of the plan (directories, entry, limits, devices, freeze, kill, removal).
//!
//! In the runtime, except [`Cgroups::enter_self`], which the child calls first of all. [`create`] (P2)
//! makes the cgroups and opens what the child needs to enter, [`Cgroups::apply`] (P6) sets limits and
//! device rules. Later commands have only the record and work through [`Manager`]. Nothing here asks
//! what the configuration says.

mod dbus;
mod devices;
mod files;
mod freezer;
mod join;
mod kill;
mod manager;
mod old_value;
mod remove;
pub mod stats;
mod systemd;
mod v1;
mod v2;
mod walk;
pub mod watch;

pub use freezer::Freezer;
pub use join::Joining;
pub use kill::signal_listed;
pub use manager::{Manager, update};

use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::attach::AttachPlan;
use crate::plan::cgroup::{CgroupPlan, CgroupRecord, CgroupWrite, Driver, Layout, Version};
use crate::sys::cgroupfs;
use files::Place;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use systemd::Sleeper;

const ROOTLESS: &str = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

/// The cgroups of a container that is being created, with all descriptors that entry and limits need.
#[derive(Debug)]
pub struct Cgroups {
    /// One per hierarchy of the plan; None where a hierarchy is left out (rootless, or its mount is gone).
    places: Vec<Option<Place>>,
    /// For the child, opened here: the kernel checks the opener's rights.
    entries: Vec<OwnedFd>,
    /// On a v2 host the directory for CLONE_INTO_CGROUP.
    leaf: Option<OwnedFd>,
    /// The v2 cgroup, and whom to ask when the kernel lets no child of ours in.
    attach: Option<(String, AttachPlan)>,
    record: CgroupRecord,
    /// What was made otherwise than asked for.
    pub warnings: Vec<String>,
    /// Keeps a new scope of systemd open until init is in it.
    sleeper: Option<Sleeper>,
}

/// Makes the container's cgroups (P2). The plan's record must have been saved. A target that already
/// has processes or is frozen is refused; an empty one is used and outlives the container; on any failure what was
/// made is removed again, but for a unit: that is [`Manager::remove`]'s, by `intent`, the record so far.
pub fn create(plan: &CgroupPlan, intent: &mut CgroupRecord) -> Result<Cgroups> {
    let record = plan.record();
    let (places, entries, warnings) = (vec![], vec![], vec![]);
    let mut cgroups = Cgroups { places, entries, leaf: None, attach: None, record, warnings, sleeper: None };
    if plan.driver == Driver::Disabled {
        return Ok(cgroups);
    }
    cgroups.sleeper = plan.unit.as_ref().map(systemd::start).transpose().map_err(|undone| {
        if !undone.is_told {
            // A manager that does not answer is not asked for long to stop what it was never told to start.
            (intent.unit, intent.hierarchies) = (None, vec![]);
        }
        *undone.error
    })?;
    match cgroups.make(plan) {
        Ok(()) => {
            cgroups.record.made = true;
            Ok(cgroups)
        }
        Err(e) => {
            for place in cgroups.places.iter().flatten() {
                place.undo();
            }
            // The unit goes with the container's record (`Manager::remove`), if it is ours.
            cgroups.sleeper = None;
            Err(e.doing("make the cgroup"))
        }
    }
}

impl Cgroups {
    fn make(&mut self, plan: &CgroupPlan) -> Result<()> {
        for (i, hierarchy) in plan.hierarchies.iter().enumerate() {
            let has_work = plan.writes.iter().chain(&plan.before_entry).any(|w| w.hierarchy == i)
                || plan.devices.as_ref().is_some_and(|d| d.hierarchy == i && !d.optional);
            match self.make_one(plan, i) {
                Ok(()) => {}
                Err(e) if files::is_refusal(&e) && plan.may_skip && !has_work => self.leave_out(i),
                Err(e) if files::is_refusal(&e) && plan.rootless => return Err(e.hint(ROOTLESS)),
                // A v1 hierarchy that went away since mountinfo was read, or is hidden: nothing asks for it.
                Err(e) if files::is_no_mount(&e) && hierarchy.version == Version::V1 && !has_work => {
                    self.leave_out(i);
                }
                Err(e) => return Err(e),
            }
        }
        files::apply(&self.places, &plan.before_entry)?;
        for (place, hierarchy) in self.places.iter().zip(&plan.hierarchies) {
            // A unit's cgroups are there before us, and go with the unit.
            if plan.unit.is_none() && place.as_ref().is_some_and(|place| !place.is_fresh()) {
                self.record.found.push(hierarchy.mount.clone());
            }
        }
        // What was left out may be a stranger's of the same name: it is not to be killed or removed.
        let mut used = self.places.iter().map(Option::is_some);
        self.record.hierarchies.retain(|_| used.next().unwrap_or(false));
        Ok(())
    }

    fn make_one(&mut self, plan: &CgroupPlan, at: usize) -> Result<()> {
        let hierarchy = &plan.hierarchies[at];
        // Kept before it is checked, so that a failure removes it.
        self.places.push(Some(Place::make(hierarchy)?));
        let Some(Some(place)) = self.places.last() else { return Ok(()) };
        if hierarchy.version == Version::V2 {
            self.warnings.extend(v2::prepare(place, plan)?);
        }
        if plan.cpuset_copy == Some(at) {
            v1::copy_cpuset(place)?;
        }
        freezer::check_target(place, hierarchy, self.sleeper.as_ref().map(Sleeper::pid))?;
        if plan.layout == Layout::V2 {
            self.leaf = Some(place.open_dir()?);
            self.attach = plan.attach.clone().map(|attach| (place.path.clone(), attach));
        }
        self.entries.push(place.open_write(entry_file(hierarchy.version))?);
        Ok(())
    }

    /// Puts nothing in the place of a hierarchy, and removes what its failed try made.
    fn leave_out(&mut self, at: usize) {
        self.places.drain(at..).flatten().for_each(|place| place.undo());
        self.places.push(None);
        self.leaf = None;
        self.attach = None;
    }

    /// The record to save before the first child: from then on these cgroups are ours.
    pub fn record(&self) -> &CgroupRecord {
        &self.record
    }

    /// The directory for clone3's CLONE_INTO_CGROUP. A child so born is in all its cgroups; without it
    /// (v1, hybrid, or a kernel before 5.7) the child must call [`Cgroups::enter_self`].
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.leaf.as_ref().map(AsFd::as_fd)
    }

    /// Whether a child that clone3 refused to put there may be brought in by [`Cgroups::attach`].
    pub fn can_attach(&self, refused: &Error) -> bool {
        refused.errno() == libc::EACCES && self.attach.is_some()
    }

    /// Has systemd move a child that was born outside, and that has done nothing yet.
    pub fn attach(&self, pid: i32) -> Result<()> {
        match &self.attach {
            Some((path, plan)) => systemd::attach(plan, path, pid),
            None => Err(Error::new("nobody to ask for an entry into the cgroup")),
        }
    }

    /// Moves the calling process, which must have one thread, into all cgroups. To be done before
    /// anything else in the child, so that no process of the container ever runs outside of them.
    pub fn enter_self(&self) -> Result<()> {
        self.entries.iter().try_for_each(|file| cgroupfs::write(file, b"0").doing("enter the cgroup"))
    }

    /// Sets the limits that must hold before init copies (P5); for the plan's sake [`Cgroups::apply`] repeats them in order.
    pub fn limit_copies(&self, plan: &CgroupPlan) -> Result<()> {
        if plan.before_copies.is_empty() {
            return Ok(());
        }
        // An update's rule that an impossible limit is refused instead of killing holds before the copies, too.
        if let Some(check) = &plan.memory_check {
            files::check_memory(&self.places, check)?;
        }
        self.write(plan, &plan.before_copies)
    }

    /// Sets limits and device rules (P6): after the forks of the start, before the prestart hooks.
    pub fn apply(&mut self, plan: &CgroupPlan) -> Result<()> {
        // Init is in the scope by now.
        self.sleeper = None;
        if let Some(check) = &plan.memory_check {
            files::check_memory(&self.places, check)?;
        }
        if let Some(unit) = &plan.unit {
            let limits = manager::precise(&plan.record(), &self.places, &unit.limits, &plan.writes);
            systemd::set_properties(&unit.unit, &limits).map_err(|undone| *undone.error)?;
        }
        self.write(plan, &plan.writes)?;
        match &plan.devices {
            Some(devices) => match devices::apply(&self.places, devices) {
                // Refused, or a kernel or an outer profile without such programs: nothing that could be expected to work.
                Err(_) if devices.optional => Ok(()),
                done => done,
            },
            None => Ok(()),
        }
    }

    fn write(&self, plan: &CgroupPlan, writes: &[CgroupWrite]) -> Result<()> {
        files::apply(&self.places, writes)
            .map_err(|e| if plan.rootless && files::is_refusal(&e) { e.hint(ROOTLESS) } else { e })
    }
}

/// v1 moves the one thread that asks, and is done sooner; v2 moves processes.
fn entry_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "tasks",
        Version::V2 => "cgroup.procs",
    }
}

/// What a place that was left out means to somebody who needs it.
fn absent(field: &str) -> Error {
    Error::field(field, "cannot be set: the container has no cgroup there")
}
