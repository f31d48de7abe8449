//! Sentences of runtime.md (runtime-spec 1.3) that no other module asks for; CONFORMANCE.md says where the rest is.

use crate::contract;
use crate::harness::leftovers;
use crate::harness::test::wait_file;
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// "This operation MUST generate an error if it is not provided the container ID." (state, create, start, kill,
/// delete)
#[test]
fn every_operation_wants_an_id() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.write();
        for args in [
            &["state"][..],
            &["create"],
            &["create", "--bundle", b.dir.to_str().unwrap()],
            &["start"],
            &["kill"],
            &["delete"],
        ] {
            t.call(args).cwd(&b.dir).run().fails();
        }
        assert_eq!(std::fs::read_dir(&t.root).unwrap().count(), 0, "a container without an id");
    });
}

/// "All of the properties configured in config.json except for process MUST be applied. process.args MUST NOT be
/// applied until triggered by the start operation."
#[test]
fn create_applies_everything_but_the_program() {
    contract!(Root, Ctrl("pids"), Tool("nsenter")).run(|t| {
        let b = t.bundle();
        b.set("root/readonly", json!(true)).args(&["/guest", "file", "/tmp/ran"]);
        b.mount(json!({ "destination": "/tmp", "type": "bind", "source": t.fresh_dir("tmp"), "options": ["bind"] }));
        b.set("linux/maskedPaths", json!(["/etc"])).set("linux/readonlyPaths", json!(["/proc/sys"]));
        b.set("linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        b.set("linux/resources/pids", json!({ "limit": 33 }));
        b.add("linux/devices", json!({ "type": "p", "path": "/dev/fifo" }));
        t.create(&b).ok();
        let pid = t.pid(&b.id);
        let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let flags = |at: &str| {
            let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(at));
            line.unwrap_or_else(|| panic!("{at} in {text}")).split(' ').nth(5).unwrap().to_owned()
        };
        assert!(flags("/").starts_with("ro"), "{}", flags("/"));
        assert!(flags("/proc/sys").starts_with("ro"), "{}", flags("/proc/sys"));
        flags("/etc");
        flags("/tmp");
        let root = format!("/proc/{pid}/root");
        assert!(Path::new(&root).join("dev/fifo").exists());
        assert_eq!(crate::harness::cgroup::read(&b, "pids", "pids.max"), "33");
        let inside = |args: &[&str]| {
            let pid = pid.to_string();
            let out = Command::new("nsenter").args(["-t", &pid, "-u", "-n"]).args(args).output().unwrap();
            String::from_utf8_lossy(&out.stdout).trim().to_owned()
        };
        assert_eq!(inside(&["uname", "-n"]), "contract");
        assert_eq!(inside(&["cat", "/proc/sys/net/ipv4/ip_forward"]), "1");
        let ran = Path::new(&root).join("tmp/ran");
        assert!(!ran.exists(), "the program ran");
        assert_eq!(t.status(&b.id), "created");
        let source = b.config.borrow()["mounts"].as_array().unwrap().last().unwrap()["source"].clone();
        t.start(&b).ok();
        wait_file(&Path::new(source.as_str().unwrap()).join("ran"));
    });
}

/// "Unless otherwise stated, generating an error MUST leave the state of the environment as if the operation were
/// never attempted", for what is asked of containers that are there.
#[test]
fn a_refused_operation_changes_nothing() {
    contract!(Root).differs("crun", "1.8.1 takes an unknown signal and does nothing").run(|t| {
        let (running, stopped, created) = (t.running(), t.stopped(), t.created());
        let all = || -> Vec<Value> { [&running, &stopped, &created].map(|b| t.state(&b.id)).into() };
        let files = || {
            let mut names: Vec<_> = [&running, &stopped, &created]
                .iter()
                .flat_map(|b| std::fs::read_dir(t.root.join(&b.id)).unwrap().flatten())
                .map(|e| e.path())
                .collect();
            names.sort();
            names
        };
        let before = (all(), files());
        for args in [
            &["start", &running.id][..],
            &["start", &stopped.id],
            &["kill", &stopped.id, "TERM"],
            &["kill", &running.id, "NONE"],
            &["kill", &created.id, "NONE"],
            &["delete", &running.id],
        ] {
            t.rt(args).fails();
            assert_eq!((all(), files()), before, "{args:?}");
        }
        let other = t.bundle();
        other.write();
        for b in [&running, &stopped, &created] {
            t.rt(&["create", "--bundle", other.dir.to_str().unwrap(), &b.id]).fails();
            assert_eq!((all(), files()), before);
        }
    });
}

