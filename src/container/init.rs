//! N1–N7, init up to its last stage: one straight list.
//!
//! Runs in a fork-like clone, in the container's new namespaces; reads nothing but the plan it inherited.
//! Its mounts, devices, names and terminal are made here; identity, filter and the wait at the gate
//! belong to the last stage, which it becomes at the end.

use super::hooks::{self, HookState, OCI_VERSION};
use super::joins::Joined;
use super::last::{self, Stage, StageFds};
use super::message::{Channel, Failed, Kind, Step};
use crate::cgroup::Cgroups;
use crate::console::pty;
use crate::error::{Call, Doing, Error, Result};
use crate::plan::CreatePlan;
use crate::plan::namespaces::NsKind;
use crate::process::{home, scheduling, stdio};
use crate::rootfs::{self, HostFds, Jail};
use crate::security::labels::{ExecLabel, set_key_label};
use crate::security::{capabilities, keyring};
use crate::state::Entry;
use crate::sys::last_stage::{self, layout};
use crate::sys::memfd::memfd_create;
use crate::sys::path::{Last, RootFd};
use crate::sys::process::{
    close_all_but, close_inherited, descriptors_end, exit_now, forget_arguments, keep_on_exec, reset_signals,
    set_dumpable, set_name, setsid,
};
use crate::sys::procfs::Proc;
use crate::sys::{net, ns};
use rustix::fs::OFlags;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What children inherit from the runtime through fork.
#[derive(Debug)]
pub struct Inherited<'a> {
    pub plan: &'a CreatePlan,
    pub channel: &'a Channel,
    /// The runtime's end of the channel: closed first.
    pub runtime_end: BorrowedFd<'a>,
    pub cgroups: &'a Cgroups,
    /// The first child is born outside of its cgroup, and systemd moves it: it waits for that.
    pub attaching: bool,
    pub joins: &'a [Joined],
    pub fifo: BorrowedFd<'a>,
    pub page: BorrowedFd<'a>,
    pub entry: &'a Entry,
    pub label: Option<&'a ExecLabel>,
    /// The runtime's, for createContainer hooks: children have none of their own.
    pub environment: &'a [String],
}

impl Inherited<'_> {
    /// Where clone3 puts the first child.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        if self.attaching { None } else { self.cgroups.clone_into() }
    }

    /// For the first child, before it does anything else.
    pub fn enter_cgroups(&self, in_cgroup: bool) -> Result<()> {
        if self.attaching {
            self.channel.await_or_die(Kind::Attached);
        } else if !in_cgroup {
            self.cgroups.enter_self()?;
        }
        Ok(())
    }
}

/// Who cloned init: the intermediate has already joined and entered the cgroup.
#[derive(Debug)]
pub enum Born {
    OfRuntime {
        in_cgroup: bool,
    },
    /// `alone`: see [`keyring::join`].
    OfIntermediate {
        groups_denied: bool,
        lies: Lies,
        alone: bool,
    },
}

/// Where the last stage lies.
#[derive(Debug)]
pub enum Lies {
    /// Nobody else is in here: wherever it can.
    Anywhere,
    /// In a file that was made outside of the user namespace.
    In(last_stage::Place),
    /// In this process, which runs from an image that cannot be written.
    Here,
}

pub fn run(inherited: &Inherited, born: Born, host: HostFds) -> Infallible {
    let Err(failed) = steps(inherited, born, host);
    // The runtime sees at least the end-of-file.
    let _ = inherited.channel.send(&failed.message(), &[]);
    exit_now(1)
}

