//! Limits as cgroup v1 files. PURE.
//!
//! The configuration speaks v1, so values go out as they are. Where the kernel wants two files in an
//! order that depends on their present values, both writes are marked `repeat`.

use super::Need;
use super::convert::{MAX_SHARES, MIN_SHARES};
use super::limits::{Limits, write};
use crate::error::Error;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxThrottleDevice};

pub(super) fn cpu(l: &mut Limits<'_>, at: usize, cpu: &LinuxCpu) {
    // Realtime budgets first of all: a realtime process may not enter a group that has none.
    if let Some(period) = cpu.realtime_period().filter(|v| *v != 0) {
        let mut w = write(at, "cpu.rt_period_us", period.to_string(), "linux.resources.cpu.realtimePeriod");
        w.repeat = true;
        l.before_entry.push(w);
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|v| *v != 0) {
        l.before_entry.push(write(
            at,
            "cpu.rt_runtime_us",
            runtime.to_string(),
            "linux.resources.cpu.realtimeRuntime",
        ));
    }
    if let Some(idle) = cpu.idle() {
        let mut w = write(at, "cpu.idle", idle.to_string(), "linux.resources.cpu.idle");
        w.need = if idle == 0 { Need::IfPresent } else { Need::Required };
        l.writes.push(w);
    }
    // An idle group has no shares: the kernel refuses them (EINVAL).
    if let Some(shares) = cpu.shares().filter(|v| *v != 0 && cpu.idle() != Some(1)) {
        let taken = shares.clamp(MIN_SHARES, MAX_SHARES);
        if taken != shares {
            l.warnings.push(format!(
                "linux.resources.cpu.shares: {shares} becomes {taken}, the kernel's range is {MIN_SHARES} to {MAX_SHARES}"
            ));
        }
        l.writes.push(write(at, "cpu.shares", taken.to_string(), "linux.resources.cpu.shares"));
    }
    // The kernel keeps quota/period within the parent's and burst within the quota after every single
    // write, so what comes first depends on the old values.
    if let Some(burst) = cpu.burst() {
        let mut w = write(at, "cpu.cfs_burst_us", burst.to_string(), "linux.resources.cpu.burst");
        w.repeat = true;
        w.need = if burst == 0 { Need::IfPresent } else { Need::Required };
        l.writes.push(w);
    }
    if let Some(period) = cpu.period().filter(|v| *v != 0) {
        let mut w = write(at, "cpu.cfs_period_us", period.to_string(), "linux.resources.cpu.period");
        w.repeat = true;
        l.writes.push(w);
    }
    if let Some(quota) = cpu.quota().filter(|v| *v != 0) {
        l.writes.push(write(at, "cpu.cfs_quota_us", quota.to_string(), "linux.resources.cpu.quota"));
    }
}

pub(super) fn memory(l: &mut Limits<'_>, at: usize, memory: &LinuxMemory) {
    let limit = memory.limit().unwrap_or(0);
    let mut swap = memory.swap().unwrap_or(0);
    if limit > 0 && swap > 0 && swap < limit {
        l.errors
            .push(Error::field("linux.resources.memory.swap", "memory+swap limit should be >= memory limit"));
        return;
    }
    if limit == -1 && swap == 0 {
        // Without this the kernel would refuse a memory limit above an old memory+swap limit.
        swap = -1;
    }
    // The kernel keeps limit <= memsw after every single write: growing needs memsw first.
    if limit != 0 {
        let mut w = write(at, "memory.limit_in_bytes", limit.to_string(), "linux.resources.memory.limit");
        w.repeat = true;
        l.writes.push(w);
    }
    if swap != 0 {
        let mut w = write(at, "memory.memsw.limit_in_bytes", swap.to_string(), "linux.resources.memory.swap");
        w.repeat = true;
        // Without swap accounting there is no such file, and nothing to lift.
        w.need = if swap == -1 { Need::IfPresent } else { Need::Required };
        l.writes.push(w);
    }
    if let Some(reservation) = memory.reservation().filter(|v| *v != 0) {
        l.writes.push(write(
            at,
            "memory.soft_limit_in_bytes",
            reservation.to_string(),
            "linux.resources.memory.reservation",
        ));
    }
    if memory.disable_oom_killer() == Some(true) {
        l.writes.push(write(at, "memory.oom_control", "1", "linux.resources.memory.disableOOMKiller"));
    }
    match memory.swappiness() {
        // Some callers send -1 as an unsigned number for "as it is".
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => {
            l.writes.push(write(
                at,
                "memory.swappiness",
                value.to_string(),
                "linux.resources.memory.swappiness",
            ));
        }
        Some(value) => l.errors.push(Error::field(
            "linux.resources.memory.swappiness",
            format_args!("{value} is not in the range 0 to 100"),
        )),
    }
}

pub(super) fn block_io(l: &mut Limits<'_>, at: usize, io: &LinuxBlockIo) {
    const FIELD: &str = "linux.resources.blockIO";
    if let Some(weight) = io.weight().filter(|w| *w != 0) {
        let mut w = write(at, "blkio.weight", weight.to_string(), "linux.resources.blockIO.weight");
        w.instead = Some(("blkio.bfq.weight".into(), weight.to_string()));
        l.writes.push(w);
    }
    if let Some(weight) = io.leaf_weight().filter(|w| *w != 0) {
        l.writes.push(write(
            at,
            "blkio.leaf_weight",
            weight.to_string(),
            "linux.resources.blockIO.leafWeight",
        ));
    }
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        let number = format!("{}:{}", device.major(), device.minor());
        let field = format!("{FIELD}.weightDevice[{i}]");
        if let Some(weight) = device.weight().filter(|w| *w != 0) {
            let value = format!("{number} {weight}");
            let mut w = write(at, "blkio.weight_device", value.clone(), field.clone());
            w.instead = Some(("blkio.bfq.weight_device".into(), value));
            l.writes.push(w);
        }
        if let Some(weight) = device.leaf_weight().filter(|w| *w != 0) {
            l.writes.push(write(at, "blkio.leaf_weight_device", format!("{number} {weight}"), field));
        }
    }
    let mut throttle = |name: &str, file: &'static str, list: &Option<Vec<LinuxThrottleDevice>>| {
        for (i, device) in list.iter().flatten().enumerate() {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            l.writes.push(write(at, file, value, format!("{FIELD}.{name}[{i}]")));
        }
    };
    throttle("throttleReadBpsDevice", "blkio.throttle.read_bps_device", io.throttle_read_bps_device());
    throttle("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", io.throttle_write_bps_device());
    throttle("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", io.throttle_read_iops_device());
    throttle("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", io.throttle_write_iops_device());
}
