//! process.*: user, capabilities, limits, environment, working directory, program lookup (contract §2.1, §1.6).

use crate::contract;
use crate::harness::{has_cap, of};
use serde_json::{Value, json};

const NET_RAW: u32 = 13;

#[test]
fn user_and_group_are_set() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1001 }));
        let r = t.report(&b, &[]);
        assert_eq!(r["uid"], json!([1000, 1000, 1000]));
        assert_eq!(r["gid"], json!([1001, 1001, 1001]));
        assert_eq!(r["groups"], json!([]));
    });
}

#[test]
fn additional_groups_are_exactly_the_listed_ones() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, 65000] }));
        assert_eq!(t.report(&b, &[])["groups"], json!([5, 65000]));
        b.set("process/user", json!({ "uid": 0, "gid": 0 }));
        assert_eq!(t.report(&b, &[])["groups"], json!([]));
    });
}

/// The specification leaves an absent umask to the caller; every peer sets 0022, and so do we.
#[test]
fn the_umask_is_0022_whatever_the_callers_is() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]);
        let out = t.call_run(&b, &[]).umask(0o077).ok();
        assert_eq!(crate::harness::test::parse_report(&out.stdout)["umask"], 0o022);
    });
}

#[test]
fn a_given_umask_is_set() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user/umask", json!(0o27));
        assert_eq!(t.report(&b, &[])["umask"], 0o27);
    });
}

/// Files that the runtime makes do not depend on the caller's umask.
#[test]
fn mount_points_do_not_take_the_callers_umask() {
    contract!(Root).differs("runc", "makes them under it").differs("crun", "makes them under it").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/new/point", "type": "tmpfs", "source": "tmpfs" }));
        b.args(&["/bin/true"]);
        t.call_run(&b, &[]).umask(0o077).ok();
        let mode = std::os::unix::fs::PermissionsExt::mode(&b.host("/new").metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o755, "{mode:o}");
    });
}

#[test]
fn capabilities_are_the_listed_ones() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let caps = json!(["CAP_NET_RAW", "CAP_CHOWN"]);
        b.set("process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
        let r = t.report(&b, &[]);
        for set in ["CapBnd", "CapEff", "CapPrm"] {
            assert_eq!(of(&r, &format!("status/{set}")), "0000000000002001", "{set}");
        }
        assert_eq!(of(&r, "status/CapInh"), "0000000000000000");
        assert_eq!(of(&r, "status/CapAmb"), "0000000000000000");
    });
}

#[test]
fn ambient_capabilities_reach_another_user() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let caps = json!(["CAP_NET_RAW"]);
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        b.set(
            "process/capabilities",
            json!({ "bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": caps }),
        );
        let r = t.report(&b, &[]);
        for set in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert!(has_cap(&r, set, NET_RAW), "{set}");
        }
    });
}

/// As buildah 1.28 writes it for every RUN of a build, whose stderr is the user's.
#[test]
fn ambient_without_inheritable_capabilities_goes_unmentioned() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let caps = json!(["CAP_CHOWN"]);
        b.set(
            "process/capabilities",
            json!({ "bounding": caps, "effective": caps, "permitted": caps, "inheritable": [], "ambient": caps }),
        );
        b.args(&["/bin/echo", "ok"]);
        let out = t.run(&b).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("ok\n", ""));
    });
}

#[test]
fn another_user_has_no_effective_capabilities() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        let r = t.report(&b, &[]);
        assert_eq!(of(&r, "status/CapEff"), "0000000000000000");
        assert!(has_cap(&r, "CapBnd", NET_RAW));
    });
}

#[test]
fn empty_capability_sets_drop_everything() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/capabilities", json!({ "bounding": [], "effective": [], "permitted": [] }));
        let r = t.report(&b, &[]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(of(&r, &format!("status/{set}")), "0000000000000000", "{set}");
        }
    });
}

#[test]
fn absent_capabilities_drop_everything() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.remove("process/capabilities");
        let r = t.report(&b, &[]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(of(&r, &format!("status/{set}")), "0000000000000000", "{set}");
        }
    });
}

