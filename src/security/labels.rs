//! AppArmor profile and SELinux label. What a process asks for must exist on the host, or it would run
//! without protection: the check runs in the runtime before anything is made (T40). The exec label itself is
//! written by the last stage, because execve uses it up.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Doing, Error, Result};
use crate::plan::process::ProcessPlan;

/// statfs(2) of selinuxfs.
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
/// statfs(2) of procfs.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What the last stage writes into its own `attr` directory before execve, whole and in one write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecLabels {
    /// For `attr/apparmor/exec`, on kernels before 5.8 `attr/exec`.
    pub apparmor: Option<Vec<u8>>,
    /// For `attr/exec`.
    pub selinux: Option<Vec<u8>>,
}

/// The labels that `plan` asks for, checked against what the host has switched on.
pub fn exec_labels(plan: &ProcessPlan) -> Result<ExecLabels> {
    let mut labels = ExecLabels::default();
    if let Some(profile) = &plan.apparmor_profile {
        if apparmor_enabled()? {
            labels.apparmor = Some(format!("exec {profile}").into_bytes());
        } else if profile != "unconfined" {
            return Err(Error::field(
                "process.apparmorProfile",
                format_args!("profile {profile} cannot be applied: AppArmor is not enabled on this host"),
            ));
        }
    }
    if let Some(label) = &plan.selinux_label {
        if !selinux_enabled() {
            return Err(Error::field(
                "process.selinuxLabel",
                format_args!("label {label} cannot be applied: SELinux is not enabled on this host"),
            ));
        }
        labels.selinux = Some(label.clone().into_bytes());
    }
    Ok(labels)
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

/// selinuxfs is mounted at its place.
pub fn selinux_enabled() -> bool {
    rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|fs| fs.f_type == SELINUX_MAGIC)
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

    fn labels(process: serde_json::Value) -> Result<ExecLabels> {
        let mut all = serde_json::json!({"ociVersion": "1.3.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"}});
        for (key, value) in process.as_object().unwrap() {
            all["process"][key] = value.clone();
        }
        let spec = serde_json::from_value(all).unwrap();
        exec_labels(&plan(&spec, &[], &Options::default(), &mut Vec::new()).unwrap().unwrap())
    }

    #[test]
    fn a_profile_without_the_module_is_refused() {
        assert_eq!(labels(serde_json::json!({})).unwrap(), ExecLabels::default());
        let asked = labels(serde_json::json!({"apparmorProfile": "docker-default"}));
        if apparmor_enabled().unwrap() {
            assert_eq!(asked.unwrap().apparmor.unwrap(), b"exec docker-default");
        } else {
            let e = asked.unwrap_err().to_string();
            assert!(
                e.starts_with("process.apparmorProfile: profile docker-default cannot be applied"),
                "{e}"
            );
            let none = labels(serde_json::json!({"apparmorProfile": "unconfined"})).unwrap();
            assert_eq!(none, ExecLabels::default());
        }
        let asked = labels(serde_json::json!({"selinuxLabel": "u:r:t:s0"}));
        assert_eq!(asked.is_ok(), selinux_enabled());
    }
}
