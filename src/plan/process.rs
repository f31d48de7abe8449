//! The plan of one process: the container's first, or one that joins it. PURE.
//!
//! Everything is plain strings and numbers, ready for the system calls. Decided at run time: the value of
//! HOME (container's /etc/passwd), where `args[0]` lies on the search path, what the terminal is called.

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, PosixRlimit, PosixRlimitType, Process, Spec};
use serde::Serialize;

use super::capabilities::CapabilityPlan;
use super::environment::{self, Environment};
use super::facts::HostFacts;
use super::fds::FdPlan;
use super::scheduling::{self, ExecAffinity, MemoryPolicyPlan, SchedulerPlan};
use crate::error::{Error, Result};

/// The kernel's NGROUPS_MAX.
const MOST_GROUPS: usize = 65536;
/// crun's name; podman's `--group-add keep-groups` sets it.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// What the operator, the environment and the host add to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The container's id, for the name of its session keyring.
    pub id: String,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// Activation sockets meant for us: `fds::listen_fds`.
    pub listen_fds: Option<u32>,
    /// NOTIFY_SOCKET of our environment, when not empty.
    pub notify_socket: Option<String>,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// The container has a user namespace of its own or joins one.
    pub userns: bool,
    pub setgroups: SetGroups,
    /// Capabilities that the process can get at all (`HostFacts::grantable`).
    pub grantable: u64,
}

/// setgroups(2) in the user namespace of the process (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetGroups {
    Allowed,
    /// The gid map is written without privilege over groups: its author asks for what it cannot give.
    Denied,
    /// Denied to the root of the namespace that we are in. Engines there (Podman with a map of one id) pass on the
    /// groups of the image's users, not somebody's wish: they are left out, as with runc and crun.
    Nowhere,
}

