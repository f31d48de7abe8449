//! exec: what joins, with which identity, how it is told and how it ends (contract §0, §1.2, §1.4, §1.6, §3.2).

use crate::contract;
use crate::harness::socket::Receiving;
use crate::harness::test::{parse_report, wait_file, wait_until};
use crate::harness::{Bundle, Test, config, has_cap, leftovers, namespaced, of};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// `exec OPTIONS ID COMMAND`.
fn words<'a>(b: &'a Bundle, options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["exec"], options, &[b.id.as_str()], command].concat()
}

fn report(t: &Test, b: &Bundle, options: &[&str], probes: &[&str]) -> Value {
    let out = t.rt(&words(b, options, &[&["/guest", "report"], probes].concat())).ok();
    parse_report(&out.stdout)
}

/// A process file that says no more than it must.
fn process_file(t: &Test, process: Value) -> String {
    let mut all = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"] });
    for (key, value) in process.as_object().unwrap() {
        all[key] = value.clone();
    }
    let path = t.fresh("process");
    std::fs::write(&path, all.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn report_of_file(t: &Test, b: &Bundle, process: Value) -> Value {
    let mut process = process;
    if process["args"].is_null() {
        process["args"] = json!(["/guest", "report"]);
    }
    let file = process_file(t, process);
    parse_report(&t.rt(&["exec", "--process", &file, &b.id]).ok().stdout)
}

/// Ends and reaps detached processes: init cannot die before its namespace is empty, and they are our children.
fn end(t: &Test, b: &Bundle) {
    let init = t.pid(&b.id);
    let gone = wait_until(Duration::from_secs(5), || {
        for pid in leftovers::children().into_iter().filter(|pid| *pid != init) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        leftovers::reap();
        leftovers::children().len() <= 1
    });
    assert!(gone, "{:?}", leftovers::children());
}

fn links(pid: i32) -> Vec<(String, PathBuf)> {
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
        .iter()
        .map(|n| (n.to_string(), std::fs::read_link(format!("/proc/{pid}/ns/{n}")).unwrap_or_default()))
        .collect()
}

#[test]
fn output_and_exit_status_are_the_programs() {
    contract!(Root).run(|t| {
        let b = t.running();
        let out = t.rt(&words(&b, &[], &["/bin/sh", "-c", "echo out; echo err >&2; exit 7"])).exits(7);
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
        let out = t.call(&words(&b, &[], &["/bin/cat"])).stdin_text("through\n").ok();
        assert_eq!(out.stdout, "through\n");
    });
}

#[test]
fn a_death_by_signal_is_128_and_the_signal() {
    contract!(Root).run(|t| {
        let b = t.running();
        t.rt(&words(&b, &[], &["/guest", "die", "9"])).exits(137);
        t.rt(&words(&b, &[], &["/guest", "die", "15"])).exits(143);
    });
}

#[test]
fn options_after_the_id_belong_to_the_command() {
    contract!(Root).run(|t| {
        let b = t.running();
        let out = t.rt(&words(&b, &[], &["/bin/echo", "-d", "--cwd", "x", "--help"])).ok();
        assert_eq!(out.stdout, "-d --cwd x --help\n");
    });
}

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

#[test]
fn the_containers_process_is_the_template() {
    contract!(Root).differs("crun", "1.8.1 drops the config's environment when -e is given").run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 0, "gid": 0, "additionalGids": [77] }));
        b.set("process/cwd", json!("/tmp")).add("process/env", json!("A=1"));
        b.set("process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 12288 }]));
        b.set("process/oomScoreAdj", json!(77));
        t.create(&b).ok();
        t.start(&b).ok();
        let r = report(t, &b, &["-e", "B=2", "-e", "PATH=/bin"], &[]);
        let mut env: Vec<_> = r["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        env.sort_unstable();
        assert_eq!(env, ["A=1", "B=2", "HOME=/root", "PATH=/bin"]);
        assert_eq!((&r["cwd"], &r["groups"]), (&json!("/tmp"), &json!([77])));
        assert_eq!(of(&r, "rlimits/4"), &json!([0, 12288]));
        assert_eq!(of(&r, "status/NoNewPrivs"), "1");
        assert_eq!(of(&r, "status/CapInh"), "0000000000000000");
    });
}

