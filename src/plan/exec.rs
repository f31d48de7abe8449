//! The plan of a process that joins an existing container: the kept configuration and a process file, or
//! the flags of the command line, become an [`ExecPlan`]. PURE.
//!
//! A process file is the whole process; what a file may leave to the container (capabilities, limits, labels,
//! scheduling, no_new_privs) is taken from there when it is absent. Filter, personality, memory policy, umask
//! and keyring are always the container's: nobody joins with less protection than init has.

use super::capabilities;
use super::cgroup::attach::{self, AttachPlan};
use super::cgroup::{CgroupRecord, Hierarchy};
use super::facts::{CAP_SETGID, CAP_SETUID, HostFacts};
use super::ids;
use super::namespaces::NsKind;
use super::process::{self, ProcessPlan};
use super::rootfs::has_own_dev;
use super::seccomp::{self, SeccompPlan};
use crate::error::{Error, Result};
use crate::spec::{Bundle, Mended, Part, names, validate_process};
use oci_spec::runtime::{LinuxNamespaceType, Process};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is typed instead of a process file, and what is asked for beside one.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub args: Vec<String>,
    pub terminal: bool,
    pub cwd: Option<String>,
    pub env: Vec<String>,
    /// `UID[:GID]`.
    pub user: Option<String>,
    pub additional_gids: Vec<String>,
    pub caps: Vec<String>,
    pub no_new_privs: bool,
    pub apparmor: Option<String>,
    pub process_label: Option<String>,
    pub preserve_fds: u32,
    /// `[controller[,controller]:]PATH`.
    pub cgroups: Vec<String>,
}

