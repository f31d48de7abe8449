//! `explain`: prints the plan of a bundle. Touches nothing and needs no privilege.

use super::{Context, Outcome, print};
use crate::plan::{self, Options};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Print what create would do with a bundle
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The id the container would have
    #[arg(default_value = "ID")]
    id: String,
    #[arg(short, long, default_value = ".")]
    bundle: PathBuf,
    /// A configuration other than BUNDLE/config.json
    #[arg(short = 'f', long)]
    config: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[arg(long)]
    no_pivot: bool,
    #[arg(long)]
    no_new_keyring: bool,
    #[arg(long, default_value_t = 0)]
    preserve_fds: u32,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    crate::spec::names::check_container_id(&args.id)?;
    let bundle = crate::spec::load(&args.bundle, args.config.as_deref())?;
    let options = Options {
        id: args.id.clone(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        driver: context.global.driver,
        rootless: context.global.rootless,
        state: context.root_path().unwrap_or_default().join(&args.id),
    };
    let plan = plan::create(&bundle, &options, &crate::host::facts(context.global.driver)?)?;
    match args.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&plan)?)),
        Format::Text => print(&plan::explain::text(&plan)?),
    }
}
