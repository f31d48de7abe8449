//! `start`: lets a created container run its program.

use super::{Context, Outcome};
use crate::container::start::{self, Words};
use crate::container::{delete, status, stored};
use crate::error::Kind;
use crate::process::notify::Notify;
use crate::state::{Entry, Record, Root};
use anyhow::Context as _;
use clap::Parser;
use rustix::process::Pid;
use std::os::fd::AsFd;

/// Start a created container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The container's id
    id: String,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let (root, entry) = context.entry(&args.id)?;
    entry.lock()?;
    let record = status::record(&entry)?;
    release_notified(context, &root, &entry, &record).context("orlop start failed")?;
    Ok(0)
}

/// Starts and, when the container was created under a service manager, waits until it says that it is
/// ready: nobody stays behind to pass that on later.
pub fn release_notified(
    context: &Context,
    root: &Root,
    entry: &Entry,
    record: &Record,
) -> crate::error::Result<()> {
    let Some(host) = &record.notify_socket else { return release(context, root, entry, record) };
    // The socket of one that has started is in use.
    start::must_wait(entry, record)?;
    let notify = Notify::bind(entry.path(), host)?;
    let init = status::living_init(record)?;
    release(context, root, entry, record)?;
    let pid = record.init.as_ref().and_then(|init| Pid::from_raw(init.pid));
    if let (Some(init), Some(pid)) = (init, pid) {
        let mut warnings = Vec::new();
        notify.wait_ready(init.as_fd(), pid, &mut warnings)?;
        context.warn_all(&warnings);
    }
    Ok(())
}

/// Starts, and stops the container again when a poststart hook fails (runtime.md). The program runs by then, so the
/// lock is open: the hook, or anybody beside it, may exec into the container.
pub fn release(context: &Context, root: &Root, entry: &Entry, record: &Record) -> crate::error::Result<()> {
    start::start(entry, record, || words(entry))?;
    entry.unlock();
    let Err(e) = start::poststart(record) else { return Ok(()) };
    match entry.lock().and_then(|()| delete::destroy(root, entry, record)) {
        Ok(warnings) => context.warn_all(&warnings),
        // Somebody has deleted it meanwhile.
        Err(gone) if gone.kind() == Kind::NoContainer => {}
        Err(left) => return Err(e.hint(format!("the container could not be stopped: {left}"))),
    }
    Err(e)
}

/// args[0] and the hooks, from the kept config.json: only for the words of a failure.
fn words(entry: &Entry) -> Words {
    let Ok(bundle) = stored::config(entry) else { return Words::default() };
    let argv = bundle.spec.process().as_ref().and_then(|process| process.args().clone());
    Words {
        argv0: argv.and_then(|args| args.into_iter().next()).unwrap_or_default(),
        start_container: crate::plan::hooks::plan(bundle.spec.hooks().as_ref()).start_container,
    }
}
