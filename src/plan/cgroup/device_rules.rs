//! Device access: linux.resources.devices folded, in order, into one default and its exceptions.
//!
//! PURE. The fold behaves like the v1 `devices` controller, which is what callers write their lists
//! for: deny all at the start, a rule of type `a` resets everything, the other rules add or remove
//! exceptions. The set that every runtime grants (null, zero, full, tty, random, urandom, ptmx, pts,
//! tun, and mknod of anything) is appended. The result becomes writes of devices.allow/deny on v1, or a
//! program on cgroup2. linux.devices grants nothing.

use super::device_program::{self, Insn};
use super::facts::Version;
use super::{CgroupWrite, Hierarchy, Wanted, limits::write};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Bits of [`DeviceRule::access`], as the kernel passes them to a device program (linux/bpf.h).
pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
pub const ALL: u8 = MKNOD | READ | WRITE;

const FIELD: &str = "linux.resources.devices";

/// dev_t has 12 bits of major and 20 bits of minor number.
const MAX_MAJOR: i64 = (1 << 12) - 1;
const MAX_MINOR: i64 = (1 << 20) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Block,
    Char,
}

/// Access to a device, or to all whose number is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub kind: Kind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

/// The words of devices.allow: `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kind == Kind::Block { "b " } else { "c " })?;
        match self.major {
            Some(major) => write!(f, "{major}:")?,
            None => f.write_str("*:")?,
        }
        match self.minor {
            Some(minor) => write!(f, "{minor} ")?,
            None => f.write_str("* ")?,
        }
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl Serialize for DeviceRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How the kernel is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Enforce {
    /// v1: these writes, in order.
    Files(Vec<CgroupWrite>),
    /// cgroup2: a BPF_PROG_TYPE_CGROUP_DEVICE program.
    Program(Vec<Insn>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DevicePlan {
    pub hierarchy: usize,
    /// The verdict for what no rule names; the rules are the exceptions.
    pub allow_by_default: bool,
    pub rules: Vec<DeviceRule>,
    pub enforce: Enforce,
    /// Rootless or in a user namespace: the kernel may refuse, and device nodes cannot be made anyway.
    pub optional: bool,
}

/// None only where there is no cgroup to attach anything to and the rules are optional.
pub(super) fn plan(wanted: &Wanted<'_>, hierarchies: &[Hierarchy]) -> Result<Option<DevicePlan>> {
    let list = wanted.resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
    let folded = fold(list)?;
    let optional = wanted.rootless || wanted.in_user_namespace;
    let on_v1 = hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == "devices"));
    let on_v2 = || hierarchies.iter().position(|h| h.version == Version::V2);
    let Some((hierarchy, v1)) = on_v1.map(|at| (at, true)).or_else(|| on_v2().map(|at| (at, false))) else {
        if optional {
            return Ok(None);
        }
        return Err(Error::field(FIELD, "neither the v1 devices controller nor cgroup2 is mounted"));
    };
    let rules = folded.rules();
    let allow = folded.allow_by_default;
    let enforce = if v1 {
        Enforce::Files(v1_writes(hierarchy, allow, &rules))
    } else {
        Enforce::Program(device_program::generate(allow, &rules)?)
    };
    Ok(Some(DevicePlan { hierarchy, allow_by_default: allow, rules, enforce, optional }))
}

/// Nodes of linux.devices that would be there but could not be opened.
pub(super) fn warn_of_unreachable(
    wanted: &Wanted<'_>,
    plan: Option<&DevicePlan>,
    warnings: &mut Vec<String>,
) {
    let Some(plan) = plan.filter(|p| !p.allow_by_default) else { return };
    for (i, device) in wanted.devices.iter().enumerate() {
        if !reachable(device, &plan.rules) {
            warnings.push(format!(
                "linux.devices[{i}]: {} can be opened only with a rule in {FIELD} that allows {}:{}",
                device.path().display(),
                device.major(),
                device.minor()
            ));
        }
    }
}

fn reachable(device: &LinuxDevice, rules: &[DeviceRule]) -> bool {
    let kind = match device.typ() {
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
        // A FIFO is no device to this controller.
        LinuxDeviceType::A | LinuxDeviceType::P => return true,
    };
    let fits = |rule: Option<u32>, number: i64| rule.is_none_or(|r| i64::from(r) == number);
    rules.iter().any(|r| {
        r.kind == kind
            && r.access & (READ | WRITE) != 0
            && fits(r.major, device.major())
            && fits(r.minor, device.minor())
    })
}

