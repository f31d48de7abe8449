//! Sentences of config.md on hooks (runtime-spec 1.3) that the module `hooks` does not ask for kind by kind.

use crate::contract;
use crate::harness::test::wait_file;
use crate::harness::{Bundle, Test, runtime};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn hook(b: &Bundle, kind: &str, script: &str) {
    b.add(&format!("hooks/{kind}"), json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
}

/// "This specification extends the IEEE standard in that path MUST be absolute."
#[test]
fn the_path_of_every_hook_is_absolute() {
    contract!(Root)
        .differs("runc", "finds out when it runs the hook")
        .differs("crun", "finds out when it runs the hook")
        .run(|t| {
            for kind in ALL {
                let b = t.bundle();
                b.add(&format!("hooks/{kind}"), json!({ "path": "bin/true" }));
                t.create(&b).exits(1).fails_naming(&[&format!("hooks.{kind}[0].path")]).one_line();
                t.nothing_left(&b.id);
            }
        });
}

/// "If set, timeout MUST be greater than zero."
#[test]
fn the_timeout_of_every_hook_is_above_zero() {
    contract!(Root)
        .differs("runc", "1.1.5 asks it of the hooks of create only")
        .differs("crun", "takes it for none")
        .run(|t| {
            for kind in ALL {
                for timeout in [0, -1] {
                    let b = t.bundle();
                    b.add(&format!("hooks/{kind}"), json!({ "path": "/bin/true", "timeout": timeout }));
                    t.create(&b).exits(1).fails_naming(&["timeout"]).one_line();
                    t.nothing_left(&b.id);
                }
            }
        });
}

/// "Hooks MUST be called in the listed order."
#[test]
fn hooks_of_every_kind_run_in_the_listed_order() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let trace = t.fresh("trace");
        for kind in ALL {
            let file = if kind == "startContainer" { "/trace".into() } else { trace.display().to_string() };
            for n in 0..3 {
                hook(&b, kind, &format!("cat > /dev/null; echo {kind}{n} >> {file}"));
            }
        }
        t.create(&b).ok();
        t.start(&b).ok();
        let inside = || std::fs::read_to_string(b.host("/trace")).unwrap_or_default();
        crate::harness::test::wait_until(std::time::Duration::from_secs(5), || inside().lines().count() == 3);
        t.rt(&["delete", "--force", &b.id]).ok();
        let wanted = |kinds: &[&str]| -> String {
            kinds.iter().flat_map(|kind| (0..3).map(move |n| format!("{kind}{n}\n"))).collect()
        };
        let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        assert_eq!(std::fs::read_to_string(&trace).unwrap(), wanted(&kinds));
        assert_eq!(inside(), wanted(&["startContainer"]));
    });
}

/// A program that is there in one of the two namespaces only: it copies its stdin to `file`.
fn program(at: &Path, file: &str) {
    std::fs::write(at, format!("#!/bin/sh\ncat > {file}\n")).unwrap();
    std::fs::set_permissions(at, PermissionsExt::from_mode(0o755)).unwrap();
}

/// "The value of path MUST resolve in the runtime namespace" (prestart, createRuntime, createContainer, poststart,
/// poststop) and "… MUST resolve in the container namespace" (startContainer).
#[test]
fn the_paths_of_hooks_resolve_in_their_namespace() {
    contract!(Root).run(|t| {
        for kind in ALL {
            let b = t.bundle();
            let (path, file): (PathBuf, PathBuf) = if kind == "startContainer" {
                program(&b.host("/only-inside"), "/got");
                ("/only-inside".into(), b.host("/got"))
            } else {
                let (path, file) = (t.fresh("only-outside"), t.fresh("got"));
                program(&path, file.to_str().unwrap());
                (path, file)
            };
            b.add(&format!("hooks/{kind}"), json!({ "path": path }));
            b.args(&["/bin/sleep", "0.2"]);
            t.run(&b).ok();
            assert!(wait_file(&file).contains(&b.id), "{kind}");
        }
    });
}

/// A hook of this kind that finds the pid in the state and then runs `script` with it as `$pid`.
fn with_pid(b: &Bundle, kind: &str, script: &str) {
    let pid = r#"pid=$(tr -d ' \n\t' | sed 's/.*"pid":\([0-9]*\).*/\1/')"#;
    hook(b, kind, &format!("{pid}; {script}"));
}

