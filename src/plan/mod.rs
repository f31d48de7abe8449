//! The plan: what `create` is going to do, as one plain value. PURE: nothing here touches the system.

pub mod cgroup;
pub mod hooks;
pub mod ids;
pub mod namespaces;
pub mod process;
pub mod rootfs;
pub mod seccomp;
