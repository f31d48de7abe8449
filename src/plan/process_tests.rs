//! Tables for the plan of a process: fragment of config.json → fragment of the plan.

use super::*;
use serde_json::{Value, json};

/// A minimal configuration with `process` and the rest overlaid.
fn spec(process: Value, rest: Value) -> Spec {
    let mut all = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}});
    let mut base = json!({"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"});
    for (key, value) in process.as_object().unwrap() {
        base[key] = value.clone();
    }
    for (key, value) in rest.as_object().unwrap() {
        all[key] = value.clone();
    }
    all["process"] = base;
    serde_json::from_value(all).unwrap()
}

fn with(process: Value, rest: Value, options: &Options) -> Result<ProcessPlan> {
    plan(&spec(process, rest), &[], options, &mut Vec::new()).map(Option::unwrap)
}

fn of(process: Value) -> Result<ProcessPlan> {
    with(process, json!({}), &Options::default())
}

#[test]
fn no_process_is_no_plan() {
    let spec = serde_json::from_value(json!({"ociVersion": "1.3.0"})).unwrap();
    assert_eq!(plan(&spec, &[], &Options::default(), &mut Vec::new()).unwrap(), None);
}

#[test]
fn defaults() {
    let p = with(json!({}), json!({}), &Options { id: "c1".into(), ..Options::default() }).unwrap();
    assert_eq!((p.umask, p.uid, p.gid, p.set_groups), (0o022, 0, 0, true));
    assert_eq!(p.capabilities, CapabilityPlan::default());
    assert!(!p.no_new_privs && !p.terminal && p.env.home_from_passwd);
    assert_eq!((p.oom_score_adj, p.personality, p.scheduler, p.io_priority), (None, None, None, None));
    let keyring = p.keyring.unwrap();
    assert_eq!((keyring.name.as_str(), keyring.permission), ("_ses.c1", 0x80000));
}

