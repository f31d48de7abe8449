//! The plan: what `create` is going to do, as one plain value. PURE: nothing here touches the system.

pub mod capabilities;
pub mod cgroup;
pub mod hooks;
pub mod ids;
pub mod namespaces;
pub mod environment;
pub mod fds;
pub mod process;
pub mod rootfs;
pub mod scheduling;
pub mod seccomp;
