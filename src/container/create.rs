//! `create`, the runtime's side of the process tree: P1…P8 as one straight list. Start reading here.
//!
//! Runs in the runtime, in its own namespaces, with its privileges. Whatever fails from the claim on is
//! undone: init killed and reaped, cgroups and state removed. Whatever is killed leaves a record from
//! which one `delete --force` removes the rest.

use super::heard::{Heard, LAST_WORD};
use super::hooks::{self, HookState, OCI_VERSION};
use super::init::{self, Inherited};
use super::message::{Channel, Kind, Message};
use super::{death, delete, id_maps, intermediate, joins, limits, listener};
use crate::cgroup;
use crate::console::pty;
use crate::error::{Doing, Error, Result};
use crate::host;
use crate::plan::CreatePlan;
use crate::plan::cgroup::unit::UnitPlan;
use crate::plan::namespaces::{NsKind, Tree};
use crate::process::notify;
use crate::rootfs;
use crate::security::labels::{self, ExecLabel, attr_dir, exec_label};
use crate::state::{Entry, Identity, Record, Root, VERSION, store};
use crate::sys::clone::{Child, Clone, clone3};
use crate::sys::ns;
use crate::sys::pidfd::{self, end_child, pidfd_inode, reap_all, wait_unstopped};
use crate::sys::process::{exit_now, set_dumpable};
use crate::sys::socket::{connect_unix_stream, send_with_fds};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How often, and with what pauses, is looked whether init sleeps at its gate: 50 ms at most.
const GATE_LOOKS: u32 = 500;
const GATE_PAUSE: Duration = Duration::from_micros(100);

/// What `create` is asked to do besides the plan.
#[derive(Debug)]
pub struct Request<'a> {
    pub plan: &'a CreatePlan,
    /// config.json, kept verbatim for later commands.
    pub config: &'a [u8],
    /// Where the master of the terminal goes; None = to the caller of [`create`].
    pub console_socket: Option<&'a Path>,
}

/// A container waiting at its gate.
#[derive(Debug)]
pub struct Created {
    pub entry: Entry,
    pub record: Record,
    pub init: Child,
    /// The terminal's master, when no console socket took it.
    pub console: Option<OwnedFd>,
    pub warnings: Vec<String>,
}

/// Creates the container. The entry comes back locked.
pub fn create(root: &Root, request: &Request) -> Result<Created> {
    // A label that this host cannot give is refused before anything is made (T40).
    let label = match &request.plan.process {
        Some(process) => exec_label(process)?,
        None => None,
    };
    if let Some(label) = &request.plan.rootfs.mask_label {
        labels::require_selinux("linux.mountLabel", &label.value)?;
    }
    let record = intent(request.plan)?;
    let entry = root.claim(&request.plan.id)?;
    let heard = Heard::new("init", request.plan.process.as_ref());
    let mut attempt = Attempt { record, init: None, nameless: false, heard };
    match attempt.run(&entry, request, label.as_ref()) {
        Ok((init, console)) => {
            let Attempt { record, heard, .. } = attempt;
            Ok(Created { entry, record, init, console, warnings: heard.warnings })
        }
        Err(e) => {
            let e = attempt.cause(request.plan, e).doing("unable to start container process");
            Err(attempt.undo(root, &entry, e))
        }
    }
}

/// What is planned, before anything of it is done.
fn intent(plan: &CreatePlan) -> Result<Record> {
    Ok(Record {
        v: VERSION,
        id: plan.id.clone(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        created: crate::clock::now(),
        owner: rustix::process::geteuid().as_raw(),
        boot_id: host::boot_id()?,
        annotations: plan.annotations.clone(),
        init: None,
        forming: None,
        cgroup: plan.cgroup.record(),
        namespaces: NsKind::ALL.into_iter().filter(|kind| plan.namespaces.has(*kind)).collect(),
        own_pid_namespace: plan.namespaces.creates(NsKind::Pid),
        has_process: plan.process.is_some(),
        notify_socket: plan.process.as_ref().and_then(|process| process.notify_socket.clone()),
        poststart: plan.hooks.poststart.clone(),
        poststop: plan.hooks.poststop.clone(),
        hooks_begun: false,
        no_new_keyring: plan.process.as_ref().is_some_and(|process| process.keyring.is_none()),
    })
}

/// A creation under way, and what undoing it needs.
struct Attempt<'p> {
    record: Record,
    /// The child to be killed: init, or the intermediate before there is one.
    init: Option<Child>,
    /// There may be an init that we have not been told of.
    nameless: bool,
    heard: Heard<'p>,
}

