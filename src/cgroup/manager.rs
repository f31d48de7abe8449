//! The cgroups of an existing container, from its record alone.
//!
//! In the runtime of every later command. Opening costs nothing: each verb opens the hierarchies it
//! needs, and one that is gone (a reboot, an unmount, a removed cgroup) counts as empty.

use super::files::{self, Place, is_no_mount};
use super::freezer::{self, Freezer};
use super::systemd::{self, Undone};
use super::{kill, old_value, remove};
use crate::error::{Error, Result};
use crate::plan::cgroup::keep::Held;
use crate::plan::cgroup::unit::Property;
use crate::plan::cgroup::{self as plan, CgroupRecord, CgroupWrite, Hierarchy, Update, Version};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// v1 hierarchies in which to look for a container's processes, best first.
const TELLING: [&str; 4] = ["freezer", "devices", "pids", "memory"];

/// v1 writes the largest multiple of a page for "no limit".
const UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

pub struct Manager<'r> {
    record: &'r CgroupRecord,
}

impl<'r> Manager<'r> {
    pub fn open(record: &'r CgroupRecord) -> Self {
        Self { record }
    }

    /// Ids of all processes in the container's cgroup and below it.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let v2 = self.record.hierarchies.iter().filter(|h| h.version == Version::V2);
        let telling = TELLING.iter().filter_map(|c| self.with_controller(c));
        for hierarchy in v2.chain(telling).chain(&self.record.hierarchies) {
            if let Some(place) = open(hierarchy)? {
                return kill::processes(&place);
            }
        }
        Ok(vec![])
    }

    /// Kills every process of the container and waits until all are gone, 10 s at most. Works on a
    /// frozen container and leaves it thawed. Without a made cgroup there is nobody to kill.
    pub fn kill_all(&self) -> Result<()> {
        if !self.record.made {
            return Ok(());
        }
        let places = self.places()?;
        let list = || all_processes(&places);
        let killed = self.kill_until_gone(&places, list);
        // Frozen v1 processes die only when they are thawed, so also after a failure.
        let thawed = match self.freezer_place()? {
            Some(place) => passed_over(freezer::thaw(&place)),
            None => Ok(()),
        };
        killed.and(thawed)
    }

    fn kill_until_gone(&self, places: &[Place], list: impl Fn() -> Result<Vec<i32>>) -> Result<()> {
        // Before anything is listed: the payload decides how long that takes.
        let mut at_once = false;
        for place in places.iter().filter(|p| p.version == Version::V2) {
            at_once = kill::cgroup_kill(place)?;
        }
        let mut left = list()?;
        if left.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(500);
        let mut round = 0;
        loop {
            let freezer = self.freezer_place()?;
            // What the kernel kills at once has nobody who could fork away.
            let holds = |place: &Place| round > 0 && !(at_once && place.version == Version::V2);
            kill_frozen(&list, freezer.as_ref(), freezer.as_ref().is_some_and(holds))?;
            sleep(pause);
            left = list()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(kill::survivors(&left));
            }
            pause = (pause * 2).min(Duration::from_millis(50));
            round += 1;
        }
    }

    /// Has `act` go through a list of the container's processes of which nobody forks away. Those who do not stop in a
    /// moment are not waited for; a paused container stays paused.
    pub fn while_frozen<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(place) = self.freezer_place()? else { return act() };
        // Nobody could thaw us.
        let is_ours = self.processes()?.contains(&(std::process::id() as i32));
        if is_ours || freezer::state(&place)? == Freezer::Frozen {
            return act();
        }
        // As with the other runtimes: what cannot be frozen is signalled all the same.
        let _ = freezer::hold(&place);
        let done = act();
        passed_over(freezer::thaw(&place)).and(done)
    }

    /// Stops all processes of the container; an error leaves them running.
    pub fn freeze(&self) -> Result<()> {
        freezer::freeze(&self.needed_freezer()?)
    }

    pub fn thaw(&self) -> Result<()> {
        freezer::thaw(&self.needed_freezer()?)
    }

    /// Without a freezer, or without the cgroup, nothing is ever frozen.
    pub fn state(&self) -> Result<Freezer> {
        self.freezer_place()?.map_or(Ok(Freezer::Thawed), |place| freezer::state(&place))
    }

    /// Removes the cgroups with all children; missing ones are fine. Processes must be gone: an error
    /// names those that hold it. Returns a warning where systemd would not take its part in it and all are gone
    /// nevertheless: a unit without a cgroup holds nothing, and its id must be free.
    pub fn remove(&self) -> Result<Option<String>> {
        let stopped = match &self.record.unit {
            Some(unit) if self.record.made => systemd::stop(unit),
            Some(unit) if self.is_deserted()? => systemd::stop_in(unit, &self.control_groups()),
            _ => Ok(()),
        };
        match (stopped, remove::remove(self.record)) {
            (Ok(()), removed) => removed.map(|()| None),
            (Err(e), Ok(())) if !self.is_there()? => Ok(Some(e.to_string())),
            (Err(e), Ok(())) => Err(e),
            (Err(e), Err(left)) => Err(Error::joined(vec![e, left]).unwrap_or_default()),
        }
    }

    fn is_there(&self) -> Result<bool> {
        Ok(self.places()?.iter().any(remove::exists))
    }

    /// The unit's cgroup as systemd names it: one path on v2, that of its own hierarchy on v1.
    fn control_groups(&self) -> Vec<&str> {
        let is_systemds = |h: &&Hierarchy| {
            h.version == Version::V2 || h.controllers.iter().any(|name| name == "name=systemd")
        };
        self.record.hierarchies.iter().filter(is_systemds).map(|h| h.path.as_str()).collect()
    }

    /// Before the cgroups are marked as made, a unit of the recorded name may be a stranger's: then it has
    /// processes, or is elsewhere. Ours has a sleeper at most, which is dying. On v1 systemd keeps them in its own
    /// hierarchy, and in others only where a limit asks for it.
    fn is_deserted(&self) -> Result<bool> {
        Ok(all_staying(&self.places()?)?.is_empty())
    }

    /// For a container whose own processes have all ended: an error names those of others in the cgroups that would be
    /// removed.
    pub fn check_deserted(&self) -> Result<()> {
        let places =
            remove::ours(self.record).filter_map(|h| open(h).transpose()).collect::<Result<Vec<_>>>()?;
        let strangers = all_staying(&places)?;
        if strangers.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("in its cgroup are processes of somebody else: {}", kill::show(&strangers)))
            .hint("another container with the same cgroupsPath? delete --force kills them"))
    }

    /// The short way for a container whose processes have ended: true when all cgroups are gone. False says
    /// nothing about why; [`Manager::kill_all`] and [`Manager::remove`] do then.
    pub fn remove_deserted(&self) -> Result<bool> {
        if self.record.unit.is_some() {
            // systemd's own: it is asked first.
            return Ok(false);
        }
        remove::remove_deserted(self.record)
    }

    /// Processes that the kernel killed for want of memory; 0 without a memory controller.
    pub fn oom_kills(&self) -> Result<u64> {
        let Some(place) = self.controller_place("memory")? else { return Ok(0) };
        let file = if place.version == Version::V1 { "memory.oom_control" } else { "memory.events" };
        let text = place.read(file)?.unwrap_or_default();
        Ok(text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0))
    }

    /// Whether the cgroup that counted memory has been removed.
    pub fn memory_is_gone(&self) -> Result<bool> {
        Ok(self.controller_place("memory")?.is_some_and(|place| !remove::exists(&place)))
    }

    /// The memory limit in bytes; None when there is none.
    pub fn memory_limit(&self) -> Result<Option<u64>> {
        let Some(place) = self.controller_place("memory")? else { return Ok(None) };
        let file = if place.version == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
        let limit = place.read(file)?.and_then(|text| text.parse().ok());
        Ok(limit.filter(|bytes| *bytes < UNLIMITED))
    }

    /// What the files have of memory and swap; None where they are not those of v2.
    pub fn memory_held(&self) -> Result<Option<Held>> {
        let place = self.controller_place("memory")?.filter(|place| place.version == Version::V2);
        let Some(place) = place else { return Ok(None) };
        // `max` is no number.
        let [limit, swap] = ["memory.max", "memory.swap.max"].map(|file| place.read(file));
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        Ok(Some(Held { limit: number(limit?), swap: number(swap?) }))
    }

    /// Quota (-1 for none) and period in microseconds, as the kernel has them; None without a cpu controller.
    pub fn cpu_bandwidth(&self) -> Result<Option<(i64, u64)>> {
        let Some(place) = self.controller_place("cpu")? else { return Ok(None) };
        let text = match place.version {
            Version::V2 => place.read("cpu.max")?.unwrap_or_default(),
            Version::V1 => {
                let [quota, period] = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| place.read(file));
                format!("{} {}", quota?.unwrap_or_default(), period?.unwrap_or_default())
            }
        };
        let Some((quota, period)) = text.split_once(' ') else { return Ok(None) };
        let quota = if quota == "max" { Some(-1) } else { quota.parse().ok() };
        Ok(quota.zip(period.parse().ok()))
    }

    fn with_controller(&self, controller: &str) -> Option<&'r Hierarchy> {
        self.record.hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == controller))
    }

    /// On a hybrid host the v1 freezer, which callers expect there; the v2 one needs no controller.
    fn freezer_place(&self) -> Result<Option<Place>> {
        let v2 = || self.record.hierarchies.iter().find(|h| h.version == Version::V2);
        self.with_controller("freezer").or_else(v2).map_or(Ok(None), open)
    }

    fn needed_freezer(&self) -> Result<Place> {
        self.freezer_place()?.ok_or_else(|| Error::new("the container has no freezer cgroup"))
    }

    /// Where the controller is: a hierarchy of its own on v1, else the tree of v2.
    fn controller_place(&self, controller: &str) -> Result<Option<Place>> {
        let v2 = || {
            let has = self.record.v2_controllers.iter().any(|c| c == controller);
            self.record.hierarchies.iter().find(|h| has && h.version == Version::V2)
        };
        self.with_controller(controller).or_else(v2).map_or(Ok(None), open)
    }

    fn places(&self) -> Result<Vec<Place>> {
        self.record.hierarchies.iter().filter_map(|h| open(h).transpose()).collect()
    }
}

