//! update: options, resources from files and stdin, 0, failures (contract §1.2, §2.6, §11.2, §11.6).

use crate::contract;
use crate::harness::Bundle;
use crate::harness::cgroup::{UNLIMITED, read};
use serde_json::{Value, json};

fn limits(b: &Bundle) -> [String; 5] {
    [
        read(b, "memory", "memory.limit_in_bytes"),
        read(b, "memory", "memory.soft_limit_in_bytes"),
        read(b, "cpu", "cpu.shares"),
        read(b, "cpu", "cpu.cfs_quota_us"),
        read(b, "pids", "pids.max"),
    ]
}

fn limited() -> Value {
    json!({
        "memory": { "limit": 64 << 20, "reservation": 32 << 20 },
        "cpu": { "shares": 512, "quota": 50000, "period": 100000 },
        "pids": { "limit": 100 },
        "devices": [{ "allow": false, "access": "rwm" }]
    })
}

fn container(t: &crate::harness::Test) -> Bundle {
    let b = t.bundle();
    b.set("linux/resources", limited());
    t.create(&b).ok();
    t.start(&b).ok();
    b
}

#[test]
fn options_set_limits() {
    contract!(Root, Ctrl("memory"), Ctrl("cpu"), Ctrl("pids")).run(|t| {
        let b = container(t);
        let out =
            t.rt(&["update", "--memory", "134217728", "--cpu-share", "256", "--pids-limit", "7", &b.id]).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        assert_eq!(limits(&b), ["134217728", "33554432", "256", "50000", "7"]);
        t.rt(&["update", "--memory-reservation", "1048576", "--cpu-quota", "20000", &b.id]).ok();
        assert_eq!(limits(&b), ["134217728", "1048576", "256", "20000", "7"]);
        t.rt(&["update", "--cpu-period", "50000", &b.id]).ok();
        assert_eq!(read(&b, "cpu", "cpu.cfs_period_us"), "50000");
        assert_eq!(read(&b, "cpu", "cpu.cfs_quota_us"), "20000", "the quota stays");
    });
}

#[test]
fn sizes_may_have_units() {
    contract!(Root, Ctrl("memory")).differs("crun", "takes numbers only").run(|t| {
        let b = container(t);
        t.rt(&["update", "--memory", "128M", "--memory-reservation", "1.5m", &b.id]).ok();
        assert_eq!(limits(&b)[..2], ["134217728", "1572864"]);
        t.rt(&["update", "--memory", "-1", "--pids-limit", "-1", &b.id]).ok();
        assert_eq!(limits(&b)[0], UNLIMITED);
        assert_eq!(limits(&b)[4], "max");
        t.rt(&["update", "--memory", "12x", &b.id]).exits(1).fails();
    });
}

#[test]
fn cpusets_can_be_changed() {
    contract!(Root, Ctrl("cpuset")).run(|t| {
        let b = container(t);
        t.rt(&["update", "--cpuset-cpus", "0", "--cpuset-mems", "0", &b.id]).ok();
        assert_eq!(read(&b, "cpuset", "cpuset.cpus"), "0");
        t.rt(&["update", "--cpuset-cpus", "4000", &b.id]).exits(1).fails();
        assert_eq!(read(&b, "cpuset", "cpuset.cpus"), "0");
    });
}

#[test]
fn resources_come_from_a_file_or_from_stdin() {
    contract!(Root, Ctrl("memory"), Ctrl("cpu"), Ctrl("pids")).run(|t| {
        let b = container(t);
        let path = t.fresh("resources");
        std::fs::write(&path, json!({ "memory": { "limit": 96 << 20 } }).to_string()).unwrap();
        t.rt(&["update", "-r", path.to_str().unwrap(), &b.id]).ok();
        assert_eq!(limits(&b)[0], "100663296");
        let option = format!("--resources={}", path.display());
        t.rt(&["update", &option, &b.id]).ok();
        let text = json!({ "pids": { "limit": 9 }, "cpu": { "shares": 1024 } }).to_string();
        t.call(&["update", "--resources", "-", &b.id]).stdin_text(&text).ok();
        assert_eq!(limits(&b), ["100663296", "33554432", "1024", "50000", "9"]);
    });
}