impl SetGroups {
    /// `by_map`: the container's own map denies it.
    pub fn of(facts: &HostFacts, by_map: bool) -> Self {
        match facts.setgroups_denied {
            true if facts.euid == 0 => SetGroups::Nowhere,
            false if !by_map => SetGroups::Allowed,
            _ => SetGroups::Denied,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            id: String::new(),
            preserve_fds: 0,
            listen_fds: None,
            notify_socket: None,
            no_new_keyring: false,
            userns: false,
            setgroups: SetGroups::Allowed,
            grantable: u64::MAX,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessPlan {
    /// At least one entry, without NUL.
    pub argv: Vec<String>,
    pub env: Environment,
    /// Absolute, in the container.
    pub cwd: String,
    pub umask: u32,
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups, when `set_groups`.
    pub groups: Vec<u32>,
    /// Call setgroups(2), with an empty list too; without it the caller's groups stay.
    pub set_groups: bool,
    /// No groups are asked for in a user namespace: where that denies setgroups(2), which only a join can tell, the
    /// caller's stay.
    pub groups_optional: bool,
    pub capabilities: CapabilityPlan,
    pub no_new_privs: bool,
    pub rlimits: Vec<RlimitPlan>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<SchedulerPlan>,
    /// The value for ioprio_set(2).
    pub io_priority: Option<u32>,
    /// Only for processes that join a container; init gets all CPUs.
    pub exec_affinity: ExecAffinity,
    /// The persona for personality(2).
    pub personality: Option<u64>,
    pub memory_policy: Option<MemoryPolicyPlan>,
    pub apparmor_profile: Option<String>,
    pub selinux_label: Option<String>,
    pub keyring: Option<KeyringPlan>,
    pub terminal: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    pub fds: FdPlan,
    /// The host's notification socket, to which READY=1 is forwarded.
    pub notify_socket: Option<String>,
}

/// One prlimit(2) call. `u64::MAX` is infinity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RlimitPlan {
    /// RLIMIT_*, the generic Linux numbering.
    pub resource: u32,
    pub name: String,
    pub soft: u64,
    pub hard: u64,
    /// `process.rlimits[2]`.
    pub field: String,
}

/// The session keyring of a container; its exec'ed processes join the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyringPlan {
    pub name: String,
    /// The SELinux label of the keyring.
    pub label: Option<String>,
    /// KEY_USR_SEARCH, or KEY_OTH_SEARCH when the ids inside are others than those of the keyring's owner.
    pub permission: u32,
}

/// The first process of a container. None without `process`: create is allowed, start fails.
pub fn plan(
    spec: &Spec,
    scheduler_flags: &[String],
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Option<ProcessPlan>> {
    let Some(process) = spec.process() else { return Ok(None) };
    plan_process(process, spec, scheduler_flags, options, warnings).map(Some)
}

/// Any process of the container `spec`: `process` is the configuration's own or that of an exec.
/// `scheduler_flags`: names of `process.scheduler.flags` that the model cannot carry.
pub fn plan_process(
    process: &Process,
    spec: &Spec,
    scheduler_flags: &[String],
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<ProcessPlan> {
    let fds = FdPlan::new(options.listen_fds, options.preserve_fds)?;
    if fds.listen > 0 && !own_pid_namespace(spec) {
        warnings
            .push("LISTEN_PID=1 names another process: the container has no pid namespace of its own".into());
    }
    let linux = spec.linux().as_ref();
    let terminal = process.terminal().unwrap_or(false);
    let (groups, set_groups) = groups(process, spec, options, warnings)?;
    Ok(ProcessPlan {
        argv: argv(process)?,
        env: environment::plan(
            process.env().as_deref().unwrap_or_default(),
            "process.env",
            fds,
            options.notify_socket.is_some(),
        )?,
        cwd: cwd(process)?,
        umask: process.user().umask().unwrap_or(0o022) & 0o777,
        uid: mapped(
            process.user().uid(),
            linux.and_then(|l| l.uid_mappings().as_ref()),
            "process.user.uid",
            "uid",
        )?,
        gid: mapped(
            process.user().gid(),
            linux.and_then(|l| l.gid_mappings().as_ref()),
            "process.user.gid",
            "gid",
        )?,
        groups_optional: groups.is_empty() && options.userns,
        groups,
        set_groups,
        capabilities: CapabilityPlan::new(process.capabilities().as_ref(), options.grantable, warnings),
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj: oom_score_adj(process)?,
        scheduler: process
            .scheduler()
            .as_ref()
            .map(|s| scheduling::scheduler(s, scheduler_flags))
            .transpose()?,
        io_priority: process.io_priority().as_ref().map(scheduling::io_priority).transpose()?,
        exec_affinity: match process.exec_cpu_affinity() {
            Some(affinity) => scheduling::exec_affinity(affinity)?,
            None => ExecAffinity::default(),
        },
        personality: linux.and_then(|l| l.personality().as_ref()).map(scheduling::personality),
        memory_policy: linux
            .and_then(|l| l.memory_policy().as_ref())
            .map(scheduling::memory_policy)
            .transpose()?,
        apparmor_profile: label(process.apparmor_profile(), "process.apparmorProfile")?,
        selinux_label: label(process.selinux_label(), "process.selinuxLabel")?,
        keyring: keyring(process, options),
        terminal,
        console_size: if terminal { console_size(process)? } else { None },
        fds,
        notify_socket: options.notify_socket.clone(),
    })
}

fn own_pid_namespace(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    namespaces.into_iter().flatten().any(|n| n.typ() == LinuxNamespaceType::Pid && n.path().is_none())
}

fn argv(process: &Process) -> Result<Vec<String>> {
    let argv = process.args().clone().unwrap_or_default();
    if argv.is_empty() {
        return Err(Error::field("process.args", "is empty"));
    }
    match argv.iter().position(|arg| arg.contains('\0')) {
        Some(index) => Err(Error::field(format_args!("process.args[{index}]"), "has a NUL byte")),
        None => Ok(argv),
    }
}

fn cwd(process: &Process) -> Result<String> {
    let Some(cwd) = process.cwd().to_str() else { return Err(Error::field("process.cwd", "is not UTF-8")) };
    if !cwd.starts_with('/') {
        return Err(Error::field("process.cwd", "is not absolute"));
    }
    if cwd.contains('\0') {
        return Err(Error::field("process.cwd", "has a NUL byte"));
    }
    Ok(cwd.to_owned())
}

/// An id that the user namespace's own map does not carry would only be EINVAL, late, in setresuid(2).
/// Without maps the kernel decides. A joined namespace's are meant to be repeated in the configuration.
fn mapped(id: u32, maps: Option<&Vec<LinuxIdMapping>>, field: &str, kind: &str) -> Result<u32> {
    let Some(maps) = maps.filter(|maps| !maps.is_empty()) else { return Ok(id) };
    let inside =
        |map: &LinuxIdMapping| id.checked_sub(map.container_id()).is_some_and(|offset| offset < map.size());
    if maps.iter().any(inside) {
        Ok(id)
    } else {
        Err(Error::field(field, format_args!("cannot set{kind} to unmapped {kind} {id}")))
    }
}

fn groups(
    process: &Process,
    spec: &Spec,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<(Vec<u32>, bool)> {
    let keep = spec.annotations().as_ref().and_then(|all| all.get(KEEP_GROUPS)).is_some_and(|v| v != "0");
    let groups = process.user().additional_gids().clone().unwrap_or_default();
    if keep {
        return Ok((Vec::new(), false));
    }
    if groups.len() > MOST_GROUPS {
        return Err(Error::field(
            "process.user.additionalGids",
            format_args!("{} groups are more than the kernel's {MOST_GROUPS}", groups.len()),
        ));
    }
    const DENIED: &str = "cannot be set: an unprivileged user namespace denies setgroups";
    match options.setgroups {
        SetGroups::Denied if !groups.is_empty() => {
            return Err(Error::field("process.user.additionalGids", DENIED));
        }
        SetGroups::Nowhere => {
            if !groups.is_empty() {
                warnings.push(format!("process.user.additionalGids {DENIED}"));
            }
            return Ok((Vec::new(), false));
        }
        _ => {}
    }
    let maps = spec.linux().as_ref().and_then(|l| l.gid_mappings().as_ref());
    for (index, gid) in groups.iter().enumerate() {
        mapped(*gid, maps, &format!("process.user.additionalGids[{index}]"), "gid")?;
    }
    Ok((groups, options.setgroups == SetGroups::Allowed))
}

fn rlimits(wanted: &[PosixRlimit]) -> Result<Vec<RlimitPlan>> {
    let mut plans: Vec<RlimitPlan> = Vec::with_capacity(wanted.len());
    for (index, limit) in wanted.iter().enumerate() {
        let field = format!("process.rlimits[{index}]");
        let (resource, name) = resource(limit.typ());
        if let Some(first) = plans.iter().find(|plan| plan.resource == resource) {
            return Err(Error::field(field, format_args!("{name} is already in {}", first.field)));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::field(
                field,
                format_args!(
                    "soft limit {} of {name} is above the hard limit {}",
                    limit.soft(),
                    limit.hard()
                ),
            ));
        }
        plans.push(RlimitPlan { resource, name: name.into(), soft: limit.soft(), hard: limit.hard(), field });
    }
    Ok(plans)
}

/// include/uapi/asm-generic/resource.h.
#[rustfmt::skip]
fn resource(kind: PosixRlimitType) -> (u32, &'static str) {
    match kind {
        PosixRlimitType::RlimitCpu => (0, "RLIMIT_CPU"),
        PosixRlimitType::RlimitFsize => (1, "RLIMIT_FSIZE"),
        PosixRlimitType::RlimitData => (2, "RLIMIT_DATA"),
        PosixRlimitType::RlimitStack => (3, "RLIMIT_STACK"),
        PosixRlimitType::RlimitCore => (4, "RLIMIT_CORE"),
        PosixRlimitType::RlimitRss => (5, "RLIMIT_RSS"),
        PosixRlimitType::RlimitNproc => (6, "RLIMIT_NPROC"),
        PosixRlimitType::RlimitNofile => (7, "RLIMIT_NOFILE"),
        PosixRlimitType::RlimitMemlock => (8, "RLIMIT_MEMLOCK"),
        PosixRlimitType::RlimitAs => (9, "RLIMIT_AS"),
        PosixRlimitType::RlimitLocks => (10, "RLIMIT_LOCKS"),
        PosixRlimitType::RlimitSigpending => (11, "RLIMIT_SIGPENDING"),
        PosixRlimitType::RlimitMsgqueue => (12, "RLIMIT_MSGQUEUE"),
        PosixRlimitType::RlimitNice => (13, "RLIMIT_NICE"),
        PosixRlimitType::RlimitRtprio => (14, "RLIMIT_RTPRIO"),
        PosixRlimitType::RlimitRttime => (15, "RLIMIT_RTTIME"),
    }
}

fn oom_score_adj(process: &Process) -> Result<Option<i32>> {
    match process.oom_score_adj() {
        Some(value) if !(-1000..=1000).contains(&value) => {
            Err(Error::field("process.oomScoreAdj", format_args!("{value} is not between -1000 and 1000")))
        }
        value => Ok(value),
    }
}

fn label(wanted: &Option<String>, field: &str) -> Result<Option<String>> {
    match wanted.as_deref() {
        None | Some("") => Ok(None),
        Some(label) if label.contains(['\0', '\n']) => {
            Err(Error::field(field, "has a NUL byte or a line break"))
        }
        Some(label) => Ok(Some(label.to_owned())),
    }
}

fn keyring(process: &Process, options: &Options) -> Option<KeyringPlan> {
    (!options.no_new_keyring).then(|| KeyringPlan {
        name: format!("_ses.{}", options.id),
        label: process.selinux_label().clone().filter(|label| !label.is_empty()),
        permission: if options.userns { 0x0000_0008 } else { 0x0008_0000 },
    })
}

fn console_size(process: &Process) -> Result<Option<(u16, u16)>> {
    let Some(size) = process.console_size() else { return Ok(None) };
    if size.height() == 0 || size.width() == 0 {
        return Ok(None);
    }
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(Error::field("process.consoleSize", "a terminal has at most 65535 rows and columns")),
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
