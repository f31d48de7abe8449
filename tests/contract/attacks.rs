//! Attacks on the runtime by what is in the rootfs or the config (security.md: the static forms of T03, T04, T07,
//! T13, T16, T17, T19, T22, T27). Each one leaves a sentinel on the host that must come out unharmed.

use crate::contract;
use crate::harness::config::without_mount;
use crate::harness::leftovers::mountinfo;
use crate::harness::test::{map, parse_report, slow, wait_file, wait_until};
use crate::harness::{Bundle, Test, of, runtime};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const NO_DEV: [&str; 4] = ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];

/// A directory of the host that nothing may change.
struct Sentinel {
    dir: PathBuf,
    file: PathBuf,
}

impl Sentinel {
    fn new(t: &Test) -> Self {
        let dir = t.fresh_dir("sentinel");
        let file = dir.join("file");
        std::fs::write(&file, "host").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        Self { dir, file }
    }

    #[track_caller]
    fn unharmed(&self) {
        assert_eq!(std::fs::read_to_string(&self.file).unwrap(), "host", "the host's file was written");
        let meta = std::fs::metadata(&self.file).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600), "the host's file changed hands");
        let names: Vec<_> = std::fs::read_dir(&self.dir).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["file"], "something was made on the host");
        let mounts = crate::harness::leftovers::mountinfo();
        assert!(
            !mounts.iter().any(|l| l.contains(self.dir.to_str().unwrap())),
            "something was mounted on the host"
        );
    }
}

/// T03, CVE-2024-21626: a working directory through a descriptor that leaked.
#[test]
fn t03_cwd_through_a_leaked_descriptor() {
    contract!(Root).seconds(120).run(|t| {
        for fd in 3..16 {
            let b = t.bundle();
            b.set("process/cwd", json!(format!("/proc/self/fd/{fd}")));
            b.args(&["/guest", "report", "ls:.", "ls:../../..", "readlink:/proc/self/cwd"]);
            let out = t.run(&b);
            if out.code == 0 {
                let r = parse_report(&out.stdout);
                let text = r["probes"].to_string();
                assert!(!text.contains("\"boot\"") && !text.contains("cgroup.procs"), "fd {fd}: {text}");
            }
        }
    });
}

/// The same through a symlink in the image.
#[test]
fn t03_cwd_symlink_to_a_leaked_descriptor() {
    contract!(Root).run(|t| {
        for fd in [3, 5, 6, 7, 8, 9] {
            let b = t.bundle();
            symlink(format!("/proc/self/fd/{fd}/"), b.host("/work")).unwrap();
            b.set("process/cwd", json!("/work")).args(&["/guest", "report", "ls:.", "ls:../../.."]);
            let out = t.run(&b);
            if out.code == 0 {
                let text = parse_report(&out.stdout)["probes"].to_string();
                assert!(!text.contains("\"boot\"") && !text.contains("cgroup.procs"), "fd {fd}: {text}");
            }
        }
    });
}

/// T04: fifty descriptors of the caller, to directories of the host.
#[test]
fn t04_inherited_descriptors_do_not_get_in() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report", "ls:/proc/self/fd/10", "ls:/proc/1/fd/20"]);
        let mut call = t.call_run(&b, &[]);
        for fd in 3..53 {
            let path = if fd % 2 == 0 { "/" } else { "/etc" };
            call = call.fd(File::open(path).unwrap(), fd);
        }
        let r = parse_report(&call.ok().stdout);
        let fds: Vec<i64> = r["fds"].as_array().unwrap().iter().map(|f| f["fd"].as_i64().unwrap()).collect();
        assert_eq!(fds, [0, 1, 2]);
    });
}

/// The same while it waits: what /proc/PID/fd of a created container offers to another one.
#[test]
fn t04_init_waits_without_host_directories() {
    contract!(Root).differs("crun", "keeps the caller's descriptors until the program runs").run(|t| {
        let b = t.bundle();
        let mut call = t.call_create(&b, &[]);
        for fd in 3..30 {
            call = call.fd(File::open("/etc").unwrap(), fd);
        }
        call.ok();
        let pid = t.pid(&b.id);
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap();
            let directory = target.is_absolute() && std::fs::metadata(entry.path()).is_ok_and(|m| m.is_dir());
            assert!(!directory, "init holds {}", target.display());
        }
    });
}

