//! Sentences of config-linux.md (runtime-spec 1.3) that no other module asks for; CONFORMANCE.md says where the rest
//! is.

use super::seccomp::{GETPPID, profile};
use crate::contract;
use crate::harness::test::map;
use crate::harness::{Bundle, Test, namespaced, of};
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

#[track_caller]
fn refused(t: &Test, change: impl FnOnce(&Bundle), words: &[&str]) {
    let b = t.bundle();
    change(&b);
    t.create(&b).exits(1).fails_naming(words).one_line();
    t.nothing_left(&b.id);
}

/// "(REQUIRED)" members of the linux section, and "Runtimes MUST generate an error when invalid or unsupported values
/// are encountered."
#[test]
fn required_members_are_missed() {
    contract!(Root).differs("runc", "Go has zero values for them").differs("crun", "takes some for empty").run(|t| {
        let device = json!([{ "type": "c", "path": "/dev/x", "major": 1, "minor": 3 }]);
        let throttle = json!([{ "major": 8, "minor": 1, "rate": 5 }]);
        let weight = json!([{ "major": 8, "minor": 1, "weight": 50 }]);
        let maps = json!([map(0, 100_000, 65536)]);
        let call = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": [GETPPID], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] }
        ] });
        let rows = [
            ("linux/namespaces", json!([{ "type": "mount", "x": 1 }]), "0", "type"),
            ("linux/uidMappings", maps.clone(), "0", "containerID"),
            ("linux/uidMappings", maps.clone(), "0", "hostID"),
            ("linux/gidMappings", maps, "0", "size"),
            ("linux/devices", device.clone(), "0", "type"),
            ("linux/devices", device.clone(), "0", "path"),
            ("linux/devices", device.clone(), "0", "major"),
            ("linux/devices", device, "0", "minor"),
            ("linux/resources/blockIO/weightDevice", weight.clone(), "0", "major"),
            ("linux/resources/blockIO/weightDevice", weight, "0", "minor"),
            ("linux/resources/blockIO/throttleReadBpsDevice", throttle.clone(), "0", "major"),
            ("linux/resources/blockIO/throttleWriteBpsDevice", throttle.clone(), "0", "minor"),
            ("linux/resources/blockIO/throttleReadIOPSDevice", throttle.clone(), "0", "rate"),
            ("linux/resources/blockIO/throttleWriteIOPSDevice", throttle, "0", "rate"),
            ("linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 0 }]), "0", "pageSize"),
            ("linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 0 }]), "0", "limit"),
            ("linux/resources/network/priorities", json!([{ "name": "lo", "priority": 1 }]), "0", "name"),
            ("linux/resources/network/priorities", json!([{ "name": "lo", "priority": 1 }]), "0", "priority"),
            ("linux/seccomp", call.clone(), "", "defaultAction"),
            ("linux/seccomp", call.clone(), "syscalls/0", "names"),
            ("linux/seccomp", call.clone(), "syscalls/0", "action"),
            ("linux/seccomp", call.clone(), "syscalls/0/args/0", "index"),
            ("linux/seccomp", call.clone(), "syscalls/0/args/0", "value"),
            ("linux/seccomp", call, "syscalls/0/args/0", "op"),
            ("linux/personality", json!({ "domain": "LINUX", "flags": [] }), "", "domain"),
            ("linux/memoryPolicy", json!({ "mode": "MPOL_DEFAULT", "nodes": "" }), "", "mode"),
        ];
        for (field, value, inner, member) in rows {
            refused(
                t,
                |b| {
                    if field.ends_with("Mappings") {
                        b.userns(100_000);
                    }
                    let place = [field, inner, member].iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>();
                    b.set(field, value).remove(&place.join("/"));
                },
                &[member],
            );
        }
    });
}

/// "If path is not specified, the runtime MUST create a new container namespace of type type."; "The runtime MUST
/// place the container process in the namespace associated with that path": every type by itself.
#[test]
fn each_namespace_is_made_and_joined_by_itself() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let names = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];
        for (kind, file) in names {
            let first = t.bundle();
            first.edit(|c| namespaced(c, kind, None));
            t.create(&first).ok();
            let path = format!("/proc/{}/ns/{file}", t.pid(&first.id));
            let made = std::fs::read_link(&path).unwrap();
            assert_ne!(made, std::fs::read_link(format!("/proc/self/ns/{file}")).unwrap(), "{kind}");
            let second = t.bundle();
            second.edit(|c| namespaced(c, kind, Some(&path)));
            if kind == "uts" {
                second.remove("hostname");
            }
            assert_eq!(t.report(&second, &[])["namespaces"][file], json!(made), "{kind}");
        }
    });
}

