//! Configurations with a fault: one line that names the field, a failure, nothing left behind (contract §2, §3.4).

use crate::contract;
use crate::harness::test::map;
use crate::harness::{Bundle, Test, namespaced};
use serde_json::{Value, json};

/// Creates a container whose config was changed and expects a failure naming one of `words`.
#[track_caller]
fn refused(t: &Test, change: impl FnOnce(&Bundle), words: &[&str]) {
    let b = t.bundle();
    change(&b);
    t.create(&b).exits(1).fails_naming(words).one_line();
    t.nothing_left(&b.id);
}

#[track_caller]
fn refused_value(t: &Test, pointer: &str, value: Value, words: &[&str]) {
    refused(t, |b| _ = b.set(pointer, value), words);
}

#[test]
fn text_that_is_no_json() {
    contract!(Root).run(|t| {
        for text in ["", "{", "[]", "not json", "{\"ociVersion\": \"1.0.2\",}"] {
            let b = t.bundle();
            b.write_raw(text);
            t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &b.id]).fails().one_line();
            t.nothing_left(&b.id);
        }
    });
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            let b = t.bundle();
            b.write_raw("{\n  \"ociVersion\": \"1.0.2\",\n  oops\n}");
            let out = t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &b.id]).exits(1);
            out.fails_with("config.json").fails_with("line 3").one_line();
        });
}

#[test]
fn a_wrong_type_fails() {
    contract!(Root).differs("crun", "takes it, or says less about it").run(|t| {
        refused_value(t, "process/cwd", json!(5), &["cwd"]);
        refused_value(t, "process/args", json!("sh"), &["args"]);
        refused_value(t, "mounts", json!({}), &["mounts"]);
        refused_value(t, "linux/namespaces", json!("all"), &["namespaces"]);
    });
}

#[test]
fn a_wrong_type_is_named_by_its_whole_path() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .differs("runc", "gives Go's field names, not the path")
        .differs("crun", "does not name the path")
        .run(|t| {
            refused_value(t, "mounts/2/options", json!("ro"), &["mounts[2].options"]);
            refused_value(t, "process/user/uid", json!("root"), &["process.user.uid"]);
            refused_value(
                t,
                "linux/resources/memory",
                json!({ "limit": "64m" }),
                &["linux.resources.memory.limit"],
            );
            refused_value(t, "process/user/uid", json!(-1), &["process.user.uid"]);
            refused_value(t, "process/user/uid", json!(4_294_967_296u64), &["process.user.uid"]);
            refused_value(t, "process/env", json!(["A=1", 5]), &["process.env[1]"]);
        });
}

#[test]
fn versions() {
    contract!(Root)
        .differs("runc", "1.1.5 takes any")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            refused_value(t, "ociVersion", json!("2.0.0"), &["ociVersion"]);
            refused_value(t, "ociVersion", json!("0.9.0"), &["ociVersion"]);
            refused_value(t, "ociVersion", json!("one"), &["ociVersion"]);
            for version in ["1.0.0", "1.0.2", "1.1.0", "1.2.1", "1.3.0", "1.3.0+dev", "1.0.2-dev"] {
                let b = t.bundle();
                b.set("ociVersion", json!(version)).args(&["/bin/true"]);
                t.run(&b).ok();
            }
        });
}

#[test]
fn a_missing_root() {
    contract!(Root)
        .differs("crun", "takes it, or says less about it")
        .differs("runc", "does not name a rootfs that is a file")
        .run(|t| {
            refused(t, |b| _ = b.remove("root"), &["root"]);
            refused_value(t, "root/path", json!("no-such"), &["no-such"]);
            refused_value(t, "root/path", json!("/etc/passwd"), &["/etc/passwd"]);
        });
}

#[test]
fn a_root_that_is_a_symlink() {
    contract!(Root).differs("crun", "follows it").run(|t| {
        refused(
            t,
            |b| {
                std::os::unix::fs::symlink("rootfs", b.dir.join("link")).unwrap();
                b.set("root/path", json!("link"));
            },
            &["symlink", "rootfs", "root.path"],
        );
    });
}

