//! What happens to the root besides mounts[]: read-only, /dev, devices, masks, propagation, pivot or not
//! (contract §2.3, §2.5).

use crate::contract;
use crate::harness::config::{without_mount, without_namespace};
use crate::harness::of;
use serde_json::json;
use std::os::unix::fs::symlink;

#[test]
fn a_read_only_root_is_read_only_and_its_mounts_are_not() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("root/readonly", json!(true));
        b.mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "t" }));
        let r = t.report(&b, &["create:/x", "create:/tmp/x", "create:/dev/x", "mkdir:/new"]);
        assert_eq!(of(&r["probes"], "create:~1x/errno"), libc::EROFS);
        assert_eq!(of(&r["probes"], "mkdir:~1new/errno"), libc::EROFS);
        assert_eq!(of(&r["probes"], "create:~1tmp~1x/errno"), 0);
        assert_eq!(of(&r["probes"], "create:~1dev~1x/errno"), 0);
    });
}

#[test]
fn mount_points_are_made_in_a_read_only_root() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("root/readonly", json!(true));
        b.mount(json!({ "destination": "/made/here", "type": "tmpfs", "source": "t" }));
        let r = t.report(&b, &["create:/made/here/x"]);
        assert_eq!(of(&r["probes"], "create:~1made~1here~1x/errno"), 0);
    });
}

#[test]
fn the_root_is_writable_by_default() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.remove("root/readonly");
        t.report(&b, &["create:/x"]);
        assert!(b.host("/x").exists());
    });
}

#[test]
fn an_absolute_rootfs_path_works() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("root/path", json!(b.rootfs())).args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// The default devices are there whether or not the config lists any.
#[test]
fn default_devices_and_links_are_made() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let names = ["null", "zero", "full", "random", "urandom", "tty"];
        let probes: Vec<String> = names.iter().map(|n| format!("stat:/dev/{n}")).collect();
        let mut all: Vec<&str> = probes.iter().map(String::as_str).collect();
        let links = ["fd", "stdin", "stdout", "stderr", "ptmx", "core"];
        let link_probes: Vec<String> = links.iter().map(|n| format!("readlink:/dev/{n}")).collect();
        all.extend(link_probes.iter().map(String::as_str));
        let r = t.report(&b, &all);
        let numbers = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];
        for (name, (major, minor)) in names.iter().zip(numbers) {
            let stat = of(&r["probes"], &format!("stat:~1dev~1{name}"));
            assert_eq!((&stat["type"], &stat["mode"]), (&json!("char"), &json!(0o666)), "{name}: {stat}");
            assert_eq!((&stat["major"], &stat["minor"]), (&json!(major), &json!(minor)), "{name}");
        }
        for (link, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("core", "/proc/kcore"),
        ] {
            if !std::path::Path::new("/proc/kcore").exists() && link == "core" {
                continue;
            }
            assert_eq!(of(&r["probes"], &format!("readlink:~1dev~1{link}/target")), target, "{link}");
        }
        let ptmx = of(&r["probes"], "readlink:~1dev~1ptmx/target").as_str().unwrap();
        assert!(matches!(ptmx, "pts/ptmx" | "/dev/pts/ptmx"), "{ptmx}");
    });
}

#[test]
fn default_devices_work() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        let r = t
            .report(&b, &["open-rw:/dev/null", "open-rw:/dev/zero", "open-w:/dev/full", "open-rw:/dev/ptmx"]);
        for probe in
            ["open-rw:~1dev~1null", "open-rw:~1dev~1zero", "open-w:~1dev~1full", "open-rw:~1dev~1ptmx"]
        {
            assert_eq!(of(&r["probes"], &format!("{probe}/errno")), 0, "{probe}");
        }
    });
}

#[test]
fn listed_devices_are_made() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set(
            "linux/devices",
            json!([
                { "type": "c", "path": "/dev/test", "major": 10, "minor": 300, "fileMode": 0o640, "uid": 3, "gid": 4 },
                { "type": "b", "path": "/deep/er/loop", "major": 7, "minor": 5 },
                { "type": "u", "path": "/dev/un", "major": 1, "minor": 3 },
                { "type": "p", "path": "/dev/fifo", "fileMode": 0o600 }
            ]),
        );
        let r = t.report(&b, &["stat:/dev/test", "stat:/deep/er/loop", "stat:/dev/un", "stat:/dev/fifo"]);
        let p = &r["probes"];
        let test = of(p, "stat:~1dev~1test");
        assert_eq!((&test["type"], &test["major"], &test["minor"]), (&json!("char"), &json!(10), &json!(300)));
        assert_eq!((&test["mode"], &test["uid"], &test["gid"]), (&json!(0o640), &json!(3), &json!(4)));
        let lo = of(p, "stat:~1deep~1er~1loop");
        assert_eq!((&lo["type"], &lo["major"], &lo["minor"]), (&json!("block"), &json!(7), &json!(5)));
        assert_eq!(of(p, "stat:~1dev~1un/type"), "char");
        let fifo = of(p, "stat:~1dev~1fifo");
        assert_eq!((&fifo["type"], &fifo["mode"]), (&json!("fifo"), &json!(0o600)));
    });
}

