//! Writes `src/plan/seccomp/numbers.rs` from the `syscalls` crate plus what that crate does not carry: the
//! x32 column, the calls that i386 only has inside socketcall and ipc, and the private calls of 32-bit ARM.
//!
//! `tests/seccomp_tables.rs` compares the file with this text, and writes it when `WRITE_TABLES=1`.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One column per ABI that a kernel of ours can run, and one for socketcall and ipc.
const COLUMNS: [&str; 8] =
    ["x86_64", "x32", "x86", "aarch64", "arm", "riscv64", "loongarch64", "multiplexed"];

/// No such call in this ABI.
const NONE: i16 = -1;

/// `__ARM_NR_BASE` + 1..6 do not fit a column: stored as -2..-7 (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE: [(&str, i16); 6] =
    [("breakpoint", -2), ("cacheflush", -3), ("usr26", -4), ("usr32", -5), ("set_tls", -6), ("get_tls", -7)];

/// Calls of the x86_64 table with the ABI word `64`: x32 has none, or another number from 512 up
/// (arch/x86/entry/syscalls/syscall_64.tbl).
const NOT_X32: [&str; 50] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "setsockopt",
    "getsockopt",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "io_setup",
    "io_submit",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "timer_create",
    "vserver",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "execveat",
    "preadv2",
    "pwritev2",
    "uretprobe",
    "uprobe",
    "map_shadow_stack",
];

/// The x32 numbers 512..=547 in order.
const X32_FROM_512: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls that the crate lists under a name of its own: (column, the kernel's and libseccomp's name, number).
/// The crate's `fstatat` of asm-generic is `newfstatat` in every 64-bit kernel's headers.
const ALIASES: [(&str, &str, i16); 3] =
    [("aarch64", "newfstatat", 79), ("loongarch64", "newfstatat", 79), ("arm", "sync_file_range2", 341)];

/// What socketcall(2) of i386 does for each first argument (include/uapi/linux/net.h).
const SOCKETCALL: [(&str, i16); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The same for ipc(2) (include/uapi/linux/ipc.h).
const IPC: [(&str, i16); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Newer than the crate; of the number that all these ABIs share (scripts/syscall.tbl, arch/*/syscall*.tbl).
const LATER: [(&str, i16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

type Rows = BTreeMap<String, [i16; COLUMNS.len()]>;

fn column(name: &str) -> usize {
    COLUMNS.iter().position(|c| *c == name).expect("a column of that name")
}

fn row<'a>(rows: &'a mut Rows, name: &str) -> &'a mut [i16; COLUMNS.len()] {
    rows.entry(name.trim_start_matches("r#").to_owned())
        .or_insert([NONE, NONE, NONE, NONE, NONE, NONE, NONE, 0])
}

/// Names and numbers of one module of the crate. `iter` of the crate leaves out the last one.
macro_rules! calls {
    ($arch:ident) => {{
        use syscalls::$arch::Sysno;
        Sysno::iter()
            .chain([Sysno::last()])
            .map(|call| (call.name(), i64::from(call.id())))
            .filter(|(name, _)| !name.starts_with("reserved") && !name.starts_with("unused"))
            .collect::<BTreeMap<&'static str, i64>>()
    }};
}

fn rows() -> Rows {
    let mut rows = Rows::new();
    let of_the_crate = [
        ("x86_64", calls!(x86_64)),
        ("x86", calls!(x86)),
        ("aarch64", calls!(aarch64)),
        ("arm", calls!(arm)),
        ("riscv64", calls!(riscv64)),
        ("loongarch64", calls!(loongarch64)),
    ];
    for (arch, calls) in &of_the_crate {
        for (name, number) in calls {
            // 403..=423 are the time64 calls of 32-bit ABIs; the crate lists them for some 64-bit ones too.
            let time64 = arch.ends_with("64") && (403..=423).contains(number);
            if let (false, Ok(number)) = (time64, i16::try_from(*number)) {
                row(&mut rows, name)[column(arch)] = number;
            }
        }
    }
    // Known elsewhere: such a name in a profile is no mistake, only without effect here.
    for calls in [calls!(s390x), calls!(powerpc), calls!(powerpc64), calls!(mips), calls!(mips64)] {
        for name in calls.keys() {
            row(&mut rows, name);
        }
    }
    for (name, number) in calls!(x86_64) {
        if !NOT_X32.contains(&name) {
            row(&mut rows, name)[column("x32")] = i16::try_from(number).expect("small");
        }
    }
    for (name, number) in LATER {
        *row(&mut rows, name) = [number, number, number, number, number, number, number, 0];
    }
    for (name, number) in X32_FROM_512.iter().zip(512..) {
        row(&mut rows, name)[column("x32")] = number;
    }
    for (name, code) in ARM_PRIVATE {
        row(&mut rows, name)[column("arm")] = code;
    }
    for (arch, name, number) in ALIASES {
        row(&mut rows, name)[column(arch)] = number;
    }
    rows.remove("fstatat");
    for (name, call) in SOCKETCALL {
        row(&mut rows, name)[column("multiplexed")] = call;
    }
    for (name, call) in IPC {
        row(&mut rows, name)[column("multiplexed")] = 100 + call;
    }
    rows
}

/// The whole of numbers.rs.
#[allow(dead_code)] // As below.
pub fn generate() -> String {
    let rows = rows();
    let mut text = String::from(
        "//! Numbers of the system calls per ABI. Generated by hack/syscall-tables.rs: do not edit.\n//!\n\
         //! Sorted by name in byte order. -1 = the ABI has no such call; -2..-7 = `__ARM_NR_BASE` + 1..6.\n\
         //! The last column is the first argument of i386's socketcall for that call, or 100 + that of ipc.\n\n",
    );
    let width = COLUMNS.len();
    let _ = writeln!(text, "/// The columns in their order.\n#[cfg(test)]\n#[rustfmt::skip]");
    let _ = writeln!(text, "pub(super) const COLUMNS: [&str; {width}] = {COLUMNS:?};\n");
    let _ = writeln!(text, "#[rustfmt::skip]");
    let _ = writeln!(text, "pub(super) static NUMBERS: [(&str, [i16; {width}]); {}] = [", rows.len());
    for (name, numbers) in &rows {
        let _ = writeln!(text, "    ({name:?}, {numbers:?}),");
    }
    text.push_str("];\n");
    text
}

/// The numbers of a column, for tests: without the x32 bit.
#[allow(dead_code)] // Each test crate that includes this file uses a part of it.
pub fn numbers(column_name: &str) -> BTreeMap<String, u32> {
    let number = |numbers: [i16; COLUMNS.len()]| match numbers[column(column_name)] {
        NONE => None,
        private @ ..NONE => Some(0xf_0000 + u32::from(private.unsigned_abs()) - 1),
        number => Some(u32::from(number.unsigned_abs())),
    };
    rows().into_iter().filter_map(|(name, numbers)| Some((name, number(numbers)?))).collect()
}

/// Number, mask and first argument of the multiplexer through which i386 reaches a call.
#[allow(dead_code)] // As above.
pub fn multiplexer(name: &str) -> Option<(u32, u64, u64)> {
    let of = |table: &[(&str, i16)]| {
        table.iter().find(|(n, _)| *n == name).map(|(_, call)| u64::from(call.unsigned_abs()))
    };
    of(&SOCKETCALL).map(|call| (102, u64::MAX, call)).or_else(|| of(&IPC).map(|call| (117, 0xffff, call)))
}

/// All names.
#[allow(dead_code)] // As above.
pub fn names() -> Vec<String> {
    rows().into_keys().collect()
}
