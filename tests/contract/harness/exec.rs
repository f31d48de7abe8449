//! What tests of exec have in common: its command line, process files, and an end for detached processes.

use super::test::{parse_report, wait_until};
use super::{Bundle, Test, leftovers};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// `exec OPTIONS ID COMMAND`.
pub fn words<'a>(b: &'a Bundle, options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["exec"], options, &[b.id.as_str()], command].concat()
}

pub fn report(t: &Test, b: &Bundle, options: &[&str], probes: &[&str]) -> Value {
    let out = t.rt(&words(b, options, &[&["/guest", "report"], probes].concat())).ok();
    parse_report(&out.stdout)
}

/// A process file that says no more than it must.
pub fn process_file(t: &Test, process: Value) -> String {
    let mut all = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"] });
    for (key, value) in process.as_object().unwrap() {
        all[key] = value.clone();
    }
    let path = t.fresh("process");
    std::fs::write(&path, all.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn report_of_file(t: &Test, b: &Bundle, process: Value) -> Value {
    let mut process = process;
    if process["args"].is_null() {
        process["args"] = json!(["/guest", "report"]);
    }
    let file = process_file(t, process);
    parse_report(&t.rt(&["exec", "--process", &file, &b.id]).ok().stdout)
}

/// Ends and reaps detached processes: init cannot die before its namespace is empty, and they are our children.
pub fn end(t: &Test, b: &Bundle) {
    let init = t.pid(&b.id);
    let gone = wait_until(Duration::from_secs(5), || {
        for pid in leftovers::children().into_iter().filter(|pid| *pid != init) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        leftovers::reap();
        leftovers::children().len() <= 1
    });
    assert!(gone, "{:?}", leftovers::children());
}

pub fn links(pid: i32) -> Vec<(String, PathBuf)> {
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
        .iter()
        .map(|n| (n.to_string(), std::fs::read_link(format!("/proc/{pid}/ns/{n}")).unwrap_or_default()))
        .collect()
}
