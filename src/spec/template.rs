//! The configuration that `spec` writes: a shell in its own namespaces, equal in meaning to runc's.
//!
//! The pieces are oci-spec's types, but none of its defaults, which belong to another runtime; the frame is our
//! own because its sets come out in a new order every time. Pure.

use super::OCI_VERSION;
use crate::error::{Error, Result};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxDeviceCgroup, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType,
    LinuxResources, Mount, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Root, User,
};
use serde::Serialize;

/// The order of the members in the file, from what is edited most.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [PosixRlimit; 1],
    no_new_privileges: bool,
}

/// No inheritable set: it would survive the execve of programs with file capabilities (CVE-2022-29162). And so
/// no ambient one, which the kernel keeps within the inheritable (runc writes it, without effect).
#[derive(Debug, Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

#[rustfmt::skip]
const MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
];

const MASKED_PATHS: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The file as it is to be written, pretty and with a newline at the end. `rootless` holds the caller's uid and
/// gid and gives a container that they can run without privileges; `cgroup2` says that the host has the unified
/// hierarchy, where a cgroup namespace is the rule.
pub fn document(rootless: Option<(u32, u32)>, cgroup2: bool) -> Result<String> {
    let mut mounts = MOUNTS.map(|(destination, kind, source, options)| {
        mount(destination, kind, source, options.iter().map(|option| (*option).to_owned()).collect())
    });
    if rootless.is_some() {
        mounts.iter_mut().for_each(make_rootless);
    }
    let document = Document {
        oci_version: OCI_VERSION,
        process: process()?,
        root: root(),
        hostname: "orlop",
        mounts: mounts.into(),
        linux: linux(rootless, cgroup2)?,
    };
    match serde_json::to_string_pretty(&document) {
        Ok(text) => Ok(text + "\n"),
        Err(e) => Err(Error::new(e.to_string()).doing("write the configuration")),
    }
}

fn process() -> Result<Process> {
    let open_files =
        PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).hard(1024_u64).soft(1024_u64);
    Ok(Process {
        terminal: true,
        user: User::default(),
        args: ["sh"],
        env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        cwd: "/",
        capabilities: Capabilities {
            bounding: CAPABILITIES,
            effective: CAPABILITIES,
            permitted: CAPABILITIES,
        },
        rlimits: [open_files.build().map_err(unbuilt)?],
        no_new_privileges: true,
    })
}

fn unbuilt(e: OciSpecError) -> Error {
    Error::new(e.to_string()).doing("make the configuration")
}

fn root() -> Root {
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(true));
    root
}

fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(destination.into()).set_typ(Some(kind.to_owned())).set_source(Some(source.into()));
    if !options.is_empty() {
        mount.set_options(Some(options));
    }
    mount
}

/// Groups other than the caller's own are not mapped, and a sysfs needs a network namespace of the same owner.
fn make_rootless(mount: &mut Mount) {
    if mount.typ().as_deref() == Some("sysfs") {
        mount.set_typ(Some("none".to_owned())).set_source(Some("/sys".into()));
        mount.options_mut().get_or_insert_default().insert(0, "rbind".to_owned());
    }
    if let Some(options) = mount.options_mut() {
        options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
}

fn linux(rootless: Option<(u32, u32)>, cgroup2: bool) -> Result<Linux> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let mut kinds = vec![Pid, Network, Ipc, Uts, Mount];
    if cgroup2 {
        kinds.push(Cgroup);
    }
    let mut linux = Linux::default();
    let owned = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
    linux.set_masked_paths(owned(&MASKED_PATHS)).set_readonly_paths(owned(&READONLY_PATHS));
    if let Some((uid, gid)) = rootless {
        kinds.retain(|kind| *kind != Network);
        kinds.push(User);
        linux.set_uid_mappings(Some(vec![only(uid)?])).set_gid_mappings(Some(vec![only(gid)?]));
        linux.set_resources(None);
    } else {
        let mut nothing_allowed = LinuxDeviceCgroup::default();
        nothing_allowed.set_allow(false).set_access(Some("rwm".to_owned()));
        let mut resources = LinuxResources::default();
        resources.set_devices(Some(vec![nothing_allowed]));
        linux.set_resources(Some(resources));
    }
    let namespace = |kind: LinuxNamespaceType| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    };
    linux.set_namespaces(Some(kinds.into_iter().map(namespace).collect()));
    Ok(linux)
}

