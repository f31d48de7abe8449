//! The rules of `mounts`: what can be told from the entry alone. Symlinks, file systems and privileges are seen
//! by those who mount. Pure.

use super::super::field::Field;
use super::super::mount_options::{self, Bind, Idmap, MountOptions};
use super::namespaces::id_mappings;
use super::{Problems, has_namespace, has_nul};
use libc::MS_REMOUNT;
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use std::path::{Component, Path, PathBuf};

/// Files below /proc that may be mounted over: those that lxcfs emulates, and two that callers hide. Anything
/// else could feed the container (or us) a forged procfs (CVE-2019-16884).
const OVER_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

pub(super) fn check(spec: &Spec, problems: &mut Problems) {
    let has_user_namespace = has_namespace(spec, LinuxNamespaceType::User);
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        let field = Field::new("mounts").item(i);
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        destination(mount, &options, &field, problems);
        source_and_type(mount, &options, &field, problems);
        for (j, option) in mount.options().iter().flatten().enumerate() {
            if option.contains('\0') {
                problems.add(field.member("options").item(j), format_args!("{option:?} holds a NUL byte"));
            }
        }
        mappings(mount, &options, has_user_namespace, &field, problems);
    }
}

fn is_bind(mount: &Mount, options: &MountOptions) -> bool {
    options.bind != Bind::No || mount.typ().as_deref() == Some("bind")
}

