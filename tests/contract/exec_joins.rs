//! exec: what of the container the process joins, and what it must not get hold of (contract §1.6, §5; T19, T20).

use crate::contract;
use crate::harness::exec::{end, links, report, report_of_file, words};
use crate::harness::socket::{Receiving, full};
use crate::harness::test::{parse_report, slow, wait_file, wait_until};
use crate::harness::{config, leftovers, namespaced, of};
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

#[test]
fn all_namespaces_of_init_are_joined() {
    contract!(Root, Userns, Timens).differs("runc", "1.1.5 has no time namespaces").run(|t| {
        let b = t.bundle();
        b.edit(|c| namespaced(c, "cgroup", None)).edit(|c| namespaced(c, "time", None)).userns(100_000);
        t.create(&b).ok();
        t.start(&b).ok();
        let out = t.rt(&words(&b, &["--detach"], &["/bin/sleep", "1000"])).ok();
        assert_eq!(out.stdout, "");
        let init = t.pid(&b.id);
        let other = leftovers::children().into_iter().find(|pid| *pid != init).expect("the process");
        assert_eq!(links(other), links(init));
        assert_eq!(
            std::fs::read_to_string(format!("/proc/{other}/cgroup")).unwrap(),
            std::fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap()
        );
        end(t, &b);
    });
}

/// Without a pid namespace of its own the container's processes are the host's; without a mount namespace its
/// root is init's.
#[test]
fn a_container_without_namespaces_of_its_own_is_joined() {
    contract!(Root).wavers("runc", "cannot do without a mount namespace").wavers("crun", "the same").run(
        |t| {
            let b = t.bundle();
            b.edit(|c| config::without_namespace(c, "pid"));
            t.create(&b).ok();
            t.start(&b).ok();
            assert_eq!(t.rt(&words(&b, &[], &["/bin/echo", "in"])).ok().stdout, "in\n");
            let b = t.bundle();
            b.edit(|c| {
                config::without_namespace(c, "mount");
                c["mounts"] = json!([]);
            });
            std::fs::write(b.host("/inside"), "yes").unwrap();
            t.create(&b).ok();
            t.start(&b).ok();
            let out = t.rt(&words(&b, &[], &["/bin/cat", "/inside"])).ok();
            assert_eq!(out.stdout, "yes");
            let r = report(t, &b, &[], &["ls:/.."]);
            assert!(r["probes"]["ls:/.."].to_string().contains("\"inside\""), "{}", r["probes"]);
        },
    );
}

#[test]
fn a_network_joined_by_path_is_joined_again() {
    contract!(Root, Userns).differs("runc", "enters the user namespace first").run(|t| {
        let holder = t.running();
        let path = format!("/proc/{}/ns/net", t.pid(&holder.id));
        let b = t.bundle();
        b.userns(100_000).edit(|c| namespaced(c, "network", Some(&path)));
        // sysfs wants a network of the container's own user namespace.
        b.edit(|c| config::without_mount(c, "/sys"));
        t.create(&b).ok();
        t.start(&b).ok();
        let r = report(t, &b, &[], &[]);
        let net = std::fs::read_link(&path).unwrap();
        assert_eq!(of(&r, "namespaces/net"), net.to_str().unwrap());
        assert_eq!(of(&r, "uid"), &json!([0, 0, 0]));
        assert_eq!(of(&r, "uid_map").as_str().unwrap().split_whitespace().nth(1), Some("100000"));
    });
}

#[test]
fn the_session_keyring_is_shared() {
    contract!(Root).wavers("crun", "another keyring").run(|t| {
        let b = t.bundle();
        b.args(&["/bin/sh", "-c", "/guest file /first.json; exec /guest pause"]);
        t.create(&b).ok();
        t.start(&b).ok();
        let first = parse_report(&wait_file(&b.host("/first.json")));
        assert_eq!(report(t, &b, &[], &[])["keyring"], first["keyring"]);
    });
}

