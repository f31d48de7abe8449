//! `list`: the containers of a state root, as a table, as JSON, or ids only.

use super::state::Document;
use super::{Context, Outcome, print};
use crate::container::status::{self, Status};
use crate::error::{Error, Kind, Result};
use crate::spec::names::check_container_id;
use crate::state::{Record, Root};
use clap::{Parser, ValueEnum};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// List containers
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    #[arg(short, long, value_enum, default_value = "table")]
    format: Format,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let Some(root) = context.root()? else {
        // Nobody has made a container yet; a root that was asked for by name must exist.
        return match &context.global.root {
            Some(path) => Err(Error::sys("open", libc::ENOENT)
                .at(path.display().to_string())
                .doing("open the state root")
                .into()),
            None if args.format == Format::Json && !args.quiet => print("[]\n"),
            None if args.quiet => Ok(0),
            None => print(&table(&[])),
        };
    };
    let mut found = Vec::new();
    for id in root.ids()?.iter().filter(|id| check_container_id(id).is_ok()) {
        match look(&root, id, args.quiet) {
            Ok(look) => found.push(look),
            // It was being made or deleted while we looked.
            Err(e) if e.kind() == Kind::NoContainer => {}
            Err(e) => context.log.error(&format!("load container {id}: {e}")),
        }
    }
    if args.quiet {
        return print(&found.iter().map(|(record, _)| format!("{}\n", record.id)).collect::<String>());
    }
    let mut owners = Owners::default();
    let documents: Vec<_> = found
        .iter()
        .map(|(record, status)| Document { owner: owners.name(record), ..Document::new(record, *status) })
        .collect();
    match args.format {
        Format::Json => print(&format!("{}\n", serde_json::to_string(&documents)?)),
        Format::Table => print(&table(&documents)),
    }
}

/// One container; `quiet`: nobody wants to know its status, only that there is one.
fn look(root: &Root, id: &str, quiet: bool) -> Result<(Record, Status)> {
    let entry = root.entry(id)?;
    let record = status::record(&entry)?;
    let status = if quiet { Status::Creating } else { status::status(&entry, Some(&record))? };
    Ok((record, status))
}

/// Go's text/tabwriter with a minimum width of 12 and three spaces between columns.
fn table(documents: &[Document]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let mut rows = vec![header];
    rows.extend(documents.iter().map(|d| {
        let bundle = d.bundle.display().to_string();
        [
            d.id.to_owned(),
            d.pid.to_string(),
            d.status.to_owned(),
            bundle,
            d.created.to_owned(),
            d.owner.clone(),
        ]
    }));
    let width = |column: usize| {
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        (longest.unwrap_or(0) + 3).max(12)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(n, (cell, width))| if n == 5 { cell.clone() } else { format!("{cell:width$}") })
            .collect();
        text.push_str(&cells.concat());
        text.push('\n');
    }
    text
}

/// User names from /etc/passwd (no NSS in a static binary), `#uid` for those it does not know.
#[derive(Debug, Default)]
pub struct Owners {
    names: Option<HashMap<u32, String>>,
}

impl Owners {
    pub fn name(&mut self, record: &Record) -> String {
        let names = self.names.get_or_insert_with(|| {
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            passwd.lines().filter_map(entry).collect()
        });
        names.get(&record.owner).cloned().unwrap_or_else(|| format!("#{}", record.owner))
    }
}

fn entry(line: &str) -> Option<(u32, String)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
}

/// The owner of a single record, for `state`.
pub fn owner(record: &Record) -> String {
    Owners::default().name(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        assert_eq!(entry("root:x:0:0:root:/root:/bin/sh"), Some((0, "root".into())));
    }
}