/// Everything that the plan is made from.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub id: &'a str,
    /// The kept configuration of the container.
    pub config: &'a Bundle,
    /// `--process`.
    pub file: Option<&'a Part<Process>>,
    pub flags: &'a Flags,
    /// Namespaces of init that are not those of its creator.
    pub namespaces: &'a [NsKind],
    pub cgroup: &'a CgroupRecord,
    pub no_new_keyring: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecPlan {
    pub id: String,
    pub process: ProcessPlan,
    pub seccomp: Option<SeccompPlan>,
    pub namespaces: Vec<NsKind>,
    /// The cgroups to enter, one per hierarchy.
    pub cgroups: Vec<Hierarchy>,
    /// Where the container's cgroup takes no process, that of init will do (v2: the payload manages children).
    pub cgroup_of_init: bool,
    /// The joiner hides at once. Not below another user than root: from then on its own files are not ours.
    pub hide_early: bool,
    /// How the process gets into its cgroup when the kernel refuses it.
    pub attach: Option<AttachPlan>,
    /// /dev is the container's: stdio that is the host's /dev/null is exchanged.
    pub own_dev: bool,
    /// Capabilities that the process needs until it has become what it is to be: all others go before
    /// anybody in the container can see it.
    pub keep_capabilities: u64,
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// capabilities(7).
const CAP_SETPCAP: u64 = 1 << 8;
const CAP_SYS_PTRACE: u64 = 1 << 19;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_NICE: u64 = 1 << 23;

pub fn plan(wanted: &Wanted<'_>, facts: &HostFacts) -> Result<ExecPlan> {
    let spec = &wanted.config.spec;
    let linux = spec.linux().as_ref();
    let mut warnings = wanted.file.map(|part| part.warnings.clone()).unwrap_or_default();
    let (process, mended) = wanted_process(wanted)?;
    if let Some(problems) = Error::joined(validate_process(&process, &mended, linux)) {
        return Err(problems);
    }
    let userns = wanted.namespaces.contains(&NsKind::User);
    let options = process::Options {
        id: wanted.id.to_owned(),
        preserve_fds: wanted.flags.preserve_fds,
        listen_fds: facts.listen_fds,
        notify_socket: None,
        no_new_keyring: wanted.no_new_keyring,
        userns,
        setgroups: process::SetGroups::of(facts, denies_setgroups(wanted.config, facts)),
        grantable: if userns { u64::MAX } else { facts.grantable },
    };
    let grantable = options.grantable;
    let mut plan = process::plan_process(&process, spec, &mended.scheduler_flags, &options, &mut warnings)?;
    if wanted.file.is_none() {
        // What is odd about the container's own process was said when it was created; here it would land in the
        // program's stderr, again and again.
        warnings.clear();
        add_capabilities(&mut plan, &wanted.flags.caps, grantable, &mut warnings);
    }
    plan.umask = umask(wanted.config);
    let seccomp = match linux.and_then(|l| l.seccomp().as_ref()) {
        // Its warnings were given when the container was created.
        Some(profile) => seccomp::plan(profile, seccomp::NATIVE, &mut Vec::new())?,
        None => None,
    };
    let cgroups = cgroups(wanted.cgroup, &wanted.flags.cgroups)?;
    Ok(ExecPlan {
        id: wanted.id.to_owned(),
        keep_capabilities: needed(&plan, seccomp.is_some())
            | one_more(held_by_container(wanted.config), grantable),
        process: plan,
        seccomp,
        namespaces: wanted.namespaces.to_vec(),
        attach: attach::plan(&cgroups, wanted.cgroup.layout, facts.asker.as_ref()),
        cgroups,
        cgroup_of_init: wanted.flags.cgroups.is_empty(),
        hide_early: facts.euid == 0,
        own_dev: has_own_dev(wanted.config),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        warnings,
    })
}

/// Whether a process that sees ours when it joins is known to be able to trace it: the runtime must run from an image
/// that cannot be written. In a shared pid namespace that is whatever the others in it may do. Capabilities of the
/// container's user namespace do not reach so far. False is no proof: anybody may have joined the pid namespace since
/// (`--pid=container:ID`, from outside of the user namespace too), or come by an earlier `exec --cap`.
pub fn is_exposed(config: &Bundle, namespaces: &[NsKind], own_pid_namespace: bool) -> bool {
    !namespaces.contains(&NsKind::User)
        && (!own_pid_namespace || held_by_container(config) & CAP_SYS_PTRACE != 0)
}

/// The container was made with a user namespace that does. Of one that it joined nothing is known; where no groups are
/// asked for, the caller's are dropped if it lets us.
fn denies_setgroups(config: &Bundle, facts: &HostFacts) -> bool {
    let Some(linux) = config.spec.linux().as_ref() else { return false };
    let namespaces = linux.namespaces().iter().flatten();
    let mut made = namespaces.filter(|one| one.typ() == LinuxNamespaceType::User && one.path().is_none());
    let gid = linux.gid_mappings().as_deref().unwrap_or_default();
    made.next().is_some() && ids::denies_setgroups(gid, facts.maps_ids(), facts.egid)
}

fn umask(config: &Bundle) -> u32 {
    let own = config.spec.process().as_ref().and_then(|process| process.user().umask());
    own.unwrap_or(0o022) & 0o777
}

/// What the last stage and the setting of priorities ask for, and what the program gets anyway.
fn needed(process: &ProcessPlan, filtered: bool) -> u64 {
    let mut keep = CAP_SETGID | CAP_SETUID | CAP_SETPCAP;
    if filtered && !process.no_new_privs {
        keep |= CAP_SYS_ADMIN;
    }
    if process.scheduler.is_some() || process.io_priority.is_some() {
        keep |= CAP_SYS_NICE;
    }
    let own = &process.capabilities;
    keep | own.bounding | own.permitted | own.effective
}

/// A capability that the container's processes have not. execve makes the last stage dumpable, and whoever has all that it
/// has may trace it (ptrace(2), PTRACE_MODE_ATTACH) before it is filtered: nobody has, while it holds this one too. It
/// goes with the last stage's own capset. Preferred are those that are good for least.
fn one_more(held: u64, grantable: u64) -> u64 {
    const CAP_WAKE_ALARM: u32 = 35;
    const CAP_BLOCK_SUSPEND: u32 = 36;
    let missing = |bit: &u64| grantable & !held & bit != 0;
    [CAP_WAKE_ALARM, CAP_BLOCK_SUSPEND].into_iter().chain(0..64).map(|at| 1 << at).find(missing).unwrap_or(0)
}

fn held_by_container(config: &Bundle) -> u64 {
    let capabilities = config.spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let all = capabilities::CapabilityPlan::new(capabilities, u64::MAX, &mut Vec::new());
    all.bounding | all.permitted
}

fn wanted_process(wanted: &Wanted<'_>) -> Result<(Process, Mended)> {
    let own = wanted.config.spec.process().as_ref();
    match (wanted.file, own) {
        (Some(part), Some(own)) => Ok(completed(part, own, &wanted.config.mended, wanted.flags)),
        (Some(part), None) => Ok((part.value.clone(), part.mended.clone())),
        (None, Some(own)) => Ok((typed(own, wanted.flags)?, own_mended(&wanted.config.mended))),
        (None, None) => Err(Error::new("process: is missing from config.json, nothing to begin with")
            .hint("give the whole process with --process FILE")),
    }
}

/// A fault of the container's own process has been told before; only its words of flags matter here.
fn own_mended(mended: &Mended) -> Mended {
    Mended { scheduler_flags: mended.scheduler_flags.clone(), ..Mended::default() }
}

/// The process of the file, with the container's where the file is silent.
fn completed(part: &Part<Process>, own: &Process, own_words: &Mended, flags: &Flags) -> (Process, Mended) {
    let mut process = part.value.clone();
    let mut mended = part.mended.clone();
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    if process.no_new_privileges().is_none() {
        process.set_no_new_privileges(own.no_new_privileges());
    }
    if process.apparmor_profile().is_none() {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if process.selinux_label().is_none() {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
        mended.scheduler_flags = own_words.scheduler_flags.clone();
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if flags.terminal {
        process.set_terminal(Some(true));
    }
    confine(&mut process, flags);
    (process, mended)
}

/// What was typed to confine the process holds for one of a file, too.
fn confine(process: &mut Process, flags: &Flags) {
    if flags.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = given(&flags.apparmor) {
        process.set_apparmor_profile(Some(profile));
    }
    if let Some(label) = given(&flags.process_label) {
        process.set_selinux_label(Some(label));
    }
}

/// An empty value is none, as in runc: `--apparmor "$UNSET"` must not take the container's profile away.
fn given(flag: &Option<String>) -> Option<String> {
    flag.clone().filter(|value| !value.is_empty())
}

/// The container's process with what was typed.
fn typed(own: &Process, flags: &Flags) -> Result<Process> {
    if flags.args.is_empty() {
        return Err(Error::new("process args cannot be empty")
            .hint("give a command after the container's id, or --process FILE"));
    }
    let mut process = own.clone();
    process.set_args(Some(flags.args.clone()));
    process.set_terminal(Some(flags.terminal));
    if let Some(cwd) = given(&flags.cwd) {
        process.set_cwd(cwd.into());
    }
    if let Some(text) =
        flags.env.iter().find(|text| text.split_once('=').is_none_or(|(name, _)| name.is_empty()))
    {
        return Err(Error::new(format!("--env {text:?}: not of the form NAME=VALUE")));
    }
    let mut env = own.env().clone().unwrap_or_default();
    env.extend(flags.env.iter().cloned());
    process.set_env(Some(env));
    let mut user = own.user().clone();
    if let Some(text) = given(&flags.user) {
        let (uid, gid) = parse_user(&text)?;
        user.set_uid(uid);
        user.set_gid(gid.unwrap_or(user.gid()));
    }
    if !flags.additional_gids.is_empty() {
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        for text in &flags.additional_gids {
            gids.push(parse_id(text).ok_or_else(|| {
                Error::new(format!("--additional-gids {text:?}: not a group id")).hint("numbers only")
            })?);
        }
        user.set_additional_gids(Some(gids));
    }
    process.set_user(user);
    confine(&mut process, flags);
    Ok(process)
}

/// `UID[:GID]`, the whole text or nothing of it: a number cut short has made strangers root
/// (CVE-2026-30892).
pub fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let refused = || {
        Error::new(format!("--user {text:?}: not of the form UID[:GID]"))
            .hint("numbers only: names belong to the image")
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    let uid = parse_id(uid).ok_or_else(refused)?;
    let gid = gid.map(|gid| parse_id(gid).ok_or_else(refused)).transpose()?;
    Ok((uid, gid))
}

/// Decimal digits only; -1 as unsigned means "leave it" to setresuid(2) and is no id.
fn parse_id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// What cannot be had is a warning, as in config.json; nothing is ever added to what is inherited
/// (CVE-2022-29162, CVE-2022-27650).
fn add_capabilities(process: &mut ProcessPlan, names: &[String], grantable: u64, warnings: &mut Vec<String>) {
    let mut wanted = 0;
    for name in names {
        match names::capability(name) {
            Some(number) => wanted |= 1 << number,
            None => warnings.push(format!("--cap: unknown capability {} ignored", name.escape_default())),
        }
    }
    let lost = wanted & !grantable;
    if lost != 0 {
        let lost = capabilities::names(lost).join(", ");
        warnings.push(format!("--cap: {lost} cannot be granted: the runtime or the kernel lacks them"));
    }
    process.capabilities.add(wanted & grantable);
}

/// The container's cgroups, or those below them that `--cgroup` names.
fn cgroups(record: &CgroupRecord, args: &[String]) -> Result<Vec<Hierarchy>> {
    let mut targets = record.hierarchies.clone();
    let mut named: Vec<&str> = Vec::new();
    for arg in args {
        let refused = |why: &str| Err(Error::new(format!("--cgroup {arg:?}: {why}")));
        let (controllers, path) = match arg.split_once(':') {
            Some((controllers, path)) => (Some(controllers), path),
            None => (None, arg.as_str()),
        };
        if path.contains(':') {
            return refused("not of the form [CONTROLLER[,CONTROLLER]:]PATH");
        }
        let below = path.split('/').filter(|element| !matches!(*element, "" | "."));
        if below.clone().any(|element| element == ".." || element.contains('\0')) {
            return refused("must stay below the container's cgroup");
        }
        let below: String = below.flat_map(|element| ["/", element]).collect();
        let Some(controllers) = controllers.filter(|list| !list.is_empty()) else {
            if args.len() > 1 {
                return refused("one without a controller must be the only one");
            }
            targets.iter_mut().for_each(|hierarchy| hierarchy.path.push_str(&below));
            continue;
        };
        for controller in controllers.split(',') {
            if named.contains(&controller) {
                return refused("names a controller for the second time");
            }
            named.push(controller);
            let place = targets.iter_mut().find(|h| h.controllers.iter().any(|c| c == controller));
            match place {
                Some(hierarchy) => hierarchy.path.push_str(&below),
                None => return refused("the container has no cgroup v1 hierarchy of that controller"),
            }
        }
    }
    Ok(targets)
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
