//! create, start and the state machine (contract §3): what each command does to a container in each state.

use crate::contract;
use crate::harness::test::{slow, wait_file, wait_until};
use crate::harness::{Test, leftovers, of};
use serde_json::json;
use std::time::Duration;

#[test]
fn create_leaves_the_container_created_and_waiting() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("echo ran > /mark");
        let out = t.create(&b).ok();
        assert_eq!(out.stdout, "");
        assert_eq!(t.status(&b.id), "created");
        assert!(!b.host("/mark").exists(), "the program ran before start");
        let pid = t.pid(&b.id);
        assert!(leftovers::parent_and_state(pid).is_some_and(|(_, state)| state != 'Z'));
    });
}

#[test]
fn init_becomes_a_child_of_the_callers_subreaper() {
    contract!(Root).run(|t| {
        let b = t.created();
        let (parent, _) = leftovers::parent_and_state(t.pid(&b.id)).expect("init lives");
        assert_eq!(parent, std::process::id() as i32);
        assert_eq!(leftovers::children(), [t.pid(&b.id)], "create leaves exactly one process");
    });
}

#[test]
fn start_runs_the_program() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("echo ran > /mark; exec sleep 1000");
        t.create(&b).ok();
        let out = t.start(&b).ok();
        assert_eq!(out.stdout, "");
        assert_eq!(out.stderr, "");
        assert_eq!(wait_file(&b.host("/mark")), "ran\n");
        assert_eq!(t.status(&b.id), "running");
    });
}

#[test]
fn detached_program_inherits_the_stdio_of_create() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("echo to-out; echo to-err >&2");
        let out = t.create(&b).ok();
        t.start(&b).ok();
        t.wait_status(&b.id, "stopped");
        assert_eq!(out.stdout_now(), "to-out\n");
    });
}

#[test]
fn the_pid_stays_the_same_from_created_to_running() {
    contract!(Root).run(|t| {
        let b = t.created();
        let before = t.pid(&b.id);
        t.start(&b).ok();
        assert_eq!(t.pid(&b.id), before);
    });
}

#[test]
fn start_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "names its missing status file instead of `does not exist`").run(|t| {
        t.rt(&["start", "no-such"]).fails_with("does not exist").exits(1).one_line();
    });
}

#[test]
fn start_of_a_running_container_fails() {
    contract!(Root).differs("crun", "says that the start fifo cannot be opened").run(|t| {
        let b = t.running();
        t.start(&b).fails_with("cannot start an already running container").exits(1).one_line();
        assert_eq!(t.status(&b.id), "running");
    });
}

#[test]
fn start_of_a_stopped_container_fails() {
    contract!(Root).differs("crun", "other words").run(|t| {
        let b = t.stopped();
        t.start(&b).fails_with("cannot start a container that has stopped").exits(1);
    });
}

#[test]
fn start_after_init_was_killed_from_outside_fails_at_once() {
    contract!(Root).run(|t| {
        let b = t.created();
        let pid = nix::unistd::Pid::from_raw(t.pid(&b.id));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        t.wait_status(&b.id, "stopped");
        let out = t.start(&b).fails();
        assert!(out.took < slow(2), "{:?}", out.took);
    });
}

#[test]
fn of_two_concurrent_starts_exactly_one_wins() {
    contract!(Root).wavers("runc", "the start that loses the race waits for ever on the FIFO").run(|t| {
        for _ in 0..10 {
            let b = t.created();
            let (one, two) = (t.call(&["start", &b.id]).spawn(), t.call(&["start", &b.id]).spawn());
            let codes = [one.wait().code, two.wait().code];
            assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
            assert_eq!(t.status(&b.id), "running");
            t.rt(&["delete", "--force", &b.id]).ok();
        }
    });
}

