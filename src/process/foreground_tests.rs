//! The loop reaps every child and reads every signal of its process, so each case runs in a process of its
//! own: this test binary again, with the one test [`runtime`] and a shell script as the container.

use super::*;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::event::{Timespec, poll};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const SCRIPT: &str = "ORLOP_TEST_SCRIPT";
const TERMINAL: &str = "ORLOP_TEST_TERMINAL";

/// The part of the runtime. Ends the process with the exit code that `wait` returns, 250 on an error.
#[test]
#[ignore = "the other tests start it"]
fn runtime() {
    let Ok(script) = std::env::var(SCRIPT) else { return };
    let code = match foreground(&script, std::env::var(TERMINAL).is_ok()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("{e}");
            250
        }
    };
    std::process::exit(code)
}

fn foreground(script: &str, terminal: bool) -> Result<i32> {
    let signals = begin()?;
    adopt_orphans()?;
    let shell = ["sh", "-c", script];
    let (child, relay) = if terminal {
        let host = crate::console::relay::host_terminal()?;
        let (master, slave) = pty();
        let relay = Relay::start(host, master)?;
        let child = container(
            Command::new("setsid")
                .args(["--ctty", "--wait"])
                .args(shell)
                .stdin(slave.try_clone().unwrap())
                .stdout(slave.try_clone().unwrap())
                .stderr(slave),
        );
        (child, Some(relay))
    } else {
        (container(Command::new("sh").args(["-c", script])), None)
    };
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).call("pidfd_open")?;
    println!("blocked");
    let code = wait(&signals, pidfd.as_fd(), pid, relay, None, &mut Vec::new())?;
    let left = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    if left.is_empty() { Ok(code) } else { Err(Error::new(format!("children left: {left}"))) }
}

/// The container has nothing blocked, as init sees to it.
fn container(command: &mut Command) -> Child {
    spawn_with(&SigSet::empty(), command)
}

/// Children inherit the mask of the thread that makes them.
fn spawn_with(mask: &SigSet, command: &mut Command) -> Child {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), Some(&mut before)).unwrap();
    let child = command.spawn().unwrap();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).unwrap();
    child
}

/// The runtime: a test program has a second thread, so that everything must be blocked from its beginning.
fn spawn(command: &mut Command) -> Child {
    spawn_with(&SigSet::all(), command)
}

fn pty() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&master).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    (master, slave)
}

fn ourselves(wrapper: Option<&[&str]>, script: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        Some([program, args @ ..]) => {
            let mut command = Command::new(program);
            command.args(args).arg(exe);
            command
        }
        _ => Command::new(exe),
    };
    command
        .args([
            "--exact",
            "process::foreground::tests::runtime",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(SCRIPT, script);
    command
}

/// The exit code after `on_line` was called once "ready" came; a test that hangs fails instead.
fn run(script: &str, on_ready: impl FnOnce(Pid)) -> (i32, String) {
    let mut child =
        spawn(ourselves(None, script).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()));
    let mut stdout = child.stdout.take().unwrap();
    let mut text = Vec::new();
    let mut on_ready = Some(on_ready);
    let mut block = [0; 4096];
    loop {
        let length = stdout.read(&mut block).unwrap();
        text.extend_from_slice(&block[..length]);
        let shown = String::from_utf8_lossy(&text);
        // Making the container unblocks everything for a moment, here only.
        if shown.contains("ready")
            && shown.contains("blocked")
            && let Some(on_ready) = on_ready.take()
        {
            on_ready(Pid::from_child(&child));
        }
        if length == 0 {
            break;
        }
    }
    let status = child.wait().unwrap();
    (status.code().unwrap_or_else(|| -status.signal().unwrap()), String::from_utf8_lossy(&text).into())
}

#[test]
fn exit_codes() {
    assert_eq!(run("exit 7", |_| ()).0, 7);
    assert_eq!(run("kill -9 $$", |_| ()).0, 137);
    assert_eq!(run("exit 0", |_| ()).0, 0);
}

/// Dash loses a signal that comes within its vfork(2), and sleeps over one that comes just before a read(2): so it is to
/// wait for a child that it has already.
fn wait_saying(word: &str) -> String {
    let child = "sleep 60 </dev/null >/dev/null 2>&1 & s=$!; trap 'kill -9 $s' EXIT";
    format!("{child}; echo {word}; while kill -0 $s; do wait; done; exit 99")
}

#[test]
fn signals_reach_the_process() {
    let loop_ = wait_saying("ready");
    let (code, _) =
        run(&format!("trap 'exit 9' TERM; {loop_}"), |pid| kill_process(pid, Signal::TERM).unwrap());
    assert_eq!(code, 9);
    let (code, _) = run(&format!("trap 'exit 11' 36; {loop_}"), |pid| {
        Command::new("kill").args(["-36", &pid.as_raw_pid().to_string()]).status().unwrap();
    });
    assert_eq!(code, 11, "a real-time signal");
    let script = format!("trap 'exit 1' URG CHLD WINCH; trap 'exit 9' HUP; {loop_}");
    let (code, _) = run(&script.replace("CHLD ", ""), |pid| {
        for signal in [Signal::URG, Signal::WINCH, Signal::CHILD, Signal::HUP] {
            kill_process(pid, signal).unwrap();
        }
    });
    assert_eq!(code, 9, "only HUP is passed on");
}

