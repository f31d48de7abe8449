//! run: foreground and detached, exit statuses, signals, pid files (contract §0.10, §1.2, §1.6).

use crate::contract;
use crate::harness::leftovers;
use crate::harness::test::{wait_file, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn run_gives_output_and_exit_status_of_the_program() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("echo out; echo err >&2; exit 7");
        let out = t.run(&b).exits(7);
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
        t.nothing_left(&b.id);
    });
}

#[test]
fn run_gives_zero_for_success() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

#[test]
fn run_gives_128_and_the_signal() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "die", "9"]).edit(|c| crate::harness::config::without_namespace(c, "pid"));
        t.run(&b).exits(137);
    });
}

#[test]
fn run_reads_its_stdin() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/cat"]);
        let out = t.call_run(&b, &[]).stdin_text("through\n").ok();
        assert_eq!(out.stdout, "through\n");
    });
}

#[test]
fn run_deletes_the_container_afterwards() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        assert_eq!(t.status(&b.id), "none");
        t.nothing_left(&b.id);
    });
}

#[test]
fn run_keep_leaves_it_stopped_for_delete() {
    contract!(Root).differs("crun", "1.8.1 has no --keep").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "exit", "3"]);
        t.call_run(&b, &["--keep"]).run().exits(3);
        assert_eq!(t.status(&b.id), "stopped");
        t.rt(&["delete", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn run_detach_returns_while_the_program_runs() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let out = t.call_run(&b, &["--detach"]).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
        assert_eq!(t.status(&b.id), "running");
        leftovers::reap();
        assert_eq!(leftovers::children(), [t.pid(&b.id)]);
    });
}

#[test]
fn run_detach_gives_zero_whatever_the_program_does() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "exit", "5"]);
        t.call_run(&b, &["-d"]).ok();
        t.wait_status(&b.id, "stopped");
        t.rt(&["delete", &b.id]).ok();
    });
}

#[test]
fn run_of_a_missing_program_exits_1() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["no-such-program"]);
        t.run(&b).exits(1).fails_naming(&["executable file not found in $PATH", "no such file"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn run_forwards_signals_to_the_program() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "trap"]);
        let running = t.call_run(&b, &[]).spawn();
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("ready")));
        running.signal(Signal::SIGUSR1);
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("signal 10")));
        running.signal(Signal::SIGHUP);
        assert!(wait_until(Duration::from_secs(10), || running.stdout().contains("signal 1\n")));
        running.signal(Signal::SIGTERM);
        running.wait().exits(55);
    });
}

#[test]
fn run_ends_when_init_ends_though_others_live() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.shell("sleep 1000 & exit 4");
        t.run(&b).exits(4);
        t.nothing_left(&b.id);
    });
}

/// Without a pid namespace of its own what init leaves behind must be killed too.
#[test]
fn run_without_pid_namespace_kills_what_init_leaves() {
    contract!(Root).differs("crun", "waits for ever for what init left behind").run(|t| {
        let b = t.bundle();
        b.edit(|c| crate::harness::config::without_namespace(c, "pid"));
        b.shell("sleep 1000 & exit 4");
        t.run(&b).exits(4);
        t.nothing_left(&b.id);
    });
}

#[test]
fn run_reaps_what_becomes_its_child() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.edit(|c| crate::harness::config::without_namespace(c, "pid"));
        b.shell("(sleep 0.1 &) ; sleep 0.5; exit 6");
        t.run(&b).exits(6);
    });
}

#[test]
fn no_subreaper_is_accepted() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]);
        t.call_run(&b, &["--no-subreaper"]).ok();
    });
}

#[test]
fn the_pid_file_is_there_when_create_returns() {
    contract!(Root).differs("crun", "writes it with mode 0700").run(|t| {
        let b = t.bundle();
        let file = t.dir.join("the.pid");
        t.call_create(&b, &["--pid-file", file.to_str().unwrap()]).ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), t.pid(&b.id).to_string());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{mode:o}");
        let names: Vec<_> = std::fs::read_dir(&t.dir).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!names.iter().any(|n| n.to_string_lossy().starts_with(".the.pid")), "{names:?}");
    });
}