/// Unknown names are for a newer kernel: warn and go on, never fail.
#[test]
fn an_unknown_capability_is_only_a_warning() {
    contract!(Root).differs("crun", "1.8.1 says nothing").run(|t| {
        let b = t.bundle();
        let caps = json!(["CAP_CHOWN", "CAP_FROM_THE_FUTURE"]);
        b.set("process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
        b.args(&["/bin/echo", "ok"]);
        let out = t.run(&b).ok();
        assert_eq!(out.stdout, "ok\n");
        assert!(out.stderr.contains("CAP_FROM_THE_FUTURE"), "{}", out.stderr);
    });
}

#[test]
fn no_new_privileges_is_set_or_not() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        assert_eq!(of(&t.report(&b, &[]), "status/NoNewPrivs"), "1");
        b.set("process/noNewPrivileges", json!(false));
        assert_eq!(of(&t.report(&b, &[]), "status/NoNewPrivs"), "0");
        b.remove("process/noNewPrivileges");
        assert_eq!(of(&t.report(&b, &[]), "status/NoNewPrivs"), "0");
    });
}

#[test]
fn rlimits_are_set_and_others_left_alone() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set(
            "process/rlimits",
            json!([
                { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
                { "type": "RLIMIT_CORE", "soft": 0, "hard": 1000 },
                { "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 1_000_000 },
                { "type": "RLIMIT_NPROC", "soft": 500, "hard": 500 }
            ]),
        );
        let r = t.report(&b, &[]);
        assert_eq!(of(&r, "rlimits/7"), &json!([100, 200]));
        assert_eq!(of(&r, "rlimits/4"), &json!([0, 1000]));
        assert_eq!(of(&r, "rlimits/1"), &json!([1_000_000, 1_000_000]));
        assert_eq!(of(&r, "rlimits/6"), &json!([500, 500]));
        let mut own = [0u64; 2];
        // SAFETY: the buffer is as large as struct rlimit.
        unsafe { libc::getrlimit(libc::RLIMIT_STACK, own.as_mut_ptr().cast()) };
        assert_eq!(of(&r, "rlimits/3"), &json!(own));
    });
}

#[test]
fn every_rlimit_name_is_known() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let names = [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ];
        let mut wanted = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let mut own = [0u64; 2];
            // SAFETY: the buffer is as large as struct rlimit.
            unsafe { libc::getrlimit(n as _, own.as_mut_ptr().cast()) };
            let soft =
                if matches!(*name, "CPU" | "DATA" | "AS" | "RTTIME" | "STACK") { own[0] } else { own[1] / 2 };
            wanted.push(json!([soft, own[1]]));
            b.add(
                "process/rlimits",
                json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": own[1] }),
            );
        }
        let r = t.report(&b, &[]);
        assert_eq!(r["rlimits"], Value::from(wanted));
    });
}

/// The runtime itself must not run under the program's limits.
#[test]
fn a_tiny_nofile_limit_does_not_break_the_start() {
    contract!(Root)
        .differs("crun", "limits itself and dies")
        .differs("runc", "fails to close descriptors under it")
        .run(|t| {
            let b = t.bundle();
            b.add("process/rlimits", json!({ "type": "RLIMIT_NOFILE", "soft": 4, "hard": 4 }));
            b.args(&["/bin/echo", "ok"]);
            assert_eq!(t.run(&b).ok().stdout, "ok\n");
        });
}