/// `update ID --resources FILE`, as some callers write it.
#[test]
fn options_may_follow_the_id() {
    contract!(Root, Ctrl("pids")).differs("crun", "takes the option for a second id").run(|t| {
        let b = container(t);
        t.rt(&["update", &b.id, "--pids-limit", "11"]).ok();
        assert_eq!(limits(&b)[4], "11");
    });
}

/// docker update sends 0 for everything that it leaves alone.
#[test]
fn zero_leaves_a_limit_alone() {
    contract!(Root, Ctrl("memory"), Ctrl("cpu"), Ctrl("pids")).differs("crun", "writes it").run(|t| {
        let b = container(t);
        let before = limits(&b);
        let zeros = json!({
            "memory": { "limit": 0, "reservation": 0, "swap": 0, "kernel": 0 },
            "cpu": { "shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0,
                "cpus": "", "mems": "" },
            "blockIO": { "weight": 0 },
            "pids": { "limit": 0 }
        });
        t.call(&["update", "-r", "-", &b.id]).stdin_text(&zeros.to_string()).ok();
        assert_eq!(limits(&b), before);
        t.rt(&["update", "--memory", "0", "--pids-limit", "0", &b.id]).ok();
        assert_eq!(limits(&b), before);
    });
}

#[test]
fn a_limit_that_fails_leaves_the_old_ones() {
    contract!(Root, Ctrl("memory"), Ctrl("cpu"))
        .differs("crun", "keeps what it wrote before")
        .differs("runc", "1.1.5 cannot set a cpuset back")
        .run(|t| {
            let b = container(t);
            let before = limits(&b);
            let bad = json!({ "memory": { "limit": 128 << 20 }, "cpu": { "shares": 100, "cpus": "4000" } });
            t.call(&["update", "-r", "-", &b.id])
                .stdin_text(&bad.to_string())
                .run()
                .exits(1)
                .fails()
                .one_line();
            assert_eq!(limits(&b), before);
            // Less than what is in use, which v2 takes and kills for.
            if crate::harness::cgroup::is_v2() {
                return;
            }
            t.rt(&["update", "--memory", "4096", &b.id]).exits(1).fails_with("memory");
            assert_eq!(limits(&b), before);
        });
}

#[test]
fn device_rules_are_left_alone() {
    contract!(Root, Ctrl1("devices")).wavers("crun", "writes them").run(|t| {
        let b = container(t);
        let before = read(&b, "devices", "devices.list");
        let text = json!({ "devices": [{ "allow": true, "access": "rwm" }], "pids": { "limit": 12 } });
        t.call(&["update", "-r", "-", &b.id]).stdin_text(&text.to_string()).ok();
        assert_eq!(read(&b, "devices", "devices.list"), before);
    });
}

#[test]
fn updates_need_a_living_container() {
    contract!(Root, Ctrl("pids")).differs("crun", "other words").run(|t| {
        t.rt(&["update", "--pids-limit", "3", "no-such"]).exits(1).fails_with("does not exist").one_line();
        let b = t.stopped();
        t.rt(&["update", "--pids-limit", "3", &b.id]).exits(1).fails_with("container not running");
        for (b, paused) in [(t.created(), false), (t.running(), true)] {
            if paused {
                t.rt(&["pause", &b.id]).ok();
            }
            t.rt(&["update", "--pids-limit", "3", &b.id]).ok();
            assert_eq!(read(&b, "pids", "pids.max"), "3");
        }
    });
}

#[test]
fn faulty_resources_are_refused() {
    contract!(Root).differs("crun", "takes an empty document").run(|t| {
        let b = t.running();
        for bad in ["", "{", "[]", "nonsense", r#"{"memory":{"limit":"x"}}"#, r#"{"cpu":5}"#] {
            t.call(&["update", "-r", "-", &b.id]).stdin_text(bad).run().exits(1).fails();
        }
        t.rt(&["update", "-r", "/no/such/file", &b.id]).exits(1).fails();
    });
}

#[test]
fn kernel_memory_is_accepted_and_ignored() {
    contract!(Root, Ctrl("memory")).wavers("crun", "writes it").run(|t| {
        let b = container(t);
        t.rt(&["update", "--kernel-memory", "52428800", "--memory", "134217728", &b.id]).ok();
        assert_eq!(limits(&b)[0], "134217728");
    });
}
