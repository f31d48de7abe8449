//! The root file system from inside: each case builds a bundle, enters fresh namespaces (unshare(1)), runs
//! populate, switch and seal, and looks around. Needs root; without it each case says that it is skipped.
//!
//! A case runs in a child: this very binary with the ignored test `inside`, told by the environment which one.
#![allow(clippy::unwrap_used, unsafe_code)]

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

const CASES: &[Case] = &[
    ("docker_like", docker_like),
    ("docker_like_old_kernel", docker_like_old_kernel),
    ("binds", binds),
    ("binds_old_kernel", binds_old_kernel),
    ("file_systems", file_systems),
    ("refused", refused),
    ("planted_links", planted_links),
    ("stdio_and_console", stdio_and_console),
    ("no_pivot", no_pivot),
    ("chroot_only", chroot_only),
    ("shared_root", shared_root),
    ("devices", devices),
    ("v2_cgroup", v2_cgroup),
    ("user_namespace", user_namespace),
    ("hidden_root", user_namespace),
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
            .env("RUST_BACKTRACE", "0")
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

fn docker_like_old_kernel(bundle: &Path) {
    deny_new_calls();
    docker_like(bundle);
}

#[test]
fn a_container_as_docker_wants_it_on_an_old_kernel() {
    let bundle = Bundle::new(&config(usual_mounts()));
    fs::create_dir(bundle.root("secret")).unwrap();
    fs::write(bundle.root("secret/a"), "x").unwrap();
    fs::write(bundle.root("secret.txt"), "x").unwrap();
    bundle.enter("docker_like_old_kernel", ALL);
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

fn bind_bundle() -> Bundle {
    let bind = |source: &str, to: &str, options: &[&str]| json!({"destination": to, "type": "bind", "source": source, "options": options});
    let bundle = Bundle::new(&plain(json!([
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
        bind("src", "/plain", &["bind"]),
        bind("src", "/ro", &["rbind", "ro", "rprivate"]),
        bind("src/file", "/new/dir/file", &["bind", "ro", "nosuid", "noexec"]),
        bind("src/file", "/run/file", &["bind", "rw"]),
        bind("src", "/times", &["bind", "noatime"]),
        bind("strict", "/kept", &["bind"]),
        bind("strict", "/replaced", &["bind", "rw"]),
        bind("strict", "/shared", &["rbind", "rshared"]),
        bind("src", "lnk/newdir/x", &["bind"]),
        {"destination": "/run", "options": ["remount", "ro", "nosuid"]},
    ])));
    for name in ["src", "strict"] {
        fs::create_dir(bundle.dir.path().join(name)).unwrap();
    }
    fs::write(bundle.dir.path().join("src/file"), "content").unwrap();
    symlink("/abs/path/missing", bundle.root("lnk")).unwrap();
    bundle
}

#[test]
fn bind_mounts() {
    bind_bundle().enter("binds", &[]);
    bind_bundle().enter("binds_old_kernel", &[]);
}

fn binds_old_kernel(bundle: &Path) {
    deny_new_calls();
    binds(bundle);
}

fn binds(bundle: &Path) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "ro,nosuid,nodev", "x"]).arg(bundle.join("strict"));
    assert!(mount.status().unwrap().success());
    jailed(bundle, &view()).unwrap();
    assert_eq!(mount_of("/plain").0, "rw,relatime");
    assert_eq!(mount_of("/ro").0, "ro,relatime");
    assert_eq!(mount_of("/new/dir/file").0, "ro,nosuid,noexec,relatime");
    assert_eq!(fs::read("/new/dir/file").unwrap(), b"content");
    assert_eq!(mount_of("/run/file").0, "rw,relatime");
    assert_eq!(mount_of("/times").0, "rw,noatime");
    // No option at all: the source's flags stay. Any option: they are replaced.
    assert_eq!(mount_of("/kept").0, "ro,nosuid,nodev,relatime");
    assert_eq!(mount_of("/replaced").0, "rw,relatime");
    assert!(mount_table().lines().any(|l| l.contains(" /shared ") && l.contains("shared:")));
    // The link's target was made inside the root.
    assert_eq!(fs::read("/abs/path/missing/newdir/x/file").unwrap(), b"content");
    assert_eq!(mount_of("/run").0, "ro,nosuid,relatime");
}

