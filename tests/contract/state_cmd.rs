//! state, list, spec, features: what they print and where (contract §1.5, §2.9).

use crate::contract;
use crate::harness::config::validates;
use crate::harness::{of, runtime};
use serde_json::{Value, json};

#[test]
fn state_of_an_unknown_id_fails() {
    contract!(Root).differs("crun", "names its missing status file instead of `does not exist`").run(|t| {
        t.rt(&["state", "nope"]).exits(1).fails_with("does not exist").one_line();
    });
}

#[test]
fn state_follows_the_schema() {
    contract!(Root, Schema).run(|t| {
        for b in [t.created(), t.running(), t.stopped()] {
            validates(&t.rt(&["state", &b.id]).ok().stdout, "state-schema.json");
        }
    });
}

#[test]
fn state_follows_the_life() {
    contract!(Root).run(|t| {
        let b = t.created();
        assert_eq!(t.status(&b.id), "created");
        t.start(&b).ok();
        assert_eq!(t.status(&b.id), "running");
        t.rt(&["kill", &b.id, "KILL"]).ok();
        t.wait_status(&b.id, "stopped");
        t.rt(&["delete", &b.id]).ok();
        assert_eq!(t.status(&b.id), "none");
    });
}

#[test]
fn state_is_pretty_json_with_a_newline() {
    contract!(Root)
        .differs("runc", "ends without a newline")
        .differs("crun", "indents by four and adds an empty line")
        .run(|t| {
            let b = t.created();
            let out = t.rt(&["state", &b.id]).ok();
            assert!(out.stdout.starts_with("{\n  \"ociVersion\""), "{}", out.stdout);
            assert!(out.stdout.ends_with("}\n") && !out.stdout.ends_with("\n\n"), "{:?}", out.stdout);
            assert_eq!(out.stderr, "");
        });
}

#[test]
fn state_names_owner_and_rootfs() {
    contract!(Root)
        .differs("runc", "state leaves the owner empty")
        .differs("crun", "gives the rootfs as the config has it")
        .run(|t| {
            let b = t.created();
            let state = t.state(&b.id);
            assert_eq!(of(&state, "owner"), "root");
            assert_eq!(of(&state, "rootfs"), &json!(b.rootfs()));
        });
}

#[test]
fn list_without_containers_is_an_empty_array() {
    contract!(Root).differs("runc", "prints null").differs("crun", "prints it on three lines").run(|t| {
        let out = t.rt(&["list", "--format", "json"]).ok();
        assert_eq!(out.stdout.trim(), "[]");
    });
}

#[test]
fn list_json_has_every_container() {
    contract!(Root).run(|t| {
        let (a, b, c) = (t.created(), t.running(), t.stopped());
        let out = t.rt(&["list", "--format=json"]).ok();
        assert_eq!(out.stderr, "");
        let rows: Vec<Value> = serde_json::from_str(&out.stdout).unwrap();
        let find =
            |id: &str| rows.iter().find(|r| r["id"] == id).unwrap_or_else(|| panic!("no {id}: {rows:?}"));
        for (bundle, status) in [(&a, "created"), (&b, "running"), (&c, "stopped")] {
            assert_eq!(find(&bundle.id)["status"], status);
            assert_eq!(find(&bundle.id)["bundle"], json!(bundle.dir));
        }
        assert_eq!(find(&b.id)["pid"], t.state(&b.id)["pid"]);
        assert_eq!(rows.len(), 3);
    });
}

#[test]
fn list_json_is_one_line_of_state_objects() {
    contract!(Root)
        .differs("crun", "prints several lines")
        .differs("runc", "state leaves the owner empty")
        .run(|t| {
            let b = t.created();
            let out = t.rt(&["list", "-f", "json"]).ok();
            assert_eq!(out.stdout.trim_end().lines().count(), 1);
            let rows: Vec<Value> = serde_json::from_str(&out.stdout).unwrap();
            for key in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"] {
                assert_eq!(rows[0][key], t.state(&b.id)[key], "{key}");
            }
        });
}

#[test]
fn list_quiet_gives_ids_only() {
    contract!(Root).run(|t| {
        let (a, b) = (t.created(), t.created());
        for flag in ["-q", "--quiet"] {
            let out = t.rt(&["list", flag]).ok();
            let mut ids: Vec<_> = out.stdout.lines().collect();
            ids.sort_unstable();
            let mut wanted = [a.id.as_str(), b.id.as_str()];
            wanted.sort_unstable();
            assert_eq!(ids, wanted);
        }
    });
}

