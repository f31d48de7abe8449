//! `delete`: removes containers. Exit 0 means that nothing of them is left.

use super::{Context, Outcome};
use crate::container::delete;
use crate::error::{Error, Kind, Result};
use clap::Parser;

/// Delete containers
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// Kill what still runs
    #[arg(short, long)]
    force: bool,
    /// The ids are extended regular expressions: all containers that they match
    #[arg(short, long)]
    regex: bool,
    /// The containers' ids
    #[arg(required = true)]
    ids: Vec<String>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let mut ids = args.ids.clone();
    if args.regex {
        let matching: Result<Vec<_>> = ids.iter().map(|pattern| context.matching(pattern)).collect();
        ids = matching?.concat();
        // A container may match several.
        ids.sort_unstable();
        ids.dedup();
    }
    let failed: Vec<Error> =
        ids.iter().filter_map(|id| one(context, id, args.force, args.regex || ids.len() > 1).err()).collect();
    match Error::joined(failed) {
        Some(e) => Err(e.into()),
        None => Ok(0),
    }
}

fn one(context: &Context, id: &str, force: bool, several: bool) -> Result<()> {
    let deleted = context.entry(id).and_then(|(root, entry)| match force {
        true => delete::delete_force(&root, &entry),
        false => delete::delete(&root, &entry),
    });
    match deleted {
        Ok(warnings) => {
            context.warn_all(&warnings);
            Ok(())
        }
        // Nothing of that id: but a `delete` killed in its last steps may have left its directory, renamed.
        Err(e) if force && e.kind() == Kind::NoContainer => {
            context.root()?.map_or(Ok(()), |root| root.sweep())
        }
        Err(e) if several => Err(e.doing(id.to_owned())),
        Err(e) => Err(e),
    }
}
