//! Statistics of cgroup v1 (Documentation/admin-guide/cgroup-v1).

use super::{Blkio, BlkioEntry, Files, Hugetlb, MemoryEntry, Stats, has};
use crate::error::Result;
use crate::plan::cgroup::Hierarchy;

/// cpuacct.stat counts in USER_HZ, which is 100 on every architecture that we know.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn read(files: &Files<'_>, hierarchy: &Hierarchy, stats: &mut Stats) -> Result<()> {
    if has(hierarchy, "cpuacct") {
        cpu_usage(files, stats)?;
    }
    if has(hierarchy, "cpu") {
        let counters = files.keyed("cpu.stat")?;
        let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
        stats.cpu.throttling.periods = counter("nr_periods");
        stats.cpu.throttling.throttled_periods = counter("nr_throttled");
        stats.cpu.throttling.throttled_time = counter("throttled_time");
    }
    if has(hierarchy, "cpuset") {
        cpuset(files, stats)?;
    }
    if has(hierarchy, "memory") {
        stats.memory.raw = files.keyed("memory.stat")?;
        stats.memory.cache = stats.memory.raw.get("cache").copied().unwrap_or(0);
        stats.memory.usage = memory(files, "memory")?;
        stats.memory.swap = memory(files, "memory.memsw")?;
        stats.memory.kernel = memory(files, "memory.kmem")?;
        stats.memory.kernel_tcp = memory(files, "memory.kmem.tcp")?;
    }
    if has(hierarchy, "pids") {
        stats.pids.current = files.number("pids.current")?;
        stats.pids.limit = Some(files.number("pids.max")?).filter(|limit| *limit != u64::MAX).unwrap_or(0);
    }
    if has(hierarchy, "blkio") {
        stats.blkio = blkio(files)?;
    }
    if has(hierarchy, "hugetlb") {
        for size in files.page_sizes() {
            let entry = Hugetlb {
                usage: files.hugetlb(&size, "usage_in_bytes")?,
                max: files.hugetlb(&size, "max_usage_in_bytes")?,
                failcnt: files.hugetlb(&size, "failcnt")?,
            };
            stats.hugetlb.insert(size, entry);
        }
    }
    Ok(())
}

fn cpu_usage(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = files.number("cpuacct.usage")?;
    let ticks = files.keyed("cpuacct.stat")?;
    let time = |name: &str| ticks.get(name).copied().unwrap_or(0) * NANOSECONDS_PER_TICK;
    usage.user = time("user");
    usage.kernel = time("system");
    usage.percpu = files.text("cpuacct.usage_percpu")?.split_ascii_whitespace().map(super::number).collect();
    // `cpu user system`, a header first.
    for line in files.text("cpuacct.usage_all")?.lines().skip(1) {
        let mut fields = line.split(' ').skip(1).map(super::number);
        usage.percpu_user.push(fields.next().unwrap_or(0));
        usage.percpu_kernel.push(fields.next().unwrap_or(0));
    }
    Ok(())
}

fn cpuset(files: &Files<'_>, stats: &mut Stats) -> Result<()> {
    let set = &mut stats.cpuset;
    set.cpus = files.list("cpuset.cpus")?;
    set.mems = files.list("cpuset.mems")?;
    set.cpu_exclusive = files.number("cpuset.cpu_exclusive")?;
    set.mem_hardwall = files.number("cpuset.mem_hardwall")?;
    set.mem_exclusive = files.number("cpuset.mem_exclusive")?;
    set.memory_migrate = files.number("cpuset.memory_migrate")?;
    set.memory_spread_page = files.number("cpuset.memory_spread_page")?;
    set.memory_spread_slab = files.number("cpuset.memory_spread_slab")?;
    set.memory_pressure = files.number("cpuset.memory_pressure")?;
    set.sched_load_balance = files.number("cpuset.sched_load_balance")?;
    set.sched_relax_domain_level = files.text("cpuset.sched_relax_domain_level")?.trim().parse().unwrap_or(0);
    Ok(())
}

fn memory(files: &Files<'_>, name: &str) -> Result<MemoryEntry> {
    Ok(MemoryEntry {
        limit: files.number(&format!("{name}.limit_in_bytes"))?,
        usage: files.number(&format!("{name}.usage_in_bytes"))?,
        max: files.number(&format!("{name}.max_usage_in_bytes"))?,
        failcnt: files.number(&format!("{name}.failcnt"))?,
    })
}

/// The scheduler's own counters where it has some (BFQ, once CFQ), else what the throttle layer saw.
fn blkio(files: &Files<'_>) -> Result<Blkio> {
    let first = |names: &[&str]| -> Result<Vec<BlkioEntry>> {
        for name in names {
            let found = entries(&files.text(name)?);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    };
    let scheduler =
        |name: &str| first(&[&format!("blkio.bfq.{name}_recursive"), &format!("blkio.{name}_recursive")]);
    let counted = |name: &str| {
        first(&[
            &format!("blkio.bfq.{name}_recursive"),
            &format!("blkio.{name}_recursive"),
            &format!("blkio.throttle.{name}_recursive"),
            &format!("blkio.throttle.{name}"),
        ])
    };
    Ok(Blkio {
        io_service_bytes_recursive: counted("io_service_bytes")?,
        io_serviced_recursive: counted("io_serviced")?,
        io_queue_recursive: scheduler("io_queued")?,
        io_service_time_recursive: scheduler("io_service_time")?,
        io_wait_time_recursive: scheduler("io_wait_time")?,
        io_merged_recursive: scheduler("io_merged")?,
        io_time_recursive: scheduler("time")?,
        sectors_recursive: scheduler("sectors")?,
        psi: None,
    })
}

/// Lines of `MAJOR:MINOR [OPERATION] VALUE`; the sum over all devices at the end is left out.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        let rest: Vec<&str> = fields.collect();
        let (op, value) = match rest.as_slice() {
            [value] => ("", *value),
            [op, value] => (*op, *value),
            _ => return None,
        };
        let value = value.parse().ok()?;
        Some(BlkioEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, op: op.to_owned(), value })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_blkio() {
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 16, op: op.into(), value };
        let text = "8:16 Read 1\n8:16 Total 3\nTotal 3\n8:16 7\njunk\n";
        assert_eq!(entries(text), [entry("Read", 1), entry("Total", 3), entry("", 7)]);
    }
}
