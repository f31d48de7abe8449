//! Limits in systemd's words, from what is written into cgroup files. PURE.
//!
//! One property that is given to systemd makes it write all files of that controller from what it remembers: whatever
//! it has a word for must be said, and be said as the kernel reads it.
//!
//! But for the throttles of a device (io.max, blkio.throttle.*). systemd writes none that it was not told, and those that it
//! was told into the disk below as well, of an encrypted or logical volume: a limit that nobody asked for.

use super::unit::{Property, property, since};
use super::value::Value;
use super::{CgroupWrite, Hierarchy, Version, convert};

/// Microseconds; the kernel's and systemd's.
const DEFAULT_PERIOD: u64 = 100_000;

/// The limits that systemd has a word for, from the writes into cgroup files.
pub(super) fn limits(writes: &[CgroupWrite], hierarchies: &[Hierarchy]) -> Vec<Property> {
    let mut list = Vec::new();
    let (mut quota, mut period) = (None, None);
    for write in writes {
        let version = hierarchies.get(write.hierarchy).map_or(Version::V2, |h| h.version);
        if write.file == "cpu.max" {
            let mut words = write.value.split_ascii_whitespace();
            quota = words.next().map(|word| word.parse().unwrap_or(-1));
            period = words.next().and_then(|word| word.parse().ok());
        } else if write.file == "cpu.cfs_quota_us" {
            quota = write.value.parse::<i64>().ok();
        } else if write.file == "cpu.cfs_period_us" {
            period = write.value.parse::<u64>().ok();
        } else {
            // Which of two files there is nobody knows yet; bfq is rare.
            let usual = write.instead.as_ref().filter(|(file, _)| file == "io.weight");
            let (file, value) = usual.map_or((&write.file, &write.value), |(file, value)| (file, value));
            list.extend(limit(version, file, value));
        }
    }
    if let Some(period) = period {
        list.push(since(242, "CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    if let Some(quota) = quota {
        list.push(property("CPUQuotaPerSecUSec", Value::Uint64(per_second(quota, period))));
    }
    list
}

/// Rounds a quota up to what systemd will write when it writes again, so that the limit never changes by itself.
pub(super) fn round_quota(writes: &mut [CgroupWrite]) {
    let period = writes.iter().find(|write| write.file == "cpu.cfs_period_us");
    let period = period.and_then(|write| write.value.parse().ok());
    for write in writes {
        let mut words = write.value.split_ascii_whitespace();
        let quota = words.next().and_then(|word| word.parse().ok());
        let (quota, given) = match (&*write.file, quota) {
            ("cpu.max", Some(quota)) => (quota, words.next()),
            ("cpu.cfs_quota_us", Some(quota)) => (quota, None),
            _ => continue,
        };
        let period: Option<u64> = given.and_then(|word| word.parse().ok()).or(period);
        let (second, period_us) = (per_second(quota, period), period.unwrap_or(DEFAULT_PERIOD));
        if second != u64::MAX {
            let rounded = u128::from(second) * u128::from(period_us) / 1_000_000;
            write.value = given.map_or(rounded.to_string(), |given| format!("{rounded} {given}"));
        }
    }
}

/// systemd has the quota as time per second, in steps of 10 ms, rounded up.
fn per_second(quota: i64, period: Option<u64>) -> u64 {
    const STEP: u64 = 10_000;
    match u64::try_from(quota) {
        Err(_) => u64::MAX,
        Ok(quota) => {
            let period = period.unwrap_or(DEFAULT_PERIOD).max(1);
            // What does not fit is no limit to anybody.
            (quota.saturating_mul(1_000_000) / period).checked_next_multiple_of(STEP).unwrap_or(u64::MAX)
        }
    }
}

fn limit(version: Version, file: &str, text: &str) -> Option<Property> {
    // io.weight is read, and may be written, as `default 100`.
    let text = text.trim();
    let text = text.strip_prefix("default ").unwrap_or(text);
    if let Some((device, weight)) = text.split_once(' ').filter(|_| file.contains("weight")) {
        return device_weight(version, file, device, weight);
    }
    let number = || number(text, file.starts_with("memory.")).map(Value::Uint64);
    Some(match (version, file) {
        (Version::V1, "memory.limit_in_bytes") => property("MemoryLimit", number()?),
        (Version::V1, "cpu.shares") => property("CPUShares", number()?),
        (Version::V1, "blkio.weight") => property("BlockIOWeight", number()?),
        (_, "pids.max") => property("TasksMax", number()?),
        (Version::V1, _) => return None,
        (_, "memory.max") => property("MemoryMax", number()?),
        (_, "memory.low") => property("MemoryLow", number()?),
        (_, "memory.high") => property("MemoryHigh", number()?),
        (_, "memory.min") => since(240, "MemoryMin", number()?),
        (_, "memory.swap.max") => property("MemorySwapMax", number()?),
        (_, "memory.zswap.max") => since(253, "MemoryZSwapMax", number()?),
        (_, "memory.zswap.writeback") => since(256, "MemoryZSwapWriteback", Value::Bool(text != "0")),
        // Read back as 0 from an idle cgroup, which cpu.idle has a word for.
        (_, "cpu.weight") if text != "0" => property("CPUWeight", number()?),
        // Without idle the kernel's weight is 100 again; all ones is systemd's "not set", and means the same.
        (_, "cpu.idle") => since(252, "CPUWeight", Value::Uint64(if text == "1" { 0 } else { u64::MAX })),
        (_, "io.weight") => property("IOWeight", number()?),
        (_, "io.bfq.weight") => {
            // systemd writes this file, too, and has its own scale for it.
            let weight = text.parse().ok().and_then(convert::io_weight_of_bfq)?;
            property("IOWeight", Value::Uint64(weight))
        }
        (_, "cpuset.cpus") => since(244, "AllowedCPUs", bits(text)?),
        (_, "cpuset.mems") => since(244, "AllowedMemoryNodes", bits(text)?),
        _ => return None,
    })
}

/// A device that has schedulers with weights is a whole disk, to systemd as to the kernel. Its node need not be there:
/// systemd reads the numbers in the name, or, an old one, the node, and passes over one that is missing.
fn device_weight(version: Version, file: &str, device: &str, weight: &str) -> Option<Property> {
    let number = |text: &str| text.parse::<u32>().ok();
    let (major, minor) = device.split_once(':')?;
    let node = format!("/dev/block/{}:{}", number(major)?, number(minor)?);
    let weight = weight.parse::<u64>().ok();
    let (name, weight) = match (version, file) {
        (Version::V1, "blkio.weight_device" | "blkio.bfq.weight_device") => {
            ("BlockIODeviceWeight", weight.filter(|weight| (10..=1000).contains(weight)))
        }
        (Version::V2, "io.weight") => {
            ("IODeviceWeight", weight.filter(|weight| (1..=10_000).contains(weight)))
        }
        (Version::V2, "io.bfq.weight") => ("IODeviceWeight", weight.and_then(convert::io_weight_of_bfq)),
        _ => return None,
    };
    // No weight of its own can only be said of all: what systemd does not remember, it does not write.
    let entries = weight.map(|weight| Value::Tuple(vec![Value::Text(node), Value::Uint64(weight)]));
    Some(property(name, Value::Array("(st)".into(), entries.into_iter().collect())))
}

/// A number as the kernel reads it, so that systemd never keeps less than a file: in C's bases, in memory files with
/// a unit. `max` of v2 and -1 of v1 are both all ones.
fn number(text: &str, in_bytes: bool) -> Option<u64> {
    if text == "max" || text == "-1" {
        return Some(u64::MAX);
    }
    let unit = text.chars().last().and_then(|last| "KMGTPE".find(last.to_ascii_uppercase()));
    // In base 16 an E is a digit.
    let unit = unit.filter(|_| in_bytes && !text.starts_with("0x"));
    let digits = &text[..text.len() - usize::from(unit.is_some())];
    let number = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    let shift = unit.map_or(0, |unit| 10 * (unit + 1));
    number.ok().and_then(|number| number.checked_mul(1 << shift))
}

/// `0-2,4` as a mask of bytes, lowest first.
fn bits(list: &str) -> Option<Value> {
    const MOST: usize = 8192;
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            mask.resize(mask.len().max(bit / 8 + 1), 0);
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(Value::Array("y".into(), mask.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up() {
        for (quota, period, want) in [
            (50_000, None, 500_000),
            (50_000, Some(100_000), 500_000),
            (10_001, Some(1_000_000), 20_000),
            (300_000, Some(100_000), 3_000_000),
            (-1, Some(100_000), u64::MAX),
        ] {
            assert_eq!(per_second(quota, period), want, "{quota} {period:?}");
        }
    }

    #[test]
    fn quotas_are_rounded_in_the_files_too() {
        let write = |file: &'static str, value: &str| super::super::limits::write(0, file, value, "");
        for (given, rounded) in [
            ("15500 100000", "16000 100000"),
            ("50000 200000", "50000 200000"),
            ("max 100000", "max 100000"),
            ("15500", "16000"),
            ("1  1000000", "10000 1000000"),
        ] {
            let mut writes = [write("cpu.max", given)];
            round_quota(&mut writes);
            assert_eq!(writes[0].value, rounded, "{given}");
        }
        let mut writes = [write("cpu.cfs_period_us", "50000"), write("cpu.cfs_quota_us", "7777")];
        round_quota(&mut writes);
        assert_eq!(writes[1].value, "8000");
        let mut writes = [write("cpu.cfs_quota_us", "-1")];
        round_quota(&mut writes);
        assert_eq!(writes[0].value, "-1");
    }

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        for (text, want) in [
            ("max", Some(u64::MAX)),
            ("-1", Some(u64::MAX)),
            ("1048576", Some(1 << 20)),
            ("0", Some(0)),
            ("1G", Some(1 << 30)),
            ("2k", Some(2048)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("16E", None),
            ("K", None),
            ("much", None),
            ("", None),
        ] {
            assert_eq!(number(text, true), want, "{text}");
        }
        assert_eq!(number("1G", false), None);
        let memory = limit(Version::V2, "memory.max", "1048576 ");
        assert_eq!(memory, Some(property("MemoryMax", Value::Uint64(1 << 20))));
    }

    #[test]
    fn idle_is_told_and_taken_back() {
        let weight = |file, text| limit(Version::V2, file, text);
        let said = |weight| Some(since(252, "CPUWeight", Value::Uint64(weight)));
        assert_eq!(weight("cpu.idle", "1"), said(0));
        assert_eq!(weight("cpu.idle", "0"), said(u64::MAX));
        assert_eq!(weight("cpu.weight", "0"), None);
    }

    #[test]
    fn writeback_of_zswap_is_told() {
        let said = |text| limit(Version::V2, "memory.zswap.writeback", text);
        let told = |yes| Some(since(256, "MemoryZSwapWriteback", Value::Bool(yes)));
        assert_eq!((said("0\n"), said("1")), (told(false), told(true)));
    }

    /// BFQ_WEIGHT of systemd, which it writes into io.bfq.weight for an IOWeight.
    fn systemds_bfq(weight: u64) -> u64 {
        if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
    }

    #[test]
    fn systemd_writes_the_same_weight_for_bfq() {
        for weight in 1..=1000 {
            let told = limit(Version::V2, "io.bfq.weight", &weight.to_string());
            let Some(Property { value: Value::Uint64(told), .. }) = told else {
                panic!("{weight}: {told:?}")
            };
            assert_eq!(systemds_bfq(told), weight);
        }
        assert_eq!((systemds_bfq(500), systemds_bfq(10_000)), (136, 1000), "systemd's own test");
    }

    #[test]
    fn weights_are_said_once() {
        let weight = |file, text| limit(Version::V2, file, text);
        let said = property("IOWeight", Value::Uint64(1200));
        assert_eq!(weight("io.bfq.weight", "200"), Some(said.clone()));
        assert_eq!(weight("io.bfq.weight", "default 200"), Some(said), "as it is read back");
        assert_eq!(weight("io.weight", "default 100"), Some(property("IOWeight", Value::Uint64(100))));
    }

    #[test]
    fn weights_of_devices() {
        let list = |name, entries: &[(&str, u64)]| {
            let entry =
                |(node, weight): &(&str, u64)| Value::Tuple(vec![Value::text(node), Value::Uint64(*weight)]);
            Some(property(name, Value::Array("(st)".into(), entries.iter().map(entry).collect())))
        };
        let (v1, v2, disk) = (Version::V1, Version::V2, "/dev/block/8:0");
        for (version, file, text, name, want) in [
            (v2, "io.weight", "8:0 2930", "IODeviceWeight", &[(disk, 2930)][..]),
            (v2, "io.bfq.weight", "8:0 200\n", "IODeviceWeight", &[(disk, 1200)]),
            (v2, "io.bfq.weight", "8:0 default", "IODeviceWeight", &[]),
            (v1, "blkio.weight_device", "8:0 300", "BlockIODeviceWeight", &[(disk, 300)]),
            (v1, "blkio.bfq.weight_device", "8:0 0", "BlockIODeviceWeight", &[]),
        ] {
            assert_eq!(limit(version, file, text), list(name, want), "{file} {text}");
        }
        for (version, file, text) in [
            (v2, "io.weight", "../x 5"),
            (v1, "blkio.leaf_weight_device", "8:0 5"),
            (v2, "io.max", "8:0 rbps=1"),
        ] {
            assert_eq!(limit(version, file, text), None, "{file} {text}");
        }
    }

    #[test]
    fn lists_become_bits() {
        let bytes = |list: &[u8]| Value::Array("y".into(), list.iter().copied().map(Value::Byte).collect());
        assert_eq!(bits("0-2,4").unwrap(), bytes(&[0b1_0111]));
        assert_eq!(bits("9").unwrap(), bytes(&[0, 2]));
        assert_eq!(bits("0-99999"), None);
        assert_eq!(bits("x"), None);
    }
}
