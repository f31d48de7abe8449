//! `exec`: one more process in a container that exists. Its own failures end with 255, so that they can be told
//! from the program's.

use super::{Context, Outcome, absolute, write_pid_file};
use crate::console::relay::{Relay, check_console_socket, host_terminal};
use crate::container::exec::{self, Executed, Joined, Request};
use crate::container::{guard, stored};
use crate::error::{Doing, Error, Result};
use crate::plan::exec::{ExecPlan, Flags, Wanted};
use crate::process::foreground;
use crate::spec::{self, Bundle};
use crate::state::{Entry, Record};
use anyhow::Context as _;
use clap::Parser;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Run a process in an existing container
#[derive(Debug, Parser)]
#[command(args_override_self = true, override_usage = "orlop exec [OPTIONS] ID COMMAND [ARGS]...")]
pub struct Args {
    /// File with the whole process object (the options from --cwd to --cap are for commands without one)
    #[arg(short, long)]
    process: Option<PathBuf>,
    /// Return once the program runs
    #[arg(short, long)]
    detach: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// Working directory in the container
    #[arg(long)]
    cwd: Option<String>,
    /// NAME=VALUE, added to the container's environment
    #[arg(short, long)]
    env: Vec<String>,
    /// UID[:GID]
    #[arg(short, long)]
    user: Option<String>,
    /// Additional group id
    #[arg(short = 'g', long)]
    additional_gids: Vec<String>,
    /// Capability, added to the container's
    #[arg(short, long)]
    cap: Vec<String>,
    /// Set no_new_privs
    #[arg(long)]
    no_new_privs: bool,
    /// AppArmor profile
    #[arg(long)]
    apparmor: Option<String>,
    /// SELinux label
    #[arg(long)]
    process_label: Option<String>,
    /// File that receives the pid of the process
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Socket that receives the terminal's master
    #[arg(long)]
    console_socket: Option<PathBuf>,
    /// Socket that receives a pidfd of the process
    #[arg(long)]
    pidfd_socket: Option<PathBuf>,
    /// Pass N descriptors, from 3 on, to the process
    #[arg(long, default_value_t = 0)]
    preserve_fds: u32,
    /// Cgroup below the container's: [CONTROLLER[,CONTROLLER]:]PATH
    #[arg(long)]
    cgroup: Vec<String>,
    /// Wait in a paused container instead of failing
    #[arg(long)]
    ignore_paused: bool,
    /// The container's id, then the command as it is: its options are not ours
    #[arg(trailing_var_arg = true, required = true, value_name = "ID COMMAND")]
    words: Vec<String>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    execute(context, args).context("exec failed")
}

fn execute(context: &Context, args: &Args) -> Outcome {
    let (id, command) = args.words.split_first().ok_or_else(|| Error::new("container id cannot be empty"))?;
    let (_, entry, record) = context.container(id)?;
    let config = stored::config(&entry)?;
    // Before the process file is read, which may be a pipe: all of this command happens again.
    let descriptors = [args.process.as_deref(), context.global.log.as_deref()];
    if crate::plan::exec::is_exposed(&config, &record.namespaces, record.own_pid_namespace) {
        guard::change_image(context.inherited_fds, &descriptors)?;
    } else if let Some(warning) = guard::try_change_image(context.inherited_fds, &descriptors) {
        context.warn_all(&[warning]);
    }
    let paths = Paths::new(args)?;
    let plan = plan(args, command, &config, &record).map_err(|e| in_words(args, e))?;
    context.warn_all(&plan.warnings);
    crate::process::stdio::check_preserved(plan.process.fds, context.inherited_fds)?;
    check_console_socket(plan.process.terminal, args.detach, args.console_socket.is_some())?;
    // Before anything is made: without a terminal there is nothing to relay to.
    let terminal = match plan.process.terminal && !args.detach {
        true => Some(host_terminal()?),
        false => None,
    };
    let request = Request {
        plan: &plan,
        console_socket: paths.console_socket.as_deref(),
        ignore_paused: args.ignore_paused,
    };
    let outcome = match args.detach {
        true => exec::join(&entry, &record, &request).and_then(|joined| {
            started(context, &paths, joined)?;
            Ok(0)
        }),
        false => foreground(context, &paths, (&entry, &record, &request), terminal),
    };
    Ok(outcome.map_err(|e| in_words(args, e))?)
}

