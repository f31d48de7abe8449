//! Plan of the control groups: where the container's cgroups lie, what is written into them and when.
//!
//! PURE: [`plan`] turns the configuration and [`facts::CgroupFacts`] into a [`CgroupPlan`]; the
//! executors in `crate::cgroup` carry it out and decide nothing but what a system call answered.
//! Each controller is used where the host has it mounted, so a hybrid host may have memory on v1 and
//! hugetlb on v2. [`CgroupPlan::record`] is known before the first effect and is enough to clean up.

pub mod attach;
pub mod convert;
pub mod device_program;
pub mod device_rules;
pub mod facts;
pub mod keep;
mod limits;
mod path;
pub mod unit;
mod unit_limits;
mod v1;
mod v2;
pub mod value;

use crate::error::{Error, Result};
use attach::AttachPlan;
use device_rules::DevicePlan;
use facts::{Asker, CgroupFacts};
pub use facts::{Layout, Version};
use limits::Limits;
use oci_spec::runtime::{LinuxDevice, LinuxResources};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use unit::{Property, Unit, UnitPlan};

/// Controllers of v2 that serve threaded cgroups too (cgroups(7)); all others want a domain.
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// Who makes the cgroup (`--systemd-cgroup`, `--cgroup-manager`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Driver {
    #[default]
    Cgroupfs,
    Systemd,
    /// Cgroups are never touched.
    Disabled,
}

/// What `create` wants, taken from the configuration and the command line.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub id: &'a str,
    /// linux.cgroupsPath.
    pub cgroups_path: Option<&'a str>,
    pub driver: Driver,
    pub resources: Option<&'a LinuxResources>,
    /// linux.resources.pids.limit as the raw JSON has it: None = absent, for 0 is a real limit.
    pub pids_limit: Option<i64>,
    /// Page size and bytes; the limit is unsigned in the JSON.
    pub hugepage_limits: &'a [(String, u64)],
    /// linux.devices; they grant nothing by themselves.
    pub devices: &'a [LinuxDevice],
    /// The container gets a cgroup namespace of its own.
    pub cgroupns: bool,
    pub rootless: bool,
    /// We are in a user namespace ourselves, whose root the kernel lets load no device rules.
    pub in_user_namespace: bool,
    /// Host uids of process.user.uid and of the container's root, when a writable `cgroup` mount hands the tree to the
    /// payload (v2).
    pub delegates: &'a [u32],
    pub asker: Option<&'a Asker>,
    /// Name and value, for properties of the unit.
    pub annotations: Option<&'a HashMap<String, String>>,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// `cpu`, `name=systemd`, …; empty = cgroup2.
    pub controllers: Vec<String>,
    pub version: Version,
    /// Mount point on the host.
    pub mount: PathBuf,
    /// The container's cgroup below it, begins with `/`.
    pub path: String,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Need {
    Required,
    /// The value asks for nothing (no limit at all) or has a companion: a missing file is passed over.
    IfPresent,
}

/// One write into a cgroup file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupWrite {
    /// Index into [`CgroupPlan::hierarchies`].
    pub hierarchy: usize,
    pub file: Cow<'static, str>,
    pub value: String,
    /// JSON path of the field that asked for it.
    pub field: Cow<'static, str>,
    pub need: Need,
    /// Tried when `file` does not exist: another name of the same knob, in its own scale.
    pub instead: Option<(Cow<'static, str>, String)>,
    /// EINVAL may only mean that a later write must come first (limit above memsw, burst above quota):
    /// such a write is repeated once after all others.
    pub repeat: bool,
}

/// memory.checkBeforeUpdate on v2, whose kernel would rather kill than refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryCheck {
    pub hierarchy: usize,
    /// Bytes that memory.current must be below.
    pub limit: u64,
}

