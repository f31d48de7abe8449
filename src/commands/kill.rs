//! `kill`: a signal for the container's init, or for all of its processes.

use super::{Context, Outcome};
use crate::container::kill;
use crate::container::status::{Status, status};
use crate::error::{Error, Result};
use clap::Parser;

/// Send a signal to a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// Signal every process of the container
    #[arg(short, long)]
    all: bool,
    /// The id is an extended regular expression: all containers that it matches
    #[arg(short, long)]
    regex: bool,
    /// The container's id
    id: String,
    /// Number or name
    #[arg(default_value = "SIGTERM", allow_hyphen_values = true)]
    signal: String,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let signal = crate::spec::names::parse_signal(&args.signal)?;
    if !args.regex {
        one(context, &args.id, signal, args.all)?;
        return Ok(0);
    }
    let ids = context.matching(&args.id)?;
    let one = |id: &String| one(context, id, signal, args.all).err().map(|e| e.doing(id.clone()));
    match Error::joined(ids.iter().filter_map(one).collect()) {
        Some(e) => Err(e.into()),
        None => Ok(0),
    }
}

fn one(context: &Context, id: &str, signal: i32, all: bool) -> Result<()> {
    let (_, entry, record) = context.container(id)?;
    if !all && status(&entry, Some(&record))? == Status::Created {
        kill::kill_waiting(&record, signal)
    } else {
        kill::kill(&record, signal, all)
    }
}