#[test]
fn process_fields() {
    contract!(Root)
        .differs("crun", "takes it, or says less about it")
        .differs("runc", "prints more than one line")
        .run(|t| {
            refused_value(t, "process/args", json!([]), &["args"]);
            refused_value(t, "process/cwd", json!("relative"), &["cwd"]);
            refused_value(t, "process/cwd", json!(""), &["cwd"]);
            refused_value(t, "process/oomScoreAdj", json!(2000), &["oom_score_adj", "oomScoreAdj"]);
            refused_value(
                t,
                "process/rlimits",
                json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]),
                &["RLIMIT_X"],
            );
        });
}

#[test]
fn process_fields_that_peers_let_pass() {
    contract!(Root).differs("runc", "takes it, or says less about it").differs("crun", "takes it, or says less about it").run(|t| {
        let double = json!([
            { "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CORE", "soft": 2, "hard": 2 }
        ]);
        refused_value(t, "process/rlimits", double, &["process.rlimits[1]"]);
        let reversed = json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]);
        refused_value(t, "process/rlimits", reversed, &["process.rlimits[0]"]);
        refused_value(t, "process/env", json!(["PATH=/bin", "NOEQUALS"]), &["process.env[1]"]);
        refused_value(t, "process/env", json!(["PATH=/bin", "A=\u{0}"]), &["process.env[1]"]);
        refused_value(t, "process/args", json!(["/bin/echo", "a\u{0}b"]), &["process.args[1]"]);
        refused_value(
            t,
            "process/scheduler",
            json!({ "policy": "SCHED_SOON" }),
            &["process.scheduler.policy"],
        );
        refused_value(
            t,
            "process/scheduler",
            json!({ "policy": "SCHED_OTHER", "nice": 50 }),
            &["process.scheduler.nice"],
        );
        let io = json!({ "class": "IOPRIO_CLASS_BE", "priority": 9 });
        refused_value(t, "process/ioPriority", io, &["process.ioPriority.priority"]);
        refused_value(
            t,
            "process/ioPriority",
            json!({ "class": "FAST", "priority": 1 }),
            &["process.ioPriority.class"],
        );
    });
}

#[test]
fn labels_without_their_lsm_fail() {
    contract!(Root).differs("crun", "takes it, or says less about it").run(|t| {
        if crate::harness::needs::Need::Apparmor.probe().is_err() {
            refused_value(t, "process/apparmorProfile", json!("some-profile"), &["apparmor"]);
        }
        if crate::harness::needs::Need::Selinux.probe().is_err() {
            refused_value(t, "process/selinuxLabel", json!("system_u:system_r:x_t:s0"), &["selinux"]);
        }
    });
}

#[test]
fn namespaces() {
    contract!(Root).differs("crun", "takes it, or says less about it").run(|t| {
        refused(t, |b| _ = b.add("linux/namespaces", json!({ "type": "pid" })), &["pid", "namespace"]);
        refused(t, |b| _ = b.add("linux/namespaces", json!({ "type": "galaxy" })), &["galaxy"]);
        refused(t, |b| _ = b.edit(|c| namespaced(c, "ipc", Some("/no/such/ns"))), &["/no/such/ns"]);
    });
}

#[test]
fn a_namespace_path_of_the_wrong_kind() {
    contract!(Root)
        .differs("runc", "prints three lines")
        .wavers("crun", "says `write to sync socket` only")
        .run(|t| {
            refused(
                t,
                |b| {
                    b.edit(|c| namespaced(c, "ipc", Some("/proc/self/ns/net")));
                },
                &["ipc", "invalid argument", "namespace"],
            );
            refused(
                t,
                |b| {
                    b.edit(|c| namespaced(c, "ipc", Some("/etc/passwd")));
                },
                &["/etc/passwd", "invalid argument", "namespace"],
            );
        });
}

#[test]
fn a_relative_namespace_path() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            refused(
                t,
                |b| {
                    b.edit(|c| namespaced(c, "ipc", Some("ns/ipc")));
                },
                &["linux.namespaces["],
            );
        });
}

#[test]
fn mappings() {
    contract!(Root, Userns)
        .differs("crun", "takes it, or says less about it")
        .differs("runc", "takes mappings without a user namespace")
        .run(|t| {
            refused(
                t,
                |b| {
                    b.edit(|c| namespaced(c, "user", None));
                },
                &["mapping"],
            );
            refused(
                t,
                |b| {
                    b.set("linux/uidMappings", json!([map(0, 1000, 10)]))
                        .set("linux/gidMappings", json!([map(0, 1000, 10)]));
                },
                &["mapping", "user namespace"],
            );
        });
}

