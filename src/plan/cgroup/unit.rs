//! The systemd driver: which unit the container becomes, where that is in the hierarchies, and its properties. PURE.
//!
//! linux.cgroupsPath is `slice:prefix:name` here. A `name` that ends in `.slice` is a slice of its own, anything else a
//! transient scope `prefix-name.scope`, delegated to us (systemd.resource-control(5)). Limits are told to systemd as well
//! as written by us: it writes what it knows again at every reload of its units.

use super::device_rules::{self, DevicePlan, DeviceRule, Kind};
use super::facts::{CgroupFacts, Layout};
use super::value::{self, Value};
use super::{CgroupWrite, Hierarchy, Version, Wanted, convert};
use crate::error::{Doing, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const FIELD: &str = "linux.cgroupsPath";
const ANNOTATION: &str = "org.systemd.property.";

/// A unit and the manager that has it: enough to stop it later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    /// Socket of the bus on which the manager is.
    pub bus: PathBuf,
    /// The manager's own socket, when there is no bus.
    #[serde(default)]
    pub private: Option<PathBuf>,
    /// Who we are for the bus: the uid outside of all user namespaces.
    pub uid: u32,
    /// It is the manager of this user, not the system's.
    #[serde(default)]
    pub of_user: bool,
}

/// A property of the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    pub name: String,
    pub value: Value,
    /// The first version of systemd that has it; 0 = all.
    pub since: u32,
}

/// What the manager is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitPlan {
    pub unit: Unit,
    /// At its start. `PIDs` is added by the executor.
    pub start: Vec<Property>,
    /// With the limits.
    pub limits: Vec<Property>,
    /// The cgroup that it is to have, as the manager names it; None where only we know (v1 has several).
    pub control_group: Option<String>,
}

impl UnitPlan {
    /// Whether its processes can be killed for want of memory, and systemd then take the unit away.
    pub fn limits_memory(&self) -> bool {
        self.start.iter().chain(&self.limits).any(|p| ["MemoryMax", "MemoryLimit"].contains(&p.name.as_ref()))
    }
}

fn property(name: &str, value: Value) -> Property {
    Property { name: name.into(), value, since: 0 }
}

fn since(since: u32, name: &str, value: Value) -> Property {
    Property { name: name.into(), value, since }
}

/// The unit, and the container's cgroups in the host's hierarchies.
pub(super) fn plan(wanted: &Wanted<'_>, facts: &CgroupFacts) -> Result<(UnitPlan, Vec<Hierarchy>)> {
    let manager = facts.manager.as_ref().ok_or_else(|| Error::new("no facts about systemd"))?;
    if manager.user && facts.layout != Layout::V2 {
        return Err(Error::new(
            "rootless systemd cgroups need a cgroup v2 host (cgroup v1 cannot be delegated)",
        ));
    }
    let (slice, name) = names(wanted, manager.user)?;
    let path = format!("{}/{name}", expand(&slice)?.trim_end_matches('/'));
    let mut hierarchies = Vec::with_capacity(facts.hierarchies.len());
    for (host, top) in
        facts.hierarchies.iter().zip(&manager.paths).filter(|(host, _)| super::path::is_joined(host))
    {
        let controllers = if host.version == Version::V1 { host.controllers.clone() } else { vec![] };
        let path = format!("{}{path}", top.trim_end_matches('/'));
        hierarchies.push(Hierarchy { controllers, version: host.version, mount: host.mount.clone(), path });
    }
    let unit = Unit {
        name,
        bus: manager.bus.clone(),
        private: manager.private.clone(),
        uid: manager.uid,
        of_user: manager.user,
    };
    let control_group = hierarchies
        .iter()
        .find(|h| h.version == Version::V2 && facts.layout == Layout::V2)
        .map(|h| h.path.clone());
    let start = start_properties(wanted, &unit, slice, facts.layout)?;
    Ok((UnitPlan { unit, start, limits: vec![], control_group }, hierarchies))
}

/// Slice and unit name.
fn names(wanted: &Wanted<'_>, user: bool) -> Result<(String, String)> {
    let default = if user { "user.slice" } else { "system.slice" };
    let Some(path) = wanted.cgroups_path.filter(|path| !path.is_empty()) else {
        return Ok((default.into(), format!("orlop-{}.scope", wanted.id)));
    };
    let fields: Vec<&str> = path.split(':').collect();
    let [slice, prefix, name] = fields[..] else {
        let text = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"{path}\" instead"
        );
        return Err(Error::field(FIELD, text)
            .hint("a plain path belongs to the cgroupfs driver (without --systemd-cgroup)"));
    };
    if name.is_empty() || path.contains('/') || path.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(Error::field(FIELD, format!("{path:?} does not name a unit")));
    }
    let slice = if slice.is_empty() { default } else { slice };
    let unit = match name.ends_with(".slice") {
        true => name.to_owned(),
        false if prefix.is_empty() => format!("{name}.scope"),
        false => format!("{prefix}-{name}.scope"),
    };
    // unit(5): "the maximum length is 255".
    if unit.len() > 255 {
        return Err(Error::field(FIELD, "the name of the unit is longer than 255 bytes"));
    }
    Ok((slice.into(), unit))
}

