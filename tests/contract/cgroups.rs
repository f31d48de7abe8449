//! cgroupsPath and resources, read back from the files (contract §2.6, §4). What only one version has asks for it.

use crate::contract;
use crate::harness::cgroup::{UNLIMITED, dir, is_v2, read};
use crate::harness::{leftovers, of};
use serde_json::{Value, json};

#[test]
fn the_container_is_in_its_cgroup_everywhere() {
    contract!(Root, Cgroup1).run(|t| {
        let b = t.created();
        let pid = t.pid(&b.id);
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let mounted: Vec<_> = leftovers::hierarchies().into_iter().filter(|h| !h.v2).collect();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
            if mounted.iter().any(|h| h.has(controllers.split(',').next().unwrap())) {
                assert_eq!(path, format!("/{}", b.id), "{controllers}");
            }
        }
        assert!(text.contains(&format!(":name=systemd:/{}", b.id)), "{text}");
    });
}

/// cgroup.kill works for a container on a hybrid host only if it is in the v2 tree too.
#[test]
fn on_a_hybrid_host_the_v2_tree_is_joined_too() {
    contract!(Root, Cgroup1).run(|t| {
        let Some(unified) = leftovers::hierarchies().into_iter().find(|h| h.v2) else { return };
        let b = t.created();
        let procs = std::fs::read_to_string(unified.mount.join(&b.id).join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), t.pid(&b.id).to_string());
    });
}

#[test]
fn nested_cgroups_paths_are_made() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/cgroupsPath", json!(format!("/{}/a/b", b.id)));
        t.create(&b).ok();
        let pid = t.pid(&b.id).to_string();
        assert_eq!(read(&b, "memory", "a/b/cgroup.procs"), pid);
        t.rt(&["delete", "--force", &b.id]).ok();
        assert!(!dir(&b, "memory").join("a/b").exists());
        for left in leftovers::cgroups(&b.id) {
            leftovers::remove_cgroup(&left);
        }
    });
}

/// A cgroup cannot be made where its parent has a file of the kernel's; what was begun must be removable.
#[test]
fn a_cgroups_path_that_is_a_file_fails_cleanly() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/cgroupsPath", json!(format!("/{}/cgroup.procs", b.id)));
        t.create(&b).fails();
        t.rt(&["delete", "--force", &b.id]).ok();
        t.rt(&["state", &b.id]).fails();
        for left in leftovers::cgroups(&b.id) {
            leftovers::remove_cgroup(&left);
        }
    });
}

#[test]
fn without_a_cgroups_path_the_id_is_the_name() {
    contract!(Root, Ctrl("pids")).run(|t| {
        let b = t.bundle();
        b.remove("linux/cgroupsPath");
        t.create(&b).ok();
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid(&b.id))).unwrap();
        assert!(text.contains(&b.id), "{text}");
        t.rt(&["delete", "--force", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn dotdot_in_a_cgroups_path_stays_below_the_root() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/cgroupsPath", json!(format!("/../../{}", b.id)));
        let out = t.create(&b);
        if out.code == 0 {
            assert_eq!(read(&b, "memory", "cgroup.procs"), t.pid(&b.id).to_string());
        }
    });
}

#[test]
fn a_cgroup_that_has_processes_is_refused() {
    contract!(Root, Ctrl("memory"))
        .differs("crun", "1.8.1 joins it")
        .differs("runc", "1.1.5 warns and joins it")
        .run(|t| {
            let first = t.running();
            let b = t.bundle();
            b.set("linux/cgroupsPath", json!(format!("/{}", first.id)));
            t.create(&b)
                .exits(1)
                .fails_with("container's cgroup is not empty: 1 process(es) found")
                .one_line();
            assert_eq!(t.status(&first.id), "running");
            assert!(!t.has_state(&b.id));
        });
}