/// "The prestart hooks MUST be called as part of the create operation after the runtime environment has been created
/// (according to the configuration in config.json) but before the pivot_root or any equivalent operation has been
/// executed.", and the same of createRuntime.
#[test]
fn runtime_hooks_run_after_the_mounts_and_before_pivot_root() {
    contract!(Root).run(|t| {
        for kind in ["prestart", "createRuntime"] {
            let b = t.bundle();
            let file = t.fresh("mountinfo");
            with_pid(&b, kind, &format!("cat /proc/$pid/mountinfo > {}", file.display()));
            t.create(&b).ok();
            let text = wait_file(&file);
            let rootfs = b.rootfs().display().to_string();
            for mount in ["proc", "dev", "sys", "dev/mqueue"] {
                let at = format!("{rootfs}/{mount}");
                assert!(text.lines().any(|l| l.split(' ').nth(4) == Some(&at)), "{kind}: no {at} in {text}");
            }
            t.rt(&["delete", "--force", &b.id]).ok();
        }
    });
}

/// "The poststart hooks MUST be called after the user-specified process is executed but before the start operation
/// returns."
#[test]
fn poststart_runs_after_the_execve_and_before_start_returns() {
    contract!(Root).differs("runc", "1.1.5 runs poststart within create").run(|t| {
        let b = t.bundle();
        let file = t.fresh("exe");
        with_pid(
            &b,
            "poststart",
            &format!("readlink /proc/$pid/exe > {0}; sleep 0.5; echo end >> {0}", file.display()),
        );
        t.create(&b).ok();
        assert!(!file.exists(), "not within create");
        t.start(&b).ok();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains("/guest") && text.ends_with("end\n"), "{text:?}");
    });
}

/// The program runs by then, and such a hook may want to look at it from inside.
#[test]
fn a_poststart_hook_may_exec() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let file = t.fresh("inside");
        let (path, root) = (runtime::get().path.display(), t.root.display());
        let exec = format!("{path} --root {root} exec {} /bin/echo inside </dev/null", b.id);
        hook(&b, "poststart", &format!("cat > /dev/null; {exec} >{0} 2>&1", file.display()));
        b.args(&["/bin/sleep", "1000"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), "inside\n");
        assert_eq!(t.status(&b.id), "running");
    });
}

/// "The startContainer hooks MUST be called before the user-specified process is executed as part of the start
/// operation."
#[test]
fn start_container_runs_within_start_and_before_the_program() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        hook(&b, "startContainer", "cat > /dev/null; sleep 0.5; echo hook >> /order");
        b.shell("echo program >> /order; exec sleep 1000");
        t.create(&b).ok();
        assert!(!b.host("/order").exists());
        t.start(&b).ok();
        crate::harness::test::wait_until(std::time::Duration::from_secs(5), || order(&b).contains("program"));
        assert_eq!(order(&b), "hook\nprogram\n");
    });
}

fn order(b: &Bundle) -> String {
    std::fs::read_to_string(b.host("/order")).unwrap_or_default()
}

/// "The poststop hooks MUST be called after the container is deleted but before the delete operation returns."
#[test]
fn poststop_runs_after_the_deletion_and_before_delete_returns() {
    contract!(Root, Ctrl("memory")).run(|t| {
        let b = t.bundle();
        let file = t.fresh("poststop");
        let cgroup = crate::harness::cgroup::dir(&b, "memory");
        let ask = format!("test -e {} && echo cgroup || echo none", cgroup.display());
        hook(
            &b,
            "poststop",
            &format!("cat > /dev/null; {ask} >> {0}; sleep 0.5; echo end >> {0}", file.display()),
        );
        t.create(&b).ok();
        t.start(&b).ok();
        let pid = t.pid(&b.id);
        assert!(cgroup.exists());
        t.rt(&["delete", "--force", &b.id]).ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "none\nend\n");
        assert!(!Path::new(&format!("/proc/{pid}/exe")).exists());
    });
}

#[track_caller]
fn lifecycle_goes_on(t: &Test, kind: &str) {
    let b = t.bundle();
    let file = t.fresh("after");
    hook(&b, kind, "cat > /dev/null; exit 3");
    hook(&b, kind, &format!("cat > /dev/null; echo ran > {}", file.display()));
    b.args(&["/bin/true"]);
    let out = t.run(&b).ok();
    assert!(out.stderr.contains("hook"), "a warning: {}", out.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), "ran\n");
    t.nothing_left(&b.id);
}

/// "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue as if
/// the hook had succeeded."
#[test]
fn a_failing_poststop_hook_is_warned_of() {
    contract!(Root)
        .differs("crun", "1.8.1 says nothing")
        .differs("runc", "1.1.5 stops at the first that fails")
        .run(|t| lifecycle_goes_on(t, "poststop"));
}