/// `a-b.slice` → `/a.slice/a-b.slice`; `-.slice` is the root (systemd.slice(5)).
fn expand(slice: &str) -> Result<String> {
    let invalid = || Error::field(FIELD, format!("invalid slice name: {slice}"));
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty()).ok_or_else(invalid)?;
    if name == "-" {
        return Ok("/".into());
    }
    if name.split('-').any(str::is_empty) {
        return Err(invalid());
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &name[..end])).collect())
}

fn start_properties(
    wanted: &Wanted<'_>,
    unit: &Unit,
    slice: String,
    layout: Layout,
) -> Result<Vec<Property>> {
    let yes = || Value::Bool(true);
    let mut list = vec![property("Description", Value::Text(format!("orlop container {}", wanted.id)))];
    if unit.name.ends_with(".slice") {
        list.push(property("Wants", Value::Array("s".into(), vec![Value::Text(slice)])));
    } else {
        list.push(property("Slice", Value::Text(slice)));
        // Without it systemd would move processes between cgroups of its own liking.
        list.push(property("Delegate", yes()));
    }
    let io = if layout == Layout::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        list.push(property(name, yes()));
    }
    list.push(property("DefaultDependencies", Value::Bool(false)));
    // In the order of names: a map has none of its own.
    for (name, text) in wanted.annotations.into_iter().flatten().collect::<BTreeMap<_, _>>() {
        if let Some(name) = name.strip_prefix(ANNOTATION) {
            let at = format!("annotations[{:?}]", format!("{ANNOTATION}{name}"));
            let given = from_annotation(name, text).at(at)?;
            list.retain(|property| property.name != given.name);
            list.push(given);
        }
    }
    Ok(list)
}

/// `TimeoutStopSec: 3` stands for `TimeoutStopUSec: uint64 3000000`, as with the other runtimes.
fn from_annotation(name: &str, text: &str) -> Result<Property> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Error::new("not a name of a property"));
    }
    let value = value::parse(text)?;
    let Some(short) = name.strip_suffix("Sec").filter(|short| !short.ends_with('U')) else {
        return Ok(property(name, value));
    };
    let seconds = value.number().and_then(|n| u64::try_from(n).ok());
    let micro = seconds.and_then(|n| n.checked_mul(1_000_000));
    let micro = micro.ok_or_else(|| Error::new("a number of seconds is needed"))?;
    Ok(property(&format!("{short}USec"), Value::Uint64(micro)))
}