/// T07, CVE-2019-19921 and others: /proc or /sys is a symlink.
#[test]
fn t07_proc_or_sys_is_a_symlink() {
    contract!(Root).run(|t| {
        for (name, target) in [
            ("proc", "/evil".to_owned()),
            ("proc", "../../../../../../SENTINEL".to_owned()),
            ("proc", "SENTINEL".to_owned()),
            ("sys", "SENTINEL".to_owned()),
            ("sys", "/tmp/../evil".to_owned()),
        ] {
            let s = Sentinel::new(t);
            let b = t.bundle();
            std::fs::remove_dir(b.host(name)).unwrap();
            std::fs::create_dir(b.host("/evil")).unwrap();
            std::fs::create_dir_all(b.host("/evil/self/attr")).unwrap();
            let target = target.replace("SENTINEL", s.dir.to_str().unwrap());
            symlink(&target, b.host(name)).unwrap();
            b.args(&["/bin/true"]);
            t.run(&b).fails();
            s.unharmed();
            t.nothing_left(&b.id);
        }
    });
}

/// With `stdio` for all three descriptors; what `create` says goes into a log. Then the program has done its worst, or
/// create has found out the false /dev/null and says so.
#[track_caller]
fn ends_or_is_refused(t: &Test, b: &Bundle, stdio: impl Fn() -> File) {
    let log = t.fresh("log");
    let create = t.call_create(b, &[]).globals(&["--log", log.to_str().unwrap()]);
    if create.stdio(0, stdio()).stdio(1, stdio()).stdio(2, stdio()).run().code == 0 {
        t.start(b).ok();
        t.wait_status(&b.id, "stopped");
    } else {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(said.contains("/dev/null"), "{said}");
    }
}

/// T13, CVE-2025-31133: the image's /dev/null is a symlink, so that masking binds what it points to.
#[test]
fn t13_masked_path_through_a_false_dev_null() {
    contract!(Root).differs("runc", "vulnerable: CVE-2025-31133").run(|t| {
        let s = Sentinel::new(t);
        let b = t.bundle();
        b.edit(|c| NO_DEV.iter().for_each(|at| without_mount(c, at)));
        std::fs::write(b.host("/inside"), "").unwrap();
        let source = s.file.to_str().unwrap();
        b.mount(json!({ "destination": "/target", "type": "bind", "source": source, "options": ["bind"] }));
        symlink("/target", b.host("/dev/null")).unwrap();
        b.set("linux/maskedPaths", json!(["/proc/version"]));
        b.args(&["/guest", "report", "write:/proc/version=pwn"]);
        // A character device on 0 to 2 keeps T16 out of this.
        let zero = || File::options().read(true).write(true).open("/dev/zero").unwrap();
        ends_or_is_refused(t, &b, zero);
        s.unharmed();
    });
}

/// T16, CVE-2026-88265: stdio is compared with a /dev/null that is a file of the host.
#[test]
fn t16_stdio_through_a_false_dev_null() {
    contract!(Root)
        .differs("runc", "1.1.5 vulnerable: output goes into the host's file")
        .differs("crun", "1.8.1 vulnerable: CVE-2026-88265, output and owner")
        .run(|t| {
            let s = Sentinel::new(t);
            let b = t.bundle();
            b.edit(|c| NO_DEV.iter().for_each(|at| without_mount(c, at)));
            let source = s.file.to_str().unwrap();
            b.mount(
                json!({ "destination": "/target", "type": "bind", "source": source, "options": ["bind"] }),
            );
            symlink("/target", b.host("/dev/null")).unwrap();
            b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
            b.shell("echo pwned; echo pwned >&2");
            let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
            let file = || File::create(t.fresh("plain")).unwrap();
            ends_or_is_refused(t, &b, null);
            t.rt(&["delete", "--force", &b.id]);
            ends_or_is_refused(t, &b, file);
            s.unharmed();
        });
}

