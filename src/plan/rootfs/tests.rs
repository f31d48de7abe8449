//! Mounts, devices and paths of config.json → the operations of the root file system's plan.

use super::*;
use crate::plan::cgroup::Version;
use crate::spec::mount_options::{
    MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW,
};
use serde_json::{Value, json};

fn view() -> View<'static> {
    View {
        notify: None,
        mount_ns: MountNs::New,
        new_userns: false,
        userns: false,
        in_user_namespace: false,
        own_pid_ns: true,
        own_net_ns: true,
        own_ipc_ns: true,
        cgroupns: true,
        rootless: false,
        root: true,
        no_pivot: false,
        mount_label: None,
        cgroups: &[],
        layout: Layout::V2,
    }
}

fn bundle(mut config: Value) -> Bundle {
    let defaults = [
        ("ociVersion", json!("1.3.0")),
        ("root", json!({"path": "rootfs"})),
        ("process", json!({"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}})),
    ];
    for (key, value) in defaults {
        if config.get(key).is_none() {
            config[key] = value;
        }
    }
    let dir = Path::new("/bundle");
    crate::spec::parse(dir, &dir.join("config.json"), config.to_string().into_bytes()).unwrap()
}

fn planned(config: Value, view: &View<'_>) -> (RootfsPlan, Vec<String>) {
    let mut warnings = Vec::new();
    let plan = plan(&bundle(config), view, &mut warnings).unwrap();
    (plan, warnings)
}

fn refused(config: Value, view: &View<'_>) -> String {
    plan(&bundle(config), view, &mut Vec::new()).unwrap_err().to_string()
}

fn one(mount: Value, view: &View<'_>) -> MountOp {
    let (plan, _) = planned(json!({"mounts": [mount]}), view);
    match plan.ops.into_iter().next() {
        Some(Op::Mount(op)) => op,
        other => panic!("{other:?}"),
    }
}

fn bind_of(options: &[&str]) -> BindOp {
    let mount = json!({"destination": "/x", "type": "bind", "source": "src", "options": options});
    match one(mount, &view()).what {
        What::Bind(bind) => bind,
        other => panic!("{other:?}"),
    }
}

fn fs_of(mount: Value, view: &View<'_>) -> FsOp {
    match one(mount, view).what {
        What::FileSystem(fs) => fs,
        other => panic!("{other:?}"),
    }
}

const PLAIN: u64 =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;

#[test]
fn an_option_of_a_bind_replaces_all_flags_and_none_keeps_them() {
    let of = |options: &[&str]| {
        let bind = bind_of(options);
        (bind.set, bind.clear, bind.must_clear)
    };
    assert_eq!(of(&["bind", "rprivate"]), (0, 0, 0));
    assert_eq!(of(&["bind", "ro"]), (MOUNT_ATTR_RDONLY, PLAIN & !MOUNT_ATTR_RDONLY, 0));
    assert_eq!(of(&["bind", "rw"]), (0, PLAIN, MOUNT_ATTR_RDONLY));
    assert_eq!(of(&["bind", "noatime"]), (MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME_MASK | PLAIN, 0),);
    assert_eq!(of(&["bind", "atime"]), (0, MOUNT_ATTR_ATIME_MASK | PLAIN, 0));
}

#[test]
fn a_remount_of_a_bind_is_about_the_mount_alone() {
    let of = |options: &[&str]| {
        one(json!({"destination": "/x", "type": "bind", "source": "src", "options": options}), &view()).what
    };
    let wanted = |set, clear, must_clear| What::RemountBind { set, clear, must_clear };
    assert_eq!(of(&["bind", "remount", "ro"]), wanted(MOUNT_ATTR_RDONLY, PLAIN & !MOUNT_ATTR_RDONLY, 0));
    assert_eq!(of(&["remount", "rw"]), wanted(0, PLAIN, MOUNT_ATTR_RDONLY));
    assert_eq!(of(&["remount"]), wanted(0, PLAIN, 0));
    let tmpfs = json!({"destination": "/x", "type": "tmpfs", "options": ["remount", "ro"]});
    assert!(matches!(one(tmpfs, &view()).what, What::Remount { .. }));
}

#[test]
fn sources_are_relative_to_the_bundle() {
    assert_eq!(bind_of(&["rbind"]).source, Path::new("/bundle/src"));
    assert!(bind_of(&["rbind"]).recursive);
    assert_eq!(planned(json!({}), &view()).0.path, Path::new("/bundle/rootfs"));
}

#[test]
fn destinations_are_cleaned() {
    let mount = json!({"destination": "a/./b/../c/", "type": "tmpfs"});
    let (plan, _) = planned(json!({"mounts": [mount]}), &view());
    assert!(matches!(&plan.ops[0], Op::Mount(op) if op.destination == Path::new("/a/c")));
    let said = refused(json!({"mounts": [{"destination": "/a/../..", "type": "tmpfs"}]}), &view());
    assert_eq!(said, "mounts[0].destination: cannot be the root itself");
}

#[test]
fn nothing_covers_proc_but_procfs_and_the_files_of_lxcfs() {
    let mount = |to: &str, kind: &str| json!({"destination": to, "type": kind, "source": "/s"});
    for file in ["/proc/cpuinfo", "/proc/uptime", "/proc/sys/kernel/ns_last_pid"] {
        assert!(one(mount(file, "bind"), &view()).over_proc);
    }
    assert!(one(mount("/proc", "bind"), &view()).only_procfs);
    assert!(one(mount("/proc", "proc"), &view()).over_proc);
    assert_eq!(one(mount("/sys", "sysfs"), &view()).target, Target::RealDirectory);
    for (to, kind) in
        [("/proc", "tmpfs"), ("/proc/self", "tmpfs"), ("/proc/sys", "bind"), ("/x/../proc/1", "bind")]
    {
        let said = refused(json!({"mounts": [mount(to, kind)]}), &view());
        assert!(said.starts_with("mounts[0].destination: "), "{said}");
    }
    assert!(!one(mount("/procfs", "tmpfs"), &view()).over_proc);
}

#[test]
fn read_only_comes_late_where_the_runtime_still_writes() {
    let tmpfs = one(json!({"destination": "/x", "type": "tmpfs", "options": ["ro", "nosuid"]}), &view());
    assert!(tmpfs.late_readonly);
    assert!(matches!(&tmpfs.what, What::FileSystem(fs) if fs.flags == libc::MS_NOSUID && fs.mode_of_target));
    let sysfs = one(json!({"destination": "/sys", "type": "sysfs", "options": ["ro"]}), &view());
    assert!(!sysfs.late_readonly);
    // The superblock of sysfs is shared with all containers of the network namespace.
    assert!(
        matches!(&sysfs.what, What::FileSystem(fs) if fs.flags == libc::MS_RDONLY && fs.superblock.is_empty())
    );
    let disk = fs_of(
        json!({"destination": "/d", "type": "ext4", "source": "/dev/x", "options": ["ro", "sync"]}),
        &view(),
    );
    assert_eq!(disk.superblock, ["ro", "sync"]);
}

#[test]
fn options_that_fsconfig_cannot_say_go_to_mount() {
    let tmpfs =
        |options: Value| fs_of(json!({"destination": "/x", "type": "tmpfs", "options": options}), &view());
    let plain = tmpfs(json!(["size=4k,mode=700", "huge"]));
    assert!(!plain.only_mount && !plain.mode_of_target);
    assert_eq!(plain.data, "size=4k,mode=700,huge");
    assert_eq!(plain.options.len(), 3);
    assert!(tmpfs(json!(["x=\"a,b\""])).only_mount);
    assert!(tmpfs(json!([format!("x={}", "y".repeat(256))])).only_mount);
    assert!(tmpfs(json!(["iversion"])).only_mount);
    let lower: Vec<String> = (0..9).map(|n| format!("/a/long/path/of/a/layer/number/{n}")).collect();
    let overlay =
        json!({"destination": "/x", "type": "overlay", "options": [format!("lowerdir={}", lower.join(":"))]});
    let overlay = fs_of(overlay, &view());
    assert!(!overlay.only_mount);
    assert_eq!(overlay.options.iter().filter(|(key, _)| key == "lowerdir+").count(), 9);
}

#[test]
fn labels_go_where_the_file_system_takes_them() {
    let label = MountLabel { option: "context", value: "a:b:c:s0:c1,c2".into() };
    let view = View { mount_label: Some(label), ..view() };
    let fs = |kind: &str| fs_of(json!({"destination": "/x", "type": kind}), &view);
    assert_eq!(fs("tmpfs").data, "context=\"a:b:c:s0:c1,c2\"");
    assert!(!fs("tmpfs").only_mount && !fs("devpts").only_mount);
    assert_eq!(fs("devpts").options, [("context".into(), Some("a:b:c:s0:c1,c2".into()))]);
    assert_eq!(fs("sysfs").data, "");
    assert_eq!(fs("mqueue").label.as_deref(), Some("a:b:c:s0:c1,c2"));
}

#[test]
fn an_annotation_says_which_option_a_label_becomes() {
    const NAME: &str = "run.oci.mount_context_type";
    let of = |annotations: Value| {
        label::plan(&bundle(json!({"linux": {"mountLabel": "a:b:c:s0"}, "annotations": annotations})))
    };
    assert_eq!(of(json!({})).unwrap().unwrap().option, "context");
    assert_eq!(of(json!({ NAME: "rootcontext" })).unwrap().unwrap().option, "rootcontext");
    let problem = of(json!({ NAME: "seclabel" })).unwrap_err().to_string();
    assert!(
        problem.starts_with("annotations[\"run.oci.mount_context_type\"]: \"seclabel\" is none of"),
        "{problem}"
    );
    let label = MountLabel { option: "rootcontext", value: "a:b:c:s0".into() };
    let view = View { mount_label: Some(label), ..view() };
    assert_eq!(fs_of(json!({"destination": "/x", "type": "tmpfs"}), &view).data, "rootcontext=\"a:b:c:s0\"");
}

/// crun #582: the directory that holds the hierarchies of v1 is a tmpfs like any other.
#[test]
fn what_stands_for_the_cgroups_has_the_label_too() {
    let label = MountLabel { option: "context", value: "a:b:c:s0".into() };
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]});
    let v1 = View { layout: Layout::V1, mount_label: Some(label.clone()), ..view() };
    let tmpfs = fs_of(cgroup.clone(), &v1);
    assert_eq!(tmpfs.data, "mode=755,context=\"a:b:c:s0\"");
    assert_eq!(tmpfs.options[1], ("context".to_owned(), Some("a:b:c:s0".to_owned())));
    let v2 = View { layout: Layout::V2, ..v1 };
    assert_eq!(fs_of(cgroup, &v2).fallback, Some(Fallback::Empty(Some(label))));
}