/// Everything the executors need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CgroupPlan {
    pub driver: Driver,
    pub layout: Layout,
    pub hierarchies: Vec<Hierarchy>,
    /// v2 controllers to hand down by cgroup.subtree_control: all of the tree on a v2 host, on a hybrid
    /// one only those that a limit needs (the tree belongs to the host's init).
    pub enable: Vec<String>,
    /// Those of `enable` that a limit needs.
    pub limited: Vec<String>,
    /// v2 controllers the host offers, for later updates.
    pub v2_controllers: Vec<String>,
    /// A limit needs a domain controller: a threaded cgroup would not do.
    pub domain: bool,
    /// The v1 cpuset hierarchy, whose new cgroups are unusable until cpus and mems are copied from above.
    pub cpuset_copy: Option<usize>,
    /// Written before the first process enters (realtime budgets).
    pub before_entry: Vec<CgroupWrite>,
    pub memory_check: Option<MemoryCheck>,
    /// Those of `writes` that are made once more, before init: it copies from the image into memory (tmpcopyup), as much
    /// as there is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_copies: Vec<CgroupWrite>,
    /// The limits, in order.
    pub writes: Vec<CgroupWrite>,
    pub devices: Option<DevicePlan>,
    /// Host uids, of which the first that can be had gets the directory and the delegatable files (v2).
    pub delegate: Vec<u32>,
    /// Rootless without a path: a hierarchy that may not be written and has no limit is left out.
    pub may_skip: bool,
    pub rootless: bool,
    /// The systemd driver's unit.
    pub unit: Option<UnitPlan>,
    /// How a process gets in when the kernel refuses it.
    pub attach: Option<AttachPlan>,
}

/// What is kept of a container's cgroups: enough to freeze, kill and remove without the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupRecord {
    pub driver: Driver,
    pub layout: Layout,
    pub hierarchies: Vec<Hierarchy>,
    #[serde(default)]
    pub v2_controllers: Vec<String>,
    /// False until the cgroups were made by us: before that whatever is found there is a stranger's, so
    /// nothing is killed and only an empty directory goes.
    #[serde(default)]
    pub made: bool,
    /// Mounts of the hierarchies in which the cgroup was there before create: not ours to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<PathBuf>,
    /// The systemd driver's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl CgroupPlan {
    /// The limits of memory that end in a kill or a refusal, for `before_copies`; without a killer (memory.oom_control)
    /// init would stand still for ever, and is slowed down by memory.high.
    pub fn memory_limits(&self) -> Vec<CgroupWrite> {
        const FILES: [&str; 4] =
            ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"];
        self.writes.iter().filter(|write| FILES.contains(&&*write.file)).cloned().collect()
    }

    /// The record as it is to be saved before the first effect (`made` is false).
    pub fn record(&self) -> CgroupRecord {
        CgroupRecord {
            driver: self.driver,
            layout: self.layout,
            hierarchies: self.hierarchies.clone(),
            v2_controllers: self.v2_controllers.clone(),
            made: false,
            found: Vec::new(),
            unit: self.unit.as_ref().map(|plan| plan.unit.clone()),
        }
    }
}

