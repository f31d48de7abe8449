//! What this host is: read once, only what is asked for, as plain values for the plan.

pub mod capabilities;
pub mod cgroup;
pub mod process;

pub use process::{ProcessStat, process_stat};

use crate::error::{Call, Doing, Result};
use crate::plan::facts::HostFacts;

/// /proc/sys/kernel/random/boot_id, without its newline.
pub fn boot_id() -> Result<String> {
    Ok(read("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The runtime's own environment, for hooks without one; entries that are not UTF-8 are left out.
pub fn environment() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
        .collect()
}

/// The facts that every plan is made from.
pub fn facts() -> Result<HostFacts> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let capabilities = capabilities::read()?;
    Ok(HostFacts {
        euid: rustix::process::geteuid().as_raw(),
        egid: rustix::process::getegid().as_raw(),
        in_user_namespace: in_user_namespace()?,
        last_cap: capabilities.last,
        grantable: capabilities.grantable,
        cgroups: cgroup::facts()?,
        listen_fds: crate::plan::fds::listen_fds(
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS").as_deref(),
            std::process::id(),
        ),
        notify_socket: variable("NOTIFY_SOCKET"),
    })
}

/// Whether our ids are mapped: then root is not the host's root.
pub fn in_user_namespace() -> Result<bool> {
    let map = read("/proc/self/uid_map")?;
    let words: Vec<&str> = map.split_ascii_whitespace().collect();
    Ok(words != ["0", "0", "4294967295"])
}

fn read(path: &'static str) -> Result<String> {
    std::fs::read_to_string(path).call("open").at(path)
}