#[test]
fn file_systems_and_their_options() {
    let layers: Vec<String> = (0..12).map(|n| format!("layers/a-long-name-for-a-layer-{n:03}")).collect();
    let bundle = Bundle::new(&plain(json!([])));
    let host = |name: &str| bundle.dir.path().join(name).display().to_string();
    for (n, layer) in layers.iter().enumerate() {
        fs::create_dir_all(bundle.dir.path().join(layer)).unwrap();
        fs::write(bundle.dir.path().join(layer).join(format!("f{n}")), "").unwrap();
    }
    for name in ["upper", "work", "tree/sub"] {
        fs::create_dir_all(bundle.dir.path().join(name)).unwrap();
    }
    let lower = layers.iter().map(|layer| host(layer)).collect::<Vec<_>>().join(":");
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/union", "type": "overlay", "source": "overlay", "options":
            [format!("lowerdir={lower}"), format!("upperdir={}", host("upper")), format!("workdir={}", host("work"))]},
        {"destination": "/up", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]},
        {"destination": "/sticky", "type": "tmpfs", "source": "tmpfs", "options": ["size=4k,nr_inodes=10"]},
        {"destination": "/tree", "type": "bind", "source": "tree", "options": ["rbind", "rro"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"]},
    ]);
    fs::write(bundle.dir.path().join("config.json"), plain(mounts).to_string()).unwrap();
    fs::create_dir_all(bundle.root("up/a/b")).unwrap();
    fs::write(bundle.root("up/a/b/c"), "copied").unwrap();
    symlink("a/b/c", bundle.root("up/link")).unwrap();
    fs::create_dir(bundle.root("sticky")).unwrap();
    fs::set_permissions(bundle.root("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
    bundle.enter("file_systems", &["--pid"]);
}

fn file_systems(bundle: &Path) {
    let sub = bundle.join("tree/sub");
    assert!(Command::new("mount").args(["-t", "tmpfs", "x"]).arg(sub).status().unwrap().success());
    jailed(bundle, &view()).unwrap();
    assert!(Path::new("/union/f0").exists() && Path::new("/union/f11").exists());
    fs::write("/union/new", "").unwrap();
    assert_eq!(fs::read("/up/link").unwrap(), b"copied");
    assert_eq!(errno(fs::write("/up/x", "")), libc::EROFS);
    assert_eq!(fs::metadata("/sticky").unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(mount_of("/tree").0, "ro,relatime");
    assert_eq!(mount_of("/tree/sub").0, "ro,relatime");
    assert_eq!(errno(fs::write("/dev/x", "")), libc::EROFS);
    fs::write("/dev/null", "x").unwrap();
}

/// Each with the words that its error must hold.
fn hopeless() -> Vec<(&'static str, Value, &'static str)> {
    let mount = |to: &str, kind: &str, options: Value| json!([{"destination": to, "type": kind, "source": "src", "options": options}]);
    vec![
        ("fake proc", mount("/proc", "tmpfs", json!([])), "only a procfs can be mounted on /proc"),
        ("fake attr", mount("/proc/self", "tmpfs", json!([])), "inside /proc"),
        ("dir as proc", mount("/proc", "bind", json!(["bind"])), "only a procfs can be mounted on /proc"),
        ("linked proc", mount("/lproc", "proc", json!([])), "is a symbolic link, not an ordinary directory"),
        ("linked sys", mount("/lsys", "sysfs", json!([])), "is a symbolic link, not an ordinary directory"),
        ("the root", mount("/a/..", "tmpfs", json!([])), "cannot be the root itself"),
        ("file in the way", mount("/file/x", "tmpfs", json!([])), "/file inside the root is a regular file"),
        ("dir on file", mount("/file", "bind", json!(["bind"])), "not a directory"),
        ("loop", mount("/loop1/x", "tmpfs", json!([])), "symbolic links"),
        ("fifo", mount("/fifo", "tmpfs", json!([])), "is a FIFO"),
        ("unknown", mount("/x", "nosuchfs", json!([])), "no file system \"nosuchfs\""),
        ("bad option", mount("/x", "tmpfs", json!(["nosuch=1"])), "the kernel says"),
        ("data on bind", mount("/x", "bind", json!(["bind", "mode=1"])), "filesystem-specific options"),
        (
            "absent",
            json!([{"destination": "/x", "type": "bind", "source": "gone"}]),
            "no such file or directory",
        ),
        (
            "through a link into proc",
            json!([{"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/inproc/self", "type": "tmpfs", "source": "tmpfs"}]),
            "lies in a procfs",
        ),
    ]
}

#[test]
fn mounts_that_are_refused() {
    let bundle = Bundle::new(&plain(json!([])));
    fs::create_dir(bundle.dir.path().join("src")).unwrap();
    fs::write(bundle.root("file"), "").unwrap();
    symlink("/evil", bundle.root("lproc")).unwrap();
    symlink("/etc/passwd", bundle.root("lsys")).unwrap();
    symlink("loop2", bundle.root("loop1")).unwrap();
    symlink("loop1", bundle.root("loop2")).unwrap();
    symlink("/proc", bundle.root("inproc")).unwrap();
    nix::unistd::mkfifo(&bundle.root("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    bundle.enter("refused", &["--pid"]);
}

fn refused(bundle: &Path) {
    for (name, mounts, words) in hopeless() {
        fs::write(bundle.join("config.json"), plain(mounts).to_string()).unwrap();
        let plan = planned(bundle, &view());
        let answer = plan.and_then(|plan| rootfs::populate(&plan, rootfs::open_host(&plan)?));
        let said = answer.unwrap_err().to_string();
        assert!(said.contains(words), "{name}: {said}");
        assert!(said.contains("mounts["), "{name}: {said}");
    }
}

/// T12, T13, T17, T39: an image full of links to places of the host, here to a directory beside the root.
#[test]
fn links_in_an_image_lead_nowhere() {
    let bundle = Bundle::new(&plain(json!([])));
    let host = bundle.dir.path().join("host");
    fs::create_dir_all(host.join("dir")).unwrap();
    for name in ["null", "file", "core"] {
        fs::write(host.join(name), "untouched").unwrap();
    }
    symlink(host.join("dir"), bundle.root("work")).unwrap();
    symlink("../../../../../..", bundle.root("up")).unwrap();
    symlink(&host, bundle.root("mnt")).unwrap();
    fs::write(bundle.root("secret"), "x").unwrap();
    symlink("/up/up/secret", bundle.root("to-secret")).unwrap();
    bundle.enter("planted_links", &[]);
    for name in ["null", "file", "core"] {
        assert_eq!(fs::read(host.join(name)).unwrap(), b"untouched");
    }
    let mut left: Vec<_> = fs::read_dir(&host).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["core", "dir", "file", "null"]);
    assert_eq!(fs::read_dir(host.join("dir")).unwrap().count(), 0);
    let stat = fs::metadata(host.join("file")).unwrap();
    assert!(stat.is_file() && stat.uid() == 0);
}

fn planted_links(bundle: &Path) {
    let host = bundle.join("host");
    let dev = bundle.join("rootfs/dev");
    let mut config = plain(json!([]));
    config["linux"]["maskedPaths"] = json!(["/to-secret", "/up/up/etc/../secret2", "/mnt/file"]);
    config["process"]["cwd"] = json!("/work/below/../here");
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let plan = planned(bundle, &view()).unwrap();
    let populate = || rootfs::populate(&plan, rootfs::open_host(&plan)?);
    // T17: /dev itself is a link out of the root.
    fs::remove_dir(&dev).unwrap();
    symlink(&host, &dev).unwrap();
    let said = populate().unwrap_err().to_string();
    assert!(said.contains("/dev in the root is a symbolic link, not an ordinary directory"), "{said}");
    fs::remove_file(&dev).unwrap();
    fs::create_dir(&dev).unwrap();
    // T13: /dev/null is a link, a file, a FIFO.
    for plant in 0..3 {
        match plant {
            0 => symlink(host.join("null"), dev.join("null")).unwrap(),
            1 => fs::write(dev.join("null"), "").unwrap(),
            _ => nix::unistd::mkfifo(&dev.join("null"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        }
        let said = populate().unwrap_err().to_string();
        assert!(said.contains("/dev/null: there is a"), "{said}");
        fs::remove_file(dev.join("null")).unwrap();
    }
    // T12: every other name.
    for name in ["ptmx", "fd", "stdin", "core", "console"] {
        symlink(host.join("core"), dev.join(name)).unwrap();
    }
    let jail = populate().unwrap();
    jail.switch(&plan).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let said = jail.bind_console(null.as_fd()).unwrap_err().to_string();
    assert!(said.contains("console in the root is a symbolic link"), "{said}");
    fs::remove_file("/dev/console").unwrap();
    jail.bind_console(null.as_fd()).unwrap();
    assert_eq!(fs::metadata("/dev/console").unwrap().rdev(), libc::makedev(1, 3));
    jail.seal(&plan).unwrap();
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    // T39: reached through links inside the root, and covered there.
    assert_eq!(fs::read("/secret").unwrap(), b"");
    let inside = host.join("dir").join("here");
    assert!(inside.is_dir(), "the working directory was made inside the root");
}

#[test]
fn stdio_and_the_console() {
    let bundle = Bundle::new(&plain(json!([
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ])));
    bundle.enter("stdio_and_console", &[]);
}

fn stdio_and_console(bundle: &Path) {
    let plan = planned(bundle, &view()).unwrap();
    let jail = rootfs::populate(&plan, rootfs::open_host(&plan).unwrap()).unwrap();
    jail.switch(&plan).unwrap();
    let master =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    rustix::pty::unlockpt(&master).unwrap();
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    jail.bind_console(slave.as_fd()).unwrap();
    let console = fs::metadata("/dev/console").unwrap();
    assert_eq!(libc::major(console.rdev()), 136);
    let own = fs::metadata("/dev/null").unwrap();
    let stdin = || rustix::fs::fstat(rustix::stdio::stdin()).unwrap();
    assert_ne!(stdin().st_dev, own.dev());
    jail.seal(&plan).unwrap();
    assert_eq!((stdin().st_dev, stdin().st_ino), (own.dev(), own.ino()));
    // stdout is the test's pipe and stays.
    let stdout = rustix::fs::fstat(rustix::stdio::stdout()).unwrap();
    assert_eq!(rustix::fs::FileType::from_raw_mode(stdout.st_mode), rustix::fs::FileType::Fifo);
}

#[test]
fn without_pivot_root() {
    let bundle = Bundle::new(&config(usual_mounts()));
    fs::create_dir(bundle.root("secret")).unwrap();
    fs::write(bundle.root("secret/a"), "x").unwrap();
    bundle.enter("no_pivot", ALL);
}

fn no_pivot(bundle: &Path) {
    jailed(bundle, &View { no_pivot: true, ..view() }).unwrap();
    assert_eq!(mount_of("/").0, "ro,relatime");
    assert_eq!(errno(fs::write("/x", "x")), libc::EROFS);
    assert_eq!(fs::read_dir("/secret").unwrap().count(), 0);
    assert_eq!(fs::read_dir("/..").unwrap().count(), fs::read_dir("/").unwrap().count());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(table.lines().filter(|l| l.contains(" - sysfs ")).count(), 1, "the host's is gone: {table}");
}

#[test]
fn without_a_mount_namespace() {
    let bundle = Bundle::new(&plain(json!([])));
    bundle.enter("chroot_only", &[]);
    assert!(bundle.root("dev/null").metadata().unwrap().file_type().is_char_device());
}

fn chroot_only(bundle: &Path) {
    let view = View { mount_ns: MountNs::None, ..view() };
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let host = fs::File::open("/proc/self/mountinfo").unwrap();
    jailed(bundle, &view).unwrap();
    let mut after = String::new();
    std::io::Read::read_to_string(&mut { host }, &mut after).unwrap();
    assert_eq!(before.lines().count(), after.lines().count().max(before.lines().count()));
    assert!(!Path::new("/proc/self").exists());
    assert!(Path::new("/bin").exists() && !Path::new("/usr").exists());
}

/// rshared: nothing of ours may reach the namespace that the root is shared with.
#[test]
fn a_shared_root_propagates_nothing() {
    let mut config = config(usual_mounts());
    config["linux"]["rootfsPropagation"] = json!("rshared");
    let bundle = Bundle::new(&config);
    fs::create_dir(bundle.root("secret")).unwrap();
    bundle.enter("shared_root", &["--pid"]);
}

fn shared_root(bundle: &Path) {
    let shared = Command::new("mount").args(["--make-rshared", "/"]).status().unwrap();
    assert!(shared.success());
    // Of this thread alone: the process's first thread stays outside and is what /proc/self shows.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let points = |table: &str| -> Vec<String> {
        table.lines().map(|line| line.split(' ').nth(4).unwrap().to_string()).collect()
    };
    let outside = points(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    jailed(bundle, &view()).unwrap();
    let inside = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(inside.lines().any(|line| line.contains(" / / ") || line.contains("/rootfs / ")), "{inside}");
    assert!(inside.lines().all(|line| line.contains(" shared:")), "{inside}");
    assert_eq!(outside, points(&fs::read_to_string("/proc/self/mountinfo").unwrap()));
}

#[test]
fn configured_devices() {
    let mut config = plain(json!([
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}]));
    config["linux"]["devices"] = json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20640, "uid": 7, "gid": 8},
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
        {"path": "/etc/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/loop", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660, "gid": 6},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]);
    Bundle::new(&config).enter("devices", &[]);
}

fn devices(bundle: &Path) {
    jailed(bundle, &view()).unwrap();
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.gid(), null.mode() & 0o7777), (7, 8, 0o640));
    assert_eq!(fs::metadata("/dev/net/tun").unwrap().rdev(), libc::makedev(10, 200));
    assert_eq!(fs::metadata("/dev/net").unwrap().mode() & 0o7777, 0o755);
    assert!(fs::metadata("/etc/pipe").unwrap().file_type().is_fifo());
    let disk = fs::metadata("/dev/loop").unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!((disk.gid(), disk.mode() & 0o7777), (6, 0o660));
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
}

