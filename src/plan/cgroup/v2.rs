//! Limits as cgroup v2 files. PURE.
//!
//! The configuration speaks v1; the numbers are converted in convert.rs. A field that v2 cannot express
//! is an error when it is set and not zero (the spec's MUST).

use super::limits::{Limits, write};
use super::{MemoryCheck, Need, convert};
use crate::error::Error;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxThrottleDevice};

fn impossible(l: &mut Limits<'_>, field: &str) {
    l.errors.push(Error::field(field, "has no equivalent in cgroup v2"));
}

pub(super) fn cpu(l: &mut Limits<'_>, at: usize, cpu: &LinuxCpu) {
    if cpu.realtime_runtime().is_some_and(|v| v != 0) {
        impossible(l, "linux.resources.cpu.realtimeRuntime");
    }
    if cpu.realtime_period().is_some_and(|v| v != 0) {
        impossible(l, "linux.resources.cpu.realtimePeriod");
    }
    let idle = cpu.idle();
    if let Some(idle) = idle {
        let mut w = write(at, "cpu.idle", idle.to_string(), "linux.resources.cpu.idle");
        w.need = if idle == 0 { Need::IfPresent } else { Need::Required };
        l.writes.push(w);
    }
    // An idle group has no weight: the kernel refuses it (EINVAL).
    if let Some(weight) = cpu.shares().and_then(convert::cpu_weight).filter(|_| idle != Some(1)) {
        l.writes.push(write(at, "cpu.weight", weight.to_string(), "linux.resources.cpu.shares"));
    }
    // Burst must stay within the quota after every single write.
    if let Some(burst) = cpu.burst() {
        let mut w = write(at, "cpu.max.burst", burst.to_string(), "linux.resources.cpu.burst");
        w.repeat = true;
        w.need = if burst == 0 { Need::IfPresent } else { Need::Required };
        l.writes.push(w);
    }
    let quota = cpu.quota().filter(|v| *v != 0);
    let period = cpu.period().filter(|v| *v != 0);
    let shown = quota.map_or_else(|| "max".into(), convert::bytes_or_max);
    match (quota, period) {
        (None, None) => {}
        // The period alone keeps its old value, 100000 in a new cgroup.
        (Some(_), None) => l.writes.push(write(at, "cpu.max", shown, "linux.resources.cpu.quota")),
        (_, Some(period)) => {
            l.writes.push(write(
                at,
                "cpu.max",
                format!("{shown} {period}"),
                if quota.is_some() { "linux.resources.cpu.quota" } else { "linux.resources.cpu.period" },
            ));
        }
    }
}

pub(super) fn memory(l: &mut Limits<'_>, at: usize, memory: &LinuxMemory) {
    if memory.swappiness().is_some_and(|v| v != 0 && v != u64::MAX) {
        impossible(l, "linux.resources.memory.swappiness");
    }
    if memory.disable_oom_killer() == Some(true) {
        impossible(l, "linux.resources.memory.disableOOMKiller");
    }
    match convert::swap_max(memory.limit(), memory.swap()) {
        Ok(None) => {}
        Ok(Some(value)) => {
            // Without swap accounting there is no such file; without swap the two extremes need none.
            let need = if value == "max" || value == "0" { Need::IfPresent } else { Need::Required };
            let mut w = write(at, "memory.swap.max", value, "linux.resources.memory.swap");
            w.need = need;
            l.writes.push(w);
        }
        Err(problem) => l.errors.push(Error::field("linux.resources.memory.swap", problem)),
    }
    if let Some(limit) = memory.limit().filter(|v| *v != 0) {
        l.writes.push(write(at, "memory.max", convert::bytes_or_max(limit), "linux.resources.memory.limit"));
        if memory.check_before_update() == Some(true)
            && let Ok(limit) = u64::try_from(limit)
        {
            l.memory_check = Some(MemoryCheck { hierarchy: at, limit });
        }
    }
    if let Some(reservation) = memory.reservation().filter(|v| *v != 0) {
        l.writes.push(write(
            at,
            "memory.low",
            convert::bytes_or_max(reservation),
            "linux.resources.memory.reservation",
        ));
    }
}

pub(super) fn block_io(l: &mut Limits<'_>, at: usize, io: &LinuxBlockIo) {
    const FIELD: &str = "linux.resources.blockIO";
    if io.leaf_weight().is_some_and(|w| w != 0) {
        impossible(l, "linux.resources.blockIO.leafWeight");
    }
    // The BFQ scheduler has the scale of the configuration, the io.cost one another.
    if let Some(weight) = io.weight().filter(|w| *w != 0) {
        let mut w = write(at, "io.bfq.weight", weight.to_string(), "linux.resources.blockIO.weight");
        w.instead = convert::io_weight(weight).map(|c| ("io.weight".into(), c.to_string()));
        l.writes.push(w);
    }
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        let number = format!("{}:{}", device.major(), device.minor());
        let field = format!("{FIELD}.weightDevice[{i}]");
        if device.leaf_weight().is_some_and(|w| w != 0) {
            impossible(l, &format!("{field}.leafWeight"));
        }
        if let Some(weight) = device.weight().filter(|w| *w != 0) {
            let mut w = write(at, "io.bfq.weight", format!("{number} {weight}"), field);
            w.instead = convert::io_weight(weight).map(|c| ("io.weight".into(), format!("{number} {c}")));
            l.writes.push(w);
        }
    }
    let mut throttle = |name: &str, key: &str, list: &Option<Vec<LinuxThrottleDevice>>| {
        for (i, device) in list.iter().flatten().enumerate() {
            // 0 lifts a limit in the v1 files; io.max calls that max.
            let rate = match device.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            l.writes.push(write(at, "io.max", value, format!("{FIELD}.{name}[{i}]")));
        }
    };
    throttle("throttleReadBpsDevice", "rbps", io.throttle_read_bps_device());
    throttle("throttleWriteBpsDevice", "wbps", io.throttle_write_bps_device());
    throttle("throttleReadIOPSDevice", "riops", io.throttle_read_iops_device());
    throttle("throttleWriteIOPSDevice", "wiops", io.throttle_write_iops_device());
}
