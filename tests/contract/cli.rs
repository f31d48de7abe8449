//! Options before the command, logs, help, version, ids, exit codes of bad usage (contract §0.1–3, §1.1, §3.3).

use crate::contract;
use crate::harness::{Test, runtime};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

#[test]
fn version_names_program_and_spec() {
    contract!().run(|t| {
        for flag in ["--version", "-v"] {
            let out = t.call(&[flag]).bare().ok();
            let name = &runtime::get().name;
            assert!(out.stdout.starts_with(&format!("{name} version ")), "{}", out.stdout);
            assert!(out.stdout.contains("\nspec: 1."), "{}", out.stdout);
            assert!(out.stdout.contains("\ncommit: "), "{}", out.stdout);
            assert_eq!(out.stderr, "");
        }
    });
}

#[test]
fn help_goes_to_stdout_and_names_the_commands() {
    contract!().differs("crun", "has no -h").run(|t| {
        for flag in ["--help", "-h"] {
            let out = t.call(&[flag]).bare().ok();
            for command in ["create", "start", "state", "kill", "delete", "run", "list", "spec"] {
                assert!(out.stdout.contains(command), "no {command} in {}", out.stdout);
            }
        }
    });
}

#[test]
fn each_command_has_help() {
    contract!().differs("crun", "has no features command").run(|t| {
        for command in ["create", "start", "state", "kill", "delete", "run", "list", "spec", "features"] {
            let out = t.call(&[command, "--help"]).bare().ok();
            assert!(out.stdout.contains(command), "{}", out.stdout);
        }
    });
}

#[test]
fn an_unknown_command_exits_1() {
    contract!().differs("runc", "exits 3").run(|t| {
        t.call(&["frobnicate"]).bare().run().exits(1).fails_naming(&["frobnicate"]);
    });
}

#[test]
fn an_unknown_option_fails_and_is_named() {
    contract!().differs("crun", "exits 64").run(|t| {
        t.call(&["--frobnicate", "list"]).bare().run().exits(1).fails_naming(&["frobnicate"]);
        let b = t.bundle();
        t.call_create(&b, &["--frobnicate"]).run().exits(1).fails_naming(&["frobnicate"]);
        t.nothing_left(&b.id);
    });
}

#[test]
fn missing_and_surplus_arguments_fail() {
    contract!(Root).run(|t| {
        for command in ["create", "start", "state", "run"] {
            let out = t.rt(&[command]).fails();
            assert!(out.code == 1 || out.code == 64, "{command}: {}", out.code);
        }
        for args in [&["start", "a", "b"][..], &["state", "a", "b"]] {
            t.rt(args).fails();
        }
    });
}

#[test]
fn usage_goes_to_stderr() {
    contract!(Root).differs("runc", "prints usage on stdout").run(|t| {
        assert_eq!(t.rt(&["start"]).fails().stdout, "");
    });
}

#[test]
fn failing_commands_say_it_on_one_line_with_nothing_in_front() {
    contract!(Root).differs("runc", "puts time and level in front when there is no --log").run(|t| {
        for args in [&["state", "nope"][..], &["start", "nope"], &["kill", "nope", "9"], &["delete", "nope"]]
        {
            let out = t.rt(args).exits(1).fails().one_line();
            assert!(!out.stderr.contains("level="), "{}", out.stderr);
            assert_eq!(out.stdout, "");
        }
    });
}

fn log_lines(t: &Test, args: &[&str], format: &str) -> (String, String) {
    let file = t.fresh("log");
    let out = t.call(args).globals(&["--log", file.to_str().unwrap(), "--log-format", format]).run();
    out.exits(1).fails();
    let again = t.call(args).globals(&["--log", file.to_str().unwrap(), "--log-format", format]).run();
    (std::fs::read_to_string(&file).unwrap(), again.stderr)
}

/// podman reads the whole file as one JSON object; containerd parses `time` as RFC 3339.
#[test]
fn the_json_log_of_a_failure_is_one_object() {
    contract!(Root).differs("crun", "words the error differently").run(|t| {
        let (log, stderr) = log_lines(t, &["state", "nope"], "json");
        let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2, "one per call: {log}");
        for line in &lines {
            assert_eq!(line["level"], "error");
            let msg = line["msg"].as_str().unwrap();
            assert!(msg.contains("does not exist"), "{msg}");
            let time = line["time"].as_str().unwrap();
            assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "{time}");
            assert!(time.ends_with('Z') || time.as_bytes()[time.len() - 6] == b'+', "{time}");
        }
        assert!(stderr.contains("does not exist"), "the error goes to stderr too: {stderr}");
    });
}

