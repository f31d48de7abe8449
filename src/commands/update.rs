//! `update`: limits of a container, from options or from a `resources` object.

use super::{Context, Outcome};
use crate::container::update;
use crate::error::{Doing, Error, Result};
use crate::spec::{self, Part};
use clap::Parser;
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Change the limits of a container; 0 leaves a limit as it is (but --cpu-burst and --cpu-idle)
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The container's id
    id: String,
    /// File with a resources object, - for standard input; the other options are not looked at then
    #[arg(short, long)]
    resources: Option<PathBuf>,
    #[arg(long)]
    blkio_weight: Option<u16>,
    #[arg(long)]
    cpu_period: Option<u64>,
    #[arg(long, allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    #[arg(long)]
    cpu_burst: Option<u64>,
    #[arg(long)]
    cpu_share: Option<u64>,
    #[arg(long)]
    cpu_rt_period: Option<u64>,
    #[arg(long, allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    #[arg(long, allow_negative_numbers = true)]
    cpu_idle: Option<i64>,
    #[arg(long)]
    cpuset_cpus: Option<String>,
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Bytes, or with a unit: 512m; -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    memory: Option<String>,
    #[arg(long, allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Memory and swap together
    #[arg(long, allow_hyphen_values = true)]
    memory_swap: Option<String>,
    #[arg(long, allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Not supported
    #[arg(long)]
    l3_cache_schema: Option<String>,
    /// Not supported
    #[arg(long)]
    mem_bw_schema: Option<String>,
    /// Ignored: the kernel no longer has it
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory: Option<String>,
    /// Ignored: the kernel no longer has it
    #[arg(long, hide = true, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<String>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let (_, entry, record) = context.container(&args.id)?;
    let part = match &args.resources {
        Some(path) => from_file(path)?,
        None => from_options(args)?,
    };
    let warnings = update::update(&entry, &record, &part)?;
    context.warn_all(&warnings);
    Ok(0)
}

fn from_file(path: &Path) -> Result<Part<LinuxResources>> {
    let raw = match path.as_os_str() == "-" {
        true => spec::read_stdin()?,
        false => spec::read_file(path)?,
    };
    spec::parse_resources(&path.display().to_string(), &raw)
}

/// The options as the same document.
fn from_options(args: &Args) -> Result<Part<LinuxResources>> {
    for (option, value) in
        [("l3-cache-schema", &args.l3_cache_schema), ("mem-bw-schema", &args.mem_bw_schema)]
    {
        if value.as_ref().is_some_and(|value| !value.is_empty()) {
            return Err(Error::new(format!("--{option}: resctrl is not supported by this version")));
        }
    }
    let mut top = Map::new();
    let mut put = |section: &str, name: &str, value: Option<Value>| {
        let Some(value) = value else { return };
        let section = top.entry(section).or_insert_with(|| Value::Object(Map::new()));
        section[name] = value;
    };
    put("cpu", "shares", args.cpu_share.map(Value::from));
    put("cpu", "quota", args.cpu_quota.map(Value::from));
    put("cpu", "burst", args.cpu_burst.map(Value::from));
    put("cpu", "period", args.cpu_period.map(Value::from));
    put("cpu", "realtimeRuntime", args.cpu_rt_runtime.map(Value::from));
    put("cpu", "realtimePeriod", args.cpu_rt_period.map(Value::from));
    put("cpu", "idle", args.cpu_idle.map(Value::from));
    put("cpu", "cpus", args.cpuset_cpus.clone().map(Value::from));
    put("cpu", "mems", args.cpuset_mems.clone().map(Value::from));
    put("memory", "limit", bytes("memory", &args.memory)?);
    put("memory", "reservation", bytes("memory-reservation", &args.memory_reservation)?);
    put("memory", "swap", bytes("memory-swap", &args.memory_swap)?);
    put("memory", "kernel", bytes("kernel-memory", &args.kernel_memory)?);
    put("memory", "kernelTCP", bytes("kernel-memory-tcp", &args.kernel_memory_tcp)?);
    put("blockIO", "weight", args.blkio_weight.map(Value::from));
    put("pids", "limit", args.pids_limit.map(Value::from));
    spec::parse_resources("options", Value::Object(top).to_string().as_bytes()).doing("read the options")
}

fn bytes(option: &str, text: &Option<String>) -> Result<Option<Value>> {
    let Some(text) = text else { return Ok(None) };
    let refused = || Error::new(format!("--{option} {text:?}: not a size such as 1048576, 512m, 1.5G or -1"));
    parse_bytes(text).map(|bytes| Some(Value::from(bytes))).ok_or_else(refused)
}

/// As docker writes sizes: a decimal number and a unit of 1024: `b k m g t p`, also as `kb`, `KiB`; -1 stands
/// for no limit.
fn parse_bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" if unit.is_empty() || unit == "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << shift);
    }
    let number: f64 = number.parse().ok()?;
    let bytes = number * (1i64 << shift) as f64;
    // Beyond 2^53 a fraction of a byte is not what was meant.
    (bytes < 9e15).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_writes_them() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("1048576", 1 << 20),
            ("512m", 512 << 20),
            ("1G", 1 << 30),
            ("1.5g", 3 << 29),
            ("64kb", 64 << 10),
            ("2MiB", 2 << 20),
            ("7b", 7),
            ("1 m", 1 << 20),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for bad in ["", "-2", "m", "1x", "1mm", "ib", "1ib", "-1m", "1e3", "9999999999g", "+1", "1..2", " 1"]
        {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