#[test]
fn mappings_that_cannot_be() {
    contract!(Root, Userns)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            let with = |maps: Value| {
                move |b: &Bundle| {
                    b.userns(100_000).set("linux/uidMappings", maps);
                }
            };
            refused(t, with(json!([map(0, 1000, 10), map(5, 5000, 10)])), &["linux.uidMappings"]);
            refused(t, with(json!([map(0, 1000, 0)])), &["linux.uidMappings"]);
            refused(t, with(json!([map(0, 4_294_967_290, 100)])), &["linux.uidMappings"]);
            refused(
                t,
                with(Value::from((0..400).map(|n| map(n, n + 1000, 1)).collect::<Vec<_>>())),
                &["linux.uidMappings"],
            );
        });
}

#[test]
fn a_user_that_is_not_mapped() {
    contract!(Root, Userns).run(|t| {
        refused(
            t,
            |b| {
                b.userns(100_000).set("process/user/uid", json!(70000)).args(&["/bin/true"]);
            },
            &["uid", "mapped", "invalid argument"],
        );
    });
}

#[test]
fn host_names() {
    contract!(Root).run(|t| {
        refused(
            t,
            |b| {
                b.edit(|c| crate::harness::config::without_namespace(c, "uts"));
            },
            &["hostname", "uts"],
        );
        refused_value(t, "hostname", json!("x".repeat(10_000)), &["hostname"]);
    });
}

#[test]
fn mount_fields() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            let mount = |b: &Bundle, mount: Value| _ = b.mount(mount);
            refused(t, |b| mount(b, json!({ "type": "tmpfs" })), &["mounts[6].destination", "mounts[6]"]);
            refused(t, |b| mount(b, json!({ "destination": "/", "type": "tmpfs" })), &["mounts[6]"]);
            refused(t, |b| mount(b, json!({ "destination": "/a\u{0}", "type": "tmpfs" })), &["mounts[6]"]);
            let bind = json!({ "destination": "/d", "type": "bind", "options": ["bind"] });
            refused(t, |b| mount(b, bind), &["mounts[6].source", "mounts[6]"]);
            let maps = json!({ "destination": "/d", "type": "bind", "source": "/tmp", "options": ["bind"],
                           "uidMappings": [map(0, 0, 1)] });
            refused(t, |b| mount(b, maps), &["mounts[6]"]);
        });
}

#[test]
fn devices() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            let device = |value: Value| move |b: &Bundle| _ = b.add("linux/devices", value);
            refused(
                t,
                device(json!({ "type": "x", "path": "/dev/x", "major": 1, "minor": 1 })),
                &["linux.devices[0]"],
            );
            refused(
                t,
                device(json!({ "type": "c", "path": "rel", "major": 1, "minor": 1 })),
                &["linux.devices[0]"],
            );
            refused(t, device(json!({ "type": "c", "path": "/dev/x" })), &["linux.devices[0]"]);
            let rule = json!([{ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "" }]);
            refused_value(t, "linux/resources/devices", rule, &["linux.resources.devices[0].access"]);
        });
}

/// A file of the image in the way of a listed device.
#[test]
fn a_device_whose_place_is_taken() {
    contract!(Root).differs("runc", "1.1.5 takes what is there").differs("crun", "takes what is there").run(
        |t| {
            refused(
                t,
                |b| {
                    std::fs::write(b.host("/etc/thing"), "").unwrap();
                    b.add(
                        "linux/devices",
                        json!({ "type": "c", "path": "/etc/thing", "major": 1, "minor": 3 }),
                    );
                },
                &["/etc/thing"],
            );
        },
    );
}

#[test]
fn linux_fields() {
    contract!(Root)
        .differs("runc", "takes it, or says less about it")
        .differs("crun", "takes it, or says less about it")
        .run(|t| {
            refused_value(t, "linux/rootfsPropagation", json!("sometimes"), &["linux.rootfsPropagation"]);
            refused_value(t, "linux/personality", json!({ "domain": "HPUX" }), &["linux.personality"]);
            refused_value(t, "linux/memoryPolicy", json!({ "mode": "MPOL_X" }), &["linux.memoryPolicy"]);
            refused_value(
                t,
                "linux/timeOffsets",
                json!({ "monotonic": { "secs": 5 } }),
                &["linux.timeOffsets"],
            );
            refused_value(t, "linux/resources/cpu", json!({ "cpus": "0-" }), &["cpu"]);
            refused_value(t, "linux/maskedPaths", json!(["relative"]), &["linux.maskedPaths[0]"]);
        });
}

