//! kill and delete in every state (contract §0.8, §0.9, §3.2).

use crate::contract;
use crate::harness::config::without_namespace;
use crate::harness::leftovers;
use crate::harness::test::{rest, wait_file, wait_until};
use crate::harness::{Bundle, Test};
use serde_json::json;
use std::time::Duration;

/// A running `guest trap`, and the file that it writes to.
fn trapping(t: &Test) -> (Bundle, crate::harness::Output) {
    let b = t.bundle();
    b.args(&["/guest", "trap"]);
    let out = t.create(&b).ok();
    t.start(&b).ok();
    assert!(wait_until(Duration::from_secs(10), || out.stdout_now().contains("ready")));
    (b, out)
}

#[track_caller]
fn signal_arrives(t: &Test, sent: &[&str], number: i32) {
    let (b, out) = trapping(t);
    for signal in sent {
        t.rt(&["kill", &b.id, signal]).ok();
        let line = format!("signal {number}\n");
        let count = sent.iter().take_while(|s| *s != signal).count() + 1;
        let arrived = wait_until(Duration::from_secs(5), || out.stdout_now().matches(&line).count() >= count);
        assert!(arrived, "{signal}: {}", out.stdout_now());
    }
    t.rt(&["delete", "--force", &b.id]).ok();
}

#[test]
fn kill_takes_numbers_and_names() {
    contract!(Root).run(|t| signal_arrives(t, &["10", "USR1", "SIGUSR1"], 10));
}

#[test]
fn kill_takes_names_in_any_case() {
    contract!(Root).differs("crun", "1.8.1 knows upper case only").run(|t| {
        signal_arrives(t, &["usr1", "sigusr1", "SigUsr1"], 10);
    });
}

#[test]
fn kill_takes_realtime_names() {
    contract!(Root).differs("runc", "knows no SIGRTMIN+n").run(|t| {
        signal_arrives(t, &["SIGRTMIN+3", "RTMIN+3", "37"], 37);
        signal_arrives(t, &["SIGRTMAX-1", "63"], 63);
    });
}

#[test]
fn kill_without_a_signal_sends_term() {
    contract!(Root).run(|t| {
        let (b, out) = trapping(t);
        t.rt(&["kill", &b.id]).ok();
        t.wait_status(&b.id, "stopped");
        assert!(out.stdout_now().contains("signal 15"), "{}", out.stdout_now());
    });
}

#[test]
fn kill_refuses_what_is_no_signal() {
    contract!(Root)
        .differs("crun", "1.8.1 exits 0 for some")
        .differs("runc", "takes a number beyond 64 and exits 0")
        .run(|t| {
            let (b, out) = trapping(t);
            for bogus in ["BOGUS", "SIG", "65", "-1", "1x", "SIGRTMIN+99", "4294967305", ""] {
                t.rt(&["kill", &b.id, bogus]).exits(1).fails_naming(&["signal"]).one_line();
            }
            assert_eq!(t.status(&b.id), "running");
            assert_eq!(out.stdout_now(), "ready\n");
        });
}

#[test]
fn kill_names_the_unknown_signal() {
    contract!(Root).differs("crun", "other words").run(|t| {
        let b = t.running();
        t.rt(&["kill", &b.id, "BOGUS"]).exits(1).fails_with("unknown signal \"BOGUS\"");
    });
}

#[test]
fn kill_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "names its missing status file instead of `does not exist`").run(|t| {
        t.rt(&["kill", "nope", "9"]).exits(1).fails_with("does not exist").one_line();
    });
}

/// containerd and CRI-O read these words to learn that there is nothing left to kill.
#[test]
fn kill_of_a_stopped_container_fails_with_the_known_words() {
    contract!(Root).differs("crun", "1.8.1 exits 0 or words it with a capital letter").run(|t| {
        let b = t.stopped();
        t.rt(&["kill", &b.id, "9"]).exits(1).fails_with("container not running").one_line();
    });
}

#[test]
fn kill_all_of_a_stopped_container_succeeds() {
    contract!(Root).run(|t| {
        let b = t.stopped();
        t.rt(&["kill", "--all", &b.id, "9"]).ok();
        t.rt(&["kill", "-a", &b.id, "KILL"]).ok();
    });
}

/// How many processes the container has.
fn procs(b: &Bundle) -> usize {
    let dirs = leftovers::cgroups(&b.id);
    let dir = dirs.iter().find(|d| d.starts_with("/sys/fs/cgroup/memory") || d.join("cgroup.type").exists());
    dir.map_or(0, |d| std::fs::read_to_string(d.join("cgroup.procs")).unwrap_or_default().lines().count())
}

