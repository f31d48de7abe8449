//! linux.namespaces, mappings, time offsets, host names, sysctl (contract §2.1, §2.5).

use crate::contract;
use crate::harness::test::{map, wait_until};
use crate::harness::{Bundle, Test, namespaced, of};
use serde_json::{Value, json};
use std::time::Duration;

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn own(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned()
}

fn of_pid(pid: i32, name: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn listed_namespaces_are_new() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| namespaced(c, "cgroup", None));
        let r = t.report(&b, &[]);
        for (_, name) in KINDS {
            assert_ne!(of(&r, &format!("namespaces/{name}")), &json!(own(name)), "{name}");
        }
        assert_eq!(of(&r, "namespaces/user"), &json!(own("user")));
        assert_eq!(r["pid"], 1);
    });
}

#[test]
fn namespaces_that_are_not_listed_are_the_callers() {
    contract!(Root).run(|t| {
        for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            let b = t.bundle();
            b.edit(|c| crate::harness::config::without_namespace(c, kind)).remove("hostname");
            if kind == "ipc" {
                b.edit(|c| crate::harness::config::without_mount(c, "/dev/mqueue"));
            }
            let r = t.report(&b, &[]);
            assert_eq!(of(&r, &format!("namespaces/{name}")), &json!(own(name)), "{kind}");
        }
    });
}

#[test]
fn namespaces_are_joined_by_path() {
    contract!(Root).run(|t| {
        let first = t.running();
        let pid = t.pid(&first.id);
        for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            let b = t.bundle();
            b.remove("hostname").edit(|c| namespaced(c, kind, Some(&format!("/proc/{pid}/ns/{name}"))));
            let r = t.report(&b, &[]);
            assert_eq!(of(&r, &format!("namespaces/{name}")), &json!(of_pid(pid, name)), "{kind}");
        }
    });
}

#[test]
fn all_namespaces_of_a_pod_are_joined_at_once() {
    contract!(Root).run(|t| {
        let first = t.running();
        let pid = t.pid(&first.id);
        let b = t.bundle();
        b.remove("hostname");
        for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            b.edit(|c| namespaced(c, kind, Some(&format!("/proc/{pid}/ns/{name}"))));
        }
        let r = t.report(&b, &["ls:/proc"]);
        assert!(r["pid"].as_i64().unwrap() > 1);
        assert_eq!(r["hostname"], "contract");
        let names = of(&r["probes"], "ls:~1proc/names").to_string();
        assert!(names.contains("\"1\""), "proc shows the joined pid namespace: {names}");
    });
}

#[test]
fn init_in_a_joined_pid_namespace_dies_alone() {
    contract!(Root).run(|t| {
        let first = t.running();
        let b = t.bundle();
        b.edit(|c| namespaced(c, "pid", Some(&format!("/proc/{}/ns/pid", t.pid(&first.id)))));
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(of_pid(t.pid(&b.id), "pid"), of_pid(t.pid(&first.id), "pid"));
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left_of(&b.id);
        assert_eq!(t.status(&first.id), "running");
        // A zombie of ours in its pid namespace would keep the first one from dying.
        crate::harness::leftovers::reap();
    });
}

#[test]
fn a_new_user_namespace_maps_ids() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let r = t.report(&b, &["stat:/guest", "create:/new"]);
        assert_ne!(of(&r, "namespaces/user"), &json!(own("user")));
        let map: Vec<_> = r["uid_map"].as_str().unwrap().split_whitespace().map(str::to_owned).collect();
        assert_eq!(map, ["0", "100000", "65536"]);
        assert_eq!(r["uid"], json!([0, 0, 0]));
        assert_eq!(of(&r["probes"], "stat:~1guest/uid"), 0);
        let meta = std::fs::metadata(b.host("/new")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 100_000);
    });
}