#[test]
fn the_text_log_of_a_failure_is_one_line() {
    contract!(Root).run(|t| {
        let (log, _) = log_lines(t, &["state", "nope"], "text");
        assert_eq!(log.trim_end().lines().count(), 2, "one per call: {log}");
        assert!(log.contains("nope") || log.contains("does not exist"), "{log}");
    });
}

#[test]
fn with_a_log_stderr_has_the_plain_message() {
    contract!(Root).run(|t| {
        let (_, stderr) = log_lines(t, &["state", "nope"], "json");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("level=") && !stderr.starts_with('{'), "{stderr}");
    });
}

#[test]
fn a_successful_command_writes_nothing_into_the_log() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]).write();
        let log = t.fresh("log");
        let globals = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let bundle = b.dir.to_str().unwrap();
        t.call(&["run", "--bundle", bundle, &b.id]).globals(&globals).ok();
        assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
    });
}

#[test]
fn the_log_is_made_with_mode_0644_and_appended_to() {
    contract!(Root).run(|t| {
        let log = t.fresh("log");
        t.call(&["state", "nope"]).globals(&["--log", log.to_str().unwrap()]).run().fails();
        assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
        std::fs::write(&log, "old\n").unwrap();
        t.call(&["state", "nope"]).globals(&["--log", log.to_str().unwrap()]).run().fails();
        assert!(std::fs::read_to_string(&log).unwrap().starts_with("old\n"));
    });
}

#[test]
fn an_unknown_log_format_fails() {
    contract!(Root).run(|t| {
        t.call(&["list"]).globals(&["--log-format", "xml"]).run().fails_naming(&["format"]).exits(1);
    });
}

#[test]
fn a_log_that_cannot_be_opened_fails() {
    contract!(Root).run(|t| {
        t.call(&["list"]).globals(&["--log", "/no/such/dir/log"]).run().fails().exits(1);
    });
}

/// Podman parses the whole log as one JSON object, and a warning must not be lost with the command that fails.
#[test]
fn a_failure_carries_its_warnings_in_one_line() {
    contract!(Root).ours_only("the peers write a line each, or no warning").run(|t| {
        let b = t.bundle();
        b.set("ociVersion", Value::Null);
        b.args(&["/no/such/program"]).write();
        let (log, pid_file) = (t.fresh("log"), t.fresh("pid"));
        let option = format!("--pid-file={}", pid_file.display());
        let args = ["run", "--bundle", b.dir.to_str().unwrap(), &option, &b.id];
        let globals = ["--log", log.to_str().unwrap(), "--log-format", "json", "--log-level", "warning"];
        let out = t.call(&args).globals(&globals).run();
        out.fails_naming(&[
            "/no/such/program",
            "no such file or directory (warnings before: ociVersion: missing",
        ])
        .one_line();
        let text = std::fs::read_to_string(&log).unwrap();
        let object: Value = serde_json::from_str(&text).expect("one object");
        assert_eq!(object["level"], "error", "{text}");
        assert!(object["msg"].as_str().unwrap().contains("ociVersion: missing"), "{text}");
        assert!(!pid_file.exists(), "the number of a process that never was");
    });
}

#[test]
fn log_levels_are_accepted() {
    contract!(Root).differs("runc", "has no --log-level").differs("crun", "knows error, warning, debug").run(
        |t| {
            for level in ["error", "warn", "warning", "info", "debug", "trace"] {
                t.call(&["list"]).globals(&["--log-level", level]).ok();
            }
            t.call(&["list"]).globals(&["--log-level", "loud"]).run().fails();
        },
    );
}

#[test]
fn debug_keeps_stdout_clean() {
    contract!(Root).run(|t| {
        let b = t.created();
        let out = t.call(&["state", &b.id]).globals(&["--debug"]).ok();
        let _: Value = serde_json::from_str(&out.stdout).expect("stdout is only data");
    });
}

#[test]
fn global_options_may_be_repeated() {
    contract!(Root).run(|t| {
        let b = t.created();
        let root = t.root.to_str().unwrap();
        t.call(&["state", &b.id]).globals(&["--root", root]).ok();
        t.call(&["state", &b.id]).globals(&[&format!("--root={root}")]).ok();
    });
}

