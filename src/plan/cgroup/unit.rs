//! The systemd driver: which unit the container becomes, where that is in the hierarchies, and its properties. PURE.
//!
//! linux.cgroupsPath is `slice:prefix:name` here. A `name` that ends in `.slice` is a slice of its own, anything else a
//! transient scope `prefix-name.scope`, delegated to us (systemd.resource-control(5)). Limits are told to systemd as well
//! as written by us: it writes what it knows again at every reload of its units.

use super::device_rules::{self, DevicePlan, DeviceRule, Enforce, Kind};
use super::facts::{CgroupFacts, Layout};
use super::value::{self, Value};
use super::{Hierarchy, Version, Wanted};
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

impl Property {
    /// The NAME of `50-NAME.conf`, the file in which systemd keeps what it is told of a unit that runs.
    fn drop_in(&self) -> &str {
        match &*self.name {
            "CPUQuotaPerSecUSec" => "CPUQuota",
            "CPUQuotaPeriodUSec" => "CPUQuotaPeriodSec",
            name => name,
        }
    }
}

/// In the order of their files, each in the order given: a unit whose files systemd came to know in another order has
/// "changed on disk" for it.
pub fn in_order(properties: &[Property]) -> Vec<Property> {
    let mut list = properties.to_vec();
    list.sort_by(|one, other| one.drop_in().cmp(other.drop_in()));
    list
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

pub(super) fn property(name: &str, value: Value) -> Property {
    Property { name: name.into(), value, since: 0 }
}

pub(super) fn since(since: u32, name: &str, value: Value) -> Property {
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
    let path =
        format!("{}{}/{name}", manager.root.trim_end_matches('/'), expand(&slice)?.trim_end_matches('/'));
    let mut hierarchies = Vec::with_capacity(facts.hierarchies.len());
    for host in facts.hierarchies.iter().filter(|host| super::path::is_joined(host)) {
        let controllers = if host.version == Version::V1 { host.controllers.clone() } else { vec![] };
        let (version, mount, path) = (host.version, host.mount.clone(), path.clone());
        hierarchies.push(Hierarchy { controllers, version, mount, path });
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
        // Without a prefix too: so the other runtimes name it, and who gives the path looks for it there.
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
    list.extend(oom_policy(wanted).filter(|_| layout == Layout::V2 && !unit.name.ends_with(".slice")));
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

/// unified["memory.oom.group"] for systemd, which else would write its own there with every limit. A scope takes it at
/// its start alone, a slice never (systemd.scope(5)).
fn oom_policy(wanted: &Wanted<'_>) -> Option<Property> {
    let unified = wanted.resources?.unified().as_ref()?;
    let policy = if unified.get("memory.oom.group")?.trim() == "1" { "kill" } else { "continue" };
    Some(since(253, "OOMPolicy", Value::text(policy)))
}

/// `TimeoutStopSec: 3` stands for `TimeoutStopUSec: uint64 3000000`, as with the other runtimes.
fn from_annotation(name: &str, text: &str) -> Result<Property> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Error::new("not a name of a property"));
    }
    let Some(short) = name.strip_suffix("Sec").filter(|short| !short.ends_with('U')) else {
        return Ok(property(name, value::parse(text)?));
    };
    let micro = microseconds(text).ok_or_else(|| Error::new("a number of seconds is needed"))?;
    Ok(property(&format!("{short}USec"), Value::Uint64(micro)))
}

/// Of seconds in any type of number; a double, `1.5` or `double 1.5`, is one that no property itself has.
fn microseconds(text: &str) -> Option<u64> {
    const MICRO: u32 = 1_000_000;
    if let Some(whole) = value::parse(text).ok().and_then(|value| value.number()) {
        return u64::try_from(whole).ok()?.checked_mul(MICRO.into());
    }
    let text = text.trim();
    let seconds: f64 = text.strip_prefix("double").unwrap_or(text).trim_start().parse().ok()?;
    let micro = seconds * f64::from(MICRO);
    // Words like `nan` are none; beyond 2^53 a double knows no single microseconds any more.
    (0.0..=9_007_199_254_740_992.0).contains(&micro).then_some(micro as u64)
}