impl Attempt<'_> {
    fn run(
        &mut self,
        entry: &Entry,
        request: &Request,
        label: Option<&ExecLabel>,
    ) -> Result<(Child, Option<OwnedFd>)> {
        let plan = request.plan;
        // P1: intent before the first effect.
        entry.save(&self.record)?;
        entry.write(store::CONFIG, request.config)?;
        if self.record.notify_socket.is_some() {
            notify::make_directory(entry.path())?;
        }

        // P2: everything that children inherit is opened here, by the runtime.
        if plan.hide_early {
            set_dumpable(false);
        }
        let mut cgroups = cgroup::create(&plan.cgroup, &mut self.record.cgroup)?;
        self.heard.warnings.append(&mut cgroups.warnings);
        // From here on whatever is found in them is ours to kill.
        self.record.cgroup = cgroups.record().clone();
        entry.save(&self.record)?;
        let joins = joins::open(plan)?;
        let host = rootfs::open_host(&plan.rootfs)?;
        if !plan.namespaces.has(NsKind::User) {
            rootfs::idmap(&plan.rootfs, &host, None)?;
        }
        let mut host = Some(host);
        let console_socket = request.console_socket.map(connect_console).transpose()?;
        let (fifo, page) = entry.make_gate()?;
        let (channel, theirs) = Channel::pair()?;
        if plan.is_seen() || plan.tree != Tree::Direct {
            channel.watch()?;
        }
        let has_hooks = !plan.hooks.create_container.is_empty();
        let environment = if has_hooks { host::environment() } else { Vec::new() };
        let inherited = Inherited {
            plan,
            channel: &theirs,
            runtime_end: channel.0.as_fd(),
            cgroups: &cgroups,
            attaching: false,
            joins: &joins,
            fifo: fifo.as_fd(),
            page: page.as_fd(),
            entry,
            label,
            environment: &environment,
        };

        // P3: the first child.
        let (child, attaching) = first_child(plan, &inherited, &mut host)?;
        let pid = child.pid;
        self.init = Some(child);
        // Only children may hold the other end: end-of-file is how their death is seen.
        drop(theirs);
        if attaching {
            cgroups.attach(pid)?;
            self.tell(&channel, Kind::Attached)?;
        }
        if let (Tree::ViaIntermediate(_), Some(host)) = (&plan.tree, host) {
            // P4: id maps, then the pid of init from the intermediate.
            self.meet_init(plan, &channel, &host)?;
        }

        // P5: init is known. It enters the record at P7: until then the container is being created, and
        // init dies by itself when we do.
        let identity = self.identify()?;
        if !self.record.cgroup.made {
            // But a hook may hang, and init, which runs it or waits for it, keeps the lock.
            self.record.forming = Some(identity.clone());
            entry.save(&self.record)?;
        }
        cgroups.limit_copies(&plan.cgroup)?;
        let attr = label.map(|_| attr_dir(identity.pid)).transpose()?;
        if !self.heard.hand(&channel, Kind::Proceed, attr.as_ref().map(AsFd::as_fd))? {
            return Err(self.death(Some(Kind::Proceed)));
        }
        self.await_kind(&channel, Kind::MountsReady)?;

        // P6: limits before the first hook; hooks before the switch of the root.
        cgroups.apply(&plan.cgroup)?;
        if !plan.hooks.create_runtime.is_empty() || !plan.hooks.poststop.is_empty() {
            self.record.hooks_begun = true;
            entry.save(&self.record)?;
        }
        self.create_runtime_hooks(plan)?;
        self.tell(&channel, Kind::HooksDone)?;
        let console = self.await_ready(&channel, plan, console_socket)?;

        // P7: limits of the process from outside; the record says created before init is released.
        self.limit_process(plan)?;
        self.record.init = Some(identity);
        self.record.forming = None;
        entry.save(&self.record)?;
        self.tell(&channel, Kind::Release)?;
        self.await_gate(&channel, plan)?;

        // P8 (pid file, unlock) is the command's.
        let init = self.init.take().ok_or_else(|| Error::new("no init"))?;
        Ok((init, console))
    }

    fn child(&self) -> Result<&Child> {
        self.init.as_ref().ok_or_else(|| Error::new("no init"))
    }

    /// P4 of the long way round.
    fn meet_init(&mut self, plan: &CreatePlan, channel: &Channel, host: &rootfs::HostFds) -> Result<()> {
        let intermediate = self.child()?.pid;
        if !plan.hide_early
            && let Some(value) = plan.process.as_ref().and_then(|process| process.oom_score_adj)
        {
            // Inherited by init, whose own files nobody but the host's root may open once it hides.
            limits::set_oom_score(intermediate, value)?;
        }
        if let Some(ids) = &plan.ids {
            self.await_kind(channel, Kind::MapIds)?;
            id_maps::write(intermediate, ids)?;
        }
        if plan.namespaces.has(NsKind::User) {
            if plan.ids.is_none() {
                self.await_kind(channel, Kind::MapIds)?;
            }
            // Only where it is asked for: the link of one that hides is for those with CAP_SYS_PTRACE.
            let userns = match plan.rootfs.idmaps_by_container() {
                true => Some(joins::open_file(&format!("/proc/{intermediate}/ns/user"))?),
                false => None,
            };
            rootfs::idmap(&plan.rootfs, host, userns.as_ref().map(AsFd::as_fd))?;
        }
        self.tell(channel, Kind::IdsMapped)?;
        // Killed between the clone and its word of it, the intermediate leaves an init that keeps the channel open and
        // waits for us.
        self.nameless = true;
        let (message, fds) = self.await_kind(channel, Kind::InitPid)?;
        let init = self.heard.sibling(&message, fds, self.child()?)?;
        self.nameless = false;
        if let Some(intermediate) = self.init.replace(init) {
            wait_unstopped(intermediate.pidfd.as_fd())?;
        }
        Ok(())
    }

    fn identify(&self) -> Result<Identity> {
        let init = self.child()?;
        let pidfd_inode = pidfd_inode(init.pidfd.as_fd());
        let stat = host::process_stat(init.pid)?.ok_or_else(|| Error::new("init died at birth"))?;
        Ok(Identity { pid: init.pid, start_time: stat.start_time, pidfd_inode })
    }

    fn tell(&mut self, channel: &Channel, kind: Kind) -> Result<()> {
        if self.heard.tell(channel, kind)? { Ok(()) } else { Err(self.death(Some(kind))) }
    }

    fn await_kind(&mut self, channel: &Channel, kind: Kind) -> Result<(Message, Vec<OwnedFd>)> {
        let heard = self.heard.await_kind(channel, kind, self.init.as_ref())?;
        heard.ok_or_else(|| self.death(Some(kind)))
    }

    /// N5 and N6: the terminal if there is one, then Ready.
    fn await_ready(
        &mut self,
        channel: &Channel,
        plan: &CreatePlan,
        socket: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let mut console = None;
        if plan.process.as_ref().is_some_and(|process| process.terminal) {
            let told = self.await_kind(channel, Kind::Console)?;
            let init = self.init.as_ref().ok_or_else(|| Error::new("no init"))?;
            console = Some(self.heard.master(channel, told, init)?);
            if let (Some(socket), Some(master)) = (&socket, console.take_if(|_| socket.is_some())) {
                pty::send_master(socket.as_fd(), master.as_fd()).doing("send the terminal")?;
            }
        }
        self.await_kind(channel, Kind::Ready)?;
        Ok(console)
    }

    fn hook_state<'p>(&self, plan: &'p CreatePlan) -> Result<HookState<'p>> {
        Ok(HookState {
            oci_version: OCI_VERSION,
            id: &plan.id,
            status: "creating",
            pid: self.child()?.pid,
            bundle: &plan.bundle,
            annotations: &plan.annotations,
        })
    }

    /// rlimits and the OOM score come from outside and late: a small RLIMIT_NOFILE must not break the
    /// mounts, and the container could not raise them.
    fn limit_process(&self, plan: &CreatePlan) -> Result<()> {
        let Some(process) = &plan.process else { return Ok(()) };
        let pid = self.child()?.pid;
        // Without privilege the score was set before init hid, on the intermediate.
        let set_already = !plan.hide_early && plan.tree != Tree::Direct;
        match process.oom_score_adj {
            Some(value) if !set_already => limits::set_oom_score(pid, value)?,
            _ => {}
        }
        limits::set_rlimits(pid, process)
    }

    fn create_runtime_hooks(&self, plan: &CreatePlan) -> Result<()> {
        let state = self.hook_state(plan)?;
        let cwd = std::ffi::CString::new(plan.bundle.as_os_str().as_encoded_bytes()).ok();
        hooks::run(
            &plan.hooks.create_runtime,
            &state,
            &host::environment(),
            cwd.as_deref(),
            Some(self.child()?.pidfd.as_fd()),
        )
    }

    /// N7 happens in the last stage; end-of-file is its last word. It is not yet "waiting": a death by
    /// SIGSYS closes the channel too, before the pid can be waited for.
    fn await_gate(&mut self, channel: &Channel, plan: &CreatePlan) -> Result<()> {
        loop {
            let Some((message, _)) = self.heard.next(channel, self.init.as_ref())? else { break };
            if message.kind == Kind::Waiting {
                break;
            }
            // Only a watched channel names who speaks.
            let of_init = [0, self.child()?.pid].contains(&message.sender);
            if message.kind == Kind::Listener && of_init {
                let state = self.hook_state(plan)?;
                listener::hand_over(plan.seccomp.as_ref(), self.child()?, message.number, state)?;
                self.tell(channel, Kind::Taken)?;
            } else {
                self.heard.other(message)?;
            }
        }
        // Between the end-of-file and its wait init makes one system call, which a filter may kill for: only
        // asleep has it come through.
        for _ in 0..GATE_LOOKS {
            match host::process_stat(self.child()?.pid)? {
                Some(stat) if stat.is_exiting() => break,
                Some(stat) if stat.state == 'S' => return Ok(()),
                Some(_) => std::thread::sleep(GATE_PAUSE),
                None => break,
            }
        }
        match host::process_stat(self.child()?.pid)? {
            // A busy machine, or somebody stopped it.
            Some(stat) if !stat.is_exiting() => Ok(()),
            _ => Err(self.death(None)),
        }
    }

    /// Init is gone without a word: how, and why as far as can be known. `before`: what it should have
    /// said next.
    fn death(&self, before: Option<Kind>) -> Error {
        let Ok(child) = self.child() else { return Error::new("init died") };
        let at = before.map_or("at the start gate".to_owned(), |kind| format!("before {kind:?}"));
        death::explain(child, &self.record.cgroup, "init", &at)
    }

    /// What has failed may have done so because init, and with it its unit, was gone already.
    fn cause(&self, plan: &CreatePlan, e: Error) -> Error {
        let limited = plan.cgroup.unit.as_ref().is_some_and(UnitPlan::limits_memory);
        match &self.init {
            Some(init) if limited && death::took_its_cgroup(init, &self.record.cgroup) => {
                Error::new("container init was killed, and its unit is gone (memory limit too low?)")
                    .at("linux.resources.memory.limit")
            }
            _ => e,
        }
    }

    /// Takes everything back; what could not be taken back is said with the error.
    fn undo(&mut self, root: &Root, entry: &Entry, error: Error) -> Error {
        if let Some(init) = self.init.take() {
            end_child(init.pidfd.as_fd());
        }
        if self.nameless {
            // Our end of the channel is closed: it ends by itself.
            reap_all(LAST_WORD);
        }
        let undone = delete::destroy(root, entry, &self.record);
        if let Ok(warnings) = &undone {
            self.heard.warnings.extend_from_slice(warnings);
        }
        let error = self.heard.with_warnings(error);
        match undone {
            Ok(_) => error,
            Err(left) => Error::new(format!("{error}; then, undoing it: {left}"))
                .hint(format!("orlop delete --force {}", entry.id)),
        }
    }
}