/// T17, CVE-2026-41579 and CVE-2026-47766: /dev of the image is a symlink and nothing is mounted there.
#[test]
fn t17_dev_is_a_symlink() {
    contract!(Root)
        .differs("runc", "1.1.5 vulnerable: CVE-2026-41579")
        .differs("crun", "1.8.1 vulnerable: CVE-2026-47766")
        .run(|t| {
            for up in [false, true] {
                let s = Sentinel::new(t);
                let b = t.bundle();
                b.edit(|c| NO_DEV.iter().for_each(|at| without_mount(c, at)));
                std::fs::remove_dir(b.host("/dev")).unwrap();
                let prefix = if up { "../".repeat(20) } else { String::new() };
                let target = format!("{prefix}{}", s.dir.to_str().unwrap());
                symlink(target.replace("..//", "../"), b.host("/dev")).unwrap();
                b.args(&["/bin/true"]);
                t.run(&b);
                s.unharmed();
            }
        });
}

/// Every name that a runtime makes in a rootfs, planted as a symlink to the host.
#[test]
fn t12_planted_symlinks_at_every_made_name() {
    contract!(Root).run(|t| {
        for name in
            ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "fd", "stdin", "core"]
        {
            let s = Sentinel::new(t);
            let b = t.bundle();
            b.edit(|c| NO_DEV.iter().for_each(|at| without_mount(c, at)));
            symlink(s.dir.join("new"), b.host(&format!("/dev/{name}"))).unwrap();
            b.args(&["/bin/true"]);
            t.run(&b);
            s.unharmed();
        }
    });
}

#[test]
fn t12_mount_points_and_cwd_through_symlinks_stay_inside() {
    contract!(Root).run(|t| {
        let s = Sentinel::new(t);
        let b = t.bundle();
        symlink(&s.dir, b.host("/out")).unwrap();
        symlink(&s.file, b.host("/outfile")).unwrap();
        let source = t.fresh("source");
        std::fs::write(&source, "x").unwrap();
        b.mount(json!({ "destination": "/out/made", "type": "tmpfs", "source": "t" }));
        b.mount(json!({ "destination": "/outfile", "type": "bind", "source": source, "options": ["bind"] }));
        b.set("process/cwd", json!("/out/deeper/cwd")).args(&["/bin/true"]);
        t.run(&b);
        s.unharmed();
    });
}

/// T19, CVE-2022-29162 and CVE-2022-27650: nothing is inheritable unless the config says so.
#[test]
fn t19_no_inheritable_capabilities() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &[]);
        assert_eq!(of(&r, "status/CapInh"), "0000000000000000");
        assert_eq!(of(&r, "status/CapAmb"), "0000000000000000");
    });
}

/// T22, CVE-2021-43784: sizes beyond what fixed fields hold.
#[test]
fn t22_oversized_values_fail_cleanly() {
    contract!(Root, Userns)
        .differs("crun", "prints more than a line, or leaves cgroups")
        .differs("runc", "1.1.5 repeats 70 kB of path in its message")
        .run(|t| {
            let b = t.bundle();
            b.edit(|c| crate::harness::namespaced(c, "ipc", Some(&format!("/{}", "x/".repeat(35_000)))));
            oversized(t, &b);
            let b = t.bundle();
            b.userns(100_000);
            let maps: Vec<Value> = (0..10_000).map(|n| map(n, 200_000 + n, 1)).collect();
            b.set("linux/uidMappings", json!(maps)).set("linux/gidMappings", json!(maps));
            oversized(t, &b);
            let b = t.bundle();
            let gids: Vec<u32> = (0..70_000).collect();
            b.set("process/user/additionalGids", json!(gids));
            oversized(t, &b);
        });
}

#[track_caller]
fn oversized(t: &Test, b: &crate::harness::Bundle) {
    let out = t.create(b).fails().one_line();
    assert!(out.took < slow(2), "{:?}", out.took);
    assert!(out.stderr.len() < 4096, "{} bytes of message", out.stderr.len());
    t.nothing_left(&b.id);
}

/// T27, runc#5087: a filter that kills init right after it was loaded. The parent must see that within a second.
#[test]
fn t27_a_filter_that_kills_init_is_no_hang() {
    contract!(Root, Seccomp).differs("runc", "hangs for ever").seconds(300).run(|t| {
        let names = ["write", "exit_group", "close", "execve", "read", "rt_sigreturn", "mmap"];
        for name in names {
            for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP"]
            {
                for no_new_privs in [true, false] {
                    let b = t.bundle();
                    b.set("process/noNewPrivileges", json!(no_new_privs)).args(&["/bin/true"]);
                    b.set(
                        "linux/seccomp",
                        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                "syscalls": [{ "names": [name], "action": action }] }),
                    );
                    let out = t.run(&b);
                    assert!(out.took < slow(3), "{name} {action}: {:?}", out.took);
                    t.nothing_left(&b.id);
                }
            }
        }
    });
}