/// Plans the cgroups of one container.
pub fn plan(wanted: &Wanted<'_>, facts: &CgroupFacts, warnings: &mut Vec<String>) -> Result<CgroupPlan> {
    if wanted.driver == Driver::Disabled {
        return Ok(disabled(wanted, warnings));
    }
    let may_skip =
        (wanted.rootless || wanted.in_user_namespace) && wanted.cgroups_path.is_none_or(str::is_empty);
    if facts.hierarchies.is_empty() && !may_skip {
        return Err(Error::new("no cgroup file system is mounted")
            .hint("mount cgroup2 on /sys/fs/cgroup, or run with --cgroup-manager disabled"));
    }
    let (mut unit, hierarchies) = match wanted.driver {
        Driver::Systemd => unit::plan(wanted, facts).map(|(unit, hierarchies)| (Some(unit), hierarchies))?,
        _ => (None, path::hierarchies(wanted, facts, warnings)?),
    };
    let v2_controllers = facts.v2_controllers().to_vec();
    let mut limits = Limits::new(&hierarchies, &v2_controllers, warnings);
    limits.collect(wanted.resources, wanted.pids_limit, wanted.hugepage_limits);
    let devices = match device_rules::plan(wanted, &hierarchies) {
        Ok(devices) => devices,
        Err(e) => {
            limits.errors.push(e);
            None
        }
    };
    let Limits { before_entry, mut writes, memory_check, used, errors, .. } = limits;
    if let Some(e) = Error::joined(errors) {
        return Err(e);
    }
    device_rules::warn_of_unreachable(wanted, devices.as_ref(), warnings);
    if let Some(unit) = &mut unit {
        unit_limits::round_quota(&mut writes);
        unit.limits = unit::devices(devices.as_ref());
        unit.limits.append(&mut unit_limits::limits(&writes, &hierarchies));
    }
    let limited: Vec<String> = used.iter().cloned().collect();
    let enable = match facts.layout {
        Layout::V2 => v2_controllers.clone(),
        _ => limited.clone(),
    };
    Ok(CgroupPlan {
        driver: wanted.driver,
        layout: facts.layout,
        attach: attach::plan(&hierarchies, facts.layout, wanted.asker),
        cpuset_copy: hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == "cpuset")),
        domain: used.iter().any(|c| !THREADED.contains(&c.as_str())),
        hierarchies,
        enable,
        limited,
        v2_controllers,
        before_entry,
        memory_check,
        before_copies: Vec::new(),
        writes,
        devices,
        delegate: match wanted.cgroupns && facts.layout == Layout::V2 {
            true => wanted.delegates.to_vec(),
            false => Vec::new(),
        },
        may_skip,
        rootless: wanted.rootless,
        unit,
    })
}

/// What `update` does: the same limits onto the cgroups of a record, devices left alone.
#[derive(Debug, Default)]
pub struct Update {
    pub memory_check: Option<MemoryCheck>,
    pub writes: Vec<CgroupWrite>,
    /// For the unit, where there is one.
    pub properties: Vec<Property>,
}

/// Plans an update.
pub fn update(
    record: &CgroupRecord,
    resources: &LinuxResources,
    pids_limit: Option<i64>,
    hugepage_limits: &[(String, u64)],
    warnings: &mut Vec<String>,
) -> Result<Update> {
    let mut limits = Limits::new(&record.hierarchies, &record.v2_controllers, warnings);
    limits.collect(Some(resources), pids_limit, hugepage_limits);
    if !limits.errors.is_empty() && record.hierarchies.is_empty() {
        return Err(Error::new("the container has no cgroup: its limits cannot be changed"));
    }
    if let Some(e) = Error::joined(limits.errors) {
        return Err(e);
    }
    let mut writes = limits.before_entry;
    writes.append(&mut limits.writes);
    let memory_check = limits.memory_check;
    if record.unit.is_some() {
        unit_limits::round_quota(&mut writes);
    }
    let properties = properties(record, &writes);
    Ok(Update { memory_check, writes, properties })
}

/// What systemd is told of `writes`; nothing where there is no unit.
pub fn properties(record: &CgroupRecord, writes: &[CgroupWrite]) -> Vec<Property> {
    record.unit.as_ref().map_or_else(Vec::new, |_| unit_limits::limits(writes, &record.hierarchies))
}

fn disabled(wanted: &Wanted<'_>, warnings: &mut Vec<String>) -> CgroupPlan {
    let limited = wanted.resources.is_some_and(|r| {
        r.memory().is_some()
            || r.cpu().is_some()
            || r.block_io().is_some()
            || r.unified().as_ref().is_some_and(|u| !u.is_empty())
    });
    if limited || wanted.pids_limit.is_some() || !wanted.hugepage_limits.is_empty() {
        warnings.push("linux.resources is ignored: cgroups are disabled".into());
    }
    CgroupPlan { driver: Driver::Disabled, rootless: wanted.rootless, ..CgroupPlan::default() }
}

#[cfg(test)]
mod tests;