/// The limits that systemd has a word for, from the writes into cgroup files.
pub(super) fn limits(writes: &[CgroupWrite], hierarchies: &[Hierarchy]) -> Vec<Property> {
    let mut list = Vec::new();
    let (mut quota, mut period) = (None, None);
    for write in writes {
        let version = hierarchies.get(write.hierarchy).map_or(Version::V2, |h| h.version);
        if write.file == "cpu.max" {
            let mut words = write.value.split(' ');
            quota = words.next().map(|word| word.parse().unwrap_or(-1));
            period = words.next().and_then(|word| word.parse().ok());
        } else if write.file == "cpu.cfs_quota_us" {
            quota = write.value.parse::<i64>().ok();
        } else if write.file == "cpu.cfs_period_us" {
            period = write.value.parse::<u64>().ok();
        } else {
            list.extend(limit(version, &write.file, &write.value));
        }
    }
    if let Some(period) = period {
        list.push(since(242, "CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    if let Some(quota) = quota {
        list.push(property("CPUQuotaPerSecUSec", Value::Uint64(per_second(quota, period))));
    }
    list
}

/// systemd has the quota as time per second, in steps of 10 ms, rounded up.
fn per_second(quota: i64, period: Option<u64>) -> u64 {
    const STEP: u64 = 10_000;
    match u64::try_from(quota) {
        Err(_) => u64::MAX,
        Ok(quota) => {
            (quota.saturating_mul(1_000_000) / period.unwrap_or(100_000).max(1)).next_multiple_of(STEP)
        }
    }
}

fn limit(version: Version, file: &str, text: &str) -> Option<Property> {
    // `max` of v2 and -1 of v1 are both all ones.
    let number = match text {
        "max" | "-1" => Some(u64::MAX),
        digits => digits.parse().ok(),
    };
    let number = || number.map(Value::Uint64);
    Some(match (version, file) {
        (Version::V1, "memory.limit_in_bytes") => property("MemoryLimit", number()?),
        (Version::V1, "cpu.shares") => property("CPUShares", number()?),
        (Version::V1, "blkio.weight") => property("BlockIOWeight", number()?),
        (_, "pids.max") => property("TasksMax", number()?),
        (Version::V1, _) => return None,
        (_, "memory.max") => property("MemoryMax", number()?),
        (_, "memory.low") => property("MemoryLow", number()?),
        (_, "memory.high") => property("MemoryHigh", number()?),
        (_, "memory.min") => since(240, "MemoryMin", number()?),
        (_, "memory.swap.max") => property("MemorySwapMax", number()?),
        (_, "memory.zswap.max") => since(253, "MemoryZSwapMax", number()?),
        (_, "memory.oom.group") => {
            since(253, "OOMPolicy", Value::text(if text == "1" { "kill" } else { "continue" }))
        }
        (_, "cpu.weight") => property("CPUWeight", number()?),
        (_, "cpu.idle") if text == "1" => since(252, "CPUWeight", Value::Uint64(0)),
        // systemd writes whichever of the two files there is, with numbers of its own for bfq.
        (_, "io.weight") => property("IOWeight", number()?),
        (_, "io.bfq.weight") => {
            let weight = text.parse().ok().and_then(convert::io_weight)?;
            property("IOWeight", Value::Uint64(weight))
        }
        (_, "cpuset.cpus") => since(244, "AllowedCPUs", bits(text)?),
        (_, "cpuset.mems") => since(244, "AllowedMemoryNodes", bits(text)?),
        _ => return None,
    })
}

/// `0-2,4` as a mask of bytes, lowest first.
fn bits(list: &str) -> Option<Value> {
    const MOST: usize = 8192;
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            mask.resize(mask.len().max(bit / 8 + 1), 0);
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(Value::Array("y".into(), mask.into_iter().map(Value::Byte).collect()))
}

/// The device rules in systemd's words; None where it has no words for them (a list of what is forbidden).
pub(super) fn devices(plan: Option<&DevicePlan>) -> Vec<Property> {
    const EMPTY: fn() -> Value = || Value::Array("(ss)".into(), vec![]);
    let Some(plan) = plan else { return vec![] };
    let entries: Option<Vec<Value>> = plan.rules.iter().map(device).collect();
    match entries.filter(|_| !plan.allow_by_default) {
        Some(entries) => vec![
            property("DevicePolicy", Value::text("strict")),
            // Setting appends: what was there before goes first.
            property("DeviceAllow", EMPTY()),
            property("DeviceAllow", Value::Array("(ss)".into(), entries)),
        ],
        None => vec![property("DevicePolicy", Value::text("auto")), property("DeviceAllow", EMPTY())],
    }
}

fn device(rule: &DeviceRule) -> Option<Value> {
    let kind = if rule.kind == Kind::Block { "block" } else { "char" };
    let node = match (rule.major, rule.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        // All majors with one minor.
        (None, Some(_)) => return None,
    };
    let letters = [(device_rules::READ, 'r'), (device_rules::WRITE, 'w'), (device_rules::MKNOD, 'm')];
    let access = letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter).collect();
    Some(Value::Tuple(vec![Value::Text(node), Value::Text(access)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_expanded() {
        for (slice, path) in [
            ("system.slice", "/system.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            ("-.slice", "/"),
        ] {
            assert_eq!(expand(slice).unwrap(), path, "{slice}");
        }
        for slice in ["system", ".slice", "-a.slice", "a-.slice", "a--b.slice", "x.scope"] {
            assert!(expand(slice).is_err(), "{slice}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        let given = from_annotation("TimeoutStopSec", "3").unwrap();
        assert_eq!(given, property("TimeoutStopUSec", Value::Uint64(3_000_000)));
        let given = from_annotation("TimeoutStopUSec", "uint64 5").unwrap();
        assert_eq!(given, property("TimeoutStopUSec", Value::Uint64(5)));
        assert!(from_annotation("TimeoutStopSec", "'soon'").is_err());
        assert!(from_annotation("Collect-Mode", "'x'").is_err());
    }

    #[test]
    fn quotas_are_rounded_up() {
        for (quota, period, want) in [
            (50_000, None, 500_000),
            (50_000, Some(100_000), 500_000),
            (10_001, Some(1_000_000), 20_000),
            (300_000, Some(100_000), 3_000_000),
            (-1, Some(100_000), u64::MAX),
        ] {
            assert_eq!(per_second(quota, period), want, "{quota} {period:?}");
        }
    }

    #[test]
    fn weights_are_said_once() {
        let weight = |file, text| limit(Version::V2, file, text);
        let said = property("IOWeight", Value::Uint64(1920));
        assert_eq!(weight("io.bfq.weight", "200"), Some(said));
        assert_eq!(weight("io.bfq.weight", "8:0 200"), None, "of a device");
    }

    #[test]
    fn lists_become_bits() {
        let bytes = |list: &[u8]| Value::Array("y".into(), list.iter().copied().map(Value::Byte).collect());
        assert_eq!(bits("0-2,4").unwrap(), bytes(&[0b1_0111]));
        assert_eq!(bits("9").unwrap(), bytes(&[0, 2]));
        assert_eq!(bits("0-99999"), None);
        assert_eq!(bits("x"), None);
    }
}
