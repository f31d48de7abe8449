//! Which processes a container has. In the runtime of later commands.
//!
//! Its cgroup tells. A rootless container may have none; then those in its pid namespace are found by looking at every
//! process, which costs time but misses only what is in pid namespaces below. Without either nobody knows more than init.

use super::status::living_init;
use crate::cgroup::Manager;
use crate::error::{Call, Doing, Result};
use crate::host::process_stat;
use crate::state::Record;
use crate::sys::pidfd::has_ended;
use std::os::fd::AsFd;

/// Ids of all processes, ascending; none of a stopped container.
pub fn processes(record: &Record) -> Result<Vec<i32>> {
    if has_cgroup(record) {
        return Manager::open(&record.cgroup).processes().doing("list the container's processes");
    }
    let (Some(pidfd), Some(init)) = (living_init(record)?, &record.init) else { return Ok(Vec::new()) };
    if !record.own_pid_namespace {
        return Ok(vec![init.pid]);
    }
    let found = in_namespace_of(init.pid).doing("list the container's processes")?;
    // The number may have been somebody else's by then.
    Ok(if has_ended(pidfd.as_fd()) { Vec::new() } else { found })
}

/// Whether the container was given a cgroup.
pub fn has_cgroup(record: &Record) -> bool {
    !record.cgroup.hierarchies.is_empty()
}

/// Processes that we may not look at are another user's, and so no members.
fn in_namespace_of(init: i32) -> Result<Vec<i32>> {
    let namespace = |pid: i32| {
        let stat = rustix::fs::stat(format!("/proc/{pid}/ns/pid")).ok();
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    let Some(wanted) = namespace(init) else { return Ok(vec![init]) };
    let entries = std::fs::read_dir("/proc").call("open").at("/proc")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // One that has ended and was not waited for keeps its namespace, but no cgroup would list it.
    let lives = |pid: &i32| matches!(process_stat(*pid), Ok(Some(stat)) if !stat.is_exiting());
    let mut pids: Vec<i32> = pids.filter(|pid| namespace(*pid) == Some(wanted)).filter(lives).collect();
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_same_namespace_are_found() {
        let own = std::process::id() as i32;
        assert!(in_namespace_of(own).unwrap().contains(&own));
    }
}
