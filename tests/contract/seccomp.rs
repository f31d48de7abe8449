//! linux.seccomp: actions, arguments, architectures, flags, timing, the listener (contract §5).

use crate::contract;
use crate::harness::needs::outer_filters;
use crate::harness::{Bundle, of};
use serde_json::{Value, json};

/// x86_64 numbers of system calls that nothing needs on the way.
pub const GETPPID: &str = "getppid";
const NR_GETPPID: i64 = libc::SYS_getppid;

pub fn profile(b: &Bundle, default: &str, rules: Value) {
    b.set(
        "linux/seccomp",
        json!({
            "defaultAction": default,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": rules
        }),
    );
}

pub fn sys(nr: i64) -> String {
    format!("sys:{nr}")
}

fn forksys(nr: i64) -> String {
    format!("forksys:{nr}")
}

#[test]
fn errno_is_returned() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        profile(
            &b,
            "SCMP_ACT_ALLOW",
            json!([
                { "names": [GETPPID], "action": "SCMP_ACT_ERRNO" },
                { "names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 },
                { "names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }
            ]),
        );
        let probes = [sys(NR_GETPPID), sys(libc::SYS_getpgid), sys(libc::SYS_getsid), sys(libc::SYS_getuid)];
        let r = t.report(&b, &probes.each_ref().map(String::as_str));
        let errno = |nr: i64| of(&r["probes"], &format!("sys:{nr}/errno")).clone();
        assert_eq!(errno(NR_GETPPID), libc::EPERM);
        assert_eq!(errno(libc::SYS_getpgid), 77);
        assert_eq!(errno(libc::SYS_getsid), libc::ENOSYS);
        assert_eq!(errno(libc::SYS_getuid), 0);
        assert_eq!(of(&r, "status/Seccomp"), "2");
    });
}

/// What Go programs write where they mean none.
#[test]
fn an_empty_profile_is_none() {
    contract!(Root, Seccomp).differs("crun", "1.8.1 wants a default action").run(|t| {
        let b = t.bundle();
        b.set("linux/seccomp", json!({}));
        assert_eq!(of(&t.report(&b, &[]), "status/Seccomp_filters"), outer_filters().to_string().as_str());
    });
}

#[test]
fn a_default_errno_denies_all_that_is_not_listed() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        b.set("linux/seccomp", allow_list("SCMP_ACT_ERRNO"));
        let probes = [sys(libc::SYS_acct), sys(libc::SYS_getuid), sys(libc::SYS_swapoff)];
        let r = t.report(&b, &probes.each_ref().map(String::as_str));
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[0])), libc::EPERM);
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[1])), 0);
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[2])), libc::EPERM);
    });
}

/// What the guest and any static program need.
fn allow_list(default: &str) -> Value {
    let names = [
        "read",
        "write",
        "open",
        "openat",
        "close",
        "fstat",
        "stat",
        "lstat",
        "newfstatat",
        "statx",
        "lseek",
        "mmap",
        "munmap",
        "mprotect",
        "mremap",
        "madvise",
        "brk",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "ioctl",
        "readlink",
        "readlinkat",
        "getdents64",
        "getcwd",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "getresuid",
        "getresgid",
        "getgroups",
        "getpid",
        "getppid",
        "gettid",
        "getsid",
        "getpgrp",
        "getpgid",
        "umask",
        "uname",
        "fcntl",
        "dup",
        "dup2",
        "dup3",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "getrandom",
        "exit",
        "exit_group",
        "execve",
        "clone",
        "fork",
        "vfork",
        "wait4",
        "kill",
        "tgkill",
        "futex",
        "sched_getattr",
        "sched_getaffinity",
        "sigaltstack",
        "poll",
        "ppoll",
        "writev",
        "readv",
        "pread64",
        "clock_gettime",
        "personality",
        "keyctl",
        "ioprio_get",
        "get_mempolicy",
        "capget",
        "capset",
        "prctl",
        "setgroups",
        "setgid",
        "setuid",
        "setresuid",
        "setresgid",
        "chdir",
        "fchdir",
        "epoll_pwait",
        "nanosleep",
        "epoll_ctl",
        "faccessat",
        "faccessat2",
        "fchown",
        "fstatfs",
        "statfs",
        "getpeername",
        "close_range",
        "pipe2",
        "sendmsg",
        "sendto",
        "recvmsg",
        "recvfrom",
        "tkill",
        "getxattr",
        "pidfd_getfd",
        "socket",
        "connect",
        "execveat",
    ];
    json!({
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": names.as_slice(), "action": "SCMP_ACT_ALLOW" }]
    })
}

