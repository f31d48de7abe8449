//! mounts[] and linux.devices, one by one.

use std::fs;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use orlop::plan::cgroup::Layout;
use orlop::plan::rootfs::View;
use orlop::rootfs;
use serde_json::{Value, json};

use crate::{Bundle, deny_new_calls, errno, jailed, mount_of, mount_table, plain, planned, view};

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
        bind("link", "/made/copy", &["rbind", "copy-symlink"]),
        bind("link", "/made/copy", &["rbind", "copy-symlink"]),
        bind("src", "/no/link", &["bind", "copy-symlink"]),
        {"destination": "/run", "options": ["remount", "ro", "nosuid"]},
    ])));
    for name in ["src", "strict"] {
        fs::create_dir(bundle.dir.path().join(name)).unwrap();
    }
    fs::write(bundle.dir.path().join("src/file"), "content").unwrap();
    symlink("/abs/path/missing", bundle.root("lnk")).unwrap();
    symlink("../leads/nowhere", bundle.dir.path().join("link")).unwrap();
    bundle
}

#[test]
fn bind_mounts() {
    bind_bundle().enter("binds", &[]);
    bind_bundle().enter("binds_old_kernel", &[]);
}

pub fn binds_old_kernel(bundle: &Path) {
    deny_new_calls();
    binds(bundle);
}

pub fn binds(bundle: &Path) {
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
    assert_eq!(fs::read_link("/made/copy").unwrap(), Path::new("../leads/nowhere"));
    assert_eq!(fs::read("/no/link/file").unwrap(), b"content");
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

pub fn file_systems(bundle: &Path) {
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
            "something where a link is to be",
            json!([{"destination": "/file", "type": "bind", "source": "rootfs/lproc", "options": ["copy-symlink"]}]),
            "file exists",
        ),
        (
            "proc as a link",
            json!([{"destination": "/proc", "type": "bind", "source": "rootfs/lproc", "options": ["copy-symlink"]}]),
            "only a procfs can be mounted on /proc",
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

pub fn refused(bundle: &Path) {
    for (name, mounts, words) in hopeless() {
        fs::write(bundle.join("config.json"), plain(mounts).to_string()).unwrap();
        let plan = planned(bundle, &view());
        let answer = plan.and_then(|plan| rootfs::populate(&plan, rootfs::open_host(&plan)?));
        let said = answer.unwrap_err().to_string();
        assert!(said.contains(words), "{name}: {said}");
        assert!(said.contains("mounts["), "{name}: {said}");
    }
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

pub fn devices(bundle: &Path) {
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

pub fn v2_cgroup(bundle: &Path) {
    jailed(bundle, &View { layout: Layout::V2, ..view() }).unwrap();
    assert_eq!(mount_of("/cg"), ("ro,nosuid,relatime".into(), "cgroup2".into()));
    assert!(Path::new("/cg/cgroup.procs").exists());
}
