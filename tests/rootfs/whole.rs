//! Whole containers: as docker wants them, without pivot_root, without a mount namespace, from hostile images.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop::plan::cgroup::{Hierarchy, Layout, Version};
use orlop::plan::rootfs::{MountNs, View};
use orlop::rootfs;
use serde_json::json;

use crate::{
    ALL, Bundle, config, deny_new_calls, errno, jailed, mount_of, plain, planned, usual_mounts, view,
};

#[test]
fn a_container_as_docker_wants_it() {
    let bundle = Bundle::new(&config(usual_mounts()));
    fs::create_dir(bundle.root("secret")).unwrap();
    fs::write(bundle.root("secret/a"), "x").unwrap();
    fs::write(bundle.root("secret.txt"), "x").unwrap();
    bundle.enter("docker_like", ALL);
    assert!(bundle.root("work/dir").is_dir());
}

pub fn docker_like(bundle: &Path) {
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

pub fn docker_like_old_kernel(bundle: &Path) {
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

pub fn planted_links(bundle: &Path) {
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

/// T07, T10: while another process exchanges the parents of mount points with links to the host, no mount ever
/// lands there, and /proc is the procfs or the start fails.
#[test]
fn exchanged_mount_points() {
    let mount = |to: &str, kind: &str| json!({"destination": to, "type": kind, "source": kind});
    let bundle = Bundle::new(&plain(json!([
        mount("/vol/a", "tmpfs"),
        mount("/vol/a/b", "tmpfs"),
        mount("/proc", "proc")
    ])));
    let host = bundle.dir.path().join("host");
    fs::create_dir_all(host.join("a/b")).unwrap();
    fs::create_dir_all(bundle.root("vol/a/b")).unwrap();
    fs::create_dir(bundle.root("fake")).unwrap();
    symlink(&host, bundle.root("evil")).unwrap();
    bundle.enter("exchanged", &["--pid"]);
    assert_eq!(fs::read_dir(host.join("a/b")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&host).unwrap().count(), 1);
}

pub fn exchanged(bundle: &Path) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let plan = planned(bundle, &view()).unwrap();
    let stop = AtomicBool::new(false);
    let (mut whole, mut refused, mut panicked) = (0, 0, false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let root = fs::File::open(bundle.join("rootfs")).unwrap();
            let swap = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                // A mount point in some other namespace may make one of them EBUSY for a moment.
                let _ = rustix::fs::renameat_with(&root, "vol", &root, "evil", swap);
                let _ = rustix::fs::renameat_with(&root, "proc", &root, "fake", swap);
            }
        });
        for _ in 0..150 {
            let start = || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
                let answer = rootfs::populate(&plan, rootfs::open_host(&plan).unwrap());
                let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
                let host = bundle.join("host");
                let mut points = table.lines().map(|line| Path::new(line.split(' ').nth(4).unwrap()));
                assert!(!points.any(|point| point.starts_with(&host)), "{table}");
                answer.map(drop).map_err(|e| e.to_string())
            };
            match scope.spawn(start).join() {
                Ok(Ok(())) => whole += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => {
                    panicked = true;
                    break;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{whole} started, {refused} refused");
    assert!(whole > 0 && !panicked);
}

#[test]
fn stdio_and_the_console() {
    let bundle = Bundle::new(&plain(json!([
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ])));
    bundle.enter("stdio_and_console", &[]);
}

pub fn stdio_and_console(bundle: &Path) {
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

pub fn no_pivot(bundle: &Path) {
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

pub fn chroot_only(bundle: &Path) {
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

pub fn shared_root(bundle: &Path) {
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