#[test]
fn the_default_errno_can_be_chosen() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        b.set("linux/seccomp", allow_list("SCMP_ACT_ERRNO")).set("linux/seccomp/defaultErrnoRet", json!(99));
        let r = t.report(&b, &[&sys(libc::SYS_acct)]);
        assert_eq!(of(&r["probes"], &format!("sys:{}/errno", libc::SYS_acct)), 99);
    });
}

/// A call newer than the profile looks missing, not forbidden: libraries then fall back.
#[test]
fn calls_newer_than_the_profile_give_enosys() {
    contract!(Root, Seccomp).differs("crun", "gives the profile's errno").run(|t| {
        let b = t.bundle();
        b.set("linux/seccomp", allow_list("SCMP_ACT_ERRNO"));
        let r = t.report(&b, &[&sys(700), &sys(libc::SYS_acct)]);
        assert_eq!(of(&r["probes"], "sys:700/errno"), libc::ENOSYS);
        assert_eq!(of(&r["probes"], &format!("sys:{}/errno", libc::SYS_acct)), libc::EPERM);
    });
}

#[test]
fn killing_actions_kill() {
    contract!(Root, Seccomp).run(|t| {
        for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            let b = t.bundle();
            profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": action }]));
            // The report itself asks for the parent: the shell does not.
            b.args(&["/bin/busybox", "sh", "-c", "/guest report > /dev/null; echo $?"]);
            let out = t.run(&b);
            assert!(out.stdout.trim() == "159" || out.code == 159, "{action}: {} {}", out.code, out.stdout);
        }
    });
}

#[test]
fn log_and_allow_let_pass() {
    contract!(Root, Seccomp).run(|t| {
        for action in ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"] {
            let b = t.bundle();
            profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": action }]));
            let r = t.report(&b, &[&sys(NR_GETPPID)]);
            assert_eq!(of(&r["probes"], &format!("sys:{NR_GETPPID}/errno")), 0, "{action}");
        }
    });
}

/// Without a tracer the kernel answers ENOSYS.
#[test]
fn trace_without_a_tracer_gives_enosys() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        profile(
            &b,
            "SCMP_ACT_ALLOW",
            json!([{ "names": ["getpgid"], "action": "SCMP_ACT_TRACE", "errnoRet": 5 }]),
        );
        let r = t.report(&b, &[&sys(libc::SYS_getpgid)]);
        assert_eq!(of(&r["probes"], &format!("sys:{}/errno", libc::SYS_getpgid)), libc::ENOSYS);
    });
}

