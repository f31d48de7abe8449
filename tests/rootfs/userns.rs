//! A user namespace: what the runtime opens and idmaps, what stays locked, what the kernel refuses.

#![allow(unsafe_code)]
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use orlop::plan::cgroup::{Hierarchy, Version};
use orlop::plan::rootfs::{RootfsPlan, View};
use orlop::rootfs::{self, Jail};
use serde_json::{Value, json};

use crate::{Bundle, config, errno, planned, usual_mounts, view};

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
    bundle.enter("user_namespace", &[]);
    userns_bundle().enter("user_namespace_of_the_hosts_network", &[]);
}

#[test]
fn a_cgroup_that_was_left_out() {
    let bind = json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]});
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup2", "options": ["rw"]});
    let bundle = Bundle::new(&crate::plain(json!([bind, cgroup])));
    let chown = Command::new("chown").args(["-R", "100000:100000"]).arg(bundle.dir.path()).status();
    assert!(!nix::unistd::geteuid().is_root() || chown.unwrap().success());
    bundle.enter("cgroup_left_out", &[]);
}

/// The host's cgroups must not stay where they are bound with /sys.
pub fn cgroup_left_out(bundle: &Path) {
    let gone = Hierarchy {
        controllers: Vec::new(),
        version: Version::V2,
        mount: "/sys/fs/cgroup".into(),
        path: "/left/out".into(),
    };
    let cgroups = [gone];
    let view = View { new_userns: true, userns: true, rootless: true, cgroups: &cgroups, ..view() };
    in_namespaces(&planned(bundle, &view).unwrap(), true, |jail, plan| {
        jail.switch(plan).unwrap();
        assert_eq!(fs::read_dir("/sys/fs/cgroup").unwrap().count(), 0);
        assert_eq!(errno(fs::create_dir("/sys/fs/cgroup/x")), libc::EROFS);
    });
}

pub fn user_namespace(bundle: &Path) {
    whole_container(bundle, true);
}

/// sysfs cannot be mounted then: the host's is bound, read-only in all its depth.
pub fn hosts_network(bundle: &Path) {
    whole_container(bundle, false);
}

fn whole_container(bundle: &Path, own_net_ns: bool) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "ro,nosuid,nodev", "x"]).arg(bundle.join("strict"));
    assert!(mount.status().unwrap().success());
    let view = View { new_userns: true, userns: true, own_net_ns, ..view() };
    let plan = planned(bundle, &view).unwrap();
    in_namespaces(&plan, own_net_ns, |jail, plan| in_user_namespace(jail, plan, own_net_ns));
}

/// Fills the root in new namespaces, as a mapped root would, and lets `look` go on there.
fn in_namespaces(plan: &RootfsPlan, own_net_ns: bool, look: impl Fn(&Jail, &RootfsPlan)) {
    let host = rootfs::open_host(plan).unwrap();
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
                let net = if own_net_ns { C::CLONE_NEWNET } else { C::empty() };
                nix::sched::unshare(C::CLONE_NEWNS | C::CLONE_NEWPID | C::CLONE_NEWIPC | net).unwrap();
                // SAFETY: as above; single-threaded by now.
                match unsafe { nix::unistd::fork() }.unwrap() {
                    nix::unistd::ForkResult::Child => {
                        exit_with(|| look(&rootfs::populate(plan, host).unwrap(), plan))
                    }
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
            rootfs::idmap(plan, &host, Some(userns.as_fd())).unwrap();
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

fn in_user_namespace(jail: &Jail, plan: &RootfsPlan, own_net_ns: bool) {
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
    if own_net_ns {
        assert_eq!(fs::read_dir("/sys/class/net").unwrap().count(), 1);
    } else {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let sys = table.lines().filter(|line| line.split(' ').nth(4).unwrap().starts_with("/sys"));
        let sys: Vec<_> =
            sys.filter(|line| !line.contains(" - tmpfs ") || line.contains(" /sys/fs/")).collect();
        assert!(sys.iter().all(|line| line.split(' ').nth(5).unwrap().starts_with("ro,")), "{sys:#?}");
        assert!(sys.len() > 1, "{sys:#?}");
    }
}

fn mount_of_own(path: &str) -> (String, String) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(path)).unwrap();
    let (left, right) = line.split_once(" - ").unwrap();
    (left.split(' ').nth(5).unwrap().into(), right.split(' ').next().unwrap().into())
}