#[test]
fn list_table_has_the_known_columns() {
    contract!(Root).differs("crun", "other columns").run(|t| {
        let b = t.created();
        let out = t.rt(&["list"]).ok();
        let mut lines = out.stdout.lines();
        let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(row[0], b.id);
        assert_eq!(row[2], "created");
        assert_eq!(row[5], "root");
    });
}

#[test]
fn list_of_a_missing_root_given_by_name_fails() {
    contract!(Root).differs("crun", "makes the directory").differs("runc", "lists nothing and exits 0").run(
        |t| {
            let missing = t.fresh("missing");
            let call = t.call(&["list"]).bare().globals(&["--root", missing.to_str().unwrap()]);
            call.run().exits(1).fails();
        },
    );
}

/// Broken entries are reported and the others are listed all the same; what is no container is passed over.
#[test]
fn list_goes_on_after_broken_entries() {
    contract!(Root)
        .differs("crun", "fails for the whole list")
        .differs("runc", "waits at a FIFO, reports what is no container")
        .run(|t| {
            let b = t.created();
            let dir = |name: &str| {
                let path = t.root.join(name);
                std::fs::create_dir(&path).unwrap();
                path.join("state.json")
            };
            for (name, bytes) in [("broken", "{ not json"), ("empty", ""), ("later", r#"{"v":77,"id":[]}"#)] {
                std::fs::write(dir(name), bytes).unwrap();
            }
            std::fs::create_dir(dir("directory")).unwrap();
            nix::unistd::mkfifo(&dir("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            let foreign = [dir("half-made"), dir(".hidden"), dir("no id\n"), t.root.join("file")];
            std::fs::write(&foreign[3], "").unwrap();
            std::os::unix::fs::symlink("/etc", t.root.join("link")).unwrap();
            for options in [&["list", "--format", "json"][..], &["list"], &["list", "-q"]] {
                let out = t.rt(options).ok();
                let rows = out.stdout.lines().filter(|l| l.contains(&b.id)).count();
                assert_eq!(rows, 1, "{}", out.stdout);
                let names = ["broken", "empty", "later", "directory", "fifo"];
                assert!(!names.iter().any(|name| out.stdout.contains(name)), "{}", out.stdout);
                assert!(names.iter().all(|name| out.stderr.contains(name)), "{}", out.stderr);
                assert_eq!(out.stderr.lines().count(), names.len(), "{}", out.stderr);
            }
            for name in ["broken", "empty", "later", "directory", "fifo"] {
                t.rt(&["state", name]).exits(1).fails().one_line();
                t.rt(&["delete", "--force", name]).exits(1).fails().one_line();
                std::fs::remove_dir_all(t.root.join(name)).unwrap();
            }
        });
}

#[test]
fn list_with_an_unknown_format_fails() {
    contract!(Root).run(|t| {
        t.rt(&["list", "--format", "xml"]).exits(1).fails_naming(&["format"]);
    });
}

#[test]
fn spec_writes_a_config_that_runs() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        t.call(&["spec"]).cwd(&b.dir).ok();
        let text = std::fs::read_to_string(b.dir.join("config.json")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["process"]["args"], json!(["sh"]));
        assert_eq!(config["root"]["path"], "rootfs");
        for destination in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"] {
            let mounts = config["mounts"].as_array().unwrap();
            assert!(mounts.iter().any(|m| m["destination"] == destination), "{destination}");
        }
        *b.config.borrow_mut() = config;
        b.set("process/terminal", json!(false)).set("linux/cgroupsPath", json!(format!("/{}", b.id)));
        b.args(&["/bin/echo", "ok"]);
        assert_eq!(t.run(&b).ok().stdout, "ok\n");
    });
}

#[test]
fn spec_follows_the_schema() {
    contract!(Root, Schema).run(|t| {
        let dir = t.fresh_dir("spec");
        t.call(&["spec"]).cwd(&dir).ok();
        validates(&std::fs::read_to_string(dir.join("config.json")).unwrap(), "config-schema.json");
    });
}

#[test]
fn spec_takes_a_bundle() {
    contract!(Root).run(|t| {
        let dir = t.fresh_dir("spec");
        t.rt(&["spec", "--bundle", dir.to_str().unwrap()]).ok();
        assert!(dir.join("config.json").exists());
    });
}