/// Root of the container is `id`, and there is no one else.
fn only(id: u32) -> Result<LinuxIdMapping> {
    let mapping = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(id).size(1_u32);
    mapping.build().map_err(unbuilt)
}

#[cfg(test)]
mod tests {
    use super::super::{parse, validate};
    use super::*;
    use serde_json::Value;
    use std::path::Path;
    use std::process::Command;

    fn value(rootless: Option<(u32, u32)>, cgroup2: bool) -> Value {
        serde_json::from_str(&document(rootless, cgroup2).unwrap()).unwrap()
    }

    #[test]
    fn is_valid_by_our_own_rules() {
        for (rootless, cgroup2) in [(None, false), (None, true), (Some((1000, 1000)), true)] {
            let raw = document(rootless, cgroup2).unwrap().into_bytes();
            assert_eq!(raw.last(), Some(&b'\n'));
            let bundle = parse(Path::new("/b"), Path::new("/b/config.json"), raw).unwrap();
            assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
            let faults: Vec<_> = validate(&bundle).iter().map(ToString::to_string).collect();
            assert!(faults.is_empty(), "{faults:?}");
            assert_eq!(bundle.spec.version(), "1.3.0");
        }
    }

    #[test]
    fn has_no_nulls_and_is_the_same_every_time() {
        let text = document(None, true).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert_eq!(text, document(None, true).unwrap());
        assert!(text.starts_with("{\n  \"ociVersion\": \"1.3.0\",\n  \"process\": {\n"), "{text}");
    }

    #[test]
    fn rootless_maps_the_caller() {
        let rootless = value(Some((1000, 1001)), true);
        assert_eq!(rootless["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(rootless["linux"]["gidMappings"][0]["hostID"], 1001);
        assert!(rootless["linux"].get("resources").is_none());
        let kinds: Vec<_> =
            rootless["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }

    /// The same as what an installed runc writes, apart from its version and name. Skips without runc.
    #[test]
    fn equals_runc() {
        for rootless in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut command = Command::new("runc");
            command.arg("spec").current_dir(dir.path());
            if rootless {
                command.arg("--rootless");
            }
            match command.status() {
                Ok(status) if status.success() => {}
                other => {
                    return crate::skip::skip(&[], &format!("runc spec does not run here ({other:?})"));
                }
            }
            let text = std::fs::read(dir.path().join("config.json")).unwrap();
            let mut theirs: Value = serde_json::from_slice(&text).unwrap();
            theirs["ociVersion"] = OCI_VERSION.into();
            theirs["hostname"] = "orlop".into();
            // Without an inheritable set the kernel allows no ambient one: theirs has no effect.
            theirs["process"]["capabilities"].as_object_mut().unwrap().remove("ambient");
            let cgroup2 = theirs["linux"]["namespaces"].to_string().contains("cgroup");
            let host_id = |maps: &str| theirs["linux"][maps][0]["hostID"].as_u64().map(|id| id as u32);
            let ids = rootless.then(|| (host_id("uidMappings").unwrap(), host_id("gidMappings").unwrap()));
            let ours = value(ids, cgroup2);
            for part in ["ociVersion", "process", "root", "hostname", "mounts"] {
                assert_eq!(ours[part], theirs[part], "{part}");
            }
            // Later versions of runc mask more.
            let (ours, mut theirs) = (ours["linux"].clone(), theirs["linux"].clone());
            for path in ours["maskedPaths"].as_array().unwrap() {
                assert!(theirs["maskedPaths"].as_array().unwrap().contains(path), "{path}");
            }
            theirs["maskedPaths"] = ours["maskedPaths"].clone();
            assert_eq!(ours, theirs);
        }
    }
}
