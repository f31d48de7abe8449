//! mounts[]: order, options of every family, mount points, propagation, overlay, idmaps (contract §2.2).

use crate::contract;
use crate::harness::{Bundle, Test, leftovers, of};
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// (options, optional fields, file system, super options) of the last mount at `destination`.
pub fn mount_line(report: &Value, destination: &str) -> (String, String, String, String) {
    let lines = report["mountinfo"].as_array().unwrap();
    let line = lines.iter().map(|l| l.as_str().unwrap()).rfind(|l| l.split(' ').nth(4) == Some(destination));
    let line = line.unwrap_or_else(|| panic!("nothing is mounted at {destination}: {lines:#?}"));
    let (left, right) = line.split_once(" - ").unwrap();
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    (left[5].into(), left[6..].join(" "), right[0].into(), right[2].into())
}

pub fn is_mounted(report: &Value, destination: &str) -> bool {
    let lines = report["mountinfo"].as_array().unwrap();
    lines.iter().any(|l| l.as_str().unwrap().split(' ').nth(4) == Some(destination))
}

pub fn has(options: &str, option: &str) -> bool {
    options.split(',').any(|o| o == option)
}

pub fn host_dir(t: &Test) -> std::path::PathBuf {
    let dir = t.fresh_dir("host");
    std::fs::write(dir.join("file"), "from the host\n").unwrap();
    dir
}

pub fn bind(b: &Bundle, source: &Path, destination: &str, options: &[&str]) {
    b.mount(json!({ "destination": destination, "type": "bind", "source": source, "options": options }));
}

#[test]
fn the_usual_mounts_are_there() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &["ls:/dev", "readlink:/dev/fd", "readlink:/dev/ptmx", "stat:/dev/shm"]);
        for (destination, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
        ] {
            assert_eq!(mount_line(&r, destination).2, kind, "{destination}");
        }
        let (options, ..) = mount_line(&r, "/sys");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(has(&options, option), "{options}");
        }
        assert_eq!(of(&r["probes"], "stat:~1dev~1shm/mode"), 0o1777);
        let (.., data) = mount_line(&r, "/dev/pts");
        assert!(data.contains("ptmxmode=666") && data.contains("mode=620"), "{data}");
    });
}

#[test]
fn nothing_of_the_hosts_tree_stays_mounted() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &["ls:/"]);
        let lines = r["mountinfo"].as_array().unwrap();
        assert_eq!(lines.len(), 7, "{lines:#?}");
    });
}

#[test]
fn mounts_are_made_in_the_listed_order() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        std::fs::create_dir(dir.join("sub")).unwrap();
        bind(&b, &dir, "/a", &["bind"]);
        b.mount(
            json!({ "destination": "/a/sub", "type": "tmpfs", "source": "tmpfs", "options": ["mode=711"] }),
        );
        let r = t.report(&b, &["read:/a/file", "stat:/a/sub", "statfs:/a/sub"]);
        assert_eq!(of(&r["probes"], "read:~1a~1file/text"), "from the host\n");
        assert_eq!(mount_line(&r, "/a/sub").2, "tmpfs");
    });
}

#[test]
fn a_later_mount_covers_an_earlier_one() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/a", "type": "tmpfs", "source": "one" }));
        bind(&b, &host_dir(t), "/a", &["bind"]);
        let r = t.report(&b, &["read:/a/file"]);
        assert_eq!(of(&r["probes"], "read:~1a~1file/errno"), 0);
    });
}

#[test]
fn tmpfs_takes_size_mode_and_owner() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let options = ["size=1m", "mode=1750", "uid=7", "gid=8", "nr_inodes=100"];
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options }));
        let r = t.report(&b, &["stat:/t"]);
        let stat = of(&r["probes"], "stat:~1t");
        assert_eq!((&stat["mode"], &stat["uid"], &stat["gid"]), (&json!(0o1750), &json!(7), &json!(8)));
        let (.., data) = mount_line(&r, "/t");
        assert!(has(&data, "size=1024k") && has(&data, "nr_inodes=100"), "{data}");
    });
}

