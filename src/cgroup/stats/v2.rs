//! Statistics of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst), in the terms of v1.

use super::{BlkioEntry, Files, Hugetlb, MemoryEntry, Stats};
use crate::error::Result;

/// `wanted`: what v1 has not told, by its names of v1.
pub(super) fn read(files: &Files<'_>, wanted: &[&str], stats: &mut Stats) -> Result<()> {
    for name in wanted {
        match *name {
            "cpuacct" => cpu(files, stats)?,
            "cpuset" => {
                stats.cpuset.cpus = files.list("cpuset.cpus.effective")?;
                stats.cpuset.mems = files.list("cpuset.mems.effective")?;
            }
            "memory" => memory(files, stats)?,
            "pids" => {
                stats.pids.current = files.number("pids.current")?;
                let limit = files.number("pids.max")?;
                stats.pids.limit = if limit == u64::MAX { 0 } else { limit };
            }
            "blkio" => io(files, stats)?,
            "hugetlb" => hugetlb(files, stats)?,
            _ => {}
        }
    }
    Ok(())
}

/// cpu.stat is there without the controller too; its times are microseconds.
fn cpu(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    let counters = files.keyed("cpu.stat")?;
    let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
    let time = |name: &str| counter(name).saturating_mul(1000);
    stats.cpu.usage.total = time("usage_usec");
    stats.cpu.usage.user = time("user_usec");
    stats.cpu.usage.kernel = time("system_usec");
    stats.cpu.throttling.periods = counter("nr_periods");
    stats.cpu.throttling.throttled_periods = counter("nr_throttled");
    stats.cpu.throttling.throttled_time = time("throttled_usec");
    stats.cpu.psi = files.pressure("cpu.pressure")?;
    Ok(())
}

/// Readers know swap as v1 counts it: memory and swap together.
fn memory(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    let entry = |name: &str| -> Result<MemoryEntry> {
        let events = files.keyed(&format!("{name}.events"))?;
        Ok(MemoryEntry {
            limit: files.number(&format!("{name}.max"))?,
            usage: files.number(&format!("{name}.current"))?,
            max: files.number(&format!("{name}.peak"))?,
            failcnt: events.get("max").copied().unwrap_or(0),
        })
    };
    let memory = &mut stats.memory;
    memory.raw = files.keyed("memory.stat")?;
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    memory.usage = entry("memory")?;
    memory.swap = entry("memory.swap")?;
    memory.swap.usage += memory.usage.usage;
    // The two peaks need not have been at the same time: 0, as runc has it.
    memory.swap.max = 0;
    if memory.swap.limit != u64::MAX {
        memory.swap.limit = memory.swap.limit.saturating_add(memory.usage.limit);
    }
    memory.psi = files.pressure("memory.pressure")?;
    Ok(())
}

fn io(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    for line in files.text("io.stat")?.lines() {
        for (list, entry) in entries(line) {
            match list {
                List::Bytes => stats.blkio.io_service_bytes_recursive.push(entry),
                List::Operations => stats.blkio.io_serviced_recursive.push(entry),
            }
        }
    }
    stats.blkio.psi = files.pressure("io.pressure")?;
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Bytes,
    Operations,
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn entries(line: &str) -> Vec<(List, BlkioEntry)> {
    let mut fields = line.split(' ');
    let device = fields.next().and_then(|device| device.split_once(':'));
    let Some((Ok(major), Ok(minor))) = device.map(|(major, minor)| (major.parse(), minor.parse())) else {
        return Vec::new();
    };
    let entry = |field: &str| {
        let (name, value) = field.split_once('=')?;
        let (list, op) = match name {
            "rbytes" => (List::Bytes, "Read"),
            "wbytes" => (List::Bytes, "Write"),
            "dbytes" => (List::Bytes, "Discard"),
            "rios" => (List::Operations, "Read"),
            "wios" => (List::Operations, "Write"),
            "dios" => (List::Operations, "Discard"),
            _ => return None,
        };
        Some((list, BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? }))
    };
    fields.filter_map(entry).collect()
}

fn hugetlb(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    for size in files.page_sizes() {
        // Refused reservations are counted here too.
        let events = files.keyed(&format!("hugetlb.{size}.events"))?;
        let entry = Hugetlb {
            usage: files.hugetlb(&size, "current")?,
            // The most that was in use, which v2 does not tell; hugetlb.*.max is the limit.
            max: 0,
            failcnt: events.get("max").copied().unwrap_or(0),
        };
        stats.hugetlb.insert(size, entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_io_stat() {
        let found = entries("8:0 rbytes=1 wbytes=2 rios=3 cost.usage=9 dios=0");
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 0, op: op.into(), value };
        assert_eq!(
            found,
            [
                (List::Bytes, entry("Read", 1)),
                (List::Bytes, entry("Write", 2)),
                (List::Operations, entry("Read", 3)),
                (List::Operations, entry("Discard", 0))
            ]
        );
        assert!(entries("").is_empty() && entries("x rbytes=1").is_empty());
    }
}
