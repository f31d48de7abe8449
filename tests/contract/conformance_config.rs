//! Sentences of config.md (runtime-spec 1.3) but hooks that no other module asks for; CONFORMANCE.md says where the
//! rest is.

use crate::contract;
use crate::harness::socket::Receiving;
use crate::harness::test::{map, parse_report};
use crate::harness::{Bundle, Test, of};
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

#[track_caller]
fn refused(t: &Test, change: impl FnOnce(&Bundle), words: &[&str]) {
    let b = t.bundle();
    change(&b);
    t.create(&b).exits(1).fails_naming(words).one_line();
    t.nothing_left(&b.id);
}

/// "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format"
#[test]
fn the_version_is_a_semver() {
    contract!(Root)
        .differs("runc", "1.1.5 takes any")
        .differs("crun", "does not name the field, takes what begins with 1")
        .run(|t| {
            let faulty = [
                "1",
                "1.0",
                "1.0.",
                "1.0.x",
                "1.0.2.1",
                "01.0.0",
                "1.00.0",
                "1.0.00",
                "v1.0.0",
                " 1.0.0",
                "1.0.0 ",
                "1.0.0-",
                "1.0.0+",
                "1.0.0-a..b",
                "1.0.0-01",
                "1.0.0-ä",
            ];
            for version in faulty {
                refused(t, |b| _ = b.set("ociVersion", json!(version)), &["ociVersion"]);
            }
            for version in
                ["1.0.0-rc.1", "1.0.2-dev", "1.2.0+dev", "1.1.0-rc.2-dev+build.5", "1.0.0-0a.x-y", "1.99.7"]
            {
                let b = t.bundle();
                b.set("ociVersion", json!(version)).args(&["/bin/true"]);
                t.run(&b).ok();
            }
        });
}

/// "(REQUIRED)" members, and "Runtimes MUST generate an error when invalid or unsupported values are encountered."
#[test]
fn required_members_are_missed() {
    contract!(Root)
        .differs("runc", "Go has zero values for them")
        .differs("crun", "takes some for empty")
        .run(|t| {
            let rlimit = json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }]);
            let hook = json!([{ "path": "/bin/true", "args": ["true"] }]);
            let tmpfs = json!([{ "destination": "/t", "type": "tmpfs", "source": "t" }]);
            let scheduler = json!({ "policy": "SCHED_OTHER", "nice": 1 });
            let maps = json!([{ "destination": "/d", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"],
                "uidMappings": [map(0, 5, 1)], "gidMappings": [map(0, 5, 1)] }]);
            let rows = [
                ("root", json!({ "path": "rootfs", "readonly": true }), "root/path", "path"),
                ("mounts", tmpfs, "mounts/0/destination", "destination"),
                ("process/cwd", json!("/"), "process/cwd", "cwd"),
                ("process/args", json!(["/bin/true"]), "process/args", "process.args"),
                ("process/rlimits", rlimit.clone(), "process/rlimits/0/type", "type"),
                ("process/rlimits", rlimit.clone(), "process/rlimits/0/soft", "process.rlimits[0].soft"),
                ("process/rlimits", rlimit, "process/rlimits/0/hard", "process.rlimits[0].hard"),
                ("process/scheduler", scheduler, "process/scheduler/policy", "policy"),
                (
                    "process/ioPriority",
                    json!({ "class": "IOPRIO_CLASS_BE", "priority": 3 }),
                    "process/ioPriority/class",
                    "process.ioPriority.class",
                ),
                ("mounts", maps.clone(), "mounts/0/uidMappings/0/hostID", "mounts[0].uidMappings[0].hostID"),
                ("mounts", maps, "mounts/0/gidMappings/0/containerID", "mounts[0].gidMappings[0].containerID"),
                ("hooks/prestart", hook.clone(), "hooks/prestart/0/path", "path"),
                ("hooks/createRuntime", hook.clone(), "hooks/createRuntime/0/path", "path"),
                ("hooks/poststop", hook, "hooks/poststop/0/path", "path"),
            ];
            for (field, value, member, word) in rows {
                refused(t, |b| _ = b.set(field, value).remove(member), &[word]);
            }
            for member in ["height", "width"] {
                let b = t.bundle();
                let path = t.fresh("console");
                let _receiving = Receiving::at(&path);
                b.set("process/terminal", json!(true));
                b.set("process/consoleSize", json!({ "height": 5, "width": 6 }));
                b.remove(&format!("process/consoleSize/{member}"));
                let out = t.call_create(&b, &["--console-socket", path.to_str().unwrap()]).run();
                out.exits(1).fails_naming(&[member]).one_line();
                t.nothing_left(&b.id);
            }
        });
}

