//! `exec`, the runtime's side: a process joins an existing container. [`join`] brings it to the point where only
//! its identity and its program are missing; [`Joined::release`] lets it go on and reports up to its execve.
//!
//! Runs in the runtime, in its own namespaces; what happens inside is joiner.rs. Whatever fails, the process is
//! killed and reaped.

use super::create::send_pidfd;
use super::heard::{Heard, LAST_WORD};
use super::hooks::{HookState, OCI_VERSION};
use super::joiner::{self, Inherited};
use super::message::{Channel, Kind, Message};
use super::silent::{self, PATIENCE};
use super::status::{Status, observe};
use super::{death, last, limits, listener};
use crate::cgroup::{Freezer, Joining, Manager};
use crate::console::pty;
use crate::error::{Call, Doing, Error, Result};
use crate::plan::exec::ExecPlan;
use crate::plan::namespaces::NsKind;
use crate::process::scheduling;
use crate::security::labels::{ExecLabel, attr_dir, exec_label};
use crate::state::{Entry, Record};
use crate::sys::clone::{Child, Clone, clone3};
use crate::sys::last_stage::{Place, layout, read_page};
use crate::sys::memfd::memfd_create;
use crate::sys::path;
use crate::sys::pidfd::{end_child, has_ended, reap_all, wait_unstopped};
use crate::sys::procfs::Proc;
use crate::sys::socket::connect_unix_stream;
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Far longer than kill --all and delete --force hold in the freezer those whom they kill.
const KILLING: Duration = Duration::from_millis(100);

/// What is asked for besides the plan.
#[derive(Debug)]
pub struct Request<'a> {
    pub plan: &'a ExecPlan,
    /// Where the master of the terminal goes; None = to the caller.
    pub console_socket: Option<&'a Path>,
    pub ignore_paused: bool,
}

/// A process of the container that waits for its release.
#[derive(Debug)]
pub struct Joined<'a> {
    plan: &'a ExecPlan,
    entry: &'a Entry,
    record: &'a Record,
    /// The container's.
    init: OwnedFd,
    channel: Channel,
    page: OwnedFd,
    /// What the process runs before its program, if it is a file that we know.
    memfd: Option<Place>,
    cgroups: Joining,
    joiner: Option<Child>,
    process: Option<Child>,
    /// The terminal's master, when no console socket took it.
    pub console: Option<OwnedFd>,
    heard: Heard<'a>,
}

/// A process of the container that runs its program, or has.
#[derive(Debug)]
pub struct Executed {
    /// A child of ours, to be waited for.
    pub process: Child,
    pub warnings: Vec<String>,
}

/// Brings a process into the container.
pub fn join<'a>(entry: &'a Entry, record: &'a Record, request: &Request<'a>) -> Result<Joined<'a>> {
    let plan = request.plan;
    let label = exec_label(&plan.process)?;
    // Shared: the container is not removed under us, and others may join it at the same time.
    entry.lock_shared()?;
    let init = joinable(entry, record, request.ignore_paused)?;
    let console_socket = request.console_socket.map(connect_console).transpose()?;
    let begun = begin(record, plan, label.as_ref(), init.as_fd());
    let Begun { channel, page, memfd, cgroups, joiner } = match begun {
        Err(_) if has_stopped(init.as_fd(), record) => return Err(stopped()),
        begun => begun?,
    };
    let heard = Heard::new("the process", Some(&plan.process));
    let joiner = Some(joiner);
    let (process, console) = (None, None);
    let mut joined =
        Joined { plan, entry, record, init, channel, page, memfd, cgroups, joiner, process, console, heard };
    match joined.meet(console_socket, label.is_some()) {
        Ok(()) => Ok(joined),
        Err(e) => Err(joined.undo(e)),
    }
}

/// A joiner on its way, and what connects us with it.
struct Begun {
    channel: Channel,
    page: OwnedFd,
    memfd: Option<Place>,
    cgroups: Joining,
    joiner: Child,
}