#[test]
fn a_user_namespace_has_devices_and_mounts_too() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let r =
            t.report(&b, &["stat:/dev/null", "open-rw:/dev/null", "open-rw:/dev/ptmx", "stat:/dev/mqueue"]);
        assert_eq!(of(&r["probes"], "stat:~1dev~1null/type"), "char");
        assert_eq!(of(&r["probes"], "open-rw:~1dev~1null/errno"), 0);
        assert_eq!(of(&r["probes"], "open-rw:~1dev~1ptmx/errno"), 0);
        assert_eq!(of(&r["probes"], "stat:~1dev~1mqueue/errno"), 0);
    });
}

/// No id 0: what the runtime does in such a namespace it does as the container's process.
#[test]
fn a_user_namespace_may_have_no_root() {
    contract!(Root, Userns)
        .differs("runc", "1.1.5 wants a mapping of id 0")
        .differs("crun", "1.8.1 cannot exec there")
        .run(|t| {
            let without_root = |b: &Bundle| {
                b.userns(100_000);
                let maps = json!([map(1000, 100_000, 10)]);
                b.set("linux/uidMappings", maps.clone()).set("linux/gidMappings", maps);
                b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
            };
            let b = t.bundle();
            without_root(&b);
            let r = t.report(&b, &["stat:/guest", "open-rw:/dev/null", "create:/new"]);
            assert_eq!((&r["uid"], &r["gid"]), (&json!([1000, 1000, 1000]), &json!([1000, 1000, 1000])));
            assert_eq!(of(&r["probes"], "stat:~1guest/uid"), 1000);
            assert_eq!(of(&r["probes"], "open-rw:~1dev~1null/errno"), 0);
            assert_eq!(of(&r["probes"], "create:~1new/errno"), 0);
            assert_eq!(of(&r, "status/CapEff"), "0000000000000000");

            let first = t.bundle();
            without_root(&first);
            first.args(&["/guest", "pause"]);
            t.create(&first).ok();
            t.start(&first).ok();
            let r = crate::harness::exec::report(t, &first, &[], &[]);
            assert_eq!((&r["uid"], &r["gid"]), (&json!([1000, 1000, 1000]), &json!([1000, 1000, 1000])));
            t.rt(&["exec", "--user", "1001:1001", &first.id, "/bin/true"]).ok();

            let joining = t.bundle();
            without_root(&joining);
            let path = format!("/proc/{}/ns/user", t.pid(&first.id));
            joining.remove("linux/uidMappings").remove("linux/gidMappings");
            joining.edit(|c| namespaced(c, "user", Some(&path)));
            assert_eq!(t.report(&joining, &[])["uid"], json!([1000, 1000, 1000]));
        });
}

#[test]
fn several_mappings_are_written() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let maps = json!([map(0, 100_000, 1000), map(1000, 1000, 1), map(1001, 101_001, 1000)]);
        b.set("linux/uidMappings", maps.clone()).set("linux/gidMappings", maps);
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 })).args(&["/guest", "pause"]);
        t.create(&b).ok();
        let status = std::fs::read_to_string(format!("/proc/{}/status", t.pid(&b.id))).unwrap();
        t.start(&b).ok();
        let status = if status.contains("Uid:\t1000") { status } else { after_start(t, &b) };
        assert!(status.contains("Uid:\t1000\t1000"), "{status}");
    });
}

fn after_start(t: &Test, b: &Bundle) -> String {
    std::fs::read_to_string(format!("/proc/{}/status", t.pid(&b.id))).unwrap()
}

#[test]
fn an_existing_user_namespace_is_joined() {
    contract!(Root, Userns).differs("runc", "1.1.5 wants mappings besides the path").run(|t| {
        let first = t.bundle();
        first.userns(100_000);
        t.create(&first).ok();
        let pid = t.pid(&first.id);
        let b = t.bundle();
        b.userns(100_000).remove("linux/uidMappings").remove("linux/gidMappings");
        b.edit(|c| namespaced(c, "user", Some(&format!("/proc/{pid}/ns/user"))));
        let r = t.report(&b, &["create:/new"]);
        assert_eq!(of(&r, "namespaces/user"), &json!(of_pid(pid, "user")));
        assert_eq!(r["uid"], json!([0, 0, 0]));
        let meta = std::fs::metadata(b.host("/new")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 100_000);
    });
}

