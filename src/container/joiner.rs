//! The way of a process into an existing container (`exec`): the joiner, and the process that it clones.
//!
//! The joiner is a fork-like clone of the runtime. It enters cgroups and namespaces and does there all that
//! needs rights or descriptors, while nobody in the container can see it: setns(pid) takes effect for children
//! only. Then it lets go of every descriptor and capability that the program will not have, and clones the
//! process as its own sibling (CLONE_PARENT), so that it is the runtime's child. That one does what only it can
//! do for itself and becomes the last stage.

use super::init::home;
use super::last::{self, Stage, StageFds};
use super::message::{Channel, Failed, Kind, Step};
use crate::cgroup::Joining;
use crate::console::pty;
use crate::error::{Call, Doing, Error, Result};
use crate::plan::exec::ExecPlan;
use crate::plan::namespaces::NsKind;
use crate::process::{scheduling, stdio};
use crate::rootfs::null;
use crate::security::labels::{ExecLabel, set_key_label};
use crate::security::{capabilities, keyring};
use crate::sys::clone::clone3_sibling;
use crate::sys::last_stage::{self, layout};
use crate::sys::ns;
use crate::sys::own_image;
use crate::sys::path::RootFd;
use crate::sys::pidfd::has_ended;
use crate::sys::process::{
    become_root, close_all_but, close_inherited, descriptors_end, exit_now, forget_arguments, keep_on_exec,
    reset_signals, set_dumpable, set_name, setsid,
};
use crate::sys::procfs::Proc;
use rustix::fs::{CWD, Mode, OFlags};
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What the joiner inherits from the runtime through fork.
#[derive(Debug)]
pub struct Inherited<'a> {
    pub plan: &'a ExecPlan,
    pub channel: &'a Channel,
    /// The runtime's end of the channel: closed first.
    pub runtime_end: BorrowedFd<'a>,
    pub cgroups: &'a Joining,
    /// The container's init, and its pid for the host's /proc.
    pub init: BorrowedFd<'a>,
    pub init_pid: i32,
    /// Namespaces of init that are not ours.
    pub join: &'a [NsKind],
    /// The root of init, when no mount namespace leads there.
    pub root: Option<BorrowedFd<'a>>,
    /// The host's procfs, when the keyring gets a label.
    pub proc: Option<&'a Proc>,
    pub label: Option<&'a ExecLabel>,
    /// See [`Stage::groups_denied`].
    pub groups_denied: bool,
    pub page: BorrowedFd<'a>,
}

/// `memfd`: for the last stage, where one may be executed. `born`: in the v2 cgroup already.
pub fn run(inherited: &Inherited, memfd: Option<last_stage::Place>, born: bool) -> Infallible {
    if let Err(failed) = steps(inherited, memfd, born) {
        // The runtime sees at least the end-of-file.
        let _ = inherited.channel.send(&failed.message(), &[]);
        exit_now(1);
    }
    exit_now(0)
}

