//! The plan: what `create` is going to do, as one plain value. PURE: nothing here touches the system, so
//! that a plan can be printed (`orlop explain`), compared in tests, and carried out by children that
//! never see config.json.

pub mod annotations;
pub mod capabilities;
pub mod cgroup;
pub mod environment;
pub mod exec;
pub mod explain;
pub mod facts;
pub mod fds;
pub mod hooks;
pub mod ids;
pub mod namespaces;
pub mod process;
pub mod rootfs;
pub mod scheduling;
pub mod seccomp;

use crate::error::{Error, Result};
use crate::spec::Bundle;
use cgroup::{CgroupPlan, Driver};
use facts::HostFacts;
use hooks::HooksPlan;
use ids::IdMaps;
use namespaces::{Namespaces, NsKind, Tree};
use process::ProcessPlan;
use rootfs::{MountNs, RootfsPlan, View};
use seccomp::SeccompPlan;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the operator asked for on the command line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    pub id: String,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub preserve_fds: u32,
    pub driver: Driver,
    /// `--rootless`; None = auto.
    pub rootless: Option<bool>,
    /// Where the container's state will lie.
    pub state: PathBuf,
}

/// Everything that `create` does. Decided at run time, because no plan can know it: whether a bind source
/// is a file or a directory, links inside the rootfs, mount flags locked by an outer namespace, pids, HOME
/// and where args[0] lies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CreatePlan {
    pub id: String,
    pub bundle: PathBuf,
    pub tree: Tree,
    pub namespaces: Namespaces,
    pub ids: Option<IdMaps>,
    pub cgroup: CgroupPlan,
    pub rootfs: RootfsPlan,
    /// A new network namespace: its loopback is brought up.
    pub loopback_up: bool,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctl: Vec<Sysctl>,
    pub process: Option<ProcessPlan>,
    pub seccomp: Option<SeccompPlan>,
    pub hooks: HooksPlan,
    pub annotations: BTreeMap<String, String>,
    /// Init hides from its peers from the first line on; a runtime that is not root (of whatever user
    /// namespace) can then no longer write the id maps, so there it waits for them.
    pub hide_early: bool,
    pub rootless: bool,
    /// Said once, by the command, when it succeeds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl CreatePlan {
    /// Init is seen, before it is a program of the container, by processes that may be allowed to trace it: the runtime
    /// must run from an image that cannot be written (as [`exec::is_exposed`]).
    pub fn is_exposed(&self) -> bool {
        self.is_seen() && !self.namespaces.has(NsKind::User)
    }

    /// Init is seen by others. A user namespace keeps in only those who are in it themselves: which they need not be.
    pub fn is_seen(&self) -> bool {
        self.namespaces.joins(NsKind::Pid).is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// Path below /proc/sys.
    pub path: String,
    pub value: String,
    pub field: String,
}

/// Plans the creation of one container: reads like the table of contents of `container::create`.
pub fn create(bundle: &Bundle, options: &Options, facts: &HostFacts) -> Result<CreatePlan> {
    if let Some(problems) = Error::joined(crate::spec::validate(bundle)) {
        return Err(problems);
    }
    let spec = &bundle.spec;
    let linux = spec.linux().as_ref();
    let mut warnings = bundle.warnings.clone();
    annotations::check(spec, options.driver, &mut warnings)?;
    let rootless = options.rootless.unwrap_or_else(|| is_rootless(options.driver, facts));

    let listed = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let mut namespaces = namespaces::plan(listed, linux.and_then(|l| l.time_offsets().as_ref()))?;
    let sysctl = sysctls(bundle);
    namespaces.guard(&sysctl);
    let ids = id_maps(bundle, &namespaces, facts)?;
    let mut cgroup = cgroups(bundle, options, facts, &namespaces, ids.as_ref(), rootless, &mut warnings)?;
    let userns = namespaces.has(NsKind::User);
    let process_options = process::Options {
        id: options.id.clone(),
        preserve_fds: options.preserve_fds,
        listen_fds: facts.listen_fds,
        notify_socket: facts.notify_socket.clone(),
        no_new_keyring: options.no_new_keyring,
        userns,
        setgroups: process::SetGroups::of(facts, ids.as_ref().is_some_and(|ids| ids.deny_setgroups)),
        // The root of a user namespace holds all that the kernel knows; what it does not know it ignores.
        grantable: if userns { u64::MAX } else { facts.grantable },
    };
    let process = process::plan(spec, &bundle.mended.scheduler_flags, &process_options, &mut warnings)?;
    let view = view(bundle, options, facts, &namespaces, &cgroup, rootless)?;
    let rootfs = rootfs::plan(bundle, &view, &mut warnings)?;
    if rootfs.copies_up() {
        cgroup.before_copies = cgroup.memory_limits();
    }
    let seccomp = match linux.and_then(|l| l.seccomp().as_ref()) {
        Some(profile) => seccomp::plan(profile, seccomp::NATIVE, &mut warnings)?,
        None => None,
    };
    if let Some(filter) = &seccomp {
        annotations::check_filter(spec, filter)?;
    }
    let annotations = spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(CreatePlan {
        id: options.id.clone(),
        bundle: bundle.dir.clone(),
        tree: namespaces::topology(&namespaces),
        loopback_up: namespaces.creates(NsKind::Network),
        namespaces,
        ids,
        cgroup,
        rootfs,
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
        sysctl,
        process,
        seccomp,
        hooks: hooks::plan(spec.hooks().as_ref()),
        annotations,
        hide_early: facts.euid == 0,
        rootless,
        warnings,
    })
}

