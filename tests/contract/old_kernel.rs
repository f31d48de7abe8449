//! Kernels from Linux 4.18 on, and outer container engines whose profiles do not know the newer calls: the same
//! container, or one clear refusal. Here a filter around the runtime refuses them, the kernel's way (ENOSYS) and the
//! profiles' (EPERM); hack/old-kernel.sh runs this whole suite like that.

use super::mounts::{has, mount_line};
use crate::contract;
use crate::harness::test::{map, wait_until};
use crate::harness::{Bundle, Test, leftovers, of};
use serde_json::{Value, json};
use std::time::Duration;

/// All that is newer than 4.18; see hack/old-kernel.sh.
const NEWER: &str = "openat2,clone3,clone:0&0x1000,pidfd_open,pidfd_send_signal,pidfd_getfd,waitid:0=3,fsopen,fsconfig,\
                     fsmount,open_tree,move_mount,mount_setattr,close_range,faccessat2";
/// Older ones, which profiles may lack all the same. Without them the waiting process is a copy of the runtime.
const OLDER: &str = "memfd_create,execveat,statx,keyctl";
const BOTH: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// A bundle with something of everything: hooks, binds with flags, a tmpfs, masked and read-only paths, a device.
fn rich(t: &Test, userns: bool) -> Bundle {
    let b = t.bundle();
    if userns {
        b.userns(100_000);
    }
    let source = t.fresh_dir("source");
    std::fs::write(source.join("file"), "content").unwrap();
    b.mount(json!({ "destination": "/ro", "type": "bind", "source": source, "options": ["bind", "ro", "nosuid"] }));
    b.mount(
        json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "nodev"] }),
    );
    std::os::unix::fs::symlink("/etc/real", b.host("/etc/link")).unwrap();
    std::fs::write(b.host("/etc/real"), "x").unwrap();
    b.set("linux/maskedPaths", json!(["/etc/link", "/proc/acpi", "/proc/kcore"]));
    b.set("linux/readonlyPaths", json!(["/proc/sys"]));
    let log = b.host("/hooks");
    let on_host = |kind: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {kind} >> {}", log.display())] }]);
    let inside = json!([{ "path": "/bin/true" }]);
    b.set(
        "hooks",
        json!({ "createRuntime": on_host("createRuntime"), "createContainer": inside, "startContainer": inside,
                "poststart": on_host("poststart"), "poststop": on_host("poststop") }),
    );
    b
}

fn life(t: &Test, userns: bool) {
    let b = rich(t, userns);
    let r = t.report(&b, &["create:/ro/x", "create:/t/x", "stat:/etc/real"]);
    assert_eq!(of(&r["probes"], "create:~1ro~1x/errno"), libc::EROFS, "{r}");
    assert_eq!(of(&r["probes"], "create:~1t~1x/errno"), 0);
    // Masked through the link: a device now.
    assert_eq!(of(&r["probes"], "stat:~1etc~1real/size"), 0, "{r}");
    for (at, option) in [("/ro", "nosuid"), ("/t", "nodev"), ("/proc/sys", "ro")] {
        let (options, ..) = mount_line(&r, at);
        assert!(has(&options, option), "{at} is not {option}: {options}");
    }
    let open: Vec<_> = r["fds"].as_array().unwrap().iter().map(|fd| fd["fd"].as_i64().unwrap()).collect();
    assert_eq!(open, [0, 1, 2], "{r}");
    let log = || std::fs::read_to_string(b.host("/hooks")).unwrap();
    assert_eq!(log(), "createRuntime\npoststart\npoststop\n");

    b.args(&["/guest", "pause"]);
    t.create(&b).ok();
    assert_eq!(t.status(&b.id), "created");
    t.start(&b).ok();
    assert_eq!(t.status(&b.id), "running");
    let out = t.rt(&["exec", &b.id, "/bin/sh", "-c", "cat /ro/file; exit 3"]);
    assert_eq!((out.code, out.stdout.as_str()), (3, "content"), "{}", out.stderr);
    t.rt(&["exec", "--detach", &b.id, "/bin/sleep", "1000"]).ok();
    t.rt(&["delete", &b.id]).fails();
    t.rt(&["kill", &b.id, "KILL"]).ok();
    // Init ends when its others are reaped, and the detached one is our child by now.
    assert!(wait_until(Duration::from_secs(10), || {
        leftovers::reap();
        t.status(&b.id) == "stopped"
    }));
    t.rt(&["delete", &b.id]).ok();
    t.nothing_left(&b.id);
}

/// Every newer call refused at once, then the older ones too.
#[test]
fn a_life_without_the_newer_calls() {
    contract!(Root).ours_only("the peers are not asked").run(|t| {
        for calls in [NEWER.to_owned(), format!("{NEWER},{OLDER}")] {
            for errno in BOTH {
                t.refuse(&calls, errno);
                life(t, false);
            }
        }
    });
}

#[test]
fn a_user_namespace_without_the_newer_calls() {
    contract!(Root, Userns).ours_only("the peers are not asked").run(|t| {
        for errno in BOTH {
            t.refuse(NEWER, errno);
            life(t, true);
        }
    });
}

/// Kernels have these all or none; profiles may have any. A mount that was begun one way is finished the other.
#[test]
fn each_mount_call_may_be_the_missing_one() {
    contract!(Root).ours_only("the peers are not asked").run(|t| {
        for call in ["fsopen", "fsconfig", "fsmount", "open_tree", "move_mount", "mount_setattr"] {
            for errno in BOTH {
                t.refuse(call, errno);
                let r = t.report(&rich(t, false), &["create:/ro/x", "create:/t/x"]);
                assert_eq!(of(&r["probes"], "create:~1ro~1x/errno"), libc::EROFS, "without {call}: {r}");
                assert_eq!(of(&r["probes"], "create:~1t~1x/errno"), 0, "without {call}: {r}");
            }
        }
    });
}