/// A user namespace made without privilege denies setgroups(2): only who asks for groups fails.
#[test]
fn a_user_namespace_that_denies_setgroups_is_joined() {
    contract!(Root, Userns, Tool("unshare")).differs("runc", "1.1.5 wants mappings besides the path").run(
        |t| {
            let mut holder =
                std::process::Command::new("unshare").args(["-U", "sleep", "1000"]).spawn().unwrap();
            let file = |name: &str| format!("/proc/{}/{name}", holder.id());
            let ours = std::fs::read_link("/proc/self/ns/user").unwrap();
            assert!(wait_until(Duration::from_secs(5), || {
                std::fs::read_link(file("ns/user")).is_ok_and(|link| link != ours)
            }));
            for (name, text) in
                [("setgroups", "deny"), ("gid_map", "0 100000 65536"), ("uid_map", "0 100000 65536")]
            {
                std::fs::write(file(name), text).unwrap();
            }
            let b = t.bundle();
            b.userns(100_000).remove("linux/uidMappings").remove("linux/gidMappings");
            b.edit(|c| namespaced(c, "user", Some(&file("ns/user"))));
            t.create(&b).ok();
            t.start(&b).ok();
            t.rt(&["exec", &b.id, "/bin/true"]).ok();
            t.rt(&["exec", "-u", "7:7", &b.id, "/bin/true"]).ok();
            t.rt(&["exec", "-g", "7", &b.id, "/bin/true"]).fails();
            t.rt(&["delete", "--force", &b.id]).ok();
            holder.kill().unwrap();
            holder.wait().unwrap();
        },
    );
}

/// A pod: user namespace and the ones that it owns, all joined.
#[test]
fn a_pod_with_its_user_namespace_is_joined() {
    contract!(Root, Userns).differs("runc", "1.1.5 wants mappings besides the path").run(|t| {
        let first = t.bundle();
        first.userns(100_000);
        t.create(&first).ok();
        t.start(&first).ok();
        let pid = t.pid(&first.id);
        let b = t.bundle();
        b.userns(100_000).remove("linux/uidMappings").remove("linux/gidMappings").remove("hostname");
        for (kind, name) in
            [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")]
        {
            b.edit(|c| namespaced(c, kind, Some(&format!("/proc/{pid}/ns/{name}"))));
        }
        let r = t.report(&b, &[]);
        for name in ["user", "net", "ipc", "uts", "pid"] {
            assert_eq!(of(&r, &format!("namespaces/{name}")), &json!(of_pid(pid, name)), "{name}");
        }
    });
}

#[test]
fn root_outside_keeps_no_power_in_a_user_namespace() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let secret = t.fresh("secret");
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        b.mount(json!({ "destination": "/secret", "type": "bind", "source": secret, "options": ["bind"] }));
        let r = t.report(&b, &["read:/secret", "mknod:c:1:3:/node"]);
        assert_eq!(of(&r["probes"], "read:~1secret/errno"), libc::EACCES);
        assert_eq!(of(&r["probes"], "mknod:c:1:3:~1node/errno"), libc::EPERM);
    });
}

/// Engines keep volumes in directories that only the host's root may search.
#[test]
fn a_bind_source_that_container_root_cannot_reach_works() {
    contract!(Root, Userns, MountSetattr).run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let closed = t.fresh_dir("closed");
        std::fs::create_dir(closed.join("volume")).unwrap();
        std::fs::write(closed.join("volume/file"), "reached").unwrap();
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let source = closed.join("volume");
        b.mount(json!({ "destination": "/v", "type": "bind", "source": source, "options": ["rbind"] }));
        let r = t.report(&b, &["read:/v/file"]);
        assert_eq!(of(&r["probes"], "read:~1v~1file/text"), "reached");
    });
}