fn v1_writes(at: usize, allow_by_default: bool, rules: &[DeviceRule]) -> Vec<CgroupWrite> {
    let (reset, exception) =
        if allow_by_default { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    let mut writes = vec![write(at, reset, "a", FIELD)];
    writes.extend(rules.iter().map(|rule| write(at, exception, rule.to_string(), FIELD)));
    writes
}

/// The v1 controller in small: a default and its exceptions.
#[derive(Debug, Default)]
struct Folded {
    allow_by_default: bool,
    exceptions: BTreeMap<(Kind, Option<u32>, Option<u32>), u8>,
}

fn fold(list: &[LinuxDeviceCgroup]) -> Result<Folded> {
    let mut folded = Folded::default();
    for (i, rule) in list.iter().enumerate() {
        let field = || format!("{FIELD}[{i}]");
        let access = access(rule.access().as_deref().unwrap_or(""))
            .ok_or_else(|| Error::field(field() + ".access", "must be a combination of r, w and m"))?;
        let major = number(rule.major(), MAX_MAJOR).map_err(|e| Error::field(field() + ".major", e))?;
        let minor = number(rule.minor(), MAX_MINOR).map_err(|e| Error::field(field() + ".minor", e))?;
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C => &[Kind::Char],
            LinuxDeviceType::A if (major, minor, access) == (None, None, ALL) => {
                folded = Folded { allow_by_default: rule.allow(), ..Folded::default() };
                continue;
            }
            // The v1 file ignores what follows the `a`, and would so grant everything.
            LinuxDeviceType::A => &[Kind::Block, Kind::Char],
            _ => return Err(Error::field(field() + ".type", "must be a, b or c")),
        };
        for kind in kinds {
            folded
                .apply(rule.allow(), DeviceRule { kind: *kind, major, minor, access })
                .map_err(|e| Error::field(field(), e))?;
        }
    }
    for rule in default_rules() {
        // In an allow-all list the user may have denied more than can be taken back: then that stands.
        if folded.apply(true, rule).is_err() {
            continue;
        }
    }
    Ok(folded)
}

impl Folded {
    fn apply(&mut self, allow: bool, rule: DeviceRule) -> Result<(), String> {
        let key = (rule.kind, rule.major, rule.minor);
        if allow != self.allow_by_default {
            *self.exceptions.entry(key).or_default() |= rule.access;
            return Ok(());
        }
        // Part of a wider exception cannot be taken away; the v1 file ignores such a line silently, which
        // would leave a denied device open.
        for wider in [(rule.kind, None, rule.minor), (rule.kind, rule.major, None), (rule.kind, None, None)] {
            if wider != key && self.exceptions.get(&wider).is_some_and(|access| access & rule.access != 0) {
                let wider = DeviceRule { kind: wider.0, major: wider.1, minor: wider.2, access: rule.access };
                return Err(format!("cannot take {rule} out of the wider rule {wider}"));
            }
        }
        if let Some(access) = self.exceptions.get_mut(&key) {
            *access &= !rule.access;
            if *access == 0 {
                self.exceptions.remove(&key);
            }
        }
        Ok(())
    }

    fn rules(&self) -> Vec<DeviceRule> {
        let rule = |(&(kind, major, minor), &access)| DeviceRule { kind, major, minor, access };
        self.exceptions.iter().map(rule).collect()
    }
}

/// What every container may use (runc's list, which engines rely on).
fn default_rules() -> impl Iterator<Item = DeviceRule> {
    let char = |major, minor, access| DeviceRule { kind: Kind::Char, major, minor, access };
    [
        char(None, None, MKNOD),
        DeviceRule { kind: Kind::Block, major: None, minor: None, access: MKNOD },
        char(Some(1), Some(3), ALL),
        char(Some(1), Some(5), ALL),
        char(Some(1), Some(7), ALL),
        char(Some(1), Some(8), ALL),
        char(Some(1), Some(9), ALL),
        char(Some(5), Some(0), ALL),
        char(Some(5), Some(2), ALL),
        char(Some(136), None, ALL),
        char(Some(10), Some(200), ALL),
    ]
    .into_iter()
}

fn access(words: &str) -> Option<u8> {
    let mut access = 0;
    for letter in words.bytes() {
        access |= match letter {
            b'r' => READ,
            b'w' => WRITE,
            b'm' => MKNOD,
            _ => return None,
        };
    }
    (access != 0).then_some(access)
}

