//! One test = one process. The test function that libtest calls (the parent) decides whether to skip, then runs
//! the test binary again for this one test; in there (the child) the closure runs, as a subreaper in a mount
//! namespace of its own. So a test may change its directory, umask, limits and mounts, orphaned containers become
//! its children, whatever still lives at its end is a leak, and a hang ends by killing one process.

use super::needs::Need;
use super::test::{Test, slow};
use super::{leftovers, runtime};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, Once};
use std::time::{Duration, Instant};

const CASE: &str = "CONTRACT_CASE";
const DIR: &str = "CONTRACT_DIR";

pub struct Case {
    name: String,
    needs: Vec<Need>,
    differs: Vec<(&'static str, &'static str)>,
    wavers: Vec<(&'static str, &'static str)>,
    ours_only: Option<&'static str>,
    seconds: u64,
}

impl Case {
    /// `here` is the full path of a function inside the test function: `contract::kill::bogus_signal::here`.
    pub fn new(here: &str, needs: Vec<Need>) -> Self {
        let inner = here.split_once("::").map_or(here, |(_, rest)| rest);
        let name = inner.strip_suffix("::here").unwrap_or(inner).to_owned();
        Self { name, needs, differs: Vec::new(), wavers: Vec::new(), ours_only: None, seconds: 60 }
    }

    /// This runtime is known to fail the test, and why. It is run all the same: passing is then the surprise.
    pub fn differs(mut self, runtime: &'static str, why: &'static str) -> Self {
        self.differs.push((runtime, why));
        self
    }

    /// This runtime fails the test now and then, and why: both outcomes are taken.
    pub fn wavers(mut self, runtime: &'static str, why: &'static str) -> Self {
        self.wavers.push((runtime, why));
        self
    }

    /// Asks for something that is ours alone; other runtimes are not asked.
    pub fn ours_only(mut self, why: &'static str) -> Self {
        self.ours_only = Some(why);
        self
    }

    /// The time for the whole test; each runtime call has its own, shorter one.
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    pub fn run(self, body: impl FnOnce(&Test)) {
        if std::env::var(CASE).is_ok_and(|case| case == self.name) {
            let dir = std::env::var_os(DIR).expect("CONTRACT_DIR");
            return inside(Path::new(&dir), body);
        }
        let rt = runtime::get();
        if let (Some(why), false) = (self.ours_only, rt.is_ours()) {
            return say("ours-only", &self.name, why);
        }
        for need in &self.needs {
            let Err(reason) = need.probe() else { continue };
            let promised = std::env::var("NEEDS_HAVE").unwrap_or_default();
            if promised.split(',').any(|p| p == need.name()) {
                panic!("{}: NEEDS_HAVE promises {} but: {reason}", self.name, need.name());
            }
            return say("skip", &self.name, &reason);
        }
        let _slot = Slot::take();
        static SWEPT: Once = Once::new();
        SWEPT.call_once(leftovers::sweep_abandoned);
        let outcome = self.outside();
        let mark = self.differs.iter().find(|(name, _)| rt.is(name)).map(|(_, why)| *why);
        let mark_or = self.wavers.iter().find(|(name, _)| rt.is(name)).map(|(_, why)| *why);
        match (outcome, mark.or(mark_or)) {
            (Ok(()), Some(_)) if mark.is_none() => {}
            (Ok(()), None) => {}
            (Err(text), None) => panic!("{} with {}:\n{text}", self.name, rt.name),
            (Err(text), Some(why)) => {
                say("differs", &self.name, why);
                if std::env::var_os("CONTRACT_SHOW").is_some() {
                    say("differs", &self.name, &text);
                }
            }
            (Ok(()), Some(why)) if rt.is_marked_release() => {
                panic!("{}: {} passes although it is marked as different: {why}", self.name, rt.name)
            }
            (Ok(()), Some(_)) => say("agrees", &self.name, &format!("{} no longer differs", rt.version)),
        }
    }

    /// Runs the child and says what went wrong, with all that it printed.
    fn outside(&self) -> Result<(), String> {
        let dir = tempfile::Builder::new().prefix("oct-").tempdir().expect("a temporary directory");
        let log = dir.path().join("log");
        let file = std::fs::File::create(&log).expect("log");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args([self.name.as_str(), "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CASE, &self.name).env(DIR, dir.path()).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
        command.stdout(file.try_clone().expect("log")).stderr(file);
        // crun 1.8.1 refuses a hybrid host that has a controller on the v2 side.
        let has_controllers = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers")
            .is_ok_and(|text| !text.trim().is_empty());
        let hide_unified = runtime::get().is("crun") && has_controllers;
        // SAFETY: between fork and exec only system calls are made, no allocation.
        unsafe { command.pre_exec(move || settle(hide_unified)) };
        let mut child = command.spawn().expect("start the test process");
        let status = wait_at_most(&mut child, slow(self.seconds));
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{status}\n{text}")),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                leftovers::sweep(&prefix(child.id()));
                Err(format!("hung for {:?}\n{text}", slow(self.seconds)))
            }
        }
    }
}

/// In the child, before exec: a subreaper that dies with the suite, in a mount namespace whose mounts are shared
/// among themselves as on a systemd host (so that a runtime which forgets to make its mounts private is seen).
fn settle(hide_unified: bool) -> std::io::Result<()> {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
    if hide_unified {
        let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
    }
    mount(none, "/", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none)?;
    Ok(())
}

pub fn prefix(pid: u32) -> String {
    format!("oct{pid}x")
}

/// The child's whole life: the closure, then the cleaning, then the search for leftovers. A panic anywhere makes
/// the process exit with 101, as libtest has it.
fn inside(dir: &Path, body: impl FnOnce(&Test)) {
    let test = Test::new(PathBuf::from(dir), prefix(std::process::id()));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&test)));
    let left = test.finish();
    if let Err(panic) = outcome {
        if !left.is_empty() {
            eprintln!("also left behind: {}", left.join("; "));
        }
        std::panic::resume_unwind(panic);
    }
    assert!(left.is_empty(), "left behind: {}", left.join("; "));
}

fn wait_at_most(child: &mut std::process::Child, limit: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("wait for the test process") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Straight to descriptor 2: libtest swallows what a passing test prints.
fn say(what: &str, name: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("{what}: {name}: {why}\n").as_bytes());
}

/// At most `CONTRACT_JOBS` (2) tests run at a time, whatever --test-threads says: they have deadlines.
struct Slot;

static BUSY: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Slot {
    fn take() -> Self {
        let limit = std::env::var("CONTRACT_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
        let busy = BUSY.lock().unwrap_or_else(|e| e.into_inner());
        let mut busy = FREED.wait_while(busy, |n| *n >= limit).unwrap_or_else(|e| e.into_inner());
        *busy += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(|e| e.into_inner()) -= 1;
        FREED.notify_one();
    }
}
