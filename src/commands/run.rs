//! `run`: create, start and, unless detached, wait for the workload and delete the container.

use super::create::{Prepared, Shared};
use super::{Context, Outcome, start};
use crate::console::relay::{Relay, host_terminal};
use crate::container::create::Created;
use crate::container::delete;
use crate::error::{Error, Result};
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
    let (root, created) = prepared.create(&args.shared)?;
    start::release_notified(context, &root, &created.entry, &created.record)
        .or_else(|e| take_back(&root, &created, e))?;
    finish(context, prepared, &created);
    Ok(0)
}

/// What cannot be started is deleted, as runc does.
fn take_back(root: &Root, created: &Created, e: Error) -> Result<()> {
    match delete::destroy(root, &created.entry, &created.record) {
        Ok(_) => Err(e),
        Err(left) => Err(Error::new(format!("{e}; then, undoing it: {left}"))),
    }
}

fn finish(context: &Context, prepared: &Prepared, created: &Created) {
    context.warn_all(&prepared.plan.warnings);
    context.warn_all(&created.warnings);
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
    let (root, mut created) = prepared.create(&args.shared)?;
    let notify = match &created.record.notify_socket {
        Some(host) => Some(Notify::bind(created.entry.path(), host)?),
        None => None,
    };
    let relay = terminal.map(|terminal| relay(&mut created, terminal)).transpose()?;
    start::release(context, &root, &created.entry, &created.record)
        .or_else(|e| take_back(&root, &created, e))?;
    created.entry.unlock();
    finish(context, prepared, &created);
    let code = wait(context, &signals, &created, relay, notify)?;
    if !args.keep {
        created.entry.lock()?;
        context.warn_all(&delete::destroy(&root, &created.entry, &created.record)?);
    }
    Ok(code)
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