#[test]
fn create_with_a_used_id_fails_and_leaves_the_first_alone() {
    contract!(Root).differs("crun", "says `already exists` in other words").run(|t| {
        let b = t.running();
        let pid = t.pid(&b.id);
        let out = t.create(&b).fails_with("container with given ID already exists").exits(1);
        out.one_line();
        assert_eq!((t.status(&b.id), t.pid(&b.id)), ("running".into(), pid));
    });
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    contract!(Root).run(|t| {
        let b = t.stopped();
        t.rt(&["delete", &b.id]).ok();
        assert_eq!(t.status(&b.id), "none");
        t.create(&b).ok();
        assert_eq!(t.status(&b.id), "created");
    });
}

#[test]
fn a_zombie_counts_as_stopped() {
    contract!(Root).run(|t| {
        let b = t.running();
        let pid = t.pid(&b.id);
        t.rt(&["kill", &b.id, "KILL"]).ok();
        let zombie = || leftovers::parent_and_state(pid).is_some_and(|(_, state)| state == 'Z');
        assert!(wait_until(Duration::from_secs(5), zombie));
        assert_eq!(t.status(&b.id), "stopped");
        leftovers::reap();
        assert_eq!(t.status(&b.id), "stopped");
    });
}

#[test]
fn config_changes_after_create_have_no_effect() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("echo first");
        let out = t.create(&b).ok();
        b.shell("echo second").write();
        t.start(&b).ok();
        t.wait_status(&b.id, "stopped");
        assert_eq!(out.stdout_now(), "first\n");
    });
}

#[test]
fn bundle_defaults_to_the_working_directory() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.write();
        t.call(&["create", &b.id]).cwd(&b.dir).ok();
        assert_eq!(t.state(&b.id)["bundle"], json!(b.dir));
    });
}

#[test]
fn a_relative_bundle_is_made_absolute() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.write();
        let name = b.dir.file_name().unwrap().to_str().unwrap();
        t.call(&["create", "--bundle", name, &b.id]).cwd(&t.dir).ok();
        assert_eq!(t.state(&b.id)["bundle"], json!(b.dir));
    });
}

#[test]
fn a_missing_bundle_fails() {
    contract!(Root).run(|t| {
        let id = t.id();
        t.rt(&["create", "--bundle", "/no/such/bundle", &id])
            .fails_naming(&["no such file"])
            .exits(1)
            .one_line();
        t.nothing_left(&id);
    });
}

#[test]
fn a_missing_config_fails_with_its_name() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let out = t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &b.id]);
        out.fails_with("config.json").exits(1).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn state_of_a_created_container_has_all_fields() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("annotations", json!({ "a.b/c": "d", "empty": "" }));
        t.create(&b).ok();
        let state = t.state(&b.id);
        assert_eq!(state["id"], json!(b.id));
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], json!(b.dir));
        assert!(state["pid"].as_i64().unwrap() > 1);
        assert_eq!(state["annotations"], json!({ "a.b/c": "d", "empty": "" }));
        assert!(of(&state, "ociVersion").as_str().unwrap().starts_with("1."));
        let created = of(&state, "created").as_str().unwrap();
        assert!(created.contains('T') && created.ends_with('Z'), "{created}");
    });
}

#[test]
fn the_pid_of_a_stopped_container_is_zero_or_absent() {
    contract!(Root).run(|t| {
        let b = t.stopped();
        let state = t.state(&b.id);
        assert_eq!(state["status"], "stopped");
        assert_eq!(state["pid"].as_i64().unwrap_or(0), 0);
    });
}

/// A failing create must undo everything: here the very last step, finding the program, fails.
#[test]
fn create_that_fails_late_leaves_nothing() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/no/such/program"]);
        t.create(&b).fails_naming(&["no such file or directory"]).exits(1).one_line();
        t.nothing_left(&b.id);
    });
}

/// The caller may die (containerd's PDEATHSIG) as soon as create has ended: nothing of the runtime stays.
#[test]
fn nothing_of_the_runtime_stays_after_start() {
    contract!(Root).run(|t: &Test| {
        let b = t.running();
        assert_eq!(leftovers::children(), [t.pid(&b.id)]);
    });
}
