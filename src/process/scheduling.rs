//! Scheduler, I/O priority, CPUs, execution domain, memory policy and umask of the calling process. Runs in
//! init (N6) and in a process that joins a container, after the cgroup is entered: the cpuset bounds both
//! the affinity and a deadline policy.

use rustix::fs::Mode;

use crate::error::{Doing, Result};
use crate::plan::process::ProcessPlan;
use crate::plan::scheduling::{MemoryPolicyPlan, SchedulerPlan};
use crate::sys::sched;

/// Everything of this file that the configuration asks for, affinity aside.
pub fn apply(plan: &ProcessPlan) -> Result<()> {
    if let Some(wanted) = &plan.scheduler {
        set_scheduler(wanted)?;
    }
    if let Some(value) = plan.io_priority {
        sched::ioprio_set(value).at("process.ioPriority").doing("set the I/O priority")?;
    }
    if let Some(persona) = plan.personality {
        sched::personality(persona).at("linux.personality").doing("set the execution domain")?;
    }
    if let Some(wanted) = &plan.memory_policy {
        set_memory_policy(wanted)?;
    }
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    Ok(())
}

/// What bound the runtime to some CPUs (taskset, a service manager) is no wish of the container's. Best
/// effort: a filter around the runtime may refuse the call, and the affinity inherited then is a legal one.
pub fn reset_affinity() -> Result<()> {
    sched::sched_setaffinity_all(None).doing("allow all CPUs of the cpuset")
}

/// process.execCPUAffinity; `field` is `initial` or `final`.
pub fn set_affinity(cpus: &[u32], field: &'static str) -> Result<()> {
    sched::sched_setaffinity(None, cpus)
        .at_with(|| format!("process.execCPUAffinity.{field}"))
        .doing("set the CPU affinity")
        .hint("at least one of the CPUs must be online and in the cpuset")
}

fn set_scheduler(wanted: &SchedulerPlan) -> Result<()> {
    let result = sched::sched_setattr(&sched::SchedAttr {
        policy: wanted.policy,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    })
    .at("process.scheduler")
    .doing("set the scheduler");
    match (&result, wanted.policy) {
        (Err(e), policy) if e.errno() == libc::EPERM => result.hint(eperm_hint(policy)),
        (Err(e), 6) if e.errno() == libc::EBUSY => {
            result.hint("the deadline bandwidth of the CPUs is used up")
        }
        _ => result,
    }
}

/// sched(7) names four unrelated reasons for EPERM.
fn eperm_hint(policy: u32) -> &'static str {
    match policy {
        1 | 2 => {
            "real-time policies need CAP_SYS_NICE or RLIMIT_RTPRIO, and on kernels with CONFIG_RT_GROUP_SCHED \
             linux.resources.cpu.realtimeRuntime"
        }
        6 => "SCHED_DEADLINE needs CAP_SYS_NICE and a cpuset with all CPUs of its root domain",
        _ => "a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE",
    }
}

fn set_memory_policy(wanted: &MemoryPolicyPlan) -> Result<()> {
    sched::set_mempolicy(wanted.mode, &wanted.nodes)
        .at("linux.memoryPolicy")
        .doing("set the memory policy")
        .hint("the nodes must have memory and be in the cpuset; the newest modes need Linux 5.15 and 6.9")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of the test's own thread; they end with it.
    fn in_own_thread(body: impl FnOnce() + Send + 'static) {
        std::thread::spawn(body).join().unwrap();
    }

    #[test]
    fn nice_and_reset_on_fork() {
        in_own_thread(|| {
            let wanted = SchedulerPlan { policy: 3, nice: 7, flags: 1, ..SchedulerPlan::default() };
            set_scheduler(&wanted).unwrap();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            assert_eq!((fields[16], fields[38]), ("7", "3"), "nice, policy");
            let bad = SchedulerPlan { policy: 1, priority: 1000, ..SchedulerPlan::default() };
            let e = set_scheduler(&bad).unwrap_err().to_string();
            assert_eq!(e, "set the scheduler: invalid argument (process.scheduler, sched_setattr)");
        });
    }

    #[test]
    fn affinity_and_its_reset() {
        in_own_thread(|| {
            let allowed = || {
                let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
                status
                    .lines()
                    .find_map(|l| l.strip_prefix("Cpus_allowed_list:\t").map(str::to_owned))
                    .unwrap()
            };
            reset_affinity().unwrap();
            let all = allowed();
            let first = crate::plan::scheduling::numbers(&all, "f").unwrap()[0];
            set_affinity(&[first], "initial").unwrap();
            assert_eq!(allowed(), first.to_string());
            reset_affinity().unwrap();
            assert_eq!(allowed(), all);
            let e = set_affinity(&[8191], "final").unwrap_err().to_string();
            assert!(e.contains("(process.execCPUAffinity.final, sched_setaffinity)"), "{e}");
        });
    }

    #[test]
    fn io_priority_and_memory_policy() {
        in_own_thread(|| {
            sched::ioprio_set(3 << 13).unwrap();
            assert!(sched::ioprio_set(7 << 13).is_err());
            set_memory_policy(&MemoryPolicyPlan { mode: 0, nodes: vec![] }).unwrap();
            // A kernel without NUMA answers ENOSYS, a filter EPERM: all that matters is the node's place.
            match set_memory_policy(&MemoryPolicyPlan { mode: 2, nodes: vec![0] }) {
                Ok(()) => {}
                Err(e) => assert!(matches!(e.errno(), libc::ENOSYS | libc::EPERM), "{e}"),
            }
        });
    }
}