/// "The runtime MUST generate an error if path is not associated with a namespace of type type."
#[test]
fn a_namespace_of_another_type_is_an_error() {
    contract!(Root)
        .differs("runc", "prints more than a line")
        .wavers("crun", "says `write to sync socket` only")
        .run(|t| {
            for (kind, other) in
                [("ipc", "net"), ("uts", "ipc"), ("network", "uts"), ("pid", "net"), ("mount", "uts")]
            {
                let path = format!("/proc/self/ns/{other}");
                refused(
                    t,
                    |b| _ = b.edit(|c| namespaced(c, kind, Some(&path))),
                    &[kind, "namespace", "nvalid argument"],
                );
            }
        });
}

/// "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error."
#[test]
fn no_namespace_is_listed_twice() {
    contract!(Root).differs("crun", "takes it").run(|t| {
        for kind in ["pid", "network", "ipc", "uts", "mount"] {
            refused(
                t,
                |b| _ = b.add("linux/namespaces", json!({ "type": kind })),
                &["namespace", "duplicated ns"],
            );
        }
    });
}

/// "The runtime MUST apply entries in the listed order." (linux.resources.devices)
#[test]
fn device_rules_apply_in_the_listed_order() {
    contract!(Root, Ctrl("devices")).run(|t| {
        let kmsg =
            |allow: bool| json!({ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": "w" });
        let none = json!({ "allow": false, "access": "rwm" });
        for (rules, wanted) in [
            (json!([none, kmsg(true)]), 0),
            (json!([none, kmsg(true), kmsg(false)]), libc::EPERM),
            (json!([none, kmsg(false), kmsg(true)]), 0),
            (json!([kmsg(true), none]), libc::EPERM),
        ] {
            let b = t.bundle();
            b.set("linux/resources/devices", rules.clone());
            b.set("linux/devices", json!([{ "type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11 }]));
            let r = t.report(&b, &["open-w:/dev/kmsg"]);
            assert_eq!(of(&r["probes"], "open-w:~1dev~1kmsg/errno"), wanted, "{rules}");
        }
    });
}

/// "If the value is specified, the runtime MUST consistently attach to the same place in the cgroups hierarchy given
/// the same value of cgroupsPath."; "In the case of an absolute path, the runtime MUST take the path to be relative to
/// the cgroups mount point."
#[test]
fn the_same_cgroups_path_is_the_same_place() {
    contract!(Root, Ctrl("memory")).run(|t| {
        for form in ["/", ""] {
            let name = t.id();
            let mut seen = vec![];
            for _ in 0..2 {
                let b = t.bundle();
                b.set("linux/cgroupsPath", json!(format!("{form}{name}/leaf")));
                t.create(&b).ok();
                seen.push(std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid(&b.id))).unwrap());
                t.rt(&["delete", "--force", &b.id]).ok();
            }
            assert_eq!(seen[0], seen[1]);
            if form == "/" {
                assert!(seen[0].lines().any(|l| l.ends_with(&format!(":/{name}/leaf"))), "{}", seen[0]);
            }
            for left in crate::harness::leftovers::cgroups(&name) {
                crate::harness::leftovers::remove_cgroup(&left);
            }
        }
    });
}

/// "Runtimes MAY consider certain cgroupsPath values to be invalid, and MUST generate an error if this is the case."
#[test]
fn a_cgroups_path_that_cannot_be_is_an_error() {
    contract!(Root, Ctrl("memory")).ours_only("the peers go on in the root cgroup of the host").run(|t| {
        for path in ["/", "/a\nb", "/a\u{0}b", "/.."] {
            refused(t, |b| _ = b.set("linux/cgroupsPath", json!(path)), &["cgroupsPath"]);
        }
    });
}

/// "runtime MAY check if a new memory limit is lower than the current usage, and MUST reject the new limit"
#[test]
fn a_limit_below_the_usage_is_rejected() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/memory", json!({ "limit": 128 << 20 }));
        b.shell("dd if=/dev/zero of=/dev/shm/x bs=1048576 count=32 2> /dev/null; echo full > /full; exec sleep 1000");
        t.create(&b).ok();
        t.start(&b).ok();
        crate::harness::test::wait_file(&b.host("/full"));
        let less = json!({ "memory": { "limit": 8 << 20, "checkBeforeUpdate": true } });
        t.call(&["update", "--resources", "-", &b.id]).stdin_text(&less.to_string()).run().fails();
        let limit = crate::harness::cgroup::read(&b, "memory", "memory.limit_in_bytes");
        assert_eq!(limit, (128 << 20).to_string());
        assert_eq!(t.status(&b.id), "running");
    });
}

/// "If specified, this value MUST be no larger than any positive quota" (cpu.burst)
#[test]
fn a_burst_above_the_quota_is_refused() {
    contract!(Root, Ctrl("cpu"))
        .differs("runc", "1.1.5 does not know it")
        .differs("crun", "1.8.1 does not write it")
        .run(|t| {
            let cpu = json!({ "quota": 50000, "period": 100_000, "burst": 60000 });
            refused(t, |b| _ = b.set("linux/resources/cpu", cpu), &["burst", "quota"]);
        });
}

/// "You MUST specify at least one of weight or leafWeight in a given entry" (blockIO.weightDevice); "You MUST specify
/// at least one of the hcaHandles or hcaObjects in a given entry" (rdma)
#[test]
fn an_entry_that_says_nothing_is_refused() {
    contract!(Root).differs("runc", "ignores it").differs("crun", "says it of the missing file").run(|t| {
        let weights = json!([{ "major": 8, "minor": 0 }]);
        let words = &["linux.resources.blockIO.weightDevice[0]"];
        refused(t, |b| _ = b.set("linux/resources/blockIO", json!({ "weightDevice": weights })), words);
        refused(
            t,
            |b| _ = b.set("linux/resources/rdma", json!({ "mlx5_1": {} })),
            &["linux.resources.rdma[\"mlx5_1\"]"],
        );
    });
}

/// "The values MUST be absolute paths in the container namespace." (maskedPaths, readonlyPaths)
#[test]
fn masked_and_read_only_paths_are_absolute() {
    contract!(Root).differs("runc", "takes it").differs("crun", "takes it").run(|t| {
        for field in ["maskedPaths", "readonlyPaths"] {
            for path in ["proc/kcore", "", "./etc"] {
                let name = format!("linux.{field}[1]");
                refused(t, |b| _ = b.set(&format!("linux/{field}"), json!(["/etc", path])), &[&name]);
            }
        }
    });
}

/// "When the action doesn't support an errno, the runtime MUST print and error and fail." (errnoRet, defaultErrnoRet)
#[test]
fn an_errno_without_use_is_an_error() {
    contract!(Root, Seccomp).differs("runc", "1.1.5 takes it").differs("crun", "1.8.1 takes it").run(|t| {
        for action in ["ALLOW", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG", "NOTIFY"] {
            let action = format!("SCMP_ACT_{action}");
            let rule = json!([{ "names": ["acct"], "action": action, "errnoRet": 5 }]);
            refused(t, |b| profile(b, "SCMP_ACT_ALLOW", rule), &["errnoRet"]);
            refused(
                t,
                |b| {
                    profile(b, &action, json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }]));
                    b.set("linux/seccomp/defaultErrnoRet", json!(5));
                },
                &["defaultErrnoRet"],
            );
        }
    });
}