#[test]
fn a_user_namespace_is_warned_of_what_it_cannot_mount() {
    let view = View {
        userns: true,
        new_userns: true,
        own_pid_ns: false,
        own_net_ns: false,
        own_ipc_ns: false,
        cgroupns: false,
        ..view()
    };
    let mounts: Vec<Value> = [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/m", "mqueue"),
        ("/d", "ext4"),
        ("/t", "tmpfs"),
        ("/b", "binfmt_misc"),
    ]
    .iter()
    .map(|(to, kind)| json!({"destination": to, "type": kind}))
    .collect();
    let (plan, warnings) = planned(json!({"mounts": mounts}), &view);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].starts_with("mounts[0]: a user namespace can mount proc only"));
    assert!(matches!(&plan.ops[1], Op::Mount(MountOp { what: What::FileSystem(fs), .. })
        if matches!(&fs.fallback, Some(Fallback::Bind(bind)) if bind.source == Path::new("/sys"))));
    assert!(plan.ops.iter().any(|op| matches!(op, Op::Device(device) if device.how == How::Bind)));
    // CVE-2023-25809.
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup"});
    let (plan, warnings) = planned(json!({"mounts": [cgroup]}), &view);
    assert!(matches!(&plan.ops[0], Op::Mount(MountOp { what: What::FileSystem(fs), .. })
        if fs.flags & libc::MS_RDONLY != 0));
    assert_eq!(warnings, [""; 0]);
    let rootless = View { rootless: true, ..view };
    assert_eq!(planned(json!({"mounts": [cgroup]}), &rootless).1.len(), 1);
}

