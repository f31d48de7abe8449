//! What `exec` takes of the container, of process.json and of its options.

use super::*;
use crate::plan::cgroup::Version;
use serde_json::{Value, json};

fn config(change: impl FnOnce(&mut Value)) -> Bundle {
    let caps = json!(["CAP_KILL", "CAP_SETUID"]);
    let mut spec = json!({
        "ociVersion": "1.3.0", "root": {"path": "r"},
        "process": {
            "user": {"uid": 5, "gid": 6, "umask": 7, "additionalGids": [8]}, "args": ["init"], "cwd": "/c",
            "env": ["A=1", "PATH=/p"], "noNewPrivileges": true, "oomScoreAdj": 9,
            "capabilities": {"bounding": caps, "permitted": caps, "effective": caps},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]
        },
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "personality": {"domain": "LINUX32"},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]}}
    });
    change(&mut spec);
    crate::spec::parse("/b".as_ref(), "/b/config.json".as_ref(), spec.to_string().into_bytes()).unwrap()
}

fn facts() -> HostFacts {
    HostFacts { grantable: (1 << 41) - 1, ..HostFacts::default() }
}

fn with(config: &Bundle, file: Option<Value>, flags: &Flags, namespaces: &[NsKind]) -> Result<ExecPlan> {
    with_facts(config, file, flags, namespaces, &facts())
}

fn with_facts(
    config: &Bundle,
    file: Option<Value>,
    flags: &Flags,
    namespaces: &[NsKind],
    facts: &HostFacts,
) -> Result<ExecPlan> {
    let part = file.map(|file| crate::spec::parse_process("p.json", file.to_string().as_bytes()).unwrap());
    let record = CgroupRecord::default();
    let wanted = Wanted {
        id: "c1",
        config,
        file: part.as_ref(),
        flags,
        namespaces,
        cgroup: &record,
        no_new_keyring: false,
    };
    plan(&wanted, facts)
}

fn flags(args: &[&str]) -> Flags {
    Flags { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Flags::default() }
}

#[test]
fn typed_commands_start_from_the_containers_process() {
    let typed = Flags {
        cwd: Some("/d".into()),
        env: vec!["B=2".into(), "A=3".into()],
        user: Some("10:11".into()),
        additional_gids: vec!["12".into()],
        caps: vec!["CAP_CHOWN".into(), "CAP_NOPE".into()],
        terminal: true,
        ..flags(&["ls", "-la"])
    };
    let p = with(&config(|_| ()), None, &typed, &[]).unwrap();
    assert_eq!(p.process.argv, ["ls", "-la"]);
    assert_eq!(p.process.env.variables, ["PATH=/p", "B=2", "A=3"]);
    assert_eq!((p.process.uid, p.process.gid, p.process.groups.as_slice()), (10, 11, &[8, 12][..]));
    assert!(p.process.terminal && p.process.no_new_privs);
    assert_eq!((p.process.cwd.as_str(), p.process.umask), ("/d", 7));
    assert_eq!(p.process.capabilities.bounding, 1 | 32 | 128);
    assert_eq!((p.process.capabilities.inheritable, p.process.capabilities.ambient), (0, 0));
    assert_eq!(p.warnings, ["--cap: unknown capability CAP_NOPE ignored"]);
    assert!(p.seccomp.is_some() && p.process.personality == Some(8));
    // Only a uid: the group stays, and the terminal is what was typed.
    let p = with(&config(|c| c["process"]["terminal"] = json!(true)), None, &flags(&["ls"]), &[]).unwrap();
    assert_eq!((p.process.uid, p.process.gid, p.process.terminal), (5, 6, false));
    let only = Flags { user: Some("10".into()), ..flags(&["ls"]) };
    assert_eq!(with(&config(|_| ()), None, &only, &[]).unwrap().process.gid, 6);
    assert!(
        with(&config(|_| ()), None, &flags(&[]), &[]).unwrap_err().to_string().contains("cannot be empty")
    );
}

