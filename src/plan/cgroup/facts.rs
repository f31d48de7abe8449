//! What the host offers in control groups, as plain data.
//!
//! `host::cgroup` fills it from /proc/self/mountinfo, /proc/self/cgroup and, for cgroup2, the file
//! cgroup.controllers of its mount; the plan only reads it. Paths are as the runtime itself sees them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which of the two cgroup interfaces a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    V1,
    V2,
}

/// How the host mounts its hierarchies (contract: unified, legacy, hybrid).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Layout {
    /// v1 hierarchies only.
    V1,
    /// One cgroup2 tree.
    V2,
    /// v1 hierarchies and a cgroup2 tree beside them, which may still hold controllers of its own.
    Hybrid,
    /// Nothing is mounted.
    #[default]
    None,
}

/// One mounted hierarchy of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostHierarchy {
    pub version: Version,
    /// v1: the controllers mounted together, or `name=systemd`. v2: the controllers that this tree offers.
    pub controllers: Vec<String>,
    pub mount: PathBuf,
    /// The runtime's own cgroup below `mount`, begins with `/`.
    pub own: String,
}

/// All hierarchies that a container of this host joins; at most one is v2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CgroupFacts {
    pub layout: Layout,
    pub hierarchies: Vec<HostHierarchy>,
    /// Read for the systemd driver only.
    pub manager: Option<ManagerFacts>,
}

/// The systemd that is to make the unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ManagerFacts {
    /// The user's own one (rootless).
    pub user: bool,
    pub bus: PathBuf,
    /// Where it listens itself.
    pub private: Option<PathBuf>,
    /// Our uid outside of all user namespaces.
    pub uid: u32,
    /// Its own cgroup, the same in all hierarchies: what is made there lies below it.
    pub root: String,
}

/// An ordinary user, who may ask the system's systemd to move a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asker {
    /// Socket of the system's bus.
    pub bus: PathBuf,
    /// Our uid outside of all user namespaces.
    pub uid: u32,
}

impl CgroupFacts {
    /// Controllers of the cgroup2 tree; empty without one.
    pub fn v2_controllers(&self) -> &[String] {
        self.hierarchies.iter().find(|h| h.version == Version::V2).map_or(&[], |h| &h.controllers)
    }
}