#[test]
fn spec_does_not_overwrite() {
    contract!(Root).run(|t| {
        let dir = t.fresh_dir("spec");
        std::fs::write(dir.join("config.json"), "mine").unwrap();
        t.call(&["spec"]).cwd(&dir).run().exits(1).fails_naming(&["exist"]);
        assert_eq!(std::fs::read_to_string(dir.join("config.json")).unwrap(), "mine");
    });
}

#[test]
fn spec_rootless_has_a_user_namespace_and_no_limits() {
    contract!(Root).differs("crun", "keeps the network namespace").run(|t| {
        let dir = t.fresh_dir("spec");
        t.call(&["spec", "--rootless"]).cwd(&dir).ok();
        let config: Value =
            serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.iter().any(|n| n["type"] == "user"));
        assert!(!namespaces.iter().any(|n| n["type"] == "network"));
        assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
        assert!(config["linux"]["resources"].is_null() || config["linux"]["resources"] == json!({}));
    });
}

#[test]
fn spec_gives_no_inheritable_capabilities() {
    contract!(Root).run(|t| {
        let dir = t.fresh_dir("spec");
        t.call(&["spec"]).cwd(&dir).ok();
        let config: Value =
            serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
        let inheritable = config["process"]["capabilities"]["inheritable"].as_array().map_or(0, Vec::len);
        assert_eq!(inheritable, 0);
    });
}

fn features(t: &crate::harness::Test) -> Value {
    let out = t.call(&["features"]).bare().ok();
    assert_eq!(out.stderr, "", "CRI-O reads both streams as one");
    serde_json::from_str(&out.stdout).expect("features is JSON")
}

#[test]
fn features_follow_the_schema() {
    contract!(Root, Schema)
        .differs("crun", "has no features command")
        .run(|t| validates(&features(t).to_string(), "features-schema.json"));
}

#[test]
fn features_name_versions_hooks_and_mount_options() {
    contract!()
        .differs("crun", "has no features command")
        .differs("runc", "1.1.5 lacks newer mount options")
        .run(|t| {
            let f = features(t);
            assert_eq!(of(&f, "ociVersionMin"), "1.0.0");
            let max = of(&f, "ociVersionMax").as_str().unwrap();
            assert!(max.starts_with("1."), "{max}");
            assert_eq!(
                of(&f, "hooks"),
                &json!([
                    "prestart",
                    "createRuntime",
                    "createContainer",
                    "startContainer",
                    "poststart",
                    "poststop"
                ])
            );
            let options: Vec<&str> =
                of(&f, "mountOptions").as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
            for option in
                ["ro", "rro", "rbind", "idmap", "ridmap", "tmpcopyup", "lazytime", "iversion", "nosymfollow"]
            {
                assert!(options.contains(&option), "no {option}");
            }
            let mut sorted = options.clone();
            sorted.sort_unstable();
            assert_eq!(options, sorted);
        });
}

#[test]
fn features_name_namespaces_capabilities_seccomp() {
    contract!()
        .differs("crun", "has no features command")
        .differs("runc", "1.1.5 knows no time namespaces")
        .run(|t| {
            let f = features(t);
            let mut namespaces: Vec<&str> =
                of(&f, "linux/namespaces").as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
            namespaces.sort_unstable();
            assert_eq!(namespaces, ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
            assert_eq!(of(&f, "linux/capabilities").as_array().unwrap().len(), 41);
            assert_eq!(of(&f, "linux/cgroup/v1"), true);
            assert_eq!(of(&f, "linux/cgroup/v2"), true);
            assert_eq!(of(&f, "linux/seccomp/enabled"), true);
            assert_eq!(of(&f, "linux/seccomp/actions").as_array().unwrap().len(), 9);
            assert_eq!(of(&f, "linux/seccomp/operators").as_array().unwrap().len(), 7);
            let archs = of(&f, "linux/seccomp/archs").as_array().unwrap();
            assert!(
                archs.contains(&json!("SCMP_ARCH_X86_64")) && archs.contains(&json!("SCMP_ARCH_AARCH64"))
            );
        });
}

#[test]
fn features_need_no_root_and_no_proc() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        let path = runtime::get().path.display().to_string();
        let script = format!("umount -l /proc; exec setpriv --reuid 65534 --clear-groups {path} features");
        let copy = t.dir.join("rt");
        std::fs::copy(&path, &copy).unwrap();
        let script = script.replace(&path, copy.to_str().unwrap());
        let out = std::process::Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let _: Value = serde_json::from_slice(&out.stdout).unwrap();
    });
}
