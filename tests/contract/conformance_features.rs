//! features.md and features-linux.md (runtime-spec 1.3): what the document names must be understood.

use super::seccomp::profile;
use crate::contract;
use crate::harness::needs::Need;
use crate::harness::socket::Receiving;
use crate::harness::{Bundle, Test, namespaced};
use serde_json::{Value, json};

fn features(t: &Test) -> Value {
    serde_json::from_str(&t.call(&["features"]).bare().ok().stdout).expect("features is JSON")
}

fn words(features: &Value, pointer: &str) -> Vec<String> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("no {pointer}"));
    list.iter().map(|word| word.as_str().expect("a string").to_owned()).collect()
}

/// "The runtime MUST accept this value as the ociVersion property of config.json." (both) "The value MUST NOT be less
/// than the value of the ociVersionMin property."
#[test]
fn the_versions_are_taken_and_in_order() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        let f = features(t);
        let number = |which: &str| -> Vec<u32> {
            let text = f[which].as_str().unwrap();
            let b = t.bundle();
            b.set("ociVersion", json!(text)).args(&["/bin/true"]);
            t.run(&b).ok();
            let bare = text.split(['-', '+']).next().unwrap();
            bare.split('.').map(|part| part.parse().unwrap()).collect()
        };
        assert!(number("ociVersionMin") <= number("ociVersionMax"));
    });
}

/// "The Features structure MUST NOT contain properties that are not defined in this version of the Open Container
/// Initiative Runtime Specification."; "null MUST NOT be confused with an empty value": there is none.
#[test]
fn no_property_is_undefined() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        let f = features(t);
        let keys = |pointer: &str, known: &str| {
            for key in f.pointer(pointer).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
                assert!(known.split(' ').any(|k| k == key), "{pointer}/{key} is not defined");
            }
        };
        keys(
            "",
            "ociVersionMin ociVersionMax hooks mountOptions linux annotations potentiallyUnsafeConfigAnnotations",
        );
        keys(
            "/linux",
            "namespaces capabilities cgroup seccomp apparmor selinux memoryPolicy intelRdt mountExtensions netDevices",
        );
        keys("/linux/cgroup", "v1 v2 systemd systemdUser rdma");
        keys("/linux/seccomp", "enabled actions operators archs knownFlags supportedFlags");
        keys("/linux/apparmor", "enabled");
        keys("/linux/selinux", "enabled");
        keys("/linux/memoryPolicy", "modes flags");
        keys("/linux/intelRdt", "enabled schemata monitoring");
        keys("/linux/mountExtensions", "idmap");
        keys("/linux/mountExtensions/idmap", "enabled");
        keys("/linux/netDevices", "enabled");
        assert!(!f.to_string().contains("null"), "{f}");
    });
}

/// "Annotations MUST be a key-value map that follows the same convention as the Key and Values of the annotations
/// property of config.json."
#[test]
fn annotations_are_strings() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        for (key, value) in features(t)["annotations"].as_object().unwrap() {
            assert!(!key.is_empty() && value.is_string(), "{key}: {value}");
        }
    });
}

/// "The runtime MUST support the elements in this array as the hooks property of config.json."
#[test]
fn every_listed_hook_runs() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        let b = t.bundle();
        let kinds = words(&features(t), "/hooks");
        let trace = t.fresh("trace");
        for kind in &kinds {
            let file = if kind == "startContainer" { "/trace".into() } else { trace.display().to_string() };
            let script = format!("cat > /dev/null; echo {kind} >> {file}");
            b.add(&format!("hooks/{kind}"), json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
        }
        b.args(&["/bin/sleep", "0.3"]);
        t.run(&b).ok();
        let mut ran = std::fs::read_to_string(trace).unwrap_or_default();
        ran += &std::fs::read_to_string(b.host("/trace")).unwrap_or_default();
        for kind in &kinds {
            assert!(ran.lines().any(|line| line == kind), "{kind} did not run: {ran}");
        }
    });
}

