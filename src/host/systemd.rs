//! The systemd that makes units for us, and where it is itself. Read for the systemd driver only.

use super::{in_user_namespace, read};
use crate::error::Result;
use crate::plan::cgroup::Version;
use crate::plan::cgroup::facts::{Asker, HostHierarchy, ManagerFacts};
use std::path::PathBuf;

/// The manager of the system for its root, the user's own for everybody else.
pub fn facts(hierarchies: &[HostHierarchy]) -> Result<ManagerFacts> {
    let euid = rustix::process::geteuid().as_raw();
    let outer = outer_uid_here(in_user_namespace()?, euid)?;
    if euid != 0 || outer != 0 && !is_system_ours() {
        let paths = hierarchies.iter().map(|host| user_manager(&host.own, outer)).collect();
        let bus = user_bus(outer);
        let private = Some(bus.with_file_name("systemd").join("private"));
        return Ok(ManagerFacts { user: true, bus, private, uid: outer, paths });
    }
    let first = read("/proc/1/cgroup")?;
    let paths = hierarchies.iter().map(|host| of_process(&first, host)).collect();
    let private = Some("/run/systemd/private".into());
    // The bus and its daemon see our ids as we do.
    Ok(ManagerFacts { user: false, bus: system_bus(), private, uid: euid, paths })
}

/// Who asks the system's manager to move our processes; its root need not.
pub fn asker(in_user_namespace: bool, euid: u32) -> Result<Option<Asker>> {
    let uid = outer_uid_here(in_user_namespace, euid)?;
    let needs = uid != 0 && !(euid == 0 && is_system_ours());
    Ok(needs.then(|| Asker { bus: system_bus(), uid }))
}

/// Whether the system's manager belongs to our own root: in a container with a systemd of its own (LXD, kind), and not
/// where a user has made himself root of a namespace (rootless Podman).
fn is_system_ours() -> bool {
    let owned = |path: PathBuf| rustix::fs::stat(&path).map(|found| found.st_uid == 0);
    owned(system_bus()).or_else(|_| owned("/run/systemd".into())).unwrap_or(false)
}

fn outer_uid_here(in_user_namespace: bool, euid: u32) -> Result<u32> {
    match in_user_namespace {
        true => Ok(outer_uid(&read("/proc/self/uid_map")?, euid)),
        false => Ok(euid),
    }
}

/// Our uid where nothing is mapped: what the bus sees of us. `map` is uid_map.
fn outer_uid(map: &str, uid: u32) -> u32 {
    for line in map.lines() {
        let words: Vec<u64> = line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [inside, outside, count] = words[..]
            && (inside..inside + count).contains(&uid.into())
        {
            return u32::try_from(outside + u64::from(uid) - inside).unwrap_or(uid);
        }
    }
    uid
}

/// The first `unix:path=` of a D-Bus address list.
fn unix_path(address: &str) -> Option<PathBuf> {
    address.split(';').find_map(|one| {
        let keys = one.strip_prefix("unix:")?;
        keys.split(',').find_map(|key| key.strip_prefix("path=")).map(PathBuf::from)
    })
}

fn system_bus() -> PathBuf {
    let named = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    named.as_deref().and_then(unix_path).unwrap_or_else(|| "/run/dbus/system_bus_socket".into())
}

fn user_bus(uid: u32) -> PathBuf {
    let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    let runtime = || std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("bus"));
    let usual = || format!("/run/user/{uid}/bus").into();
    named.as_deref().and_then(unix_path).or_else(runtime).unwrap_or_else(usual)
}

/// Where process 1 is, which may be in a scope of its own.
fn of_process(cgroups: &str, host: &HostHierarchy) -> String {
    let path = cgroups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let fits = match host.version {
            Version::V2 => controllers.is_empty(),
            Version::V1 => host.controllers.iter().any(|wanted| controllers.split(',').any(|c| c == wanted)),
        };
        fits.then_some(path)
    });
    let path = path.unwrap_or("/");
    let path = path.strip_suffix("/init.scope").unwrap_or(path);
    // Outside of our cgroup namespace, or of the mount: there it cannot be reached by name anyway.
    if path.is_empty() || path.contains("..") { "/".into() } else { path.into() }
}

/// `…/user@UID.service`, in which the user's manager has all its units.
fn user_manager(own: &str, uid: u32) -> String {
    let service = format!("/user@{uid}.service");
    match own.find(&service) {
        Some(at) => own[..at + service.len()].to_owned(),
        None => format!("/user.slice/user-{uid}.slice{service}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_followed_outwards() {
        assert_eq!(outer_uid("         0          0 4294967295\n", 1000), 1000);
        assert_eq!(outer_uid("0 1000 1\n1 100000 65536\n", 0), 1000);
        assert_eq!(outer_uid("0 1000 1\n1 100000 65536\n", 5), 100_004);
    }

    #[test]
    fn addresses_and_paths() {
        assert_eq!(unix_path("unix:abstract=/x;unix:path=/run/bus,guid=1"), Some("/run/bus".into()));
        assert_eq!(unix_path("tcp:host=x"), None);
        assert_eq!(
            user_manager("/user.slice/user-7.slice/user@7.service/app.slice/x", 7),
            "/user.slice/user-7.slice/user@7.service"
        );
        assert_eq!(
            user_manager("/user.slice/user-7.slice/session-1.scope", 7),
            "/user.slice/user-7.slice/user@7.service"
        );
        let v2 =
            HostHierarchy { version: Version::V2, controllers: vec![], mount: "/c".into(), own: "/".into() };
        assert_eq!(of_process("1:name=systemd:/x\n0::/init.scope\n", &v2), "/");
        assert_eq!(of_process("0::/docker/a/init.scope\n", &v2), "/docker/a");
    }
}
