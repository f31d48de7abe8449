//! Which namespaces are made, which are joined, and whether that takes a second process. PURE.
//!
//! The kernel's rules behind [`topology`] (amended by runs on 6.18): everything but a user namespace can
//! be had from one clone3 of the runtime, because setns(pid), unshare(time) and the offsets act on the
//! runtime's future children only. With a user namespace, new or joined, the others must be made by a
//! process that already is its mapped root: owners of mqueue, sysfs and IPC objects are the creator's ids.

use super::Sysctl;
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, LinuxTimeOffset};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NsKind {
    User,
    Mount,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl NsKind {
    pub const ALL: [NsKind; 8] = [
        NsKind::User,
        NsKind::Mount,
        NsKind::Pid,
        NsKind::Network,
        NsKind::Ipc,
        NsKind::Uts,
        NsKind::Cgroup,
        NsKind::Time,
    ];

    /// CLONE_NEW* (namespaces(7)).
    pub fn flag(self) -> i32 {
        match self {
            NsKind::User => 0x1000_0000,
            NsKind::Mount => 0x0002_0000,
            NsKind::Pid => 0x2000_0000,
            NsKind::Network => 0x4000_0000,
            NsKind::Ipc => 0x0800_0000,
            NsKind::Uts => 0x0400_0000,
            NsKind::Cgroup => 0x0200_0000,
            NsKind::Time => 0x0000_0080,
        }
    }

    /// The entry below /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        match self {
            NsKind::User => "user",
            NsKind::Mount => "mnt",
            NsKind::Pid => "pid",
            NsKind::Network => "net",
            NsKind::Ipc => "ipc",
            NsKind::Uts => "uts",
            NsKind::Cgroup => "cgroup",
            NsKind::Time => "time",
        }
    }

    pub fn of_flag(flag: i32) -> Option<NsKind> {
        Self::ALL.into_iter().find(|kind| kind.flag() == flag)
    }

    fn of_spec(kind: LinuxNamespaceType) -> NsKind {
        match kind {
            LinuxNamespaceType::User => NsKind::User,
            LinuxNamespaceType::Mount => NsKind::Mount,
            LinuxNamespaceType::Pid => NsKind::Pid,
            LinuxNamespaceType::Network => NsKind::Network,
            LinuxNamespaceType::Ipc => NsKind::Ipc,
            LinuxNamespaceType::Uts => NsKind::Uts,
            LinuxNamespaceType::Cgroup => NsKind::Cgroup,
            LinuxNamespaceType::Time => NsKind::Time,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    pub kind: NsKind,
    pub path: PathBuf,
    /// `linux.namespaces[i].path`, for errors.
    pub field: String,
    /// What is written there would change the host if this were the runtime's own namespace: the field that wants it.
    pub not_ours: Option<String>,
}

/// Clock offsets of a new time namespace, as /proc/PID/timens_offsets wants them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    pub seconds: i64,
    pub nanoseconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Namespaces {
    pub create: Vec<NsKind>,
    pub join: Vec<Join>,
    pub time_offsets: Vec<TimeOffset>,
}

impl Namespaces {
    pub fn creates(&self, kind: NsKind) -> bool {
        self.create.contains(&kind)
    }

    pub fn joins(&self, kind: NsKind) -> Option<&Join> {
        self.join.iter().find(|join| join.kind == kind)
    }

    /// New or joined: not the runtime's own.
    pub fn has(&self, kind: NsKind) -> bool {
        self.creates(kind) || self.joins(kind).is_some()
    }

    /// Settings belong to the namespace in which they are written. That an entry is listed is not enough: its path may
    /// lead to the host's own (`/proc/1/ns/net`).
    pub fn guard(&mut self, sysctls: &[Sysctl]) {
        for sysctl in sysctls {
            let Some(kind) = crate::spec::sysctl::namespace(&sysctl.path).map(NsKind::of_spec) else {
                continue;
            };
            if let Some(join) = self.join.iter_mut().find(|join| join.kind == kind) {
                join.not_ours.get_or_insert_with(|| sysctl.field.clone());
            }
        }
    }
}

/// Why there is a process between the runtime and init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    NewUserNamespace,
    JoinedUserNamespace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// One clone3 with all new namespaces.
    Direct,
    /// The double fork: the intermediate joins, unshares and is mapped, then clones init.
    ViaIntermediate(Reason),
}

