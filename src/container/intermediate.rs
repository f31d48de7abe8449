//! I1–I4: the process between runtime and init when a user namespace is involved.
//!
//! Runs in a fork-like clone of the runtime. It joins what the config names, enters the user namespace,
//! is mapped by the runtime, becomes its root, and clones init as its own sibling (CLONE_PARENT), so that
//! init stays the runtime's child and everything new belongs to the mapped root.

use super::init::{self, Born, Inherited, Lies};
use super::message::{Failed, Kind, Step};
use crate::error::{Call, Doing, Error, Result};
use crate::host::denies_setgroups;
use crate::plan::namespaces::{NsKind, TimeOffset};
use crate::rootfs::HostFds;
use crate::security::keyring;
use crate::sys::clone::clone3_sibling;
use crate::sys::last_stage::Place;
use crate::sys::ns;
use crate::sys::own_image;
use crate::sys::process::{become_root, close_inherited, exit_now, forget_arguments, set_dumpable, set_name};
use std::convert::Infallible;
use std::os::fd::AsFd;

pub fn run(inherited: &Inherited, host: HostFds, in_cgroup: bool) -> Infallible {
    if let Err(failed) = steps(inherited, host, in_cgroup) {
        // The runtime sees at least the end-of-file.
        let _ = inherited.channel.send(&failed.message(), &[]);
        exit_now(1);
    }
    exit_now(0)
}

fn steps(inherited: &Inherited, host: HostFds, in_cgroup: bool) -> Result<(), Failed> {
    let at = |step: Step| move |e: Error| Failed { step, error: Box::new(e) };
    let plan = inherited.plan;

    // I1: in the cgroup first, then out of the runtime's namespaces.
    close_inherited(inherited.runtime_end);
    set_name(c"orlop:[inter]");
    forget_arguments();
    if plan.hide_early {
        set_dumpable(false);
    }
    inherited.enter_cgroups(in_cgroup).map_err(at(Step::I1))?;
    // Others see what init executes: the file is made out here.
    let place = if plan.is_seen() { Place::memfd().map_err(at(Step::I1))? } else { None };
    let protected = plan.is_seen() && own_image::is_protected().map_err(at(Step::I1))?;
    let later = join_what_can_be(inherited).map_err(at(Step::I1))?;
    enter_user_namespace(inherited).map_err(at(Step::I1))?;
    // Of a new one the plan knows it.
    let is_optional = plan.process.as_ref().is_some_and(|process| process.groups_optional);
    let groups_denied =
        is_optional && plan.namespaces.joins(NsKind::User).is_some() && denies_setgroups("self");
    inherited.channel.tell(Kind::MapIds).map_err(at(Step::I1))?;
    inherited.channel.await_or_die(Kind::IdsMapped);
    if plan.is_seen() {
        // The runtime is through with our files, and init is born as we are: others see it from there on.
        set_dumpable(false);
    }

    // I2: root of the user namespace, or, where it has none, its process.
    let keyring = plan.process.as_ref().and_then(|process| process.keyring.as_ref());
    let alone = plan.hide_early && keyring::leave_callers(keyring);
    let ids = plan.process.as_ref().map_or((0, 0), |process| (process.uid, process.gid));
    become_root(ids)
        .doing("become root of the user namespace")
        .hint("linux.uidMappings and gidMappings must map id 0 or process.user")
        .map_err(at(Step::I2))?;

    let lies = match place {
        // As for a joiner: with an owner who is mapped it is no better kept than the program.
        place if protected && place.as_ref().is_none_or(Place::is_within_reach) => Lies::Here,
        Some(place) => Lies::In(place),
        None => Lies::Anywhere,
    };

    // I3: what belongs to that user namespace, and what is for children only.
    for joined in later {
        ns::setns(joined.fd.as_fd(), joined.kind.flag())
            .at_with(|| joined.field.clone())
            .doing("join a namespace")
            .map_err(at(Step::I3))?;
    }
    let offsets = &plan.namespaces.time_offsets;
    if !offsets.is_empty() {
        ns::unshare(NsKind::Time.flag()).at("linux.namespaces").map_err(at(Step::I3))?;
        // Files in /proc of a process that is not dumpable belong to the host's root. Nobody in the
        // container can see this process: it is in none of its pid namespaces.
        set_dumpable(true);
        let written = write_time_offsets(offsets);
        set_dumpable(false);
        written.map_err(at(Step::I3))?;
    }

    // I4: init, in all the new namespaces at once.
    let mut flags = 0;
    for kind in &plan.namespaces.create {
        let made = matches!(kind, NsKind::User | NsKind::Cgroup);
        let by_offsets = *kind == NsKind::Time && !offsets.is_empty();
        if !made && !by_offsets {
            flags |= kind.flag() as u64;
        }
    }
    let mut host = Some(host);
    let init = clone3_sibling(flags, || match host.take() {
        Some(host) => init::run(inherited, Born::OfIntermediate { groups_denied, lies, alone }, host),
        None => exit_now(1),
    });
    // They are init's now; here the kernel closes them in a moment.
    std::mem::forget(host);
    let init = init.doing("create the container's namespaces").map_err(at(Step::I4))?;
    inherited.channel.introduce(&init).map_err(at(Step::I4))
}

/// Joins the namespaces that the runtime's own rights suffice for, and returns those that belong to the
/// user namespace that is still to be entered.
fn join_what_can_be<'a>(inherited: &Inherited<'a>) -> Result<Vec<&'a super::joins::Joined>> {
    let mut later = Vec::new();
    for joined in inherited.joins.iter().filter(|joined| joined.kind != NsKind::User) {
        match ns::setns(joined.fd.as_fd(), joined.kind.flag()) {
            Ok(()) => {}
            Err(e) if e.errno() == libc::EPERM => later.push(joined),
            Err(e) => return Err(e.at(joined.field.clone()).doing("join a namespace")),
        }
    }
    Ok(later)
}

fn enter_user_namespace(inherited: &Inherited) -> Result<()> {
    match inherited.joins.iter().find(|joined| joined.kind == NsKind::User) {
        Some(joined) => ns::setns(joined.fd.as_fd(), NsKind::User.flag())
            .at_with(|| joined.field.clone())
            .doing("join a namespace"),
        None => ns::unshare(NsKind::User.flag()).doing("create the user namespace").at("linux.namespaces"),
    }
}

/// Offsets are written before the first process enters (time_namespaces(7)).
pub fn write_time_offsets(offsets: &[TimeOffset]) -> Result<()> {
    const PATH: &str = "/proc/self/timens_offsets";
    let text: String =
        offsets.iter().map(|o| format!("{} {} {}\n", o.clock, o.seconds, o.nanoseconds)).collect();
    std::fs::write(PATH, text).call("write").at("linux.timeOffsets").doing("set the clock offsets")
}