#[test]
fn cgroup_manager_is_a_global_option() {
    contract!(Root).differs("runc", "has no --cgroup-manager").run(|t| {
        t.call(&["list"]).globals(&["--cgroup-manager", "cgroupfs"]).ok();
        t.call(&["list"]).globals(&["--cgroup-manager", "wrong"]).run().fails();
    });
}

/// Rootless podman on v1 and `--cgroups=disabled`: no cgroup is touched.
#[test]
fn cgroup_manager_disabled_makes_no_cgroup() {
    contract!(Root).differs("runc", "has no --cgroup-manager").run(|t| {
        let b = t.bundle();
        b.remove("linux/resources").write();
        let bundle = b.dir.to_str().unwrap();
        t.call(&["create", "--bundle", bundle, &b.id]).globals(&["--cgroup-manager", "disabled"]).ok();
        assert!(crate::harness::leftovers::cgroups(&b.id).is_empty());
        assert_eq!(t.status(&b.id), "created");
        t.rt(&["kill", &b.id, "KILL"]).ok();
        t.wait_status(&b.id, "stopped");
        t.rt(&["delete", &b.id]).ok();
    });
}

#[test]
fn rootless_and_criu_options_are_accepted() {
    contract!(Root).differs("crun", "1.8.1 has no --rootless and no --criu").run(|t| {
        t.call(&["list"]).globals(&["--rootless", "false"]).ok();
        t.call(&["list"]).globals(&["--rootless=auto"]).ok();
        t.call(&["list"]).globals(&["--criu", "/usr/sbin/criu"]).ok();
    });
}

#[test]
fn ids_have_a_format() {
    contract!(Root)
        .differs("runc", "1.1.5 takes an id that begins with a dot, and one of 300 bytes until mkdir fails")
        .differs("crun", "1.8.1 takes any id without a slash")
        .run(|t| {
            let b = t.bundle();
            b.write();
            let bundle = b.dir.to_str().unwrap();
            let long = "x".repeat(256);
            for id in ["a/b", "..", ".", ".x", "a b", "a\nb", "ü", "a:b", "../x", &long] {
                let out = t.rt(&["create", "--bundle", bundle, id]).exits(1);
                out.fails_with("invalid container ID format").one_line();
            }
            t.rt(&["create", "--bundle", bundle, ""]).exits(1).fails_with("container id cannot be empty");
            assert!(std::fs::read_dir(&t.root).map(|d| d.count()).unwrap_or(0) == 0);
        });
}

#[test]
fn ids_may_have_dots_dashes_plus_and_underscores() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]).write();
        let id = format!("{}-a.b_c+D9", b.id);
        t.owns(&id);
        t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &id]).ok();
        assert_eq!(t.status(&id), "created");
    });
}

#[test]
fn an_id_of_255_bytes_works() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]).write();
        let id = format!("{}{}", b.id, "y".repeat(255 - b.id.len()));
        t.owns(&id);
        t.rt(&["create", "--bundle", b.dir.to_str().unwrap(), &id]).ok();
        t.start(&b).fails();
        t.rt(&["start", &id]).ok();
    });
}

#[test]
fn the_state_root_is_made_private() {
    contract!(Root).run(|t| {
        std::fs::remove_dir(&t.root).unwrap();
        let b = t.created();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&t.root) & 0o077 & !0o011, 0, "{:o}", mode(&t.root));
        assert_eq!(mode(&t.root.join(&b.id)) & 0o077 & !0o011, 0);
    });
}

#[test]
fn a_relative_root_is_made_absolute() {
    contract!(Root)
        .differs("crun", "resolves it after its chdir into the bundle, so no later command finds it")
        .run(|t| {
            let b = t.bundle();
            b.write();
            let call = t.call(&["create", "--bundle", b.dir.to_str().unwrap(), &b.id]).bare();
            call.globals(&["--root", "state"]).cwd(&t.dir).ok();
            assert_eq!(t.status(&b.id), "created");
        });
}

#[test]
fn no_command_needs_a_controlling_terminal_or_open_stdio() {
    contract!(Root).differs("crun", "fails when descriptors 0 to 2 are closed").run(|t| {
        let b = t.bundle();
        b.args(&["/bin/true"]).write();
        let script = format!(
            "exec '{}' --root '{}' run --bundle '{}' {} <&- >&- 2>&-",
            runtime::get().path.display(),
            t.root.display(),
            b.dir.display(),
            b.id
        );
        let status = std::process::Command::new("setsid").args(["-w", "sh", "-c", &script]).status().unwrap();
        assert!(status.success(), "{status}");
    });
}