fn steps(inherited: &Inherited, memfd: Option<last_stage::Place>, born: bool) -> Result<(), Failed> {
    let at = |step: Step| move |e: Error| Failed { step, error: Box::new(e) };
    let (plan, channel) = (inherited.plan, inherited.channel);

    // I1: hidden and accounted for before anything else, but for what is denied to who hides.
    if !plan.hide_early
        && let Some(value) = plan.process.oom_score_adj
    {
        super::limits::set_oom_score(std::process::id().cast_signed(), value).map_err(at(Step::I1))?;
    }
    set_dumpable(false);
    close_inherited(inherited.runtime_end);
    set_name(c"orlop:[join]");
    // What we clone is seen, and is a copy of us.
    forget_arguments();
    reset_signals();
    let descriptors_end = descriptors_end();
    let attaching = inherited.cgroups.is_attaching();
    if attaching {
        channel.await_or_die(Kind::Attached);
    }
    inherited.cgroups.enter_self(born || attaching).map_err(at(Step::I1))?;
    settle_affinity(plan).map_err(at(Step::I1))?;
    label_keys(inherited).map_err(at(Step::I1))?;
    let into_userns = inherited.join.contains(&NsKind::User);
    // What runs from a read-only image may as well be its own last stage.
    let asked = memfd.is_none() || into_userns;
    let protected = asked && own_image::is_protected().map_err(at(Step::I1))?;

    // I2: into the container.
    join_namespaces(inherited).doing("join the container's namespaces").map_err(at(Step::I2))?;
    if let Some(root) = inherited.root {
        enter_root(root).doing("change into the container's root").map_err(at(Step::I2))?;
    }
    let mut alone = false;
    if into_userns {
        alone = plan.hide_early && keyring::leave_callers(plan.process.keyring.as_ref());
        become_root((plan.process.uid, plan.process.gid))
            .doing("become root of the user namespace")
            .hint("neither id 0 nor the process's user is mapped there")
            .map_err(at(Step::I2))?;
        set_dumpable(false);
    }

    // I3: what the process will find: keys, terminal, stdio, environment, and its last stage.
    join_keyring(inherited, alone).map_err(at(Step::I3))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).call("openat");
    let root = RootFd::new(root.map_err(at(Step::I3))?);
    let terminal = open_terminal(inherited, &root).map_err(at(Step::I3))?;
    settle_stdio(plan, &root, terminal.as_ref()).map_err(at(Step::I3))?;
    let mut env = plan.process.env.variables.clone();
    if plan.process.env.home_from_passwd {
        env.push(format!("HOME={}", home(&root, plan.process.uid)));
    }
    drop(root);
    let place = memfd.or_else(|| if protected { None } else { last_stage::Place::tmpfs() });
    // Where our id is mapped (rootless, or the host's root is in the map) the file is no better kept than the program. Our
    // memory is: it stays of the user namespace that we come from.
    let place = place.filter(|place| !(into_userns && protected && place.is_within_reach()));
    if place.is_none() && !protected {
        channel.warn(last_stage::FORKED).map_err(at(Step::I3))?;
    }

    // I4: the process, with nothing left of ours that is worth a capture.
    let fd = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
    let kept = [
        channel.0.as_raw_fd(),
        inherited.page.as_raw_fd(),
        fd(terminal.as_ref().map(AsFd::as_fd)),
        fd(place.as_ref().map(AsFd::as_fd)),
    ];
    close_all_but(plan.process.fds.first_closed(), descriptors_end, &kept);
    capabilities::trim(plan.keep_capabilities).doing("drop capabilities").map_err(at(Step::I4))?;
    let process = clone3_sibling(0, || become_process(inherited, &env, terminal, place))
        .doing("create a process in the container")
        .map_err(at(Step::I4))?;
    channel.introduce(&process).map_err(at(Step::I4))
}

/// After the cgroup: a cpuset bounds it. Without a wish all CPUs of the cpuset are allowed; a filter around the
/// runtime may refuse that, and what was inherited is legal.
fn settle_affinity(plan: &ExecPlan) -> Result<()> {
    let affinity = &plan.process.exec_affinity;
    match &affinity.last {
        Some(cpus) => scheduling::set_affinity(cpus, "final"),
        None if affinity.initial.is_none() => {
            let _ = scheduling::reset_affinity();
            Ok(())
        }
        None => Ok(()),
    }
}

/// The SELinux label of the keyring, through the host's procfs while it is in sight.
fn label_keys(inherited: &Inherited) -> Result<()> {
    let label = inherited.plan.process.keyring.as_ref().and_then(|keyring| keyring.label.as_ref());
    let (Some(label), Some(proc)) = (label, inherited.proc) else { return Ok(()) };
    let attr = proc.open_file("self/attr", OFlags::PATH | OFlags::DIRECTORY)?;
    set_key_label(attr.as_fd(), label)
}

/// All in one call; where the kernel refuses that, one by one: a user namespace takes away the right to join
/// what belongs to its parent (a network of the engine's), and gives the right to join what is its own.
fn join_namespaces(inherited: &Inherited) -> Result<()> {
    let flags = inherited.join.iter().fold(0, |flags, kind| flags | kind.flag());
    if flags == 0 {
        return Ok(());
    }
    match ns::setns(inherited.init, flags) {
        Ok(()) => return Ok(()),
        // EINVAL: a pidfd is no namespace before 5.8.
        Err(e) if matches!(e.errno(), libc::EPERM | libc::EINVAL) => {}
        Err(e) => return Err(e),
    }
    let mut files = Vec::with_capacity(inherited.join.len());
    for kind in inherited.join {
        let path = format!("/proc/{}/ns/{}", inherited.init_pid, kind.proc_name());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::empty()).call("openat").at_with(|| path)?;
        files.push((*kind, file));
    }
    if has_ended(inherited.init) {
        // The number may be somebody else's by now.
        return Err(Error::new("the container has stopped"));
    }
    let join = |(kind, file): &(NsKind, OwnedFd)| {
        ns::setns(file.as_fd(), kind.flag()).at_with(|| format!("{} namespace", kind.proc_name()))
    };
    let (user, mut rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(kind, _)| *kind == NsKind::User);
    if !user.is_empty() {
        let mut later = Vec::new();
        for item in rest {
            match join(&item) {
                Ok(()) => {}
                Err(e) if e.errno() == libc::EPERM => later.push(item),
                Err(e) => return Err(e),
            }
        }
        rest = later;
    }
    user.iter().chain(&rest).try_for_each(join)
}

