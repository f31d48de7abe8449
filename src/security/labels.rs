//! AppArmor profile and SELinux label. What a process asks for must exist on the host, or it would run
//! without protection: the check runs in the runtime before anything is made (T40). The label itself is
//! written by the last stage, because execve uses it up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::plan::process::ProcessPlan;
use crate::sys::mount;
use crate::sys::procfs::Proc;

/// statfs(2) of selinuxfs.
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
/// statfs(2) of procfs.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What the last stage writes into its own `attr` directory before execve, whole and in one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecLabel {
    pub text: Vec<u8>,
    /// Where to, below `attr`: the first of these that the kernel has.
    pub files: &'static [&'static str],
}

/// The label that `plan` asks for, checked against what the host has switched on.
pub fn exec_label(plan: &ProcessPlan) -> Result<Option<ExecLabel>> {
    let apparmor = match plan.apparmor_profile.as_deref() {
        Some("unconfined") if !apparmor_enabled()? => None,
        Some(profile) if !apparmor_enabled()? => {
            return Err(Error::field(
                "process.apparmorProfile",
                format_args!("profile {profile} cannot be applied: AppArmor is not enabled on this host"),
            ));
        }
        // AppArmor has a directory of its own since 5.8.
        Some(profile) => Some(ExecLabel {
            text: format!("exec {profile}").into_bytes(),
            files: &["apparmor/exec", "exec"],
        }),
        None => None,
    };
    let Some(label) = &plan.selinux_label else { return Ok(apparmor) };
    require_selinux("process.selinuxLabel", label)?;
    if apparmor.is_some() {
        return Err(Error::field("process.selinuxLabel", "cannot be had beside process.apparmorProfile"));
    }
    Ok(Some(ExecLabel { text: label.clone().into_bytes(), files: &["exec"] }))
}

/// Refuses the label in `field` where SELinux would not look at it, or does not know it.
pub fn require_selinux(field: &str, label: &str) -> Result<()> {
    if !selinux_enabled() {
        let why = format!("label {label} cannot be applied: SELinux is not enabled on this host");
        return Err(Error::field(field, why));
    }
    // Whoever may not ask hears of it from the kernel when the label is set.
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/sys/fs/selinux/context", flags, Mode::empty()) else { return Ok(()) };
    match rustix::io::retry_on_intr(|| rustix::io::write(&file, label.as_bytes())) {
        Err(rustix::io::Errno::INVAL) => {
            Err(Error::field(field, format_args!("label {label} is not valid in the loaded SELinux policy")))
        }
        _ => Ok(()),
    }
}

/// The attr directory of a child, for the child: it has to open the file itself (since 5.13), where the container's
/// files hide ours. A mount of its own has no way up to the host's processes; without privilege over mounts there is
/// nothing up there that the user cannot see anyway.
pub fn attr_dir(pid: i32) -> Result<OwnedFd> {
    let dir = Proc::host()?.open_file(&format!("{pid}/attr"), OFlags::PATH | OFlags::DIRECTORY)?;
    match mount::open_tree_clone(dir.as_fd(), c"", false) {
        // EPERM: an ordinary user, who may not clone mounts of the host's.
        Err(e) if mount::is_missing(&e) || e.errno() == libc::EPERM => Ok(dir),
        clone => clone.doing("open the attr directory of a process"),
    }
}

/// The module's own answer; no such file means a kernel without it.
pub fn apparmor_enabled() -> Result<bool> {
    let path = "/sys/module/apparmor/parameters/enabled";
    let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(false),
        other => other.call("open").at(path)?,
    };
    let mut answer = [0; 1];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut answer)).call("read").at(path)?;
    Ok(length == 1 && answer == *b"Y")
}

/// selinuxfs is mounted at its place, and a policy is loaded: without one the kernel calls everything `kernel` and
/// takes any label without a word.
pub fn selinux_enabled() -> bool {
    let mounted = || rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|fs| fs.f_type == SELINUX_MAGIC);
    mounted() && own_label().is_ok_and(|label| !label.starts_with(b"kernel\0") && label != b"kernel")
}

fn own_label() -> Result<Vec<u8>> {
    let path = "/proc/self/attr/current";
    let file =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call("open").at(path)?;
    let mut label = vec![0; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut label)).call("read").at(path)?;
    label.truncate(length);
    Ok(label)
}

/// The label of keys and keyrings made from now on. `attr` is /proc/self/attr, opened by the caller through a
/// procfs of its own (CVE-2025-52881: a name could lead to another file).
pub fn set_key_label(attr: BorrowedFd<'_>, label: &str) -> Result<()> {
    let file = rustix::fs::openat(
        attr,
        "keycreate",
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .call("openat")
    .at("attr/keycreate")?;
    if rustix::fs::fstatfs(file.as_fd()).call("fstatfs")?.f_type != PROC_SUPER_MAGIC {
        return Err(Error::new("is not a file of procfs").at("attr/keycreate"));
    }
    rustix::io::retry_on_intr(|| rustix::io::write(&file, label.as_bytes()))
        .call("write")
        .at("attr/keycreate")
        .doing("set the SELinux label of the session keyring")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::process::{Options, plan};

    fn label(process: serde_json::Value) -> Result<Option<ExecLabel>> {
        let mut all = serde_json::json!({"ociVersion": "1.3.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"}});
        for (key, value) in process.as_object().unwrap() {
            all["process"][key] = value.clone();
        }
        let spec = serde_json::from_value(all).unwrap();
        exec_label(&plan(&spec, &[], &Options::default(), &mut Vec::new()).unwrap().unwrap())
    }

    #[test]
    fn the_attr_directory_leads_to_no_other_process() {
        let dir = attr_dir(std::process::id() as i32).unwrap();
        let inode = |fd: BorrowedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let up = rustix::fs::openat(&dir, "..", OFlags::PATH, Mode::empty()).unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!(inode(up.as_fd()), inode(dir.as_fd()));
        }
        assert!(attr_dir(-1).is_err());
    }

    #[test]
    fn a_profile_without_the_module_is_refused() {
        assert_eq!(label(serde_json::json!({})).unwrap(), None);
        let asked = label(serde_json::json!({"apparmorProfile": "docker-default"}));
        if apparmor_enabled().unwrap() {
            assert_eq!(asked.unwrap().unwrap().text, b"exec docker-default");
        } else {
            let e = asked.unwrap_err().to_string();
            assert!(
                e.starts_with("process.apparmorProfile: profile docker-default cannot be applied"),
                "{e}"
            );
            let none = label(serde_json::json!({"apparmorProfile": "unconfined"})).unwrap();
            assert_eq!(none, None);
        }
        let asked = label(serde_json::json!({"selinuxLabel": "u:r:t:s0"}));
        assert_eq!(asked.is_ok(), selinux_enabled());
    }
}
