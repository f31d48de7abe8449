//! How the kernel schedules a process and places its memory, as the numbers of the system calls. PURE.
//!
//! process.scheduler, process.ioPriority, process.execCPUAffinity, linux.personality, linux.memoryPolicy.

use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Scheduler,
};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::names;

/// A CPU or node number beyond any kernel (NR_CPUS is at most 8192): a bound against typing errors.
const MOST_NUMBERS: u32 = 8192;

/// The arguments of sched_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SchedulerPlan {
    /// SCHED_*: 0 other, 1 fifo, 2 rr, 3 batch, 4 iso, 5 idle, 6 deadline.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds, as the two after it.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// `mended_flags`: names that the model of config.json cannot carry, added to those it can.
pub fn scheduler(wanted: &Scheduler, mended_flags: &[String]) -> Result<SchedulerPlan> {
    let policy = match wanted.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let nice = wanted.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::field("process.scheduler.nice", format_args!("{nice} is not between -20 and 19")));
    }
    let priority = wanted.priority().unwrap_or(0);
    let priority = u32::try_from(priority)
        .map_err(|_| Error::field("process.scheduler.priority", format_args!("{priority} is negative")))?;
    if priority != 0 && !matches!(policy, 1 | 2) {
        return Err(Error::field(
            "process.scheduler.priority",
            "is only for the policies SCHED_FIFO and SCHED_RR",
        ));
    }
    let (runtime, deadline, period) =
        (wanted.runtime().unwrap_or(0), wanted.deadline().unwrap_or(0), wanted.period().unwrap_or(0));
    if policy != 6 && (runtime, deadline, period) != (0, 0, 0) {
        return Err(Error::field(
            "process.scheduler",
            "runtime, deadline and period are only for the policy SCHED_DEADLINE",
        ));
    }
    let mut flags = wanted.flags().iter().flatten().fold(0, |flags, flag| flags | flag_bit(*flag));
    for name in mended_flags {
        flags |= names::scheduler_flag(name).ok_or_else(|| {
            Error::field("process.scheduler.flags", format_args!("`{name}` is no scheduler flag"))
        })?;
    }
    Ok(SchedulerPlan { policy, flags, nice, priority, runtime, deadline, period })
}

/// include/uapi/linux/sched.h.
fn flag_bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// The third argument of ioprio_set(2): class << 13 | priority.
pub fn io_priority(wanted: &LinuxIOPriority) -> Result<u32> {
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(wanted.priority()) {
        Ok(priority @ 0..=7) => Ok(class << 13 | priority),
        _ => Err(Error::field(
            "process.ioPriority.priority",
            format_args!("{} is not between 0 and 7", wanted.priority()),
        )),
    }
}

/// The persona of personality(2): PER_LINUX or PER_LINUX32.
pub fn personality(wanted: &LinuxPersonality) -> u64 {
    match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0000,
        LinuxPersonalityDomain::PerLinux32 => 0x0008,
    }
}

/// CPUs of an exec'ed process: `initial` while it joins the container's cgroup, `last` after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecAffinity {
    pub initial: Option<Vec<u32>>,
    pub last: Option<Vec<u32>>,
}

pub fn exec_affinity(wanted: &ExecCPUAffinity) -> Result<ExecAffinity> {
    let list = |text: &Option<String>, field: &str| -> Result<Option<Vec<u32>>> {
        match text.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => numbers(text, field).map(Some),
        }
    };
    Ok(ExecAffinity {
        initial: list(wanted.initial(), "process.execCPUAffinity.initial")?,
        last: list(wanted.cpu_affinity_final(), "process.execCPUAffinity.final")?,
    })
}

/// A list as `0-3,7` (cpuset(7), List format), with spaces and empty items as runc takes them.
pub fn numbers(text: &str, field: &str) -> Result<Vec<u32>> {
    let bad = |item: &str| Error::field(field, format_args!("`{item}` is no number or range below 8192"));
    let number = |item: &str| match item.trim().parse::<u32>() {
        Ok(n) if n < MOST_NUMBERS && item.trim().bytes().all(|b| b.is_ascii_digit()) => Ok(n),
        _ => Err(bad(item)),
    };
    let mut list = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad(item));
        }
        list.extend(first..=last);
    }
    if list.is_empty() {
        return Err(Error::field(field, "names nothing"));
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

/// The arguments of set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPolicyPlan {
    /// MPOL_* with MPOL_F_* in the high bits.
    pub mode: u32,
    /// NUMA nodes, ascending.
    pub nodes: Vec<u32>,
}

