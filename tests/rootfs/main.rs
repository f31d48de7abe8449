//! The root file system from inside: each case builds a bundle, enters fresh namespaces (unshare(1)), runs
//! populate, switch and seal, and looks around. Needs root; without it each case says that it is skipped.
//!
//! A case runs in a child: this very binary with the ignored test `inside`, told by the environment which one.
#![allow(clippy::unwrap_used)]

mod mounts;
#[path = "../skip/mod.rs"]
mod skip;
mod userns;
mod whole;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use orlop::plan::cgroup::Layout;
use orlop::plan::rootfs::{MountNs, RootfsPlan, View, plan};
use orlop::rootfs::{self, Jail};
use serde_json::{Value, json};

type Case = (&'static str, fn(&Path));

const CASES: &[Case] = &[
    ("docker_like", whole::docker_like),
    ("docker_like_old_kernel", whole::docker_like_old_kernel),
    ("binds", mounts::binds),
    ("binds_old_kernel", mounts::binds_old_kernel),
    ("file_systems", mounts::file_systems),
    ("refused", mounts::refused),
    ("planted_links", whole::planted_links),
    ("stdio_and_console", whole::stdio_and_console),
    ("no_pivot", whole::no_pivot),
    ("chroot_only", whole::chroot_only),
    ("shared_root", whole::shared_root),
    ("devices", mounts::devices),
    ("v2_cgroup", mounts::v2_cgroup),
    ("exchanged", whole::exchanged),
    ("user_namespace", userns::user_namespace),
    ("user_namespace_of_the_hosts_network", userns::hosts_network),
    ("cgroup_left_out", userns::cgroup_left_out),
];

/// Everything a root test needs to be told once.
struct Bundle {
    dir: tempfile::TempDir,
}

impl Bundle {
    fn new(config: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            fs::create_dir(dir.path().join("rootfs").join(name)).unwrap();
        }
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        Self { dir }
    }

    fn root(&self, path: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(path)
    }

    /// Runs the case in new namespaces and wants it to succeed; the mount table around them must not change.
    fn enter(&self, case: &str, flags: &[&str]) {
        if !nix::unistd::geteuid().is_root() {
            return skip::skip(&["root"], "needs root");
        }
        let tables = tempfile::tempdir().unwrap();
        let table = |name: &str| tables.path().join(name);
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", HOST, "sh"])
            .args([table("before"), table("after")])
            .args(["unshare", "--mount", "--propagation", "unchanged", "--fork"])
            .args(flags)
            .arg(env::current_exe().unwrap())
            .args(["--exact", "inside", "--ignored", "--nocapture", "--test-threads=1"])
            .env("RUST_BACKTRACE", "0")
            .env("ORLOP_CASE", case)
            .env("ORLOP_BUNDLE", self.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {said}");
        assert!(said.contains("1 passed"), "{case} did not run: {said}");
        print!("{said}");
        let [before, after] = ["before", "after"].map(|name| fs::read_to_string(table(name)).unwrap());
        // What a case mounts beside its rootfs is its preparation.
        let (beside, root) = (self.dir.path().canonicalize().unwrap(), self.root("").canonicalize().unwrap());
        let prepared = |line: &&str| {
            let point = Path::new(line.split(' ').nth(4).unwrap_or_default());
            point.starts_with(&beside) && !point.starts_with(&root)
        };
        let changes = |from: &str, to: &str| -> Vec<String> {
            to.lines().filter(|l| !from.lines().any(|f| f == *l) && !prepared(l)).map(str::to_owned).collect()
        };
        let changed = (changes(&after, &before), changes(&before, &after));
        assert_eq!(changed, (vec![], vec![]), "{case} changed the host");
    }
}

/// A host of the case's own, shared among itself as systemd has it: nobody else mounts there, and what is not kept within the
/// case comes there. Its mount table of before and after.
const HOST: &str = r#"mount --make-rshared / || exit
    before=$1 after=$2
    shift 2
    cat /proc/self/mountinfo >"$before"
    "$@"
    status=$?
    cat /proc/self/mountinfo >"$after"
    exit $status"#;

const ALL: &[&str] = &["--pid", "--net", "--ipc", "--uts", "--cgroup"];

static OUTER_PROC: std::sync::OnceLock<std::fs::File> = std::sync::OnceLock::new();

#[test]
#[ignore = "the child of the other tests"]
fn inside() {
    let (Ok(case), Ok(bundle)) = (env::var("ORLOP_CASE"), env::var("ORLOP_BUNDLE")) else { return };
    OUTER_PROC.set(fs::File::open("/proc").unwrap()).unwrap();
    let (_, run) = CASES.iter().find(|(name, _)| *name == case).unwrap();
    run(Path::new(&bundle));
}

fn view() -> View<'static> {
    View {
        notify: None,
        mount_ns: MountNs::New,
        new_userns: false,
        userns: false,
        in_user_namespace: false,
        own_pid_ns: true,
        own_net_ns: true,
        own_ipc_ns: true,
        cgroupns: true,
        rootless: false,
        root: true,
        no_pivot: false,
        mount_label: None,
        cgroups: &[],
        layout: Layout::None,
    }
}

fn planned(bundle: &Path, view: &View<'_>) -> orlop::error::Result<RootfsPlan> {
    let raw = fs::read(bundle.join("config.json")).unwrap();
    let bundle = orlop::spec::parse(bundle, &bundle.join("config.json"), raw)?;
    plan(&bundle, view, &mut Vec::new())
}

fn jailed(bundle: &Path, view: &View<'_>) -> orlop::error::Result<Jail> {
    let plan = planned(bundle, view)?;
    let host = rootfs::open_host(&plan)?;
    let jail = rootfs::populate(&plan, host)?;
    jail.switch(&plan)?;
    jail.seal(&plan)?;
    Ok(jail)
}

fn config(mounts: Value) -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "process": {"cwd": "/work/dir", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi",
                "/sys/firmware", "/nowhere", "/secret", "/secret.txt"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/nowhere"],
        },
    })
}

fn usual_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    ])
}

/// `mount point → (options, type)` of the container, last mount wins.
fn mount_of(path: &str) -> (String, String) {
    let table = mount_table();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is not a mount point:\n{table}"));
    let (left, right) = line.split_once(" - ").unwrap();
    (left.split(' ').nth(5).unwrap().into(), right.split(' ').next().unwrap().into())
}

/// Through the outer procfs: not every case has one at /proc.
fn mount_table() -> String {
    let flags = rustix::fs::OFlags::RDONLY;
    let proc = OUTER_PROC.get().unwrap();
    let table = rustix::fs::openat(proc, "self/mountinfo", flags, rustix::fs::Mode::empty()).unwrap();
    std::io::read_to_string(fs::File::from(table)).unwrap()
}

fn errno(answer: std::io::Result<impl std::fmt::Debug>) -> i32 {
    answer.unwrap_err().raw_os_error().unwrap()
}

/// Answers ENOSYS to every call that a kernel before 5.2 does not have.
fn deny_new_calls() {
    use seccompiler::{SeccompAction, SeccompFilter};
    let new = [
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_openat2,
    ];
    let rules = new.iter().map(|call| (*call, vec![])).collect();
    let deny = SeccompAction::Errno(libc::ENOSYS as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, env::consts::ARCH.try_into().unwrap());
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

fn plain(mounts: Value) -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "mount"}]},
    })
}
