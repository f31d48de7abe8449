//! hooks: which of the six runs when, where, with what (contract §2.4).

use crate::contract;
use crate::harness::test::{slow, wait_file};
use crate::harness::{Bundle, Test, of};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that is a shell script, run by the host's /bin/sh (or the container's for startContainer). It reads its
/// stdin: not to do so is a test of its own.
fn hook(b: &Bundle, kind: &str, script: &str) {
    let script =
        if script.starts_with("cat >") { script.to_owned() } else { format!("cat > /dev/null; {script}") };
    b.add(&format!("hooks/{kind}"), json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
}

/// Adds to every kind a hook that appends `kind` to a file, and gives that file.
fn trace(t: &Test, b: &Bundle) -> PathBuf {
    let file = t.fresh("trace");
    for kind in ALL.iter().filter(|k| **k != "startContainer") {
        hook(b, kind, &format!("echo {kind} >> {}", file.display()));
    }
    file
}

fn lines(file: &PathBuf) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn each_hook_runs_in_its_command() {
    contract!(Root).differs("runc", "1.1.5 runs poststart within create").run(|t| {
        let b = t.bundle();
        let file = trace(t, &b);
        hook(&b, "startContainer", "echo startContainer > /started");
        b.shell("test -e /started && echo yes; exec sleep 1000");
        let out = t.create(&b).ok();
        assert_eq!(lines(&file), ["prestart", "createRuntime", "createContainer"]);
        assert!(!b.host("/started").exists());
        t.start(&b).ok();
        assert_eq!(lines(&file)[3..], ["poststart"]);
        assert!(crate::harness::test::wait_until(std::time::Duration::from_secs(5), || {
            out.stdout_now() == "yes\n"
        }));
        t.rt(&["delete", "--force", &b.id]).ok();
        assert_eq!(lines(&file)[4..], ["poststop"]);
    });
}

#[test]
fn hooks_of_one_kind_run_in_the_listed_order() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.fresh("order");
        for n in 0..5 {
            hook(&b, "createRuntime", &format!("echo {n} >> {}", file.display()));
        }
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        assert_eq!(lines(&file), ["0", "1", "2", "3", "4"]);
    });
}

#[test]
fn run_runs_all_of_them() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = trace(t, &b);
        b.args(&["/bin/sleep", "0.3"]);
        t.run(&b).ok();
        assert_eq!(lines(&file), ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    });
}

/// Runs a container whose hooks of one kind write their stdin to a file; gives the state they were given.
fn state_given(t: &Test, kind: &str) -> (Value, i32, Bundle) {
    let b = t.bundle();
    b.set("annotations", json!({ "k/ey": "va/lue" }));
    let file = if kind == "startContainer" { b.host("/state") } else { t.fresh("state") };
    let path = if kind == "startContainer" { "/state".into() } else { file.display().to_string() };
    hook(&b, kind, &format!("cat > {path}"));
    t.create(&b).ok();
    let pid = t.pid(&b.id);
    t.start(&b).ok();
    if kind != "poststop" {
        wait_file(&file);
    }
    t.rt(&["delete", "--force", &b.id]).ok();
    (serde_json::from_str(&wait_file(&file)).expect("the state is JSON"), pid, b)
}

#[test]
fn hooks_get_the_state_on_stdin() {
    contract!(Root)
        .differs("crun", "1.8.1 gives ociVersion 1.0 and its own status words")
        .differs("runc", "1.1.5 gives poststart the status created")
        .run(|t| {
            for (kind, status) in [
                ("prestart", "creating"),
                ("createRuntime", "creating"),
                ("createContainer", "creating"),
                ("startContainer", "created"),
                ("poststart", "running"),
                ("poststop", "stopped"),
            ] {
                let (state, _, b) = state_given(t, kind);
                assert_eq!(state["id"], json!(b.id), "{kind}");
                assert_eq!(state["bundle"], json!(b.dir), "{kind}");
                assert_eq!(of(&state, "annotations"), &json!({ "k/ey": "va/lue" }), "{kind}");
                let version = of(&state, "ociVersion").as_str().unwrap();
                assert_eq!(version.split('.').count(), 3, "{kind}: {version}");
                assert_eq!(state["status"], status, "{kind}");
            }
        });
}

