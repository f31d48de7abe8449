//! What a test needs of the host, and how it is found out. A missing need skips the test with the reason;
//! a need named in `NEEDS_HAVE=root,cgroup1,…` must be there (CI and the VM list what they offer).

use nix::sched::CloneFlags;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // what later tests (v2, systemd, checkpoint) ask for is probed already
pub enum Need {
    Root,
    Cgroup1,
    /// A controller that has a v1 hierarchy.
    Ctrl1(&'static str),
    /// A controller, by its name of v1, in a hierarchy of its own or in the tree of v2.
    Ctrl(&'static str),
    /// A pure v2 host with controllers.
    Cgroup2,
    Systemd,
    Apparmor,
    Selinux,
    Userns,
    Timens,
    Seccomp,
    Criu,
    Overlay,
    /// Identity-mapped mounts on the file system of the temporary directory.
    Idmap,
    /// Recursive mount attributes (kernel 5.12).
    MountSetattr,
    /// A descriptor of a process that others can use (kernel 5.3).
    Pidfd,
    /// Descriptors taken from another process, as the seccomp listener is (kernel 5.6).
    PidfdGetfd,
    Ipv6,
    /// CAP_SYS_RESOURCE, to raise hard limits.
    Resource,
    /// The published JSON schemas beside the repository, and python3 with jsonschema.
    Schema,
    /// A program in PATH.
    Tool(&'static str),
    /// A kernel that does not make memory policies an error.
    Numa,
    /// cpu.idle and a burst of the quota; the root cgroup has no such files to ask for.
    CpuIdle,
}

impl Need {
    pub fn name(&self) -> String {
        match self {
            Need::Ctrl1(name) => format!("cgroup1:{name}"),
            Need::Ctrl(name) => format!("cgroup:{name}"),
            Need::Tool(name) => (*name).to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    pub fn probe(&self) -> Result<(), String> {
        let (met, reason) = match self {
            Need::Root => (nix::unistd::geteuid().is_root(), "not root".into()),
            Need::Cgroup1 => (hierarchy("memory").is_some(), "no cgroup v1 hierarchy with memory".into()),
            Need::Ctrl1(name) => (hierarchy(name).is_some(), format!("no cgroup v1 hierarchy with {name}")),
            Need::Ctrl(name) => {
                (super::cgroup::mount(name).is_some(), format!("no cgroup controller {name}"))
            }
            Need::Cgroup2 => {
                let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
                (pure, "no unified cgroup v2 hierarchy at /sys/fs/cgroup".into())
            }
            Need::Systemd => (Path::new("/run/systemd/system").exists(), "systemd does not run".into()),
            Need::Apparmor => (reads("/sys/module/apparmor/parameters/enabled", "Y"), "no AppArmor".into()),
            Need::Selinux => (Path::new("/sys/fs/selinux/enforce").exists(), "no SELinux".into()),
            Need::Userns => (child_can(CloneFlags::CLONE_NEWUSER), "no user namespaces".into()),
            Need::Timens => (Path::new("/proc/self/ns/time").exists(), "no time namespaces".into()),
            Need::Seccomp => {
                (Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(), "no seccomp".into())
            }
            Need::Criu => return tool("criu"),
            Need::Overlay => (reads_any("/proc/filesystems", "\toverlay\n"), "no overlay file system".into()),
            Need::Idmap => return calls((5, 12), &DETACHED),
            Need::MountSetattr => return calls((5, 12), &DETACHED),
            Need::Pidfd => {
                // Any of them gives one.
                let all = ["clone3", "clone:0&0x1000", "pidfd_open"].iter().all(|call| is_refused(call));
                (
                    kernel() >= (5, 3) && !all,
                    "pidfds need kernel 5.3, and one of the calls that give one".into(),
                )
            }
            Need::PidfdGetfd => return calls((5, 6), &["pidfd_getfd"]),
            Need::Ipv6 => (Path::new("/proc/sys/net/ipv6").exists(), "no IPv6".into()),
            Need::Resource => (effective(24), "no CAP_SYS_RESOURCE".into()),
            Need::Schema => return super::config::schema_dir().map(|_| ()),
            Need::Tool(name) => return tool(name),
            Need::CpuIdle => (kernel() >= (5, 15), "no cpu.idle before Linux 5.15".into()),
            Need::Numa => (Path::new("/sys/devices/system/node/node0").exists(), "no NUMA support".into()),
        };
        if met { Ok(()) } else { Err(reason) }
    }
}

/// What mounts with attributes from before they are attached are made with.
const DETACHED: [&str; 3] = ["open_tree", "move_mount", "mount_setattr"];

/// Calls that the kernel has since `since`, unless a filter around the runtime takes one of them (`CONTRACT_REFUSED`,
/// as hack/old-kernel.sh sets it). What the runtime does then is in old_kernel.rs.
fn calls(since: (u32, u32), names: &[&str]) -> Result<(), String> {
    if kernel() < since {
        return Err(format!("{} needs kernel {}.{}", names.join(", "), since.0, since.1));
    }
    match names.iter().find(|name| is_refused(name)) {
        Some(name) => Err(format!("{name} is refused around the runtime")),
        None => Ok(()),
    }
}

fn is_refused(name: &str) -> bool {
    std::env::var("CONTRACT_REFUSED").is_ok_and(|refused| refused.split(',').any(|call| call == name))
}

fn tool(name: &str) -> Result<(), String> {
    super::runtime::in_path(name).map(|_| ()).ok_or(format!("no {name} in PATH"))
}

fn reads(path: &str, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|t| t.trim() == text)
}

fn reads_any(path: &str, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|t| t.contains(text))
}

/// Kernel release as (major, minor).
pub fn kernel() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = text.split(['.', '-']).filter_map(|p| p.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// How many seccomp filters every container has of its callers': those of this process, and the one of
/// `CONTRACT_REFUSED`.
pub fn outer_filters() -> u32 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own = text.lines().find_map(|l| l.strip_prefix("Seccomp_filters:")?.trim().parse().ok()).unwrap_or(0);
    own + u32::from(std::env::var_os("CONTRACT_REFUSED").is_some())
}

/// Whether effective capability `bit` is held.
pub fn effective(bit: u32) -> bool {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or("0");
    u64::from_str_radix(line.trim(), 16).unwrap_or(0) >> bit & 1 == 1
}

/// The mount point of the v1 hierarchy that has `controller`.
pub fn hierarchy(controller: &str) -> Option<std::path::PathBuf> {
    super::leftovers::hierarchies().into_iter().find(|h| h.has(controller)).map(|h| h.mount)
}

fn child_can(flags: CloneFlags) -> bool {
    use nix::sys::wait::{WaitStatus, waitpid};
    // SAFETY: the child makes two system calls and leaves by _exit.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => {
            let code = i32::from(nix::sched::unshare(flags).is_err());
            // SAFETY: no destructors are wanted in the child.
            unsafe { libc::_exit(code) }
        }
        Ok(nix::unistd::ForkResult::Parent { child }) => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0)))
        }
        Err(_) => false,
    }
}