/// "This field MUST NOT be set if listenerPath is not set." (listenerMetadata); "names MUST contain at least one entry."
#[test]
fn metadata_needs_a_listener_and_rules_need_names() {
    contract!(Root, Seccomp).differs("runc", "takes the metadata").differs("crun", "takes both").run(|t| {
        let rule = |names: Value| json!([{ "names": names, "action": "SCMP_ACT_ERRNO" }]);
        refused(t, |b| profile(b, "SCMP_ACT_ALLOW", rule(json!([]))), &["names"]);
        refused(
            t,
            |b| {
                profile(b, "SCMP_ACT_ALLOW", rule(json!(["acct"])));
                b.set("linux/seccomp/listenerMetadata", json!("m"));
            },
            &["listenerMetadata"],
        );
    });
}

fn notifying(t: &Test, path: &std::path::Path) -> Bundle {
    let b = t.bundle();
    profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["acct"], "action": "SCMP_ACT_NOTIFY" }]));
    b.set("linux/seccomp/listenerPath", json!(path));
    b
}

/// "The runtime MUST send exactly one container process state per connection. The connection MUST NOT be reused and it
/// MUST be closed after sending a seccomp state."; "MUST send the container process state over the UNIX socket as
/// regular payload serialized in JSON"
#[test]
fn the_agent_gets_one_state_and_the_end() {
    contract!(Root, Seccomp, PidfdGetfd).differs("crun", "nothing arrives before start").run(|t| {
        let path = t.fresh("listener");
        let listener = UnixListener::bind(&path).unwrap();
        let b = notifying(t, &path);
        let reading = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
            let mut text = String::new();
            let end = stream.read_to_string(&mut text);
            listener.set_nonblocking(true).unwrap();
            (text, end.is_ok(), listener.accept().is_err())
        });
        t.create(&b).ok();
        let (text, closed, alone) = reading.join().unwrap();
        assert!(closed, "the connection stays open");
        assert!(alone, "a second connection");
        let state: Value = serde_json::from_str(&text).expect("one document, nothing after it");
        for member in ["ociVersion", "pid", "state"] {
            assert!(state.get(member).is_some(), "no {member} in {text}");
        }
        assert_eq!(
            (of(&state, "state/status"), of(&state, "state/bundle")),
            (&json!("creating"), &json!(b.dir))
        );
    });
}