#[test]
fn problems_name_their_field() {
    for (process, message) in [
        (json!({"args": []}), "process.args: is empty"),
        (json!({"args": null}), "process.args: is empty"),
        (json!({"args": ["a", "b\u{0}"]}), "process.args[1]: has a NUL byte"),
        (json!({"cwd": "tmp"}), "process.cwd: is not absolute"),
        (json!({"cwd": ""}), "process.cwd: is not absolute"),
        (json!({"env": ["A"]}), "process.env[0]: has no `=`"),
        (json!({"oomScoreAdj": 1001}), "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
        (json!({"apparmorProfile": "a\nb"}), "process.apparmorProfile: has a NUL byte or a line break"),
        (
            json!({"terminal": true, "consoleSize": {"height": 70000, "width": 1}}),
            "process.consoleSize: a terminal has at most 65535 rows and columns",
        ),
        (
            json!({"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}),
            "process.rlimits[0]: soft limit 2 of RLIMIT_CORE is above the hard limit 1",
        ),
        (
            json!({"rlimits": [{"type": "RLIMIT_AS", "soft": 1, "hard": 1}, {"type": "RLIMIT_AS", "soft": 1, "hard": 1}]}),
            "process.rlimits[1]: RLIMIT_AS is already in process.rlimits[0]",
        ),
    ] {
        assert_eq!(of(process).unwrap_err().to_string(), message);
    }
}

#[test]
fn user_umask_groups() {
    let p = of(json!({"user": {"uid": 1, "gid": 2, "umask": 7, "additionalGids": [5, 6]}})).unwrap();
    assert_eq!((p.uid, p.gid, p.umask, p.groups, p.set_groups), (1, 2, 7, vec![5, 6], true));
    let many = vec![0; 65537];
    assert!(of(json!({"user": {"uid": 1, "gid": 2, "additionalGids": many}})).is_err());
}

#[test]
fn groups_can_be_kept_or_denied() {
    let user = json!({"user": {"uid": 0, "gid": 0, "additionalGids": [5]}});
    let kept = json!({"annotations": {"run.oci.keep_original_groups": "1"}});
    let p = with(user.clone(), kept, &Options::default()).unwrap();
    assert_eq!((p.groups, p.set_groups), (vec![], false));
    let denied = Options { setgroups: SetGroups::Denied, ..Options::default() };
    assert!(with(user.clone(), json!({}), &denied).is_err());
    assert!(!with(json!({}), json!({}), &denied).unwrap().set_groups);
    let nowhere = Options { setgroups: SetGroups::Nowhere, ..Options::default() };
    let p = with(user, json!({}), &nowhere).unwrap();
    assert_eq!((p.groups, p.set_groups), (vec![], false));
}

#[test]
fn ids_must_be_mapped() {
    let maps = json!([{"containerID": 0, "hostID": 100000, "size": 10}]);
    let linux = json!({"linux": {"uidMappings": maps, "gidMappings": maps}});
    let userns = Options { userns: true, ..Options::default() };
    let p =
        with(json!({"user": {"uid": 9, "gid": 9, "additionalGids": [9]}}), linux.clone(), &userns).unwrap();
    assert_eq!((p.uid, p.keyring.unwrap().permission), (9, 8));
    for (user, message) in [
        (json!({"uid": 10, "gid": 0}), "process.user.uid: cannot setuid to unmapped uid 10"),
        (json!({"uid": 0, "gid": 10}), "process.user.gid: cannot setgid to unmapped gid 10"),
        (
            json!({"uid": 0, "gid": 0, "additionalGids": [1, 10]}),
            "process.user.additionalGids[1]: cannot setgid to unmapped gid 10",
        ),
    ] {
        let e = with(json!({"user": user}), linux.clone(), &userns).unwrap_err();
        assert_eq!(e.to_string(), message);
    }
}

#[test]
fn rlimits_carry_the_kernels_numbers() {
    let all = [
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
    let list: Vec<Value> =
        all.iter().map(|n| json!({"type": format!("RLIMIT_{n}"), "soft": 1, "hard": u64::MAX})).collect();
    let p = of(json!({"rlimits": list})).unwrap();
    for (n, limit) in p.rlimits.iter().enumerate() {
        assert_eq!(limit.resource as usize, n);
        assert_eq!(limit.name, format!("RLIMIT_{}", all[n]));
        assert_eq!(
            (limit.soft, limit.hard, limit.field.clone()),
            (1, u64::MAX, format!("process.rlimits[{n}]"))
        );
    }
    assert_eq!(p.rlimits.len(), 16);
}

#[test]
fn terminal_and_size() {
    let size = json!({"height": 24, "width": 80});
    let p = of(json!({"terminal": true, "consoleSize": size})).unwrap();
    assert_eq!((p.terminal, p.console_size), (true, Some((24, 80))));
    assert_eq!(of(json!({"consoleSize": size})).unwrap().console_size, None);
    let half = json!({"terminal": true, "consoleSize": {"height": 24, "width": 0}});
    assert_eq!(of(half).unwrap().console_size, None);
}

#[test]
fn labels_and_the_keyring() {
    let p = of(json!({"apparmorProfile": "", "selinuxLabel": "a:b:c"})).unwrap();
    assert_eq!((p.apparmor_profile, p.selinux_label.as_deref()), (None, Some("a:b:c")));
    assert_eq!(p.keyring.unwrap().label.as_deref(), Some("a:b:c"));
    let options = Options { no_new_keyring: true, ..Options::default() };
    assert_eq!(with(json!({}), json!({}), &options).unwrap().keyring, None);
}

#[test]
fn passed_descriptors_and_the_notification_socket() {
    let options = Options {
        listen_fds: Some(2),
        preserve_fds: 1,
        notify_socket: Some("/run/systemd/notify".into()),
        ..Options::default()
    };
    let mut warnings = Vec::new();
    let p = plan(&spec(json!({}), json!({})), &[], &options, &mut warnings).unwrap().unwrap();
    assert_eq!(p.fds, FdPlan { listen: 2, preserve: 1 });
    assert!(p.env.variables.contains(&"LISTEN_FDS=2".to_owned()));
    assert!(p.env.variables.contains(&"NOTIFY_SOCKET=/run/notify/notify.sock".to_owned()));
    assert_eq!(warnings.len(), 1, "no pid namespace");
    let linux = json!({"linux": {"namespaces": [{"type": "pid"}]}});
    warnings.clear();
    plan(&spec(json!({}), linux), &[], &options, &mut warnings).unwrap();
    assert!(warnings.is_empty());
}

#[test]
fn linux_parts() {
    let linux =
        json!({"linux": {"personality": {"domain": "LINUX32"}, "memoryPolicy": {"mode": "MPOL_LOCAL"}}});
    let p = with(
        json!({"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
               "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
               "execCPUAffinity": {"initial": "0-1", "final": "1"}, "oomScoreAdj": -1000}),
        linux,
        &Options::default(),
    )
    .unwrap();
    assert_eq!((p.personality, p.io_priority, p.oom_score_adj), (Some(8), Some(3 << 13), Some(-1000)));
    assert_eq!(p.memory_policy.unwrap().mode, 4);
    assert_eq!(p.scheduler.unwrap().nice, 5);
    assert_eq!(p.exec_affinity, ExecAffinity { initial: Some(vec![0, 1]), last: Some(vec![1]) });
}