#[test]
fn memory_limits_are_set() {
    contract!(Root, Ctrl1("memory")).run(|t| {
        let b = t.bundle();
        let limits = json!({ "limit": 64 << 20, "reservation": 32 << 20, "swappiness": 20 });
        b.set("linux/resources/memory", limits);
        t.create(&b).ok();
        assert_eq!(read(&b, "memory", "memory.limit_in_bytes"), (64 << 20).to_string());
        assert_eq!(read(&b, "memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
        assert_eq!(read(&b, "memory", "memory.swappiness"), "20");
    });
}

#[test]
fn memory_and_swap_are_set_together() {
    contract!(Root, Ctrl1("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 64 << 20, "swap": 128 << 20 }));
        let memsw = crate::harness::needs::hierarchy("memory").unwrap().join("memory.memsw.limit_in_bytes");
        if !memsw.exists() {
            return;
        }
        t.create(&b).ok();
        assert_eq!(read(&b, "memory", "memory.memsw.limit_in_bytes"), (128 << 20).to_string());
    });
}

#[test]
fn the_oom_killer_can_be_disabled() {
    contract!(Root, Ctrl1("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 64 << 20, "disableOOMKiller": true }));
        t.create(&b).ok();
        assert!(read(&b, "memory", "memory.oom_control").contains("oom_kill_disable 1"));
    });
}

#[test]
fn zero_and_minus_one_are_no_limits() {
    contract!(Root, Ctrl("memory"), Ctrl("cpu")).differs("crun", "1.8.1 writes the 0").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 0, "reservation": 0 }));
        b.set("linux/resources/cpu", json!({ "shares": 0, "quota": 0, "period": 0 }));
        t.create(&b).ok();
        assert_eq!(read(&b, "memory", "memory.limit_in_bytes"), UNLIMITED);
        assert_eq!(read(&b, "cpu", "cpu.shares"), "1024");
        let c = t.bundle();
        c.set("linux/resources/memory", json!({ "limit": -1 }));
        t.create(&c).ok();
        assert_eq!(read(&c, "memory", "memory.limit_in_bytes"), UNLIMITED);
    });
}

#[test]
fn cpu_limits_are_set() {
    contract!(Root, Ctrl("cpu")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/cpu", json!({ "shares": 512, "quota": 20000, "period": 50000 }));
        t.create(&b).ok();
        assert_eq!(read(&b, "cpu", "cpu.shares"), "512");
        if is_v2() || dir(&b, "cpu").join("cpu.cfs_quota_us").exists() {
            assert_eq!(read(&b, "cpu", "cpu.cfs_quota_us"), "20000");
            assert_eq!(read(&b, "cpu", "cpu.cfs_period_us"), "50000");
        }
    });
}

#[test]
fn cpu_burst_and_idle_are_set() {
    contract!(Root, Ctrl("cpu"), CpuIdle)
        .differs("runc", "1.1.5 does not know them")
        .differs("crun", "1.8.1 does not write burst")
        .run(|t| {
            let b = t.bundle();
            b.set("linux/resources/cpu", json!({ "quota": 50000, "period": 100_000, "burst": 20000 }));
            t.create(&b).ok();
            assert_eq!(read(&b, "cpu", "cpu.cfs_burst_us"), "20000");
            let c = t.bundle();
            c.set("linux/resources/cpu", json!({ "idle": 1 }));
            t.create(&c).ok();
            assert_eq!(read(&c, "cpu", "cpu.idle"), "1");
        });
}

#[test]
fn cpusets_are_copied_from_the_parent_or_set() {
    contract!(Root, Ctrl1("cpuset")).run(|t| {
        let b = t.created();
        let root = crate::harness::needs::hierarchy("cpuset").unwrap();
        let cpus = std::fs::read_to_string(root.join("cpuset.cpus")).unwrap();
        assert_eq!(read(&b, "cpuset", "cpuset.cpus"), cpus.trim());
        let c = t.bundle();
        c.set("linux/resources/cpu", json!({ "cpus": "0", "mems": "0" }));
        let r = t.report(&c, &[]);
        assert_eq!(of(&r, "status/Cpus_allowed_list"), "0");
    });
}

#[test]
fn pids_limits_are_set() {
    contract!(Root, Ctrl("pids")).differs("crun", "1.8.1 writes -1 and leaves its cgroups behind").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/pids", json!({ "limit": 42 }));
        t.create(&b).ok();
        assert_eq!(read(&b, "pids", "pids.max"), "42");
        let c = t.bundle();
        c.set("linux/resources/pids", json!({ "limit": -1 }));
        t.create(&c).ok();
        assert_eq!(read(&c, "pids", "pids.max"), "max");
    });
}

/// The runtime's own second process must not be what the limit hits.
#[test]
fn a_pids_limit_of_one_lets_the_program_start() {
    contract!(Root, Ctrl("pids")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/pids", json!({ "limit": 1 }));
        b.args(&["/guest", "report", "fork"]);
        let r = crate::harness::test::parse_report(&t.run(&b).ok().stdout);
        assert_eq!(of(&r["probes"], "fork/errno"), libc::EAGAIN);
    });
}

