//! Terminals: the console socket, size, owner, the relay in the foreground; for the container's first process and for
//! one that joins (contract §0.6, §1.6).

use crate::contract;
use crate::harness::exec::{end, process_file};
use crate::harness::socket::{Message, Receiving};
use crate::harness::test::{parse_report, wait_file};
use crate::harness::{Bundle, Test, of};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The two ways to a process.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Create,
    Exec,
}

const WAYS: [Way; 2] = [Way::Create, Way::Exec];

impl Way {
    /// A bundle whose container has the fields of `process`, or one that runs and a file with them.
    fn prepare(self, t: &Test, process: Value) -> (Bundle, Option<String>) {
        if self == Way::Exec {
            return (t.running(), Some(process_file(t, process)));
        }
        let b = t.bundle();
        for (key, value) in process.as_object().unwrap() {
            b.set(&format!("process/{key}"), value.clone());
        }
        (b, None)
    }

    /// `create`, or a detached `exec`, with `options`.
    fn call<'t>(
        self,
        t: &'t Test,
        b: &Bundle,
        file: Option<&str>,
        options: &[&str],
    ) -> crate::harness::call::Call<'t> {
        match file {
            None => t.call_create(b, options),
            Some(file) => {
                t.call(&[&["exec", "--detach", "--process", file], options, &[b.id.as_str()]].concat())
            }
        }
    }

    /// Detached, with its terminal at a console socket; started.
    fn detached(self, t: &Test, process: Value) -> (Bundle, Message) {
        let mut process = process;
        process["terminal"] = json!(true);
        let (b, file) = self.prepare(t, process);
        let path = t.fresh("console.sock");
        let receiving = Receiving::at(&path);
        self.call(t, &b, file.as_deref(), &["--console-socket", path.to_str().unwrap()]).ok();
        let message = receiving.take();
        if self == Way::Create {
            t.start(&b).ok();
        }
        (b, message)
    }

    /// In the foreground below `before`, without a terminal of ours on stdin: what it writes, and its status.
    fn foreground(self, t: &Test, before: &[&str], process: Value) -> (Bundle, String, Option<i32>) {
        let (b, file) = self.prepare(t, process);
        b.write();
        let rt = crate::harness::runtime::get().path.display().to_string();
        let rest = match &file {
            None => format!("run --bundle '{}' {}", b.dir.display(), b.id),
            Some(file) => format!("exec --process '{file}' {}", b.id),
        };
        let line = format!("exec '{rt}' --root '{}' {rest}", t.root.display());
        let mut command = Command::new("timeout");
        command.arg("10").args(before).args(["-c", &line]);
        if before.first() == Some(&"script") {
            command.arg("/dev/null");
        }
        let out = command.stdin(Stdio::null()).output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (b, String::from_utf8_lossy(&text).into_owned(), out.status.code())
    }
}