#[test]
fn a_new_time_namespace_takes_offsets() {
    contract!(Root, Timens)
        .differs("runc", "1.1.5 knows no time namespaces")
        .differs("crun", "1.8.1 fails")
        .run(|t| {
            let b = t.bundle();
            b.edit(|c| namespaced(c, "time", None));
            b.set(
                "linux/timeOffsets",
                json!({ "monotonic": { "secs": 1_000_000 }, "boottime": { "secs": 2_000_000 } }),
            );
            let r = t.report(&b, &[]);
            assert_ne!(of(&r, "namespaces/time"), &json!(own("time")));
            assert!(r["monotonic"].as_i64().unwrap() >= 1_000_000, "{}", r["monotonic"]);
            assert!(r["boottime"].as_i64().unwrap() >= 2_000_000, "{}", r["boottime"]);
        });
}

#[test]
fn a_new_time_namespace_without_offsets_works() {
    contract!(Root, Timens)
        .differs("runc", "1.1.5 knows no time namespaces")
        .differs("crun", "1.8.1 fails")
        .run(|t| {
            let b = t.bundle();
            b.edit(|c| namespaced(c, "time", None));
            assert_ne!(of(&t.report(&b, &[]), "namespaces/time"), &json!(own("time")));
        });
}

#[test]
fn a_time_namespace_is_joined() {
    contract!(Root, Timens)
        .differs("runc", "1.1.5 knows no time namespaces")
        .differs("crun", "1.8.1 fails to make one to join")
        .run(|t| {
            let first = t.bundle();
            first.edit(|c| namespaced(c, "time", None));
            t.create(&first).ok();
            t.start(&first).ok();
            let pid = t.pid(&first.id);
            let b = t.bundle();
            b.edit(|c| namespaced(c, "time", Some(&format!("/proc/{pid}/ns/time"))));
            assert_eq!(of(&t.report(&b, &[]), "namespaces/time"), &json!(of_pid(pid, "time")));
        });
}

#[test]
fn time_offsets_work_with_a_user_namespace() {
    contract!(Root, Timens, Userns)
        .differs("runc", "1.1.5 knows no time namespaces")
        .differs("crun", "1.8.1 loses the offsets")
        .run(|t| {
            let b = t.bundle();
            b.userns(100_000).edit(|c| namespaced(c, "time", None));
            b.set("linux/timeOffsets", json!({ "boottime": { "secs": 5_000_000, "nanosecs": 5 } }));
            assert!(t.report(&b, &[])["boottime"].as_i64().unwrap() >= 5_000_000);
        });
}

#[test]
fn a_new_network_namespace_has_lo_up() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("ip -o link show lo");
        let out = t.run(&b).ok();
        assert!(out.stdout.contains("LOOPBACK,UP"), "{}", out.stdout);
    });
}

/// The cgroup namespace begins at the container's cgroup, not at the caller's.
#[test]
fn a_cgroup_namespace_is_rooted_in_the_containers_cgroup() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.edit(|c| namespaced(c, "cgroup", None));
        let r = t.report(&b, &[]);
        let text = r["cgroup"].as_str().unwrap();
        let line = text
            .lines()
            .find(|l| l.contains(":memory:") || l.starts_with("0::/") && crate::harness::cgroup::is_v2())
            .unwrap();
        assert!(line.ends_with(":/"), "{line}");
    });
}

#[test]
fn hostname_and_domainname_are_set() {
    contract!(Root).differs("runc", "1.1.5 knows no domainname").run(|t| {
        let b = t.bundle();
        b.set("hostname", json!("a-host")).set("domainname", json!("a.domain"));
        let r = t.report(&b, &[]);
        assert_eq!((&r["hostname"], &r["domainname"]), (&json!("a-host"), &json!("a.domain")));
    });
}