#[test]
fn a_memory_limit_of_a_megabyte_lets_the_program_start() {
    contract!(Root, Ctrl("memory")).differs("runc", "needs some 7 MB").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 1 << 20 }));
        b.args(&["/guest", "exit", "3"]);
        t.run(&b).exits(3);
    });
}

#[test]
fn block_weights_and_throttles_are_set() {
    contract!(Root, Ctrl1("blkio")).run(|t| {
        let root = crate::harness::needs::hierarchy("blkio").unwrap();
        let meta = std::fs::metadata("/").unwrap();
        let dev = std::os::unix::fs::MetadataExt::dev(&meta);
        let (major, minor) = (nix::libc::major(dev), nix::libc::minor(dev));
        if !std::path::Path::new(&format!("/sys/dev/block/{major}:{minor}/queue")).exists() {
            return;
        }
        let b = t.bundle();
        b.set(
            "linux/resources/blockIO",
            json!({
                "throttleReadBpsDevice": [{ "major": major, "minor": minor, "rate": 1_048_576 }],
                "throttleWriteIOPSDevice": [{ "major": major, "minor": minor, "rate": 500 }]
            }),
        );
        t.create(&b).ok();
        let line = |rate: u32| format!("{major}:{minor} {rate}");
        assert_eq!(read(&b, "blkio", "blkio.throttle.read_bps_device"), line(1_048_576));
        assert_eq!(read(&b, "blkio", "blkio.throttle.write_iops_device"), line(500));
        if root.join("blkio.weight").exists() {
            let c = t.bundle();
            c.set("linux/resources/blockIO", json!({ "weight": 300 }));
            t.create(&c).ok();
            assert_eq!(read(&c, "blkio", "blkio.weight"), "300");
        }
    });
}

/// On the development host hugetlb is on the v2 side of a hybrid layout.
#[test]
fn huge_page_limits_are_set_wherever_the_controller_is() {
    contract!(Root, Cgroup1).differs("runc", "1.1.5 knows v1 only").run(|t| {
        let Some(unified) = leftovers::hierarchies().into_iter().find(|h| h.v2) else { return };
        let has = std::fs::read_to_string(unified.mount.join("cgroup.controllers")).unwrap_or_default();
        if !has.contains("hugetlb") {
            return;
        }
        let b = t.bundle();
        b.set("linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }]));
        t.create(&b).ok();
        let path = unified.mount.join(&b.id).join("hugetlb.2MB.max");
        assert_eq!(std::fs::read_to_string(path).unwrap().trim(), (4 << 20).to_string());
    });
}

#[test]
fn an_unknown_huge_page_size_is_an_error() {
    contract!(Root, Ctrl("pids")).differs("crun", "leaves its cgroups behind").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 4 << 20 }]));
        t.create(&b).exits(1).fails_naming(&["3MB", "hugetlb"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn device_rules_deny_and_allow() {
    contract!(Root, Ctrl1("devices")).run(|t| {
        let b = t.bundle();
        let block = std::fs::metadata("/").map(|m| std::os::unix::fs::MetadataExt::dev(&m)).unwrap();
        let (major, minor) = (nix::libc::major(block), nix::libc::minor(block));
        b.set(
            "linux/resources/devices",
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }
            ]),
        );
        b.add("linux/devices", json!({ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }));
        b.add("linux/devices", json!({ "type": "b", "path": "/dev/disk", "major": major, "minor": minor }));
        b.add("linux/devices", json!({ "type": "c", "path": "/dev/mem", "major": 1, "minor": 1 }));
        let r = t.report(
            &b,
            &[
                "open-w:/dev/kmsg",
                "open-rw:/dev/disk",
                "open-w:/dev/mem",
                "open-rw:/dev/null",
                "open-rw:/dev/zero",
                "open-rw:/dev/tty",
            ],
        );
        let p = &r["probes"];
        assert_eq!(of(p, "open-w:~1dev~1kmsg/errno"), libc::EPERM);
        assert_eq!(of(p, "open-rw:~1dev~1disk/errno"), libc::EPERM);
        assert_eq!(of(p, "open-w:~1dev~1mem/errno"), libc::EPERM);
        assert_eq!(of(p, "open-rw:~1dev~1null/errno"), 0);
        assert_eq!(of(p, "open-rw:~1dev~1zero/errno"), 0);
        let list = {
            let c = t.bundle();
            c.set("linux/resources/devices", b.config.borrow()["linux"]["resources"]["devices"].clone());
            t.create(&c).ok();
            read(&c, "devices", "devices.list")
        };
        assert!(list.contains("c 1:11 r") && list.contains("c 1:3 rwm"), "{list}");
        assert!(!list.contains("a *:* rwm"), "{list}");
    });
}

