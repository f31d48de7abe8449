//! The search for what a test left on the host: processes, mounts, cgroups, entries in the state root.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct Hierarchy {
    pub mount: PathBuf,
    /// Options of the super block: controllers among them on v1; empty on v2.
    pub options: Vec<String>,
    pub v2: bool,
}

impl Hierarchy {
    pub fn has(&self, controller: &str) -> bool {
        !self.v2 && self.options.iter().any(|o| o == controller)
    }
}

/// This thread's mount table. (The process is single-threaded in its own mount namespace by the time it matters.)
pub fn mountinfo() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub fn hierarchies() -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mountinfo() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mount = left.split(' ').nth(4).unwrap_or_default();
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next(), right.next(), right.next().unwrap_or_default());
        if !mount.starts_with("/sys/fs/cgroup") || !matches!(kind, Some("cgroup" | "cgroup2")) {
            continue;
        }
        let options = options.split(',').map(str::to_owned).collect();
        found.push(Hierarchy { mount: mount.into(), options, v2: kind == Some("cgroup2") });
    }
    found
}

/// Directories below every hierarchy whose name contains `text`; what lies below them belongs to them.
pub fn cgroups(text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        walk(&hierarchy.mount, text, &mut found);
    }
    found
}

fn walk(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        if entry.file_name().to_string_lossy().contains(text) {
            found.push(entry.path());
        } else {
            walk(&entry.path(), text, found);
        }
    }
}

/// Parent and state letter of a process, from /proc/PID/stat.
pub fn parent_and_state(pid: i32) -> Option<(i32, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

pub fn children() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent_and_state(*pid).is_some_and(|(parent, _)| parent == own)).collect()
}

/// Reaps every child that has ended.
pub fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

fn command_line(pid: i32) -> String {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw).replace('\0', " ").trim().to_owned()
}

/// Children that are still there after five seconds, which killed ones may need on a busy host; they are killed.
pub fn processes() -> Vec<String> {
    let begin = Instant::now();
    loop {
        reap();
        let left = children();
        if left.is_empty() {
            return Vec::new();
        }
        if begin.elapsed() > super::test::slow(5) {
            let names = left.iter().map(|pid| format!("process {pid} ({})", command_line(*pid))).collect();
            kill_children();
            return names;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills children until none is left (killing a parent hands its children to us).
pub fn kill_children() {
    let begin = Instant::now();
    while begin.elapsed() < super::test::slow(3) {
        let left = children();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
        reap();
    }
}

/// After a hang: kills what lives in cgroups of that name and removes them.
pub fn sweep(text: &str) {
    for dir in cgroups(text) {
        remove_cgroup(&dir);
    }
}

/// Cgroups of tests whose process is gone (a suite that was killed): `octPIDx…`.
pub fn sweep_abandoned() {
    let owner = |dir: &PathBuf| -> Option<u32> {
        let name = dir.file_name()?.to_str()?.strip_prefix("oct")?;
        name.split_once('x')?.0.parse().ok()
    };
    for dir in cgroups("oct") {
        if owner(&dir).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_cgroup(&dir);
        }
    }
}

pub fn remove_cgroup(dir: &Path) {
    let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    for _ in 0..50 {
        let pids = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|l| l.parse().ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        reap();
        if std::fs::remove_dir(dir).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
