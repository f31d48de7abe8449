//! What a container uses, read from its cgroups, in the shape that `events --stats` prints (runc's, which go-runc
//! reads). Runs in the runtime.
//!
//! Every controller is read where the host has it, so a hybrid host gives one document too. A file that is
//! missing (no such controller, no swap accounting, an older kernel) reads as zero.

mod v1;
mod v2;

use super::files::{Place, is_no_mount};
use crate::error::{Doing, Result};
use crate::plan::cgroup::{CgroupRecord, Hierarchy, Version};
use procfs::{FromBufRead, MemoryPressure};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes and counters; times in nanoseconds. u64::MAX is "no limit" for memory.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Empty: resctrl is not supported.
    pub intel_rdt: BTreeMap<String, u64>,
    /// Null: engines read their own networks.
    pub network_interfaces: Option<Vec<u64>>,
}

#[derive(Debug, Default, Serialize)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
pub struct CpuUsage {
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// The cpuset, its flags as 0 and 1.
#[derive(Debug, Default, Serialize)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Debug, Default, Serialize)]
pub struct Memory {
    /// Page cache.
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together, as v1 counts them.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// All of memory.stat.
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Debug, Default, Serialize)]
pub struct MemoryEntry {
    pub limit: u64,
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Pids {
    pub current: u64,
    /// 0 is no limit.
    pub limit: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    pub io_serviced_recursive: Vec<BlkioEntry>,
    pub io_queue_recursive: Vec<BlkioEntry>,
    pub io_service_time_recursive: Vec<BlkioEntry>,
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    pub io_merged_recursive: Vec<BlkioEntry>,
    pub io_time_recursive: Vec<BlkioEntry>,
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Hugetlb {
    pub usage: u64,
    pub max: u64,
    pub failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Serialize)]
pub struct Pressure {
    pub some: PressureLine,
    pub full: PressureLine,
}

/// Percentages of the time, and microseconds in all.
#[derive(Debug, Serialize)]
pub struct PressureLine {
    pub avg10: f32,
    pub avg60: f32,
    pub avg300: f32,
    pub total: u64,
}

/// Reads them all.
pub fn read(record: &CgroupRecord) -> Result<Stats> {
    let mut stats = Stats::default();
    for hierarchy in &record.hierarchies {
        let place = match Place::open(hierarchy) {
            Ok(place) => place,
            Err(e) if is_no_mount(&e) => continue,
            Err(e) => return Err(e),
        };
        let files = Files(&place);
        match hierarchy.version {
            Version::V1 => v1::read(&files, hierarchy, &mut stats),
            Version::V2 => v2::read(&files, &missing_on_v1(record), &mut stats),
        }
        .doing("read the container's statistics")?;
    }
    Ok(stats)
}

/// Controllers that v2 has to tell about, because v1 does not have them.
fn missing_on_v1(record: &CgroupRecord) -> Vec<&'static str> {
    const ALL: [&str; 6] = ["cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"];
    let v1 = |name: &str| record.hierarchies.iter().any(|hierarchy| has(hierarchy, name));
    ALL.into_iter().filter(|name| !v1(name)).collect()
}

fn has(hierarchy: &Hierarchy, controller: &str) -> bool {
    hierarchy.controllers.iter().any(|c| c == controller)
}

/// The files of one cgroup.
struct Files<'a>(&'a Place);

impl Files<'_> {
    fn text(&self, file: &str) -> Result<String> {
        match self.0.read(file) {
            Ok(text) => Ok(text.unwrap_or_default()),
            // A knob that the kernel has switched off.
            Err(e) if [libc::EOPNOTSUPP, libc::EINVAL].contains(&e.errno()) => Ok(String::new()),
            Err(e) => Err(e),
        }
    }

    /// A file of one number; `max` is u64::MAX.
    fn number(&self, file: &str) -> Result<u64> {
        Ok(number(self.text(file)?.trim()))
    }

    /// Lines of `name number`.
    fn keyed(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.text(file)?;
        let pair = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), number(value)));
        Ok(text.lines().filter_map(pair).collect())
    }

    /// A list such as `0-3,7`.
    fn list(&self, file: &str) -> Result<Vec<u16>> {
        Ok(crate::plan::scheduling::numbers(&self.text(file)?, file)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|n| u16::try_from(n).ok())
            .collect())
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        Ok(pressure(&self.text(file)?))
    }

    /// A number of `hugetlb.SIZE`: of the reserved pages, which are what is limited first, where the kernel counts them
    /// (5.7), else of the touched ones.
    fn hugetlb(&self, size: &str, knob: &str) -> Result<u64> {
        let reserved = self.0.read(&format!("hugetlb.{size}.rsvd.{knob}"))?;
        match reserved {
            Some(text) => Ok(number(text.trim())),
            None => self.number(&format!("hugetlb.{size}.{knob}")),
        }
    }

    /// `hugetlb.SIZE.*` of every page size of the host, as the file names spell it.
    fn page_sizes(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| page_size(&name)).collect()
    }
}

