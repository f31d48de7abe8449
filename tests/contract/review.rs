//! What callers and hosts do that is legal and rare: a caller that ignores SIGCHLD, a profile that denies what
//! entering the container uses, a host without executable memfds, callers without privilege. Found by reading.

use crate::contract;
use crate::harness::test::{parse_report, slow, wait_until};
use crate::harness::{Bundle, Test, of, runtime};
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const NOBODY: u32 = 65534;

/// Runs a shell script with `RT` naming the runtime (a copy that everybody can reach) and its `--root`, after
/// the words of `through`.
fn script(t: &Test, through: &[&str], script: &str) -> Output {
    let own = t.dir.join("orlop");
    if !own.exists() {
        std::fs::copy(&runtime::get().path, &own).unwrap();
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut words = vec!["timeout", "-k", "1", "20"];
    words.extend(through);
    words.extend(["sh", "-c", script]);
    let rt = format!("{} --root {}", own.display(), t.root.display());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("RT", rt).current_dir(&t.dir).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", of(&output.stdout), of(&output.stderr))
}

fn deny(b: &Bundle, name: &str, action: &str, no_new_privs: bool) {
    b.set("process/noNewPrivileges", json!(no_new_privs));
    b.set(
        "linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": [name], "action": action }] }),
    );
}

/// Profiles older than close_range(2) deny it: nothing of the runtime may stay open for that, and `start` returns.
#[test]
fn a_profile_without_close_range_leaks_nothing() {
    contract!(Root, Seccomp).run(|t| {
        for no_new_privs in [true, false] {
            let b = t.bundle();
            deny(&b, "close_range", "SCMP_ACT_ERRNO", no_new_privs);
            let r = t.report(&b, &[]);
            let open: Vec<_> =
                r["fds"].as_array().unwrap().iter().map(|f| f["fd"].as_i64().unwrap()).collect();
            assert_eq!(open, [0, 1, 2], "{r}");
            b.args(&["/bin/sleep", "30"]);
            t.create(&b).ok();
            let out = t.start(&b).ok();
            assert!(out.took < slow(3), "start waited for {:?}", out.took);
        }
    });
}

/// Between the end of the set-up and the wait at the gate lies one read(2): init killed for it is no success.
#[test]
fn a_filter_that_kills_at_the_gate_fails_create() {
    contract!(Root, Seccomp).differs("runc", "hangs for ever").differs("crun", "not looked into").run(|t| {
        for _ in 0..10 {
            let b = t.bundle();
            deny(&b, "read", "SCMP_ACT_KILL_PROCESS", true);
            assert_ne!(t.create(&b).code, 0);
            t.nothing_left_of(&b.id);
        }
    });
}

/// A caller that ignores SIGCHLD (and real-time signals) hands that on through execve.
#[test]
fn ignored_signals_of_the_caller() {
    contract!(Root, Userns).ours_only("the peers are not asked").run(|t| {
        for userns in [true, false] {
            let b = t.bundle();
            if userns {
                b.userns(100_000);
            }
            b.set("hooks", json!({ "createRuntime": [{ "path": "/bin/true" }] }));
            b.args(&["/bin/cat", "/proc/self/status"]).write();
            let run = format!("trap '' CHLD 37; exec $RT run --bundle {} {}", b.dir.display(), b.id);
            let out = script(t, &[], &run);
            assert!(out.status.success(), "{}", text(&out));
            assert!(text(&out).contains("SigIgn:\t0000000000000000"), "{}", text(&out));
        }
    });
}

/// The container is deleted once, and what was deleted is not touched again.
#[test]
fn poststop_runs_once_after_a_failing_poststart() {
    contract!(Root).ours_only("the peers only warn").run(|t| {
        for more in [&[][..], &["--detach"]] {
            let b = t.bundle();
            let log = t.fresh("log");
            b.set(
                "hooks",
                json!({ "poststart": [{ "path": "/bin/false" }],
                        "poststop": [{ "path": "/bin/sh",
                                       "args": ["sh", "-c", format!("echo x >> {}", log.display())] }] }),
            );
            assert_ne!(t.call_run(&b, more).run().code, 0);
            assert_eq!(std::fs::read_to_string(&log).unwrap(), "x\n");
            t.nothing_left_of(&b.id);
        }
    });
}

