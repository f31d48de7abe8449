//! The systemd driver of the plan: a refusal, until units are spoken.

use crate::error::Error;

/// What a command with `--systemd-cgroup` (or `--cgroup-manager systemd`) gets instead of a plan.
pub fn refuse() -> Error {
    Error::new("the systemd cgroup driver (--systemd-cgroup) is not supported yet")
        .hint("leave --systemd-cgroup out and give linux.cgroupsPath as a plain path (cgroupfs driver)")
}
