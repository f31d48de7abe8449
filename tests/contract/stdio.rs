//! Descriptors, terminals, sockets: what the program gets from outside and nothing else (contract §0.6, §1.6, §11.12).

use crate::contract;
use crate::harness::of;
use crate::harness::test::{parse_report, wait_file, wait_until};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn numbers(report: &Value) -> Vec<i64> {
    report["fds"].as_array().unwrap().iter().map(|f| f["fd"].as_i64().unwrap()).collect()
}

#[test]
fn the_program_has_descriptors_0_1_2_only() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        assert_eq!(numbers(&t.report(&b, &[])), [0, 1, 2]);
    });
}

#[test]
fn a_detached_program_has_descriptors_0_1_2_only() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "file", "/report.json"]);
        t.create(&b).ok();
        t.start(&b).ok();
        assert_eq!(numbers(&parse_report(&wait_file(&b.host("/report.json")))), [0, 1, 2]);
    });
}

#[test]
fn preserved_descriptors_are_passed_and_no_others() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]);
        let file = |text: &str| {
            let path = t.fresh("file");
            std::fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        };
        let call = t.call_run(&b, &["--preserve-fds", "2"]);
        let out = call.fd(file("a"), 3).fd(file("b"), 4).fd(file("c"), 5).fd(file("d"), 9).ok();
        assert_eq!(numbers(&parse_report(&out.stdout)), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_preserved_descriptor_that_is_not_open_fails() {
    contract!(Root)
        .differs("runc", "passes a descriptor of its own instead")
        .differs("crun", "does not look")
        .run(|t| {
            let b = t.bundle();
            b.args(&["/bin/true"]);
            t.call_run(&b, &["--preserve-fds", "3"]).run().exits(1).fails().one_line();
            t.nothing_left(&b.id);
        });
}

/// LISTEN_FDS without a LISTEN_PID that names the runtime belongs to someone else.
#[test]
fn listen_fds_of_someone_else_are_not_passed() {
    contract!(Root).differs("crun", "looks at LISTEN_FDS only").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]);
        let file = File::open("/dev/zero").unwrap();
        let out = t.call_run(&b, &[]).env("LISTEN_FDS", "1").env("LISTEN_PID", "1").fd(file, 3).ok();
        assert_eq!(numbers(&parse_report(&out.stdout)), [0, 1, 2]);
    });
}

#[test]
fn listen_fds_are_passed_with_the_containers_pid() {
    contract!(Root).differs("crun", "leaves LISTEN_FDS out of the environment").run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]).write();
        let rt = crate::harness::runtime::get().path.display().to_string();
        let script = format!(
            "export LISTEN_FDS=2; exec 3</dev/zero 4</dev/full 5</dev/null; export LISTEN_PID=$$; \
             exec '{rt}' --root '{}' run --bundle '{}' {}",
            t.root.display(),
            b.dir.display(),
            b.id
        );
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let r = parse_report(&String::from_utf8_lossy(&out.stdout));
        assert_eq!(numbers(&r), [0, 1, 2, 3, 4], "{}", String::from_utf8_lossy(&out.stderr));
        let env = r["env"].as_array().unwrap();
        assert!(env.contains(&json!("LISTEN_FDS=2")) && env.contains(&json!("LISTEN_PID=1")), "{env:?}");
        assert_eq!(of(&r, "fds/4/target").as_str(), Some("/dev/full"));
    });
}

#[test]
fn listen_fds_come_before_the_preserved_ones() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/guest", "report"]).write();
        let rt = crate::harness::runtime::get().path.display().to_string();
        let script = format!(
            "export LISTEN_FDS=1; exec 3</dev/zero 4</dev/full 5</dev/null; export LISTEN_PID=$$; \
             exec '{rt}' --root '{}' run --preserve-fds 1 --bundle '{}' {}",
            t.root.display(),
            b.dir.display(),
            b.id
        );
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let r = parse_report(&String::from_utf8_lossy(&out.stdout));
        assert_eq!(numbers(&r), [0, 1, 2, 3, 4], "{}", String::from_utf8_lossy(&out.stderr));
    });
}

/// Pipes and files on 0 to 2 are given to the container's user, so that /dev/stderr can be opened again.
#[test]
fn stdio_is_given_to_the_containers_user() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 })).shell("echo x > /dev/stderr");
        let (read, write) = nix::unistd::pipe().unwrap();
        let watch = write.try_clone().unwrap();
        t.call_create(&b, &[]).stdio(2, write).ok();
        let meta = File::from(watch).metadata().unwrap();
        assert_eq!(meta.uid(), 1000);
        t.start(&b).ok();
        let mut text = [0; 2];
        File::from(read).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"x\n");
    });
}

