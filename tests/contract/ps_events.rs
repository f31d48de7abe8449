//! ps and events (contract §1.2, §1.5).

use crate::contract;
use crate::harness::test::{slow, wait_until};
use crate::harness::{Bundle, leftovers, of};
use serde_json::{Value, json};
use std::time::Duration;

fn pids(t: &crate::harness::Test, b: &Bundle) -> Vec<i64> {
    let out = t.rt(&["ps", "--format", "json", &b.id]).ok();
    assert_eq!(out.stdout.lines().count(), 1, "{}", out.stdout);
    let list: Value = serde_json::from_str(&out.stdout).expect("JSON");
    list.as_array().expect("an array").iter().filter_map(Value::as_i64).collect()
}

#[test]
fn ps_json_is_one_line_of_pids() {
    contract!(Root).differs("crun", "a line per pid").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "daemon"]);
        t.create(&b).ok();
        assert_eq!(pids(t, &b), [i64::from(t.pid(&b.id))]);
        t.start(&b).ok();
        let two = || pids(t, &b).len() == 2;
        assert!(wait_until(Duration::from_secs(5), two));
        assert!(pids(t, &b).contains(&i64::from(t.pid(&b.id))));
    });
}

#[test]
fn ps_of_a_stopped_container_is_empty() {
    contract!(Root).differs("runc", "prints null").differs("crun", "1.8.1 crashes").run(|t| {
        let b = t.stopped();
        assert_eq!(t.rt(&["ps", "-f", "json", &b.id]).ok().stdout, "[]\n");
        assert_eq!(t.rt(&["ps", &b.id]).ok().stdout.lines().count(), 1, "the header");
    });
}

#[test]
fn ps_shows_the_rows_of_the_hosts_ps() {
    contract!(Root, Tool("ps")).differs("crun", "numbers only").run(|t| {
        let b = t.running();
        let command = format!("/proc/{}/cmdline", t.pid(&b.id));
        let begun = || std::fs::read(&command).is_ok_and(|words| words.starts_with(b"/guest"));
        assert!(wait_until(Duration::from_secs(10), begun));
        let out = t.rt(&["ps", &b.id]).ok();
        let lines: Vec<_> = out.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{}", out.stdout);
        assert!(lines[0].contains("PID") && lines[0].contains("CMD"));
        assert!(lines[1].contains("/guest pause"), "{}", lines[1]);
        // What follows the id is for ps.
        let out = t.rt(&["ps", &b.id, "-e", "-o", "pid,comm"]).ok();
        let rows: Vec<_> =
            out.stdout.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows, ["PID COMMAND".to_owned(), format!("{} guest", t.pid(&b.id))]);
        t.rt(&["ps", &b.id, "-e", "-o", "comm"]).exits(1).fails_with("PID");
    });
}

#[test]
fn ps_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "other words").run(|t| {
        t.rt(&["ps", "no-such"]).exits(1).fails_with("does not exist").one_line();
        t.rt(&["ps", "-f", "xml", "no-such"]).exits(1).fails();
        assert_eq!(leftovers::children(), [0i32; 0]);
    });
}

fn stats(t: &crate::harness::Test, b: &Bundle) -> Value {
    let out = t.rt(&["events", "--stats", &b.id]).ok();
    assert_eq!(out.stdout.lines().count(), 1, "{}", out.stdout);
    serde_json::from_str(&out.stdout).expect("JSON")
}

#[test]
fn stats_are_one_object_with_the_containers_numbers() {
    contract!(Root, Ctrl("memory"), Ctrl("pids"), Ctrl("cpuacct")).differs("crun", "has no events").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 64 << 20 }));
        b.set("linux/resources/pids", json!({ "limit": 33 }));
        b.shell("dd if=/dev/urandom of=/dev/null bs=1024 count=20000; echo x > /done; while true; do sleep 1; done");
        t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(10), || b.host("/done").exists()));
        let event = stats(t, &b);
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(b.id)));
        let data = &event["data"];
        assert_eq!(of(data, "memory/usage/limit"), 64 << 20);
        assert!(of(data, "memory/usage/usage").as_u64().unwrap() > 0);
        assert!(of(data, "memory/usage/max").as_u64().unwrap() >= of(data, "memory/usage/usage").as_u64().unwrap());
        let v2 = crate::harness::cgroup::is_v2();
        assert!(of(data, "memory/raw").as_object().unwrap().contains_key(if v2 { "file" } else { "cache" }));
        assert_eq!(of(data, "pids/limit"), 33);
        assert!((1..=2).contains(&of(data, "pids/current").as_u64().unwrap()));
        let cpu = of(data, "cpu/usage");
        assert!(cpu["total"].as_u64().unwrap() > 1_000_000, "{cpu}");
        assert!(v2 || !cpu["percpu"].as_array().unwrap().is_empty(), "{cpu}");
        for name in ["kernel", "user"] {
            assert!(cpu[name].is_u64(), "{cpu}");
        }
        assert!(!of(data, "cpuset/cpus").as_array().unwrap().is_empty());
        assert!(of(data, "cpuset/mems").is_array() && of(data, "cpuset/sched_load_balance").is_u64());
        assert!(data["blkio"].is_object() && data["hugetlb"].is_object() && data["cpu"]["throttling"].is_object());
        for kind in ["swap", "kernel", "kernelTCP"] {
            assert!(data["memory"][kind].is_object(), "{kind}");
        }
    });
}