#[test]
fn the_default_device_rules_are_added() {
    contract!(Root, Ctrl1("devices")).run(|t| {
        let b = t.created();
        let list = read(&b, "devices", "devices.list");
        for rule in [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
        ] {
            assert!(list.lines().any(|l| l == rule), "no `{rule}` in {list}");
        }
    });
}

#[test]
fn allow_all_devices_is_kept() {
    contract!(Root, Ctrl1("devices")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/devices", json!([{ "allow": true, "access": "rwm" }]));
        t.create(&b).ok();
        assert_eq!(read(&b, "devices", "devices.list"), "a *:* rwm");
    });
}

#[test]
fn unified_on_v1_is_an_error() {
    contract!(Root, Cgroup1).differs("crun", "leaves its cgroups behind").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/unified", json!({ "memory.high": "10000000" }));
        t.create(&b).exits(1).fails_naming(&["cannot use unified on cgroup v1", "unified"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn a_limit_on_a_missing_controller_is_an_error() {
    contract!(Root, Ctrl("pids")).differs("crun", "ignores it").run(|t| {
        if crate::harness::needs::hierarchy("net_cls").is_some() {
            return;
        }
        let b = t.bundle();
        b.set("linux/resources/network", json!({ "classID": 1_048_577 }));
        t.create(&b).exits(1).fails_naming(&["net_cls", "classID"]).one_line();
        t.nothing_left(&b.id);
    });
}

/// 1 byte is refused by the kernel as soon as something is charged, or starves init: never a hang.
#[test]
fn an_impossible_memory_limit_fails_cleanly() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 4096 }));
        b.args(&["/bin/true"]);
        t.run(&b).fails_naming(&["memory", "oom", "out of memory"]);
        t.nothing_left(&b.id);
    });
}

#[test]
fn cgroups_are_seen_in_the_container() {
    contract!(Root, Cgroup1).run(|t| {
        let b = t.bundle();
        b.mount(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]
        }));
        let r = t.report(
            &b,
            &["ls:/sys/fs/cgroup", "read:/sys/fs/cgroup/pids/cgroup.procs", "mkdir:/sys/fs/cgroup/pids/x"],
        );
        let names = of(&r["probes"], "ls:~1sys~1fs~1cgroup/names").to_string();
        assert!(names.contains("memory") && names.contains("systemd"), "{names}");
        assert_eq!(
            of(&r["probes"], "read:~1sys~1fs~1cgroup~1pids~1cgroup.procs/text"),
            "1\n",
            "its own, not the host's"
        );
        assert_ne!(of(&r["probes"], "mkdir:~1sys~1fs~1cgroup~1pids~1x/errno"), 0);
    });
}

/// Without a cgroup namespace they are bound, as a user namespace may not mount them: nothing is lost, nothing said.
#[test]
fn cgroups_are_seen_in_a_user_namespace() {
    contract!(Root, Userns, Cgroup1).run(|t| {
        let b = t.bundle();
        b.userns(100_000).mount(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "rw"]
        }));
        b.args(&["/bin/sh", "-c", "read pid < /sys/fs/cgroup/pids/cgroup.procs && echo $pid"]);
        let out = t.run(&b).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("1\n", ""));
    });
}

#[test]
fn cgroups_are_seen_with_a_cgroup_namespace() {
    contract!(Root, Cgroup1).run(|t| {
        let b = t.bundle();
        b.edit(|c| crate::harness::namespaced(c, "cgroup", None));
        b.mount(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev"]
        }));
        let r = t.report(&b, &["ls:/sys/fs/cgroup", "read:/sys/fs/cgroup/pids/cgroup.procs"]);
        assert_eq!(of(&r["probes"], "read:~1sys~1fs~1cgroup~1pids~1cgroup.procs/text"), "1\n");
    });
}

#[test]
fn everything_is_removed_with_the_container() {
    contract!(Root, Ctrl("pids")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 64 << 20 }));
        b.set("linux/resources/pids", json!({ "limit": 10 })).args(&["/bin/true"]);
        t.run(&b).ok();
        let left: Vec<Value> = leftovers::cgroups(&b.id).iter().map(|p| json!(p)).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