/// Stops all, so that nobody forks away from the list, kills them and lets them go to die. A cgroup
/// that will not freeze is killed as it is; the next round gets those who slipped through.
fn kill_frozen(list: impl Fn() -> Result<Vec<i32>>, freezer: Option<&Place>, holds: bool) -> Result<()> {
    if let Some(place) = freezer.filter(|_| holds) {
        // Not waited for: what matters is that nobody new can start.
        passed_over(freezer::begin(place))?;
    }
    let killed = kill::signal_listed(libc::SIGKILL, list);
    if let Some(place) = freezer {
        passed_over(freezer::thaw(place))?;
    }
    killed
}

/// Where there is no freezer nothing is frozen.
fn passed_over(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if freezer::is_missing(&e) => Ok(()),
        done => done,
    }
}

/// None when the hierarchy is not mounted any more.
fn open(hierarchy: &Hierarchy) -> Result<Option<Place>> {
    match Place::open(hierarchy) {
        Ok(place) => Ok(Some(place)),
        Err(e) if is_no_mount(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Of all hierarchies: a payload with writable cgroups can leave some of them, never all.
fn all_processes(places: &[Place]) -> Result<Vec<i32>> {
    let mut pids = vec![];
    for place in places {
        pids.append(&mut kill::processes(place)?);
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// The same without those that are about to end.
fn all_staying(places: &[Place]) -> Result<Vec<i32>> {
    for _ in 0..20 {
        if all_processes(places)?.is_empty() {
            return Ok(vec![]);
        }
        sleep(Duration::from_millis(10));
    }
    all_processes(places)
}

/// Carries out an update. When it fails, the files already written get their old values back, so that the
/// container keeps the limits it had.
pub fn update(record: &CgroupRecord, update: &Update) -> Result<()> {
    let Update { memory_check, writes, properties } = update;
    let mut places = vec![];
    for (i, hierarchy) in record.hierarchies.iter().enumerate() {
        let used = writes.iter().any(|w| w.hierarchy == i)
            || memory_check.as_ref().is_some_and(|c| c.hierarchy == i);
        places.push(if used { open(hierarchy)? } else { None });
    }
    if let Some(check) = memory_check {
        files::check_memory(&places, check)?;
    }
    let old: Vec<CgroupWrite> = writes.iter().filter_map(|w| old_value::of(&places, w)).collect();
    let tell = |properties: &[Property]| {
        record.unit.as_ref().map_or(Ok(()), |unit| {
            let kept = unsaid(&places);
            systemd::set_properties(unit, properties)?;
            put_back(&kept).map_err(|error| Undone { error: Box::new(error), is_told: true })
        })
    };
    let told = tell(&precise(record, &places, properties, writes));
    // An answer that did not come in time may be on its way: systemd does what it has been told.
    let is_told = told.as_ref().err().is_none_or(|undone| undone.is_told);
    told.map_err(|undone| *undone.error).and_then(|()| files::apply(&places, writes)).map_err(|e| {
        // Systemd first: it writes what it is told.
        let again = || tell(&plan::properties(record, &old)).err().map(|undone| *undone.error);
        let untold = if is_told { again() } else { None };
        let left: Vec<Error> = untold.into_iter().chain(files::restore(&places, &old)).collect();
        match Error::joined(left) {
            None => e,
            Some(left) => e.hint(format!("the old limits did not all come back: {left}")),
        }
    })
}

/// Properties as planned, then those that depend on which file there is: the last one counts.
pub(super) fn precise(
    record: &CgroupRecord,
    places: &[Option<Place>],
    planned: &[Property],
    writes: &[CgroupWrite],
) -> Vec<Property> {
    let mut properties = planned.to_vec();
    properties.append(&mut plan::properties(record, &files::settled(places, writes)));
    properties
}

fn put_back(kept: &[(&Place, &str, String)]) -> Result<()> {
    kept.iter().try_for_each(|(place, file, value)| match place.read(file)? {
        Some(now) if now != *value => place.write(file, value),
        _ => Ok(()),
    })
}

/// What systemd writes with the limits of memory and cannot always be told. Before version 253 it has no word of the first
/// for a scope: it would be 0. The second, which it knows since 256, is 1 for all that somebody else has not told it.
fn unsaid(places: &[Option<Place>]) -> Vec<(&Place, &'static str, String)> {
    let v2 = places.iter().flatten().filter(|place| place.version == Version::V2);
    let files = v2.flat_map(|place| ["memory.oom.group", "memory.zswap.writeback"].map(|file| (place, file)));
    files.filter_map(|(place, file)| Some((place, file, place.read(file).ok().flatten()?))).collect()
}