#[test]
fn an_empty_value_is_none() {
    let confined = config(|c| {
        c["process"]["apparmorProfile"] = json!("locked");
        c["process"]["selinuxLabel"] = json!("u:r:t:s0");
    });
    let empty = || Some(String::new());
    let typed =
        Flags { cwd: empty(), user: empty(), apparmor: empty(), process_label: empty(), ..flags(&["ls"]) };
    let plain = with(&confined, None, &flags(&["ls"]), &[]).unwrap();
    assert_eq!(with(&confined, None, &typed, &[]).unwrap(), plain);
    assert!(format!("{plain:?}").contains("locked") && format!("{plain:?}").contains("u:r:t:s0"));
}

#[test]
fn the_containers_own_oddities_are_not_told_again() {
    let sets = json!({"bounding": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_KILL"]});
    let odd = config(|c| c["process"]["capabilities"] = sets.clone());
    assert!(with(&odd, None, &flags(&["ls"]), &[]).unwrap().warnings.is_empty());
    let file = json!({"user": {}, "args": ["a"], "cwd": "/", "capabilities": sets});
    assert_eq!(with(&odd, Some(file), &flags(&[]), &[]).unwrap().warnings.len(), 1);
}

#[test]
fn a_file_is_completed_from_the_container() {
    let file = json!({"user": {"uid": 0, "gid": 0, "umask": 63}, "args": ["a"], "cwd": "/"});
    let p = with(&config(|_| ()), Some(file), &flags(&[]), &[]).unwrap();
    assert_eq!((p.process.capabilities.bounding, p.process.rlimits.len()), (32 | 128, 1));
    assert!(p.process.no_new_privs && p.process.env.variables.is_empty());
    assert_eq!((p.process.umask, p.process.oom_score_adj), (7, Some(9)), "the container's");
    let file = json!({"user": {}, "args": ["a"], "cwd": "/", "noNewPrivileges": false, "capabilities": {},
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 3, "hard": 4}]});
    let p = with(&config(|_| ()), Some(file), &flags(&[]), &[]).unwrap();
    assert_eq!((p.process.capabilities.bounding, p.process.no_new_privs), (0, false));
    assert_eq!(p.process.rlimits[0].name, "RLIMIT_CPU");
    let file = json!({"user": {}, "args": ["a"], "cwd": "/", "noNewPrivileges": false});
    let confined = Flags { no_new_privs: true, apparmor: Some("p".into()), ..Flags::default() };
    let p = with(&config(|_| ()), Some(file), &confined, &[]);
    assert!(p.unwrap().process.no_new_privs, "what is typed to confine it holds, too");
}

/// The caller's groups are not the container's: they stay only where they cannot be dropped.
#[test]
fn groups_are_set_unless_the_containers_own_map_denies_it() {
    let sets = |user: Value, host: u32| {
        let config = config(|c| {
            c["process"]["user"]["additionalGids"] = json!([]);
            c["linux"]["namespaces"] = json!([{"type": "mount"}, user]);
            if user.get("path").is_none() {
                let map = json!([{"containerID": 6, "hostID": host, "size": 1}]);
                (c["linux"]["uidMappings"], c["linux"]["gidMappings"]) =
                    (json!([{"containerID": 5, "hostID": host, "size": 1}]), map);
            }
        });
        let rootless = HostFacts { euid: 1000, egid: 1000, ..HostFacts::default() };
        let plan = with_facts(&config, None, &flags(&["ls"]), &[NsKind::User], &rootless).unwrap();
        (plan.process.set_groups, plan.process.groups_optional)
    };
    assert_eq!(sets(json!({"type": "user"}), 1000), (false, true));
    assert_eq!(sets(json!({"type": "user"}), 100_000), (true, true), "a subordinate group");
    assert_eq!(
        sets(json!({"type": "user", "path": "/u"}), 0),
        (true, true),
        "joined, without mappings repeated"
    );
}