#[test]
fn cgroup2_is_mounted_whole() {
    let bundle = Bundle::new(&plain(json!([
        {"destination": "/cg", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}])));
    bundle.enter("v2_cgroup", &["--cgroup"]);
}

fn v2_cgroup(bundle: &Path) {
    jailed(bundle, &View { layout: Layout::V2, ..view() }).unwrap();
    assert_eq!(mount_of("/cg"), ("ro,nosuid,relatime".into(), "cgroup2".into()));
    assert!(Path::new("/cg/cgroup.procs").exists());
}

fn userns_config() -> Value {
    let mut mounts = usual_mounts();
    let list = mounts.as_array_mut().unwrap();
    list.remove(4);
    let bind = |source: &str, to: &str, options: &[&str]| json!({"destination": to, "type": "bind", "source": source, "options": options});
    list.extend([
        bind("locked/inner", "/hidden", &["bind", "ro"]),
        bind("owned", "/same", &["bind", "idmap"]),
        bind("strict", "/strict", &["bind", "noexec"]),
    ]);
    let mut foreign = bind("owned", "/foreign", &["rbind", "ridmap"]);
    foreign["uidMappings"] = json!([{"containerID": 0, "hostID": 100_005, "size": 1}]);
    foreign["gidMappings"] = json!([{"containerID": 0, "hostID": 100_006, "size": 1}]);
    list.push(foreign);
    let mut config = config(mounts);
    config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
    config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}, {"type": "user"}]);
    config
}