fn steps(inherited: &Inherited, born: Born, host: HostFds) -> Result<Infallible, Failed> {
    let at = |step: Step| move |e: Error| Failed { step, error: Box::new(e) };
    let (plan, channel) = (inherited.plan, inherited.channel);

    // N1: hide, enter the cgroup before anything can be forked, join, lead a session. A /proc with hidepid shows an
    // ordinary user only what it may trace: there the runtime looks at us first, and nobody of another container can.
    let (first, groups_denied, lies, alone) = match born {
        Born::OfRuntime { in_cgroup } => (Some(in_cgroup), false, Lies::Anywhere, false),
        Born::OfIntermediate { groups_denied, lies, alone } => (None, groups_denied, lies, alone),
    };
    let looked_at = !plan.hide_early && !plan.is_seen();
    if plan.hide_early || first.is_none() {
        set_dumpable(looked_at);
    }
    set_name(c"orlop:[init]");
    reset_signals();
    let descriptors_end = descriptors_end();
    if let Some(in_cgroup) = first {
        // The intermediate has done so, and its number may be another's by now.
        forget_arguments();
        close_inherited(inherited.runtime_end);
        inherited.enter_cgroups(in_cgroup).map_err(at(Step::N1))?;
        join_namespaces(inherited).map_err(at(Step::N1))?;
    }
    setsid().map_err(at(Step::N1))?;
    // Best effort: a filter around the runtime may refuse it, and what was inherited is legal.
    let _ = scheduling::reset_affinity();
    let attr = channel.await_or_die(Kind::Proceed).pop();
    if looked_at && first.is_none() {
        set_dumpable(false);
    }

    // N2: what takes effect in place.
    join_keyring(inherited, alone).map_err(at(Step::N2))?;
    if plan.namespaces.creates(NsKind::Cgroup) {
        // Only now: its root is the cgroup we are in.
        ns::unshare(NsKind::Cgroup.flag()).at("linux.namespaces").map_err(at(Step::N2))?;
    }
    if plan.loopback_up {
        net::bring_up(c"lo").doing("bring up the loopback interface").map_err(at(Step::N2))?;
    }

    // N3: mounts, devices, links, below the new root.
    let jail = rootfs::populate(&plan.rootfs, host).map_err(at(Step::N3))?;
    channel.tell(Kind::MountsReady).map_err(at(Step::N3))?;
    channel.await_or_die(Kind::HooksDone);

    // N4: createContainer hooks, still with the host's files in sight.
    create_container_hooks(inherited).map_err(at(Step::N4))?;

    // N5: the switch of the root, and what must be done before parts of it become read-only.
    jail.switch(&plan.rootfs).map_err(at(Step::N5))?;
    open_terminal(inherited, &jail).map_err(at(Step::N5))?;
    for sysctl in &plan.sysctl {
        jail.write_sysctl(&sysctl.path, &sysctl.value)
            .at_with(|| sysctl.field.clone())
            .doing_with(|| format!("set sysctl {}", sysctl.path))
            .map_err(at(Step::N5))?;
    }
    set_names(plan).map_err(at(Step::N5))?;
    jail.seal(&plan.rootfs).map_err(at(Step::N5))?;

    // N6: the process itself, as far as it needs no identity; then the last stage is made ready.
    let env = settle_process(plan, &jail).map_err(at(Step::N6))?;
    let hook_stdin = hook_stdin(plan).map_err(at(Step::N6))?;
    let fds = StageFds {
        channel: channel.0.as_raw_fd(),
        start: inherited.fifo.as_raw_fd(),
        page: inherited.page.as_raw_fd(),
        attr: attr.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
        hook_stdin: hook_stdin.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
    };
    let stage = Stage {
        process: plan.process.as_ref(),
        groups_denied,
        env: &env,
        seccomp: plan.seccomp.as_ref(),
        hooks: &plan.hooks.start_container,
        label: inherited.label,
        fds,
    };
    let image = make_image(channel, &stage, lies).map_err(at(Step::N6))?;
    channel.tell(Kind::Ready).map_err(at(Step::N6))?;
    channel.await_or_die(Kind::Release);

    // N7: becomes the last stage.
    let first_closed = plan.process.as_ref().map_or(3, |process| process.fds.first_closed());
    for fd in (0..first_closed).map(|number| number as i32) {
        keep_on_exec(fd).map_err(at(Step::N7))?;
    }
    let own = [fds.channel, fds.start, fds.page, fds.attr, fds.hook_stdin];
    let Some(image) = image else {
        // What execve would have closed, the lock of the state directory among it.
        close_all_but(first_closed, descriptors_end, &own);
        last_stage::enter_forked(|base| last::lay_out(&stage, base));
    };
    for fd in own {
        keep_on_exec(fd).map_err(at(Step::N7))?;
    }
    capabilities::keep_over_execve().map_err(at(Step::N7))?;
    Err(Failed { step: Step::N7, error: Box::new(image.enter()) })
}

/// None where the last stage is this very process.
fn make_image(channel: &Channel, stage: &Stage, lies: Lies) -> Result<Option<last_stage::Image>> {
    let place = match lies {
        Lies::In(place) => Some(place),
        Lies::Here => return Ok(None),
        Lies::Anywhere => last_stage::Place::memfd()?.or_else(last_stage::Place::tmpfs),
    };
    let Some(place) = place else {
        channel.warn(last_stage::FORKED)?;
        return Ok(None);
    };
    place.fill(&last::lay_out(stage, layout::PLAN_ADDRESS)).map(Some)
}