#[test]
fn hooks_get_the_essentials_on_stdin() {
    contract!(Root).run(|t| {
        for kind in ALL {
            let (state, _, b) = state_given(t, kind);
            assert_eq!(state["id"], json!(b.id), "{kind}");
            assert_eq!(of(&state, "annotations/k~1ey"), "va/lue", "{kind}");
            assert!(state["status"].is_string() && state["ociVersion"].is_string(), "{kind}");
        }
    });
}

/// Network plugins find the namespaces by this pid.
#[test]
fn runtime_hooks_get_the_pid_as_the_host_sees_it() {
    contract!(Root).run(|t| {
        for kind in ["prestart", "createRuntime", "poststart"] {
            let (state, pid, _) = state_given(t, kind);
            assert_eq!(state["pid"], pid, "{kind}");
        }
        let (state, ..) = state_given(t, "poststop");
        assert_eq!(state["pid"].as_i64().unwrap_or(0), 0);
    });
}

fn namespace_seen(t: &Test, kind: &str, name: &str) -> (String, Bundle, String) {
    let b = t.bundle();
    let file = if kind == "startContainer" { b.host("/ns") } else { t.fresh("ns") };
    let path = if kind == "startContainer" { "/ns".into() } else { file.display().to_string() };
    hook(&b, kind, &format!("readlink /proc/self/ns/{name} > {path}"));
    t.create(&b).ok();
    let pid = t.pid(&b.id);
    t.start(&b).ok();
    let inits = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
    if kind != "poststop" {
        wait_file(&file);
    }
    t.rt(&["delete", "--force", &b.id]).ok();
    (wait_file(&file).trim().to_owned(), b, inits)
}

#[test]
fn runtime_hooks_run_in_the_callers_namespaces() {
    contract!(Root).run(|t| {
        for name in ["mnt", "uts", "net"] {
            let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
            for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
                assert_eq!(namespace_seen(t, kind, name).0, own, "{kind} {name}");
            }
        }
    });
}

#[test]
fn container_hooks_run_in_the_containers_namespaces() {
    contract!(Root).run(|t| {
        for name in ["mnt", "uts", "net"] {
            for kind in ["createContainer", "startContainer"] {
                let (seen, _, inits) = namespace_seen(t, kind, name);
                assert_eq!(seen, inits, "{kind} {name}");
            }
        }
    });
}

/// createContainer runs before pivot_root: it sees the host's tree and the mounts of the container.
#[test]
fn create_container_sees_host_paths_and_the_containers_mounts() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.fresh("seen");
        let rootfs = b.rootfs();
        hook(
            &b,
            "createContainer",
            &format!(
                "test -e {0}/guest && grep -c {0}/ /proc/self/mountinfo > {1}",
                rootfs.display(),
                file.display()
            ),
        );
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        let count: u32 = wait_file(&file).trim().parse().unwrap();
        assert!(count >= 6, "{count}");
    });
}

#[test]
fn start_container_sees_the_containers_root() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        hook(&b, "startContainer", "ls / > /seen; /guest file /hook.json");
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        let names = wait_file(&b.host("/seen"));
        assert!(names.contains("guest") && !names.contains("boot"), "{names}");
    });
}

#[test]
fn given_env_and_args_are_exact() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.fresh("env");
        let script = t.fresh("hook.sh");
        std::fs::write(&script, format!("#!/bin/sh\necho \"$0 $1 $2\" > {0}; env >> {0}\n", file.display())).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        b.add(
            "hooks/createRuntime",
            json!({ "path": script, "args": ["zero", "one", "two words"], "env": ["PATH=/usr/bin:/bin", "X=y"] }),
        );
        b.args(&["/bin/true"]);
        t.call_run(&b, &[]).env("OUTSIDE", "1").ok();
        let text = wait_file(&file);
        assert!(text.lines().next().unwrap().ends_with(" one two words"), "{text}");
        assert!(text.contains("X=y\n") && !text.contains("OUTSIDE"), "{text}");
    });
}

#[test]
fn without_env_runtime_hooks_inherit_the_callers() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.fresh("env");
        hook(&b, "createRuntime", &format!("env > {}", file.display()));
        b.args(&["/bin/true"]);
        t.call_run(&b, &[]).env("OUTSIDE", "inherited").ok();
        let text = wait_file(&file);
        assert!(text.contains("OUTSIDE=inherited") && text.contains("PATH="), "{text}");
    });
}