#[test]
fn intel_rdt_without_the_kernel() {
    contract!(Root).differs("crun", "ignores it").run(|t| {
        if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
            return;
        }
        refused_value(
            t,
            "linux/intelRdt",
            json!({ "closID": "x", "l3CacheSchema": "L3:0=f" }),
            &["rdt", "resctrl"],
        );
    });
}

/// Everything that is wrong is said at once, so that nobody mends a config one fault at a time.
#[test]
fn all_faults_are_named_at_once() {
    contract!(Root).ours_only("peers stop at the first fault").run(|t| {
        let b = t.bundle();
        b.set("process/cwd", json!("relative")).set("linux/rootfsPropagation", json!("sometimes"));
        b.add("linux/namespaces", json!({ "type": "pid" }));
        let out = t.create(&b).exits(1).fails_with("process.cwd").fails_with("linux.rootfsPropagation");
        out.fails_with("linux.namespaces[5]").one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn unknown_fields_are_ignored() {
    contract!(Root).differs("crun", "wants sections of other platforms to be complete").run(|t| {
        let b = t.bundle();
        b.set("fromTheFuture", json!({ "a": 1 }))
            .set("process/newField", json!([1]))
            .set("linux/other", json!("x"));
        b.set("windows", json!({}))
            .set("solaris", json!({}))
            .set("vm", json!(null))
            .args(&["/bin/echo", "ok"]);
        assert_eq!(t.run(&b).ok().stdout, "ok\n");
    });
}

#[test]
fn null_and_empty_sections_are_ignored() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("hooks", json!(null)).set("annotations", json!(null)).set("linux/resources/memory", json!({}));
        b.set("linux/resources/cpu", json!({})).set("linux/resources/pids", json!(null));
        b.set("linux/maskedPaths", json!(null)).set("linux/sysctl", json!({})).args(&["/bin/echo", "ok"]);
        assert_eq!(t.run(&b).ok().stdout, "ok\n");
    });
}

#[test]
fn a_namespace_with_an_empty_path_is_a_new_one() {
    contract!(Root).differs("crun", "opens the empty path").run(|t| {
        let b = t.bundle();
        b.edit(|c| namespaced(c, "ipc", Some("")));
        let r = t.report(&b, &[]);
        let own = std::fs::read_link("/proc/self/ns/ipc").unwrap();
        assert_ne!(crate::harness::of(&r, "namespaces/ipc"), &json!(own));
    });
}

#[test]
fn a_config_of_megabytes_is_no_problem_and_more_is_refused() {
    contract!(Root).ours_only("a bound of our own").run(|t| {
        let b = t.bundle();
        b.set("annotations", json!({ "big": "x".repeat(1 << 20) })).args(&["/bin/true"]);
        t.run(&b).ok();
        refused_value(t, "annotations", json!({ "big": "x".repeat(9 << 20) }), &["config.json"]);
        let b = t.bundle();
        b.write_raw(&"[".repeat(100_000));
        t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &b.id])
            .exits(1)
            .fails_naming(&["config.json"])
            .one_line();
    });
}

/// A handler of crun's runs programs of another kind: plain processes they are not.
#[test]
fn an_unknown_handler_is_refused() {
    contract!(Root)
        .differs("runc", "does not know the annotation")
        .differs("crun", "1.8.1 here has no handlers and does not look")
        .run(|t| {
            let b = t.bundle();
            b.set("annotations", json!({ "run.oci.handler": "krun" }));
            t.create(&b).exits(1).fails_naming(&["run.oci.handler", "krun"]).one_line();
            t.nothing_left(&b.id);
        });
}

/// Without linux.seccomp beside it the container would run unfiltered.
#[test]
fn a_filter_in_an_annotation_is_refused() {
    contract!(Root)
        .differs("runc", "does not know the annotations")
        .differs("crun", "1.8.1 passes over them here")
        .run(|t| {
            for name in ["run.oci.seccomp_bpf_data", "run.oci.seccomp.plugins"] {
                let b = t.bundle();
                b.set("annotations", json!({ name: "AAAA" })).remove("linux/seccomp");
                t.create(&b).exits(1).fails_naming(&[name]).one_line();
                t.nothing_left(&b.id);
            }
        });
}
