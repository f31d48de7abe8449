//! Scheduling, I/O priority, CPU affinity, execution domain, memory policy: the calls without a wrapper in
//! rustix. All act on the calling thread, which is the only one, except where a pid is given.

use rustix::process::Pid;

use crate::error::{Error, Result};

/// CPUs in the mask that means "all": more than the kernel's largest NR_CPUS, which cuts it to its own size.
const ALL_CPUS: u32 = 8192;

/// The arguments of sched_setattr(2), named as there; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedAttr {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// struct sched_attr, SCHED_ATTR_SIZE_VER0 (include/uapi/linux/sched/types.h).
#[repr(C)]
struct RawSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

pub fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    let raw = RawSchedAttr {
        size: 48,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: `raw` has the 48 bytes that its size field announces and outlives the call; the kernel may
    // write its own size into that field on E2BIG, which nobody reads afterwards.
    checked("sched_setattr", unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) })
}

/// ioprio_set(2) of the caller: class << 13 | priority.
pub fn ioprio_set(value: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: takes numbers only.
    checked("ioprio_set", unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// personality(2).
pub fn personality(persona: u64) -> Result<()> {
    // SAFETY: takes a number only.
    if unsafe { libc::syscall(libc::SYS_personality, persona) } == -1 {
        return Err(Error::sys("personality", super::last_errno()));
    }
    Ok(())
}

/// sched_setaffinity(2) with the given CPU numbers, below 8192.
pub fn sched_setaffinity(pid: Option<Pid>, cpus: &[u32]) -> Result<()> {
    let mut mask = vec![0u64; bits_in_words(ALL_CPUS)];
    set_bits(&mut mask, cpus);
    set_affinity(pid, &mask)
}

/// sched_setaffinity(2) with every CPU: the kernel keeps those that the cpuset allows.
pub fn sched_setaffinity_all(pid: Option<Pid>) -> Result<()> {
    set_affinity(pid, &vec![u64::MAX; bits_in_words(ALL_CPUS)])
}

fn set_affinity(pid: Option<Pid>, mask: &[u64]) -> Result<()> {
    let pid = pid.map_or(0, Pid::as_raw_pid);
    // SAFETY: the kernel reads size_of_val(mask) bytes from `mask`, which lives through the call.
    checked("sched_setaffinity", unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, pid, std::mem::size_of_val(mask), mask.as_ptr())
    })
}

/// set_mempolicy(2); no nodes is the null mask.
pub fn set_mempolicy(mode: u32, nodes: &[u32]) -> Result<()> {
    let last = nodes.iter().max().copied();
    let mut mask = vec![0u64; last.map_or(0, |last| bits_in_words(last + 1))];
    set_bits(&mut mask, nodes);
    // maxnode counts one bit more than it uses (mm/mempolicy.c, get_nodes).
    let bits = mask.len() * 64 + usize::from(!mask.is_empty());
    let pointer = if mask.is_empty() { std::ptr::null() } else { mask.as_ptr() };
    // SAFETY: the kernel reads `bits - 1` bits, all inside `mask`, or nothing from a null pointer.
    checked("set_mempolicy", unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}

fn bits_in_words(bits: u32) -> usize {
    bits.div_ceil(64) as usize
}

fn set_bits(mask: &mut [u64], numbers: &[u32]) {
    for number in numbers {
        if let Some(word) = mask.get_mut((number / 64) as usize) {
            *word |= 1 << (number % 64);
        }
    }
}

fn checked(call: &'static str, result: libc::c_long) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::sys(call, super::last_errno())) }
}
