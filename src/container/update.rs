//! `update`: new limits for a container that lives. All of them hold afterwards, or the old ones do.

use super::status::{Status, status};
use super::stored;
use crate::cgroup::{self, Manager};
use crate::error::{Doing, Error, Result};
use crate::plan;
use crate::plan::cgroup::keep;
use crate::spec::Part;
use crate::state::{Entry, Record};
use oci_spec::runtime::LinuxResources;

/// Returns warnings. 0 means "leave it", for pids too: engines send it for whatever they do not change. Only a burst and idle
/// of 0 are values.
/// Device rules are never touched: GPU plug-ins and the like change them behind our back.
pub fn update(entry: &Entry, record: &Record, part: &Part<LinuxResources>) -> Result<Vec<String>> {
    match status(entry, Some(record))? {
        Status::Created | Status::Running | Status::Paused => {}
        _ => return Err(Error::new("container not running")),
    }
    if let Some(problems) = Error::joined(crate::spec::validate_resources(&part.value, &part.mended)) {
        return Err(problems);
    }
    let mut resources = part.value.clone();
    keep_bandwidth(record, &mut resources)?;
    keep_memory(entry, record, &mut resources)?;
    let mut warnings = part.warnings.clone();
    let pids = part.mended.pids_limit.filter(|limit| *limit != 0);
    let hugepages = &part.mended.hugepage_limits;
    let update = plan::cgroup::update(&record.cgroup, &resources, pids, hugepages, &mut warnings)?;
    if record.cgroup.hierarchies.is_empty() && !update.writes.is_empty() {
        return Err(Error::new("the container has no cgroup"));
    }
    cgroup::update(&record.cgroup, &update).doing("set the limits")?;
    Ok(warnings)
}

/// cpu.max of v2 holds quota and period in one line, and systemd has the two as one number: whichever is not to be
/// changed is what it is now.
fn keep_bandwidth(record: &Record, resources: &mut LinuxResources) -> Result<()> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let together = record.cgroup.unit.is_some() || record.cgroup.v2_controllers.iter().any(|c| c == "cpu");
    if quota.is_some() == period.is_some() || !together {
        return Ok(());
    }
    if let Some((old_quota, old_period)) = Manager::open(&record.cgroup).cpu_bandwidth()? {
        let mut cpu = cpu.clone();
        cpu.set_quota(quota.or(Some(old_quota)));
        cpu.set_period(period.or(Some(old_period)));
        resources.set_cpu(Some(cpu));
    }
    Ok(())
}

/// What is not to be changed of memory and swap, which v2's files have apart.
fn keep_memory(entry: &Entry, record: &Record, resources: &mut LinuxResources) -> Result<()> {
    if resources.memory().is_none() {
        return Ok(());
    }
    let Some(held) = Manager::open(&record.cgroup).memory_held()? else { return Ok(()) };
    let config = stored::config(entry)?;
    let stored = config.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.set_memory(keep::memory(resources, stored, held));
    Ok(())
}