/// The kernel's reasons to refuse a sysfs are not all to be seen from here.
#[test]
fn a_read_only_sysfs_can_be_the_hosts() {
    let fallback = |option: &str, view: &View<'_>| {
        fs_of(json!({"destination": "/sys", "type": "sysfs", "options": [option]}), view).fallback.is_some()
    };
    let own_net = View { userns: true, ..view() };
    let no_net = View { own_net_ns: false, ..own_net.clone() };
    let nested = View { in_user_namespace: true, ..view() };
    assert!(!fallback("ro", &view()) && !fallback("rw", &view()));
    assert!(fallback("ro", &own_net) && !fallback("rw", &own_net));
    assert!(fallback("ro", &no_net) && fallback("rw", &no_net));
    assert!(fallback("ro", &nested) && !fallback("rw", &nested));
}

/// The same by another way: a cgroup that was left out, and a writable one of the host's below a bound /sys.
#[test]
fn a_cgroup_that_was_left_out_is_covered() {
    let own = Hierarchy {
        controllers: Vec::new(),
        version: Version::V2,
        mount: "/sys/fs/cgroup".into(),
        path: "/user/c1".into(),
    };
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup"});
    let fallback = |rootless| {
        fs_of(cgroup.clone(), &View { rootless, cgroups: std::slice::from_ref(&own), ..view() }).fallback
    };
    assert!(matches!(fallback(true), Some(Fallback::BindElseEmpty(bind, None)) if !bind.optional));
    assert!(matches!(fallback(false), Some(Fallback::Bind(bind)) if !bind.optional));
}

