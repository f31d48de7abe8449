//! What a test has at hand: bundles, runtime calls, waiting, and the cleaning at its end.

use super::bundle::Bundle;
use super::call::{Call, Output};
use super::{leftovers, refuse};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct Test {
    /// A directory of this test's own, removed at its end; it is also where calls run.
    pub dir: PathBuf,
    /// `--root` of every call.
    pub root: PathBuf,
    prefix: String,
    count: Cell<u32>,
    ids: RefCell<Vec<String>>,
    mounts: RefCell<Vec<PathBuf>>,
    /// Loaded before every runtime call.
    filter: RefCell<Vec<libc::sock_filter>>,
}

impl Test {
    pub fn new(dir: PathBuf, prefix: String) -> Self {
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).expect("chmod");
        let root = dir.join("state");
        // A root that was asked for by name must exist for `list`.
        std::fs::create_dir_all(&root).expect("mkdir");
        Self {
            dir,
            root,
            prefix,
            count: Cell::new(0),
            ids: RefCell::default(),
            mounts: RefCell::default(),
            filter: RefCell::default(),
        }
    }

    /// From now on every runtime call runs as where these system calls (refuse.rs) are answered with `errno`.
    pub fn refuse(&self, calls: &str, errno: i32) {
        let refusals = refuse::parse(calls).expect("a list of system calls");
        *self.filter.borrow_mut() = refuse::program(&refusals, errno);
    }

    pub fn filter(&self) -> Vec<libc::sock_filter> {
        self.filter.borrow().clone()
    }

    fn next(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// A path in the test's directory that does not exist yet.
    pub fn fresh(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}.{}", self.next()))
    }

    /// An empty directory that everyone may enter.
    pub fn fresh_dir(&self, what: &str) -> PathBuf {
        let path = self.fresh(what);
        std::fs::create_dir(&path).expect("mkdir");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
        path
    }

    /// Mounts something in this test's mount namespace; it is unmounted at the end.
    #[track_caller]
    pub fn mount(&self, source: &str, target: &Path, kind: &str, flags: MsFlags, data: &str) {
        mount(Some(source), target, Some(kind), flags, Some(data)).expect("mount");
        self.mounts.borrow_mut().push(target.to_owned());
    }

    /// A unique id; a container of it is deleted at the end.
    pub fn id(&self) -> String {
        let id = format!("{}{}", self.prefix, self.next());
        self.ids.borrow_mut().push(id.clone());
        id
    }

    /// Another id to delete at the end.
    pub fn owns(&self, id: &str) {
        self.ids.borrow_mut().push(id.to_owned());
    }

    pub fn bundle(&self) -> Bundle {
        let id = self.id();
        Bundle::new(self.dir.join(format!("bundle.{id}")), id)
    }

    /// A call of the runtime, to be adorned and run.
    pub fn call(&self, args: &[impl AsRef<OsStr>]) -> Call<'_> {
        Call::new(self, args)
    }

    /// A plain call of the runtime.
    pub fn rt(&self, args: &[impl AsRef<OsStr>]) -> Output {
        self.call(args).run()
    }

    /// `create --bundle B [more] ID`, with the config written first.
    pub fn call_create(&self, bundle: &Bundle, more: &[&str]) -> Call<'_> {
        self.call_with("create", bundle, more)
    }

    pub fn call_run(&self, bundle: &Bundle, more: &[&str]) -> Call<'_> {
        self.call_with("run", bundle, more)
    }

    fn call_with(&self, command: &str, bundle: &Bundle, more: &[&str]) -> Call<'_> {
        bundle.write();
        let mut args: Vec<&OsStr> = vec![OsStr::new(command), OsStr::new("--bundle"), bundle.dir.as_os_str()];
        args.extend(more.iter().map(|m| OsStr::new(*m)));
        args.push(OsStr::new(&bundle.id));
        self.call(&args)
    }

    pub fn create(&self, bundle: &Bundle) -> Output {
        self.call_create(bundle, &[]).run()
    }

    pub fn run(&self, bundle: &Bundle) -> Output {
        self.call_run(bundle, &[]).run()
    }

    pub fn start(&self, bundle: &Bundle) -> Output {
        self.rt(&["start", &bundle.id])
    }

    /// A container that is running (`guest pause` unless the bundle says otherwise).
    pub fn running(&self) -> Bundle {
        let bundle = self.bundle();
        self.create(&bundle).ok();
        self.start(&bundle).ok();
        bundle
    }

    pub fn created(&self) -> Bundle {
        let bundle = self.bundle();
        self.create(&bundle).ok();
        bundle
    }

    /// A container whose program has ended.
    pub fn stopped(&self) -> Bundle {
        let bundle = self.bundle();
        bundle.args(&["/bin/true"]);
        self.create(&bundle).ok();
        self.start(&bundle).ok();
        self.wait_status(&bundle.id, "stopped");
        bundle
    }

    pub fn state(&self, id: &str) -> Value {
        let out = self.rt(&["state", id]).ok();
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("state is not JSON: {e}: {}", out.stdout))
    }

    /// The status word, or "none".
    pub fn status(&self, id: &str) -> String {
        let out = self.rt(&["state", id]);
        if out.code != 0 {
            return "none".into();
        }
        let state: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
        state["status"].as_str().unwrap_or_default().to_owned()
    }

    pub fn pid(&self, id: &str) -> i32 {
        self.state(id)["pid"].as_i64().and_then(|p| p.try_into().ok()).unwrap_or(0)
    }

    #[track_caller]
    pub fn wait_status(&self, id: &str, wanted: &str) {
        let mut last = String::new();
        let done = wait_until(Duration::from_secs(10), || {
            last = self.status(id);
            last == wanted
        });
        assert!(done, "{id} is {last}, not {wanted}");
    }

    /// Runs `guest report PROBES` in the bundle's container and gives what it says.
    pub fn report(&self, bundle: &Bundle, probes: &[&str]) -> Value {
        let mut args = vec!["/guest", "report"];
        args.extend(probes);
        bundle.args(&args);
        let out = self.run(bundle).ok();
        parse_report(&out.stdout)
    }

    /// The same with options to `run`.
    pub fn report_with(&self, bundle: &Bundle, more: &[&str], probes: &[&str]) -> Value {
        let mut args = vec!["/guest", "report"];
        args.extend(probes);
        bundle.args(&args);
        let out = self.call_run(bundle, more).ok();
        parse_report(&out.stdout)
    }

    /// Whether the state root still knows anything under this id.
    pub fn has_state(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// Asserts that a failed call left nothing of this id: no state, no cgroup, no process.
    #[track_caller]
    pub fn nothing_left(&self, id: &str) {
        self.nothing_left_of(id);
        let processes = leftovers::processes();
        assert!(processes.is_empty(), "{processes:?}");
    }

    /// The same while other containers live on.
    #[track_caller]
    pub fn nothing_left_of(&self, id: &str) {
        assert!(!self.has_state(id), "state directory of {id} left behind");
        let named = |path: &PathBuf| path.file_name().is_some_and(|n| n == id);
        let cgroups: Vec<_> = leftovers::cgroups(id).into_iter().filter(named).collect();
        assert!(cgroups.is_empty(), "cgroups left behind: {cgroups:?}");
    }

    /// Deletes everything by force, then says what is still there.
    pub fn finish(&self) -> Vec<String> {
        let mut left = Vec::new();
        for id in self.ids.borrow().iter().filter(|id| self.root.join(id).exists()) {
            leftovers::reap();
            let out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.rt(&["delete", "--force", id])
            }));
            match out {
                Ok(out) if out.code == 0 => {}
                Ok(out) => {
                    left.push(format!("delete --force {id} exits {}: {}", out.code, out.stderr.trim()))
                }
                Err(_) => left.push(format!("delete --force {id} hangs")),
            }
            if self.root.join(id).exists() {
                left.push(format!("state directory of {id}"));
            }
        }
        left.extend(leftovers::processes());
        for dir in leftovers::cgroups(&self.prefix) {
            left.push(format!("cgroup {}", dir.display()));
            leftovers::remove_cgroup(&dir);
        }
        for target in self.mounts.borrow().iter().rev() {
            let _ = umount2(target, MntFlags::MNT_DETACH);
        }
        let own = self.dir.display().to_string();
        left.extend(
            leftovers::mountinfo().into_iter().filter(|l| l.contains(&own)).map(|l| format!("mount {l}")),
        );
        left
    }
}

#[track_caller]
pub fn parse_report(text: &str) -> Value {
    serde_json::from_str(text.trim())
        .unwrap_or_else(|e| panic!("the guest's report is not JSON: {e}: {text}"))
}

/// A time that a fast machine never needs, times `CONTRACT_PATIENCE` for slow ones (an emulated processor).
pub fn slow(seconds: u64) -> Duration {
    let patience = std::env::var("CONTRACT_PATIENCE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds * patience)
}

/// Leaves others so much time for something that cannot be waited for.
pub fn rest(milliseconds: u64) {
    std::thread::sleep(slow(1) * milliseconds as u32 / 1000);
}

pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    let limit = slow(1).as_secs() as u32 * limit;
    loop {
        if done() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a file to have content, and gives it.
#[track_caller]
pub fn wait_file(path: &Path) -> String {
    let mut text = String::new();
    let done = wait_until(Duration::from_secs(10), || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        !text.is_empty()
    });
    assert!(done, "{} stays empty", path.display());
    text
}

/// A mapping entry as config.json has it.
pub fn map(container: u32, host: u32, size: u32) -> Value {
    json!({ "containerID": container, "hostID": host, "size": size })
}
