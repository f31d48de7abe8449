//! `linux.seccomp` compiled to the program that seccomp(2) takes, by a compiler of our own.
//!
//! Pure: runs in the runtime while the plan is made; the last stage installs the result. libseccomp needs 9 to
//! 14 ms for what this does in a tenth of a millisecond, and `seccompiler`, whose instruction type is used,
//! knows one action and one ABI per program.
//!
//! `rules` reads the entries, `abi` and `numbers` know the calls, `compile` makes trees of ranges, `emit`
//! writes instructions.

mod abi;
mod compile;
mod emit;
#[cfg(test)]
mod evaluator;
#[cfg(test)]
mod interpreter;
mod numbers;
#[cfg(test)]
mod reference;
mod rules;
#[cfg(test)]
mod tests;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use seccompiler::sock_filter;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// BPF_MAXINSNS: the kernel takes no longer program (include/uapi/linux/bpf_common.h).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The architecture that this program is built for.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: Arch = Arch::ScmpArchX86_64;
/// The architecture that this program is built for.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: Arch = Arch::ScmpArchAarch64;
/// The architecture that this program is built for.
#[cfg(target_arch = "riscv64")]
pub const NATIVE: Arch = Arch::ScmpArchRiscv64;
/// The architecture that this program is built for.
#[cfg(target_arch = "loongarch64")]
pub const NATIVE: Arch = Arch::ScmpArchLoongarch64;

/// Actions that a profile may name, for `features`.
pub const ACTIONS: [LinuxSeccompAction; 9] = [
    LinuxSeccompAction::ScmpActAllow,
    LinuxSeccompAction::ScmpActErrno,
    LinuxSeccompAction::ScmpActKill,
    LinuxSeccompAction::ScmpActKillProcess,
    LinuxSeccompAction::ScmpActKillThread,
    LinuxSeccompAction::ScmpActLog,
    LinuxSeccompAction::ScmpActNotify,
    LinuxSeccompAction::ScmpActTrace,
    LinuxSeccompAction::ScmpActTrap,
];

/// Operators that a profile may name, for `features`.
pub const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
    LinuxSeccompOperator::ScmpCmpNe,
];

/// Architectures that a profile may name, for `features`. Those that no kernel of this machine runs are
/// accepted and have no effect.
pub const ARCHITECTURES: [Arch; 23] = [
    Arch::ScmpArchAarch64,
    Arch::ScmpArchArm,
    Arch::ScmpArchLoongarch64,
    Arch::ScmpArchM68k,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchSh,
    Arch::ScmpArchSheb,
    Arch::ScmpArchX32,
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
];

/// Flags that a profile may name, for `features`.
pub const FLAGS: [LinuxSeccompFilterFlag; 4] = [
    LinuxSeccompFilterFlag::SeccompFilterFlagLog,
    LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
    LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
    LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
];

/// What is installed in the container's process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeccompPlan {
    /// At most [`MAX_INSTRUCTIONS`]. Serialized as `[code, jt, jf, k]` each.
    #[serde(serialize_with = "instructions")]
    pub program: Vec<sock_filter>,
    /// SECCOMP_FILTER_FLAG_* for seccomp(SECCOMP_SET_MODE_FILTER), NEW_LISTENER included when there is a
    /// listener. With TSYNC *and* a listener TSYNC_ESRCH is set too: without it the kernel refuses the pair.
    pub flags: u64,
    /// The profile has no list of flags: SPEC_ALLOW stands in `flags`, and an EINVAL is answered by trying
    /// again without it (before Linux 4.17).
    pub flags_default: bool,
    /// Who answers SCMP_ACT_NOTIFY; present exactly when `notify` is set.
    pub listener: Option<Listener>,
    /// Some call ends in SECCOMP_RET_USER_NOTIF: seccomp(2) returns a descriptor.
    pub notify: bool,
    /// Names that no kernel knows; they are not in the program.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// The seccomp agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// AF_UNIX stream socket, a path of the runtime's mount namespace.
    pub path: String,
    /// Handed to the agent as it is; empty when the profile has none.
    pub metadata: String,
}

fn instructions<S: Serializer>(program: &[sock_filter], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)))
}