#[test]
fn arguments_are_compared() {
    contract!(Root, Seccomp).run(|t| {
        // getpgid(pid): rules on its first argument, each operator with a value that matches and one that does not.
        for (op, value, two, hit, miss) in [
            ("SCMP_CMP_NE", 7u64, 0, 8u64, 7u64),
            ("SCMP_CMP_LT", 7, 0, 6, 7),
            ("SCMP_CMP_LE", 7, 0, 7, 8),
            ("SCMP_CMP_EQ", 7, 0, 7, 6),
            ("SCMP_CMP_GE", 7, 0, 7, 6),
            ("SCMP_CMP_GT", 7, 0, 8, 7),
            ("SCMP_CMP_MASKED_EQ", 0xf0, 0x30, 0x3f, 0x4f),
            ("SCMP_CMP_EQ", 0x1_0000_0000, 0, 0x1_0000_0000, 0),
            ("SCMP_CMP_GT", 0xffff_ffff, 0, 0x1_0000_0000, 0xffff_ffff),
        ] {
            let b = t.bundle();
            let args = json!([{ "index": 1, "value": value, "valueTwo": two, "op": op }]);
            let rule =
                json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }]);
            profile(&b, "SCMP_ACT_ALLOW", rule);
            let nr = libc::SYS_acct;
            let (hit, miss) = (format!("sys:{nr}:0:{hit}"), format!("sys:{nr}:0:{miss}"));
            let r = t.report(&b, &[&hit, &miss]);
            assert_eq!(of(&r["probes"], &format!("{hit}/errno")), 99, "{op} {value:x} should match");
            assert_ne!(of(&r["probes"], &format!("{miss}/errno")), 99, "{op} {value:x} should not match");
        }
    });
}

#[test]
fn arguments_of_one_entry_must_all_match() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        let args = json!([
            { "index": 1, "value": 5, "op": "SCMP_CMP_EQ" }, { "index": 2, "value": 6, "op": "SCMP_CMP_EQ" }
        ]);
        let rule = json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }]);
        profile(&b, "SCMP_ACT_ALLOW", rule);
        let nr = libc::SYS_acct;
        let probes = [format!("sys:{nr}:0:5:6"), format!("sys:{nr}:0:5:0"), format!("sys:{nr}:0:0:6")];
        let r = t.report(&b, &probes.each_ref().map(String::as_str));
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[0])), 99);
        assert_ne!(of(&r["probes"], &format!("{}/errno", probes[1])), 99);
        assert_ne!(of(&r["probes"], &format!("{}/errno", probes[2])), 99);
    });
}

/// Twice the same index: every condition becomes a rule of its own.
#[test]
fn conditions_on_the_same_argument_are_alternatives() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        let args = json!([
            { "index": 1, "value": 5, "op": "SCMP_CMP_EQ" }, { "index": 1, "value": 6, "op": "SCMP_CMP_EQ" }
        ]);
        let rule = json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args }]);
        profile(&b, "SCMP_ACT_ALLOW", rule);
        let nr = libc::SYS_acct;
        let probes = [format!("sys:{nr}:0:5"), format!("sys:{nr}:0:6"), format!("sys:{nr}:0:7")];
        let r = t.report(&b, &probes.each_ref().map(String::as_str));
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[0])), 99);
        assert_eq!(of(&r["probes"], &format!("{}/errno", probes[1])), 99);
        assert_ne!(of(&r["probes"], &format!("{}/errno", probes[2])), 99);
    });
}

#[test]
fn an_unknown_syscall_name_is_no_failure() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        let rules = json!([
            { "names": ["from_the_future", GETPPID], "action": "SCMP_ACT_ERRNO" },
            { "names": ["also_from_there"], "action": "SCMP_ACT_ERRNO" }
        ]);
        profile(&b, "SCMP_ACT_ALLOW", rules);
        let r = t.report(&b, &[&sys(NR_GETPPID)]);
        assert_eq!(of(&r["probes"], &format!("sys:{NR_GETPPID}/errno")), libc::EPERM);
    });
}

#[test]
fn a_rule_equal_to_the_default_is_fine() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": "SCMP_ACT_ALLOW" }]));
        b.args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// The 32-bit entry of the kernel is another architecture: not listed, it kills.
#[test]
fn x32_calls_die_unless_listed() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": "SCMP_ACT_ERRNO" }]));
        b.set("linux/seccomp/architectures", json!(["SCMP_ARCH_X86_64"]));
        let nr = 0x4000_0000 | NR_GETPPID;
        let r = t.report(&b, &[&forksys(nr)]);
        assert_eq!(of(&r["probes"], &format!("forksys:{nr}/signal")), libc::SIGSYS);
    });
}