#[test]
fn options_replace_the_template() {
    contract!(Root).differs("crun", "1.8.1 has no -g").run(|t| {
        let b = t.running();
        let r = report(t, &b, &["--cwd", "/tmp", "-u", "1000:1001", "-g", "5", "-g", "6"], &[]);
        assert_eq!((&r["uid"], &r["gid"]), (&json!([1000, 1000, 1000]), &json!([1001, 1001, 1001])));
        assert_eq!((&r["groups"], &r["cwd"]), (&json!([5, 6]), &json!("/tmp")));
        assert!(r["env"].as_array().unwrap().contains(&json!("HOME=/home/user")), "{}", r["env"]);
        assert_eq!(of(&r, "status/CapEff"), "0000000000000000");
    });
}

#[test]
fn caps_are_added_and_nothing_becomes_inheritable() {
    contract!(Root).differs("crun", "1.8.1 takes the last one only").run(|t| {
        let b = t.running();
        let r = report(t, &b, &["--cap", "CAP_NET_ADMIN", "--cap", "CAP_SYS_TIME"], &[]);
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert!(has_cap(&r, set, 12) && has_cap(&r, set, 25) && has_cap(&r, set, 0), "{set}");
            assert!(!has_cap(&r, set, 21), "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(of(&r, &format!("status/{set}")), "0000000000000000", "{set}");
        }
    });
}

#[test]
fn no_new_privs_can_be_asked_for() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/noNewPrivileges", json!(false));
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(of(&report(t, &b, &[], &[]), "status/NoNewPrivs"), "0");
        assert_eq!(of(&report(t, &b, &["--no-new-privs"], &[]), "status/NoNewPrivs"), "1");
    });
}

/// T20: a number cut short has made strangers root.
#[test]
fn users_are_numbers_as_a_whole() {
    contract!(Root)
        .differs("crun", "1.8.1 takes the beginning")
        .differs("runc", "takes signs")
        .seconds(120)
        .run(|t| {
            let b = t.running();
            for good in ["0", "1000", "1000:1000"] {
                t.rt(&words(&b, &["-u", good], &["/bin/true"])).ok();
            }
            let bad =
                "root 1: :1 : 1:2:3 -1 +1 1x x1 0x1 1.0 4294967295 4294967296 99999999999999999999 1:x 1,2";
            for user in bad.split(' ').chain([" 1", "1 ", "1\n"]) {
                let option = format!("--user={user}");
                let out = t.rt(&words(&b, &[&option], &["/bin/true"]));
                assert_ne!(out.code, 0, "{user:?}");
                out.fails();
            }
        });
}

#[test]
fn a_process_file_is_the_whole_process() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add("process/env", json!("FROM_CONFIG=1")).set("process/cwd", json!("/tmp"));
        t.create(&b).ok();
        t.start(&b).ok();
        let caps = json!(["CAP_KILL"]);
        let r = report_of_file(
            t,
            &b,
            json!({ "user": { "uid": 0, "gid": 7, "additionalGids": [8] }, "cwd": "/root",
                "env": ["X=y", "HOME=/h"], "noNewPrivileges": true,
                "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
                "rlimits": [{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }] }),
        );
        assert_eq!(r["env"], json!(["X=y", "HOME=/h"]));
        assert_eq!((&r["cwd"], &r["groups"]), (&json!("/root"), &json!([8])));
        assert_eq!(of(&r, "rlimits/4"), &json!([1, 2]));
        assert_eq!(of(&r, "status/CapBnd"), "0000000000000020");
        assert_eq!(of(&r, "status/CapEff"), "0000000000000020");
    });
}

