//! Device rules: the writes of v1, or the program of cgroup2.

use super::absent;
use super::files::{Place, apply as write_all};
use crate::error::{Doing, Result};
use crate::plan::cgroup::device_rules::{DevicePlan, Enforce};
use crate::sys::bpf;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) fn apply(places: &[Option<Place>], plan: &DevicePlan) -> Result<()> {
    let Some(place) = places.get(plan.hierarchy).and_then(Option::as_ref) else {
        return if plan.optional { Ok(()) } else { Err(absent("linux.resources.devices")) };
    };
    match &plan.enforce {
        Enforce::Files(writes) => write_all(places, writes),
        Enforce::Program(program) => {
            let program: Vec<u64> = program.iter().map(|insn| insn.encode()).collect();
            let cgroup = place.open_dir()?;
            let loaded = load(&program).doing("load the device rules")?;
            let old = if place.is_fresh() { vec![] } else { attached(cgroup.as_fd())? };
            attach(cgroup.as_fd(), loaded.as_fd(), &old)
                .doing("attach the device rules")
                .at_with(|| place.shown.display().to_string())
        }
    }
}

fn load(program: &[u64]) -> Result<OwnedFd> {
    match bpf::prog_load(program) {
        // Before 5.11: locked memory is used up. On any other cause the second try fails the same way.
        Err(e) if e.errno() == libc::EPERM => bpf::with_memlock(|| bpf::prog_load(program)),
        done => done,
    }
}

/// Programs that an earlier owner left on this very cgroup.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut out = vec![];
    for id in bpf::prog_query(cgroup)? {
        match bpf::prog_get_fd_by_id(id) {
            Ok(program) => out.push(program),
            // Detached in between.
            Err(e) if e.errno() == libc::ENOENT => {}
            Err(e) => return Err(e),
        }
    }
    Ok(out)
}

/// All attached programs must agree to an access, so old ones would keep denying: they go, but only
/// after the new one is in place.
fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, old: &[OwnedFd]) -> Result<()> {
    if let [only] = old {
        match bpf::prog_attach(cgroup, program, Some(only.as_fd())) {
            Ok(()) => return Ok(()),
            // Before 5.6 there is no BPF_F_REPLACE.
            Err(e) if e.errno() == libc::EINVAL => {}
            Err(e) => return Err(e),
        }
    }
    bpf::prog_attach(cgroup, program, None)?;
    for program in old {
        match bpf::prog_detach(cgroup, program.as_fd()) {
            Err(e) if e.errno() == libc::ENOENT => {}
            done => done?,
        }
    }
    Ok(())
}