fn userns_bundle() -> Bundle {
    let bundle = Bundle::new(&userns_config());
    let dir = bundle.dir.path();
    for name in ["locked/inner", "owned", "strict", "rootfs/secret"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    fs::write(dir.join("owned/file"), "").unwrap();
    fs::write(dir.join("locked/inner/file"), "").unwrap();
    fs::set_permissions(dir.join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
    let chown = Command::new("chown").args(["-R", "100000:100000"]).arg(dir.join("rootfs")).status();
    assert!(!nix::unistd::geteuid().is_root() || chown.unwrap().success());
    bundle
}

#[test]
fn a_user_namespace() {
    userns_bundle().enter("user_namespace", &[]);
    // The same with a bundle that the mapped root may not even walk to.
    let bundle = userns_bundle();
    fs::set_permissions(bundle.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    bundle.enter("hidden_root", &[]);
}

fn user_namespace(bundle: &Path) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "ro,nosuid,nodev", "x"]).arg(bundle.join("strict"));
    assert!(mount.status().unwrap().success());
    let view = View { new_userns: true, userns: true, ..view() };
    let plan = planned(bundle, &view).unwrap();
    let host = rootfs::open_host(&plan).unwrap();
    let (ready, tell_ready) = nix::unistd::pipe().unwrap();
    let (mapped, tell_mapped) = nix::unistd::pipe().unwrap();
    // SAFETY: the child uses nothing that another thread could hold locked but the allocator, which libc's
    // fork takes care of.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            drop((ready, tell_mapped));
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).unwrap();
            nix::unistd::write(tell_ready, b"x").unwrap();
            nix::unistd::read(mapped, &mut [0]).unwrap();
            exit_with(move || {
                let root = nix::unistd::Gid::from_raw(0);
                nix::unistd::setgroups(&[]).unwrap();
                nix::unistd::setresgid(root, root, root).unwrap();
                let root = nix::unistd::Uid::from_raw(0);
                nix::unistd::setresuid(root, root, root).unwrap();
                use nix::sched::CloneFlags as C;
                nix::sched::unshare(C::CLONE_NEWNS | C::CLONE_NEWPID | C::CLONE_NEWNET | C::CLONE_NEWIPC)
                    .unwrap();
                // SAFETY: as above; single-threaded by now.
                match unsafe { nix::unistd::fork() }.unwrap() {
                    nix::unistd::ForkResult::Child => exit_with(|| in_user_namespace(&plan, host)),
                    nix::unistd::ForkResult::Parent { child } => wait_for(child),
                }
            })
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop((tell_ready, mapped));
            nix::unistd::read(ready, &mut [0]).unwrap();
            for map in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{child}/{map}"), "0 100000 65536").unwrap();
            }
            let userns = fs::File::open(format!("/proc/{child}/ns/user")).unwrap();
            rootfs::idmap(&plan, &host, userns.as_fd()).unwrap();
            nix::unistd::write(tell_mapped, b"x").unwrap();
            wait_for(child);
        }
    }
}