/// What came by a flag is called by its name.
fn in_words(args: &Args, error: Error) -> Error {
    [
        (args.cwd.is_some(), "process.cwd", "--cwd"),
        (args.user.is_some(), "process.user.uid", "--user"),
        (args.user.is_some(), "process.user.gid", "--user"),
        (!args.additional_gids.is_empty(), "process.user.additionalGids", "--additional-gids"),
        (!args.cap.is_empty(), "process.capabilities.bounding", "--cap"),
        (args.apparmor.is_some(), "process.apparmorProfile", "--apparmor"),
        (args.process_label.is_some(), "process.selinuxLabel", "--process-label"),
        (args.tty, "process.terminal", "--tty"),
    ]
    .into_iter()
    .filter(|(given, ..)| *given && args.process.is_none())
    .fold(error, |error, (_, field, flag)| error.with_flag(field, flag))
}

/// The caller's paths are meant from where it stands.
struct Paths {
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
}

impl Paths {
    fn new(args: &Args) -> Result<Self> {
        let absolute = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
        Ok(Self {
            pid_file: absolute(&args.pid_file)?,
            console_socket: absolute(&args.console_socket)?,
            pidfd_socket: absolute(&args.pidfd_socket)?,
        })
    }
}

fn plan(args: &Args, command: &[String], config: &Bundle, record: &Record) -> Result<ExecPlan> {
    let file = args.process.as_deref().map(process_file).transpose()?;
    let flags = Flags {
        args: command.to_vec(),
        terminal: args.tty,
        cwd: args.cwd.clone(),
        env: args.env.clone(),
        user: args.user.clone(),
        additional_gids: args.additional_gids.clone(),
        caps: args.cap.clone(),
        no_new_privs: args.no_new_privs,
        apparmor: args.apparmor.clone(),
        process_label: args.process_label.clone(),
        preserve_fds: args.preserve_fds,
        cgroups: args.cgroup.clone(),
    };
    let wanted = Wanted {
        id: &record.id,
        config,
        file: file.as_ref(),
        flags: &flags,
        namespaces: &record.namespaces,
        cgroup: &record.cgroup,
        no_new_keyring: record.no_new_keyring,
    };
    crate::plan::exec::plan(&wanted, &crate::host::process_facts()?)
}

fn process_file(path: &Path) -> Result<spec::Part<oci_spec::runtime::Process>> {
    let raw = spec::read_file(path).doing("read the process file")?;
    spec::parse_process(&path.display().to_string(), &raw)
}

/// Tells callers of the process and lets it run its program; a caller that cannot be told is a failure, and then
/// nothing has run.
fn started(context: &Context, paths: &Paths, joined: Joined) -> Result<Executed> {
    let executed = match announce(&joined, paths) {
        Ok(()) => joined.release(),
        Err(e) => Err(joined.abandon(e)),
    };
    if let (Err(_), Some(path)) = (&executed, &paths.pid_file) {
        // The number of a process that is gone; the failure itself is what is told.
        let _ = std::fs::remove_file(path);
    }
    let executed = executed?;
    context.warn_all(&executed.warnings);
    Ok(executed)
}

fn announce(joined: &Joined, paths: &Paths) -> Result<()> {
    if let Some(path) = &paths.pid_file {
        write_pid_file(path, joined.process()?.pid)?;
    }
    paths.pidfd_socket.as_deref().map_or(Ok(()), |path| joined.send_pidfd(path))
}

/// Signals are held back from before the join, which may have to wait for a paused container: they are the
/// program's.
fn foreground(
    context: &Context,
    paths: &Paths,
    (entry, record, request): (&Entry, &Record, &Request),
    terminal: Option<OwnedFd>,
) -> Result<i32> {
    let signals = foreground::begin()?;
    let mut joined = exec::join(entry, record, request)?;
    let relay = match terminal {
        Some(terminal) => {
            let master = joined.console.take().ok_or_else(|| Error::new("the process has no terminal"))?;
            Some(Relay::start(terminal, master)?)
        }
        None => None,
    };
    let Executed { process, .. } = started(context, paths, joined)?;
    context.say_warnings();
    let pid = Pid::from_raw(process.pid).ok_or_else(|| Error::new("no process"))?;
    let mut warnings = Vec::new();
    let code = foreground::wait(&signals, process.pidfd.as_fd(), pid, relay, None, &mut warnings);
    context.warn_all(&warnings);
    code
}