/// Compiles `linux.seccomp` for a machine of the architecture `native`. None: a profile that says nothing
/// but "allow". Names that no kernel knows are reported in one warning and have no effect.
pub fn plan(seccomp: &LinuxSeccomp, native: Arch, warnings: &mut Vec<String>) -> Result<Option<SeccompPlan>> {
    if says_nothing(seccomp) {
        return Ok(None);
    }
    let mut problems = Vec::new();
    let default =
        rules::action(seccomp.default_action(), seccomp.default_errno_ret(), "linux.seccomp.defaultErrnoRet")
            .unwrap_or_else(|problem| {
                problems.push(problem);
                libc::SECCOMP_RET_KILL_PROCESS
            });
    if seccomp.default_action() == LinuxSeccompAction::ScmpActNotify {
        problems.push(Error::field("linux.seccomp.defaultAction", "cannot be SCMP_ACT_NOTIFY"));
    }
    let rules = rules::read(seccomp.syscalls().as_deref().unwrap_or_default(), default, &mut problems);
    problems.extend(rules.contradictions());
    let agent = listener(seccomp, &mut problems);
    let abis = abis(seccomp, native, &mut problems);
    if let Some(problem) = Error::joined(problems) {
        return Err(problem);
    }

    if !rules.unknown.is_empty() {
        warnings.push(format!(
            "linux.seccomp.syscalls: unknown system calls are ignored: {}",
            rules.unknown.join(", ")
        ));
    }
    let program = compile::compile(&compile::Profile { rules: &rules, default, abis: &abis });
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::field(
            "linux.seccomp.syscalls",
            format_args!("need {} instructions, the kernel takes {MAX_INSTRUCTIONS}", program.len()),
        ));
    }
    let notify = program.iter().any(|i| i.code == emit::code::RETURN && i.k == libc::SECCOMP_RET_USER_NOTIF);
    let flags = flags(seccomp, notify, warnings);
    let flags_default = seccomp.flags().is_none();
    let (listener, unknown) = (agent.filter(|_| notify), rules.unknown);
    Ok(Some(SeccompPlan { program, flags, flags_default, listener, notify, unknown }))
}

/// `{"defaultAction": "SCMP_ACT_ALLOW"}` and no more: callers leave it so when they want no filter.
fn says_nothing(seccomp: &LinuxSeccomp) -> bool {
    seccomp.default_action() == LinuxSeccompAction::ScmpActAllow
        && seccomp.default_errno_ret().is_none()
        && seccomp.architectures().as_ref().is_none_or(Vec::is_empty)
        && seccomp.flags().as_ref().is_none_or(Vec::is_empty)
        && seccomp.syscalls().as_ref().is_none_or(Vec::is_empty)
        && seccomp.listener_path().is_none()
        && seccomp.listener_metadata().is_none()
}

/// The agent, when the profile names one. A NOTIFY entry needs it even if this kernel has no such call.
fn listener(seccomp: &LinuxSeccomp, problems: &mut Vec<Error>) -> Option<Listener> {
    let path = seccomp.listener_path().as_ref().map(|path| path.to_string_lossy().into_owned());
    let metadata = seccomp.listener_metadata().clone().unwrap_or_default();
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        return Some(Listener { path, metadata });
    }
    if !metadata.is_empty() {
        problems.push(Error::field("linux.seccomp.listenerMetadata", "is set without listenerPath"));
    }
    for (i, entry) in seccomp.syscalls().iter().flatten().enumerate() {
        if entry.action() == LinuxSeccompAction::ScmpActNotify {
            problems.push(Error::field(
                format!("linux.seccomp.syscalls[{i}].action"),
                "SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath",
            ));
        }
    }
    None
}

/// The ABIs to compile: the native one, which is implied, and those listed that can run here. A call by
/// any other is killed, listed or not, so an architecture of other machines needs no code.
fn abis(seccomp: &LinuxSeccomp, native: Arch, problems: &mut Vec<Error>) -> Vec<abi::Abi> {
    let family = abi::family(native);
    if family.is_empty() {
        problems.push(Error::field("linux.seccomp", format_args!("is not supported on {native}")));
    }
    let listed = seccomp.architectures().as_deref().unwrap_or_default();
    family.iter().filter(|abi| abi.arch == native || listed.contains(&abi.arch)).copied().collect()
}

fn flags(seccomp: &LinuxSeccomp, notify: bool, warnings: &mut Vec<String>) -> u64 {
    let mut flags = match seccomp.flags() {
        None => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Some(list) => list.iter().fold(0, |flags, flag| flags | flag_word(*flag)),
    };
    if notify {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        if flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0 {
            flags |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        }
    } else if flags & libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0 {
        // The kernel refuses it without a listener.
        flags &= !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        warnings.push(
            "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without \
             SCMP_ACT_NOTIFY"
                .into(),
        );
    }
    flags
}

/// A flag as seccomp(2) takes it: one of them only together with a listener.
pub fn flags_of(flag: LinuxSeccompFilterFlag) -> u64 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            flag_word(flag) | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        }
        _ => flag_word(flag),
    }
}

fn flag_word(flag: LinuxSeccompFilterFlag) -> u64 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        }
    }
}