/// A file of pressures, or nothing where the kernel gives none. Before Linux 5.13 cpu.pressure has no `full`: it counts as
/// zeros, as in runc's answer.
fn pressure(text: &str) -> Option<Pressure> {
    let line = |line: procfs::PressureRecord| PressureLine {
        avg10: line.avg10,
        avg60: line.avg60,
        avg300: line.avg300,
        total: line.total,
    };
    let none = "\nfull avg10=0 avg60=0 avg300=0 total=0\n";
    let full = if text.contains("full ") { "" } else { none };
    let read = MemoryPressure::from_buf_read(format!("{}{full}", text.trim_end()).as_bytes()).ok()?;
    Some(Pressure { some: line(read.some), full: line(read.full) })
}

/// Go's reading of these files: what is no number counts as 0.
fn number(text: &str) -> u64 {
    if text == "max" { u64::MAX } else { text.trim().parse().unwrap_or(0) }
}

/// `hugepages-2048kB` is `2MB` in the names of cgroup files (mm/hugetlb_cgroup.c).
fn page_size(name: &str) -> Option<String> {
    let kilobytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        k if k >= 1 << 20 => format!("{}GB", k >> 20),
        k if k >= 1 << 10 => format!("{}MB", k >> 10),
        k => format!("{k}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_without_a_line_of_full() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=42\n";
        let read = pressure(some).unwrap();
        assert_eq!((read.some.avg10, read.some.total, read.full.avg10, read.full.total), (1.5, 42, 0.0, 0));
        let read = pressure(&format!("{some}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")).unwrap();
        assert_eq!((read.some.total, read.full.total), (42, 7));
        assert!(pressure("").is_none());
    }

    #[test]
    fn page_sizes_are_spelled_as_the_kernel_does() {
        for (name, size) in
            [("hugepages-2048kB", "2MB"), ("hugepages-1048576kB", "1GB"), ("hugepages-64kB", "64KB")]
        {
            assert_eq!(page_size(name).as_deref(), Some(size));
        }
        assert_eq!(page_size("other"), None);
        assert_eq!((number("max"), number("12"), number("x")), (u64::MAX, 12, 0));
    }

    #[test]
    fn reserved_huge_pages_come_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("c")).unwrap();
        for (file, text) in [("2MB.current", "7\n"), ("2MB.rsvd.current", "9\n"), ("1GB.current", "3\n")] {
            std::fs::write(dir.path().join(format!("c/hugetlb.{file}")), text).unwrap();
        }
        let mount = crate::sys::cgroupfs::open_mount(dir.path()).unwrap();
        let (path, shown) = ("c".to_owned(), dir.path().join("c"));
        let place = Place { mount, path, shown, version: Version::V2, made: vec![] };
        let files = Files(&place);
        for (size, usage) in [("2MB", 9), ("1GB", 3), ("64KB", 0)] {
            assert_eq!(files.hugetlb(size, "current").unwrap(), usage, "{size}");
        }
    }

    #[test]
    fn the_document_has_runcs_names() {
        let json = serde_json::to_value(Stats::default()).unwrap();
        for (pointer, is) in [
            ("/cpu/throttling/throttledPeriods", serde_json::json!(0)),
            ("/cpuset/sched_relax_domain_level", serde_json::json!(0)),
            ("/memory/kernelTCP/failcnt", serde_json::json!(0)),
            ("/blkio/ioServiceBytesRecursive", serde_json::json!([])),
            ("/intel_rdt", serde_json::json!({})),
            ("/network_interfaces", serde_json::json!(null)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&is), "{pointer}");
        }
    }
}
