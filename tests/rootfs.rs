//! The root file system from inside: each case builds a bundle, enters fresh namespaces (unshare(1)), runs
//! populate, switch and seal, and looks around. Needs root; without it each case says that it is skipped.
//!
//! A case runs in a child: this very binary with the ignored test `inside`, told by the environment which one.

use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use orlop::plan::cgroup::{Hierarchy, Layout, Version};
use orlop::plan::rootfs::{MountNs, RootfsPlan, View, plan};
use orlop::rootfs::{self, Jail};
use serde_json::{Value, json};

type Case = (&'static str, fn(&Path));

const CASES: &[Case] = &[("docker_like", docker_like)];

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

    /// Runs the case in new namespaces and wants it to succeed; the host's mount table must not change.
    fn enter(&self, case: &str, flags: &[&str]) {
        if !nix::unistd::geteuid().is_root() {
            println!("skip: {case} needs root");
            return;
        }
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "unchanged", "--fork"])
            .args(flags)
            .arg(env::current_exe().unwrap())
            .args(["--exact", "inside", "--ignored", "--nocapture", "--test-threads=1"])
            .env("ORLOP_CASE", case)
            .env("ORLOP_BUNDLE", self.dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {said}");
        assert!(said.contains("1 passed"), "{case} did not run: {said}");
        assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").unwrap(), "{case} changed the host");
    }
}

const ALL: &[&str] = &["--pid", "--net", "--ipc", "--uts", "--cgroup"];

#[test]
#[ignore = "the child of the other tests"]
fn inside() {
    let (Ok(case), Ok(bundle)) = (env::var("ORLOP_CASE"), env::var("ORLOP_BUNDLE")) else { return };
    let (_, run) = CASES.iter().find(|(name, _)| *name == case).unwrap();
    run(Path::new(&bundle));
}

fn view() -> View<'static> {
    View {
        notify: None,
        mount_ns: MountNs::New,
        new_userns: false,
        userns: false,
        own_pid_ns: true,
        own_net_ns: true,
        own_ipc_ns: true,
        cgroupns: true,
        rootless: false,
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
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
    let line = line.unwrap_or_else(|| panic!("{path} is not a mount point:\n{table}"));
    let (left, right) = line.split_once(" - ").unwrap();
    (left.split(' ').nth(5).unwrap().into(), right.split(' ').next().unwrap().into())
}

fn errno(answer: std::io::Result<impl std::fmt::Debug>) -> i32 {
    answer.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn a_container_as_docker_wants_it() {
    let bundle = Bundle::new(&config(usual_mounts()));
    fs::create_dir(bundle.root("secret")).unwrap();
    fs::write(bundle.root("secret/a"), "x").unwrap();
    fs::write(bundle.root("secret.txt"), "x").unwrap();
    bundle.enter("docker_like", ALL);
    assert!(bundle.root("work/dir").is_dir());
}

fn docker_like(bundle: &Path) {
    let hierarchies = v1_hierarchies();
    let jail = jailed(bundle, &View { cgroups: &hierarchies, layout: Layout::V1, ..view() }).unwrap();
    assert_eq!(mount_of("/").0, "ro,relatime");
    assert_eq!(mount_of("/proc"), ("rw,nosuid,nodev,noexec,relatime".into(), "proc".into()));
    assert_eq!(mount_of("/dev"), ("rw,nosuid".into(), "tmpfs".into()));
    assert_eq!(mount_of("/sys"), ("ro,nosuid,nodev,noexec,relatime".into(), "sysfs".into()));
    assert_eq!(mount_of("/dev/mqueue").1, "mqueue");
    assert_eq!(mount_of("/dev/shm"), ("rw,nosuid,nodev,noexec,relatime".into(), "tmpfs".into()));
    assert_eq!(mount_of("/sys/fs/cgroup"), ("ro,nosuid,nodev,noexec,relatime".into(), "tmpfs".into()));
    assert_eq!(mount_of("/sys/fs/cgroup/memory").1, "cgroup");
    assert!(fs::metadata("/sys/fs/cgroup/memory/cgroup.procs").unwrap().is_file());
    assert_eq!(errno(fs::create_dir("/sys/fs/cgroup/memory/x")), libc::EROFS);
    // Our own pid namespace, not the host's.
    assert_eq!(fs::read_link("/proc/self").unwrap(), PathBuf::from(std::process::id().to_string()));
    assert_eq!(std::process::id(), 1);
    for (name, rdev) in [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("tty", (5, 0))] {
        let stat = fs::metadata(Path::new("/dev").join(name)).unwrap();
        assert!(stat.file_type().is_char_device());
        assert_eq!(stat.rdev(), libc::makedev(rdev.0, rdev.1), "{name}");
        assert_eq!(stat.mode() & 0o7777, 0o666);
    }
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    assert_eq!(fs::read_link("/dev/fd").unwrap(), Path::new("/proc/self/fd"));
    assert!(fs::symlink_metadata("/dev/pts/ptmx").unwrap().file_type().is_char_device());
    // Masks.
    assert_eq!(fs::read_dir("/secret").unwrap().count(), 0);
    assert_eq!(errno(fs::write("/secret/b", "x")), libc::EROFS);
    assert_eq!(fs::read("/secret.txt").unwrap(), b"");
    assert_eq!(fs::read("/proc/keys").unwrap(), b"");
    // Read-only.
    assert_eq!(errno(fs::write("/x", "x")), libc::EROFS);
    assert_eq!(errno(fs::write("/proc/sys/kernel/hostname", "x")), libc::EROFS);
    assert_eq!(mount_of("/proc/sys").0, "ro,nosuid,nodev,noexec,relatime");
    fs::write("/dev/shm/x", "x").unwrap();
    assert!(fs::metadata("/work/dir").unwrap().is_dir());
    // Nothing of the host is left.
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let known = ["/", "/dev", "/proc", "/sys", "/secret"];
    for line in table.lines() {
        let point = line.split(' ').nth(4).unwrap();
        let first = point.match_indices('/').nth(1).map_or(point, |(at, _)| &point[..at]);
        assert!(known.contains(&first) || point == "/secret.txt", "{line}");
    }
    jail.proc().unwrap().read("self/status").unwrap();
    drop(jail);
}

/// The development host's, or none where there are none.
fn v1_hierarchies() -> Vec<Hierarchy> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut all = Vec::new();
    for line in table.lines() {
        let (left, right) = line.split_once(" - ").unwrap();
        let mut right = right.split(' ');
        if right.next() != Some("cgroup") {
            continue;
        }
        let options = right.nth(1).unwrap();
        all.push(Hierarchy {
            controllers: options.split(',').skip(1).filter(|o| *o != "xattr").map(String::from).collect(),
            version: Version::V1,
            mount: left.split(' ').nth(4).unwrap().into(),
            path: "/".into(),
        });
    }
    all
}
