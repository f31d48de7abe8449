//! What the specification says about one call, entry by entry, without building anything: the second opinion
//! of tests.
//!
//! Also used by tests/seccomp_oracle.rs, so it knows nothing of the crate.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const ENOSYS: u32 = 0x0005_0026;

/// Number, mask and first argument of a multiplexer.
type Inner = (u32, u64, u64);

/// How one ABI numbers calls.
pub struct Abi<'a> {
    pub number: &'a dyn Fn(&str) -> Option<u32>,
    /// Arguments have 32 bits.
    pub narrow: bool,
    /// How else a call is reached.
    pub inner: &'a dyn Fn(&str) -> Option<Inner>,
}

/// The SECCOMP_RET_* word for a call that comes by a listed ABI.
pub fn evaluate(profile: &LinuxSeccomp, abi: &Abi<'_>, nr: u32, args: &[u64; 6]) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let mut first = None;
    let mut newest = None;
    let cut = |v: u64| if abi.narrow { v & 0xffff_ffff } else { v };
    for entry in profile.syscalls().iter().flatten() {
        let action = entry.action().as_u32(entry.errno_ret());
        for name in entry.names() {
            // Private calls of 32-bit ARM do not count: they lie far above all others.
            newest = newest.max((abi.number)(name).filter(|n| !(0xf_0000..0x10_0000).contains(n)));
            if action == default {
                continue;
            }
            let inner =
                (abi.inner)(name).is_some_and(|(n, mask, call)| n == nr && cut(args[0]) & mask == call);
            if (abi.number)(name) != Some(nr) && !inner {
                continue;
            }
            let held = |arg: &LinuxSeccompArg| (inner && arg.index() == 0) || holds(arg, args, &cut);
            match conditions(entry) {
                // Within a multiplexer nothing is unconditional: its own number is a condition.
                [] if !inner => return unconditional(profile, abi, nr, default),
                all if repeated(all) && all.iter().any(held) => first = first.or(Some(action)),
                all if !repeated(all) && all.iter().all(held) => first = first.or(Some(action)),
                _ => {}
            }
        }
    }
    let stub = ![ALLOW, LOG, TRACE].contains(&(default & 0xffff_0000));
    match (first, newest) {
        (Some(action), _) => action,
        (None, Some(newest)) if stub && nr > newest => ENOSYS,
        _ => default,
    }
}

fn conditions(entry: &LinuxSyscall) -> &[LinuxSeccompArg] {
    entry.args().as_deref().unwrap_or_default()
}

fn repeated(all: &[LinuxSeccompArg]) -> bool {
    all.iter().any(|a| all.iter().filter(|b| a.index() == b.index()).count() > 1)
}

fn holds(arg: &LinuxSeccompArg, args: &[u64; 6], cut: &dyn Fn(u64) -> u64) -> bool {
    let (a, v) = (cut(args[arg.index()]), cut(arg.value()));
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => a != v,
        LinuxSeccompOperator::ScmpCmpLt => a < v,
        LinuxSeccompOperator::ScmpCmpLe => a <= v,
        LinuxSeccompOperator::ScmpCmpEq => a == v,
        LinuxSeccompOperator::ScmpCmpGe => a >= v,
        LinuxSeccompOperator::ScmpCmpGt => a > v,
        LinuxSeccompOperator::ScmpCmpMaskedEq => a & v == cut(arg.value_two().unwrap_or(0)) & v,
    }
}

/// The first rule without conditions wins, wherever it stands.
fn unconditional(profile: &LinuxSeccomp, abi: &Abi<'_>, nr: u32, default: u32) -> u32 {
    let mut entries = profile.syscalls().iter().flatten();
    let of = |e: &&LinuxSyscall| {
        e.names().iter().any(|name| (abi.number)(name) == Some(nr))
            && conditions(e).is_empty()
            && e.action().as_u32(e.errno_ret()) != default
    };
    entries.find(of).map(|e| e.action().as_u32(e.errno_ret())).unwrap()
}