pub fn topology(namespaces: &Namespaces) -> Tree {
    if namespaces.creates(NsKind::User) {
        Tree::ViaIntermediate(Reason::NewUserNamespace)
    } else if namespaces.joins(NsKind::User).is_some() {
        Tree::ViaIntermediate(Reason::JoinedUserNamespace)
    } else {
        Tree::Direct
    }
}

/// Reads `linux.namespaces` and `linux.timeOffsets`. An empty path is no path (contract.md §2.10).
pub fn plan(
    listed: &[LinuxNamespace],
    offsets: Option<&HashMap<String, LinuxTimeOffset>>,
) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for (index, entry) in listed.iter().enumerate() {
        let kind = NsKind::of_spec(entry.typ());
        match entry.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => namespaces.join.push(Join {
                kind,
                path: path.clone(),
                field: format!("linux.namespaces[{index}].path"),
                not_ours: None,
            }),
            None => namespaces.create.push(kind),
        }
    }
    namespaces.create.sort();
    namespaces.join.sort_by_key(|join| join.kind);
    let mut clocks: Vec<_> = offsets.into_iter().flatten().collect();
    clocks.sort_by(|a, b| a.0.cmp(b.0));
    for (clock, offset) in clocks {
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if nanoseconds > 999_999_999 {
            let field = format!("linux.timeOffsets.{clock}.nanosecs");
            return Err(Error::field(field, "is above 999999999"));
        }
        namespaces.time_offsets.push(TimeOffset {
            clock: clock.clone(),
            seconds: offset.secs().unwrap_or(0),
            nanoseconds,
        });
    }
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Vec<LinuxNamespace> {
        serde_json::from_str(json).unwrap()
    }

    /// All eight kinds × none, new, joined: only the user namespace needs the intermediate.
    #[test]
    fn topology_table() {
        for kind in ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"] {
            for path in ["", r#","path":"/proc/1/ns/x""#] {
                let ns = plan(&spec(&format!(r#"[{{"type":"{kind}"{path}}}]"#)), None).unwrap();
                assert_eq!(topology(&ns), Tree::Direct, "{kind} {path}");
            }
        }
        let new = plan(&spec(r#"[{"type":"user"}]"#), None).unwrap();
        assert_eq!(topology(&new), Tree::ViaIntermediate(Reason::NewUserNamespace));
        let joined = plan(&spec(r#"[{"type":"user","path":"/p"}]"#), None).unwrap();
        assert_eq!(topology(&joined), Tree::ViaIntermediate(Reason::JoinedUserNamespace));
        assert_eq!(topology(&plan(&[], None).unwrap()), Tree::Direct);
    }

    #[test]
    fn an_empty_path_means_a_new_namespace() {
        let ns = plan(&spec(r#"[{"type":"pid","path":""},{"type":"uts","path":"/u"}]"#), None).unwrap();
        assert!(ns.creates(NsKind::Pid) && !ns.creates(NsKind::Uts));
        assert_eq!(ns.joins(NsKind::Uts).map(|join| join.field.as_str()), Some("linux.namespaces[1].path"));
    }

    /// A joined namespace whose settings are written must not be the runtime's; the first setting is named.
    #[test]
    fn settings_guard_what_is_joined() {
        let listed = r#"[{"type":"network","path":"/n"},{"type":"ipc","path":"/i"},{"type":"uts"}]"#;
        let mut ns = plan(&spec(listed), None).unwrap();
        let settings = ["net/core/somaxconn", "net/ipv4/ip_forward", "kernel/domainname"];
        ns.guard(&settings.map(|path| Sysctl { path: path.into(), value: "1".into(), field: path.into() }));
        let guarded = |kind| ns.joins(kind).and_then(|join| join.not_ours.as_deref());
        assert_eq!(guarded(NsKind::Network), Some("net/core/somaxconn"));
        assert_eq!(guarded(NsKind::Ipc), None);
        assert_eq!(guarded(NsKind::Uts), None);
    }
}