/// All kinds but pid (the runtime's clone has joined it) and user (then the intermediate has).
fn join_namespaces(inherited: &Inherited) -> Result<()> {
    for joined in inherited.joins.iter().filter(|joined| joined.kind != NsKind::Pid) {
        ns::setns(joined.fd.as_fd(), joined.kind.flag())
            .at_with(|| joined.field.clone())
            .doing("join a namespace")?;
    }
    Ok(())
}

fn join_keyring(inherited: &Inherited, alone: bool) -> Result<()> {
    let Some(plan) = inherited.plan.process.as_ref().and_then(|process| process.keyring.as_ref()) else {
        return Ok(());
    };
    if let Some(label) = &plan.label {
        let proc = Proc::open()?;
        let attr = proc.open_file("self/attr", OFlags::PATH | OFlags::DIRECTORY)?;
        set_key_label(attr.as_fd(), label)?;
    }
    if keyring::join(plan, alone)? { Ok(()) } else { inherited.channel.warn(keyring::ALONE) }
}

fn create_container_hooks(inherited: &Inherited) -> Result<()> {
    let plan = inherited.plan;
    let state = HookState {
        oci_version: OCI_VERSION,
        id: &plan.id,
        status: "creating",
        pid: std::process::id() as i32,
        bundle: &plan.bundle,
        annotations: &plan.annotations,
    };
    let cwd = std::ffi::CString::new(plan.rootfs.path.as_os_str().as_encoded_bytes()).ok();
    hooks::run(&plan.hooks.create_container, &state, inherited.environment, cwd.as_deref(), None)
}

/// The pty comes from the container's own devpts; its master travels to the runtime.
fn open_terminal(inherited: &Inherited, jail: &Jail) -> Result<()> {
    let Some(process) = inherited.plan.process.as_ref().filter(|process| process.terminal) else {
        return Ok(());
    };
    let pty = pty::allocate(jail.root().as_fd(), process.console_size).at("process.terminal")?;
    jail.bind_console(pty.slave.as_fd()).at("process.terminal")?;
    inherited.channel.hand_master(pty.master.as_fd())?;
    pty::take(pty.slave).at("process.terminal")
}

fn set_names(plan: &CreatePlan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).call("sethostname").at("hostname")?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).call("setdomainname").at("domainname")?;
    }
    Ok(())
}

/// Scheduling, stdio, umask; returns the environment, HOME included.
fn settle_process(plan: &CreatePlan, jail: &Jail) -> Result<Vec<String>> {
    let Some(process) = &plan.process else { return Ok(Vec::new()) };
    match process.terminal {
        true => stdio::own_terminal(rustix::stdio::stdin(), process.uid)?,
        false => stdio::own(process.uid)?,
    }
    scheduling::apply(process)?;
    let mut env = process.env.variables.clone();
    if process.env.home_from_passwd {
        env.push(format!("HOME={}", home(jail.root(), process.uid)));
    }
    Ok(env)
}

/// From the container's /etc/passwd, else `/`. Whatever is wrong with that file is the image's affair.
pub(super) fn home(root: &RootFd, uid: u32) -> String {
    let path = "/etc/passwd".as_ref();
    let read = || {
        // Opening a device of the image's can act on it: look first.
        let looked = root.find(path, Last::Follow)?;
        if !home::holds_data(looked.as_fd())? {
            return Ok("/".into());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let passwd = root.open(path, flags, Last::Follow)?;
        home::read(passwd.as_fd(), uid)
    };
    read().unwrap_or_else(|_: Error| "/".into())
}

/// The state for startContainer hooks, ready on a descriptor: a filter may deny making one later.
fn hook_stdin(plan: &CreatePlan) -> Result<Option<OwnedFd>> {
    if plan.hooks.start_container.is_empty() {
        return Ok(None);
    }
    let state = HookState {
        oci_version: OCI_VERSION,
        id: &plan.id,
        status: "created",
        pid: std::process::id() as i32,
        bundle: &plan.bundle,
        annotations: &plan.annotations,
    };
    let fd = memfd_create(c"state")?;
    rustix::io::pwrite(&fd, &state.json()?, 0).call("write")?;
    Ok(Some(fd))
}