#[test]
fn cgroups_follow_the_layout_of_the_host() {
    let hierarchy = |controllers: &[&str], name: &str| Hierarchy {
        controllers: controllers.iter().map(|c| c.to_string()).collect(),
        version: Version::V1,
        mount: Path::new("/sys/fs/cgroup").join(name),
        path: "/pod/c1".into(),
    };
    let cgroups = [hierarchy(&["cpu", "cpuacct"], "cpu,cpuacct"), hierarchy(&["name=systemd"], "systemd")];
    let mount =
        json!({"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]}]});
    let ops = |cgroupns| {
        let view = View { layout: Layout::V1, cgroups: &cgroups, cgroupns, ..view() };
        planned(mount.clone(), &view).0.ops
    };
    let texts: Vec<String> = ops(false)
        .iter()
        .take(5)
        .map(|op| match op {
            Op::Mount(MountOp { destination, what: What::Bind(bind), .. }) => {
                format!("{} {} ro={}", destination.display(), bind.source.display(), bind.set & 1)
            }
            Op::Mount(op) => format!("{} fs late={}", op.destination.display(), op.late_readonly),
            Op::Link(link) => format!("{} -> {}", link.path.display(), link.target.display()),
            Op::Device(_) => "device".into(),
        })
        .collect();
    assert_eq!(
        texts,
        [
            "/sys/fs/cgroup fs late=true",
            "/sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct/pod/c1 ro=1",
            "/sys/fs/cgroup/cpu -> cpu,cpuacct",
            "/sys/fs/cgroup/cpuacct -> cpu,cpuacct",
            "/sys/fs/cgroup/systemd /sys/fs/cgroup/systemd/pod/c1 ro=1",
        ]
    );
    let own = ops(true);
    assert!(
        matches!(&own[4], Op::Mount(MountOp { what: What::FileSystem(fs), .. }) if fs.data == "none,name=systemd")
    );
}

#[test]
fn idmaps_want_a_user_namespace_and_both_maps() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mount = |uid: &Value, gid: &Value| {
        json!({"linux": {"uidMappings": map, "gidMappings": map}, "mounts": [{"destination": "/x", "type": "bind",
            "source": "/s", "uidMappings": uid, "gidMappings": gid}]})
    };
    let userns = View { userns: true, new_userns: true, ..view() };
    let other = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    let idmap = |config| {
        let (plan, _) = planned(config, &userns);
        let opened = plan.opened_by_runtime().next();
        let op = opened.map(|(_, _, bind)| (bind.opener, bind.idmap.clone().unwrap().maps));
        assert_eq!(plan.idmaps_by_container(), matches!(op, Some((_, None))));
        op
    };
    // The container's own maps need no second namespace.
    assert_eq!(idmap(mount(&map, &map)), Some((Opener::Runtime, None)));
    let maps = Some(("0 5 1\n".to_string(), "0 5 1\n".to_string()));
    assert_eq!(idmap(mount(&other, &other)), Some((Opener::Runtime, maps)));
    assert!(refused(mount(&map, &json!([])), &userns).contains("must be given together"));
    let without =
        json!({"mounts": [{"destination": "/x", "type": "bind", "source": "/s", "options": ["idmap"]}]});
    assert!(refused(without, &view()).contains("or a user namespace"));
    let (plan, _) = planned(mount(&map, &map), &view());
    let (_, _, bind) = plan.opened_by_runtime().next().unwrap();
    assert!(bind.idmap.as_ref().unwrap().maps.is_some(), "a namespace of its own");
    let nested = View { rootless: true, in_user_namespace: true, ..view() };
    assert!(planned(mount(&map, &map), &nested).0.opened_by_runtime().next().is_some());
    assert!(refused(mount(&map, &map), &View { root: false, ..nested }).contains("without root"));
}

#[test]
fn devices_of_the_configuration_replace_the_defaults() {
    let devices = json!({"linux": {"devices": [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20600},
        {"path": "/dev/x", "type": "b", "major": 8, "minor": 0},
    ]}});
    let (plan, _) = planned(devices, &view());
    let nodes = plan.ops.iter().filter_map(|op| match op {
        Op::Device(device) => Some((device.path.to_str().unwrap(), device.mode)),
        _ => None,
    });
    let nodes = nodes.collect::<Vec<_>>();
    assert_eq!(nodes.len(), 7);
    assert_eq!(nodes[5..], [("/dev/null", 0o600), ("/dev/x", 0o666)]);
    let bad = json!({"linux": {"devices": [{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}]}});
    assert_eq!(refused(bad, &view()), "linux.devices[0].major: is not within 0 and 4095");
    let own =
        json!({"mounts": [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]});
    let (plan, _) = planned(own, &view());
    assert!(!plan.own_dev && plan.ops.len() == 1);
}

