//! config.json: read once, mended, validated. Nothing here decides what to do about it.
//!
//! `load` makes a [`Bundle`] in the runtime process; it, `read_file` and `read_stdin` are the only functions below
//! `spec` that touch the host (one bounded read each); everything else is pure. The model is oci-spec's, its defects are worked round in
//! `mend`; `validate` lists all that is wrong, `mount_options`, `names` and `sysctl` give the meaning of words.

pub mod features;
pub mod field;
mod inline_idmap;
mod look;
mod mend;
pub mod mount_options;
pub mod names;
mod read;
pub mod sysctl;
pub mod template;
#[cfg(test)]
mod tests;
mod validate;

use crate::error::{Call, Doing, Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxResources, Process, Spec};
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use validate::{validate, validate_process, validate_resources};

/// The mapping that an id of the namespace falls into.
fn mapping_of(id: u32, mappings: &[LinuxIdMapping]) -> Option<&LinuxIdMapping> {
    mappings.iter().find(|map| id >= map.container_id() && id - map.container_id() < map.size())
}

/// The runtime-spec version this runtime implements; oci-spec's own constant is older.
pub const OCI_VERSION: &str = "1.3.0";

/// The longest configuration that is read. The file comes from the caller, but a runtime that runs as root must
/// not be filled up by a wrong path such as /dev/zero.
pub const CONFIG_MAX_BYTES: u64 = 8 << 20;

/// A configuration and where it came from. Never changed after it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The bundle directory, absolute and without symlinks.
    pub dir: PathBuf,
    /// The file that was read, absolute.
    pub config: PathBuf,
    /// The configuration. Empty strings that mean "not given" (namespace paths, labels, cgroupsPath, …) are
    /// None; what oci-spec cannot carry is in `mended`.
    pub spec: Spec,
    /// The bytes of the file, for the private copy of the container.
    pub raw: Vec<u8>,
    pub mended: Mended,
    /// What is odd but no reason to fail, one line each with its field.
    pub warnings: Vec<String>,
}

/// What config.json says and the types of oci-spec cannot carry. Where a value exists in both, this one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// `linux.resources.pids.limit`; None when it is absent, which is not 0: since runtime-spec 1.3 absent
    /// means untouched and 0 is a limit.
    pub pids_limit: Option<i64>,
    /// `linux.resources.hugepageLimits`: page size word and limit in bytes, over the whole range of u64.
    pub hugepage_limits: Vec<(String, u64)>,
    /// `process.scheduler.flags` in the words of the specification; `spec` never has any.
    pub scheduler_flags: Vec<String>,
    /// Required members that are absent and that oci-spec reads as 0: a fault, reported by `validate`.
    pub missing: Vec<String>,
}

/// A document that is a part of config.json: the file of `exec --process` or `update --resources`.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<T> {
    pub value: T,
    pub mended: Mended,
    pub warnings: Vec<String>,
}

/// Reads the configuration of the bundle `dir`: `config`, or config.json in it. Both may be relative to the
/// working directory.
pub fn load(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
    let dir = std::fs::canonicalize(dir).call("realpath").at_with(|| dir.display().to_string());
    let dir = dir.doing("open the bundle")?;
    let config = match config {
        Some(path) => std::path::absolute(path).call("getcwd").doing("find the configuration")?,
        None => dir.join("config.json"),
    };
    let raw = read_bounded(&config)?;
    parse(&dir, &config, raw)
}

/// The bytes of a part of a configuration, as long as it may be.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    up_to_limit(
        File::open(path).call("open").at_with(|| path.display().to_string())?,
        &path.display().to_string(),
    )
}

/// The same from standard input.
pub fn read_stdin() -> Result<Vec<u8>> {
    up_to_limit(std::io::stdin(), "standard input")
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let phrase = || format!("read {}", path.display());
    let file = match File::open(path) {
        // The sentence of runc, which callers know.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(format!("JSON specification file {} not found", file_name(path))));
        }
        opened => opened.call("openat").doing_with(phrase)?,
    };
    up_to_limit(file, &path.display().to_string())
}

fn up_to_limit(file: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(16 << 10);
    // One byte more than allowed tells "too long" from "exactly full".
    let read = file.take(CONFIG_MAX_BYTES + 1).read_to_end(&mut raw);
    read.call("read").doing_with(|| format!("read {name}"))?;
    if raw.len() as u64 > CONFIG_MAX_BYTES {
        let limit = CONFIG_MAX_BYTES >> 20;
        return Err(Error::new(format!("{name}: longer than {limit} MiB, the most that is read")));
    }
    Ok(raw)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The pure half of [`load`]: `raw` is the content of the file `config` of the bundle `dir`, both absolute.
pub fn parse(dir: &Path, config: &Path, raw: Vec<u8>) -> Result<Bundle> {
    let read::Document { spec, mended, mut warnings } = read::document(&raw, &file_name(config))?;
    warnings.extend(validate::warnings(&spec));
    Ok(Bundle { dir: dir.to_owned(), config: config.to_owned(), spec, raw, mended, warnings })
}

/// Reads a whole `process` object, as the file of `exec --process` is; `file` names it in messages.
pub fn parse_process(file: &str, raw: &[u8]) -> Result<Part<Process>> {
    let read::Document { spec, mended, warnings } = read::part(raw, "{\"process\":", "}", file)?;
    match spec.process() {
        Some(process) => Ok(Part { value: process.clone(), mended, warnings }),
        None => Err(Error::new(format!("{file}: no process object"))),
    }
}

/// Reads a `resources` object, as the file of `update --resources` is; `file` names it in messages.
pub fn parse_resources(file: &str, raw: &[u8]) -> Result<Part<LinuxResources>> {
    let document = read::part(raw, "{\"linux\":{\"resources\":", "}}", file)?;
    let read::Document { spec, mended, warnings } = document;
    match spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        Some(resources) => Ok(Part { value: resources.clone(), mended, warnings }),
        None => Err(Error::new(format!("{file}: no resources object"))),
    }
}