#[test]
fn without_a_process_only_a_file_will_do() {
    let bare = config(|c| drop(c.as_object_mut().unwrap().remove("process")));
    assert!(with(&bare, None, &flags(&["ls"]), &[]).is_err());
    let file = json!({"user": {}, "args": ["a"], "cwd": "/"});
    assert_eq!(with(&bare, Some(file), &flags(&[]), &[]).unwrap().process.argv, ["a"]);
}

#[test]
fn users_are_numbers_and_nothing_else() {
    for (text, want) in [
        ("0", (0, None)),
        ("1", (1, None)),
        ("01", (1, None)),
        ("1:2", (1, Some(2))),
        ("4294967294:0", (4294967294, Some(0))),
    ] {
        assert_eq!(parse_user(text).unwrap(), want, "{text}");
    }
    let bad = "root 1: :1 : 1:2:3 -1 +1 1x x1 0x1 1.0 1e1 4294967295 4294967296 99999999999999999999 1:-1 1:x 1,2 ²";
    for text in bad.split(' ').chain(["", " ", " 1", "1 ", "1\n", "\t1", "1: 2", "1 :2"]) {
        assert!(parse_user(text).is_err(), "{text:?}");
    }
}

#[test]
fn what_may_stay_until_the_process_is_settled() {
    let c = config(|_| ());
    let p = with(&c, None, &flags(&["ls"]), &[]).unwrap();
    const CAP_WAKE_ALARM: u64 = 1 << 35;
    assert_eq!(p.keep_capabilities, CAP_SETGID | CAP_SETUID | CAP_SETPCAP | 32 | CAP_WAKE_ALARM);
    assert!(!is_exposed(&c, &[], true) && is_exposed(&c, &[], false));
    assert!(!is_exposed(&c, &[NsKind::User], false));
    let c = config(|c| {
        c["process"]["noNewPrivileges"] = json!(false);
        c["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_PTRACE"]);
    });
    let p = with(&c, None, &flags(&["ls"]), &[]).unwrap();
    assert!(is_exposed(&c, &[NsKind::Pid], true) && p.keep_capabilities & CAP_SYS_ADMIN != 0);
    let p = with(&c, None, &flags(&["ls"]), &[NsKind::User]).unwrap();
    assert!(!is_exposed(&c, &[NsKind::User], true) && p.keep_capabilities & CAP_WAKE_ALARM != 0);
}

#[test]
fn cgroups_below_the_containers() {
    let hierarchy = |controllers: &[&str], version| Hierarchy {
        controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        version,
        mount: "/m".into(),
        path: "/c".into(),
    };
    let record = CgroupRecord {
        hierarchies: vec![
            hierarchy(&["cpu", "cpuacct"], Version::V1),
            hierarchy(&["pids"], Version::V1),
            hierarchy(&[], Version::V2),
        ],
        ..CgroupRecord::default()
    };
    let paths = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        cgroups(&record, &args).map(|list| list.into_iter().map(|h| h.path).collect::<Vec<_>>())
    };
    assert_eq!(paths(&[]).unwrap(), ["/c", "/c", "/c"]);
    assert_eq!(paths(&["/"]).unwrap(), ["/c", "/c", "/c"]);
    assert_eq!(paths(&["a//./b/"]).unwrap(), ["/c/a/b", "/c/a/b", "/c/a/b"]);
    assert_eq!(paths(&["cpu:/a", "pids:b"]).unwrap(), ["/c/a", "/c/b", "/c"]);
    for bad in [
        &["../.."][..],
        &["a/../b"],
        &["cpu:/../x"],
        &["a:b:c"],
        &["memory:/a"],
        &["cpu,cpu:/a"],
        &["cpu:/a", "cpu:/b"],
        &["/a", "/b"],
    ] {
        assert!(paths(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn nobody_in_the_container_has_all_that_the_last_stage_has() {
    assert_eq!(one_more(0b11, u64::MAX), 1 << 35);
    assert_eq!(one_more(1 << 35 | 1 << 36, u64::MAX), 1);
    assert_eq!(one_more(0b11, 0b111), 0b100, "of those that can be had");
    assert_eq!(one_more(u64::MAX, u64::MAX), 0, "a container that has all needs no tracing");
}