#[test]
fn cgroup_paths_stay_below_the_container() {
    contract!(Root, Cgroup1).differs("crun", "1.8.1 lets it out; knows no controllers").run(|t| {
        let b = t.running();
        let pids = crate::harness::needs::hierarchy("pids").unwrap().join(&b.id).join("sub");
        for hierarchy in leftovers::hierarchies() {
            std::fs::create_dir(hierarchy.mount.join(&b.id).join("sub")).unwrap();
        }
        let out = t.rt(&words(&b, &["--cgroup", "pids:sub"], &["/bin/cat", "/proc/self/cgroup"])).ok();
        assert!(out.stdout.contains(&format!("pids:/{}/sub\n", b.id)), "{}", out.stdout);
        assert!(out.stdout.contains(&format!("memory:/{}\n", b.id)), "{}", out.stdout);
        assert!(pids.exists());
        for bad in ["../..", "/../x", "pids:/../..", "no-such", "nope:/sub", "a:b:c"] {
            t.rt(&words(&b, &["--cgroup", bad], &["/bin/true"])).exits(255).fails();
        }
    });
}

/// As an engine or a systemd does that sees the host's tree: init in a cgroup beside, the container's own removed.
#[test]
fn init_may_have_left_its_cgroup_and_removed_it() {
    let case = contract!(Root, Cgroup1).differs("runc", "1.1.5 falls back to init's cgroup on v2 only");
    case.differs("crun", "1.8.1 asks the freezer of the old one").run(|t| {
        let b = t.running();
        let init = t.pid(&b.id);
        let moved = format!("{}-moved", b.id);
        for hierarchy in leftovers::hierarchies() {
            let (old, new) = (hierarchy.mount.join(&b.id), hierarchy.mount.join(&moved));
            std::fs::create_dir(&new).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| hierarchy.has("cpuset")) {
                let all = std::fs::read(hierarchy.mount.join(file)).unwrap();
                std::fs::write(new.join(file), all).unwrap();
            }
            std::fs::write(new.join("cgroup.procs"), init.to_string()).unwrap();
            std::fs::remove_dir(old).unwrap();
        }
        let out = t.rt(&words(&b, &[], &["/bin/cat", "/proc/self/cgroup"])).ok();
        assert_eq!(out.stdout, std::fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap());
        assert!(out.stdout.contains(&format!("pids:/{moved}\n")), "{}", out.stdout);
        // What was asked for is not to be had elsewhere.
        t.rt(&words(&b, &["--cgroup", "pids:sub"], &["/bin/true"])).exits(255).fails();
        t.rt(&["delete", "--force", &b.id]).ok();
        for left in leftovers::cgroups(&moved) {
            leftovers::remove_cgroup(&left);
        }
    });
}

#[test]
fn the_filter_of_the_container_applies() {
    contract!(Root, Seccomp).run(|t| {
        for nnp in [true, false] {
            let b = t.bundle();
            b.set("process/noNewPrivileges", json!(nnp));
            b.set(
                "linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }] }),
            );
            t.create(&b).ok();
            t.start(&b).ok();
            let r = report(t, &b, &["-u", "1000"], &["mkdir:/tmp/x"]);
            assert_eq!(of(&r, "probes/mkdir:~1tmp~1x/errno"), 77, "noNewPrivileges {nnp}");
            assert_eq!(of(&r, "status/Seccomp"), "2");
            let file = json!({ "args": ["/guest", "report", "mkdir:/tmp/x"] });
            assert_eq!(of(&report_of_file(t, &b, file), "probes/mkdir:~1tmp~1x/errno"), 77);
        }
    });
}