#[test]
fn the_mode_of_a_device_does_not_depend_on_a_umask() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add(
            "linux/devices",
            json!({ "type": "c", "path": "/dev/t", "major": 1, "minor": 3, "fileMode": 0o777 }),
        );
        b.add("linux/devices", json!({ "type": "c", "path": "/dev/d", "major": 1, "minor": 3 }));
        b.set("process/user/umask", json!(0o77)).args(&["/guest", "report", "stat:/dev/t", "stat:/dev/d"]);
        let r = crate::harness::test::parse_report(&t.call_run(&b, &[]).umask(0o77).ok().stdout);
        assert_eq!(of(&r["probes"], "stat:~1dev~1t/mode"), 0o777);
        let mode = of(&r["probes"], "stat:~1dev~1d/mode").as_u64().unwrap();
        assert!(mode == 0o666 || mode == 0, "{mode:o}");
    });
}

#[test]
fn a_listed_device_replaces_the_default_one() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add(
            "linux/devices",
            json!({ "type": "c", "path": "/dev/full", "major": 1, "minor": 7, "fileMode": 0o600 }),
        );
        let r = t.report(&b, &["stat:/dev/full"]);
        assert_eq!(of(&r["probes"], "stat:~1dev~1full/mode"), 0o600);
    });
}

#[test]
fn a_bound_dev_of_the_host_is_left_alone() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dev = t.fresh_dir("dev");
        b.edit(|c| {
            for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                without_mount(c, at);
            }
        });
        b.mount(json!({ "destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"] }));
        b.args(&["/bin/true"]);
        t.run(&b);
        assert!(!dev.join("full").exists() && !dev.join("core").exists());
    });
}

#[test]
fn masked_paths_show_nothing() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        std::fs::write(b.host("/secret"), "secret").unwrap();
        std::fs::create_dir(b.host("/dir")).unwrap();
        std::fs::write(b.host("/dir/file"), "secret").unwrap();
        b.set("linux/maskedPaths", json!(["/secret", "/dir", "/no/such/path", "/proc/version", "/secret"]));
        let probes =
            ["read:/secret", "ls:/dir", "read:/proc/version", "create:/dir/x", "stat:/no", "write:/secret=x"];
        let r = t.report(&b, &probes);
        let p = &r["probes"];
        assert_eq!(of(p, "read:~1secret/text"), "");
        assert_eq!(of(p, "ls:~1dir/names"), &json!([]));
        assert_eq!(of(p, "read:~1proc~1version/text"), "");
        assert_ne!(of(p, "create:~1dir~1x/errno"), 0);
        assert_eq!(of(p, "stat:~1no/errno"), libc::ENOENT, "a missing path is not made");
        assert_eq!(std::fs::read_to_string(b.host("/secret")).unwrap(), "secret");
    });
}

#[test]
fn many_masked_directories_are_all_empty() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let mut probes = Vec::new();
        for n in 0..12 {
            let dir = format!("/m{n}");
            std::fs::create_dir(b.host(&dir)).unwrap();
            std::fs::write(b.host(&format!("{dir}/f")), "x").unwrap();
            b.add("linux/maskedPaths", json!(dir));
            probes.push(format!("ls:{dir}"));
        }
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        let r = t.report(&b, &probes);
        for n in 0..12 {
            assert_eq!(of(&r["probes"], &format!("ls:~1m{n}/names")), &json!([]));
        }
    });
}

#[test]
fn read_only_paths_are_read_only() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        std::fs::create_dir_all(b.host("/dir/sub")).unwrap();
        std::fs::write(b.host("/file"), "text").unwrap();
        b.set("linux/readonlyPaths", json!(["/dir", "/file", "/proc/sys", "/missing", "/dir"]));
        let probes = ["create:/dir/sub/x", "open-w:/file", "read:/file", "open-w:/proc/sys/kernel/shmmax"];
        let r = t.report(&b, &probes);
        let p = &r["probes"];
        assert_eq!(of(p, "create:~1dir~1sub~1x/errno"), libc::EROFS);
        assert_eq!(of(p, "open-w:~1file/errno"), libc::EROFS);
        assert_eq!(of(p, "read:~1file/text"), "text");
        assert_eq!(of(p, "open-w:~1proc~1sys~1kernel~1shmmax/errno"), libc::EROFS);
    });
}