#[test]
fn the_hosts_dev_null_keeps_its_owner_and_is_replaced_by_the_containers() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 }));
        std::os::unix::fs::chown(b.host("/home/user"), Some(1000), None).unwrap();
        b.args(&["/guest", "file", "/home/user/r.json", "stat:/dev/null"]);
        let before = std::fs::metadata("/dev/null").unwrap();
        t.create(&b).ok();
        t.start(&b).ok();
        let r = parse_report(&wait_file(&b.host("/home/user/r.json")));
        let after = std::fs::metadata("/dev/null").unwrap();
        assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
        assert_eq!(of(&r, "fds/0/target"), "/dev/null");
    });
}

/// A host's terminal that is passed on stays whose it is: the user of a container could read what is typed there.
#[test]
fn the_callers_terminal_keeps_its_owner() {
    contract!(Root).run(|t| {
        let master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let unlocked: libc::c_int = 0;
        // SAFETY: a live descriptor, and an int that is only read.
        assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }, 0);
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: plain numbers; the answer is a new descriptor of ours.
        let slave = unsafe {
            let number = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags);
            assert!(number >= 0);
            File::from_raw_fd(number)
        };
        let owner = || slave.metadata().unwrap().uid();
        let before = owner();
        assert_ne!(before, 1000);
        let b = t.running();
        let own = || slave.try_clone().unwrap();
        let call = t.call(&["exec", "--user", "1000:1000", &b.id, "/bin/true"]);
        call.stdio(0, own()).stdio(1, own()).stdio(2, own()).ok();
        assert_eq!(owner(), before);
        let b = t.bundle();
        b.set("process/user", json!({ "uid": 1000, "gid": 1000 })).args(&["/bin/true"]);
        t.call_run(&b, &[]).stdio(0, own()).stdio(1, own()).stdio(2, own()).ok();
        assert_eq!(owner(), before);
    });
}

fn notify_socket(t: &crate::harness::Test) -> (UnixDatagram, String) {
    let path = t.dir.join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

/// READY=1 of the program reaches the caller's socket, with the pid as the caller knows it.
#[test]
fn sd_notify_is_forwarded() {
    contract!(Root, Tool("python3")).differs("crun", "1.8.1 hands the socket itself on").run(|t| {
        let b = t.bundle();
        b.shell(
            "echo $NOTIFY_SOCKET > /where; ls -ld $NOTIFY_SOCKET; \
             while ! test -e /go; do sleep 0.05; done; sleep 1000",
        );
        let (socket, path) = notify_socket(t);
        let call = t.call_create(&b, &[]).env("NOTIFY_SOCKET", &path);
        call.ok();
        let running = t.call(&["start", &b.id]).env("NOTIFY_SOCKET", &path).spawn();
        let inside = wait_file(&b.host("/where"));
        assert_eq!(inside.trim(), "/run/notify/notify.sock");
        let pid = t.pid(&b.id);
        let target = format!("/proc/{pid}/root/run/notify/notify.sock");
        assert!(wait_until(Duration::from_secs(5), || std::path::Path::new(&target).exists()));
        // One too many, which must not cost the first one its socket.
        t.call(&["start", &b.id]).env("NOTIFY_SOCKET", &path).run().fails();
        send_ready(&target);
        let mut seen = String::new();
        let mut buf = [0; 4096];
        while !(seen.contains("READY=1") && seen.contains(&format!("MAINPID={pid}"))) {
            let n = socket.recv(&mut buf).expect("READY=1 and MAINPID arrive");
            seen.push_str(&String::from_utf8_lossy(&buf[..n]));
            seen.push('\n');
        }
        t.rt(&["kill", &b.id, "KILL"]).ok();
        running.wait().ok();
    });
}

fn send_ready(target: &str) {
    let code = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); \
                s.connect(sys.argv[1]); s.send(b'READY=1\\n')";
    let done = std::process::Command::new("python3").args(["-c", code, target]).status().unwrap();
    assert!(done.success());
}

#[test]
fn without_notify_socket_nothing_is_added() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        let r = t.report(&b, &["stat:/run/notify"]);
        assert_eq!(of(&r["probes"], "stat:~1run~1notify/errno"), 2);
        assert!(!r["env"].to_string().contains("NOTIFY_SOCKET"));
    });
}

/// A socket pair, not a file: nothing is copied through pipes of the runtime's own.
#[test]
fn sockets_work_as_stdio() {
    contract!(Root).run(|t| {
        let b = t.bundle();
        b.args(&["/bin/echo", "hello"]);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
        t.call_run(&b, &[]).stdio(1, theirs).ok();
        let mut buf = [0; 16];
        let n = recv(ours.as_raw_fd(), &mut buf, MsgFlags::empty()).unwrap();
        assert_eq!(&buf[..n], b"hello\n");
    });
}