/// A filter that denies write(2) must not hide a failing execve.
#[test]
fn a_failing_execve_is_told_whatever_the_filter_says() {
    contract!(Root, Seccomp)
        .differs("runc", "hangs or says nothing of use")
        .differs("crun", "leaves the status to the process")
        .run(|t| {
            let b = t.bundle();
            b.set(
                "linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["write"], "action": "SCMP_ACT_ERRNO" }] }),
            );
            t.create(&b).ok();
            t.start(&b).ok();
            std::fs::write(b.host("/bad"), "#!/no/such/interpreter\n").unwrap();
            std::fs::set_permissions(b.host("/bad"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            t.rt(&words(&b, &[], &["/bad"])).exits(255).fails_with("no such file or directory").one_line();
        });
}

/// Filters ask an agent for the exec'ed process too, with the container running.
#[test]
fn the_agent_gets_a_listener_for_every_process() {
    contract!(Root, Seccomp, PidfdGetfd).wavers("crun", "hands over in its own way").run(|t| {
        let b = t.bundle();
        let path = t.dir.join("agent.sock");
        b.set(
            "linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "meta",
                "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
        );
        let first = Receiving::at(&path);
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(first.take().fds.len(), 1);
        std::fs::remove_file(&path).unwrap();
        let second = Receiving::at(&path);
        t.rt(&words(&b, &[], &["/bin/true"])).ok();
        let message = second.take();
        let state: Value = serde_json::from_slice(&message.data).unwrap();
        assert_eq!((message.fds.len(), &state["metadata"]), (1, &json!("meta")));
        assert_eq!(
            (&state["state"]["status"], &state["state"]["pid"]),
            (&json!("running"), &json!(t.pid(&b.id)))
        );
        assert_ne!(state["pid"], state["state"]["pid"]);
    });
}

#[test]
fn the_runtimes_binary_is_not_a_programs_to_run() {
    contract!(Root).run(|t| {
        let b = t.running();
        let out = t.rt(&words(&b, &[], &["/proc/self/exe", "--version"]));
        assert_ne!(out.code, 0);
        assert!(!out.stdout.contains("version"), "{}", out.stdout);
    });
}

/// T02, CVE-2019-5736: who has joined the pid namespace with CAP_SYS_PTRACE after the container was made is not in its
/// record, and may be outside of its user namespace. So whatever anybody in there sees runs from what cannot be written.
#[test]
fn what_joins_runs_from_an_image_that_cannot_be_written() {
    contract!(Root, Userns).ours_only("looks at how the image is held").run(|t| {
        for userns in [false, true] {
            let b = t.bundle();
            if userns {
                b.userns(100_000);
            }
            t.create(&b).ok();
            t.start(&b).ok();
            // Nobody accepts, and the queue is full: exec stays where its process is there and not yet released.
            let (path, pid_file) = (t.fresh("pidfd"), t.fresh("pid"));
            let _full = full(&path);
            let options =
                ["--pid-file", pid_file.to_str().unwrap(), "--pidfd-socket", path.to_str().unwrap()];
            let exec = t.call(&words(&b, &options, &["/bin/true"])).spawn();
            let exe = format!("/proc/{}/exe", wait_file(&pid_file));
            let image = nix::sys::statvfs::statvfs(exe.as_str()).unwrap();
            let readonly = image.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
            let target = std::fs::read_link(&exe).unwrap();
            assert!(
                readonly || target.to_string_lossy().starts_with("/memfd:orlop"),
                "{target:?}, user namespace: {userns}"
            );
            exec.signal(nix::sys::signal::Signal::SIGKILL);
            exec.wait();
            end(t, &b);
        }
    });
}

/// Before its filter, its last capabilities and its label are in place nobody in the container may trace what joins, not
/// even where the caller's own id is mapped, as without root or with the host's root in the map.
#[test]
fn what_joins_a_user_namespace_is_out_of_its_tracers_reach() {
    let case = contract!(Root, Seccomp, Userns, PidfdGetfd, Tool("strace"));
    case.ours_only("stops our process between its filter and its program").run(|t| {
        for base in [0, 100_000] {
            let (b, path) = (t.bundle(), t.fresh("agent"));
            b.userns(base).args(&["/guest", "pause"]).set("process/noNewPrivileges", json!(false));
            b.set(
                "linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path.to_str().unwrap(),
                    "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }] }),
            );
            let first = Receiving::at(&path);
            t.create(&b).ok();
            t.start(&b).ok();
            let _agent = first.take();
            std::fs::remove_file(&path).unwrap();
            // Nobody takes the listener, so that the process waits, filtered, with all that it will lose.
            let _full = full(&path);
            let pid_file = t.fresh("pid");
            let options = ["--pid-file", pid_file.to_str().unwrap()];
            let exec = t.call(&words(&b, &options, &["/bin/true"])).spawn();
            let pid = wait_file(&pid_file);
            let filtered = || {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                status.contains("Seccomp:\t2")
            };
            assert!(crate::harness::test::wait_until(Duration::from_secs(5), filtered));
            let init = t.pid(&b.id).to_string();
            let limit = slow(10).as_secs().to_string();
            let tracer = ["-t", &init, "-U", "timeout", &limit, "strace", "-o", "/dev/null", "-p", &pid];
            let out = std::process::Command::new("nsenter").args(tracer).output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(said.contains("Operation not permitted"), "{base}: {said}");
            exec.signal(nix::sys::signal::Signal::SIGKILL);
            exec.wait_for(slow(30));
            end(t, &b);
        }
    });
}

/// A limit of processes is asked at forks: to look into a full container is possible.
#[test]
fn a_full_container_takes_a_process() {
    let case = contract!(Root, Ctrl("pids"));
    case.wavers("runc", "is full of its own threads: pthread_create fails").run(|t| {
        let b = t.bundle();
        b.set("linux/resources/pids", json!({ "limit": 1 }));
        t.create(&b).ok();
        t.start(&b).ok();
        let out = t.rt(&words(&b, &[], &["/bin/cat", "/proc/self/cgroup"])).ok();
        assert!(out.stdout.contains(&format!(":/{}\n", b.id)), "{}", out.stdout);
        t.rt(&words(&b, &[], &["/bin/sh", "-c", "/bin/true; exit 3"])).fails();
    });
}

/// T01, T02: a process of the container with all rights over its neighbours lies in wait for those who join. It may
/// see the runtime for a moment, but what it gets hold of cannot be written, and leads nowhere.
#[test]
fn a_hunter_in_the_container_gets_nothing_of_the_host() {
    contract!(Root)
        .ours_only("writes to what the joining process runs: the peers' own binaries")
        .seconds(120)
        .run(|t| {
            for caps in
                [json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"]), json!(["CAP_DAC_OVERRIDE"])]
            {
                // A copy, so that a failure of this test does not end all others.
                let copy = t.fresh("orlop");
                std::fs::copy(&crate::harness::runtime::get().path, &copy).unwrap();
                let before = std::fs::read(&copy).unwrap();
                let b = t.bundle();
                b.args(&["/guest", "pause"]);
                for set in ["bounding", "effective", "permitted"] {
                    b.set(&format!("process/capabilities/{set}"), caps.clone());
                }
                t.create(&b).ok();
                t.start(&b).ok();
                let hunt = t.call(&words(&b, &[], &["/guest", "hunt", "/hunt.json"])).spawn();
                std::thread::sleep(Duration::from_millis(200));
                for _ in 0..60 {
                    let out = std::process::Command::new(&copy)
                        .args(["--root", t.root.to_str().unwrap(), "exec", &b.id, "/bin/true"])
                        .output()
                        // ETXTBSY: who may not write it holds up who executes it.
                        .expect("execute the runtime");
                    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
                }
                std::fs::write(b.host("/stop"), "").unwrap();
                // It was there all the time.
                hunt.wait_for(slow(60)).ok();
                let got = parse_report(&wait_file(&b.host("/hunt.json")));
                println!("{got}");
                assert_eq!(got["wrote"], 0, "{got}");
                assert!(std::fs::read(&copy).unwrap() == before, "the runtime was overwritten: {got}");
                // Pipes to this test, and what has no name on the host.
                let harmless = ["pipe:", "socket:", "/memfd:", "memfd:", "anon_inode:", "/dev/null", "/dev/"];
                for file in got["files"].as_array().unwrap().iter().filter_map(Value::as_str) {
                    let own = file.is_empty() || file.contains("hunt.json") || file.contains("/stop");
                    // What stands in for a memfd where there is none.
                    let nameless = file.starts_with("/tmp/#") && file.ends_with(" (deleted)");
                    let ok = own || nameless || harmless.iter().any(|prefix| file.starts_with(prefix));
                    let stdio = file.contains("/out.") || file.contains("/err.");
                    assert!(ok || stdio, "a descriptor of the host: {file} in {got}");
                }
            }
        });
}

/// The arguments of a process are for everybody who sees it: not the runtime's own, with what `exec -e` says among them.
#[test]
fn nobody_in_the_container_reads_the_runtimes_command_line() {
    contract!(Root).differs("crun", "shows all of it").seconds(120).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "pause"]);
        t.create(&b).ok();
        t.start(&b).ok();
        let hunt =
            t.call(&words(&b, &["--user", "1000:1000"], &["/guest", "hunt", "/tmp/hunt.json"])).spawn();
        std::thread::sleep(Duration::from_millis(200));
        for n in 0..40 {
            let variable = format!("PASSWORD=xyzzy{n}");
            t.rt(&words(&b, &["-e", &variable], &["/bin/true"])).ok();
        }
        std::fs::write(b.host("/stop"), "").unwrap();
        hunt.wait_for(slow(60)).ok();
        let got = parse_report(&wait_file(&b.host("/tmp/hunt.json")));
        let lines = got["lines"].as_array().unwrap();
        assert!(!lines.is_empty(), "nobody was seen");
        assert!(!lines.iter().any(|line| line.as_str().unwrap().contains("xyzzy")), "{lines:?}");
    });
}