fn begin(record: &Record, plan: &ExecPlan, label: Option<&ExecLabel>, init: BorrowedFd<'_>) -> Result<Begun> {
    let init_pid = record.init.as_ref().map_or(0, |init| init.pid);
    let fallback = plan.cgroup_of_init.then_some(init_pid);
    let mut cgroups = Joining::open(&plan.cgroups, record.cgroup.layout, fallback, plan.attach.as_ref())?;
    let join = foreign(plan, init_pid);
    let root = match plan.namespaces.contains(&NsKind::Mount) {
        true => None,
        false => Some(open_root(init_pid)?),
    };
    let keys_labelled = plan.process.keyring.as_ref().is_some_and(|keyring| keyring.label.is_some());
    let proc = keys_labelled.then(Proc::host).transpose()?;
    let groups_denied = plan.process.groups_optional && crate::host::denies_setgroups(&init_pid.to_string());
    if has_ended(init) {
        // The number, by which root was opened, may be somebody else's by now.
        return Err(stopped());
    }
    if let Some(cpus) = &plan.process.exec_affinity.initial {
        // Ours too: the time until the cgroup is entered is what it is about.
        scheduling::set_affinity(cpus, "initial")?;
    }
    // Only the joining processes should hold the other end later: end-of-file is how their death is seen.
    let (channel, theirs) = Channel::pair()?;
    channel.watch()?;
    let page = status_page()?;
    // Made here, outside of the container's user namespace, and where its file can be told from the program's.
    let mut memfd = Place::memfd()?;
    loop {
        let inherited = Inherited {
            plan,
            channel: &theirs,
            runtime_end: channel.0.as_fd(),
            cgroups: &cgroups,
            init,
            init_pid,
            join: &join,
            root: root.as_ref().map(AsFd::as_fd),
            proc: proc.as_ref(),
            label,
            groups_denied,
            page: page.as_fd(),
        };
        let request = Clone { flags: 0, into_cgroup: cgroups.clone_into() };
        // The joiner takes the memfd out of its copy of our memory: here it stays.
        match clone3(&request, |born| joiner::run(&inherited, memfd.take(), born)) {
            Ok(joiner) => return Ok(Begun { channel, page, memfd, cgroups, joiner }),
            Err(e) if cgroups.fall_back(&e)? => {
                // Init's number led there: it must be init's still.
                if has_ended(init) {
                    return Err(stopped());
                }
            }
            Err(e) => return Err(e).doing("create a process in the container's cgroup"),
        }
    }
}