#[test]
fn a_hard_limit_beyond_ours_needs_the_capability() {
    contract!(Root).run(|t| {
        if crate::harness::needs::effective(24) {
            return;
        }
        let b = t.bundle();
        b.add("process/rlimits", json!({ "type": "RLIMIT_NOFILE", "soft": 4, "hard": 1_000_000_000 }));
        b.args(&["/bin/true"]);
        t.run(&b).exits(1).fails_naming(&["rlimit", "nofile"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn oom_score_adj_is_set_or_inherited() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        assert_eq!(t.report(&b, &[])["oom_score_adj"], json!(own));
        b.set("process/oomScoreAdj", json!(500));
        assert_eq!(t.report(&b, &[])["oom_score_adj"], "500\n");
    });
}

#[test]
fn the_io_priority_is_set() {
    contract!(Root).differs("runc", "1.1.5 does not know it").differs("crun", "1.8.1 does not know it").run(
        |t| {
            let b = t.bundle();
            b.set("process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }));
            assert_eq!(of(&t.report(&b, &[]), "sched/ioprio"), 3 << 13);
            b.set("process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }));
            assert_eq!(of(&t.report(&b, &[]), "sched/ioprio"), (2 << 13) | 6);
        },
    );
}

#[test]
fn the_scheduler_is_set() {
    contract!(Root).differs("runc", "1.1.5 does not know it").differs("crun", "1.8.1 does not know it").run(
        |t| {
            let b = t.bundle();
            b.set("process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 5 }));
            let r = t.report(&b, &[]);
            assert_eq!((of(&r, "sched/policy"), of(&r, "sched/nice")), (&json!(3), &json!(5)));
            b.set("process/scheduler", json!({ "policy": "SCHED_IDLE" }));
            assert_eq!(of(&t.report(&b, &[]), "sched/policy"), 5);
            let flags = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
            b.set("process/scheduler", flags);
            assert_eq!(of(&t.report(&b, &[]), "sched/flags"), 1);
        },
    );
}

#[test]
fn the_personality_is_set() {
    contract!(Root).differs("runc", "1.1.5 does not know it").run(|t| {
        let b = t.bundle();
        b.set("linux/personality", json!({ "domain": "LINUX32" }));
        let r = t.report(&b, &[]);
        assert_eq!(r["personality"], 8);
        assert_eq!(r["machine"], "i686");
    });
}

#[test]
fn the_memory_policy_is_set() {
    contract!(Root, Numa)
        .differs("runc", "1.1.5 does not know it")
        .differs("crun", "1.8.1 does not know it")
        .run(|t| {
            let b = t.bundle();
            b.set("linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0" }));
            assert_eq!(t.report(&b, &[])["mempolicy"], json!([2, 1]));
        });
}

/// What the runtime does to signals for itself must not reach the program.
#[test]
fn signals_are_at_their_defaults() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &[]);
        for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
            assert_eq!(signal_set(&r, set), 0, "{set}");
        }
    });
}

/// 32 and 33 belong to the C library, which lets no program set them: some parents hand them on ignored.
fn signal_set(report: &Value, set: &str) -> u64 {
    let hex = of(report, &format!("status/{set}")).as_str().unwrap();
    u64::from_str_radix(hex, 16).unwrap() & !(3 << 31)
}

#[test]
fn signals_that_the_caller_ignores_or_blocks_are_reset() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]).write();
        let rt = crate::harness::runtime::get().path.display().to_string();
        let script = format!(
            "trap '' TERM USR1 PIPE; exec '{rt}' --root '{}' run --bundle '{}' {}",
            t.root.display(),
            b.dir.display(),
            b.id
        );
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let r = crate::harness::test::parse_report(&String::from_utf8_lossy(&out.stdout));
        assert_eq!(signal_set(&r, "SigIgn"), 0);
    });
}

#[test]
fn the_program_leads_a_session_of_its_own() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &[]);
        assert_eq!((&r["pid"], &r["sid"], &r["pgrp"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(of(&r, "status/Threads"), "1");
    });
}

#[test]
fn cpu_affinity_is_not_the_callers() {
    contract!(Root, Tool("taskset")).differs("runc", "1.1.5 hands it on").differs("crun", "hands it on").run(
        |t| {
            let b = t.bundle();
            b.args(&["/guest", "report"]).write();
            let rt = crate::harness::runtime::get().path.display().to_string();
            let out = std::process::Command::new("taskset")
                .args(["-c", "0", &rt, "--root", t.root.to_str().unwrap(), "run", "--bundle"])
                .args([b.dir.to_str().unwrap(), &b.id])
                .output()
                .unwrap();
            let r = crate::harness::test::parse_report(&String::from_utf8_lossy(&out.stdout));
            let all = std::fs::read_to_string("/proc/self/status").unwrap();
            let own = all.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
            assert_eq!(of(&r, "status/Cpus_allowed_list"), own);
        },
    );
}

#[test]
fn a_session_keyring_of_the_containers_own_is_joined() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &[]);
        let keyring = r["keyring"].as_str().unwrap_or_default();
        assert!(keyring.ends_with(&format!(";_ses.{}", b.id)) || keyring.ends_with(&b.id), "{keyring}");
        let plain = t.report_with(&b, &["--no-new-keyring"], &[]);
        assert!(!plain["keyring"].as_str().unwrap_or_default().contains(&b.id), "{}", plain["keyring"]);
    });
}
