//! `ps`: the processes of a container.

use super::{Context, Outcome, print};
use crate::container::{members, ps};
use crate::error::Error;
use clap::{Parser, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// List the processes of a container
#[derive(Debug, Parser)]
#[command(args_override_self = true, override_usage = "orlop ps [OPTIONS] ID [PS-OPTIONS]...")]
pub struct Args {
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// The container's id, then options for ps(1) (-ef)
    #[arg(trailing_var_arg = true, required = true, value_name = "ID")]
    words: Vec<String>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let (id, options) = args.words.split_first().ok_or_else(|| Error::new("container id cannot be empty"))?;
    let (_, _, record) = context.container(id)?;
    let pids = members::processes(&record)?;
    match args.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string(&pids)?)),
        Format::Table => print(&ps::table(&pids, options)?),
    }
}
