//! `pause` and `resume`.

use super::{Context, Outcome};
use crate::container::pause;
use clap::Parser;

/// Stop or continue all processes of a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The container's id
    id: String,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let (_, entry, record) = context.container(&args.id)?;
    pause::pause(&entry, &record)?;
    Ok(0)
}

pub fn resume(context: &Context, args: &Args) -> Outcome {
    let (_, entry, record) = context.container(&args.id)?;
    pause::resume(&entry, &record)?;
    Ok(0)
}
