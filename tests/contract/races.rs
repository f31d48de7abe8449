//! Commands on one container at the same moment: each works or says that there is nothing to work on, none hangs,
//! nothing is left (contract §3.3).

use crate::contract;
use crate::harness::{Output, Test};
use std::time::Duration;

/// Starts `exec` and, a little later each round, what ends the container.
fn exec_beside(t: &Test, end: impl Fn(&str)) {
    for round in 0..30 {
        let b = t.running();
        let exec = t.call(&["exec", &b.id, "/bin/true"]).spawn();
        std::thread::sleep(Duration::from_micros(round * 500));
        end(&b.id);
        judge(round, &exec.wait());
        t.nothing_left(&b.id);
    }
}

/// It worked, or died with the container (137), or says in one line that it came too late.
fn judge(round: u64, exec: &Output) {
    // The last: others of the cgroup may be killed before its init.
    const LATE: [&str; 3] =
        ["does not exist", "cannot exec in a stopped container", "was killed by signal 9"];
    let late = exec.code == 255 && LATE.iter().any(|words| exec.stderr.contains(words));
    assert!(matches!(exec.code, 0 | 137) || late, "round {round}: {} {}", exec.code, exec.stderr);
    assert!(exec.stderr.lines().count() <= 1, "round {round}: {}", exec.stderr);
}

#[test]
fn exec_and_kill() {
    contract!(Root)
        .wavers("runc", "tells of pipes and files that are gone")
        .wavers("crun", "ends with 1 and other words")
        .seconds(120)
        .run(|t| {
            exec_beside(t, |id| {
                t.rt(&["kill", id, "KILL"]).ok();
                t.wait_status(id, "stopped");
                t.rt(&["delete", id]).ok();
            });
        });
}

#[test]
fn exec_and_delete() {
    contract!(Root)
        .wavers("runc", "tells of pipes and files that are gone")
        .wavers("crun", "ends with 1 and other words")
        .seconds(120)
        .run(|t| {
            exec_beside(t, |id| {
                t.rt(&["delete", "--force", id]).ok();
            });
        });
}

/// Nobody waits for the thaw, and the thawed process does not outlive the container.
#[test]
fn exec_and_pause() {
    contract!(Root, Ctrl("freezer")).wavers("crun", "ends with 1").seconds(120).run(|t| {
        for round in 0..30 {
            let b = t.running();
            let exec = t.call(&["exec", &b.id, "/bin/true"]).spawn();
            std::thread::sleep(Duration::from_micros(round * 500));
            t.rt(&["pause", &b.id]).ok();
            t.rt(&["resume", &b.id]).ok();
            let exec = exec.wait();
            let refused = exec.code == 255 && exec.stderr.contains("paused");
            assert!(exec.code == 0 || refused, "round {round}: {} {}", exec.code, exec.stderr);
            t.rt(&["delete", "--force", &b.id]).ok();
            t.nothing_left(&b.id);
        }
    });
}