/// "Attempting to send a signal to a container that is neither created nor running MUST have no effect on the
/// container and MUST generate an error", the one that is not there included.
#[test]
fn only_a_living_container_takes_signals() {
    contract!(Root).run(|t| {
        let b = t.stopped();
        for signal in ["TERM", "KILL", "0x0"] {
            t.rt(&["kill", &b.id, signal]).fails();
            assert_eq!(t.status(&b.id), "stopped");
        }
        t.rt(&["kill", "never-made", "KILL"]).fails();
    });
}

/// "Note that resources associated with the container, but not created by this container, MUST NOT be deleted."
#[test]
fn delete_leaves_what_the_container_did_not_make() {
    contract!(Root, Ctrl("memory"), Ctrl("pids"))
        .differs("runc", "removes the cgroup that was there before")
        .differs("crun", "removes the cgroup that was there before")
        .run(|t| {
            let b = t.bundle();
            let dirs = ["memory", "pids"].map(|c| crate::harness::cgroup::dir(&b, c));
            dirs.iter().for_each(|dir| std::fs::create_dir_all(dir).unwrap());
            let inner = dirs[0].join("inner");
            std::fs::create_dir(&inner).unwrap();
            let volume = t.fresh_dir("volume");
            std::fs::write(volume.join("file"), "kept").unwrap();
            b.mount(json!({ "destination": "/v", "type": "bind", "source": volume, "options": ["bind"] }));
            let netns = t.fresh("netns");
            std::fs::write(&netns, "").unwrap();
            let own = Path::new("/proc/self/ns/net");
            std::thread::scope(|s| {
                s.spawn(|| {
                    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                    t_mount("/proc/thread-self/ns/net", &netns);
                });
            });
            assert_ne!(inode(&netns), inode(own));
            let was = inode(&netns);
            b.edit(|c| crate::harness::namespaced(c, "network", netns.to_str()));
            b.shell("mkdir /v/made; sleep 1000");
            t.create(&b).ok();
            t.start(&b).ok();
            t.rt(&["delete", "--force", &b.id]).ok();
            let there = (dirs.iter().all(|d| d.exists()), inner.exists());
            for dir in [&inner, &dirs[0], &dirs[1]] {
                let _ = std::fs::remove_dir(dir);
            }
            let namespace = inode(&netns);
            nix::mount::umount(&netns).unwrap();
            assert_eq!(there, (true, true), "cgroups");
            assert_eq!(namespace, was, "the network namespace");
            assert_eq!(std::fs::read_to_string(volume.join("file")).unwrap(), "kept");
            assert!(b.rootfs().join("guest").exists() && b.dir.join("config.json").exists());
            assert!(leftovers::cgroups(&b.id).is_empty(), "what it made is gone");
        });
}

fn t_mount(source: &str, target: &Path) {
    nix::mount::mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

/// "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and continue the
/// lifecycle at step 12", and the same of poststart: the container is stopped at once, steps 12 and 13 (destroyed,
/// poststop) wait for `delete`, which callers ask for after a failing start.
#[test]
fn after_a_failing_hook_of_start_delete_does_the_rest() {
    contract!(Root)
        .differs("runc", "1.1.5 start exits 0, and poststart runs within create")
        .differs("crun", "1.8.1 start exits 0")
        .run(|t| {
            for kind in ["startContainer", "poststart"] {
                let b = t.bundle();
                let log = t.fresh("log");
                let poststop = format!("cat > /dev/null; echo x >> {}", log.display());
                let failing = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; exit 3"] }]);
                b.set(&format!("hooks/{kind}"), failing);
                b.add("hooks/poststop", json!({ "path": "/bin/sh", "args": ["sh", "-c", poststop] }));
                t.create(&b).ok();
                t.start(&b).exits(1).fails_naming(&[kind, "hook"]).one_line();
                // What has run already must not go on; what has not is left for its engine to ask about.
                if kind == "startContainer" {
                    t.wait_status(&b.id, "stopped");
                    t.rt(&["delete", &b.id]).ok();
                }
                t.nothing_left(&b.id);
                assert_eq!(std::fs::read_to_string(&log).unwrap(), "x\n", "{kind}: poststop once");
            }
        });
}

/// "This MUST be unique across all containers on this host." and "Once a container is deleted its ID MAY be used by
/// a subsequent container": an id is taken in every state.
#[test]
fn an_id_is_taken_in_every_state() {
    contract!(Root).run(|t| {
        for b in [t.created(), t.running(), t.stopped()] {
            let pid = t.pid(&b.id);
            t.create(&b).exits(1).fails_naming(&["exist", "use"]);
            assert_eq!(t.pid(&b.id), pid);
            t.rt(&["delete", "--force", &b.id]).ok();
            t.create(&b).ok();
        }
    });
}