/// "A directory MUST exist at the path declared by the field." (root.path)
#[test]
fn the_root_is_a_directory() {
    contract!(Root)
        .differs("crun", "says less about it")
        .differs("runc", "does not name a rootfs that is a file")
        .run(|t| {
            for path in ["no-such", "config.json", "/dev/null"] {
                refused(t, |b| _ = b.set("root/path", json!(path)), &[path]);
            }
        });
}

/// "remount" among the options that "Runtimes MUST implement", and mount_setattr's words have their effect on what is
/// mounted already.
#[test]
fn remount_changes_a_mount_that_is_there() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "t" }));
        b.mount(json!({ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["remount", "ro", "nosuid"] }));
        let r = t.report(&b, &["create:/t/file"]);
        assert_eq!(of(&r["probes"], "create:~1t~1file/errno"), libc::EROFS);
        let lines = r["mountinfo"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned());
        assert_eq!(lines.filter(|l| l.split(' ').nth(4) == Some("/t")).count(), 1, "remounted, not mounted again");
    });
}

/// "ridmap: Indicates that the mount MUST have an idmapping applied, and the mapping is applied recursively"; of
/// idmap only the mount itself.
#[test]
fn ridmap_is_recursive_and_idmap_is_not() {
    contract!(Root, Idmap)
        .differs("crun", "1.8.1 loses the mounts below")
        .differs("runc", "1.1.5 cannot")
        .run(|t| {
            let dir = t.fresh_dir("source");
            std::fs::create_dir(dir.join("sub")).unwrap();
            // Of the same file system: not every kernel that maps it maps a tmpfs too.
            let below = t.fresh_dir("below");
            t.mount(below.to_str().unwrap(), &dir.join("sub"), "none", MsFlags::MS_BIND, "");
            std::fs::write(dir.join("file"), "").unwrap();
            std::fs::write(dir.join("sub/file"), "").unwrap();
            for (option, below) in [("ridmap", 0), ("idmap", 65534)] {
                let b = t.bundle();
                b.userns(100_000);
                b.mount(json!({
                    "destination": "/d", "type": "bind", "source": dir, "options": ["rbind", option],
                    "uidMappings": [map(0, 100_000, 65536)], "gidMappings": [map(0, 100_000, 65536)]
                }));
                let r = t.report(&b, &["stat:/d/file", "stat:/d/sub/file"]);
                assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), 0, "{option}");
                assert_eq!(of(&r["probes"], "stat:~1d~1sub~1file/uid"), below, "{option}");
            }
        });
}

/// "If uidMappings or gidMappings are specified for the mount, the runtime MUST use those values for the mount's
/// mapping." – not the container's.
#[test]
fn the_mappings_of_a_mount_are_its_own() {
    contract!(Root, Idmap).differs("runc", "1.1.5 cannot").run(|t| {
        let dir = t.fresh_dir("source");
        std::fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::chown(dir.join("file"), Some(7), Some(9)).unwrap();
        let b = t.bundle();
        b.userns(100_000);
        b.mount(json!({
            "destination": "/d", "type": "bind", "source": dir, "options": ["bind", "idmap"],
            "uidMappings": [map(0, 100_000, 7), map(7, 100_500, 1)], "gidMappings": [map(9, 100_600, 1)]
        }));
        let r = t.report(&b, &["stat:/d/file"]);
        assert_eq!(of(&r["probes"], "stat:~1d~1file/uid"), 500);
        assert_eq!(of(&r["probes"], "stat:~1d~1file/gid"), 600);
    });
}