/// "The runtime MUST recognize the elements in this array as the options of mounts objects in config.json."
#[test]
fn every_listed_mount_option_is_taken() {
    contract!(Root, MountSetattr).differs("crun", "has no features command").differs("runc", "1.1.5 lists ratime and gets EINVAL for it").run(|t| {
        let source = t.fresh_dir("source");
        let b = t.bundle();
        for option in words(&features(t), "/mountOptions") {
            let at = format!("/o/{option}");
            let tmpfs = |options: &[&str]| json!({ "destination": at, "type": "tmpfs", "source": "t", "options": options });
            let bind = |options: &[&str]| json!({ "destination": at, "type": "bind", "source": source, "options": options });
            match option.as_str() {
                "idmap" | "ridmap" => {
                    let c = t.bundle();
                    c.userns(100_000).mount(bind(&["rbind", &option])).args(&["/bin/true"]);
                    t.run(&c).ok();
                }
                "remount" => _ = b.mount(tmpfs(&[])).mount(tmpfs(&["remount", "ro"])),
                // Of tmpfs, or of a mount of its own.
                "tmpcopyup" | "iversion" | "noiversion" | "dirsync" | "sync" | "async" | "lazytime" | "nolazytime"
                | "mand" | "nomand" | "silent" | "loud" => _ = b.mount(tmpfs(&[&option])),
                _ => _ = b.mount(bind(&["rbind", &option])),
            }
        }
        b.args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// "The runtime MUST recognize the elements in this array as the type of linux.namespaces objects in config.json."
#[test]
fn every_listed_namespace_is_made() {
    contract!(Root, Userns, Timens).differs("crun", "has no features command").run(|t| {
        let b = t.bundle();
        b.userns(100_000);
        let kinds = words(&features(t), "/linux/namespaces");
        for kind in kinds.iter().filter(|kind| *kind != "user") {
            b.edit(|c| namespaced(c, kind, None));
        }
        let r = t.report(&b, &[]);
        for kind in kinds {
            let file = match kind.as_str() {
                "mount" => "mnt",
                "network" => "net",
                other => other,
            };
            let own = std::fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
            assert_ne!(r["namespaces"][file], json!(own), "{kind}");
        }
    });
}

/// "The runtime MUST recognize the elements in this array in the process.capabilities object of config.json."
#[test]
fn every_listed_capability_is_known() {
    contract!(Root).differs("crun", "has no features command").run(|t| {
        let b = t.bundle();
        let f = features(t);
        let known = words(&f, "/linux/capabilities");
        b.set("process/capabilities", json!({ "bounding": known })).args(&["/bin/true"]);
        let out = t.run(&b).ok();
        assert!(!out.stderr.to_lowercase().contains("unknown"), "{}", out.stderr);
    });
}

#[track_caller]
fn takes(t: &Test, what: &str, change: impl FnOnce(&Bundle)) {
    let b = t.bundle();
    profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }]));
    change(&b);
    let out = t.create(&b);
    assert_eq!(out.code, 0, "{what}: {}", out.stderr);
    t.rt(&["delete", "--force", &b.id]).ok();
}

/// "The runtime MUST recognize the elements in this array in the syscalls[].action property", "… the
/// syscalls[].args[].op property", "… the architectures property" of the linux.seccomp object.
#[test]
fn every_listed_seccomp_word_is_taken() {
    contract!(Root, Seccomp)
        .differs("crun", "has no features command")
        .differs("runc", "lists architectures of the other byte order and refuses them")
        .run(|t| {
            let f = features(t);
            // What the kernel lacks is refused, listed or not (old_kernel.rs).
            let listener = Need::PidfdGetfd.probe().is_ok();
            let notify = |action: &String| action == "SCMP_ACT_NOTIFY";
            for action in words(&f, "/linux/seccomp/actions").into_iter().filter(|a| listener || !notify(a)) {
                let socket = t.fresh("listener");
                let _receiving = Receiving::at(&socket);
                takes(t, &action, |b| {
                    b.set("linux/seccomp/syscalls/0/action", json!(action));
                    if notify(&action) {
                        b.set("linux/seccomp/listenerPath", json!(socket));
                    }
                });
            }
            for op in words(&f, "/linux/seccomp/operators") {
                let args = json!([{ "index": 1, "value": 3, "valueTwo": 1, "op": op }]);
                takes(t, &op, |b| _ = b.set("linux/seccomp/syscalls/0/args", args));
            }
            let archs = words(&f, "/linux/seccomp/archs");
            takes(t, "all architectures", |b| _ = b.set("linux/seccomp/architectures", json!(archs)));
            for arch in archs {
                let native = json!(["SCMP_ARCH_X86_64", arch]);
                takes(t, &arch, |b| _ = b.set("linux/seccomp/architectures", native));
            }
        });
}

