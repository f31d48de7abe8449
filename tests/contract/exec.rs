//! exec: stdio, signals, what callers are told and how it ends (contract §0, §1.2, §1.4, §1.6, §3.2).

use crate::contract;
use crate::harness::exec::{end, process_file, words};
use crate::harness::socket::Receiving;
use crate::harness::test::{parse_report, wait_until};
use crate::harness::{leftovers, runtime};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

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

/// Who repairs it execs, and has a /dev/null of the host for standard input.
#[test]
fn a_broken_null_keeps_nobody_out() {
    contract!(Root, MountSetattr).differs("runc", "takes whatever file is there").run(|t| {
        let b = t.running();
        let null = format!("/proc/{}/root/dev/null", t.pid(&b.id));
        std::fs::remove_file(&null).unwrap();
        std::fs::write(&null, "no device").unwrap();
        let command =
            ["/bin/sh", "-c", "cat; stat -L -c %t:%T /proc/self/fd/0; stat -L -c %d:%i /proc/self/fd/0"];
        let host = File::open("/dev/null").unwrap();
        let seen = host.metadata().unwrap();
        let out = t.call(&words(&b, &[], &command)).stdio(0, host).ok();
        let lines: Vec<_> = out.stdout.lines().collect();
        assert_eq!(lines[0], "1:3", "{lines:?}");
        if runtime::get().is_ours() {
            assert_ne!(lines[1], format!("{}:{}", seen.dev(), seen.ino()), "the host's node");
        }
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
        let cmdline = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        let program = || cmdline() == "/bin/sleep\x001000\0";
        assert!(wait_until(Duration::from_secs(10), program), "{}", cmdline());
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
fn a_pidfd_is_sent_for_the_process() {
    contract!(Root, Pidfd)
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

/// Who reads the file, or takes the pidfd, must know of every process that runs.
#[test]
fn without_its_pid_file_nothing_runs() {
    contract!(Root).differs("runc", "lets the program begin").differs("crun", "lets the program run").run(
        |t| {
            let b = t.running();
            let command = ["/bin/sh", "-c", "echo ran >/ran; sleep 2"];
            for option in ["--pid-file=/no/such/dir/pid", "--pidfd-socket=/no/such/socket"] {
                let out = t.rt(&words(&b, &["-d", option], &command)).exits(255);
                out.fails_with("no such file or directory").one_line();
                std::thread::sleep(Duration::from_millis(200));
                assert!(!b.host("/ran").exists(), "{option}");
            }
            let file = t.fresh("pid");
            let option = format!("--pid-file={}", file.display());
            t.rt(&words(&b, &[&option], &["/no/such/program"])).exits(255);
            assert!(!file.exists(), "the number of a process that never was");
            assert_eq!(leftovers::children(), [t.pid(&b.id)]);
        },
    );
}

#[test]
fn what_came_by_a_flag_is_called_by_its_name() {
    contract!(Root).ours_only("the peers name the config's field or none").run(|t| {
        let b = t.running();
        for (options, words_of_it) in [
            (&["--cwd", "tmp"][..], "--cwd: \"tmp\" is not an absolute path"),
            (
                &["--cwd", "/no/such"],
                "enter the working directory /no/such: no such file or directory (--cwd",
            ),
            (&["-e", "NAME"], "--env \"NAME\": not of the form NAME=VALUE"),
            (&["-u", "root"], "--user \"root\""),
            (&["-g", "x"], "--additional-gids \"x\""),
            (&["--process-label", "a:b"], "--process-label: "),
        ] {
            let out = t.rt(&words(&b, options, &["/bin/true"])).exits(255).one_line();
            assert!(!out.stderr.contains("process."), "{}", out.stderr);
            out.fails_with(words_of_it);
        }
    });
}

/// In a directory that others may write to, the name that the pid file has before may be somebody's link.
#[test]
fn a_pid_file_overwrites_nothing_else() {
    contract!(Root).run(|t| {
        let (b, dir) = (t.running(), t.fresh_dir("shared"));
        std::fs::write(dir.join("theirs"), "kept").unwrap();
        std::os::unix::fs::symlink("theirs", dir.join(".pid")).unwrap();
        let pid_file = dir.join("pid");
        t.rt(&words(&b, &["--detach", "--pid-file", pid_file.to_str().unwrap()], &["/bin/sleep", "1000"]));
        assert_eq!(std::fs::read_to_string(dir.join("theirs")).unwrap(), "kept");
        assert!(
            std::fs::symlink_metadata(&pid_file).is_ok_and(|file| file.is_file())
                || !runtime::get().is_ours()
        );
        end(t, &b);
    });
}

/// `-p <(jq … process.json)`, whatever is done before a container that may trace us is entered.
#[test]
fn a_process_file_may_be_a_descriptor() {
    contract!(Root).run(|t| {
        for caps in [json!(["CAP_KILL"]), json!(["CAP_SYS_PTRACE"])] {
            let b = t.bundle();
            for set in ["bounding", "effective", "permitted"] {
                b.set(&format!("process/capabilities/{set}"), caps.clone());
            }
            t.create(&b).ok();
            t.start(&b).ok();
            let path = process_file(t, json!({ "args": ["/bin/echo", "hello"] }));
            let file = File::open(path).unwrap();
            let out = t.call(&["exec", "--process", "/dev/fd/9", &b.id]).fd(file, 9).ok();
            assert_eq!(out.stdout, "hello\n", "{caps}");
        }
    });
}