/// The destination as a path from the container's root, without `.` and `..`. Symlinks are not seen.
fn from_root(destination: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in destination.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

fn destination(mount: &Mount, options: &MountOptions, field: &Field, problems: &mut Problems) {
    let field = field.member("destination");
    let destination = mount.destination();
    if destination.as_os_str().is_empty() {
        return problems.add(field, "is empty");
    }
    if has_nul(destination) {
        return problems.add(field, "holds a NUL byte");
    }
    let clean = from_root(destination);
    if clean == Path::new("/") {
        problems.add(field, "the root itself cannot be mounted over");
    } else if clean == Path::new("/proc") {
        // Whether a bind brings a procfs is seen when it is opened.
        if !is_bind(mount, options) && mount.typ().as_deref() != Some("proc") {
            problems.add(field, format_args!("{clean:?} cannot be mounted because it is not of type proc"));
        }
    } else if clean.starts_with("/proc") && !OVER_PROC.iter().any(|allowed| clean == Path::new(allowed)) {
        problems.add(field, format_args!("{clean:?} cannot be mounted because it is inside /proc"));
    }
}

fn source_and_type(mount: &Mount, options: &MountOptions, field: &Field, problems: &mut Problems) {
    if mount.source().as_ref().is_some_and(|source| has_nul(source)) {
        problems.add(field.member("source"), "holds a NUL byte");
    }
    if mount.typ().as_ref().is_some_and(|kind| kind.contains('\0')) {
        problems.add(field.member("type"), "holds a NUL byte");
    }
    let remount = options.set & MS_REMOUNT != 0;
    if is_bind(mount, options) {
        if mount.source().is_none() && !remount {
            problems.add(field.member("source"), "a bind mount needs one");
        }
        if !options.data.is_empty() {
            let data = options.data.join(",");
            problems.add(
                field.member("options"),
                format_args!("bind mounts cannot have any filesystem-specific options applied: {data:?}"),
            );
        }
    } else if mount.typ().is_none() && !remount {
        problems.add(field.member("type"), "is missing, and the options do not say bind");
    }
}

fn mappings(mount: &Mount, options: &MountOptions, has_user: bool, field: &Field, problems: &mut Problems) {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    if uids.is_empty() != gids.is_empty() {
        let absent = if uids.is_empty() { "uidMappings" } else { "gidMappings" };
        problems.add(field.member(absent), "uidMappings and gidMappings must be given together");
    }
    if options.idmap != Idmap::No && uids.is_empty() && gids.is_empty() && !has_user {
        let problem = "idmap needs uidMappings and gidMappings, or a user namespace in linux.namespaces";
        problems.add(field.member("options"), problem);
    }
    id_mappings(&field.member("uidMappings"), uids, problems);
    id_mappings(&field.member("gidMappings"), gids, problems);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rows, table};
    use serde_json::{Value, json};

    #[test]
    fn mounts() {
        let tmpfs = |destination: &str| json!([{"destination": destination, "type": "tmpfs", "source": "t"}]);
        let bind = |options: Value| json!([{"destination": "/x", "type": "none", "source": "/y", "options": options}]);
        let inside = |path: &str| {
            format!("mounts[0].destination: \"{path}\" cannot be mounted because it is inside /proc")
        };
        rows(
            "mounts",
            &[
                (tmpfs(""), "mounts[0].destination: is empty"),
                (tmpfs("/a\0b"), "mounts[0].destination: holds a NUL byte"),
                (tmpfs("/"), "mounts[0].destination: the root itself cannot be mounted over"),
                (tmpfs("/x/../."), "mounts[0].destination: the root itself cannot be mounted over"),
                (
                    tmpfs("/proc"),
                    "mounts[0].destination: \"/proc\" cannot be mounted because it is not of type proc",
                ),
                (
                    tmpfs("proc/"),
                    "mounts[0].destination: \"/proc\" cannot be mounted because it is not of type proc",
                ),
                (tmpfs("/proc/bus"), &inside("/proc/bus")),
                (tmpfs("/x/..//proc/./sys/../self"), &inside("/proc/self")),
                (tmpfs("/proc/meminfo"), ""),
                (tmpfs("/proc/sys/crypto/fips_enabled"), ""),
                (tmpfs("/process"), ""),
                (json!([{"destination": "/proc", "type": "proc", "source": "proc"}]), ""),
                (json!([{"destination": "/proc", "source": "/proc", "options": ["rbind"]}]), ""),
                (
                    json!([{"destination": "/x", "options": ["bind"]}]),
                    "mounts[0].source: a bind mount needs one",
                ),
                (json!([{"destination": "/x", "type": "bind"}]), "mounts[0].source: a bind mount needs one"),
            ],
        );
        table(&[(
            &[("mounts", json!([{"destination": "/x", "source": "a\0", "type": "t\0"}]))],
            &["mounts[0].source: holds a NUL byte", "mounts[0].type: holds a NUL byte"],
        )]);
        rows(
            "mounts",
            &[
                (
                    json!([{"destination": "/x", "source": "y"}]),
                    "mounts[0].type: is missing, and the options do not say bind",
                ),
                (json!([{"destination": "/x", "options": ["remount", "ro"]}]), ""),
                (bind(json!(["bind", "ro", "rprivate"])), ""),
                (
                    bind(json!(["rbind", "mode=755", "size=1"])),
                    "mounts[0].options: bind mounts cannot have any filesystem-specific options applied: \"mode=755,size=1\"",
                ),
                (
                    json!([{"destination": "/x", "type": "tmpfs", "options": ["a\0"]}]),
                    "mounts[0].options[0]: \"a\\0\" holds a NUL byte",
                ),
            ],
        );
    }

    #[test]
    fn mapped_mounts() {
        let maps = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let mount = |option: &str, uids: Value, gids: Value| json!([{"destination": "/x", "type": "none", "source": "/y", "options": [option, "bind"], "uidMappings": uids, "gidMappings": gids}]);
        rows(
            "mounts",
            &[
                (mount("idmap", maps.clone(), maps.clone()), ""),
                (mount("rw", maps.clone(), maps.clone()), ""),
                (
                    mount("idmap", maps.clone(), json!([])),
                    "mounts[0].gidMappings: uidMappings and gidMappings must be given together",
                ),
                (
                    mount("ridmap", json!(null), maps.clone()),
                    "mounts[0].uidMappings: uidMappings and gidMappings must be given together",
                ),
                (
                    mount("idmap", json!(null), json!(null)),
                    "mounts[0].options: idmap needs uidMappings and gidMappings, or a user namespace in linux.namespaces",
                ),
                (
                    mount("idmap", json!([{"containerID": 0, "hostID": 0, "size": 0}]), maps.clone()),
                    "mounts[0].uidMappings[0].size: must be above 0",
                ),
            ],
        );
        table(&[(
            &[
                ("mounts", mount("idmap", json!(null), json!(null))),
                ("linux.namespaces", json!([{"type": "mount"}, {"type": "user", "path": "/proc/1/ns/user"}])),
            ],
            &[],
        )]);
    }
}