fn enter_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).call("fchdir")?;
    rustix::process::chroot(c".").call("chroot")?;
    rustix::process::chdir(c"/").call("chdir")
}

fn join_keyring(inherited: &Inherited, alone: bool) -> Result<()> {
    let Some(plan) = &inherited.plan.process.keyring else { return Ok(()) };
    if keyring::join(plan, alone)? { Ok(()) } else { inherited.channel.warn(keyring::ALONE) }
}

/// From the container's own devpts; the master travels to the runtime.
fn open_terminal(inherited: &Inherited, root: &RootFd) -> Result<Option<OwnedFd>> {
    let process = &inherited.plan.process;
    if !process.terminal {
        return Ok(None);
    }
    let pty = pty::allocate(root.as_fd(), process.console_size).at("process.terminal")?;
    inherited.channel.hand_master(pty.master.as_fd())?;
    Ok(Some(pty.slave))
}

fn settle_stdio(plan: &ExecPlan, root: &RootFd, terminal: Option<&OwnedFd>) -> Result<()> {
    match terminal {
        Some(slave) => stdio::own_terminal(slave.as_fd(), plan.process.uid),
        None => {
            if plan.own_dev {
                null::own(root)?;
            }
            stdio::own(plan.process.uid)
        }
    }
}

/// From here on the container sees us.
fn become_process(
    inherited: &Inherited,
    env: &[String],
    terminal: Option<OwnedFd>,
    place: Option<last_stage::Place>,
) -> Infallible {
    let Err(failed) = process_steps(inherited, env, terminal, place);
    // The runtime sees at least the end-of-file.
    let _ = inherited.channel.send(&failed.message(), &[]);
    exit_now(1)
}

fn process_steps(
    inherited: &Inherited,
    env: &[String],
    terminal: Option<OwnedFd>,
    place: Option<last_stage::Place>,
) -> Result<Infallible, Failed> {
    let at = |step: Step| move |e: Error| Failed { step, error: Box::new(e) };
    let (plan, channel) = (inherited.plan, inherited.channel);

    // N1, N6: a session, its terminal, and what ends with a fork.
    setsid().map_err(at(Step::N1))?;
    if let Some(slave) = terminal {
        pty::take(slave).at("process.terminal").map_err(at(Step::N1))?;
    }
    scheduling::apply(&plan.process).map_err(at(Step::N6))?;
    let attr = inherited.label.and_then(|_| channel.await_or_die(Kind::Proceed).pop());
    let fds = StageFds {
        channel: channel.0.as_raw_fd(),
        start: -1,
        page: inherited.page.as_raw_fd(),
        attr: attr.as_ref().map_or(-1, |fd| fd.as_raw_fd()),
        hook_stdin: -1,
    };
    let stage = Stage {
        process: Some(&plan.process),
        groups_denied: inherited.groups_denied,
        env,
        seccomp: plan.seccomp.as_ref(),
        hooks: &[],
        label: inherited.label,
        fds,
    };
    let fill = |place: last_stage::Place| place.fill(&last::lay_out(&stage, layout::PLAN_ADDRESS));
    let image = place.map(fill).transpose().map_err(at(Step::N6))?;
    channel.tell(Kind::Ready).map_err(at(Step::N6))?;
    channel.await_or_die(Kind::Release);

    // N7: becomes the last stage.
    for fd in (0..plan.process.fds.first_closed()).map(|number| number as i32) {
        keep_on_exec(fd).map_err(at(Step::N7))?;
    }
    let Some(image) = image else {
        last_stage::enter_forked(|base| last::lay_out(&stage, base));
    };
    for fd in [fds.channel, fds.page, fds.attr] {
        keep_on_exec(fd).map_err(at(Step::N7))?;
    }
    capabilities::keep_over_execve().map_err(at(Step::N7))?;
    Err(Failed { step: Step::N7, error: Box::new(image.enter()) })
}