#[test]
fn propagation_before_and_after() {
    let of = |word: &str| {
        let (plan, _) = planned(json!({"linux": {"rootfsPropagation": word}}), &view());
        (plan.old_propagation.unwrap(), plan.private_parent, plan.propagation)
    };
    let (rec, shared) = (libc::MS_REC, libc::MS_SHARED);
    assert_eq!(of("rshared"), (shared | rec, true, Some(shared | rec)));
    assert_eq!(of("slave"), (libc::MS_SLAVE | rec, false, Some(libc::MS_SLAVE)));
    assert_eq!(of("private"), (libc::MS_PRIVATE | rec, false, Some(libc::MS_PRIVATE)));
    assert_eq!(of("unbindable"), (libc::MS_PRIVATE | rec, false, Some(libc::MS_UNBINDABLE)));
    let (plan, _) = planned(json!({}), &view());
    assert_eq!((plan.old_propagation, plan.propagation), (Some(libc::MS_SLAVE | rec), None));
    assert!(
        refused(json!({"linux": {"rootfsPropagation": "rprivate"}}), &View { no_pivot: true, ..view() })
            .contains("--no-pivot")
    );
}

#[test]
fn without_a_mount_namespace_wishes_are_errors() {
    let view = View { mount_ns: MountNs::None, ..view() };
    let (plan, _) = planned(json!({}), &view);
    assert_eq!((plan.switch, plan.old_propagation), (Switch::Chroot, None));
    assert!(plan.ops.iter().all(|op| !matches!(op, Op::Mount(_))));
    let said =
        refused(json!({"root": {"path": "r", "readonly": true}, "linux": {"maskedPaths": ["/x"]}}), &view);
    assert_eq!(said, "root.readonly: needs a mount namespace; linux.maskedPaths: needs a mount namespace");
}
