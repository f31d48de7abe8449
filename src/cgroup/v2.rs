//! What only cgroup v2 needs: controllers handed down, threaded parents, delegation.

use super::files::{Place, is_refusal, read_at};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::CgroupPlan;
use crate::sys::cgroupfs;

/// Files that cgroups(7) lets a delegatee own, should the kernel not list them.
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// The type of a cgroup below threaded ones that is not threaded itself.
const INVALID: &str = "domain invalid";

/// Readies a cgroup that was just made (or found): before the first process enters. What is to be warned of.
pub(super) fn prepare(place: &Place, plan: &CgroupPlan) -> Result<Option<String>> {
    enable(place, plan)?;
    if place.read("cgroup.type")?.as_deref() == Some(INVALID) {
        // Those above first: a cgroup can only join the threads of its parent.
        for path in parents(place).chain([&*place.path]) {
            leave_invalid_domain(place, path, plan.domain)?;
        }
    }
    delegate(place, &plan.delegate)
}

/// Hands the controllers down from the top of the mount to the container's cgroup, never below it: a
/// cgroup with processes cannot hand down ("no internal processes"), the payload may want to.
///
/// A parent that refuses is no error here; the limit that needs the controller will say so.
fn enable(place: &Place, plan: &CgroupPlan) -> Result<()> {
    let wanted = &plan.enable;
    if wanted.is_empty() {
        return Ok(());
    }
    for parent in [""].into_iter().chain(parents(place)) {
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
        // The one above may have become a threaded domain just now; an invalid one hands nothing down.
        leave_invalid_domain(place, parent, plan.domain)?;
        let write = |value: &str| {
            cgroupfs::openat_write(&place.mount, file).and_then(|fd| cgroupfs::write(fd, value.as_bytes()))
        };
        match write(&missing.join(" ")) {
            Ok(()) => {}
            // No right to any of them: single tries would fare no better.
            Err(e) if is_refusal(&e) => {}
            // One controller of the set is refused; all others may still come.
            Err(_) if !has_processes(place, parent)? => missing.iter().for_each(|one| drop(write(one))),
            // Alone, cpu, cpuset and pids would pass here, but turn the parent into the root of threaded
            // cgroups: its own, and for good. Not without a limit that is served by it.
            Err(_) if plan.domain => {}
            Err(_) => {
                let limited = missing
                    .iter()
                    .filter(|one| plan.limited.iter().any(|c| one.strip_prefix('+') == Some(c)));
                limited.for_each(|one| drop(write(one)));
            }
        }
    }
    Ok(())
}

/// A cgroup with processes of its own that still is a plain domain. The root of the host is none: it has no
/// type, and may have processes and hand down.
fn has_processes(place: &Place, parent: &str) -> Result<bool> {
    let read = |file: &str| read_at(&place.mount, format!("{parent}/{file}").trim_start_matches('/'));
    Ok(read("cgroup.type")?.as_deref() == Some("domain")
        && read("cgroup.procs")?.is_some_and(|p| !p.is_empty()))
}

/// Below a threaded cgroup a new one is "domain invalid": no process can enter until it is threaded too,
/// and then it has no memory, io, … controllers.
fn leave_invalid_domain(place: &Place, path: &str, domain: bool) -> Result<()> {
    let file = format!("{path}/cgroup.type");
    let file = file.trim_start_matches('/');
    if read_at(&place.mount, file)?.as_deref() != Some(INVALID) {
        return Ok(());
    }
    if domain {
        return Err(Error::new("the parent cgroup is threaded and gives cpu, cpuset and pids limits only")
            .at(place.shown.display().to_string())
            .hint("choose a linux.cgroupsPath below a domain cgroup"));
    }
    let file = cgroupfs::openat_write(&place.mount, file);
    file.and_then(|file| cgroupfs::write(file, b"threaded"))
        .at_with(|| place.shown.display().to_string())
        .doing("make the cgroup threaded")
}

/// The cgroups between the top of the mount and the container's.
fn parents(place: &Place) -> impl Iterator<Item = &str> {
    place.path.match_indices('/').map(|(at, _)| &place.path[..at])
}

/// Gives the cgroup to the first of `uids` that the kernel lets us give it to. An ordinary user can give nothing away
/// (EPERM), nor can an id be given that is not mapped (EINVAL): the cgroup is as good as before, but for the payload's
/// own management of it.
fn delegate(place: &Place, uids: &[u32]) -> Result<Option<String>> {
    let Some(wanted) = uids.first() else { return Ok(None) };
    let mut owner = None;
    for uid in uids {
        match give(place, *uid) {
            Ok(()) => {
                owner = Some(uid);
                break;
            }
            Err(e) if [libc::EPERM, libc::EINVAL].contains(&e.errno()) => {}
            Err(e) => return Err(e),
        }
    }
    let instead = match owner {
        Some(uid) if uid == wanted => return Ok(None),
        Some(uid) => format!("{uid}, the container's root, has it"),
        None => "the payload cannot manage it".to_owned(),
    };
    Ok(Some(format!("{}: cannot be given to the user id {wanted}: {instead}", place.shown.display())))
}

/// The directory, and the files that the kernel lists.
fn give(place: &Place, uid: u32) -> Result<()> {
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
