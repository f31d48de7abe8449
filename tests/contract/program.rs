//! The program: environment, lookup, working directory, and what its start says (contract §0.3, §1.4, §1.6).

use crate::contract;
use crate::harness::of;
use serde_json::{Value, json};

#[test]
fn the_environment_is_the_listed_one() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/env", json!(["PATH=/bin", "A=1", "B=two words", "EMPTY=", "EQ=a=b", "HOME=/h"]));
        let call = t.call_run(b.args(&["/guest", "report"]), &[]).env("OUTSIDE", "x");
        let r = crate::harness::test::parse_report(&call.ok().stdout);
        let mut env: Vec<_> = r["env"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
        env.sort_unstable();
        assert_eq!(env, ["A=1", "B=two words", "EMPTY=", "EQ=a=b", "HOME=/h", "PATH=/bin"]);
    });
}

fn env_of(r: &Value, name: &str) -> Option<String> {
    let all = r["env"].as_array().unwrap();
    all.iter()
        .filter_map(|e| e.as_str()?.split_once('='))
        .find(|(k, _)| *k == name)
        .map(|(_, v)| v.to_owned())
}

#[test]
fn home_comes_from_the_containers_passwd() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        assert_eq!(env_of(&t.report(&b, &[]), "HOME").as_deref(), Some("/root"));
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        assert_eq!(env_of(&t.report(&b, &[]), "HOME").as_deref(), Some("/home/user"));
    });
}

#[test]
fn home_without_an_entry_is_the_root_directory() {
    contract!(Root).differs("crun", "leaves HOME unset").run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 4242, "gid": 1 }));
        assert_eq!(env_of(&t.report(&b, &[]), "HOME").as_deref(), Some("/"));
        std::fs::remove_file(b.host("/etc/passwd")).unwrap();
        b.set("process/user", json!({ "uid": 0, "gid": 0 }));
        let home = env_of(&t.report(&b, &[]), "HOME");
        assert!(matches!(home.as_deref(), Some("/" | "/root")), "{home:?}");
    });
}

#[test]
fn an_empty_home_is_replaced() {
    contract!(Root).differs("crun", "keeps it empty").run(|t| {
        let b = t.bundle();
        b.add("process/env", json!("HOME="));
        assert_eq!(env_of(&t.report(&b, &[]), "HOME").as_deref(), Some("/root"));
    });
}

#[test]
fn of_duplicate_variables_the_last_counts() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/env", json!(["PATH=/bin", "A=1", "A=2"]));
        b.shell("echo $A");
        assert_eq!(t.run(&b).ok().stdout, "2\n");
    });
}

#[test]
fn the_environment_has_no_duplicates() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/env", json!(["PATH=/bin", "A=1", "A=2", "PATH=/usr/bin:/bin"]));
        let r = t.report(&b, &[]);
        let all = r["environ"].as_array().unwrap();
        assert_eq!(all.iter().filter(|e| e.as_str().unwrap().starts_with("A=")).count(), 1, "{all:?}");
        assert_eq!(all.iter().filter(|e| e.as_str().unwrap().starts_with("PATH=")).count(), 1, "{all:?}");
    });
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        std::fs::create_dir(b.host("/opt")).unwrap();
        std::fs::copy(b.host("/guest"), b.host("/opt/only-here")).unwrap();
        b.set("process/env", json!(["PATH=/nowhere:/opt"]));
        b.args(&["only-here", "exit", "0"]);
        t.run(&b).ok();
    });
}

#[test]
fn argv_0_stays_as_given() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/env", json!(["PATH=/"])).args(&["guest", "report", "x y", ""]);
        let r = crate::harness::test::parse_report(&t.run(&b).ok().stdout);
        assert_eq!(r["argv"], json!(["guest", "report", "x y", ""]));
    });
}

#[test]
fn a_relative_program_is_relative_to_cwd() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/cwd", json!("/bin")).args(&["./busybox", "echo", "ok"]);
        assert_eq!(t.run(&b).ok().stdout, "ok\n");
    });
}

/// Engines choose 126 or 127 by these words, and the specification wants them at create.
#[test]
fn a_program_that_cannot_run_is_refused_at_create() {
    contract!(Root).differs("crun", "capital letters, which engines do not match").run(|t| {
        let b = t.bundle();
        std::fs::write(b.host("/plain"), "not executable").unwrap();
        for (program, words) in [
            ("/missing", &["no such file or directory"][..]),
            ("missing", &["executable file not found in $path"]),
            ("/plain", &["permission denied"]),
            ("/etc", &["permission denied", "is a directory"]),
            ("/plain/below", &["not a directory"]),
        ] {
            b.args(&[program]);
            t.create(&b).exits(1).fails_naming(words).fails_naming(&[program]).one_line();
            t.nothing_left(&b.id);
        }
    });
}