/// include/uapi/linux/mempolicy.h.
pub fn memory_policy(wanted: &LinuxMemoryPolicy) -> Result<MemoryPolicyPlan> {
    let (mode, needs_nodes) = match wanted.mode() {
        MemoryPolicyModeType::MpolDefault => (0, Some(false)),
        MemoryPolicyModeType::MpolPreferred => (1, None),
        MemoryPolicyModeType::MpolBind => (2, Some(true)),
        MemoryPolicyModeType::MpolInterleave => (3, Some(true)),
        MemoryPolicyModeType::MpolLocal => (4, Some(false)),
        MemoryPolicyModeType::MpolPreferredMany => (5, Some(true)),
        MemoryPolicyModeType::MpolWeightedInterleave => (6, Some(true)),
    };
    let text = wanted.nodes().as_deref().map(str::trim).unwrap_or_default();
    let nodes = if text.is_empty() { Vec::new() } else { numbers(text, "linux.memoryPolicy.nodes")? };
    match needs_nodes {
        Some(true) if nodes.is_empty() => {
            return Err(Error::field(
                "linux.memoryPolicy.nodes",
                format_args!("{} needs a node", wanted.mode()),
            ));
        }
        Some(false) if !nodes.is_empty() => {
            return Err(Error::field(
                "linux.memoryPolicy.nodes",
                format_args!("{} takes none", wanted.mode()),
            ));
        }
        _ => {}
    }
    let flags = wanted.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            }
    });
    Ok(MemoryPolicyPlan { mode: mode | flags, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    fn parsed<T: DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn schedulers() {
        let fifo = parsed(json!({"policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RECLAIM"]}));
        let plan = scheduler(&fifo, &["SCHED_FLAG_RESET_ON_FORK".into()]).unwrap();
        assert_eq!(plan, SchedulerPlan { policy: 1, priority: 10, flags: 3, ..Default::default() });
        let deadline = parsed(
            json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3, "nice": -20}),
        );
        let plan = scheduler(&deadline, &[]).unwrap();
        assert_eq!((plan.policy, plan.runtime, plan.deadline, plan.period, plan.nice), (6, 1, 2, 3, -20));
        for (bad, field) in [
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice: "),
            (json!({"policy": "SCHED_BATCH", "priority": 1}), "process.scheduler.priority: "),
            (json!({"policy": "SCHED_RR", "priority": -1}), "process.scheduler.priority: "),
            (json!({"policy": "SCHED_IDLE", "runtime": 1}), "process.scheduler: "),
        ] {
            let e = scheduler(&parsed(bad), &[]).unwrap_err().to_string();
            assert!(e.starts_with(field), "{e}");
        }
        let other: Scheduler = parsed(json!({"policy": "SCHED_OTHER"}));
        assert!(scheduler(&other, &["SCHED_FLAG_X".into()]).is_err());
    }

    #[test]
    fn io_priorities() {
        let value = |class: &str, priority: i64| {
            io_priority(&parsed(json!({"class": class, "priority": priority}))).ok()
        };
        assert_eq!(value("IOPRIO_CLASS_RT", 0), Some(1 << 13));
        assert_eq!(value("IOPRIO_CLASS_BE", 7), Some(2 << 13 | 7));
        assert_eq!(value("IOPRIO_CLASS_IDLE", 0), Some(3 << 13));
        assert_eq!(value("IOPRIO_CLASS_BE", 8), None);
        assert_eq!(value("IOPRIO_CLASS_BE", -1), None);
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(numbers("0-3, 7,,5", "f").unwrap(), [0, 1, 2, 3, 5, 7]);
        for bad in ["", ",", "3-1", "a", "-1", "+1", "1-", "8192", "0-99999999999"] {
            assert!(numbers(bad, "f").is_err(), "{bad}");
        }
    }

    #[test]
    fn personalities() {
        assert_eq!(personality(&parsed(json!({"domain": "LINUX32"}))), 8);
        assert_eq!(personality(&parsed(json!({"domain": "LINUX"}))), 0);
    }

    #[test]
    fn memory_policies() {
        let plan = |value| memory_policy(&parsed(value));
        assert_eq!(
            plan(json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]})).unwrap(),
            MemoryPolicyPlan { mode: 2 | 1 << 15, nodes: vec![0, 1] }
        );
        assert!(plan(json!({"mode": "MPOL_PREFERRED"})).is_ok());
        assert!(plan(json!({"mode": "MPOL_INTERLEAVE"})).is_err());
        assert!(plan(json!({"mode": "MPOL_DEFAULT", "nodes": "0"})).is_err());
        assert!(plan(json!({"mode": "MPOL_LOCAL", "nodes": ""})).is_ok());
    }
}