/// None and -1 are any number.
fn number(value: Option<i64>, max: i64) -> Result<Option<u32>, String> {
    match value {
        None | Some(-1) => Ok(None),
        Some(n) if (0..=max).contains(&n) => Ok(u32::try_from(n).ok()),
        Some(n) => Err(format!("{n} is not in the range 0 to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    fn folded(json: &str) -> (bool, Vec<String>) {
        let folded = fold(&list(json)).unwrap();
        (folded.allow_by_default, folded.rules().iter().map(ToString::to_string).collect())
    }

    fn problem(json: &str) -> String {
        fold(&list(json)).unwrap_err().to_string()
    }

    const DEFAULTS: [&str; 11] = [
        "b *:* m",
        "c *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 10:200 rwm",
        "c 136:* rwm",
    ];

    #[test]
    fn deny_all_with_the_usual_set() {
        let want = (false, DEFAULTS.map(String::from).to_vec());
        assert_eq!(folded("[]"), want);
        assert_eq!(folded(r#"[{"allow":false,"access":"rwm"}]"#), want);
    }

    #[test]
    fn allow_all_needs_no_exceptions() {
        assert_eq!(folded(r#"[{"allow":true,"access":"rwm"}]"#), (true, vec![]));
        assert_eq!(
            folded(
                r#"[{"allow":true,"type":"a","access":"rwm"},
                    {"allow":false,"type":"c","major":10,"minor":229,"access":"rw"},
                    {"allow":false,"type":"c","major":1,"minor":3,"access":"rwm"}]"#
            ),
            (true, vec!["c 10:229 rw".into()])
        );
    }

    #[test]
    fn order_counts() {
        let (_, rules) = folded(
            r#"[{"allow":true,"type":"b","major":8,"minor":0,"access":"rw"},
                {"allow":true,"type":"b","major":8,"minor":0,"access":"m"},
                {"allow":false,"type":"b","major":8,"minor":0,"access":"w"},
                {"allow":true,"type":"c","major":9,"access":"r"},
                {"allow":false,"type":"c","major":9,"minor":-1,"access":"r"}]"#,
        );
        assert!(rules.contains(&"b 8:0 rm".into()) && rules.len() == DEFAULTS.len() + 1, "{rules:?}");
        let all =
            folded(r#"[{"allow":true,"type":"b","major":8,"access":"rw"}, {"allow":false,"access":"rwm"}]"#);
        assert_eq!(all.1.len(), DEFAULTS.len());
    }

    #[test]
    fn type_a_with_a_number_is_no_reset() {
        let (allow, rules) = folded(r#"[{"allow":true,"type":"a","major":8,"minor":1,"access":"r"}]"#);
        assert!(!allow && rules.contains(&"b 8:1 r".into()) && rules.contains(&"c 8:1 r".into()));
    }

    #[test]
    fn faults_name_the_field() {
        assert_eq!(
            problem(r#"[{"allow":true,"type":"c"}]"#),
            "linux.resources.devices[0].access: must be a combination of r, w and m"
        );
        assert_eq!(
            problem(r#"[{"allow":true,"type":"c","major":4096,"access":"r"}]"#),
            "linux.resources.devices[0].major: 4096 is not in the range 0 to 4095"
        );
        assert_eq!(
            problem(r#"[{"allow":true,"type":"p","access":"r"}]"#),
            "linux.resources.devices[0].type: must be a, b or c"
        );
        assert_eq!(
            problem(
                r#"[{"allow":true,"type":"c","major":4,"access":"rw"},
                    {"allow":false,"type":"c","major":4,"minor":1,"access":"w"}]"#
            ),
            "linux.resources.devices[1]: cannot take c 4:1 w out of the wider rule c 4:* w"
        );
    }

    #[test]
    fn v1_files() {
        let files = |json: &str| {
            let folded = fold(&list(json)).unwrap();
            let writes = v1_writes(3, folded.allow_by_default, &folded.rules());
            writes.into_iter().map(|w| format!("{} {}", w.file, w.value)).collect::<Vec<_>>()
        };
        let denied = files("[]");
        assert_eq!(denied[0], "devices.deny a");
        assert!(denied[1..].iter().all(|w| w.starts_with("devices.allow ")) && denied.len() == 12);
        assert_eq!(files(r#"[{"allow":true,"access":"rwm"}]"#), ["devices.allow a"]);
    }
}