#[test]
fn read_only_paths_keep_other_flags() {
    contract!(Root).differs("crun", "loses them").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["nosuid", "nodev", "noexec"] }));
        b.set("linux/readonlyPaths", json!(["/mnt"]));
        let r = t.report(&b, &[]);
        let lines = r["mountinfo"].as_array().unwrap();
        let line = lines.iter().rfind(|l| l.as_str().unwrap().contains(" /mnt ")).unwrap().as_str().unwrap();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(line.split(' ').nth(5).unwrap().split(',').any(|o| o == option), "{line}");
        }
    });
}

#[test]
fn root_propagation_is_set() {
    contract!(Root)
        .differs("runc", "1.1.5 sets it before pivot_root only, on what becomes the old root")
        .run(|t| {
            let b = t.bundle();
            for kind in
                ["shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable"]
            {
                b.set("linux/rootfsPropagation", json!(kind));
                let r = t.report(&b, &[]);
                let lines = r["mountinfo"].as_array().unwrap();
                let line =
                    lines.iter().map(|l| l.as_str().unwrap()).find(|l| l.split(' ').nth(4) == Some("/"));
                let (fields, _) = line.unwrap().split_once(" - ").unwrap();
                assert_eq!(fields.contains("shared:"), kind.ends_with("shared"), "{kind}: {fields}");
                assert_eq!(fields.contains("unbindable"), kind.ends_with("unbindable"), "{kind}: {fields}");
                if kind.ends_with("private") {
                    assert!(!fields.contains("master:"), "{kind}: {fields}");
                }
            }
        });
}

#[test]
fn no_pivot_gives_the_same_view() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report_with(&b, &["--no-pivot"], &["ls:/", "stat:/dev/null"]);
        let names = of(&r["probes"], "ls:~1/names").to_string();
        assert!(names.contains("guest") && !names.contains("boot"), "{names}");
        assert_eq!(of(&r["probes"], "stat:~1dev~1null/type"), "char");
    });
}

/// With no mount namespace of its own the container is a chroot jail: nothing may be mounted for it.
#[test]
fn without_mount_namespace_it_is_a_chroot() {
    contract!(Root)
        .differs("runc", "1.1.5 binds the rootfs in the caller's namespace, and fails without /proc")
        .run(|t| {
            let b = t.bundle();
            b.edit(|c| without_namespace(c, "mount")).set("mounts", json!([]));
            let before = crate::harness::leftovers::mountinfo();
            let r = t.report(&b, &["ls:/", "chdir:/.."]);
            let names = of(&r["probes"], "ls:~1/names").to_string();
            assert!(names.contains("guest"), "{names}");
            assert_eq!(r["cwd"], "/");
            assert_eq!(crate::harness::leftovers::mountinfo(), before, "the host's mounts are untouched");
        });
}

#[test]
fn without_mount_namespace_mounts_are_refused() {
    contract!(Root)
        .differs("runc", "1.1.5 mounts them into the caller's namespace")
        .differs("crun", "1.8.1 mounts them into the caller's namespace or fails half way")
        .run(|t| {
            for (pointer, value) in [
                ("mounts", json!([{ "destination": "/mnt", "type": "tmpfs", "source": "t" }])),
                ("root/readonly", json!(true)),
                ("linux/maskedPaths", json!(["/etc"])),
                ("linux/readonlyPaths", json!(["/etc"])),
                ("linux/rootfsPropagation", json!("slave")),
            ] {
                let b = t.bundle();
                b.edit(|c| without_namespace(c, "mount")).set("mounts", json!([])).set(pointer, value);
                let before = crate::harness::leftovers::mountinfo();
                let name = pointer.rsplit('/').next().unwrap();
                t.create(&b).exits(1).fails_naming(&["mount namespace", name]).one_line();
                assert_eq!(crate::harness::leftovers::mountinfo(), before);
                t.nothing_left(&b.id);
            }
        });
}

#[test]
fn a_symlink_at_the_place_of_a_device_is_not_followed() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| {
            for at in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                without_mount(c, at);
            }
        });
        let sentinel = t.fresh("sentinel");
        std::fs::write(&sentinel, "mine").unwrap();
        symlink(&sentinel, b.host("/dev/zero")).unwrap();
        symlink(&sentinel, b.host("/dev/ptmx")).unwrap();
        b.args(&["/bin/true"]);
        t.run(&b);
        assert_eq!(std::fs::read_to_string(&sentinel).unwrap(), "mine");
    });
}
