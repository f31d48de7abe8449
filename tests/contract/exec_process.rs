//! exec: the identity and surroundings of the process: the container's as a template, options, process files (contract
//! §1.2, §1.6).

use crate::contract;
use crate::harness::exec::{process_file, report, report_of_file, words};
use crate::harness::{has_cap, of};
use serde_json::{Value, json};

#[test]
fn the_containers_process_is_the_template() {
    contract!(Root).differs("crun", "1.8.1 drops the config's environment when -e is given").run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [77] }));
        b.set("process/cwd", json!("/tmp")).add("process/env", json!("A=1"));
        b.set("process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 12288 }]));
        b.set("process/oomScoreAdj", json!(77));
        t.create(&b).ok();
        t.start(&b).ok();
        let r = report(t, &b, &["-e", "B=2", "-e", "PATH=/bin"], &[]);
        let mut env: Vec<_> = r["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        env.sort_unstable();
        assert_eq!(env, ["A=1", "B=2", "HOME=/root", "PATH=/bin"]);
        assert_eq!((&r["cwd"], &r["groups"]), (&json!("/tmp"), &json!([77])));
        assert_eq!(of(&r, "rlimits/4"), &json!([0, 12288]));
        assert_eq!(of(&r, "status/NoNewPrivs"), "1");
        assert_eq!(of(&r, "status/CapInh"), "0000000000000000");
    });
}

#[test]
fn options_replace_the_template() {
    contract!(Root).differs("crun", "1.8.1 has no -g").run(|t| {
        let b = t.running();
        let r = report(t, &b, &["--cwd", "/tmp", "-u", "1000:1001", "-g", "5", "-g", "6"], &[]);
        assert_eq!((&r["uid"], &r["gid"]), (&json!([1000, 1000, 1000]), &json!([1001, 1001, 1001])));
        assert_eq!((&r["groups"], &r["cwd"]), (&json!([5, 6]), &json!("/tmp")));
        assert!(r["env"].as_array().unwrap().contains(&json!("HOME=/home/user")), "{}", r["env"]);
        assert_eq!(of(&r, "status/CapEff"), "0000000000000000");
    });
}

/// Else a user other than root would lose them at execve.
#[test]
fn caps_that_are_inheritable_already_become_ambient() {
    contract!(Root).differs("crun", "1.8.1 adds it to no ambient set").run(|t| {
        let b = t.bundle();
        let net = json!(["CAP_NET_ADMIN"]);
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        b.set("process/capabilities", json!({ "bounding": net, "inheritable": net }));
        t.create(&b).ok();
        t.start(&b).ok();
        let r = report(t, &b, &["--cap", "CAP_NET_ADMIN"], &[]);
        for set in ["CapAmb", "CapEff", "CapPrm"] {
            assert!(has_cap(&r, set, 12), "{set}");
        }
    });
}

#[test]
fn caps_are_added_and_nothing_becomes_inheritable() {
    contract!(Root).differs("crun", "1.8.1 takes the last one only").run(|t| {
        let b = t.running();
        let r = report(t, &b, &["--cap", "CAP_NET_ADMIN", "--cap", "CAP_SYS_TIME"], &[]);
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert!(has_cap(&r, set, 12) && has_cap(&r, set, 25) && has_cap(&r, set, 0), "{set}");
            assert!(!has_cap(&r, set, 21), "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(of(&r, &format!("status/{set}")), "0000000000000000", "{set}");
        }
    });
}

#[test]
fn no_new_privs_can_be_asked_for() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/noNewPrivileges", json!(false));
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(of(&report(t, &b, &[], &[]), "status/NoNewPrivs"), "0");
        assert_eq!(of(&report(t, &b, &["--no-new-privs"], &[]), "status/NoNewPrivs"), "1");
    });
}

/// T20: a number cut short has made strangers root.
#[test]
fn users_are_numbers_as_a_whole() {
    contract!(Root)
        .differs("crun", "1.8.1 takes the beginning")
        .differs("runc", "takes signs")
        .seconds(120)
        .run(|t| {
            let b = t.running();
            for good in ["0", "1000", "1000:1000"] {
                t.rt(&words(&b, &["-u", good], &["/bin/true"])).ok();
            }
            let bad =
                "root 1: :1 : 1:2:3 -1 +1 1x x1 0x1 1.0 4294967295 4294967296 99999999999999999999 1:x 1,2";
            for user in bad.split(' ').chain([" 1", "1 ", "1\n"]) {
                let option = format!("--user={user}");
                let out = t.rt(&words(&b, &[&option], &["/bin/true"]));
                assert_ne!(out.code, 0, "{user:?}");
                out.fails();
            }
        });
}

#[test]
fn a_process_file_is_the_whole_process() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add("process/env", json!("FROM_CONFIG=1")).set("process/cwd", json!("/tmp"));
        t.create(&b).ok();
        t.start(&b).ok();
        let caps = json!(["CAP_KILL"]);
        let r = report_of_file(
            t,
            &b,
            json!({ "user": { "uid": 0, "gid": 7, "additionalGids": [8] }, "cwd": "/root",
                "env": ["X=y", "HOME=/h"], "noNewPrivileges": true,
                "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
                "rlimits": [{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }] }),
        );
        assert_eq!(r["env"], json!(["X=y", "HOME=/h"]));
        assert_eq!((&r["cwd"], &r["groups"]), (&json!("/root"), &json!([8])));
        assert_eq!(of(&r, "rlimits/4"), &json!([1, 2]));
        assert_eq!(of(&r, "status/CapBnd"), "0000000000000020");
        assert_eq!(of(&r, "status/CapEff"), "0000000000000020");
    });
}

#[test]
fn a_process_file_that_is_silent_leaves_it_to_the_container() {
    contract!(Root)
        .differs("crun", "takes labels and user only")
        .differs("runc", "1.1.5 takes no limits")
        .run(|t| {
            let b = t.bundle();
            b.set("process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 3, "hard": 4 }]));
            t.create(&b).ok();
            t.start(&b).ok();
            let r = report_of_file(t, &b, json!({}));
            assert_eq!(of(&r, "rlimits/4"), &json!([3, 4]));
            assert!(has_cap(&r, "CapBnd", 0) && !has_cap(&r, "CapBnd", 21));
        });
}

/// The file's own umask is not asked: runc and crun take the container's.
#[test]
fn umask_and_personality_are_the_containers() {
    contract!(Root)
        .differs("crun", "takes the umask of the file")
        .differs("runc", "1.1.5 has no personality")
        .run(|t| {
            let b = t.bundle();
            b.set("process/user/umask", json!(0o27)).set("linux/personality", json!({ "domain": "LINUX32" }));
            t.create(&b).ok();
            t.start(&b).ok();
            let r = report_of_file(t, &b, json!({ "user": { "uid": 0, "gid": 0, "umask": 0 } }));
            assert_eq!((&r["umask"], &r["personality"]), (&json!(0o27), &json!(8)));
        });
}

#[test]
fn a_command_is_needed() {
    contract!(Root).run(|t| {
        let b = t.running();
        t.rt(&words(&b, &[], &[])).fails();
        t.rt(&["exec", "-p", "/no/such/file", &b.id]).fails();
        let file = process_file(t, json!({ "args": [] }));
        t.rt(&["exec", "-p", &file, &b.id]).fails();
    });
}
