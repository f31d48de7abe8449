//! The systemd that makes units for us, and where it is itself. Read for the systemd driver only.

use super::cgroup::read_whole;
use crate::error::Result;
use crate::plan::cgroup::Version;
use crate::plan::cgroup::facts::{Asker, HostHierarchy, ManagerFacts};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The manager of the system for its root, the user's own for everybody else.
pub fn facts(hierarchies: &[HostHierarchy], in_user_namespace: bool, euid: u32) -> Result<ManagerFacts> {
    let outer = outer_uid_here(in_user_namespace, euid)?;
    if euid != 0 || outer != 0 && !is_system_ours() {
        let own = hierarchies.iter().find(|h| h.version == Version::V2).map_or("/", |host| &host.own);
        // hidepid: process 1 is not for everybody's eyes.
        let root = user_manager(own, outer, &read_whole("/proc/1/cgroup").unwrap_or_default());
        let runtime = runtime_dir(outer);
        // Never beside a bus that is named otherwise: in /tmp anybody may listen.
        let private = Some(runtime.join("systemd/private"));
        return Ok(ManagerFacts { user: true, bus: user_bus(&runtime), private, uid: outer, root });
    }
    let root = system_root(&read_whole("/proc/1/cgroup")?);
    let private = Some("/run/systemd/private".into());
    // The bus and its daemon see our ids as we do.
    Ok(ManagerFacts { user: false, bus: system_bus(), private, uid: euid, root })
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
        true => Ok(outer_uid(&read_whole("/proc/self/uid_map")?, euid)),
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
        keys.split(',').find_map(|key| key.strip_prefix("path=")).and_then(unescape)
    })
}

/// What is not among a few plain characters is written as `%` and two digits; None for a value that is none.
fn unescape(value: &str) -> Option<PathBuf> {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(piece[2..].bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

fn system_bus() -> PathBuf {
    let named = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    named.as_deref().and_then(unix_path).unwrap_or_else(|| "/run/dbus/system_bus_socket".into())
}

fn runtime_dir(uid: u32) -> PathBuf {
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    named.unwrap_or_else(|| format!("/run/user/{uid}").into())
}

fn user_bus(runtime: &Path) -> PathBuf {
    let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
    named.as_deref().and_then(unix_path).unwrap_or_else(|| runtime.join("bus"))
}

const FIRST_SCOPE: &str = "/init.scope";

/// Where the system's manager has all its units, in every hierarchy: below its own cgroup in the hierarchy of its own,
/// `name=systemd` or the one of v2. Wherever else process 1 may have been moved to means nothing to it.
fn system_root(first: &str) -> String {
    let path = own_hierarchy(first).unwrap_or("/");
    let path = path.strip_suffix(FIRST_SCOPE).unwrap_or(path);
    // Outside of our cgroup namespace, or of the mount: there it cannot be reached by name anyway.
    if path.is_empty() || path.contains("..") { "/".into() } else { path.into() }
}

/// `cgroups` as in /proc/PID/cgroup. That of v2 may be a spare one beside v1, and `name=systemd` one for old containers
/// beside v2: systemd's own is where it has put itself into a scope.
fn own_hierarchy(cgroups: &str) -> Option<&str> {
    let of = |controllers: &str| {
        let mut lines = cgroups.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(_, line)| line.strip_prefix(controllers)?.strip_prefix(':'))
    };
    let (named, unified) = (of("name=systemd"), of(""));
    let is_own = |path: &&str| path.ends_with(FIRST_SCOPE);
    unified.filter(is_own).or(named).or(unified)
}

/// `…/user@UID.service`, in which the user's manager has all its units. We are in it, or beside it in the user's slice,
/// or elsewhere: then it is where the system's manager has it, if process 1 is that.
fn user_manager(own: &str, uid: u32, first: &str) -> String {
    let service = format!("/user@{uid}.service");
    let slice = format!("/user.slice/user-{uid}.slice");
    if let Some(at) = own.find(&service) {
        return own[..at + service.len()].to_owned();
    }
    if let Some(at) = own.find(&format!("{slice}/")) {
        return format!("{}{slice}{service}", &own[..at]);
    }
    let is_manager = own_hierarchy(first).is_some_and(|path| path.ends_with(FIRST_SCOPE));
    let root = if is_manager { system_root(first) } else { String::new() };
    format!("{}{slice}{service}", root.trim_end_matches('/'))
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
    fn addresses() {
        assert_eq!(unix_path("unix:abstract=/x;unix:path=/run/bus,guid=1"), Some("/run/bus".into()));
        assert_eq!(unix_path("unix:path=/run/a%20b%2Fc%ff"), {
            Some(OsString::from_vec(b"/run/a b/c\xff".to_vec()).into())
        });
        for none in ["tcp:host=x", "unix:path=/a%2", "unix:path=/a%zz", "unix:path=/a%+1"] {
            assert_eq!(unix_path(none), None, "{none}");
        }
    }

    #[test]
    fn the_manager_has_one_root() {
        for (first, root) in [
            ("4:cpuset:/system\n3:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n", "/"),
            ("4:cpuset:/elsewhere\n0::/docker/a:b/init.scope\n", "/docker/a:b"),
            ("1:name=systemd:/\n0::/docker/a/init.scope\n", "/docker/a"),
            ("1:name=systemd:/docker/a/init.scope\n0::/\n", "/docker/a"),
            ("0::/../../init.scope\n", "/"),
            ("", "/"),
        ] {
            assert_eq!(system_root(first), root, "{first:?}");
        }
    }

    #[test]
    fn the_manager_of_a_user() {
        let usual = "/user.slice/user-7.slice/user@7.service";
        let nested = "0::/docker/a/init.scope\n";
        for (own, first, want) in [
            ("/user.slice/user-7.slice/user@7.service/app.slice/x", nested, usual.to_owned()),
            ("/user.slice/user-7.slice/session-1.scope", nested, usual.to_owned()),
            ("/top/user.slice/user-7.slice/session-1.scope", "0::/init.scope\n", format!("/top{usual}")),
            ("/boxes/c1", "0::/init.scope\n", usual.to_owned()),
            ("/docker/a/boxes/c1", nested, format!("/docker/a{usual}")),
            // Of a pid namespace in which no systemd runs.
            ("/boxes/c1", "0::/boxes/c1\n", usual.to_owned()),
            ("/boxes/c1", "", usual.to_owned()),
        ] {
            assert_eq!(user_manager(own, 7, first), want, "{own} {first:?}");
        }
    }
}