#[test]
fn the_missing_program_is_worded_as_runc_does() {
    contract!(Root).differs("crun", "other words").run(|t| {
        let b = t.bundle();
        b.args(&["/missing"]);
        let text = "exec: \"/missing\": stat /missing: no such file or directory";
        t.create(&b).exits(1).fails_with(text).fails_with("unable to start container process: ");
        b.args(&["missing"]);
        t.create(&b).exits(1).fails_with("exec: \"missing\": executable file not found in $PATH");
        b.args(&["/etc"]);
        t.create(&b)
            .exits(1)
            .fails_naming(&["exec: \"/etc\": permission denied", "exec: \"/etc\": is a directory"]);
    });
}

/// Root sees files that the user cannot reach: the lookup is the user's.
#[test]
fn the_program_is_looked_up_with_the_users_rights() {
    contract!(Root).differs("crun", "looks it up as root").run(|t| {
        let b = t.bundle();
        std::fs::copy(b.host("/guest"), b.host("/root/secret")).unwrap();
        // Without CAP_DAC_OVERRIDE, which would let the user in.
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 })).args(&["/root/secret", "exit", "0"]);
        b.set("process/capabilities", json!({}));
        t.create(&b).exits(1).fails_naming(&["permission denied"]);
        t.nothing_left(&b.id);
    });
}

#[test]
fn a_script_with_a_missing_interpreter_says_so() {
    contract!(Root).differs("crun", "capital letters, which engines do not match").run(|t| {
        let b = t.bundle();
        std::fs::write(b.host("/script"), "#!/no/interpreter\n").unwrap();
        std::fs::set_permissions(b.host("/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        b.args(&["/script"]);
        let out = t.run(&b).fails();
        assert!(out.stderr.contains("no such file or directory"), "{}", out.stderr);
    });
}

/// The peers send an error that comes after the gate nowhere, or to the container's stderr.
#[test]
fn start_reports_an_execve_that_fails() {
    contract!(Root)
        .differs("runc", "1.1.5 exits 0, the container prints the error")
        .differs("crun", "1.8.1 exits 0, the container prints the error")
        .run(|t| {
            let b = t.bundle();
            std::fs::write(b.host("/script"), "#!/no/interpreter\n").unwrap();
            std::fs::set_permissions(b.host("/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            b.args(&["/script"]);
            t.create(&b).ok();
            t.start(&b).exits(1).fails_naming(&["no such file or directory"]).one_line();
            t.wait_status(&b.id, "stopped");
        });
}

#[test]
fn the_working_directory_is_set() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/cwd", json!("/home/user"));
        assert_eq!(t.report(&b, &[])["cwd"], "/home/user");
    });
}

#[test]
fn a_missing_working_directory_is_made() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/cwd", json!("/made/for/it"));
        let r = t.report(&b, &["stat:/made/for/it"]);
        assert_eq!(r["cwd"], "/made/for/it");
        assert_eq!(of(&r["probes"], "stat:~1made~1for~1it/mode"), 0o755);
    });
}

/// A directory that only the user may enter, and one that only root may enter (chdir is tried before setuid).
#[test]
fn a_private_working_directory_can_be_entered() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let dir = b.host("/private");
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 })).set("process/cwd", json!("/private"));
        let caps = json!([]);
        b.set("process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }));
        b.args(&["/bin/true"]);
        t.run(&b).ok();
        std::os::unix::fs::chown(&dir, Some(1000), Some(1000)).unwrap();
        t.run(&b).ok();
    });
}

#[test]
fn a_working_directory_that_is_a_file_fails() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/cwd", json!("/etc/passwd")).args(&["/bin/true"]);
        t.create(&b).exits(1).fails_naming(&["not a directory", "cwd"]).one_line();
        t.nothing_left(&b.id);
    });
}

#[test]
fn init_shows_no_host_paths_while_it_waits() {
    contract!(Root).differs("crun", "shows crun's own arguments").run(|t| {
        let b = t.created();
        let raw = std::fs::read(format!("/proc/{}/cmdline", t.pid(&b.id))).unwrap();
        let text = String::from_utf8_lossy(&raw);
        assert!(!text.contains(t.dir.to_str().unwrap()), "{text}");
        assert!(!text.contains(&b.id), "{text}");
    });
}

#[test]
fn process_may_be_absent_until_start() {
    contract!(Root)
        .differs("runc", "wants it at create")
        .differs("crun", "1.8.1 fails with an internal error")
        .run(|t| {
            let b = t.bundle();
            b.remove("process");
            t.create(&b).ok();
            assert_eq!(t.status(&b.id), "created");
            t.start(&b).exits(1).fails_naming(&["process"]);
        });
}