/// "This socket MUST use AF_UNIX domain and SOCK_STREAM type."; "If sending to this socket fails, the runtime MUST
/// generate an error."
#[test]
fn a_listener_that_is_no_stream_is_an_error() {
    contract!(Root, Seccomp).run(|t| {
        let path = t.fresh("datagrams");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let b = notifying(t, &path);
        t.create(&b).exits(1).fails_naming(&["listener", "seccomp", path.to_str().unwrap()]).one_line();
        t.nothing_left(&b.id);
        let plain = t.fresh("plain");
        std::fs::write(&plain, "").unwrap();
        let b = notifying(t, &plain);
        t.create(&b).exits(1).fails_naming(&["listener", "seccomp", plain.to_str().unwrap()]).one_line();
        t.nothing_left(&b.id);
    });
}

/// "If the SCMP_ACT_NOTIFY action is not used this value is ignored." (listenerPath)
#[test]
fn a_listener_that_nobody_needs_is_ignored() {
    contract!(Root, Seccomp).differs("crun", "1.8.1 connects to it all the same").run(|t| {
        let b = t.bundle();
        profile(&b, "SCMP_ACT_ALLOW", json!([{ "names": ["acct"], "action": "SCMP_ACT_ERRNO" }]));
        b.set("linux/seccomp/listenerPath", json!("/no/such/socket")).args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

/// "In addition to any devices configured with this setting, the runtime MUST also supply" /dev/null … /dev/ptmx: also
/// where the image's /dev is not covered by a mount, and with devices configured.
#[test]
fn default_devices_are_there_without_a_mount_on_dev() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"))
        });
        b.set("linux/devices", json!([{ "type": "c", "path": "/dev/mine", "major": 1, "minor": 3 }]));
        let names = ["null", "zero", "full", "random", "urandom", "tty", "mine"];
        let numbers = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (1, 3)];
        let probes: Vec<String> = names.iter().map(|n| format!("stat:/dev/{n}")).collect();
        let mut asked: Vec<&str> = probes.iter().map(String::as_str).collect();
        asked.push("readlink:/dev/ptmx");
        let r = t.report(&b, &asked);
        for (name, (major, minor)) in names.iter().zip(numbers) {
            let stat = of(&r["probes"], &format!("stat:~1dev~1{name}"));
            assert_eq!(
                (&stat["type"], &stat["major"], &stat["minor"]),
                (&json!("char"), &json!(major), &json!(minor))
            );
        }
        assert_eq!(of(&r["probes"], "readlink:~1dev~1ptmx/target"), "pts/ptmx");
    });
}

/// "Currently no flag values are supported." (personality.flags) and "Runtimes MUST generate an error when invalid or
/// unsupported values are encountered."
#[test]
fn a_personality_flag_is_refused() {
    contract!(Root).differs("runc", "1.1.5 does not know it").differs("crun", "takes it").run(|t| {
        let personality = json!({ "domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"] });
        refused(t, |b| _ = b.set("linux/personality", personality), &["linux.personality.flags"]);
    });
}