#[test]
fn a_tmpfs_copies_the_mode_of_what_it_covers() {
    contract!(Root).differs("crun", "makes it 1777").run(|t| {
        let b = t.bundle();
        std::fs::create_dir(b.host("/t")).unwrap();
        std::fs::set_permissions(b.host("/t"), PermissionsExt::from_mode(0o751)).unwrap();
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs" }));
        let r = t.report(&b, &["stat:/t"]);
        assert_eq!(of(&r["probes"], "stat:~1t/mode"), 0o751);
    });
}

#[test]
fn a_given_mode_beats_the_covered_directory() {
    contract!(Root).differs("runc", "1.1.5 takes the directory's").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["mode=711"] }));
        let r = t.report(&b, &["stat:/mnt"]);
        assert_eq!(of(&r["probes"], "stat:~1mnt/mode"), 0o711);
    });
}

#[test]
fn a_read_only_tmpfs_is_read_only() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["ro"] }));
        let r = t.report(&b, &["create:/t/x"]);
        assert_eq!(of(&r["probes"], "create:~1t~1x/errno"), libc::EROFS);
    });
}

/// Every flag that the specification demands is taken; those that mountinfo shows are seen there.
#[test]
fn every_required_option_is_taken() {
    contract!(Root).differs("crun", "1.8.1 hands iversion, lazytime, loud, silent to the file system").differs("runc", "1.1.5 hands `defaults` to the file system").run(|t| {
        let known = [
            "async", "atime", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime", "loud",
            "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "norelatime", "nostrictatime",
            "nosuid", "relatime", "ro", "rw", "silent", "strictatime", "suid", "sync",
        ];
        let b = t.bundle();
        for option in known {
            let destination = format!("/o/{option}");
            b.mount(json!({ "destination": destination, "type": "tmpfs", "source": "t", "options": [option] }));
        }
        let r = t.report(&b, &[]);
        let shown = |name: &str| {
            let (options, _, _, data) = mount_line(&r, &format!("/o/{name}"));
            has(&options, name) || has(&data, name)
        };
        for name in ["noatime", "nodev", "nodiratime", "noexec", "nosuid", "ro", "rw", "sync", "dirsync", "lazytime"] {
            assert!(shown(name), "{name}: {:?}", mount_line(&r, &format!("/o/{name}")));
        }
        let (options, ..) = mount_line(&r, "/o/strictatime");
        assert!(!has(&options, "relatime") && !has(&options, "noatime"), "{options}");
    });
}

#[test]
fn symlink_options_are_taken() {
    contract!(Root).differs("crun", "1.8.1 does not know them").run(|t| {
        let b = t.bundle();
        bind(&b, &host_dir(t), "/n", &["bind", "nosymfollow"]);
        bind(&b, &host_dir(t), "/s", &["bind", "symfollow"]);
        let (options, ..) = mount_line(&t.report(&b, &[]), "/n");
        assert!(has(&options, "nosymfollow"), "{options}");
    });
}

#[test]
fn unknown_options_go_to_the_file_system() {
    contract!(Root).differs("crun", "names the destination without its slash and not the field").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["huge=never", "mode=700"] }));
        t.report(&b, &[]);
        b.mount(json!({ "destination": "/u", "type": "tmpfs", "source": "t", "options": ["frobnicate"] }));
        t.run(&b).exits(1).fails_naming(&["invalid argument"]).fails_naming(&["/u", "mounts[7]"]);
        t.nothing_left(&b.id);
    });
}

#[test]
fn tmpcopyup_copies_what_was_there() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = b.host("/data/sub");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("file"), "kept").unwrap();
        std::os::unix::fs::chown(dir.join("file"), Some(5), Some(6)).unwrap();
        symlink("sub/file", b.host("/data/link")).unwrap();
        b.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
        let r = t.report(
            &b,
            &["read:/data/sub/file", "stat:/data/sub/file", "readlink:/data/link", "create:/data/new"],
        );
        assert_eq!(of(&r["probes"], "read:~1data~1sub~1file/text"), "kept");
        assert_eq!(of(&r["probes"], "stat:~1data~1sub~1file/uid"), 5);
        assert_eq!(of(&r["probes"], "readlink:~1data~1link/target"), "sub/file");
        assert_eq!(of(&r["probes"], "create:~1data~1new/errno"), 0);
        assert!(!b.host("/data/new").exists(), "it went into the tmpfs");
        assert_eq!(mount_line(&r, "/data").2, "tmpfs");
    });
}