/// Until init is released, hooks see a container that is being created.
#[test]
fn hooks_before_the_gate_see_creating() {
    contract!(Root).ours_only("the peers have no such state").run(|t| {
        let b = t.bundle();
        let out = t.fresh("state");
        let ask = format!(
            "{} --root {} state {} > {}",
            runtime::get().path.display(),
            t.root.display(),
            b.id,
            out.display()
        );
        b.set("hooks", json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", ask] }] }));
        t.create(&b).ok();
        let said = std::fs::read_to_string(out).unwrap();
        assert!(said.contains("\"creating\""), "{said}");
        assert_eq!(t.status(&b.id), "created");
    });
}

/// Where memfds may not be executed the forked process waits: without the lock of the state directory, and with
/// the descriptors that were asked for.
#[test]
fn without_executable_memfds() {
    contract!(Root, Tool("unshare")).ours_only("the peers do not start at all").run(|t| {
        let b = t.bundle();
        b.args(&["/bin/ls", "/proc/self/fd"]).write();
        let (dir, id) = (b.dir.display(), &b.id);
        let all = format!(
            "mount -t proc proc /proc && echo 2 > /proc/sys/vm/memfd_noexec || {{ echo SKIP; exit 0; }}
             $RT create --bundle {dir} {id} && $RT start {id} || exit 1
             until $RT state {id} | grep -q stopped; do sleep 0.05; done; $RT delete {id}
             exec 3</etc/hostname; $RT run --preserve-fds 1 --bundle {dir} {id}"
        );
        let begin = std::time::Instant::now();
        let out = script(t, &["unshare", "-p", "-f", "-m"], &all);
        if text(&out).contains("SKIP") {
            return eprintln!("skip: this kernel has no vm.memfd_noexec of a pid namespace");
        }
        assert!(out.status.success(), "{}", text(&out));
        // ls has the directory itself open as the next one.
        assert_eq!(String::from_utf8_lossy(&out.stdout), "0\n1\n2\n3\n0\n1\n2\n3\n4\n");
        assert!(begin.elapsed() < slow(8), "start waited for a lock");
    });
}

/// Makes everything of the bundle and the test's directory reachable and writable for `nobody`.
fn give(t: &Test, b: &Bundle) {
    std::fs::create_dir_all(&t.root).unwrap();
    for path in [&t.root, &b.dir] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn as_nobody(more: &[&'static str]) -> Vec<&'static str> {
    let mut words = vec!["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    words.extend(more);
    words
}

/// What `spec --rootless` writes, with a program that ends.
fn rootless_spec(t: &Test, b: &Bundle, change: impl FnOnce(&mut serde_json::Value)) {
    let dir = b.dir.display();
    let out = script(t, &as_nobody(&[]), &format!("$RT spec --rootless --bundle {dir}"));
    assert!(out.status.success(), "{}", text(&out));
    let path = b.dir.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/guest", "report"]);
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

fn reported(out: &Output) -> serde_json::Value {
    assert!(out.status.success(), "{}", text(out));
    parse_report(&String::from_utf8_lossy(&out.stdout))
}

/// Without any right to cgroups: the whole life of a container that one's own template describes.
#[test]
fn rootless_by_its_own_template() {
    contract!(Root, Userns, Tool("setpriv")).ours_only("templates differ").run(|t| {
        let b = t.bundle();
        give(t, &b);
        rootless_spec(t, &b, |config| config["process"]["oomScoreAdj"] = json!(100));
        let (dir, id) = (b.dir.display(), &b.id);
        let r = reported(&script(t, &as_nobody(&[]), &format!("$RT run --bundle {dir} {id}")));
        assert_eq!(of(&r, "status/Uid").as_str().and_then(|ids| ids.split('\t').next()), Some("0"), "{r}");

        std::fs::remove_file(b.dir.join("config.json")).unwrap();
        rootless_spec(t, &b, |config| {
            config["process"]["args"] = json!(["/bin/sleep", "100"]);
            config["process"]["oomScoreAdj"] = json!(100);
        });
        let life = format!(
            "$RT create --bundle {dir} {id} && $RT start {id} && $RT state {id} && $RT ps -f json {id} &&
             $RT exec {id} /bin/sh -c 'echo score $(cat /proc/self/oom_score_adj)' </dev/null &&
             $RT kill --all {id} KILL
             until $RT state {id} | grep -q stopped; do sleep 0.05; done; $RT delete {id}"
        );
        let out = script(t, &as_nobody(&[]), &life);
        assert!(out.status.success() && text(&out).contains("\"running\""), "{}", text(&out));
        assert!(text(&out).contains("score 100\n"), "{}", text(&out));
        // Where no cgroup tells of it.
        let is_list = |line: &str| line.starts_with('[') && line.len() > 2;
        assert!(text(&out).lines().any(is_list), "{}", text(&out));
        assert!(wait_until(Duration::from_secs(2), || !t.has_state(id)));
    });
}

/// A /proc that shows an ordinary user only what it may trace.
#[test]
fn rootless_below_a_proc_with_hidepid() {
    contract!(Root, Userns, Pidfd, Tool("setpriv"), Tool("unshare")).ours_only("templates differ").run(|t| {
        for hidepid in ["hidepid=1", "hidepid=2"] {
            let b = t.bundle();
            give(t, &b);
            rootless_spec(t, &b, |config| config["process"]["args"] = json!(["/bin/sleep", "100"]));
            let mount = "mount -t proc -o $0 proc /proc && exec \"$@\"";
            let mut words = vec!["unshare", "-m", "sh", "-c", mount, hidepid];
            words.extend(as_nobody(&[]));
            let (dir, id) = (b.dir.display(), &b.id);
            let life = format!(
                "$RT create --bundle {dir} {id} && $RT start {id} && $RT exec {id} /bin/echo inside </dev/null &&
                 $RT kill {id} KILL || exit 1
                 until $RT state {id} | grep -q stopped; do sleep 0.05; done; $RT delete {id}"
            );
            let out = script(t, &words, &life);
            assert!(out.status.success() && text(&out).contains("inside\n"), "{}", text(&out));
            assert!(wait_until(Duration::from_secs(2), || !t.has_state(id)));
        }
    });
}

/// Root of a user namespace that forbids setgroups(2), as `unshare -Ur` makes it: groups (which Podman takes from the
/// image) are left out, and the state has a place without a session.
#[test]
fn root_of_a_user_namespace_without_setgroups() {
    contract!(Root, Userns, Tool("setpriv")).ours_only("templates differ").run(|t| {
        for nested in [true, false] {
            let b = t.bundle();
            give(t, &b);
            rootless_spec(t, &b, |config| {
                for field in ["uidMappings", "gidMappings"] {
                    config["linux"][field] = json!([crate::harness::test::map(0, 0, 1)]);
                }
                if !nested {
                    let linux = config["linux"].as_object_mut().unwrap();
                    linux.remove("uidMappings");
                    linux.remove("gidMappings");
                    linux["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "user");
                }
                config["process"]["oomScoreAdj"] = json!(100);
                config["process"]["user"]["additionalGids"] = json!([0]);
            });
            let run = format!("$RT run --bundle {} {}", b.dir.display(), b.id);
            let r = reported(&script(t, &as_nobody(&["unshare", "-Ur"]), &run));
            assert!(of(&r, "status/Uid").as_str().is_some_and(|ids| ids.starts_with('0')), "{r}");
            let list = "env -u USER -u XDG_RUNTIME_DIR ${RT%% *} list";
            let out = script(t, &as_nobody(&["unshare", "-Ur"]), list);
            assert!(!text(&out).contains("XDG_RUNTIME_DIR"), "{}", text(&out));
        }
    });
}

/// The words of a failing startContainer hook are its own.
#[test]
fn output_of_an_earlier_hook_is_not_blamed_on_the_next() {
    contract!(Root).ours_only("the peers cannot report it").run(|t| {
        let b = t.bundle();
        let hook = |text: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", text] });
        b.set("hooks", json!({ "startContainer": [hook("echo innocent"), hook("exit 3")] }));
        t.create(&b).ok();
        let out = t.start(&b);
        assert_ne!(out.code, 0);
        assert!(out.stderr.contains("exit status 3") && !out.stderr.contains("innocent"), "{}", out.stderr);
    });
}

/// A filter of an outer container that does not know memfd_create.
#[test]
fn without_memfd_create() {
    contract!(Root, Tool("strace")).ours_only("the peers do not start at all").run(|t| {
        let b = t.running();
        let more = t.bundle();
        let cat = json!([{ "path": "/bin/cat" }]);
        more.set("hooks", json!({ "createRuntime": cat, "startContainer": cat, "poststop": cat }));
        more.args(&["/bin/echo", "started"]).write();
        let inject = "inject=memfd_create:error=ENOSYS";
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=memfd_create", "-e", inject];
        let line = format!(
            "$RT exec {} /bin/echo joined && $RT run --bundle {} {}",
            b.id,
            more.dir.display(),
            more.id
        );
        let out = script(t, &strace, &line);
        assert!(out.status.success(), "{}", text(&out));
        assert_eq!(String::from_utf8_lossy(&out.stdout), "joined\nstarted\n", "{}", text(&out));
    });
}

/// The process between runtime and init is killed (for want of memory) right after it has cloned init, which then keeps
/// the channel open and waits for the runtime.
#[test]
fn an_intermediate_that_dies_before_its_word_of_init_is_a_failure() {
    contract!(Root, Userns, Tool("strace")).ours_only("counts our own messages").run(|t| {
        let b = t.bundle();
        b.userns(100_000).write();
        // Its first is that it waits for its id maps; those of the runtime are as many only if it goes on.
        let inject = "inject=sendmsg:signal=KILL:when=2";
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", inject];
        let out = script(t, &strace, &format!("$RT create --bundle {} {}", b.dir.display(), b.id));
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        assert!(text(&out).contains("killed by signal 9 before InitPid"), "{}", text(&out));
        t.nothing_left(&b.id);
    });
}

/// Where no memfd can be had the forked process is its own last stage: what was to be preserved goes along.
#[test]
fn preserved_descriptors_reach_a_program_without_memfds() {
    contract!(Root, Tool("strace")).ours_only("the peers do not start at all").run(|t| {
        let b = t.running();
        let file = t.fresh("text");
        std::fs::write(&file, "passed on").unwrap();
        let inject = "inject=memfd_create:error=ENOSYS";
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=memfd_create", "-e", inject];
        let words = format!("exec --preserve-fds 1 {} /bin/sh -c 'cat <&3' 3<{}", b.id, file.display());
        let out = script(t, &strace, &format!("$RT {words}"));
        assert_eq!(String::from_utf8_lossy(&out.stdout), "passed on", "{}", text(&out));
    });
}

/// Root of an outer container (`docker run --cap-add SYS_ADMIN`) may do much, but not look at who hides.
#[test]
fn a_user_namespace_without_cap_sys_ptrace() {
    contract!(Root, Userns, Tool("setpriv")).run(|t| {
        let b = t.bundle();
        b.userns(100_000).args(&["/guest", "report"]);
        b.write();
        let without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
        reported(&script(t, &without, &format!("$RT run --bundle {} {}", b.dir.display(), b.id)));
    });
}

/// A user namespace may deny setgroups(2), and then the caller's groups stay; a profile may not make them stay.
#[test]
fn a_profile_without_setgroups_does_not_keep_the_callers_groups() {
    contract!(Root, Userns, Seccomp, Tool("setpriv")).run(|t| {
        let as_member = ["setpriv", "--groups", "1234,5678"];
        for no_new_privs in [true, false] {
            let b = t.bundle();
            b.userns(100_000).args(&["/guest", "report"]);
            deny(&b, "setgroups", "SCMP_ACT_ERRNO", no_new_privs);
            b.write();
            let out = script(t, &as_member, &format!("$RT run --bundle {} {}", b.dir.display(), b.id));
            // Where the filter comes last, there is nothing in the way.
            if no_new_privs || out.status.success() {
                assert_eq!(of(&reported(&out), "status/Groups").as_str().map(str::trim), Some(""));
            } else {
                assert!(text(&out).contains("group"), "{}", text(&out));
            }
        }
    });
}

/// Said by the hook's own process on the status page.
#[test]
fn a_hook_in_the_container_that_cannot_be_executed_says_why() {
    contract!(Root).ours_only("the peers cannot report it").run(|t| {
        for (path, words) in [("/no/such/hook", "no such file"), ("/etc", "permission denied")] {
            let b = t.bundle();
            b.set("hooks", json!({ "startContainer": [{ "path": path }] }));
            t.create(&b).ok();
            t.start(&b).exits(1).fails_with(words).fails_with("execve").fails_with(path);
        }
    });
}