#[test]
fn a_hostname_is_set_in_a_user_namespace() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(100_000).set("hostname", json!("mapped"));
        assert_eq!(t.report(&b, &[])["hostname"], "mapped");
    });
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    contract!(Root).run(|t| {
        let before = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
        let b = t.bundle();
        b.set(
            "linux/sysctl",
            json!({
                "kernel.shmmni": "1234", "kernel.msgmax": "9000", "fs.mqueue.msg_max": "20",
                "net.ipv4.ip_forward": "1", "net/ipv4/ip_local_port_range": "10000 20000"
            }),
        );
        let r = t.report(
            &b,
            &[
                "read:/proc/sys/kernel/shmmni",
                "read:/proc/sys/fs/mqueue/msg_max",
                "read:/proc/sys/net/ipv4/ip_forward",
                "read:/proc/sys/net/ipv4/ip_local_port_range",
            ],
        );
        let read = |path: &str| of(&r["probes"], &format!("read:{}/text", path.replace('/', "~1"))).clone();
        assert_eq!(read("/proc/sys/kernel/shmmni"), "1234\n");
        assert_eq!(read("/proc/sys/fs/mqueue/msg_max"), "20\n");
        assert_eq!(read("/proc/sys/net/ipv4/ip_forward"), "1\n");
        assert_eq!(read("/proc/sys/net/ipv4/ip_local_port_range"), "10000\t20000\n");
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(), before);
    });
}

#[test]
fn sysctls_are_set_although_proc_sys_is_read_only() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("linux/readonlyPaths", json!(["/proc/sys"]))
            .set("linux/sysctl", json!({ "kernel.shmmni": "77" }));
        let r = t.report(&b, &["read:/proc/sys/kernel/shmmni"]);
        assert_eq!(of(&r["probes"], "read:~1proc~1sys~1kernel~1shmmni/text"), "77\n");
    });
}

#[test]
fn sysctls_of_the_host_are_refused() {
    contract!(Root).run(|t| {
        let before: Value = json!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap());
        for name in ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.hostname"] {
            let b = t.bundle();
            b.set("linux/sysctl", json!({ name: "1" }));
            t.create(&b).exits(1).fails_naming(&[name]).one_line();
            t.nothing_left(&b.id);
        }
        assert_eq!(json!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap()), before);
    });
}

/// What would be written is what is there already: a runtime that fails here does no harm.
#[test]
fn sysctls_in_the_hosts_namespace_joined_by_path_are_refused() {
    let cases = [
        ("network", "net", "net.ipv4.ip_forward"),
        ("ipc", "ipc", "kernel.shmmni"),
        ("uts", "uts", "kernel.domainname"),
    ];
    contract!(Root)
        .differs("runc", "1.1.5 compares network namespaces only")
        .differs("crun", "1.8.1 asks only whether a namespace is listed")
        .run(|t| {
            for (kind, proc_name, name) in cases {
                let value = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap();
                let b = t.bundle();
                b.remove("hostname").set("linux/sysctl", json!({ name: value.trim() }));
                b.edit(|c| namespaced(c, kind, Some(&format!("/proc/self/ns/{proc_name}"))));
                t.create(&b).exits(1).fails_naming(&[name]).one_line();
                t.nothing_left(&b.id);
            }
        });
}

#[test]
fn sysctls_without_their_namespace_are_refused() {
    contract!(Root).run(|t| {
        for (kind, name) in [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.shmmni")] {
            let b = t.bundle();
            b.edit(|c| crate::harness::config::without_namespace(c, kind));
            b.set("linux/sysctl", json!({ name: "1" }));
            t.create(&b).exits(1).fails_naming(&[name]).one_line();
            t.nothing_left(&b.id);
        }
    });
}
