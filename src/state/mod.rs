//! The record of a container: what a later command needs to know, and nothing that it can derive.
//!
//! `<root>/<id>/` (0700) holds `state.json` (this record), `config.json` (a verbatim copy), `start.fifo`
//! (present = created, waiting), `exec.status` (the status page of the last stage) and, below a service manager, `notify/`. The directory
//! itself is the claim on the id (mkdir) and the lock (flock), which dies with its holder.

pub mod store;

pub use store::{Entry, Root};

use crate::plan::cgroup::CgroupRecord;
use crate::plan::hooks::HookPlan;
use crate::plan::namespaces::NsKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Major version of the record. A later major is refused; unknown fields of this one are ignored.
pub const VERSION: u32 = 1;

/// Init as it was at birth. A pid alone is a name that the kernel reuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// In the runtime's pid namespace.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat, clock ticks since boot.
    pub start_time: u64,
    /// Inode of the pidfd (unique per boot on Linux ≥ 6.9), 0 where the kernel has none.
    pub pidfd_inode: u64,
}

/// `state.json`, version 1. Written twice: as intent before the first side effect (`init` absent), and
/// as `created` before init is released to its gate. In between when the cgroups are made, or, without them, when init is
/// known; and before the first hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// See [`VERSION`].
    pub v: u32,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339, UTC, nanoseconds.
    pub created: String,
    /// Effective uid of the creator.
    pub owner: u32,
    /// /proc/sys/kernel/random/boot_id: after a reboot no pid in here means anything.
    pub boot_id: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Identity>,
    /// Init while the container is being created, where no cgroup tells whom `delete --force` has to kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forming: Option<Identity>,
    pub cgroup: CgroupRecord,
    /// Namespaces of init that are not the creator's.
    pub namespaces: Vec<NsKind>,
    /// A pid namespace of its own: killing init kills everything in it.
    pub own_pid_namespace: bool,
    /// `process` is there: without it `start` must fail.
    pub has_process: bool,
    /// Where NOTIFY_SOCKET pointed when the container was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_socket: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<HookPlan>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<HookPlan>,
    /// The container has come as far as its first hook: only then is there something to stop
    /// (runtime.md, step 12).
    #[serde(default)]
    pub hooks_begun: bool,
    /// Processes that join keep the session keyring of their caller, as init did.
    #[serde(default)]
    pub no_new_keyring: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of a real container, with a unit and with a field of later: a container outlives the upgrade of its runtime
    /// (amendment 30).
    #[test]
    fn a_record_of_release_0_1_is_read() {
        let record: Record = serde_json::from_str(include_str!("record-0.1.json")).unwrap();
        assert_eq!((&*record.id, record.init.as_ref().map(|init| init.pid)), ("c1", Some(17419)));
        assert_eq!(record.cgroup.hierarchies[0].path, "/system.slice/orlop-c1.scope");
        assert_eq!(record.cgroup.unit.as_ref().map(|unit| &*unit.name), Some("orlop-c1.scope"));
        assert!(record.cgroup.made && record.own_pid_namespace && record.hooks_begun && record.has_process);
        assert_eq!((record.poststart[0].timeout, &*record.poststop[0].path), (Some(3), "/bin/true"));
        assert_eq!(record.namespaces.len(), 5);
    }
}
