//! `spec`: writes a config.json to begin with.

use super::{Context, Outcome};
use crate::error::{Call, Doing, Error};
use clap::Parser;
use std::io::Write;
use std::path::PathBuf;

/// Write a config.json to begin with
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The directory to write to
    #[arg(short, long, default_value = ".")]
    bundle: PathBuf,
    /// For a container without privilege on the host
    #[arg(long)]
    rootless: bool,
}

pub fn run(_: &Context, args: &Args) -> Outcome {
    let path = args.bundle.join("config.json");
    let ids =
        args.rootless.then(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let text = crate::spec::template::document(
        ids,
        std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
    )?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = format!("file {} exists, remove it first", path.display());
            return Err(Error::new(text).into());
        }
        other => other.call("open").at_with(|| path.display().to_string())?,
    };
    file.write_all(text.as_bytes()).call("write").at_with(|| path.display().to_string())?;
    Ok(0)
}
