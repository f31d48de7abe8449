//! System calls refused by a seccomp filter, as an older kernel (ENOSYS) or an outer container engine's profile from
//! before the call (EPERM) refuses them. Used by tests around a runtime call, and by `examples/fake-enosys.rs`.
//!
//! The filter stays with everything that the runtime starts, the container's program too. It sees numbers only: what
//! lies behind a pointer (the flags of clone3 and openat2) it cannot refuse, only the whole call.

use std::str::FromStr;

/// One call, or one use of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    number: u32,
    only: Option<Only>,
}

/// The use that is refused: by one argument, of which a filter is shown 32 bits at a time; the lower ones will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Only {
    argument: u32,
    mask: u32,
    value: u32,
}

/// `CALL`, or `CALL:N=VALUE` where argument N (from 0) has that value, or `CALL:N&BITS` where it has all these bits.
/// `waitid:0=3` is waitid(P_PIDFD), `clone:0&0x1000` is clone(2) with CLONE_PIDFD.
impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, only) = text.split_once(':').map_or((text, None), |(name, only)| (name, Some(only)));
        let number = syscalls::Sysno::from_str(name).map_err(|_| format!("{name:?} is no system call"))?;
        let only = match only {
            None => None,
            Some(only) => {
                Some(parse_only(only).ok_or_else(|| format!("{text:?} is not CALL:N=VALUE or CALL:N&BITS"))?)
            }
        };
        Ok(Self { number: number.id().cast_unsigned(), only })
    }
}

fn parse_only(text: &str) -> Option<Only> {
    let at = text.find(['=', '&'])?;
    let (argument, rest) = text.split_at(at);
    let argument = argument.parse().ok().filter(|n| *n < 6)?;
    let digits = rest.get(1..)?;
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let mask = if rest.starts_with('&') { value } else { u32::MAX };
    Some(Only { argument, mask, value })
}

/// A list as `Refusal` reads its members, separated by commas.
pub fn parse(list: &str) -> Result<Vec<Refusal>, String> {
    list.split(',').map(str::parse).collect()
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// struct seccomp_data: nr, arch, instruction_pointer, args[6].
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;
/// AUDIT_ARCH_* (linux/audit.h).
const NATIVE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// The program for seccomp(2). Calls of another architecture's table pass.
pub fn program(refusals: &[Refusal], errno: i32) -> Vec<libc::sock_filter> {
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let unless = |k, skipped| libc::sock_filter { code: EQUAL, jt: 0, jf: skipped, k };
    let refused = step(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
    let allowed = step(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program =
        vec![step(LOAD, ARCH), libc::sock_filter { code: EQUAL, jt: 1, jf: 0, k: NATIVE }, allowed];
    for refusal in refusals {
        program.push(step(LOAD, NUMBER));
        match refusal.only {
            None => program.extend([unless(refusal.number, 1), refused]),
            Some(only) => program.extend([
                unless(refusal.number, 4),
                step(LOAD, ARGUMENTS + 8 * only.argument),
                step(AND, only.mask),
                unless(only.value, 1),
                refused,
            ]),
        }
    }
    program.push(allowed);
    program
}

/// Loads the filter for the calling thread and all that comes of it. Without no_new_privs where the caller may: set-id
/// programs below must keep their meaning. System calls only: it runs between fork and exec.
pub fn install(program: &[libc::sock_filter]) -> std::io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_ptr().cast_mut(),
    };
    let load = || {
        // SAFETY: `filter` and the program it points to live through the call, which only reads them.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) }
    };
    if load() == 0 {
        return Ok(());
    }
    // EACCES: no CAP_SYS_ADMIN.
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 && load() == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error())
}