#[test]
fn kill_all_reaches_every_process() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| without_namespace(c, "pid")).args(&["/guest", "daemon"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(5), || procs(&b) == 2), "{}", procs(&b));
        t.rt(&["kill", "--all", &b.id, "9"]).ok();
        let gone = wait_until(Duration::from_secs(5), || {
            leftovers::reap();
            procs(&b) == 0
        });
        assert!(gone, "{}", procs(&b));
    });
}

/// Each process of a chain ends as soon as it has made the next one: none lives from the list of them to the signal, unless
/// they are stopped meanwhile. Init has pid 1 and takes no notice.
#[test]
fn kill_all_reaches_those_who_fork_away() {
    contract!(Root, Ctrl("freezer")).run(|t| {
        let b = t.bundle();
        b.shell("f() { echo >> /links; f & }; f; while :; do sleep 600; done");
        t.create(&b).ok();
        t.start(&b).ok();
        let links = || std::fs::metadata(b.host("/links")).map_or(0, |found| found.len());
        assert!(wait_until(Duration::from_secs(5), || links() > 10), "{}", links());
        t.rt(&["kill", "--all", &b.id, "TERM"]).ok();
        let before = links();
        rest(200);
        assert_eq!(links(), before, "the chain goes on");
        assert_eq!(t.status(&b.id), "running");
    });
}

#[test]
fn kill_all_leaves_a_paused_container_paused() {
    contract!(Root, Ctrl("freezer")).differs("runc", "thaws it").differs("crun", "thaws it").run(|t| {
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        t.rt(&["kill", "--all", &b.id, "USR1"]).ok();
        assert_eq!(t.status(&b.id), "paused");
        t.rt(&["resume", &b.id]).ok();
    });
}

/// Without a pid namespace KILL must take everything that the container started.
#[test]
fn kill_9_without_pid_namespace_takes_all() {
    contract!(Root).differs("runc", "1.1.5 kills only init").differs("crun", "kills only init").run(|t| {
        let b = t.bundle();
        b.edit(|c| without_namespace(c, "pid")).args(&["/guest", "daemon"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(5), || procs(&b) == 2), "{}", procs(&b));
        t.rt(&["kill", &b.id, "KILL"]).ok();
        assert_eq!(leftovers::processes(), Vec::<String>::new());
    });
}

/// The same with a parent that reaps init at once, as conmon does: it is gone before the signal would be its own turn.
#[test]
fn kill_9_without_pid_namespace_succeeds_when_init_is_reaped() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| without_namespace(c, "pid")).args(&["/guest", "trap"]);
        let running = t.call_run(&b, &[]).spawn();
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("ready")));
        t.rt(&["kill", &b.id, "KILL"]).ok();
        running.wait().exits(137);
    });
}

#[test]
fn kill_of_a_created_container_ends_it() {
    contract!(Root).run(|t| {
        for signal in ["KILL", "9"] {
            let b = t.created();
            t.rt(&["kill", &b.id, signal]).ok();
            t.wait_status(&b.id, "stopped");
        }
    });
}

/// Process 1 of a pid namespace ignores TERM unless it has a handler; callers expect it to work all the same.
#[test]
fn kill_term_ends_a_created_container() {
    contract!(Root).differs("crun", "the kernel drops the signal for a process 1 without handler").run(|t| {
        let b = t.created();
        t.rt(&["kill", &b.id, "TERM"]).ok();
        t.wait_status(&b.id, "stopped");
    });
}

#[test]
fn delete_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "names its missing status file instead of `does not exist`").run(|t| {
        t.rt(&["delete", "nope"]).exits(1).fails_with("does not exist").one_line();
    });
}

#[test]
fn delete_force_of_an_unknown_id_succeeds() {
    contract!(Root).run(|t| {
        let out = t.rt(&["delete", "--force", "nope"]).ok();
        assert_eq!(out.stdout, "");
        t.rt(&["delete", "-f", "nope"]).ok();
    });
}

#[test]
fn delete_of_a_running_container_fails() {
    contract!(Root).differs("crun", "other words").run(|t| {
        let b = t.running();
        let text = format!("cannot delete container {} that is not stopped: running", b.id);
        t.rt(&["delete", &b.id]).exits(1).fails_with(&text).one_line();
        assert_eq!(t.status(&b.id), "running");
    });
}

#[test]
fn delete_of_a_stopped_container_removes_all() {
    contract!(Root).run(|t| {
        let b = t.stopped();
        let out = t.rt(&["delete", &b.id]).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        t.nothing_left(&b.id);
        t.rt(&["delete", &b.id]).exits(1);
    });
}

