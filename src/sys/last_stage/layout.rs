//! What the runtime and the last stage agree on: the plan laid out in memory, the status page, the
//! operation codes of failures. Core only: the freestanding program includes this file too.

/// Where the freestanding program finds its plan (its second loaded segment).
pub const PLAN_ADDRESS: u64 = 0x0800_0000;
/// Where the image begins in memory; its first [`HEADERS`] bytes are the ELF header (64 bytes) and three
/// program headers (56 bytes each), rounded up to the alignment of code. program.ld says the same.
pub const IMAGE_ADDRESS: u64 = 0x0040_0000;
pub const HEADERS: u64 = 0x100;

/// `argv[0]` of the waiting init; the last stage refuses any other. A workload or an interpreter line
/// that names /proc/self/exe therefore gets nothing but an exit code.
pub const ARGV0: &[u8] = b"orlop\0";

pub const NO_NEW_PRIVS: u64 = 1;
/// Load the filter before identity (no_new_privs false: loading needs CAP_SYS_ADMIN).
pub const SECCOMP_FIRST: u64 = 2;
/// Load the filter as the last thing before the start gate.
pub const SECCOMP_LAST: u64 = 4;
pub const SECCOMP_LISTENER: u64 = 8;
/// Unknown filter flags may be dropped and the call repeated without them.
pub const SECCOMP_FLAGS_OPTIONAL: u64 = 16;
pub const SET_GROUPS: u64 = 32;
/// No groups are asked for, and the user namespace denies setgroups(2): the caller's stay.
pub const GROUPS_OPTIONAL: u64 = 64;
/// `process` is absent: wait at the gate, then fail.
pub const NO_PROCESS: u64 = 128;
/// args[0] holds a slash: no search, and the error says so.
pub const PATH_GIVEN: u64 = 256;

/// Detail of a failed [`Op::Label`]: the attribute file could not be opened, nothing was written.
pub const LABEL_NOT_OPENED: i32 = 1;

/// All pointers are absolute addresses inside the plan itself; descriptor -1 means none.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Plan {
    pub flags: u64,
    pub uid: u32,
    pub gid: u32,
    pub groups: u64,
    pub group_count: u64,
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
    pub cwd: u64,
    /// NUL-terminated array of candidate paths for args[0].
    pub candidates: u64,
    pub argv: u64,
    pub envp: u64,
    pub program: u64,
    pub program_len: u64,
    pub filter_flags: u64,
    pub hooks: u64,
    pub hook_count: u64,
    pub label: u64,
    pub label_len: u64,
    /// NUL-terminated array of names below `label_dir`: the first that exists takes the label.
    pub label_files: u64,
    pub channel: i32,
    /// -1: nothing to wait for (`exec`).
    pub start: i32,
    pub page: i32,
    /// This process's own attr directory.
    pub label_dir: i32,
    pub hook_stdin: i32,
    /// First descriptor that the workload must not see.
    pub first_closed: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Hook {
    pub path: u64,
    pub argv: u64,
    pub envp: u64,
    /// Milliseconds, 0 = none.
    pub timeout: u64,
}

/// Length of the status page in bytes.
pub const PAGE_SIZE: usize = 4096;

/// The page shared with `start`: written by plain stores, so that a filter which denies write(2)
/// cannot hide a failure.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Page {
    /// 0 waiting, 8 released, 9 at execve.
    pub stage: u32,
    /// An `Op` once something failed.
    pub failed: u32,
    pub errno: i32,
    /// The wait status of a hook, or what is said beside the operation.
    pub detail: i32,
    /// The number of the hook that failed.
    pub hook: u32,
    pub text_len: u32,
    pub text: [u8; 1024],
}

/// What failed in the last stage. Values are part of the page and of `Failed` messages.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Page = 1,
    Label = 2,
    Seccomp = 3,
    Listener = 4,
    Bounding = 5,
    Groups = 6,
    Gid = 7,
    Uid = 8,
    Capabilities = 9,
    Ambient = 10,
    NoNewPrivs = 11,
    Cwd = 13,
    CwdOutside = 14,
    /// errno of the only candidate, or of the best one.
    Lookup = 15,
    NotFoundInPath = 16,
    Gate = 17,
    HookStart = 18,
    HookStatus = 19,
    HookTimeout = 20,
    Execve = 21,
    NoProcess = 22,
    KeepCaps = 23,
    Descriptors = 24,
}

impl Op {
    pub fn from_code(code: u32) -> Option<Op> {
        const ALL: [Op; 23] = [
            Op::Page,
            Op::Label,
            Op::Seccomp,
            Op::Listener,
            Op::Bounding,
            Op::Groups,
            Op::Gid,
            Op::Uid,
            Op::Capabilities,
            Op::Ambient,
            Op::NoNewPrivs,
            Op::Cwd,
            Op::CwdOutside,
            Op::Lookup,
            Op::NotFoundInPath,
            Op::Gate,
            Op::HookStart,
            Op::HookStatus,
            Op::HookTimeout,
            Op::Execve,
            Op::NoProcess,
            Op::KeepCaps,
            Op::Descriptors,
        ];
        ALL.into_iter().find(|op| *op as u32 == code)
    }
}

/// One message of the last stage on the channel: 8 bytes kind+op, errno, 4 bytes number. The same first
/// bytes as every other message of the process tree (container::message).
pub const MESSAGE_LEN: usize = 16;
pub const MESSAGE_FAILED: u8 = 0x71;
pub const MESSAGE_LISTENER: u8 = 0x72;
pub const MESSAGE_TAKEN: u8 = 0x73;
/// Waiting at the gate, said aloud because a filter denies close(2).
pub const MESSAGE_WAITING: u8 = 0x76;
/// An ambient capability was refused: the runtime warns, nothing fails.
pub const MESSAGE_AMBIENT: u8 = 0x74;
