//! `kill`: a signal for the container's init, or for all of its processes.

use super::{Context, Outcome};
use crate::container::kill;
use crate::container::status::{Status, status};
use clap::Parser;

/// Send a signal to a container
#[derive(Debug, Parser)]
pub struct Args {
    /// Signal every process of the container
    #[arg(short, long)]
    all: bool,
    /// The container's id
    id: String,
    /// Number or name
    #[arg(default_value = "SIGTERM", allow_hyphen_values = true)]
    signal: String,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let signal = crate::spec::names::parse_signal(&args.signal)?;
    let (_, entry, record) = context.container(&args.id)?;
    if !args.all && status(&entry, Some(&record))? == Status::Created {
        kill::kill_waiting(&record, signal)?;
    } else {
        kill::kill(&record, signal, args.all)?;
    }
    Ok(0)
}