/// "If there are no uidMappings and gidMappings specified and the container isn't using user namespaces, an error
/// MUST be returned."; "If specified, it MUST be specified along with gidMappings."
#[test]
fn idmap_without_any_mapping_is_an_error() {
    contract!(Root, Idmap)
        .differs("runc", "1.1.5 takes it for data")
        .differs("crun", "does not name the field, takes one without the other")
        .run(|t| {
            let bind = |extra: Value| {
                let mut mount =
                    json!({ "destination": "/d", "type": "bind", "source": "/tmp", "options": ["bind"] });
                mount.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
                move |b: &Bundle| _ = b.mount(mount)
            };
            refused(t, bind(json!({ "options": ["bind", "idmap"] })), &["mounts[6]", "idmap"]);
            refused(t, bind(json!({ "options": ["rbind", "ridmap"] })), &["mounts[6]", "idmap"]);
            refused(t, bind(json!({ "uidMappings": [map(0, 5, 1)] })), &["mounts[6]", "gidMappings"]);
            refused(t, bind(json!({ "gidMappings": [map(0, 5, 1)] })), &["mounts[6]", "uidMappings"]);
        });
}

/// "Runtimes MUST ignore consoleSize if terminal is false or unset."
#[test]
fn a_console_size_without_a_terminal_is_ignored() {
    contract!(Root).run(|t| {
        for terminal in [Some(false), None] {
            let b = t.bundle();
            b.remove("process/terminal").set("process/consoleSize", json!({ "height": 70000, "width": 5 }));
            if let Some(value) = terminal {
                b.set("process/terminal", json!(value));
            }
            let r = t.report(&b, &[]);
            assert_eq!(of(&r, "tty/isatty"), &json!([false, false, false]));
        }
    });
}

/// "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise MUST be logged as
/// a warning by the runtime."
#[test]
fn a_capability_that_cannot_be_granted_is_warned_of() {
    contract!(Root).differs("runc", "fails").differs("crun", "1.8.1 fails").run(|t| {
        const CAP_SYS_TIME: u64 = 25;
        // SAFETY: prctl with plain numbers.
        assert_eq!(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_TIME) }, 0);
        let b = t.bundle();
        let caps = json!(["CAP_CHOWN", "CAP_SYS_TIME"]);
        b.set("process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
        b.args(&["/guest", "report"]);
        let out = t.run(&b).ok();
        let r = parse_report(&out.stdout);
        assert!(crate::harness::has_cap(&r, "CapEff", 0) && !crate::harness::has_cap(&r, "CapEff", 25));
        assert!(out.stderr.contains("CAP_SYS_TIME"), "no warning: {}", out.stderr);
    });
}

/// "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj."
#[test]
fn an_absent_oom_score_is_the_callers() {
    contract!(Root).run(|t| {
        std::fs::write("/proc/self/oom_score_adj", "321").unwrap();
        let b = t.bundle();
        assert_eq!(t.report(&b, &[])["oom_score_adj"], "321\n");
        b.set("process/oomScoreAdj", json!(400));
        assert_eq!(t.report(&b, &[])["oom_score_adj"], "400\n");
    });
}

/// "If not set, the runtime must use the value 0." (scheduler.nice; priority, runtime, deadline, period alike)
#[test]
fn absent_scheduler_values_are_zero() {
    contract!(Root).differs("runc", "1.1.5 does not know it").differs("crun", "1.8.1 does not know it").run(
        |t| {
            // SAFETY: plain numbers.
            assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 5) }, 0);
            let b = t.bundle();
            assert_eq!(of(&t.report(&b, &[]), "sched/nice"), 5, "nobody asked for another");
            for policy in ["SCHED_OTHER", "SCHED_BATCH"] {
                b.set("process/scheduler", json!({ "policy": policy }));
                let r = t.report(&b, &[]);
                let sched = of(&r, "sched");
                assert_eq!(sched["nice"], 0, "{policy}");
                for member in ["priority", "deadline", "period"] {
                    assert_eq!(sched[member], 0, "{policy} {member}");
                }
            }
        },
    );
}