/// What an image has at such a place goes into memory, and is the host's loss unless the limit holds.
#[test]
fn tmpcopyup_copies_holes_as_holes_and_within_the_memory_limit() {
    contract!(Root)
        .differs("runc", "copies holes as zeros, before there is a limit")
        .differs("crun", "copies holes as zeros")
        .run(|t| {
            let b = t.bundle();
            std::fs::create_dir(b.host("/data")).unwrap();
            let file = File::create(b.host("/data/sparse")).unwrap();
            file.write_at(b"middle", 100 << 20).unwrap();
            file.set_len(200 << 20).unwrap();
            b.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
            b.set("linux/resources/memory/limit", json!(48 << 20));
            b.shell("stat -c '%s %b' /data/sparse; dd if=/data/sparse bs=1M skip=100 count=1 2>/dev/null | head -c 6");
            let out = t.run(&b).ok();
            let words: Vec<_> = out.stdout.split_whitespace().collect();
            assert_eq!((words[0], words[2]), ("209715200", "middle"));
            assert!(words[1].parse::<u64>().unwrap() < 4096, "{} blocks", words[1]);

            // Data instead.
            let b = t.bundle();
            std::fs::create_dir(b.host("/data")).unwrap();
            std::fs::write(b.host("/data/full"), vec![1; 160 << 20]).unwrap();
            b.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
            b.set("linux/resources/memory/limit", json!(24 << 20));
            let mut creating = t.call_create(&b, &[]).spawn();
            let mut most = 0;
            while !creating.has_ended() {
                for dir in leftovers::cgroups(&b.id) {
                    for file in ["memory.usage_in_bytes", "memory.current"] {
                        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
                        most = most.max(text.trim().parse::<u64>().unwrap_or(0));
                    }
                }
            }
            creating.wait().fails();
            assert!((1..40 << 20).contains(&most), "{most} bytes");
            t.nothing_left(&b.id);
        });
}

#[test]
fn an_overlay_mount_works() {
    contract!(Root, Overlay).run(|t| {
        let b = t.bundle();
        let base = t.fresh_dir("overlay");
        t.mount("tmpfs", &base, "tmpfs", MsFlags::empty(), "mode=755");
        for (dir, file) in [("low1", "one"), ("low2", "two"), ("upper", "up"), ("work", "")] {
            std::fs::create_dir(base.join(dir)).unwrap();
            if !file.is_empty() {
                std::fs::write(base.join(dir).join(file), file).unwrap();
            }
        }
        let p = |n: &str| base.join(n).display().to_string();
        let options = [
            format!("lowerdir={}:{}", p("low1"), p("low2")),
            format!("upperdir={}", p("upper")),
            format!("workdir={}", p("work")),
        ];
        b.mount(json!({ "destination": "/o", "type": "overlay", "source": "overlay", "options": options }));
        let r = t.report(&b, &["ls:/o", "create:/o/new"]);
        assert_eq!(of(&r["probes"], "ls:~1o/names"), &json!(["one", "two", "up"]));
        assert!(base.join("upper/new").exists());
    });
}

/// Real engines give lowerdir lists of thousands of bytes, which fsconfig refuses beyond 255.
#[test]
fn an_overlay_with_a_long_lowerdir_works() {
    contract!(Root, Overlay).run(|t| {
        let b = t.bundle();
        let base = t.fresh_dir("overlay");
        t.mount("tmpfs", &base, "tmpfs", MsFlags::empty(), "mode=755");
        let mut lower = Vec::new();
        for n in 0..12 {
            let dir = base.join(format!("{}{n}", "l".repeat(40)));
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join(format!("f{n}")), "").unwrap();
            lower.push(dir.display().to_string());
        }
        let option = format!("lowerdir={}", lower.join(":"));
        b.mount(json!({ "destination": "/o", "type": "overlay", "source": "overlay", "options": [option] }));
        let r = t.report(&b, &["ls:/o"]);
        assert_eq!(of(&r["probes"], "ls:~1o/names").as_array().unwrap().len(), 12);
    });
}

#[test]
fn a_relative_destination_is_taken_from_the_root() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "rel/dir", "type": "tmpfs", "source": "t" }));
        b.args(&["/guest", "report"]);
        let out = t.run(&b).ok();
        let r = crate::harness::test::parse_report(&out.stdout);
        assert!(is_mounted(&r, "/rel/dir"));
    });
}

