//! pause and resume, and what other commands do to a paused container (contract §3.2, §4.5).

use crate::contract;
use crate::harness::test::{rest, slow, wait_until};
use crate::harness::{Test, config};
use std::time::Duration;

/// A running container that counts up in a file.
fn counting(t: &Test) -> crate::harness::Bundle {
    let b = t.bundle();
    b.shell("n=0; while true; do n=$((n+1)); echo $n > /count; sleep 0.01; done");
    t.create(&b).ok();
    t.start(&b).ok();
    assert!(wait_until(Duration::from_secs(5), || b.host("/count").exists()));
    b
}

fn count(b: &crate::harness::Bundle) -> String {
    std::fs::read_to_string(b.host("/count")).unwrap_or_default()
}

#[test]
fn paused_processes_stand_still_and_go_on() {
    contract!(Root, Ctrl("freezer")).run(|t| {
        let b = counting(t);
        let out = t.rt(&["pause", &b.id]).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        assert_eq!(t.status(&b.id), "paused");
        let before = count(&b);
        rest(300);
        assert_eq!(count(&b), before);
        t.rt(&["resume", &b.id]).ok();
        assert_eq!(t.status(&b.id), "running");
        assert!(wait_until(Duration::from_secs(5), || count(&b) != before));
    });
}

#[test]
fn only_what_runs_can_be_paused() {
    contract!(Root, Ctrl("freezer")).differs("crun", "other words; pauses twice").run(|t| {
        t.rt(&["pause", "no-such"]).exits(1).fails_with("does not exist").one_line();
        let b = t.stopped();
        t.rt(&["pause", &b.id]).exits(1).fails_with("container not running").one_line();
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        t.rt(&["pause", &b.id]).exits(1).fails_with("container not running");
        assert_eq!(t.status(&b.id), "paused");
    });
}

#[test]
fn only_what_is_paused_can_be_resumed() {
    contract!(Root, Ctrl("freezer")).differs("crun", "resumes whatever runs").run(|t| {
        t.rt(&["resume", "no-such"]).exits(1).fails_with("does not exist").one_line();
        for b in [t.running(), t.created(), t.stopped()] {
            t.rt(&["resume", &b.id]).exits(1).fails_with("container not paused").one_line();
        }
    });
}

#[test]
fn a_created_container_can_be_paused() {
    contract!(Root, Ctrl("freezer")).differs("crun", "calls it created all the same").run(|t| {
        let b = t.created();
        t.rt(&["pause", &b.id]).ok();
        assert_eq!(t.status(&b.id), "paused");
        t.rt(&["resume", &b.id]).ok();
        assert_eq!(t.status(&b.id), "created");
        t.start(&b).ok();
    });
}

#[test]
fn exec_into_a_paused_container_fails_at_once() {
    contract!(Root, Ctrl("freezer")).differs("crun", "other words").run(|t| {
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        let out = t.rt(&["exec", &b.id, "/bin/true"]).exits(255);
        out.fails_with("cannot exec in a paused container (use --ignore-paused to override)").one_line();
    });
}

/// It waits in the frozen cgroup, and what else is done to the container does not wait for it.
#[test]
fn exec_that_ignores_the_pause_waits_for_the_resume() {
    contract!(Root, Ctrl("freezer")).differs("crun", "has no --ignore-paused").run(|t| {
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        let mut waiting = t.call(&["exec", "--ignore-paused", &b.id, "/bin/echo", "woken"]).spawn();
        rest(300);
        assert!(!waiting.has_ended());
        assert_eq!(t.status(&b.id), "paused");
        t.rt(&["resume", &b.id]).ok();
        assert_eq!(waiting.wait().ok().stdout, "woken\n");
    });
}

/// Whether SIGTERM does not simply end the process: it is blocked, or has a handler.
fn takes_care_of_term(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let masks =
        status.lines().filter_map(|line| line.strip_prefix("SigBlk:").or(line.strip_prefix("SigCgt:")));
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & 0x4000 != 0)
}

/// A signal that comes while it waits is the program's.
#[test]
fn signals_do_not_end_an_exec_that_waits_for_the_resume() {
    contract!(Root, Ctrl("freezer")).differs("crun", "has no --ignore-paused").run(|t| {
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        let mut waiting = t.call(&["exec", "--ignore-paused", &b.id, "/guest", "trap"]).spawn();
        rest(300);
        assert!(wait_until(Duration::from_secs(5), || takes_care_of_term(waiting.pid())));
        waiting.signal(nix::sys::signal::Signal::SIGWINCH);
        waiting.signal(nix::sys::signal::Signal::SIGTERM);
        rest(200);
        assert!(!waiting.has_ended());
        t.rt(&["resume", &b.id]).ok();
        // Before the program has its handler the signal may end it, as any.
        let out = waiting.wait();
        assert!([55, 143].contains(&out.code), "{} {}", out.code, out.stderr);
    });
}

#[test]
fn an_exec_that_waits_does_not_keep_the_container() {
    contract!(Root, Ctrl("freezer"))
        .ours_only("--ignore-paused, and a runtime that dies by signals meanwhile")
        .run(|t| {
            let b = t.running();
            t.rt(&["pause", &b.id]).ok();
            let waiting = t.call(&["exec", "--ignore-paused", &b.id, "/bin/echo", "woken"]).spawn();
            rest(300);
            let out = t.rt(&["delete", "--force", &b.id]).ok();
            assert!(out.took < slow(5), "{:?}", out.took);
            waiting.wait().exits(255);
            t.nothing_left(&b.id);
        });
}

#[test]
fn start_of_a_paused_container_fails() {
    contract!(Root, Ctrl("freezer")).differs("crun", "other words").run(|t| {
        let b = t.created();
        t.rt(&["pause", &b.id]).ok();
        t.start(&b).exits(1).fails_with("cannot start a container in the paused state").one_line();
    });
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    contract!(Root, Ctrl("freezer")).differs("crun", "1.8.1 leaves the killed one frozen").run(|t| {
        let b = t.running();
        t.rt(&["pause", &b.id]).ok();
        t.rt(&["kill", &b.id, "KILL"]).ok();
        t.wait_status(&b.id, "stopped");
        t.rt(&["delete", &b.id]).ok();
        for own_pids in [true, false] {
            let b = t.bundle();
            if !own_pids {
                b.edit(|c| config::without_namespace(c, "pid"));
            }
            t.create(&b).ok();
            t.start(&b).ok();
            t.rt(&["pause", &b.id]).ok();
            t.rt(&["delete", "--force", &b.id]).ok();
            t.nothing_left(&b.id);
        }
    });
}

#[test]
fn pausing_reaches_every_process() {
    contract!(Root, Ctrl("freezer")).run(|t| {
        let b = counting(t);
        let exec = t
            .call(&["exec", &b.id, "/bin/sh", "-c", "echo > /here; while ! test -e /go; do sleep 0.01; done"])
            .spawn();
        assert!(wait_until(Duration::from_secs(5), || b.host("/here").exists()));
        t.rt(&["pause", &b.id]).ok();
        std::fs::write(b.host("/go"), "").unwrap();
        rest(200);
        let mut exec = exec;
        assert!(!exec.has_ended());
        t.rt(&["resume", &b.id]).ok();
        exec.wait().ok();
    });
}