/// "The runtime MUST recognize and support the elements in this array in the flags property of the linux.seccomp
/// object in config.json."
#[test]
fn every_listed_seccomp_flag_is_taken() {
    contract!(Root, Seccomp)
        .differs("crun", "has no features command")
        .differs("runc", "1.1.5 lists none")
        .run(|t| {
            let f = features(t);
            let supported = words(&f, "/linux/seccomp/supportedFlags");
            let known = words(&f, "/linux/seccomp/knownFlags");
            assert!(supported.iter().all(|flag| known.contains(flag)), "a subset");
            let listener = Need::PidfdGetfd.probe().is_ok();
            let waits = |flag: &str| flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
            for flag in supported.iter().filter(|flag| listener || !waits(flag)) {
                let socket = t.fresh("listener");
                let _receiving = Receiving::at(&socket);
                takes(t, flag, |b| {
                    b.set("linux/seccomp/flags", json!([flag]));
                    if waits(flag) {
                        b.set("linux/seccomp/syscalls/0/action", json!("SCMP_ACT_NOTIFY"));
                        b.set("linux/seccomp/listenerPath", json!(socket));
                    }
                });
            }
            takes(t, "all flags without a listener", |b| _ = b.set("linux/seccomp/flags", json!(supported)));
        });
}

/// "The runtime MUST recognize the elements in this array as the mode of linux.memoryPolicy objects in config.json",
/// and of flags alike. What is implemented is listed.
#[test]
fn every_listed_memory_policy_is_taken() {
    contract!(Root, Numa)
        .differs("crun", "has no features command")
        .differs("runc", "1.1.5 does not know it")
        .run(|t| {
            let f = features(t);
            let modes = words(&f, "/linux/memoryPolicy/modes");
            let flags = words(&f, "/linux/memoryPolicy/flags");
            assert_eq!((modes.len(), flags.len()), (7, 3), "all of runtime-spec 1.3 are implemented");
            for mode in modes {
                let b = t.bundle();
                b.set("linux/memoryPolicy", json!({ "mode": mode }));
                if mode != "MPOL_DEFAULT" && mode != "MPOL_LOCAL" {
                    b.set("linux/memoryPolicy/nodes", json!("0"));
                }
                recognised(t, &b, &mode);
            }
            for flag in flags {
                let b = t.bundle();
                let mode = if flag == "MPOL_F_NUMA_BALANCING" { "MPOL_BIND" } else { "MPOL_INTERLEAVE" };
                b.set("linux/memoryPolicy", json!({ "mode": mode, "nodes": "0", "flags": [flag] }));
                recognised(t, &b, &flag);
            }
        });
}

/// The kernel may know less (a mode newer than it, no NUMA balancing): EINVAL of set_mempolicy is its answer.
#[track_caller]
fn recognised(t: &Test, b: &Bundle, what: &str) {
    let out = t.create(b);
    let kernel = out.stderr.contains("set_mempolicy") && out.stderr.contains("nvalid argument");
    assert!(out.code == 0 || kernel, "{what}: {}", out.stderr);
    t.rt(&["delete", "--force", &b.id]);
}

/// "In such cases, runtimes MUST still set this value to true, to indicate that the runtime recognises the
/// uidMappings and gidMappings properties." (mountExtensions.idmap.enabled)
#[test]
fn idmapped_mounts_are_listed() {
    contract!(Root).differs("crun", "has no features command").differs("runc", "1.1.5 has none").run(|t| {
        assert_eq!(features(t).pointer("/linux/mountExtensions/idmap/enabled"), Some(&json!(true)));
    });
}