/// Init of a container that shares the namespace is seen, too; its hooks have the environment all the same.
#[test]
fn nobody_beside_a_new_container_reads_the_runtimes_command_line() {
    contract!(Root).ours_only("hooks without an environment have the caller's").run(|t| {
        let b = t.running();
        let other = t.bundle();
        other.edit(|c| crate::harness::namespaced(c, "pid", Some(&format!("/proc/{}/ns/pid", t.pid(&b.id)))));
        let hook = "read -r pid name state parent rest < /proc/self/stat; tr '\\0' ' ' < /proc/$parent/cmdline > DIR/line; env > DIR/env"
            .replace("DIR", t.dir.to_str().unwrap());
        other.add("hooks/createContainer", json!({ "path": "/bin/sh", "args": ["sh", "-c", hook] }));
        t.call_create(&other, &[]).env("SECRET", "plugh").ok();
        assert!(std::fs::read_to_string(t.dir.join("env")).unwrap().contains("SECRET=plugh"));
        let line = std::fs::read_to_string(t.dir.join("line")).unwrap();
        assert!(!line.contains(&other.id), "{line}");
        // Init of a pid namespace ends after all others in it have been waited for.
        t.rt(&["delete", "--force", &other.id]).ok();
    });
}

/// A container with a read-only root that runs the runtime inside: its overlay refuses writers, the file below does not.
#[test]
fn a_read_only_overlay_that_others_have_is_no_protected_image() {
    contract!(Root, Overlay).ours_only("runs again from an image of its own").run(|t| {
        let layers = t.fresh_dir("layers");
        let make = |name: &str| {
            std::fs::create_dir(layers.join(name)).unwrap();
            layers.join(name)
        };
        let (lower, memory, top) = (make("lower"), make("memory"), make("top"));
        std::fs::copy(&crate::harness::runtime::get().path, lower.join("orlop")).unwrap();
        t.mount("tmpfs", &memory, "tmpfs", MsFlags::empty(), "");
        let (upper, work) = (memory.join("upper"), memory.join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let data =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        t.mount("overlay", &top, "overlay", MsFlags::MS_RDONLY, &data);
        let b = t.running();
        let binary = top.join("orlop");
        let mut exec = std::process::Command::new(&binary)
            .args([
                "--root",
                t.root.to_str().unwrap(),
                "exec",
                &b.id,
                "/bin/sh",
                "-c",
                "touch /up; sleep 1000",
            ])
            .spawn()
            .unwrap();
        assert!(wait_until(Duration::from_secs(5), || b.host("/up").exists()));
        let runs = std::fs::metadata(format!("/proc/{}/exe", exec.id())).unwrap();
        let named = std::fs::metadata(&binary).unwrap();
        t.rt(&["kill", &b.id, "KILL"]).ok();
        exec.wait().unwrap();
        assert_ne!(runs.dev(), named.dev());
    });
}