/// `--rootless auto`. The root of a user namespace has what the host's has where the system's manager makes the cgroups:
/// one that serves us there is that of a whole system in a container (LXD, kind).
fn is_rootless(driver: Driver, facts: &HostFacts) -> bool {
    let is_system = facts.cgroups.manager.as_ref().is_some_and(|manager| !manager.user);
    facts.euid != 0 || facts.in_user_namespace && !(driver == Driver::Systemd && is_system)
}

/// Mappings of a new user namespace; those of a joined one are only checked by the validator.
fn id_maps(bundle: &Bundle, namespaces: &Namespaces, facts: &HostFacts) -> Result<Option<IdMaps>> {
    if !namespaces.creates(NsKind::User) {
        return Ok(None);
    }
    let linux = bundle.spec.linux().as_ref();
    let uid = linux.and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
    let gid = linux.and_then(|l| l.gid_mappings().as_deref()).unwrap_or_default();
    ids::plan(uid, gid, facts.maps_ids(), facts.euid, facts.egid).map(Some)
}

fn cgroups(
    bundle: &Bundle,
    options: &Options,
    facts: &HostFacts,
    namespaces: &Namespaces,
    ids: Option<&IdMaps>,
    rootless: bool,
    warnings: &mut Vec<String>,
) -> Result<CgroupPlan> {
    let linux = bundle.spec.linux().as_ref();
    let path = linux.and_then(|l| l.cgroups_path().as_ref()).map(|path| path.to_string_lossy());
    let uid = bundle.spec.process().as_ref().map_or(0, |process| process.user().uid());
    let to_host = |uid| match ids {
        Some(ids) => Ok(ids::to_host(&ids.uid, uid)),
        // Of a joined namespace the engines repeat the mappings; its ids are nobody's on the host without them.
        None if namespaces.has(NsKind::User) => {
            let given = linux.and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
            ids::lines(given, "linux.uidMappings").map(|lines| ids::to_host(&lines, uid))
        }
        None => Ok(Some(uid)),
    };
    let mut delegates = Vec::new();
    if let (Some(user), true) = (to_host(uid)?, rootfs::cgroups::are_writable(bundle)) {
        // The container's root second: an ordinary user gives nothing to a subordinate id.
        delegates = [Some(user), to_host(0)?].into_iter().flatten().collect();
        delegates.dedup();
    }
    let wanted = cgroup::Wanted {
        id: &options.id,
        cgroups_path: path.as_deref(),
        driver: options.driver,
        resources: linux.and_then(|l| l.resources().as_ref()),
        pids_limit: bundle.mended.pids_limit,
        hugepage_limits: &bundle.mended.hugepage_limits,
        devices: linux.and_then(|l| l.devices().as_deref()).unwrap_or_default(),
        cgroupns: namespaces.creates(NsKind::Cgroup),
        rootless,
        in_user_namespace: facts.in_user_namespace,
        delegates: &delegates,
        asker: facts.asker.as_ref(),
        annotations: bundle.spec.annotations().as_ref(),
    };
    let plan = cgroup::plan(&wanted, &facts.cgroups, warnings)?;
    if plan.may_skip && !namespaces.creates(NsKind::Pid) {
        warnings.push(
            "a rootless container without linux.cgroupsPath may get no cgroup, and it has no pid namespace of its own: \
             what outlives its init is then not found and killed"
                .into(),
        );
    }
    Ok(plan)
}

fn view<'a>(
    bundle: &'a Bundle,
    options: &Options,
    facts: &HostFacts,
    namespaces: &Namespaces,
    cgroup: &'a CgroupPlan,
    rootless: bool,
) -> Result<View<'a>> {
    Ok(View {
        mount_ns: if namespaces.creates(NsKind::Mount) {
            MountNs::New
        } else if namespaces.joins(NsKind::Mount).is_some() {
            MountNs::Joined
        } else {
            MountNs::None
        },
        userns: namespaces.has(NsKind::User),
        in_user_namespace: facts.in_user_namespace,
        new_userns: namespaces.creates(NsKind::User),
        own_pid_ns: namespaces.has(NsKind::Pid),
        own_net_ns: namespaces.has(NsKind::Network),
        own_ipc_ns: namespaces.has(NsKind::Ipc),
        cgroupns: namespaces.has(NsKind::Cgroup),
        rootless,
        root: facts.euid == 0,
        no_pivot: options.no_pivot,
        mount_label: rootfs::label::plan(bundle)?,
        cgroups: &cgroup.hierarchies,
        layout: cgroup.layout,
        notify: facts.notify_socket.is_some().then(|| options.state.join("notify")),
    })
}

fn sysctls(bundle: &Bundle) -> Vec<Sysctl> {
    let wanted = bundle.spec.linux().as_ref().and_then(|l| l.sysctl().as_ref());
    let mut sysctls: Vec<Sysctl> = wanted
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            // The validator has refused names without a path.
            let path = crate::spec::sysctl::path(name)?;
            Some(Sysctl { path, value: value.clone(), field: format!("linux.sysctl.{name}") })
        })
        .collect();
    sysctls.sort_by(|a, b| a.path.cmp(&b.path));
    sysctls
}

#[cfg(test)]
mod tests;