/// "For each entry in rlimits, a getrlimit(3) on type MUST succeed. rlim.rlim_cur MUST match the configured value.
/// rlim.rlim_max MUST match the configured value."
#[test]
fn every_rlimit_is_as_configured() {
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
        let mut wanted = vec![];
        let mut rlimits = vec![];
        for (n, name) in names.iter().enumerate() {
            // Only downwards, so that nobody needs CAP_SYS_RESOURCE.
            let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a pointer to a local.
            assert_eq!(unsafe { libc::getrlimit(n as _, &mut now) }, 0);
            let hard = now.rlim_max.min(1 << 33);
            let soft = hard.min(now.rlim_cur);
            wanted.push(json!([soft, hard]));
            rlimits.push(json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard }));
        }
        b.set("process/rlimits", json!(rlimits));
        assert_eq!(of(&t.report(&b, &[]), "rlimits"), &json!(wanted));
    });
}

/// "Annotations MUST be a key-value map. Keys MUST be strings. Keys MUST NOT be an empty string. Values MUST be
/// strings."
#[test]
fn annotations_are_strings_with_names() {
    contract!(Root).differs("runc", "takes an empty key").differs("crun", "takes an empty key").run(|t| {
        for faulty in
            [json!({ "": "x" }), json!({ "a": 1 }), json!({ "a": { "b": "c" } }), json!(["a"]), json!("a")]
        {
            refused(t, |b| _ = b.set("annotations", faulty), &["annotations", "string"]);
        }
    });
}

/// "Runtimes MUST handle unknown annotation keys like any other unknown property."; "Values MAY be an empty string."
#[test]
fn unknown_annotations_are_ignored() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let annotations = json!({
            "com.example.gpu-cores": "2", "org.opencontainers.image.os": "linux", "org.opencontainers.not-yet": "x",
            "no dots ä": "", "run.oci.no-such-switch": "1"
        });
        b.set("annotations", annotations.clone());
        t.create(&b).ok();
        assert_eq!(t.state(&b.id)["annotations"], annotations);
        t.start(&b).ok();
    });
}

/// "Runtimes MAY log unknown properties but MUST otherwise ignore them. That includes not generating errors": at every
/// level, whatever their type.
#[test]
fn unknown_properties_are_ignored_at_every_level() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }]));
        b.set("linux/resources/memory", json!({ "limit": 64 << 20 }));
        b.set("linux/resources/cpu", json!({ "shares": 512 })).set("linux/resources/pids", json!({ "limit": 50 }));
        b.set("linux/devices", json!([{ "type": "p", "path": "/dev/fifo" }]));
        b.set("linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["acct"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] }
        ] }));
        b.set("hooks", json!({ "poststop": [{ "path": "/bin/true" }] }));
        let places = [
            "", "root/", "process/", "process/user/", "process/capabilities/", "process/rlimits/0/", "mounts/0/", "linux/",
            "linux/namespaces/0/", "linux/resources/", "linux/resources/memory/", "linux/resources/cpu/",
            "linux/resources/pids/", "linux/resources/devices/0/", "linux/devices/0/", "linux/seccomp/",
            "linux/seccomp/syscalls/0/", "linux/seccomp/syscalls/0/args/0/", "hooks/", "hooks/poststop/0/",
        ];
        for (n, place) in places.iter().enumerate() {
            let value = [json!({ "a": [1] }), json!(null), json!("x"), json!(-1.5)][n % 4].clone();
            b.set(&format!("{place}x-unknown"), value);
        }
        b.args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// The runtime is given the host's ids: what it makes of the mapping is seen from outside too.
#[test]
fn ids_of_the_process_are_the_containers() {
    contract!(Root, Userns).run(|t| {
        let b = t.bundle();
        b.userns(200_000).set("process/user", json!({ "uid": 11, "gid": 12, "additionalGids": [13] }));
        t.create(&b).ok();
        t.start(&b).ok();
        let meta = std::fs::metadata(format!("/proc/{}", t.pid(&b.id))).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (200_011, 200_012));
    });
}