/// Identity does not depend on pidfds.
#[test]
fn a_reused_pid_is_not_signalled_without_pidfds() {
    contract!(Root).ours_only("the peers are not asked").run(|t| {
        t.refuse(NEWER, libc::ENOSYS);
        super::kill_delete::spare_the_next_owner(t);
    });
}

/// clone(2) cannot say CLONE_NEWTIME; the runtime's own later children stay out of the namespace.
#[test]
fn a_time_namespace_without_clone3() {
    contract!(Root, Timens).ours_only("the peers are not asked").run(|t| {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
        for (errno, userns) in [(BOTH[0], false), (BOTH[1], false), (BOTH[0], true)] {
            t.refuse(NEWER, errno);
            let b = t.bundle();
            if userns {
                b.userns(100_000);
            }
            let seen = t.fresh("seen");
            let look = format!("readlink /proc/self/ns/time > {}", seen.display());
            b.add("linux/namespaces", json!({ "type": "time" }));
            b.set("hooks", json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", look] }] }));
            t.create(&b).ok();
            assert_ne!(namespace(&t.pid(&b.id).to_string()), namespace("self"));
            let hooks = std::fs::read_to_string(seen).unwrap();
            assert_eq!(hooks.trim(), namespace("self").to_str().unwrap());
            t.rt(&["delete", "--force", &b.id]).ok();
        }
    });
}

/// A startContainer hook is waited for by looking at it: neither a closed output nor a daemon that holds it deceives.
#[test]
fn start_container_hooks_without_pidfds() {
    contract!(Root).ours_only("the peers are not asked").run(|t| {
        t.refuse(NEWER, libc::ENOSYS);
        let hooked = |script: &str, timeout: u32| {
            let b = t.bundle();
            let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": timeout }]);
            b.set("hooks/startContainer", hook);
            t.create(&b).ok();
            (t.start(&b), b)
        };
        let (out, b) = hooked("sleep 1000 & exit 0", 5);
        assert!(out.ok().took < Duration::from_secs(4));
        t.rt(&["delete", "--force", &b.id]).ok();
        let (out, b) = hooked("exec >&- 2>&-; sleep 1000", 1);
        out.fails_naming(&["did not end in time"]).one_line();
        t.rt(&["delete", "--force", &b.id]).ok();
        let (out, b) = hooked("echo words; exit 3", 5);
        out.fails_naming(&["exit status 3: words"]).one_line();
        t.rt(&["delete", "--force", &b.id]).ok();
    });
}

/// What cannot be had is said in one line, with the call and the kernel that has it; nothing is left.
#[test]
fn refusals_are_clear() {
    contract!(Root, Userns, Seccomp).ours_only("the peers are not asked").run(|t| {
        let source = t.fresh_dir("source");
        let bind = |options: Value| json!({ "destination": "/d", "type": "bind", "source": source, "options": options });
        let mapped = json!({ "destination": "/d", "type": "bind", "source": source, "options": ["bind"],
                             "uidMappings": [map(0, 100_000, 65536)], "gidMappings": [map(0, 100_000, 65536)] });
        for errno in BOTH {
            for calls in [NEWER, "mount_setattr", "open_tree"] {
                t.refuse(calls, errno);
                let b = t.bundle();
                b.mount(bind(json!(["rbind", "rro"])));
                refused(t, &b, &["Linux 5.12", "mounts["]);
                let b = t.bundle();
                b.userns(100_000).mount(mapped.clone());
                refused(t, &b, &["Linux 5.12", "mounts["]);
            }
            for calls in [NEWER, "pidfd_getfd"] {
                t.refuse(calls, errno);
                let b = t.bundle();
                let rules = json!([{ "names": ["acct"], "action": "SCMP_ACT_NOTIFY" }]);
                super::seccomp::profile(&b, "SCMP_ACT_ALLOW", rules);
                let socket = t.fresh("agent");
                let _agent = crate::harness::socket::Receiving::at(&socket);
                b.set("linux/seccomp/listenerPath", json!(socket));
                refused(t, &b, &["pidfd_getfd", "Linux 5.6"]);
            }
            t.refuse(NEWER, errno);
            let b = t.bundle();
            let socket = t.fresh("pidfd");
            let _receiver = crate::harness::socket::Receiving::at(&socket);
            b.set("annotations", json!({ "run.oci.pidfd_receiver": socket }));
            refused(t, &b, &["pidfd", "Linux 5.3"]);
        }
    });
}

#[track_caller]
fn refused(t: &Test, b: &Bundle, words: &[&str]) {
    let mut out = t.create(b).exits(1).one_line();
    for word in words {
        out = out.fails_with(word);
    }
    t.nothing_left(&b.id);
}

/// No quiet loss: where the process that waits is a copy of the runtime the operator is told.
#[test]
fn a_forked_last_stage_is_warned_of() {
    contract!(Root).ours_only("the peers are not asked").run(|t| {
        for errno in BOTH {
            t.refuse("memfd_create,fsopen", errno);
            let b = t.bundle();
            let out = t.create(&b).ok();
            assert!(out.stderr.contains("mount it read-only"), "{}", out.stderr);
            t.start(&b).ok();
            t.rt(&["exec", &b.id, "/bin/true"]).ok();
            t.rt(&["delete", "--force", &b.id]).ok();
        }
    });
}
