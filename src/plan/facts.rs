//! What the plan is told about the host (filled by `host::facts`). Plain data.

use super::cgroup::facts::{Asker, CgroupFacts};
use serde::Serialize;

/// capabilities(7).
pub const CAP_SETGID: u64 = 1 << 6;
pub const CAP_SETUID: u64 = 1 << 7;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostFacts {
    pub euid: u32,
    pub egid: u32,
    /// Our uid 0, if we are that, is not the host's.
    pub in_user_namespace: bool,
    /// The user namespace we are in forbids setgroups(2), and so does every one made in it.
    pub setgroups_denied: bool,
    /// Capabilities the runtime itself may pass on: its permitted set.
    pub grantable: u64,
    pub cgroups: CgroupFacts,
    /// None for the host's root, which moves processes itself.
    pub asker: Option<Asker>,
    /// Activation sockets meant for us (sd_listen_fds(3)).
    pub listen_fds: Option<u32>,
    pub notify_socket: Option<String>,
}

impl HostFacts {
    /// Any ids can be mapped.
    pub fn maps_ids(&self) -> bool {
        self.grantable & CAP_SETUID != 0 && self.grantable & CAP_SETGID != 0
    }
}