/// Reads the terminal until it has shown `mark`.
fn read_until(master: &mut File, mark: &str) -> String {
    let mut text = Vec::new();
    let mut buf = [0; 256];
    while !String::from_utf8_lossy(&text).contains(mark) {
        let n = master.read(&mut buf).unwrap();
        text.extend_from_slice(&buf[..n]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn socket_option(path: &Path) -> [&str; 2] {
    ["--console-socket", path.to_str().unwrap()]
}

#[test]
fn the_console_socket_gets_the_master() {
    contract!(Root).run(|t| {
        for way in WAYS {
            let command = ["/guest", "file", "/report.json", "stat:/dev/console", "open-rw:/dev/tty"];
            let (b, message) = way.detached(t, json!({ "args": command }));
            assert_eq!((message.rights, message.fds.len()), (1, 1), "{way:?}");
            assert!(!message.data.is_empty() && message.data.len() < 4096, "{way:?}");
            let r = parse_report(&wait_file(&b.host("/report.json")));
            assert_eq!(of(&r, "tty/isatty"), &json!([true, true, true]), "{way:?}");
            assert_ne!(of(&r, "tty/tty_nr"), 0, "a controlling terminal");
            assert_eq!(of(&r["probes"], "open-rw:~1dev~1tty/errno"), 0);
            assert!(of(&r, "fds/0/target").as_str().unwrap().starts_with("/dev/pts/"), "{way:?}");
            let numbers: Vec<_> =
                r["fds"].as_array().unwrap().iter().map(|f| f["fd"].as_i64().unwrap()).collect();
            assert_eq!(numbers, [0, 1, 2], "{way:?}");
            match way {
                Way::Create => assert_eq!(of(&r["probes"], "stat:~1dev~1console/type"), "char"),
                Way::Exec => assert_eq!(r["sid"], r["pid"]),
            }
            end(t, &b);
        }
    });
}

#[test]
fn the_terminal_has_its_size() {
    contract!(Root).wavers("crun", "its exec sets the size when the program may run already").run(|t| {
        for way in WAYS {
            let size = json!({ "height": 33, "width": 77 });
            let command = ["/guest", "file", "/report.json"];
            let (b, _message) = way.detached(t, json!({ "consoleSize": size, "args": command }));
            let r = parse_report(&wait_file(&b.host("/report.json")));
            assert_eq!(of(&r, "tty/size"), &json!([33, 77]), "{way:?}");
            end(t, &b);
        }
    });
}

#[test]
fn the_terminal_carries_input_and_output() {
    contract!(Root).run(|t| {
        for way in WAYS {
            let command = ["/bin/sh", "-c", "read x; echo got $x; read y"];
            let (b, mut message) = way.detached(t, json!({ "args": command }));
            let mut master = File::from(message.fds.remove(0));
            master.write_all(b"line\n").unwrap();
            let text = read_until(&mut master, "got line\r\n");
            assert!(text.starts_with("line\r\n"), "{way:?}: echo and ONLCR stay on: {text:?}");
            end(t, &b);
        }
    });
}

#[test]
fn the_terminal_belongs_to_the_user() {
    contract!(Root).differs("crun", "leaves it to root in exec").run(|t| {
        for way in WAYS {
            // A directory that the user may write to, whoever makes the rootfs.
            let report = "/tmp/r.json";
            let command = ["/guest", "file", report, "stat:/proc/self/fd/0", "open-rw:/proc/self/fd/0"];
            let (b, _message) =
                way.detached(t, json!({ "user": { "uid": 1000, "gid": 1000 }, "args": command, "cwd": "/" }));
            let r = parse_report(&wait_file(&b.host(report)));
            assert_eq!(of(&r["probes"], "stat:~1proc~1self~1fd~10/uid"), 1000, "{way:?}");
            assert_eq!(of(&r["probes"], "open-rw:~1proc~1self~1fd~10/errno"), 0, "{way:?}");
            end(t, &b);
        }
    });
}

#[test]
fn a_console_socket_path_beyond_107_bytes_works() {
    contract!(Root).differs("runc", "1.1.5 cannot").run(|t| {
        for way in WAYS {
            let (b, file) = way.prepare(t, json!({ "terminal": true, "args": ["/guest", "pause"] }));
            let deep = t.fresh_dir("deep").join("d".repeat(100)).join("e".repeat(60));
            std::fs::create_dir_all(&deep).unwrap();
            let here = std::env::current_dir().unwrap();
            std::env::set_current_dir(&deep).unwrap();
            let receiving = Receiving::at(Path::new("s"));
            std::env::set_current_dir(here).unwrap();
            way.call(t, &b, file.as_deref(), &socket_option(&deep.join("s"))).ok();
            assert_eq!(receiving.take().fds.len(), 1, "{way:?}");
            end(t, &b);
        }
    });
}

#[test]
fn console_socket_without_a_terminal_fails() {
    contract!(Root).differs("crun", "ignores it").run(|t| {
        for way in WAYS {
            let (b, file) = way.prepare(t, json!({ "terminal": false, "args": ["/bin/true"] }));
            let path = t.fresh("console.sock");
            let receiving = Receiving::at(&path);
            let out = way.call(t, &b, file.as_deref(), &socket_option(&path)).run();
            out.fails().fails_naming(&["console", "terminal", "tty"]).one_line();
            assert!(receiving.is_empty(), "{way:?}");
            if way == Way::Create {
                t.nothing_left(&b.id);
            }
        }
    });
}

#[test]
fn a_detached_terminal_without_a_console_socket_fails() {
    contract!(Root).run(|t| {
        for way in WAYS {
            let (b, file) = way.prepare(t, json!({ "terminal": true, "args": ["/bin/true"] }));
            let out = way.call(t, &b, file.as_deref(), &[]).run();
            out.fails().fails_naming(&["console", "terminal", "tty", "tcgetattr"]).one_line();
            if way == Way::Create {
                t.nothing_left(&b.id);
                t.call_run(&b, &["--detach"]).run().exits(1).fails_naming(&["console", "terminal", "tty"]);
                t.nothing_left(&b.id);
            }
        }
    });
}

#[test]
fn a_console_socket_that_nobody_listens_on_is_a_failure() {
    contract!(Root).run(|t| {
        for way in WAYS {
            let (b, file) = way.prepare(t, json!({ "terminal": true, "args": ["/bin/true"] }));
            way.call(t, &b, file.as_deref(), &["--console-socket", "/no/such/socket"])
                .run()
                .fails()
                .one_line();
            if way == Way::Create {
                t.nothing_left(&b.id);
            }
        }
    });
}

/// `script` gives the foreground a terminal of its own.
#[test]
fn a_foreground_terminal_is_relayed() {
    contract!(Root, Tool("script")).run(|t| {
        for way in WAYS {
            let command = ["/bin/sh", "-c", "test -t 0 && test -t 1 && echo is-a-tty; exit 5"];
            let process = json!({ "terminal": true, "args": command });
            let (_, text, code) = way.foreground(t, &["script", "-qe"], process);
            assert!(text.contains("is-a-tty"), "{way:?}: {text}");
            assert_eq!(code, Some(5), "{way:?}: {text}");
        }
    });
}

#[test]
fn a_foreground_terminal_without_one_outside_fails() {
    contract!(Root).differs("crun", "exec ends with 1").run(|t| {
        for way in WAYS {
            let process = json!({ "terminal": true, "args": ["/bin/true"] });
            let (b, text, code) = way.foreground(t, &["setsid", "-w", "sh"], process);
            assert_eq!(code, Some(if way == Way::Create { 1 } else { 255 }), "{way:?}: {text}");
            if way == Way::Create {
                t.nothing_left(&b.id);
            }
        }
    });
}

/// `--tty` without a process file.
#[test]
fn exec_has_a_flag_for_the_terminal() {
    contract!(Root).differs("crun", "ignores a socket without a terminal").run(|t| {
        let b = t.running();
        let path = t.fresh("console.sock");
        let receiving = Receiving::at(&path);
        let socket = path.to_str().unwrap();
        let shell = ["/bin/sh", "-c", "test -t 0 && echo tty; read x"];
        t.rt(&[&["exec", "-d", "-t", "--console-socket", socket, b.id.as_str()], &shell[..]].concat()).ok();
        read_until(&mut File::from(receiving.take().fds.remove(0)), "tty\r\n");
        end(t, &b);
        for options in [&["-d", "-t"][..], &["-d", "--console-socket", socket]] {
            let out = t.rt(&[&["exec"], options, &[b.id.as_str(), "/bin/true"]].concat());
            out.exits(255).fails_naming(&["console", "tty"]);
        }
    });
}

/// Starts a runtime on a terminal of its own, waits for "ready" and then, as told, closes the terminal; prints how the
/// runtime has ended.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys
how, line = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    if how == "nohup":
        os.dup2(os.open("/dev/null", os.O_WRONLY), 0)
    os.execv(line[0], line)
text = b""
while b"ready" not in text:
    text += os.read(terminal, 1000)
if how == "hangup":
    os.close(terminal)
while how == "nohup":
    try:
        os.read(terminal, 1000)
    except OSError:
        break
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn on_a_terminal(t: &Test, how: &str, script: &str) -> (Bundle, String) {
    let process = json!({ "terminal": true, "args": ["/bin/sh", "-c", script] });
    let (b, _) = Way::Create.prepare(t, process);
    b.write();
    let rt = crate::harness::runtime::get().path.clone();
    let mut command = Command::new("timeout");
    command.args(["20", "python3", "-c", ON_A_TERMINAL, how]).arg(rt).arg("--root").arg(&t.root);
    command.args(["run", "--bundle"]).arg(&b.dir).arg(&b.id);
    let out = command.stdin(Stdio::null()).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (b, String::from_utf8_lossy(&text).trim().to_owned())
}

/// The window is closed: SIGHUP and SIGCONT come, and no ioctl of the terminal works any more. The program has its time.
#[test]
fn a_closed_window_leaves_the_program_its_time() {
    contract!(Root, Tool("python3")).run(|t| {
        let script = "trap 'sleep 0.5; echo bye > /bye; exit 3' HUP; echo ready; while :; do sleep 0.1; done";
        let (b, text) = on_a_terminal(t, "hangup", script);
        assert_eq!(text, "3");
        assert_eq!(std::fs::read_to_string(b.host("/bye")).unwrap_or_default(), "bye\n");
    });
}

/// nohup(1) leaves a standard input that cannot be read.
#[test]
fn an_unreadable_input_is_an_ended_one() {
    contract!(Root, Tool("python3")).differs("crun", "cannot read it, and ends").run(|t| {
        let (_, text) = on_a_terminal(t, "nohup", "echo ready; sleep 0.5; exit 4");
        assert_eq!(text, "4");
    });
}