#[test]
fn a_relative_pid_file_belongs_to_the_callers_directory() {
    contract!(Root).differs("crun", "1.8.1 writes it into the bundle after its chdir").run(|t| {
        let b = t.bundle();
        let dir = t.fresh_dir("caller");
        t.call_run(&b, &["-d", "--pid-file", "rel.pid"]).cwd(&dir).ok();
        assert_eq!(wait_file(&dir.join("rel.pid")), t.pid(&b.id).to_string());
    });
}

#[test]
fn an_old_pid_file_is_replaced() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.dir.join("the.pid");
        std::fs::write(&file, "99999999999 old and longer").unwrap();
        t.call_create(&b, &["--pid-file", file.to_str().unwrap()]).ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), t.pid(&b.id).to_string());
    });
}

#[test]
fn a_pid_file_that_cannot_be_written_undoes_create() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        t.call_create(&b, &["--pid-file", "/no/such/dir/pid"]).run().fails().one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn options_may_follow_the_id() {
    contract!(Root).differs("crun", "takes them for more arguments").run(|t| {
        let b = t.bundle();
        b.write();
        t.rt(&["create", &b.id, "--bundle", b.dir.to_str().unwrap()]).ok();
        assert_eq!(t.status(&b.id), "created");
    });
}

#[test]
fn options_take_equals_and_short_forms() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.write();
        t.rt(&["create", &format!("--bundle={}", b.dir.display()), &b.id]).ok();
        let c = t.bundle();
        c.write();
        t.rt(&["create", "-b", c.dir.to_str().unwrap(), &c.id]).ok();
        assert_eq!(t.status(&c.id), "created");
    });
}

#[test]
fn config_names_another_file() {
    contract!(Root).differs("runc", "has no --config").run(|t| {
        let b = t.bundle();
        b.args(&["/bin/echo", "other"]);
        let text = b.config.borrow().to_string();
        std::fs::write(t.dir.join("other.json"), text).unwrap();
        let bundle = b.dir.to_str().unwrap();
        let out = t.call(&["run", "--bundle", bundle, "--config", "other.json", &b.id]).cwd(&t.dir).ok();
        assert_eq!(out.stdout, "other\n");
    });
}

/// `-f <(…)` of a shell can be read once, also by a runtime that changes its image on the way.
#[test]
fn the_configuration_may_be_a_pipe() {
    contract!(Root).differs("runc", "has no --config").run(|t| {
        let pod = t.running();
        let pid = format!("/proc/{}/ns/pid", t.pid(&pod.id));
        for path in [None, Some(pid.as_str())] {
            let b = t.bundle();
            b.args(&["/bin/echo", "piped"]);
            b.edit(|c| crate::harness::namespaced(c, "pid", path));
            let (reader, mut writer) = std::io::pipe().unwrap();
            let text = b.config.borrow().to_string();
            std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
            drop(writer);
            let words = ["run", "--bundle", b.dir.to_str().unwrap(), "--config", "/dev/fd/9", &b.id];
            assert_eq!(t.call(&words).fd(reader, 9).ok().stdout, "piped\n");
        }
    });
}

#[test]
fn no_new_keyring_and_no_pivot_are_accepted() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/echo", "ok"]);
        let out = t.call_run(&b, &["--no-new-keyring", "--no-pivot"]).ok();
        assert_eq!(out.stdout, "ok\n");
    });
}

/// 100 short programs through one file: nothing that they print gets lost.
#[test]
fn output_of_short_programs_is_complete() {
    contract!(Root).seconds(120).run(|t| {
        let b = t.bundle();
        b.set("process/args", json!(["/bin/echo", "line"]));
        for _ in 0..50 {
            assert_eq!(t.run(&b).ok().stdout, "line\n");
        }
    });
}

#[test]
fn an_annotation_asks_for_a_pidfd_too() {
    contract!(Root, Pidfd)
        .differs("runc", "does not know the annotation")
        .wavers("crun", "sends in its own way")
        .run(|t| {
            let b = t.bundle();
            let path = t.dir.join("pidfd.sock");
            b.set("annotations", json!({ "run.oci.pidfd_receiver": path }));
            let receiving = crate::harness::socket::Receiving::at(&path);
            t.create(&b).ok();
            assert_eq!(receiving.take().fds.len(), 1);
        });
}