#[test]
fn the_filter_applies_without_no_new_privileges_too() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        b.set("process/noNewPrivileges", json!(false))
            .set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["getpgid"], "action": "SCMP_ACT_ERRNO" }]));
        let r = t.report(&b, &[&sys(libc::SYS_getpgid)]);
        assert_eq!(of(&r["probes"], &format!("sys:{}/errno", libc::SYS_getpgid)), libc::EPERM);
        assert_eq!(of(&r, "status/NoNewPrivs"), "0");
        assert_eq!(of(&r, "status/Seccomp_filters"), (outer_filters() + 1).to_string().as_str());
    });
}

/// With no_new_privs the filter comes last: what changes identity may be denied by it.
#[test]
fn with_no_new_privileges_identity_calls_may_be_denied() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] }));
        let names = [
            "setuid",
            "setgid",
            "setgroups",
            "setresuid",
            "setresgid",
            "capset",
            "prctl",
            "chdir",
            "fchdir",
            "mount",
            "umount2",
            "pivot_root",
            "sethostname",
            "unshare",
            "setns",
            "clone3",
            "statx",
            "openat2",
            "getcwd",
        ];
        let rules = json!([{ "names": names, "action": "SCMP_ACT_ERRNO" }]);
        profile(&b, "SCMP_ACT_ALLOW", rules);
        b.args(&["/bin/echo", "ok"]);
        assert_eq!(t.run(&b).ok().stdout, "ok\n");
    });
}

/// Old profiles know none of the newer calls; close_range and clone3 have been the ones to break runtimes.
#[test]
fn an_old_profile_does_not_break_create_and_start() {
    contract!(Root, Seccomp).run(|t| {
        for privileged in [true, false] {
            let b = t.bundle();
            b.set("linux/seccomp", allow_list("SCMP_ACT_ERRNO"));
            b.edit(|c| {
                let names = c["linux"]["seccomp"]["syscalls"][0]["names"].as_array_mut().unwrap();
                let newer =
                    ["statx", "openat2", "close_range", "clone3", "faccessat2", "pidfd_getfd", "rseq"];
                names.retain(|n| !newer.contains(&n.as_str().unwrap()));
            });
            b.set("process/noNewPrivileges", json!(!privileged)).args(&["/bin/echo", "ok"]);
            assert_eq!(t.run(&b).ok().stdout, "ok\n");
        }
    });
}

#[test]
fn flags_are_taken() {
    contract!(Root, Seccomp).differs("runc", "1.1.5 supports no flags").run(|t| {
        for flags in
            [json!([]), json!(["SECCOMP_FILTER_FLAG_LOG"]), json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])]
        {
            let b = t.bundle();
            profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": "SCMP_ACT_ERRNO" }]));
            b.set("linux/seccomp/flags", flags.clone());
            let r = t.report(&b, &[&sys(NR_GETPPID)]);
            assert_eq!(of(&r["probes"], &format!("sys:{NR_GETPPID}/errno")), libc::EPERM, "{flags}");
        }
    });
}

#[test]
fn the_tsync_flag_is_taken() {
    contract!(Root, Seccomp).differs("runc", "1.1.5 supports no flags").run(|t| {
        let b = t.bundle();
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": "SCMP_ACT_ERRNO" }]));
        b.set("linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_TSYNC"])).args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// Docker's way to write "no seccomp".
#[test]
fn an_empty_profile_is_no_filter() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        b.set("linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" })).args(&["/bin/true"]);
        t.run(&b).ok();
        b.remove("linux/seccomp");
        assert_eq!(of(&t.report(&b, &[]), "status/Seccomp_filters"), outer_filters().to_string().as_str());
    });
}
