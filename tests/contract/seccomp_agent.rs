//! Seccomp profiles that are refused, and the listener that is handed to an agent (contract §5).

use super::seccomp::{GETPPID, profile, sys};
use crate::contract;
use crate::harness::socket::Receiving;
use crate::harness::{Bundle, of};
use serde_json::{Value, json};

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
        .differs("runc", "1.1.5 supports no flags and does not name them")
        .differs("crun", "1.8.1 takes unknown flags")
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
    contract!(Root, Seccomp, PidfdGetfd).differs("crun", "nothing arrives before start").run(|t| {
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
