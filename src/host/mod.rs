//! What this host is: read once, only what is asked for, as plain values for the plan.

pub mod capabilities;
pub mod cgroup;
pub mod process;
mod systemd;

pub use process::{ProcessStat, process_stat};

use crate::error::{Call, Doing, Result};
use crate::plan::cgroup::Driver;
use crate::plan::facts::HostFacts;
use crate::plan::seccomp;
use crate::sys::seccomp::knows_filter_flags;
use rustix::fs::{Mode, OFlags};

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
pub fn facts(driver: Driver) -> Result<HostFacts> {
    let process = process_facts()?;
    if driver == Driver::Disabled {
        // A kernel may have none at all.
        return Ok(process);
    }
    let mut cgroups = cgroup::facts()?;
    if driver == Driver::Systemd {
        let manager = systemd::facts(&cgroups.hierarchies, process.in_user_namespace, process.euid)?;
        cgroups.manager = Some(manager);
    }
    Ok(HostFacts { cgroups, ..process })
}

/// The same without cgroups: an existing container has its own in its record.
pub fn process_facts() -> Result<HostFacts> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let euid = rustix::process::geteuid().as_raw();
    let in_user_namespace = in_user_namespace()?;
    Ok(HostFacts {
        euid,
        egid: rustix::process::getegid().as_raw(),
        in_user_namespace,
        // The host itself never forbids it.
        setgroups_denied: in_user_namespace && denies_setgroups("self"),
        grantable: capabilities::grantable()?,
        cgroups: crate::plan::cgroup::facts::CgroupFacts::default(),
        asker: systemd::asker(in_user_namespace, euid)?,
        listen_fds: crate::plan::fds::listen_fds(
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS").as_deref(),
            std::process::id(),
        ),
        notify_socket: variable("NOTIFY_SOCKET"),
    })
}

/// The names of the filter flags that this kernel takes, of those that a profile may have.
pub fn seccomp_flags() -> Vec<String> {
    let taken = seccomp::FLAGS.into_iter().filter(|flag| knows_filter_flags(seccomp::flags_of(*flag)));
    taken.map(|flag| flag.to_string()).collect()
}

/// Whether the user namespace of a process, a number or "self", denies setgroups(2). No where that cannot be known: then
/// a refusal is a failure.
pub fn denies_setgroups(process: &str) -> bool {
    read(&format!("/proc/{process}/setgroups")).is_ok_and(|word| word.trim() == "deny")
}

/// Whether root is not the host's root. The map does not tell: `PrivateUsers=full` maps every id to itself.
pub fn in_user_namespace() -> Result<bool> {
    const OURS: &str = "/proc/self/ns/user";
    /// PROC_USER_INIT_INO of the kernel's headers, the same since Linux 3.8.
    const FIRST: u64 = 0xefff_fffd;
    match rustix::fs::stat(OURS) {
        Ok(found) => Ok(found.st_ino != FIRST),
        // A kernel without user namespaces.
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e).call("stat").at(OURS),
    }
}

/// A file of /proc with less than 4 KiB, in three system calls: procfs answers with all it has, so a read that does
/// not fill the buffer was the last one.
fn read(path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).call("open").at_with(|| path.to_owned())?;
    let mut bytes = [0; 4096];
    let length = rustix::io::read(&file, &mut bytes).call("read").at_with(|| path.to_owned())?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}
