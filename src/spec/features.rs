//! The document of `features`: what this program knows how to do, whatever the host can (features.md of the
//! runtime-spec). Engines read it before they dare to ask for ID-mapped mounts, `rro` or a seccomp flag.
//!
//! No member that the specification does not define, and none left out: absent would mean "unknown". Pure.

use super::{OCI_VERSION, mount_options, names};
use crate::error::{Error, Result};
use oci_spec::runtime::{
    Apparmor, Arch, Cgroup, IDMap, IntelRdt, LinuxFeature, LinuxNamespaceType, LinuxSeccompAction,
    MemoryPolicy, MountExtensions, NetDevices, Seccomp, Selinux,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// What other rooms know about the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The commit it was built from, if that is known.
    pub commit: Option<&'a str>,
    /// The architectures whose system calls the seccomp compiler knows.
    pub seccomp_archs: &'a [Arch],
    /// The filter flags that are understood in a profile.
    pub seccomp_known_flags: &'a [&'a str],
    /// Those of them that can be used: a subset.
    pub seccomp_supported_flags: &'a [&'a str],
    /// Whether checkpoint and restore are there.
    pub checkpoint: bool,
}

/// Every filter flag of runtime-spec 1.3.
pub const SECCOMP_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// linux.memoryPolicy, whatever the kernel knows of it.
const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// Annotations of config.json that change what happens on the host; a name that ends in a dot is a prefix.
const UNSAFE_ANNOTATIONS: &[&str] = &[
    "org.systemd.property.",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.receiver",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    mount_options: Vec<&'static str>,
    linux: LinuxFeature,
    annotations: BTreeMap<&'static str, &'a str>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

/// The document as it is to be printed: pretty, with a newline at the end.
pub fn document(build: &Build) -> Result<String> {
    let checkpoint = if build.checkpoint { "true" } else { "false" };
    let mut annotations = BTreeMap::from([
        // The switch that engines look at before they offer checkpoints, whichever runtime it is.
        ("org.opencontainers.runc.checkpoint.enabled", checkpoint),
        ("run.oci.orlop.version", build.version),
    ]);
    if let Some(commit) = build.commit {
        annotations.insert("run.oci.orlop.commit", commit);
    }
    let document = Document {
        oci_version_min: "1.0.0",
        oci_version_max: OCI_VERSION,
        hooks: HOOKS,
        mount_options: mount_options::known(),
        linux: linux(build),
        annotations,
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    };
    match serde_json::to_string_pretty(&document) {
        Ok(text) => Ok(text + "\n"),
        Err(e) => Err(Error::new(e.to_string()).doing("write the features")),
    }
}

fn linux(build: &Build) -> LinuxFeature {
    use LinuxNamespaceType::{Cgroup as CgroupNs, Ipc, Mount, Network, Pid, Time, User, Uts};
    let yes = Some(true);
    let no = Some(false);
    let mut cgroup = Cgroup::default();
    cgroup.set_v1(yes).set_v2(yes).set_systemd(yes).set_systemd_user(yes).set_rdma(yes);
    let mut apparmor = Apparmor::default();
    apparmor.set_enabled(yes);
    let mut selinux = Selinux::default();
    selinux.set_enabled(yes);
    let mut idmap = IDMap::default();
    idmap.set_enabled(yes);
    let mut mount_extensions = MountExtensions::default();
    mount_extensions.set_idmap(Some(idmap));
    let mut rdt = IntelRdt::default();
    rdt.set_enabled(no).set_schemata(no).set_monitoring(no);
    let mut net_devices = NetDevices::default();
    net_devices.set_enabled(no);
    let mut memory_policy = MemoryPolicy::default();
    memory_policy.set_modes(owned(&MEMORY_MODES)).set_flags(owned(&MEMORY_FLAGS));

    let mut linux = LinuxFeature::default();
    linux
        .set_namespaces(Some(vec![CgroupNs, Ipc, Mount, Network, Pid, Time, User, Uts]))
        .set_capabilities(Some(names::capabilities()))
        .set_cgroup(Some(cgroup))
        .set_seccomp(Some(seccomp(build)))
        .set_apparmor(Some(apparmor))
        .set_selinux(Some(selinux))
        .set_intel_rdt(Some(rdt))
        .set_memory_policy(Some(memory_policy))
        .set_mount_extensions(Some(mount_extensions))
        .set_net_devices(Some(net_devices));
    linux
}

fn owned(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn seccomp(build: &Build) -> Seccomp {
    use LinuxSeccompAction::{
        ScmpActAllow, ScmpActErrno, ScmpActKill, ScmpActKillProcess, ScmpActKillThread, ScmpActLog,
        ScmpActNotify, ScmpActTrace, ScmpActTrap,
    };
    let mut seccomp = Seccomp::default();
    seccomp
        .set_enabled(Some(true))
        .set_actions(Some(vec![
            ScmpActAllow,
            ScmpActErrno,
            ScmpActKill,
            ScmpActKillProcess,
            ScmpActKillThread,
            ScmpActLog,
            ScmpActNotify,
            ScmpActTrace,
            ScmpActTrap,
        ]))
        .set_operators(owned(&OPERATORS))
        .set_archs(Some(build.seccomp_archs.to_vec()))
        .set_known_flags(owned(build.seccomp_known_flags))
        .set_supported_flags(owned(build.seccomp_supported_flags));
    seccomp
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Features;
    use serde_json::Value;

    fn text() -> String {
        document(&Build {
            version: "0.1.0",
            commit: Some("abc"),
            seccomp_archs: &[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
            seccomp_known_flags: &SECCOMP_FLAGS,
            seccomp_supported_flags: &SECCOMP_FLAGS,
            checkpoint: false,
        })
        .unwrap()
    }

    #[test]
    fn says_what_engines_look_for() {
        let value: Value = serde_json::from_str(&text()).unwrap();
        assert_eq!(value["ociVersionMin"], "1.0.0");
        assert_eq!(value["ociVersionMax"], "1.3.0");
        assert!(value["mountOptions"].as_array().unwrap().contains(&"rro".into()));
        assert_eq!(value["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(value["linux"]["intelRdt"]["enabled"], false);
        assert_eq!(value["linux"]["netDevices"]["enabled"], false);
        assert_eq!(value["linux"]["memoryPolicy"]["modes"].as_array().unwrap().len(), 7);
        assert_eq!(value["linux"]["memoryPolicy"]["flags"].as_array().unwrap().len(), 3);
        assert_eq!(value["linux"]["capabilities"].as_array().unwrap().len(), 41);
        assert_eq!(value["linux"]["seccomp"]["archs"][0], "SCMP_ARCH_X86_64");
        assert_eq!(value["linux"]["seccomp"]["actions"].as_array().unwrap().len(), 9);
        assert_eq!(value["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
        assert_eq!(value["annotations"]["run.oci.orlop.commit"], "abc");
        assert!(!text().contains("null"));
        assert_eq!(text(), text());
    }

    #[test]
    fn reads_back_as_the_type() {
        let features: Features = serde_json::from_str(&text()).unwrap();
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 8);
        assert_eq!(features.hooks().as_ref().unwrap().len(), 6);
    }
}