#[test]
fn nothing_of_the_runtimes_own_is_in_a_hooks_environment() {
    contract!(Root).differs("crun", "1.8.1 leaves _LIBCONTAINER_CLONED_BINARY in it").run(|t| {
        let b = t.bundle();
        let file = t.fresh("env");
        hook(&b, "createRuntime", &format!("env > {}", file.display()));
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        let text = wait_file(&file);
        for line in text.lines() {
            let name = line.split('=').next().unwrap();
            assert!(["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name), "{line}");
        }
    });
}

#[test]
fn start_container_without_env_has_the_containers() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add("process/env", json!("MINE=1"));
        hook(&b, "startContainer", "env > /env");
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        let text = wait_file(&b.host("/env"));
        assert!(text.contains("MINE=1"), "{text}");
    });
}

#[test]
fn a_hook_may_ignore_its_stdin() {
    contract!(Root).wavers("crun", "fails with `Broken pipe` when the hook is faster than its write").run(
        |t| {
            let b = t.bundle();
            b.set("annotations", json!({ "big": "x".repeat(100_000) }));
            b.add("hooks/createRuntime", json!({ "path": "/bin/true" }));
            b.add("hooks/poststop", json!({ "path": "/bin/true" }));
            b.args(&["/bin/true"]);
            t.run(&b).ok();
        },
    );
}

#[track_caller]
fn failing(t: &Test, kind: &str) {
    let b = t.bundle();
    let file = t.fresh("poststop");
    hook(&b, kind, "echo the-reason >&2; exit 3");
    hook(&b, "poststop", &format!("echo ran > {}", file.display()));
    t.create(&b).exits(1).fails().one_line();
    t.nothing_left(&b.id);
    assert_eq!(lines(&file), ["ran"], "poststop runs when create fails in {kind}");
}

#[test]
fn a_failing_prestart_hook_undoes_create() {
    contract!(Root).differs("crun", "1.8.1 does not run poststop").run(|t| failing(t, "prestart"));
}

#[test]
fn a_failing_create_runtime_hook_undoes_create() {
    contract!(Root).differs("crun", "1.8.1 does not run poststop").run(|t| failing(t, "createRuntime"));
}

#[test]
fn a_failing_create_container_hook_undoes_create() {
    contract!(Root).differs("crun", "1.8.1 does not run poststop").run(|t| failing(t, "createContainer"));
}

#[test]
fn a_failing_hook_is_named_with_its_output_and_status() {
    contract!(Root).differs("crun", "says the status only").run(|t| {
        let b = t.bundle();
        hook(&b, "createRuntime", "exit 0");
        hook(&b, "createRuntime", "echo the-reason >&2; exit 3");
        let out = t.create(&b).exits(1).fails_with("the-reason").fails_naming(&["status 3", "status: 3"]);
        out.fails_naming(&["hook #1", "createRuntime[1]"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn a_missing_hook_program_is_named() {
    contract!(Root).differs("crun", "exits 255 and does not say why").run(|t| {
        let b = t.bundle();
        b.add("hooks/createRuntime", json!({ "path": "/no/such/hook" }));
        t.create(&b).exits(1).fails_naming(&["/no/such/hook"]).fails_naming(&["no such file"]).one_line();
        t.nothing_left(&b.id);
    });
}

/// The specification wants `start` to fail; no peer here does so.
#[test]
fn a_failing_start_container_hook_fails_start() {
    contract!(Root).differs("runc", "1.1.5 start exits 0").differs("crun", "1.8.1 start exits 0").run(|t| {
        let b = t.bundle();
        hook(&b, "startContainer", "exit 3");
        b.shell("echo ran > /mark");
        t.create(&b).ok();
        t.start(&b).exits(1).fails_naming(&["startContainer", "hook"]).one_line();
        t.wait_status(&b.id, "stopped");
        assert!(!b.host("/mark").exists());
        t.rt(&["delete", &b.id]).ok();
        t.nothing_left(&b.id);
    });
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    contract!(Root)
        .differs("crun", "1.8.1 start exits 0")
        .differs("runc", "1.1.5 runs poststart within create")
        .run(|t| {
            let b = t.bundle();
            hook(&b, "poststart", "exit 3");
            t.create(&b).ok();
            t.start(&b).exits(1).fails().one_line();
            assert_eq!(t.status(&b.id), "none");
        });
}

#[test]
fn a_failing_poststop_hook_only_warns_and_the_others_run() {
    contract!(Root).differs("runc", "1.1.5 stops at the first that fails").run(|t| {
        let b = t.bundle();
        let file = t.fresh("after");
        hook(&b, "poststop", "exit 3");
        hook(&b, "poststop", &format!("echo ran > {}", file.display()));
        b.args(&["/bin/true"]);
        t.create(&b).ok();
        t.start(&b).ok();
        t.wait_status(&b.id, "stopped");
        t.rt(&["delete", &b.id]).ok();
        t.nothing_left(&b.id);
        assert_eq!(lines(&file), ["ran"]);
    });
}

#[test]
fn a_failing_poststop_hook_leaves_the_programs_status() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        hook(&b, "poststop", "exit 3");
        b.args(&["/guest", "exit", "7"]);
        t.run(&b).exits(7);
    });
}

#[test]
fn a_hook_beyond_its_timeout_is_killed_and_undoes_create() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add(
            "hooks/createRuntime",
            json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }),
        );
        let out = t.create(&b).exits(1).fails();
        assert!(out.took < slow(5), "{:?}", out.took);
        t.nothing_left(&b.id);
    });
}

