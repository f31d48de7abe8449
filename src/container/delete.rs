//! `delete`: everything of a container goes, or the command says what is left and fails.
//!
//! Runs in the runtime. Every step can be repeated: a second `delete` continues where the first was
//! killed. From the record alone: nothing is guessed from the host.

use super::hooks::{self, HookState, OCI_VERSION};
use super::status::{Status, living_init, living_or_forming, status};
use crate::cgroup::Manager;
use crate::error::{Doing, Error, Result};
use crate::state::store::no_container;
use crate::state::{Entry, Record, Root};
use crate::sys::pidfd::{ended_within, pidfd_send_signal};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a killed init may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a stopped or created container. Returns warnings (poststop hooks that failed, a unit that systemd did not stop).
pub fn delete(root: &Root, entry: &Entry) -> Result<Vec<String>> {
    entry.lock()?;
    let Some(record) = entry.load()? else {
        // A claim without a record: create died before its first write, there was no effect yet.
        root.remove(entry)?;
        return Err(no_container());
    };
    match status(entry, Some(&record))? {
        Status::Stopped | Status::Created | Status::Creating => destroy(root, entry, &record),
        other => {
            let text = format!("cannot delete container {} that is not stopped: {}", entry.id, other.word());
            Err(Error::new(text).hint("orlop delete --force kills it first"))
        }
    }
}

/// Deletes a container in any state. Kills before it asks for the lock, so that a stuck `create` lets go.
pub fn delete_force(root: &Root, entry: &Entry) -> Result<Vec<String>> {
    match entry.load() {
        Ok(Some(record)) => kill_all(&record)?,
        Ok(None) => {}
        // Of another boot, and nothing will ever be known of it.
        Err(_) if entry.is_lost()? => return root.remove(entry).map(|()| Vec::new()),
        Err(e) => return Err(e),
    }
    match entry.lock_by_force() {
        Ok(()) => {}
        // The create that was in the way has undone itself.
        Err(e) if e.kind() == crate::error::Kind::NoContainer => return Ok(Vec::new()),
        Err(e) => return Err(e),
    }
    match entry.load()? {
        Some(record) => destroy_all(root, entry, &record, true),
        None => root.remove(entry).map(|()| Vec::new()),
    }
}

/// Ends every process of the container: by its cgroup, and init by its identity (it is all there is
/// where cgroups are disabled).
fn kill_all(record: &Record) -> Result<()> {
    let by_cgroup = Manager::open(&record.cgroup).kill_all().doing("kill the container's processes");
    // Whatever was in the way of the one, the other is done.
    let by_identity = kill_init(record);
    Error::joined([by_cgroup, by_identity].into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
}

fn kill_init(record: &Record) -> Result<()> {
    if let Some(pidfd) = living_or_forming(record)? {
        match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) => {}
            Err(e) if e.errno() == libc::ESRCH => {}
            Err(e) => return Err(e).doing("kill the container's init"),
        }
        if !ended_within(pidfd.as_fd(), PATIENCE) {
            return Err(
                Error::new("container init still running").hint("a process in state D cannot be killed")
            );
        }
    }
    Ok(())
}

/// kill → cgroups → state → poststop hooks (after everything is gone, config.md). The caller holds the lock.
pub fn destroy(root: &Root, entry: &Entry, record: &Record) -> Result<Vec<String>> {
    destroy_all(root, entry, record, false)
}

/// `force`: whoever is in the cgroup is killed.
fn destroy_all(root: &Root, entry: &Entry, record: &Record, force: bool) -> Result<Vec<String>> {
    let manager = Manager::open(&record.cgroup);
    let mut warnings = Vec::new();
    let lives = living_init(record)?.is_some();
    // An empty cgroup can be removed as it is: then there is nobody to be killed.
    if lives || !manager.remove_deserted()? {
        // All others of its pid namespace have ended with init. Who is in the cgroup then has come since: a container
        // with the same cgroupsPath, or the same id below another root.
        let all_ended = !lives && record.init.is_some() && record.own_pid_namespace;
        match all_ended && !force {
            true => manager.check_deserted()?,
            false => kill_all(record)?,
        }
        warnings.extend(manager.remove().doing("remove the container's cgroup")?);
    }
    let removed = root.remove(entry);
    if removed.is_err() && entry.is_named()? {
        return removed.map(|()| Vec::new());
    }
    // The name is free, nobody will come back for the hooks.
    warnings.extend(poststop(record));
    removed.map(|()| warnings)
}

/// Failures are warnings, and the remaining hooks run all the same (runtime.md, step 13).
fn poststop(record: &Record) -> Vec<String> {
    if record.poststop.is_empty() || !record.hooks_begun {
        return Vec::new();
    }
    let state = HookState {
        oci_version: OCI_VERSION,
        id: &record.id,
        status: "stopped",
        pid: 0,
        bundle: &record.bundle,
        annotations: &record.annotations,
    };
    let cwd = std::ffi::CString::new(record.bundle.as_os_str().as_encoded_bytes()).ok();
    let env = crate::host::environment();
    let failed = hooks::run_all(&record.poststop, &state, &env, cwd.as_deref());
    failed.iter().map(Error::to_string).collect()
}