/// The child that is born first, and whether it has yet to be moved into its cgroup. It takes `host` along, out of
/// its copy of our memory: here all of it stays.
fn first_child(
    plan: &CreatePlan,
    inherited: &Inherited,
    host: &mut Option<rootfs::HostFds>,
) -> Result<(Child, bool)> {
    let mut make = |inherited: &Inherited| match plan.tree {
        Tree::Direct => clone_init(plan, inherited, host),
        Tree::ViaIntermediate(_) => {
            let request = Clone { flags: 0, into_cgroup: inherited.clone_into() };
            clone3(&request, |in_cgroup| match host.take() {
                Some(host) => intermediate::run(inherited, host, in_cgroup),
                None => exit_now(1),
            })
        }
    };
    match make(inherited) {
        Err(e) if inherited.cgroups.can_attach(&e) => {
            make(&Inherited { attaching: true, ..*inherited }).map(|child| (child, true))
        }
        child => child.map(|child| (child, false)),
    }
}

/// One clone3 with all new namespaces. A pid namespace is joined, and clock offsets are set, on the
/// runtime's own "for children" slots, which are put back at once: later hooks must not be born there.
fn clone_init(plan: &CreatePlan, inherited: &Inherited, host: &mut Option<rootfs::HostFds>) -> Result<Child> {
    let mut flags = 0;
    for kind in &plan.namespaces.create {
        let in_place = *kind == NsKind::Cgroup;
        let by_offsets = *kind == NsKind::Time && !plan.namespaces.time_offsets.is_empty();
        if !in_place && !by_offsets {
            flags |= kind.flag() as u64;
        }
    }
    let mut restore: Vec<(OwnedFd, NsKind)> = Vec::new();
    if let Some(joined) = inherited.joins.iter().find(|joined| joined.kind == NsKind::Pid) {
        restore.push((joins::open_file("/proc/self/ns/pid")?, NsKind::Pid));
        ns::setns(joined.fd.as_fd(), NsKind::Pid.flag()).at_with(|| joined.field.clone())?;
    }
    if plan.namespaces.creates(NsKind::Time) && !plan.namespaces.time_offsets.is_empty() {
        restore.push((joins::open_file("/proc/self/ns/time")?, NsKind::Time));
        ns::unshare(NsKind::Time.flag()).at("linux.namespaces")?;
        intermediate::write_time_offsets(&plan.namespaces.time_offsets)?;
    }
    let request = Clone { flags, into_cgroup: inherited.clone_into() };
    let child = clone3(&request, |in_cgroup| match host.take() {
        Some(host) => init::run(inherited, init::Born::OfRuntime { in_cgroup }, host),
        None => exit_now(1),
    })
    .doing("create the container's namespaces");
    for (fd, kind) in restore {
        ns::setns(fd.as_fd(), kind.flag()).doing("leave the container's namespace")?;
    }
    child
}

/// `--pidfd-socket`: one message with the pidfd. The payload is runc's: "standard" for an init, "setns" for a
/// process that joins.
pub fn send_pidfd(process: &Child, payload: &[u8], path: &Path) -> Result<()> {
    let send = || {
        let socket = connect_unix_stream(path)?;
        let pidfd = pidfd::real(process.pidfd.as_fd())?;
        send_with_fds(&socket, payload, &[pidfd])
    };
    send().at_with(|| path.display().to_string()).doing("send the pidfd")
}

fn connect_console(path: &Path) -> Result<OwnedFd> {
    connect_unix_stream(path).at_with(|| path.display().to_string()).doing("connect to the console socket")
}
