//! `state`: the state document of runtime.md, with runc's additions.

use super::{Context, Outcome, print};
use crate::container::hooks::OCI_VERSION;
use crate::container::status::{Status, status};
use crate::state::Record;
use clap::Parser;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Print the state of a container
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The container's id
    id: String,
}

/// One container as `state` and `list` show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    pub oci_version: &'static str,
    pub id: &'a str,
    /// 0 when there is no process.
    pub pid: i32,
    pub status: &'static str,
    pub bundle: &'a Path,
    pub rootfs: &'a Path,
    /// RFC 3339.
    pub created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    pub owner: String,
}

impl<'a> Document<'a> {
    /// Without its owner.
    pub fn new(record: &'a Record, status: Status) -> Self {
        let pid = match status {
            Status::Stopped => 0,
            _ => record.init.as_ref().map_or(0, |init| init.pid),
        };
        Self {
            oci_version: OCI_VERSION,
            id: &record.id,
            pid,
            status: status.word(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner: String::new(),
        }
    }
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let (_, entry, record) = context.container(&args.id)?;
    let status = status(&entry, Some(&record))?;
    let document = Document { owner: super::list::owner(&record), ..Document::new(&record, status) };
    print(&format!("{}\n", serde_json::to_string_pretty(&document)?))
}