/// `args: /proc/self/exe` or a script of that interpreter must not run the host's binary (CVE-2019-5736).
#[test]
fn t02_the_hosts_binary_cannot_be_run_from_inside() {
    contract!(Root).run(|t| {
        let rt = std::fs::read(&crate::harness::runtime::get().path).unwrap();
        let b = t.bundle();
        b.args(&["/proc/self/exe", "--version"]);
        let out = t.run(&b);
        assert!(!out.stdout.contains("spec: 1."), "the host's binary ran: {}", out.stdout);
        std::fs::write(b.host("/script"), "#!/proc/self/exe --version\n").unwrap();
        std::fs::set_permissions(b.host("/script"), PermissionsExt::from_mode(0o755)).unwrap();
        b.args(&["/script"]);
        t.run(&b);
        assert!(std::fs::read(&crate::harness::runtime::get().path).unwrap() == rt);
    });
}

/// A FIFO where a file is read must not hang anyone (T23, T26).
#[test]
fn t26_passwd_is_a_fifo_or_huge() {
    contract!(Root).differs("runc", "waits for ever").differs("crun", "waits for ever").run(|t| {
        let b = t.bundle();
        std::fs::remove_file(b.host("/etc/passwd")).unwrap();
        nix::unistd::mkfifo(&b.host("/etc/passwd"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
        b.args(&["/bin/true"]);
        let out = t.run(&b);
        assert!(out.took < slow(3), "{:?}", out.took);
        std::fs::remove_file(b.host("/etc/passwd")).unwrap();
        let huge = File::create(b.host("/etc/passwd")).unwrap();
        huge.set_len(1 << 40).unwrap();
        let out = t.run(&b);
        assert!(out.took < slow(3), "{:?}", out.took);
        std::fs::remove_file(b.host("/etc/passwd")).unwrap();
        symlink("/proc/kmsg", b.host("/etc/passwd")).unwrap();
        let out = t.run(&b);
        assert!(out.took < slow(3), "{:?}", out.took);
    });
}

/// T36: names that climb out of the namespace's part of /proc/sys.
#[test]
fn t36_sysctl_names_that_climb() {
    contract!(Root).run(|t| {
        let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
        for name in [
            "net/../kernel/panic",
            "net.../../kernel/panic",
            "kernel.shmmax/../panic",
            "net./../kernel.panic",
        ] {
            let b = t.bundle();
            b.set("linux/sysctl", json!({ name: "7" }));
            let out = t.create(&b);
            let after = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
            if after != before {
                std::fs::write("/proc/sys/kernel/panic", &before).unwrap();
            }
            assert_eq!(after, before, "{name} reached the host's setting");
            out.fails();
            t.nothing_left(&b.id);
        }
    });
}

/// T39: masked and read-only paths through symlinks of the image, with and without "..".
#[test]
fn t39_masked_and_read_only_paths_stay_inside() {
    contract!(Root).run(|t| {
        let s = Sentinel::new(t);
        let b = t.bundle();
        symlink(&s.dir, b.host("/out")).unwrap();
        b.set(
            "linux/maskedPaths",
            json!(["/out", "/out/file", "/../../../../../../etc/hostname", "/mnt/../etc"]),
        );
        b.set("linux/readonlyPaths", json!(["/out", "/../../../mnt"]));
        b.args(&["/guest", "file", "/r.json", "ls:/etc", "create:/mnt/x"]);
        t.run(&b).ok();
        s.unharmed();
        let r = parse_report(&wait_file(&b.host("/r.json")));
        assert_eq!(of(&r["probes"], "ls:~1etc/names"), &json!([]));
        assert_eq!(of(&r["probes"], "create:~1mnt~1x/errno"), libc::EROFS);
        assert!(Path::new("/etc/hostname").exists());
    });
}

/// A mask that was a peer of the host's /dev/null would take mounts on it to the host, and a writable one its mode.
#[test]
fn a_masked_file_is_no_door_to_the_hosts_null() {
    // Without open_tree the masks are the container's own null, which is its root's to change.
    contract!(Root, MountSetattr).run(|t| {
        let b = t.bundle();
        b.set("linux/maskedPaths", json!(["/proc/version", "/proc/uptime", "/proc/version", "/proc/self/../uptime"]));
        for set in ["bounding", "effective", "permitted"] {
            b.set(&format!("process/capabilities/{set}"), json!(["CAP_SYS_ADMIN", "CAP_FOWNER"]));
        }
        b.shell(
            "chmod 666 /proc/version 2>/dev/null && echo changed; echo evil > /evil; mount -o bind /evil /proc/uptime; \
             cat /proc/uptime; echo x > /proc/version; grep -E ' /proc/(version|uptime) ' /proc/self/mountinfo; sleep 1000",
        );
        let out = t.create(&b).ok();
        t.start(&b).ok();
        assert!(wait_until(Duration::from_secs(5), || out.stdout_now().lines().count() >= 3));
        let text = out.stdout_now();
        let masks: Vec<_> = text.lines().filter(|line| line.contains(" /null ")).collect();
        assert!(!masks.is_empty() && text.contains("evil"), "{text}");
        for mask in masks {
            assert!(!mask.contains("shared:") && !mask.contains("master:"), "{mask}");
        }
        assert!(!text.contains("changed") || !runtime::get().is_ours(), "{text}");
        let host: Vec<_> = mountinfo().into_iter().filter(|line| line.contains(" /dev/null ")).collect();
        assert!(host.is_empty(), "{host:?}");
    });
}

/// What the kernel answers in a file of /proc is for who reads it, and the runtime has rights that the program has not:
/// /proc/kmsg as /etc/passwd gave the host's kernel log away. And a home is a path, not a way to fill the environment.
#[test]
fn passwd_is_a_file_of_proc_or_has_an_endless_home() {
    contract!(Root).differs("runc", "HOME stays empty").differs("crun", "reads files of /proc").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "pause", "\nroot:x:0:0::/of-proc:/bin/sh\n"]);
        t.create(&b).ok();
        t.start(&b).ok();
        let passwd = b.host("/etc/passwd");
        let home = || {
            let out = t.rt(&["exec", &b.id, "/bin/sh", "-c", "echo $HOME"]).ok();
            out.stdout.trim().to_owned()
        };
        std::fs::remove_file(&passwd).unwrap();
        symlink("/proc/1/cmdline", &passwd).unwrap();
        assert_eq!(home(), "/");
        std::fs::remove_file(&passwd).unwrap();
        for (made, kept) in
            [(format!("/{}", "h".repeat(200_000)), false), ("/\x1b[2J".into(), false), ("/fine".into(), true)]
        {
            std::fs::write(&passwd, format!("root:x:0:0::{made}:/bin/sh\n")).unwrap();
            assert_eq!(home(), if kept { &made } else { "/" });
            let again = t.bundle();
            std::fs::copy(&passwd, again.host("/etc/passwd")).unwrap();
            again.args(&["/bin/true"]);
            t.run(&again).ok();
        }
    });
}

/// What a failure says goes to a terminal: no name of the image's and no word of a hook's steers it.
#[test]
fn no_message_steers_the_operators_terminal() {
    contract!(Root).differs("crun", "does not repeat what a hook said").run(|t| {
        let clean = |out: crate::harness::call::Output| {
            let out = out.fails().one_line();
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!out.stderr.contains(steers), "{:?}", out.stderr);
            out.stderr
        };
        let b = t.bundle();
        b.add("hooks/createRuntime", json!({ "path": "/bin/sh", "args": ["sh", "-c", "printf '\\033[2Jsaid\\302\\2332J' >&2; exit 3"] }));
        assert!(clean(t.create(&b)).contains("said"));
        let b = t.bundle();
        symlink("/\x1b]0;title\x07", b.host("/tmp/link")).unwrap();
        b.mount(json!({ "destination": "/tmp/link/\u{1b}[5m", "type": "bind", "source": "/none\u{1b}[2J" }));
        clean(t.create(&b));
        let b = t.bundle();
        b.args(&["/no\u{1b}[2Jprogram"]);
        clean(t.run(&b));
    });
}
