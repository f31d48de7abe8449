//! bpf(2) for device programs on cgroup2: load, attach, detach, query.
//!
//! Every call passes the whole 128-byte attribute, zeroed: kernels 6.17 to 7.1 write 8 bytes at offset
//! 56 of a query whatever size was passed, and older kernels accept a longer one whose tail is zero.

use crate::error::{Call, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// linux/bpf.h
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;
const F_REPLACE: u32 = 4;

/// The kernel refuses more programs on one cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// union bpf_attr as bytes, fields by their offset.
#[repr(C, align(8))]
struct Attr([u8; 128]);

impl Attr {
    fn new() -> Self {
        Self([0; 128])
    }
    fn u32(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }
    fn u64(mut self, at: usize, value: u64) -> Self {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }
    fn fd(self, at: usize, fd: BorrowedFd<'_>) -> Self {
        self.u32(at, fd.as_raw_fd().cast_unsigned())
    }
    fn get_u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }
}

fn bpf(command: libc::c_int, attr: &mut Attr) -> std::io::Result<libc::c_int> {
    // SAFETY: `attr` is exclusively borrowed, 8-aligned and as long as the size passed; the pointers that
    // callers store inside point to buffers that outlive this call, with the lengths stored beside them.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), attr.0.len()) };
    if ret < 0 { Err(std::io::Error::last_os_error()) } else { Ok(ret as libc::c_int) }
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (BPF descriptors are born O_CLOEXEC) and
    // nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Loads a device program; each number is one struct bpf_insn.
pub fn prog_load(program: &[u64]) -> Result<OwnedFd> {
    // Only helpers ask for a GPL-compatible licence, and the program calls none.
    let license = c"Apache-2.0";
    let mut attr = Attr::new()
        .u32(0, PROG_TYPE_CGROUP_DEVICE)
        .u32(4, u32::try_from(program.len()).unwrap_or(u32::MAX))
        .u64(8, program.as_ptr() as u64)
        .u64(16, license.as_ptr() as u64);
    bpf(PROG_LOAD, &mut attr).map(owned).call("bpf(BPF_PROG_LOAD)")
}

/// Attaches beside what is there, or atomically in the place of `replace` (since 5.6).
pub fn prog_attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let attr = Attr::new().fd(0, cgroup).fd(4, program).u32(8, ATTACH_CGROUP_DEVICE);
    let mut attr = match replace {
        None => attr.u32(12, F_ALLOW_MULTI),
        Some(old) => attr.u32(12, F_ALLOW_MULTI | F_REPLACE).fd(16, old),
    };
    bpf(PROG_ATTACH, &mut attr).map(drop).call("bpf(BPF_PROG_ATTACH)")
}

pub fn prog_detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attr = Attr::new().fd(0, cgroup).fd(4, program).u32(8, ATTACH_CGROUP_DEVICE);
    bpf(PROG_DETACH, &mut attr).map(drop).call("bpf(BPF_PROG_DETACH)")
}

/// Ids of the device programs attached to this very cgroup.
pub fn prog_query(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = vec![0u32; MAX_PROGRAMS];
    let mut attr = Attr::new()
        .fd(0, cgroup)
        .u32(4, ATTACH_CGROUP_DEVICE)
        .u64(16, ids.as_mut_ptr() as u64)
        .u32(24, MAX_PROGRAMS as u32);
    bpf(PROG_QUERY, &mut attr).call("bpf(BPF_PROG_QUERY)")?;
    ids.truncate(attr.get_u32(24) as usize);
    Ok(ids)
}

pub fn prog_get_fd_by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = Attr::new().u32(0, id);
    bpf(PROG_GET_FD_BY_ID, &mut attr).map(owned).call("bpf(BPF_PROG_GET_FD_BY_ID)")
}

/// Runs `load` with as much locked memory as may be had: kernels before 5.11 count programs against
/// RLIMIT_MEMLOCK. A refusal to raise it is not an error of its own; the old limit comes back.
pub fn with_memlock<T>(load: impl FnOnce() -> Result<T>) -> Result<T> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let old = getrlimit(Resource::Memlock);
    let raised = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
        .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: old.maximum, maximum: old.maximum }));
    let out = load();
    if raised.is_ok() {
        // Lowering is always allowed; the container's rlimits are set later and explicitly.
        setrlimit(Resource::Memlock, old).call("setrlimit")?;
    }
    out
}
