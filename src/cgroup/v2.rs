//! What only cgroup v2 needs: controllers handed down, threaded parents, delegation.

use super::files::{Place, is_refusal, read_at};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::CgroupPlan;
use crate::sys::cgroupfs;

/// Files that cgroups(7) lets a delegatee own, should the kernel not list them.
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Readies a cgroup that was just made (or found): before the first process enters.
pub(super) fn prepare(place: &Place, plan: &CgroupPlan) -> Result<()> {
    enable(place, &plan.enable)?;
    leave_invalid_domain(place, plan.domain)?;
    match plan.delegate {
        Some(uid) => delegate(place, uid),
        None => Ok(()),
    }
}

/// Hands the controllers down from the top of the mount to the container's cgroup, never below it: a
/// cgroup with processes cannot hand down ("no internal processes"), the payload may want to.
///
/// A parent that refuses is no error here; the limit that needs the controller will say so.
fn enable(place: &Place, wanted: &[String]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let parents = place.path.match_indices('/').map(|(at, _)| &place.path[..at]);
    for parent in [""].into_iter().chain(parents) {
        let file = format!("{parent}/cgroup.subtree_control");
        let file = file.trim_start_matches('/');
        // Reading is cheap; writing takes the kernel's cgroup lock and waits for an RCU grace period.
        let has = read_at(&place.mount, file)?.unwrap_or_default();
        let missing: Vec<String> = wanted
            .iter()
            .filter(|c| !has.split_ascii_whitespace().any(|h| h == *c))
            .map(|c| format!("+{c}"))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let write = |value: &str| {
            cgroupfs::openat_write(&place.mount, file).and_then(|fd| cgroupfs::write(fd, value.as_bytes()))
        };
        match write(&missing.join(" ")) {
            Ok(()) => {}
            // No right to any of them: single tries would fare no better.
            Err(e) if is_refusal(&e) => {}
            // One controller of the set is refused; all others may still come.
            Err(_) => missing.iter().for_each(|one| drop(write(one))),
        }
    }
    Ok(())
}

/// Below a threaded cgroup a new one is "domain invalid": no process can enter until it is threaded too,
/// and then it has no memory, io, … controllers.
fn leave_invalid_domain(place: &Place, domain: bool) -> Result<()> {
    if place.read("cgroup.type")?.as_deref() != Some("domain invalid") {
        return Ok(());
    }
    if domain {
        return Err(Error::new(
            "the parent cgroup is threaded and gives no memory, cpu, io or hugetlb limits",
        )
        .at(place.shown.display().to_string())
        .hint("choose a linux.cgroupsPath below a domain cgroup"));
    }
    place.write("cgroup.type", "threaded").doing("make the cgroup threaded")
}

/// Gives the directory and the files the kernel lists to the payload's user.
fn delegate(place: &Place, uid: u32) -> Result<()> {
    let listed = read_at(cgroupfs::CWD, "/sys/kernel/cgroup/delegate")?;
    cgroupfs::chownat(&place.mount, &place.path, uid).at_with(|| place.shown.display().to_string())?;
    for file in listed.as_deref().unwrap_or(DELEGATED).lines() {
        match cgroupfs::chownat(&place.mount, &format!("{}/{file}", place.path), uid) {
            // The list names what some kernel configurations have.
            Err(e) if e.errno() == libc::ENOENT => {}
            done => done.at_with(|| place.show(file))?,
        }
    }
    Ok(())
}
