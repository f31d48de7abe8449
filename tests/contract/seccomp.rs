//! linux.seccomp: actions, arguments, architectures, flags, timing, the listener (contract §5).

use crate::contract;
use crate::harness::socket::Receiving;
use crate::harness::{Bundle, of};
use serde_json::{Value, json};

/// x86_64 numbers of system calls that nothing needs on the way.
const GETPPID: &str = "getppid";
const NR_GETPPID: i64 = libc::SYS_getppid;

fn profile(b: &Bundle, default: &str, rules: Value) {
    b.set(
        "linux/seccomp",
        json!({
            "defaultAction": default,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": rules
        }),
    );
}

fn sys(nr: i64) -> String {
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
        assert_eq!(of(&r, "status/Seccomp_filters"), "1");
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
    contract!(Root, Seccomp).wavers("runc", "may need more in init").run(|t| {
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

#[track_caller]
fn refused(t: &crate::harness::Test, change: impl FnOnce(&Bundle), words: &[&str]) {
    let b = t.bundle();
    profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": [GETPPID], "action": "SCMP_ACT_ERRNO" }]));
    change(&b);
    t.create(&b).exits(1).fails_naming(words).one_line();
    t.nothing_left(&b.id);
}

#[test]
fn unknown_words_of_a_profile_are_errors() {
    contract!(Root, Seccomp)
        .differs("crun", "leaves its cgroups behind")
        .differs("runc", "1.1.5 supports no flags and does not name them")
        .run(|t| {
            refused(
                t,
                |b| _ = b.set("linux/seccomp/defaultAction", json!("SCMP_ACT_NONE")),
                &["SCMP_ACT_NONE"],
            );
            refused(
                t,
                |b| _ = b.set("linux/seccomp/syscalls/0/action", json!("SCMP_ACT_X")),
                &["SCMP_ACT_X"],
            );
            refused(t, |b| _ = b.set("linux/seccomp/architectures", json!(["SCMP_ARCH_PDP11"])), &["PDP11"]);
            refused(
                t,
                |b| _ = b.set("linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_X"])),
                &["SECCOMP_FILTER_FLAG_X"],
            );
            let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_ALMOST" }]);
            refused(t, |b| _ = b.set("linux/seccomp/syscalls/0/args", args), &["SCMP_CMP_ALMOST"]);
        });
}

#[test]
fn impossible_profiles_are_errors() {
    contract!(Root, Seccomp).differs("crun", "takes some").differs("runc", "takes some").run(|t| {
        let args = json!([{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }]);
        refused(t, |b| _ = b.set("linux/seccomp/syscalls/0/args", args), &["args[0]"]);
        refused(t, |b| _ = b.set("linux/seccomp/syscalls/0/names", json!([])), &["names"]);
        refused(
            t,
            |b| {
                b.set("linux/seccomp/syscalls/0/action", json!("SCMP_ACT_KILL"));
                b.set("linux/seccomp/syscalls/0/errnoRet", json!(5));
            },
            &["errnoRet"],
        );
    });
}

#[test]
fn notify_without_a_listener_is_an_error() {
    contract!(Root, Seccomp).differs("crun", "takes it").run(|t| {
        refused(
            t,
            |b| _ = b.set("linux/seccomp/syscalls/0/action", json!("SCMP_ACT_NOTIFY")),
            &["listenerPath", "notify"],
        );
    });
}

#[test]
fn notify_as_default_or_on_write_is_an_error() {
    contract!(Root, Seccomp).differs("crun", "takes it").run(|t| {
        refused(
            t,
            |b| {
                b.set("linux/seccomp/defaultAction", json!("SCMP_ACT_NOTIFY"));
                b.set("linux/seccomp/listenerPath", json!("/tmp/none"));
            },
            &["defaultAction", "notify"],
        );
        refused(
            t,
            |b| {
                b.set("linux/seccomp/syscalls/0", json!({ "names": ["write"], "action": "SCMP_ACT_NOTIFY" }));
                b.set("linux/seccomp/listenerPath", json!("/tmp/none"));
            },
            &["write", "notify"],
        );
    });
}

/// The agent gets the descriptor and the state, and its answers reach the container.
#[test]
fn the_listener_is_handed_over() {
    contract!(Root, Seccomp).differs("crun", "nothing arrives before start").run(|t| {
        for no_new_privs in [true, false] {
            let b = t.bundle();
            let path = t.fresh("listener");
            let receiving = Receiving::at(&path);
            b.set("process/noNewPrivileges", json!(no_new_privs));
            profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["acct"], "action": "SCMP_ACT_NOTIFY" }]));
            b.set("linux/seccomp/listenerPath", json!(path))
                .set("linux/seccomp/listenerMetadata", json!("meta/data"));
            b.args(&["/guest", "file", "/report.json", &sys(libc::SYS_acct)]);
            t.create(&b).ok();
            let message = receiving.take();
            assert_eq!((message.rights, message.fds.len()), (1, 1));
            let state: Value = serde_json::from_slice(message.data.trim_ascii_end()).expect("JSON");
            assert_eq!(state["fds"], json!(["seccompFd"]));
            assert_eq!(state["metadata"], "meta/data");
            assert_eq!(of(&state, "state/id"), &json!(b.id));
            assert_eq!(state["pid"].as_i64().unwrap(), i64::from(t.pid(&b.id)));
            let link = std::fs::read_link(format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&message.fds[0])
            ));
            assert!(link.unwrap().to_str().unwrap().contains("seccomp"), "a seccomp notify descriptor");
            let fd = std::os::fd::AsRawFd::as_raw_fd(&message.fds[0]);
            let agent = std::thread::spawn(move || answer_one(fd, 111));
            t.start(&b).ok();
            assert_eq!(agent.join().unwrap(), libc::SYS_acct);
            let r =
                crate::harness::test::parse_report(&crate::harness::test::wait_file(&b.host("/report.json")));
            assert_eq!(of(&r["probes"], &format!("sys:{}/errno", libc::SYS_acct)), 111);
        }
    });
}

/// Waits for one notification on `fd`, answers it with `errno`, and gives the system call's number.
fn answer_one(fd: i32, errno: i32) -> i64 {
    // struct seccomp_notif is 80 bytes, struct seccomp_notif_resp 24 (linux/seccomp.h).
    const RECV: u64 = 0xc050_2100;
    const SEND: u64 = 0xc018_2101;
    let mut notification = [0u64; 10];
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the buffers have the sizes that the request numbers encode.
    unsafe {
        assert_eq!(libc::poll(&mut poll, 1, 10_000), 1, "no notification");
        assert_eq!(libc::ioctl(fd, RECV as _, notification.as_mut_ptr()), 0);
        let mut answer = [notification[0], 0, u64::from((-errno) as u32)];
        assert_eq!(libc::ioctl(fd, SEND as _, answer.as_mut_ptr()), 0);
    }
    i64::from(notification[2] as u32 as i32)
}

#[test]
fn a_listener_that_nobody_serves_undoes_create() {
    contract!(Root, Seccomp).run(|t| {
        let b = t.bundle();
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["acct"], "action": "SCMP_ACT_NOTIFY" }]));
        b.set("linux/seccomp/listenerPath", json!("/no/such/socket"));
        t.create(&b).exits(1).fails_naming(&["listener", "/no/such/socket"]).one_line();
        t.nothing_left(&b.id);
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
        assert_eq!(of(&t.report(&b, &[]), "status/Seccomp"), "0");
    });
}