#[test]
fn a_process_file_that_is_silent_leaves_it_to_the_container() {
    contract!(Root)
        .differs("crun", "takes labels and user only")
        .differs("runc", "1.1.5 takes no limits")
        .run(|t| {
            let b = t.bundle();
            b.set("process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 3, "hard": 4 }]));
            t.create(&b).ok();
            t.start(&b).ok();
            let r = report_of_file(t, &b, json!({}));
            assert_eq!(of(&r, "rlimits/4"), &json!([3, 4]));
            assert!(has_cap(&r, "CapBnd", 0) && !has_cap(&r, "CapBnd", 21));
        });
}

/// The file's own umask is not asked: runc and crun take the container's.
#[test]
fn umask_and_personality_are_the_containers() {
    contract!(Root)
        .differs("crun", "takes the umask of the file")
        .differs("runc", "1.1.5 has no personality")
        .run(|t| {
            let b = t.bundle();
            b.set("process/user/umask", json!(0o27)).set("linux/personality", json!({ "domain": "LINUX32" }));
            t.create(&b).ok();
            t.start(&b).ok();
            let r = report_of_file(t, &b, json!({ "user": { "uid": 0, "gid": 0, "umask": 0 } }));
            assert_eq!((&r["umask"], &r["personality"]), (&json!(0o27), &json!(8)));
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

#[test]
fn descriptors_are_0_1_2_and_the_preserved_ones() {
    contract!(Root).run(|t| {
        let b = t.running();
        let numbers = |r: &Value| -> Vec<i64> {
            r["fds"].as_array().unwrap().iter().map(|f| f["fd"].as_i64().unwrap()).collect()
        };
        let zero = || File::open("/dev/zero").unwrap();
        let command = ["/guest", "report"];
        let out = t.call(&words(&b, &[], &command)).fd(zero(), 3).fd(zero(), 7).ok();
        assert_eq!(numbers(&parse_report(&out.stdout)), [0, 1, 2]);
        let out = t
            .call(&words(&b, &["--preserve-fds", "2"], &command))
            .fd(zero(), 3)
            .fd(zero(), 4)
            .fd(zero(), 5)
            .ok();
        assert_eq!(numbers(&parse_report(&out.stdout)), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn stdio_belongs_to_the_user_and_null_is_the_containers() {
    contract!(Root)
        .differs("crun", "keeps the host's /dev/null")
        .differs("runc", "keeps the host's /dev/null")
        .run(|t| {
            let b = t.running();
            let (read, write) = nix::unistd::pipe().unwrap();
            let command = ["/bin/stat", "-L", "-c", "%d:%i", "/proc/self/fd/0", "/dev/null"];
            let out = t.call(&words(&b, &["-u", "1000"], &command)).stdio(2, write).ok();
            assert_eq!(File::from(read).metadata().unwrap().uid(), 1000);
            let lines: Vec<_> = out.stdout.lines().collect();
            assert_eq!(lines[0], lines[1], "{lines:?}");
        });
}

#[test]
fn detached_it_returns_at_once_and_the_caller_gets_the_process() {
    contract!(Root).run(|t| {
        let b = t.running();
        let pid_file = t.fresh("pid");
        let out = t
            .rt(&words(&b, &["--detach", "--pid-file", pid_file.to_str().unwrap()], &["/bin/sleep", "1000"]))
            .ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        let text = std::fs::read_to_string(&pid_file).unwrap();
        let pid: i32 = text.parse().expect("decimal, no newline");
        let (parent, state) = leftovers::parent_and_state(pid).expect("it lives");
        assert_eq!(parent, std::process::id() as i32);
        assert_ne!(state, 'Z');
        let mut children = leftovers::children();
        children.sort_unstable();
        let mut wanted = vec![t.pid(&b.id), pid];
        wanted.sort_unstable();
        assert_eq!(children, wanted, "nothing of the runtime stays");
        let cmdline = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(cmdline, "/bin/sleep\x001000\0");
        end(t, &b);
    });
}

#[test]
fn the_pid_file_is_relative_to_the_caller() {
    contract!(Root).run(|t| {
        let b = t.running();
        let dir = t.fresh_dir("here");
        t.call(&words(&b, &["-d", "--pid-file", "p"], &["/bin/true"])).cwd(&dir).ok();
        assert!(std::fs::read_to_string(dir.join("p")).unwrap().parse::<i32>().is_ok());
        end(t, &b);
    });
}

#[test]
fn signals_go_on_to_the_program() {
    contract!(Root).run(|t| {
        let b = t.running();
        let running = t.call(&words(&b, &[], &["/guest", "trap"])).spawn();
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("ready")));
        running.signal(Signal::SIGUSR1);
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("signal 10")));
        running.signal(Signal::SIGTERM);
        running.wait().exits(55);
    });
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    contract!(Root).run(|t| {
        let b = t.running();
        let path = t.dir.join("console.sock");
        let receiving = Receiving::at(&path);
        let options = ["-d", "-t", "--console-socket", path.to_str().unwrap()];
        t.rt(&words(&b, &options, &["/bin/sh", "-c", "read x; echo got $x; test -t 0 && echo tty; read y"]))
            .ok();
        let mut message = receiving.take();
        assert_eq!((message.fds.len(), message.rights), (1, 1));
        assert!(!message.data.is_empty() && message.data.len() < 4096);
        let mut master = File::from(message.fds.remove(0));
        master.write_all(b"line\n").unwrap();
        let mut text = String::new();
        let mut buf = [0; 256];
        while !text.contains("tty\r\n") {
            let n = master.read(&mut buf).unwrap();
            text.push_str(&String::from_utf8_lossy(&buf[..n]));
        }
        assert!(text.starts_with("line\r\n") && text.contains("got line\r\n"), "{text:?}");
        end(t, &b);
    });
}

#[test]
fn a_terminal_of_the_file_has_its_size_and_its_owner() {
    contract!(Root).differs("crun", "1.8.1 leaves the size out").run(|t| {
        let b = t.running();
        let path = t.dir.join("console.sock");
        let receiving = Receiving::at(&path);
        std::os::unix::fs::chown(b.host("/home/user"), Some(1000), None).unwrap();
        let file = process_file(
            t,
            json!({ "terminal": true, "consoleSize": { "height": 33, "width": 77 },
                "user": { "uid": 1000, "gid": 1000 },
                "args": ["/guest", "file", "/home/user/r.json", "open-rw:/proc/self/fd/0"] }),
        );
        t.rt(&["exec", "-d", "-p", &file, "--console-socket", path.to_str().unwrap(), &b.id]).ok();
        let _master = receiving.take();
        let r = parse_report(&wait_file(&b.host("/home/user/r.json")));
        assert_eq!(of(&r, "tty/size"), &json!([33, 77]));
        assert_eq!(of(&r, "tty/isatty"), &json!([true, true, true]));
        assert_ne!(of(&r, "tty/tty_nr"), "0");
        assert_eq!(r["sid"], r["pid"]);
        assert_eq!(of(&r["probes"], "open-rw:~1proc~1self~1fd~10/errno"), 0);
    });
}

#[test]
fn a_foreground_terminal_is_relayed() {
    contract!(Root, Tool("script")).run(|t| {
        let b = t.running();
        let rt = crate::harness::runtime::get().path.display().to_string();
        let line = format!(
            "'{rt}' --root '{}' exec -t {} /bin/sh -c 'test -t 0 && test -t 1 && echo is-a-tty; exit 5'",
            t.root.display(),
            b.id
        );
        let out = std::process::Command::new("timeout")
            .args(["10", "script", "-qec", &line, "/dev/null"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("is-a-tty"), "{text}");
        assert_eq!(out.status.code(), Some(5), "{text}");
    });
}

#[test]
fn terminal_and_console_socket_must_fit() {
    contract!(Root).differs("crun", "ignores the socket").run(|t| {
        let b = t.running();
        t.rt(&words(&b, &["-d", "-t"], &["/bin/true"])).exits(255).fails_naming(&["console", "tty"]);
        let path = t.dir.join("console.sock");
        let receiving = Receiving::at(&path);
        let options = ["-d", "--console-socket", path.to_str().unwrap()];
        t.rt(&words(&b, &options, &["/bin/true"])).exits(255).fails_naming(&["console", "tty"]);
        assert!(receiving.is_empty());
    });
}

#[test]
fn a_pidfd_is_sent_for_the_process() {
    contract!(Root)
        .differs("runc", "1.1.5 has no --pidfd-socket")
        .differs("crun", "has no --pidfd-socket")
        .run(|t| {
            let b = t.running();
            let path = t.dir.join("pidfd.sock");
            let receiving = Receiving::at(&path);
            let options = ["-d", "--pidfd-socket", path.to_str().unwrap()];
            t.rt(&words(&b, &options, &["/bin/sleep", "1000"])).ok();
            let message = receiving.take();
            assert_eq!((message.data.as_slice(), message.fds.len()), (&b"setns"[..], 1));
            end(t, &b);
        });
}

#[test]
fn failures_of_exec_end_with_255_and_one_line() {
    contract!(Root).differs("crun", "unknown ids end with 1, other words").run(|t| {
        t.rt(&["exec", "no-such", "/bin/true"]).exits(255).fails_with("does not exist").one_line();
        let b = t.running();
        let missing = "exec: \"/missing\": stat /missing: no such file or directory";
        t.rt(&words(&b, &[], &["/missing"])).exits(255).fails_with(missing).one_line();
        let missing = "exec: \"missing\": executable file not found in $PATH";
        t.rt(&words(&b, &[], &["missing"])).exits(255).fails_with(missing).fails_with("exec failed");
        t.rt(&words(&b, &[], &["/etc"])).exits(255).fails_naming(&["permission denied", "is a directory"]);
        t.rt(&words(&b, &["--cwd", "/no/such"], &["/bin/true"]))
            .exits(255)
            .fails_with("no such file or directory")
            .fails_with("/no/such");
        assert_eq!(t.status(&b.id), "running");
        assert_eq!(leftovers::children(), [t.pid(&b.id)]);
    });
}

#[test]
fn a_command_is_needed() {
    contract!(Root).run(|t| {
        let b = t.running();
        t.rt(&words(&b, &[], &[])).fails();
        t.rt(&["exec", "-p", "/no/such/file", &b.id]).fails();
        let file = process_file(t, json!({ "args": [] }));
        t.rt(&["exec", "-p", &file, &b.id]).fails();
    });
}

#[test]
fn a_stopped_container_takes_no_process() {
    contract!(Root).differs("crun", "other words").run(|t| {
        let b = t.stopped();
        let out = t.rt(&words(&b, &[], &["/bin/true"])).exits(255);
        out.fails_with("cannot exec in a stopped container").one_line();
    });
}

#[test]
fn a_created_container_takes_a_process() {
    contract!(Root).run(|t| {
        let b = t.created();
        let out = t.rt(&words(&b, &[], &["/bin/echo", "early"])).ok();
        assert_eq!(out.stdout, "early\n");
        assert_eq!(t.status(&b.id), "created");
        t.start(&b).ok();
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

/// Filters ask an agent for the exec'ed process too, with the container running.
#[test]
fn the_agent_gets_a_listener_for_every_process() {
    contract!(Root, Seccomp).wavers("crun", "hands over in its own way").run(|t| {
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

/// A limit of processes is asked at forks: to look into a full container is possible.
#[test]
fn a_full_container_takes_a_process() {
    contract!(Root, Ctrl1("pids")).run(|t| {
        let b = t.bundle();
        b.set("linux/resources/pids", json!({ "limit": 1 }));
        t.create(&b).ok();
        t.start(&b).ok();
        let out = t.rt(&words(&b, &[], &["/bin/cat", "/proc/self/cgroup"])).ok();
        assert!(out.stdout.contains(&format!("pids:/{}\n", b.id)), "{}", out.stdout);
        t.rt(&words(&b, &[], &["/bin/sh", "-c", "/bin/true; exit 3"])).fails();
    });
}

#[test]
fn many_at_once() {
    contract!(Root).run(|t| {
        let b = t.running();
        let runs: Vec<_> =
            (0..8).map(|n| t.call(&words(&b, &[], &["/guest", "exit", &n.to_string()])).spawn()).collect();
        for (n, run) in (0..).zip(runs) {
            run.wait().exits(n);
        }
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
                        .unwrap();
                    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
                }
                std::fs::write(b.host("/stop"), "").unwrap();
                hunt.wait().ok();
                let got = parse_report(&wait_file(&b.host("/hunt.json")));
                println!("{got}");
                assert_eq!(got["wrote"], 0, "{got}");
                assert!(std::fs::read(&copy).unwrap() == before, "the runtime was overwritten: {got}");
                // Pipes to this test, and what has no name on the host.
                let harmless = ["pipe:", "socket:", "/memfd:", "memfd:", "anon_inode:", "/dev/null", "/dev/"];
                for file in got["files"].as_array().unwrap().iter().filter_map(Value::as_str) {
                    let own = file.is_empty() || file.contains("hunt.json") || file.contains("/stop");
                    let ok = own || harmless.iter().any(|prefix| file.starts_with(prefix));
                    let stdio = file.contains("/out.") || file.contains("/err.");
                    assert!(ok || stdio, "a descriptor of the host: {file} in {got}");
                }
            }
        });
}