/// Files of this host that the peers read too: what they print must be ours.
#[test]
fn hugepages_and_throttling_are_read() {
    contract!(Root, Ctrl("cpu")).differs("crun", "has no events").wavers("runc", "1.1.5 asks v1 only").run(
        |t| {
            let b = t.bundle();
            b.set("linux/resources/cpu", json!({ "quota": 1000, "period": 10000 }));
            b.shell("while true; do :; done");
            t.create(&b).ok();
            t.start(&b).ok();
            let throttled =
                || of(&stats(t, &b), "data/cpu/throttling/throttledPeriods").as_u64().unwrap() > 0;
            assert!(wait_until(Duration::from_secs(10), throttled));
            for size in std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
                if size.file_name() == "hugepages-2048kB" {
                    assert_eq!(of(&stats(t, &b), "data/hugetlb/2MB/usage"), 0);
                }
            }
        },
    );
}

#[test]
fn events_come_at_intervals_until_the_container_is_gone() {
    contract!(Root).differs("crun", "has no events").run(|t| {
        let b = t.running();
        let following = t.call(&["events", "--interval", "100ms", &b.id]).spawn();
        assert!(wait_until(Duration::from_secs(10), || following.stdout().lines().count() >= 3));
        t.rt(&["delete", "--force", &b.id]).ok();
        let out = following.wait();
        for line in out.stdout.lines() {
            let event: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["type"], "stats");
        }
    });
}

/// Whether `events` has found its container alive and waits: it sleeps, and has what rings for memory, or init's pidfd.
fn listens(pid: i32) -> bool {
    let rings = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        ["eventfd", "inotify", "pidfd"].iter().any(|kind| target.to_string_lossy().contains(kind))
    };
    leftovers::parent_and_state(pid).is_some_and(|(_, state)| state == 'S')
        && std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| fds.flatten().any(rings))
}

#[test]
fn events_end_well_when_the_container_does() {
    contract!(Root).differs("crun", "has no events").differs("runc", "goes on until delete").run(|t| {
        let b = t.running();
        let following = t.call(&["events", "--interval", "1h", &b.id]).spawn();
        assert!(wait_until(Duration::from_secs(5), || listens(following.pid())));
        t.rt(&["kill", &b.id, "KILL"]).ok();
        following.wait_for(slow(30)).ok();
        t.rt(&["delete", &b.id]).ok();
    });
}

#[test]
fn running_out_of_memory_is_an_event() {
    contract!(Root, Ctrl("memory")).differs("crun", "has no events").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 16 << 20, "swap": 16 << 20 }));
        t.create(&b).ok();
        t.start(&b).ok();
        let following = t.call(&["events", "--interval", "1h", &b.id]).spawn();
        let dd = ["exec", &b.id, "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
        let told = || following.stdout().contains("\"oom\"");
        // What comes before the watch is set is not told of.
        let again = || {
            assert_ne!(t.rt(&dd).code, 0);
            wait_until(Duration::from_secs(1), told)
        };
        assert!(wait_until(Duration::from_secs(15), again));
        let text = following.stdout();
        let event: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&event["type"], &event["id"]), (&json!("oom"), &json!(b.id)));
        t.rt(&["delete", "--force", &b.id]).ok();
        following.wait_for(slow(40));
    });
}

#[test]
fn events_need_a_living_container_and_a_duration() {
    contract!(Root).differs("crun", "has no events").run(|t| {
        t.rt(&["events", "--stats", "no-such"]).exits(1).fails_with("does not exist");
        let b = t.stopped();
        t.rt(&["events", "--stats", &b.id]).exits(1).fails_with("not running");
        let b = t.running();
        for bad in ["0", "0s", "5", "x", "-1s"] {
            let option = format!("--interval={bad}");
            t.rt(&["events", &option, &b.id]).exits(1).fails();
        }
    });
}