#[test]
fn orphans_are_reaped() {
    // The grandchildren outlive their parents and die before the process does.
    let (code, _) = run("for i in 1 2 3; do (sleep 0.1 &) ; done; sleep 0.5; exit 3", |_| ());
    assert_eq!(code, 3, "250 if children were left");
}

/// The operator's shell. It leads the session, whose end hangs the terminal up and resets its modes. It also
/// unblocks all signals, and who runs the tests in the background may ignore some (a shell cannot trap those): hence env.
const SESSION: &str = r#"env --default-signal --block-signal "$@"; code=$?; stty -a; exit $code"#;

/// A terminal with an operator: everything shown on it is collected until the command ends.
struct Operator {
    master: OwnedFd,
    slave: OwnedFd,
    child: Child,
    shown: String,
}

impl Operator {
    fn start(script: &str) -> Self {
        let (master, slave) = pty();
        resize(&master, 30, 90);
        let child = spawn(
            ourselves(Some(&["setsid", "--ctty", "--wait", "sh", "-c", SESSION, "sh"]), script)
                .env(TERMINAL, "1")
                .stdin(slave.try_clone().unwrap())
                .stdout(slave.try_clone().unwrap())
                .stderr(slave.try_clone().unwrap()),
        );
        Self { master, slave, child, shown: String::new() }
    }

    fn read(&mut self, milliseconds: i64) {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        if poll(&mut fds, Some(&time)).unwrap() > 0 {
            let mut block = [0; 4096];
            let length = rustix::io::read(&self.master, &mut block).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&block[..length]));
        }
    }

    fn wait_for(&mut self, words: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.shown.contains(words) {
            let ended = self.child.try_wait().unwrap();
            self.read(100);
            if ended.is_some() {
                // A read gives what came in one piece: the last words may be in several.
                (0..20).for_each(|_| self.read(20));
            }
            let found = self.shown.contains(words);
            assert!(found || ended.is_none(), "{ended:?} without `{words}`: {}", self.shown);
            assert!(found || Instant::now() < end, "no `{words}` in {}", self.shown);
        }
    }

    fn type_in(&self, text: &str) {
        rustix::io::write(&self.master, text.as_bytes()).unwrap();
    }

    fn end(mut self) -> (i32, String) {
        let end = Instant::now() + Duration::from_secs(20);
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code().unwrap();
            }
            assert!(Instant::now() < end, "does not end: {}", self.shown);
            self.read(20);
        };
        for _ in 0..50 {
            self.read(2);
        }
        (code, self.shown)
    }
}

fn resize(master: &OwnedFd, rows: u16, columns: u16) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

#[test]
fn a_terminal_is_relayed_and_restored() {
    // Without noflsh the terminal throws away what is written while it is still at sending the signal.
    let mut operator = Operator::start(&format!(
        "stty size; stty noflsh; trap 'stty size; echo sized' WINCH; trap 'echo interrupted; exit 6' INT; echo ready; \
         read x; echo got=$x; {}",
        wait_saying("again")
    ));
    operator.wait_for("blocked");
    operator.wait_for("ready\r\n");
    assert!(operator.shown.contains("30 90\r\n"));
    let during = tcgetattr(&operator.slave).unwrap();
    assert!(!during.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    operator.type_in("hello\r");
    operator.wait_for("hello\r\ngot=hello\r\nagain\r\n");
    resize(&operator.master, 44, 111);
    operator.wait_for("44 111\r\nsized\r\n");
    operator.type_in("\x03");
    operator.wait_for("interrupted\r\n");
    let (code, shown) = operator.end();
    assert_eq!(code, 6);
    let modes = shown.rsplit("interrupted").next().unwrap();
    for mode in ["icanon", "echo", "isig", "onlcr", "icrnl"] {
        assert!(
            modes.contains(&format!(" {mode} ")) || modes.contains(&format!("\n{mode} ")),
            "{mode}: {modes}"
        );
    }
}

#[test]
fn no_byte_is_lost_at_the_end() {
    for _ in 0..5 {
        let (code, shown) = Operator::start("sleep 0.2; seq 1 5000; exit 4").end();
        assert_eq!(code, 4);
        let wanted: String = (1..=5000).map(|n| format!("{n}\r\n")).collect();
        assert!(shown.contains(&wanted), "{} bytes", shown.len());
    }
}

#[test]
fn a_closed_terminal_may_be_opened_again() {
    let operator = Operator::start(
        "t=$(tty); exec </dev/null >/dev/null 2>&1; sleep 0.5; echo back >$t; sleep 0.3; echo twice >$t; exit 2",
    );
    let (code, shown) = operator.end();
    assert_eq!(code, 2);
    assert!(shown.contains("back\r\n") && shown.contains("twice\r\n"), "{shown}");
}

#[test]
fn an_error_restores_the_terminal() {
    // The relay is dropped, not finished, when something goes wrong before the wait.
    let (host, host_slave) = pty();
    let (master, _slave) = pty();
    let before = tcgetattr(&host_slave).unwrap();
    let clone = |fd: &OwnedFd| fd.try_clone().unwrap();
    let relay = Relay::start(clone(&host_slave), master).unwrap();
    assert_ne!(tcgetattr(&host_slave).unwrap().local_modes, before.local_modes);
    drop(relay);
    assert_eq!(tcgetattr(&host_slave).unwrap().local_modes, before.local_modes);
    drop(host);
}