#[test]
fn symlinks_in_a_destination_stay_inside() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        symlink("/abs", b.host("/link")).unwrap();
        std::fs::create_dir(b.host("/abs")).unwrap();
        symlink("../../../../../../../../tmp/inside", b.host("/up")).unwrap();
        std::fs::create_dir(b.host("/tmp/inside")).unwrap();
        b.mount(json!({ "destination": "/link/point", "type": "tmpfs", "source": "t" }));
        b.mount(json!({ "destination": "/up/point", "type": "tmpfs", "source": "t" }));
        let r = t.report(&b, &[]);
        assert!(is_mounted(&r, "/abs/point") && is_mounted(&r, "/tmp/inside/point"));
        assert!(!Path::new("/tmp/inside").exists());
    });
}

/// A dangling absolute symlink is common in images; the target is made inside the rootfs.
#[test]
fn a_dangling_symlink_in_a_destination_is_followed_inside() {
    contract!(Root).differs("crun", "refuses").run(|t| {
        let b = t.bundle();
        symlink("/abs/path/missing", b.host("/lnk")).unwrap();
        b.mount(json!({ "destination": "/lnk/new/x", "type": "tmpfs", "source": "t" }));
        let r = t.report(&b, &[]);
        assert!(is_mounted(&r, "/abs/path/missing/new/x"), "{:#?}", r["mountinfo"]);
    });
}

#[test]
fn dotdot_in_a_destination_stays_inside() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/../../../mnt/x", "type": "tmpfs", "source": "t" }));
        assert!(is_mounted(&t.report(&b, &[]), "/mnt/x"));
    });
}

#[test]
fn a_file_onto_a_directory_names_both() {
    contract!(Root).differs("crun", "names the destination without its slash").run(|t| {
        let b = t.bundle();
        bind(&b, &host_dir(t).join("file"), "/etc", &["bind"]);
        t.create(&b).exits(1).fails_naming(&["not a directory"]).fails_naming(&["/etc"]).one_line();
        t.nothing_left(&b.id);
        let c = t.bundle();
        bind(&c, &host_dir(t), "/etc/passwd", &["bind"]);
        t.create(&c)
            .exits(1)
            .fails_naming(&["not a directory", "file exists"])
            .fails_naming(&["/etc/passwd"])
            .one_line();
        t.nothing_left(&c.id);
    });
}

#[test]
fn an_unknown_file_system_is_named() {
    contract!(Root).differs("crun", "names neither the file system nor the field").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/d", "type": "frobfs", "source": "x" }));
        t.create(&b).exits(1).fails_naming(&["no such device"]).fails_naming(&["frobfs", "/d"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn only_procfs_goes_onto_proc() {
    contract!(Root).differs("crun", "mounts it").run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/proc", "type": "tmpfs", "source": "t" }));
        t.create(&b).exits(1).fails_naming(&["/proc"]).one_line();
        t.nothing_left(&b.id);
        let c = t.bundle();
        c.mount(json!({ "destination": "/proc/self", "type": "tmpfs", "source": "t" }));
        t.create(&c).exits(1).fails_naming(&["/proc"]);
        t.nothing_left(&c.id);
    });
}

/// lxcfs covers these.
#[test]
fn some_files_of_proc_may_be_covered() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = host_dir(t);
        bind(&b, &dir.join("file"), "/proc/meminfo", &["bind"]);
        bind(&b, &dir.join("file"), "/proc/uptime", &["bind", "ro"]);
        let r = t.report(&b, &["read:/proc/meminfo", "read:/proc/uptime"]);
        assert_eq!(of(&r["probes"], "read:~1proc~1meminfo/text"), "from the host\n");
        assert_eq!(of(&r["probes"], "read:~1proc~1uptime/text"), "from the host\n");
    });
}

#[test]
fn mounts_do_not_reach_the_host() {
    contract!(Root).run(|t| {
        let before = leftovers::mountinfo();
        let b = t.bundle();
        bind(&b, &host_dir(t), "/d", &["rbind", "rslave"]);
        b.mount(json!({ "destination": "/d/sub", "type": "tmpfs", "source": "t" }));
        t.create(&b).ok();
        assert_eq!(leftovers::mountinfo(), before);
        t.start(&b).ok();
        assert_eq!(leftovers::mountinfo(), before);
    });
}
