//! What is decided for the container as a whole.

use super::cgroup::facts::{CgroupFacts, HostHierarchy, Layout, Version};
use super::*;
use serde_json::{Value, json};

fn planned(change: impl FnOnce(&mut Value), options: &Options) -> CreatePlan {
    let mut spec = json!({
        "ociVersion": "1.3.0", "root": {"path": "r"},
        "process": {"user": {"uid": 5, "gid": 6}, "args": ["a"], "cwd": "/"},
        "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}]}
    });
    change(&mut spec);
    let bundle =
        crate::spec::parse("/b".as_ref(), "/b/config.json".as_ref(), spec.to_string().into_bytes()).unwrap();
    let tree = HostHierarchy {
        version: Version::V2,
        controllers: vec![],
        mount: "/sys/fs/cgroup".into(),
        own: "/a/b".into(),
    };
    let manager = Some(cgroup::facts::ManagerFacts::default());
    let cgroups = CgroupFacts { layout: Layout::V2, hierarchies: vec![tree], manager };
    create(&bundle, options, &HostFacts { grantable: u64::MAX, cgroups, ..HostFacts::default() }).unwrap()
}

fn options() -> Options {
    Options { id: "c1".into(), ..Options::default() }
}

#[test]
fn a_delegated_cgroup_belongs_to_whom_the_user_is_on_the_host() {
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let delegate = |user: Option<Value>, maps: Option<&Value>| {
        let plan = planned(
            |spec| {
                if let Some(user) = user {
                    spec["linux"]["namespaces"].as_array_mut().unwrap().push(user);
                }
                for name in ["uidMappings", "gidMappings"] {
                    maps.iter().for_each(|maps| spec["linux"][name] = (*maps).clone());
                }
            },
            &options(),
        );
        plan.cgroup.delegate
    };
    let joined = || Some(json!({"type": "user", "path": "/proc/7/ns/user"}));
    assert_eq!(delegate(None, None), [5, 0]);
    assert_eq!(delegate(Some(json!({"type": "user"})), Some(&maps)), [100_005, 100_000]);
    assert_eq!(delegate(joined(), Some(&maps)), [100_005, 100_000]);
    assert!(delegate(joined(), None).is_empty());
}

#[test]
fn the_root_of_a_whole_system_in_a_container_is_not_rootless() {
    let facts = |euid, in_user_namespace, user| {
        let manager = Some(cgroup::facts::ManagerFacts { user, ..Default::default() });
        let cgroups = CgroupFacts { manager, ..CgroupFacts::default() };
        HostFacts { euid, in_user_namespace, cgroups, ..HostFacts::default() }
    };
    assert!(!is_rootless(Driver::Systemd, &facts(0, true, false)));
    assert!(is_rootless(Driver::Systemd, &facts(0, true, true)));
    assert!(is_rootless(Driver::Systemd, &facts(1000, false, true)));
    assert!(is_rootless(Driver::Cgroupfs, &HostFacts { in_user_namespace: true, ..HostFacts::default() }));
    assert!(!is_rootless(Driver::Cgroupfs, &HostFacts::default()));
}

#[test]
fn cgroups_are_delegated_by_how_their_mount_ends_up() {
    let delegated = |mount: Value| {
        let plan = planned(
            |spec| {
                mount.as_object().into_iter().flatten().for_each(|(k, v)| spec["mounts"][0][k] = v.clone())
            },
            &options(),
        );
        !plan.cgroup.delegate.is_empty()
    };
    for mount in [
        json!({}),
        json!({"type": "cgroup2"}),
        json!({"destination": "/sys/fs/./cgroup/"}),
        json!({"destination": "sys/fs/cgroup"}),
        json!({"options": ["ro", "nosuid", "rw"]}),
    ] {
        assert!(delegated(mount.clone()), "{mount}");
    }
    for mount in [
        json!({"options": ["ro"]}),
        json!({"options": ["rw", "ro"]}),
        json!({"options": ["rro"]}),
        json!({"options": ["bind"], "source": "/x"}),
        json!({"destination": "/sys/fs/cgroup/x"}),
        json!({"type": "tmpfs"}),
    ] {
        assert!(!delegated(mount.clone()), "{mount}");
    }
}

#[test]
fn annotations_that_do_nothing_are_named() {
    let warned = |name: &str, text: &str, driver| {
        let options = Options { driver, ..options() };
        let plan = planned(|spec| spec["annotations"] = json!({ name: text }), &options);
        plan.warnings.iter().any(|warning| warning.contains(name))
    };
    assert!(warned("run.oci.systemd.subgroup", "container", Driver::Systemd));
    assert!(!warned("run.oci.systemd.subgroup", "", Driver::Systemd));
    assert!(!warned("run.oci.systemd.subgroup", "container", Driver::Cgroupfs));
    assert!(warned("run.oci.delegate-cgroup", "inner", Driver::Cgroupfs));
}

/// crun's annotation for who wants no filter that is weaker than it reads.
#[test]
fn unknown_system_calls_can_be_refused() {
    let answer = |names: Value, strict: &str| {
        let spec = json!({
            "ociVersion": "1.3.0", "root": {"path": "r"},
            "annotations": {"run.oci.seccomp_fail_unknown_syscall": strict},
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}}
        });
        let (dir, file) = ("/b".as_ref(), "/b/config.json".as_ref());
        let bundle = crate::spec::parse(dir, file, spec.to_string().into_bytes()).unwrap();
        let options = Options { driver: Driver::Disabled, ..options() };
        create(&bundle, &options, &HostFacts::default()).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let said = answer(json!(["read", "frobnicate"]), "1");
    assert!(said.starts_with("linux.seccomp.syscalls: unknown system calls: frobnicate"), "{said}");
    assert!(!answer(json!(["read"]), "1").contains("unknown system calls"));
    assert!(!answer(json!(["frobnicate"]), "0").contains("unknown system calls"));
}

#[test]
fn what_is_odd_is_said_once() {
    let plan = planned(
        |spec| {
            spec["mounts"][0]["destination"] = json!("sys/fs/cgroup");
            spec["linux"]["resources"] = json!({"memory": {"kernel": 5}});
        },
        &options(),
    );
    let of = |word: &str| plan.warnings.iter().filter(|warning| warning.contains(word)).count();
    assert_eq!((of("mounts[0]"), of("memory.kernel")), (1, 1), "{:?}", plan.warnings);
}

#[test]
fn processes_that_nobody_will_find_are_warned_about() {
    let warned = |rootless, path: Option<&str>, pid: bool| {
        let options = Options { rootless: Some(rootless), ..options() };
        let plan = planned(
            |spec| {
                path.iter().for_each(|path| spec["linux"]["cgroupsPath"] = json!(path));
                let kinds = if pid { vec!["mount", "pid"] } else { vec!["mount"] };
                spec["linux"]["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
            },
            &options,
        );
        plan.warnings.iter().any(|warning| warning.contains("pid namespace"))
    };
    assert!(warned(true, None, false));
    assert!(!warned(true, None, true));
    assert!(!warned(true, Some("/c1"), false));
    assert!(!warned(false, None, false));
}