#[test]
fn a_timeout_that_is_kept_does_no_harm() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.add("hooks/createRuntime", json!({ "path": "/bin/true", "timeout": 5 }));
        b.args(&["/bin/true"]);
        t.run(&b).ok();
    });
}

#[test]
fn a_timeout_of_zero_is_an_error() {
    contract!(Root).differs("crun", "takes it for none").run(|t| {
        for timeout in [0, -1] {
            let b = t.bundle();
            b.add("hooks/createRuntime", json!({ "path": "/bin/true", "timeout": timeout }));
            t.create(&b).exits(1).fails_naming(&["timeout"]).one_line();
            t.nothing_left(&b.id);
        }
    });
}

#[test]
fn a_relative_hook_path_is_an_error() {
    contract!(Root).differs("runc", "takes it").differs("crun", "takes it").run(|t| {
        let b = t.bundle();
        b.add("hooks/createRuntime", json!({ "path": "bin/true" }));
        t.create(&b).exits(1).fails_naming(&["hooks.createRuntime[0]"]).one_line();
        t.nothing_left(&b.id);
    });
}

/// A hook that writes more than a pipe holds must neither hang nor be lost.
#[test]
fn a_talkative_hook_does_not_hang() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        hook(&b, "createRuntime", "head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2");
        b.args(&["/bin/true"]);
        t.call_run(&b, &[]).ok();
    });
}

/// What a hook leaves behind may keep its output open; nobody waits for that.
#[test]
fn a_hook_that_leaves_a_process_does_not_hang() {
    contract!(Root).differs("runc", "waits for its output to close").run(|t| {
        let b = t.bundle();
        hook(&b, "createRuntime", "sleep 15 & exit 0");
        let out = t.create(&b).ok();
        assert!(out.took < slow(5), "{:?}", out.took);
        crate::harness::leftovers::kill_children();
    });
}

/// The hook is where NVIDIA's and CNI's tools change the container: limits are set, nothing has pivoted.
#[test]
fn limits_are_set_before_the_runtime_hooks() {
    contract!(Root, Ctrl("pids")).run(|t| {
        let b = t.bundle();
        let file = t.fresh("pids");
        b.set("linux/resources/pids", json!({ "limit": 77 }));
        hook(
            &b,
            "createRuntime",
            &format!(
                "cat {}/pids.max > {}",
                crate::harness::cgroup::dir(&b, "pids").display(),
                file.display()
            ),
        );
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        assert_eq!(wait_file(&file).trim(), "77");
    });
}

#[test]
fn hook_output_does_not_reach_the_commands_stdout() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        hook(&b, "createRuntime", "echo noise; echo noise >&2");
        let out = t.create(&b).ok();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    });
}