/// The device rules in systemd's words. It has none for a list of what is forbidden: on v2 it is told nothing, and our
/// program stays; on v1 it writes over our rules whenever it reloads its units, and shall rather forbid too much.
pub(super) fn devices(plan: Option<&DevicePlan>) -> Vec<Property> {
    let Some(plan) = plan else { return vec![] };
    let on_v1 = matches!(plan.enforce, Enforce::Files(_));
    // Setting appends: what was there before goes first.
    let none = property("DeviceAllow", Value::Array("(ss)".into(), vec![]));
    let strict = property("DevicePolicy", Value::text("strict"));
    match plan.allow_by_default {
        true if plan.rules.is_empty() || !on_v1 => {
            vec![property("DevicePolicy", Value::text("auto")), none]
        }
        true => vec![strict, none],
        false => {
            let entries = plan.rules.iter().filter_map(device).collect();
            vec![strict, none, property("DeviceAllow", Value::Array("(ss)".into(), entries))]
        }
    }
}

/// None for all majors with one minor, which systemd cannot say.
fn device(rule: &DeviceRule) -> Option<Value> {
    const UNIX98_PTY_SLAVE_MAJOR: u32 = 136;
    let kind = if rule.kind == Kind::Block { "block" } else { "char" };
    let node = match (rule.major, rule.minor) {
        (None, None) => format!("{kind}-*"),
        // By name: numbers are understood since version 240 only, and these are in every container's list.
        (Some(UNIX98_PTY_SLAVE_MAJOR), None) if rule.kind == Kind::Char => "char-pts".into(),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
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
        for (text, micro) in [("1.5", 1_500_000), (" double 0.25 ", 250_000), ("uint64 2", 2_000_000)] {
            let given = from_annotation("TimeoutStopSec", text).unwrap();
            assert_eq!(given, property("TimeoutStopUSec", Value::Uint64(micro)), "{text}");
        }
        for text in ["-1.5", "nan", "inf", "1e300", "-1", "1.5.5", ""] {
            assert!(from_annotation("TimeoutStopSec", text).is_err(), "{text}");
        }
        let given = from_annotation("TimeoutStopUSec", "uint64 5").unwrap();
        assert_eq!(given, property("TimeoutStopUSec", Value::Uint64(5)));
        assert!(from_annotation("TimeoutStopSec", "'soon'").is_err());
        assert!(from_annotation("Collect-Mode", "'x'").is_err());
    }

    #[test]
    fn properties_are_told_in_the_order_of_their_files() {
        let of = |number, name| property(name, Value::Uint64(number));
        let given = [
            of(1, "DevicePolicy"),
            of(2, "DeviceAllow"),
            of(3, "DeviceAllow"),
            of(4, "TasksMax"),
            of(5, "CPUQuotaPeriodUSec"),
            of(6, "CPUWeight"),
            of(7, "CPUQuotaPerSecUSec"),
            of(8, "AllowedCPUs"),
        ];
        let told: Vec<_> = in_order(&given).iter().filter_map(|property| property.value.number()).collect();
        assert_eq!(told, [8, 7, 5, 6, 2, 3, 1, 4]);
    }

    #[test]
    fn device_lists_that_systemd_cannot_say_are_strict_on_v1() {
        let rule = |major, minor| DeviceRule { kind: Kind::Char, major, minor, access: device_rules::READ };
        let of = |allow_by_default, rules: &[DeviceRule], v1: bool| {
            let enforce = if v1 { Enforce::Files(vec![]) } else { Enforce::Program(vec![]) };
            let rules = rules.to_vec();
            let plan = DevicePlan { hierarchy: 0, allow_by_default, rules, enforce, optional: false };
            let list = devices(Some(&plan));
            let Value::Array(_, entries) = &list[list.len() - 1].value else { panic!("{list:?}") };
            (list[0].value.clone(), entries.len())
        };
        let (strict, auto) = (Value::text("strict"), Value::text("auto"));
        let odd = [rule(None, Some(5)), rule(Some(136), None)];
        assert_eq!(of(false, &odd, true), (strict.clone(), 1));
        assert_eq!(of(false, &odd, false), (strict.clone(), 1));
        assert_eq!(of(true, &odd, true), (strict, 0));
        assert_eq!(of(true, &odd, false), (auto.clone(), 0));
        assert_eq!(of(true, &[], true), (auto, 0));
        let pts = device(&rule(Some(136), None));
        assert_eq!(pts, Some(Value::Tuple(vec![Value::text("char-pts"), Value::text("r")])));
    }
}