/// A descriptor of init, if the container's state allows a new process.
fn joinable(entry: &Entry, record: &Record, ignore_paused: bool) -> Result<OwnedFd> {
    let (mut seen, mut init) = observe(entry, record)?;
    if seen == Status::Paused && !ignore_paused {
        // Who is told to resume a container that is being deleted looks for one in vain.
        std::thread::sleep(KILLING);
        (seen, init) = observe(entry, record)?;
    }
    match seen {
        Status::Created | Status::Running => {}
        // Ours waits for the resume; `delete --force` must not wait for ours.
        Status::Paused if ignore_paused => entry.unlock(),
        Status::Paused => {
            return Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        Status::Stopped => return Err(stopped()),
        Status::Creating => return Err(Error::new("cannot exec in a container that is being created")),
    }
    init.ok_or_else(stopped)
}

fn stopped() -> Error {
    Error::new("cannot exec in a stopped container")
}

/// Init has ended, or is at it: it waits for the end of all others in its pid namespace, which know of nothing but
/// a SIGKILL.
fn has_stopped(init: BorrowedFd<'_>, record: &Record) -> bool {
    let pid = record.init.as_ref().map_or(0, |init| init.pid);
    let exiting =
        || crate::host::process_stat(pid).is_ok_and(|stat| stat.is_none_or(|stat| stat.is_exiting()));
    has_ended(init) || exiting()
}

/// The namespaces of init that are not ours: joining one's own user namespace fails with EINVAL, and the others
/// cost time. One that cannot be looked at is tried.
fn foreign(plan: &ExecPlan, init_pid: i32) -> Vec<NsKind> {
    let inode = |process: &str, kind: NsKind| {
        let stat = rustix::fs::stat(format!("/proc/{process}/ns/{}", kind.proc_name())).ok();
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    let init = init_pid.to_string();
    let is_ours = |kind: NsKind| inode("self", kind).is_some_and(|ours| inode(&init, kind) == Some(ours));
    plan.namespaces.iter().copied().filter(|kind| !is_ours(*kind)).collect()
}

fn open_root(init_pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{init_pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).call("open").at(path).doing("open the container's root")
}

/// Written by plain stores, so that a filter which denies write(2) hides no failure.
fn status_page() -> Result<OwnedFd> {
    let page = memfd_create(c"status")?;
    rustix::fs::ftruncate(&page, layout::PAGE_SIZE as u64).call("ftruncate")?;
    Ok(page)
}

fn connect_console(path: &Path) -> Result<OwnedFd> {
    connect_unix_stream(path).at_with(|| path.display().to_string()).doing("connect to the console socket")
}

impl Joined<'_> {
    /// The terminal if there is one, the process from the joiner, which gets its attr directory when it is `labelled`,
    /// Ready from the process: the last two in any order.
    fn meet(&mut self, socket: Option<OwnedFd>, labelled: bool) -> Result<()> {
        if let Some(joiner) = self.joiner.as_ref().filter(|_| self.cgroups.is_attaching()) {
            self.cgroups.attach(joiner.pid)?;
            self.tell(Kind::Attached)?;
        }
        let mut ready = false;
        while !(ready && self.process.is_some()) {
            // The process that the joiner may have cloned keeps the channel open.
            let child = self.joiner.as_ref().or(self.process.as_ref());
            let heard = self.heard.next(&self.channel, child)?;
            let Some((message, fds)) = heard else { return Err(self.death("before it was ready")) };
            // What is the joiner's to say is believed from the joiner alone: nobody in the container sees it.
            let teller = self.joiner.as_ref().filter(|joiner| message.sender == joiner.pid);
            match (message.kind, teller) {
                (Kind::Console, Some(joiner)) if self.console.is_none() => {
                    self.console = Some(self.heard.master(&self.channel, (message, fds), joiner)?);
                }
                (Kind::InitPid, Some(joiner)) => {
                    self.process = Some(self.heard.sibling(&message, fds, joiner)?);
                    wait_unstopped(joiner.pidfd.as_fd())?;
                    self.joiner = None;
                    if labelled {
                        let attr = attr_dir(message.number)?;
                        if !self.heard.hand(&self.channel, Kind::Proceed, Some(attr.as_fd()))? {
                            return Err(self.death("before it was ready"));
                        }
                    }
                }
                (Kind::Ready, _) => ready = true,
                _ => self.heard.other(message)?,
            }
        }
        if let (Some(socket), Some(master)) = (&socket, self.console.take_if(|_| socket.is_some())) {
            pty::send_master(socket.as_fd(), master.as_fd()).doing("send the terminal")?;
        }
        Ok(())
    }

    /// `--pidfd-socket`.
    pub fn send_pidfd(&self, path: &Path) -> Result<()> {
        send_pidfd(self.process()?, b"setns", path)
    }

    /// Ends it before it has run anything, because of `error`.
    pub fn abandon(mut self, error: Error) -> Error {
        self.end();
        error
    }

    /// Limits, identity, filter, program.
    pub fn release(mut self) -> Result<Executed> {
        match self.finish() {
            Ok(process) => Ok(Executed { process, warnings: self.heard.warnings }),
            Err(e) => Err(self.undo(e)),
        }
    }

    fn finish(&mut self) -> Result<Child> {
        self.cgroups.enter_last(self.process()?.pid)?;
        let pid = self.process()?.pid;
        limits::set_rlimits(pid, &self.plan.process)?;
        if let Some(value) = self.plan.process.oom_score_adj.filter(|_| self.plan.hide_early) {
            limits::set_oom_score(pid, value)?;
        }
        self.tell(Kind::Release)?;
        while let Some((message, _)) = self.hear_released()? {
            let of_process = self.process.as_ref().is_some_and(|process| process.pid == message.sender);
            if message.kind == Kind::Listener && of_process {
                let state = self.container_state();
                let seccomp = self.plan.seccomp.as_ref();
                listener::hand_over(seccomp, self.process()?, message.number, state)?;
                self.tell(Kind::Taken)?;
            } else {
                self.heard.other(message)?;
            }
        }
        // End-of-file: execve has closed it, or death, or somebody has spoken for it. The page knows.
        let page = read_page(self.page.as_fd())?;
        if page.failed != 0 {
            return Err(last::failure(page.failed, page.errno, page.detail, Some(&self.plan.process)));
        }
        if page.stage < 9 {
            return Err(self.death("before it could execute the program"));
        }
        self.entry.unlock();
        self.process.take().ok_or_else(|| Error::new("no process"))
    }

    /// The next word after Release; None also when the program runs, whoever else holds the channel.
    fn hear_released(&mut self) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        let process = self.process.as_ref();
        let mut lost = 0;
        self.heard.next_unless(&self.channel, process, || {
            let ours = silent::image(std::process::id().cast_signed());
            let theirs = process.and_then(|process| silent::image(process.pid));
            if theirs.is_none() {
                return Ok(false);
            }
            if theirs != ours {
                let memfd = self.memfd.as_ref().and_then(|memfd| path::identity(memfd.as_fd()).ok());
                return Ok(memfd.is_some() && theirs != memfd);
            }
            // It has yet to become its last stage, for which it waits for nothing: has somebody else read our Release? In a
            // user namespace, where nobody of it can, it may be its own last stage, which may have to wait.
            let becomes_another = self.memfd.is_some() && !self.plan.namespaces.contains(&NsKind::User);
            let waits = process.is_some_and(|process| silent::is_waiting(process.pid));
            if becomes_another && waits && Manager::open(&self.record.cgroup).state()? != Freezer::Frozen {
                lost += 1;
            }
            match lost <= PATIENCE {
                true => Ok(false),
                false => Err(Error::new("the process does not go on: somebody has read what it was told")),
            }
        })
    }

    fn tell(&mut self, kind: Kind) -> Result<()> {
        if self.heard.tell(&self.channel, kind)? { Ok(()) } else { Err(self.death("before it could go on")) }
    }

    pub fn process(&self) -> Result<&Child> {
        self.process.as_ref().ok_or_else(|| Error::new("no process"))
    }

    fn container_state(&self) -> HookState<'_> {
        HookState {
            oci_version: OCI_VERSION,
            id: &self.record.id,
            status: "running",
            pid: self.record.init.as_ref().map_or(0, |init| init.pid),
            bundle: &self.record.bundle,
            annotations: &self.plan.annotations,
        }
    }

    fn death(&self, at: &str) -> Error {
        match self.process.as_ref().or(self.joiner.as_ref()) {
            Some(child) => death::explain(child, &self.record.cgroup, "process", at),
            None => Error::new(format!("the process died {at}")),
        }
    }

    fn end(&mut self) {
        let nameless = self.joiner.is_some();
        for child in self.process.take().into_iter().chain(self.joiner.take()) {
            end_child(child.pidfd.as_fd());
        }
        if nameless {
            // The joiner may have died between the clone and its word of it. The process, without us, ends, but
            // unreaped it would keep the container's init from ending.
            self.channel.shut();
            reap_all(LAST_WORD);
        }
    }

    fn undo(&mut self, error: Error) -> Error {
        self.end();
        if has_stopped(self.init.as_fd(), self.record) {
            // Whatever was in the way: this is why.
            return stopped();
        }
        self.heard.with_warnings(error).doing("unable to start container process")
    }
}