/// The specification wants an error here; every peer deletes, and engines rely on it.
#[test]
fn delete_of_a_created_container_kills_it() {
    contract!(Root).run(|t| {
        let b = t.created();
        t.rt(&["delete", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn delete_force_of_a_running_container_kills_it() {
    contract!(Root).run(|t| {
        let b = t.running();
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn delete_force_takes_a_process_that_ignores_signals() {
    contract!(Root).run(|t| {
        let (b, _out) = trapping(t);
        t.rt(&["delete", "-f", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn delete_force_without_pid_namespace_takes_all() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| without_namespace(c, "pid")).args(&["/guest", "daemon"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(5), || procs(&b) == 2), "{}", procs(&b));
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn delete_removes_cgroups_that_the_container_made() {
    contract!(Root, Cgroup1).run(|t| {
        let b = t.running();
        for dir in leftovers::cgroups(&b.id) {
            let _ = std::fs::create_dir_all(dir.join("sub/sub"));
        }
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn delete_force_thaws_a_frozen_container() {
    contract!(Root, Ctrl("freezer")).run(|t| {
        let b = t.running();
        crate::harness::cgroup::freeze(&b, true);
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn state_says_paused_when_frozen() {
    contract!(Root, Ctrl("freezer"))
        .wavers("runc", "reads the state for ever while the freezer says FREEZING")
        .run(|t| {
            let b = t.running();
            crate::harness::cgroup::freeze(&b, true);
            assert!(wait_until(Duration::from_secs(5), || t.status(&b.id) == "paused"));
            crate::harness::cgroup::freeze(&b, false);
            assert!(wait_until(Duration::from_secs(5), || t.status(&b.id) == "running"));
        });
}

#[test]
fn start_of_a_frozen_container_fails() {
    contract!(Root, Ctrl("freezer")).differs("crun", "does not look at the freezer").run(|t| {
        let b = t.created();
        crate::harness::cgroup::freeze(&b, true);
        t.start(&b).exits(1).fails_with("cannot start a container in the paused state");
    });
}

/// What a killed create leaves is an id without much in it: delete must clear it away.
#[test]
fn delete_force_of_a_half_made_directory_removes_it() {
    contract!(Root).run(|t| {
        let id = t.id();
        std::fs::create_dir_all(t.root.join(&id)).unwrap();
        t.rt(&["delete", "--force", &id]).ok();
        assert!(!t.has_state(&id));
    });
}

#[test]
fn plain_delete_of_a_half_made_directory_removes_it_too() {
    contract!(Root).differs("crun", "exits 0").run(|t| {
        let id = t.id();
        std::fs::create_dir_all(t.root.join(&id)).unwrap();
        t.rt(&["delete", &id]).exits(1);
        assert!(!t.has_state(&id));
    });
}

#[test]
fn delete_takes_several_ids() {
    contract!(Root).differs("runc", "takes one").differs("crun", "takes one").run(|t| {
        let (a, b) = (t.stopped(), t.stopped());
        t.rt(&["delete", &a.id, &b.id]).ok();
        t.nothing_left(&a.id);
        t.nothing_left(&b.id);
    });
}

/// The record's pid may be another process by now: it is not touched.
#[test]
fn a_reused_pid_is_not_signalled() {
    contract!(Root).run(spare_the_next_owner);
}

pub fn spare_the_next_owner(t: &Test) {
    let b = t.running();
    let pid = t.pid(&b.id);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(wait_until(Duration::from_secs(5), || {
        leftovers::reap();
        leftovers::parent_and_state(pid).is_none()
    }));
    let Some(mut other) = spawn_with_pid(pid) else { return };
    assert_eq!(t.status(&b.id), "stopped");
    t.rt(&["kill", &b.id, "9"]);
    t.rt(&["delete", "--force", &b.id]).ok();
    assert!(other.try_wait().unwrap().is_none(), "an innocent process was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Tries to get a process of that number; the kernel gives the one after ns_last_pid unless someone is faster.
fn spawn_with_pid(pid: i32) -> Option<std::process::Child> {
    for _ in 0..20 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().ok()?;
        if child.id().cast_signed() == pid {
            return Some(child);
        }
        child.kill().ok()?;
        child.wait().ok()?;
    }
    None
}

#[test]
fn kill_and_delete_take_expressions() {
    contract!(Root).differs("runc", "has no --regex").run(|t| {
        let (one, two, other) = (t.running(), t.running(), t.running());
        let pattern = format!("^({}|{})$", one.id, two.id);
        t.rt(&["kill", "--regex", &pattern, "KILL"]).ok();
        t.wait_status(&one.id, "stopped");
        t.wait_status(&two.id, "stopped");
        assert_eq!(t.status(&other.id), "running");
        t.rt(&["delete", "-r", &pattern]).ok();
        assert!(!t.has_state(&one.id) && !t.has_state(&two.id) && t.has_state(&other.id));
        t.rt(&["delete", "--force", "--regex", &format!("^{}$", other.id)]).ok();
        t.nothing_left(&other.id);
    });
}

/// The hook is no process of the container, and may hang for ever.
#[test]
fn delete_force_ends_a_create_whose_hook_hangs() {
    contract!(Root).differs("runc", "create goes on waiting").differs("crun", "create goes on waiting").run(
        |t| {
            let b = t.bundle();
            let mark = t.fresh("mark");
            let script = format!("cat > /dev/null; echo x > {}; exec sleep 50", mark.display());
            b.add("hooks/createRuntime", json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
            let creating = t.call_create(&b, &[]).spawn();
            wait_file(&mark);
            t.rt(&["delete", "--force", &b.id]).ok();
            creating.wait().fails();
            t.nothing_left(&b.id);
        },
    );
}

/// Without cgroups nothing but its identity leads to an init that runs a hook, or waits for one, and keeps the lock.
#[test]
fn delete_force_ends_a_hanging_create_without_cgroups() {
    contract!(Root).ours_only("runc has no such option, crun goes on waiting").run(|t| {
        for (point, killed) in
            [("createContainer", true), ("createContainer", false), ("createRuntime", false)]
        {
            let b = t.bundle();
            let mark = t.fresh("mark");
            let script = format!("cat > /dev/null; echo x > {}; exec sleep 50", mark.display());
            b.add(&format!("hooks/{point}"), json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
            let creating = t.call_create(&b, &[]).globals(&["--cgroup-manager", "disabled"]).spawn();
            wait_file(&mark);
            assert_eq!(t.status(&b.id), "creating");
            let creating = match killed {
                true => {
                    creating.signal(nix::sys::signal::Signal::SIGKILL);
                    creating.wait();
                    None
                }
                false => Some(creating),
            };
            let out = t.rt(&["delete", "--force", &b.id]).ok();
            assert!(out.took < Duration::from_secs(5), "{:?}", out.took);
            if let Some(creating) = creating {
                creating.wait().fails();
            }
            leftovers::reap();
            t.nothing_left(&b.id);
        }
    });
}

/// However many cgroups the payload makes, side by side and one in the other: descriptors do not run out.
#[test]
fn delete_force_copes_with_many_cgroups() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const MANY: usize = 300;
    contract!(Root, Ctrl("pids")).ours_only("crun hangs").run(|t| {
        let b = t.bundle();
        b.edit(|c| without_namespace(c, "pid"));
        t.create(&b).ok();
        t.start(&b).ok();
        let leaf = crate::harness::cgroup::dir(&b, "pids");
        let deepest = leaf.join(vec!["d"; MANY].join("/"));
        std::fs::create_dir_all(&deepest).unwrap();
        (0..MANY).for_each(|n| std::fs::create_dir(leaf.join(format!("w{n}"))).unwrap());
        t.rt(&["exec", "--detach", &b.id, "/bin/sleep", "1000"]).ok();
        let init = t.pid(&b.id);
        for pid in leftovers::children().into_iter().filter(|pid| *pid != init) {
            std::fs::write(deepest.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, MANY as u64 - 50, hard).unwrap();
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

/// Somebody who has come into the cgroup since: a container with the same path is a container of its own.
#[test]
fn delete_of_a_stopped_container_spares_the_next_in_its_cgroup() {
    let case = contract!(Root, Ctrl("pids"));
    let case = case.differs("runc", "exits 0 and leaves the cgroup").differs("crun", "the same");
    case.run(|t| {
        let (a, b) = (t.stopped(), t.bundle());
        b.set("linux/cgroupsPath", json!(format!("/{}", a.id)));
        t.create(&b).ok();
        t.start(&b).ok();
        t.rt(&["delete", &a.id]).fails_naming(&["processes of somebody else", "busy"]);
        assert_eq!(t.status(&b.id), "running");
        t.rt(&["delete", "--force", &b.id]).ok();
        t.rt(&["delete", &a.id]).ok();
        t.nothing_left(&b.id);
        t.nothing_left(&a.id);
    });
}