fn wait_for(child: nix::unistd::Pid) {
    let status = nix::sys::wait::waitpid(child, None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
}

fn exit_with(run: impl FnOnce()) -> ! {
    let code = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    // SAFETY: ends the process without running the harness's own ends.
    unsafe { libc::_exit(code) }
}

fn in_user_namespace(plan: &RootfsPlan, host: rootfs::HostFds) {
    let jail = rootfs::populate(plan, host).unwrap();
    jail.switch(plan).unwrap();
    jail.seal(plan).unwrap();
    assert_eq!(mount_of_own("/").0, "ro,relatime");
    assert_eq!(std::process::id(), 1);
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!(null.rdev(), libc::makedev(1, 3));
    fs::write("/dev/null", "x").unwrap();
    // Reached through the runtime's descriptor.
    assert!(Path::new("/hidden/file").exists());
    assert_eq!(errno(fs::write("/hidden/x", "")), libc::EROFS);
    let same = fs::metadata("/same/file").unwrap();
    assert_eq!((same.uid(), same.gid()), (0, 0));
    let foreign = fs::metadata("/foreign/file").unwrap();
    assert_eq!((foreign.uid(), foreign.gid()), (5, 6));
    // Locked flags stay although only noexec was asked for.
    assert_eq!(mount_of_own("/strict").0, "ro,nosuid,nodev,noexec,relatime");
    assert_eq!(fs::read_dir("/secret").unwrap().count(), 0);
    assert_eq!(fs::read("/proc/keys").unwrap(), b"");
    // The shared memory is ours, the sysfs shows our network.
    fs::write("/dev/shm/x", "").unwrap();
    assert_eq!(fs::read_dir("/sys/class/net").unwrap().count(), 1);
}

fn mount_of_own(path: &str) -> (String, String) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(path)).unwrap();
    let (left, right) = line.split_once(" - ").unwrap();
    (left.split(' ').nth(5).unwrap().into(), right.split(' ').next().unwrap().into())
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
