//! `run`: create, start and, unless detached, wait for the workload and delete the container.

use super::create::{Prepared, Shared};
use super::{Context, Outcome, start};
use crate::console::relay::{Relay, host_terminal};
use crate::container::create::Created;
use crate::container::delete;
use crate::error::{Error, Kind, Result};
use crate::process::foreground::{self, BlockedSignals};
use crate::process::notify::Notify;
use crate::state::Root;
use anyhow::Context as _;
use clap::Parser;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// Create, start, wait for and delete a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    shared: Shared,
    /// Return once the program runs
    #[arg(short, long)]
    detach: bool,
    /// Do not delete the container when its program has ended
    #[arg(long)]
    keep: bool,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let prepared = Prepared::new(context, &args.shared)?;
    prepared.check_terminal(&args.shared, args.detach)?;
    match args.detach {
        true => detached(context, args, &prepared).context("orlop run failed"),
        false => foreground_run(context, args, &prepared).context("orlop run failed"),
    }
}

fn detached(context: &Context, args: &Args, prepared: &Prepared) -> Outcome {
    let (root, created) = prepared.create(context, &args.shared)?;
    start::release_notified(context, &root, &created.entry, &created.record)
        // As runc does.
        .map_err(|e| prepared.take_back(context, &root, &created, e))?;
    Ok(0)
}

fn foreground_run(context: &Context, args: &Args, prepared: &Prepared) -> Outcome {
    let process = prepared.plan.process.as_ref();
    // Before a container is made: without a terminal there is nothing to relay to.
    let terminal = match process.is_some_and(|process| process.terminal) {
        true => Some(host_terminal()?),
        false => None,
    };
    let signals = foreground::begin()?;
    if !args.shared.no_subreaper {
        foreground::adopt_orphans()?;
    }
    let (root, mut created) = prepared.create(context, &args.shared)?;
    let (relay, notify) = connect(context, &root, &mut created, terminal)
        .map_err(|e| prepared.take_back(context, &root, &created, e))?;
    created.entry.unlock();
    context.say_warnings();
    let code = wait(context, &signals, &created, relay, notify).map_err(|e| match created.entry.lock() {
        // Nobody is left to wait for it or to feed its terminal.
        Ok(()) if !args.keep => prepared.take_back(context, &root, &created, e),
        _ => e,
    })?;
    if !args.keep {
        let deleted =
            created.entry.lock().and_then(|()| delete::destroy(&root, &created.entry, &created.record));
        match deleted {
            Ok(warnings) => context.warn_all(&warnings),
            // `delete --force` was quicker.
            Err(e) if e.kind() == Kind::NoContainer => {}
            // The program's status is what the caller waits for.
            Err(e) => context.warn_all(&[format!(
                "the container was not deleted: {e} (orlop delete --force {})",
                created.entry.id
            )]),
        }
    }
    Ok(code)
}

/// All that stands between "created" and a program that runs.
fn connect(
    context: &Context,
    root: &Root,
    created: &mut Created,
    terminal: Option<OwnedFd>,
) -> Result<(Option<Relay>, Option<Notify>)> {
    let notify = match &created.record.notify_socket {
        Some(host) => Some(Notify::bind(created.entry.path(), host)?),
        None => None,
    };
    let relay = terminal.map(|terminal| relay(created, terminal)).transpose()?;
    start::release(context, root, &created.entry, &created.record)?;
    Ok((relay, notify))
}

fn relay(created: &mut Created, terminal: OwnedFd) -> Result<Relay> {
    let master = created.console.take().ok_or_else(|| Error::new("init opened no terminal"))?;
    Relay::start(terminal, master)
}

fn wait(
    context: &Context,
    signals: &BlockedSignals,
    created: &Created,
    relay: Option<Relay>,
    notify: Option<Notify>,
) -> Result<i32> {
    let pid = Pid::from_raw(created.init.pid).ok_or_else(|| Error::new("no init"))?;
    let mut warnings = Vec::new();
    let code = foreground::wait(signals, created.init.pidfd.as_fd(), pid, relay, notify, &mut warnings);
    context.warn_all(&warnings);
    code
}
