//! `create`: a bundle becomes a container waiting at its start gate.

use super::{Context, Outcome, absolute, write_pid_file};
use crate::container::create::{self, Created, Request};
use crate::container::{delete, guard};
use crate::error::{Call, Doing, Error, Result};
use crate::plan::{self, CreatePlan, Options};
use crate::spec::{self, Bundle};
use crate::state::Root;
use anyhow::Context as _;
use clap::Parser;
use rustix::fs::Mode;
use std::path::{Path, PathBuf};

/// Options that `create` and `run` share.
#[derive(Debug, clap::Args)]
pub struct Shared {
    /// The container's id
    pub id: String,
    /// The bundle's directory
    #[arg(short, long, default_value = ".")]
    pub bundle: PathBuf,
    /// A configuration other than BUNDLE/config.json
    #[arg(short = 'f', long)]
    pub config: Option<PathBuf>,
    /// Socket that receives the terminal's master
    #[arg(long)]
    pub console_socket: Option<PathBuf>,
    /// Socket that receives a pidfd of the container's init
    #[arg(long)]
    pub pidfd_socket: Option<PathBuf>,
    /// File that receives the pid of the container's init
    #[arg(long)]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root (for a root on an initramfs)
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass N descriptors, from 3 on, to the container
    #[arg(long, default_value_t = 0)]
    pub preserve_fds: u32,
    /// Accepted for compatibility
    #[arg(long)]
    pub no_subreaper: bool,
}

/// Create a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    pub shared: Shared,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let prepared = Prepared::new(context, &args.shared)?;
    prepared.check_terminal(&args.shared, true)?;
    prepared.create(context, &args.shared).context("orlop create failed")?;
    Ok(0)
}

/// A bundle read and planned.
pub struct Prepared {
    pub bundle: Bundle,
    pub plan: CreatePlan,
    root: PathBuf,
    /// It is the default of a user, below XDG_RUNTIME_DIR.
    users_root: bool,
    pid_file: Option<PathBuf>,
    console_socket: Option<PathBuf>,
}

impl Prepared {
    pub fn new(context: &Context, shared: &Shared) -> Result<Self> {
        spec::names::check_container_id(&shared.id)?;
        let root = context.root_path()?;
        // Paths of the caller are meant from where it stands, not from the bundle.
        let pid_file = shared.pid_file.as_deref().map(absolute).transpose()?;
        let console_socket = shared.console_socket.as_deref().map(absolute).transpose()?;
        let descriptors = [shared.config.as_deref(), context.global.log.as_deref()];
        if shared.config.as_deref().is_some_and(is_pipe) {
            // It can be read but once, and only its content tells whether the image must change: so it changes before. That
            // it cannot matters only if it must.
            let _ = guard::try_change_image(context.inherited_fds, &descriptors);
        }
        let bundle = spec::load(&shared.bundle, shared.config.as_deref())?;
        let facts = crate::host::facts(context.global.driver)?;
        let plan = plan::create(&bundle, &options(context, shared, &root), &facts)?;
        // Nothing has been made yet: all of this command happens again.
        if plan.is_exposed() {
            guard::change_image(context.inherited_fds, &descriptors)?;
        } else if plan.is_seen()
            && let Some(warning) = guard::try_change_image(context.inherited_fds, &descriptors)
        {
            context.warn_all(&[warning]);
        }
        if context.log.shows_debug() {
            plan::explain::text(&plan)?.lines().for_each(|line| context.log.debug(line));
        }
        if let Some(process) = &plan.process {
            crate::process::stdio::check_preserved(process.fds, context.inherited_fds)?;
        }
        context.warn_all(&plan.warnings);
        let users_root = context.global.root.is_none() && root != Path::new(super::DEFAULT_ROOT);
        Ok(Self { bundle, plan, root, users_root, pid_file, console_socket })
    }

    pub fn check_terminal(&self, shared: &Shared, detached: bool) -> Result<()> {
        let terminal = self.plan.process.as_ref().is_some_and(|process| process.terminal);
        crate::console::relay::check_console_socket(terminal, detached, shared.console_socket.is_some())
    }

    /// Creates the container and writes its pid file; what fails after the creation undoes it.
    pub fn create(&self, context: &Context, shared: &Shared) -> Result<(Root, Created)> {
        let root = Root::create(&self.root)?;
        if self.users_root {
            // XDG base directories: what lies there for days is swept unless it is sticky.
            rustix::fs::chmod(&self.root, Mode::RWXU | Mode::SVTX)
                .call("chmod")
                .at_with(|| self.root.display().to_string())?;
        }
        let request = Request {
            plan: &self.plan,
            config: &self.bundle.raw,
            console_socket: self.console_socket.as_deref(),
        };
        let created = create::create(&root, &request)?;
        context.warn_all(&created.warnings);
        match announce(&created, self.pid_file.as_deref(), shared.pidfd_socket.as_deref()) {
            Ok(()) => Ok((root, created)),
            Err(e) => Err(self.take_back(context, &root, &created, e)),
        }
    }

    /// Deletes what was created for nothing, with its pid file; unless that was done already.
    pub fn take_back(&self, context: &Context, root: &Root, created: &Created, e: Error) -> Error {
        if let Some(path) = &self.pid_file
            // It may not be there yet, or be that of a container made since.
            && std::fs::read_to_string(path).is_ok_and(|pid| pid == created.init.pid.to_string())
        {
            let _ = std::fs::remove_file(path);
        }
        if created.entry.is_named().is_ok_and(|there| !there) {
            return e;
        }
        match delete::destroy(root, &created.entry, &created.record) {
            Ok(warnings) => {
                context.warn_all(&warnings);
                e
            }
            Err(left) => Error::new(format!("{e}; then, undoing it: {left}")),
        }
    }
}

/// `-f <(jq … config.json)` of a shell, or a FIFO.
fn is_pipe(config: &Path) -> bool {
    std::fs::metadata(config).is_ok_and(|found| !found.is_file())
}

/// P8: tells callers the pid of init.
fn announce(created: &Created, pid_file: Option<&Path>, pidfd_socket: Option<&Path>) -> Result<()> {
    if let Some(path) = pid_file {
        write_pid_file(path, created.init.pid)?;
    }
    // crun's way to ask for the same.
    let annotated = created.record.annotations.get("run.oci.pidfd_receiver").map(Path::new);
    for path in pidfd_socket.into_iter().chain(annotated) {
        create::send_pidfd(&created.init, b"standard", path)?;
    }
    Ok(())
}

fn options(context: &Context, shared: &Shared, root: &Path) -> Options {
    Options {
        id: shared.id.clone(),
        no_pivot: shared.no_pivot,
        no_new_keyring: shared.no_new_keyring,
        preserve_fds: shared.preserve_fds,
        driver: context.global.driver,
        rootless: context.global.rootless,
        state: root.join(&shared.id),
    }
}
