//! Where below each hierarchy the container's cgroup lies (cgroupfs driver). PURE.
//!
//! An absolute linux.cgroupsPath counts from the mount. A relative one counts from the runtime's own
//! cgroup on v1 and hybrid (in each hierarchy its own), and from the parent of it on pure v2: there a
//! cgroup with processes cannot hand controllers to children ("no internal processes"). An absent path
//! is the container id taken as a relative one, as runc has it. `..` cannot leave the starting point.

use super::facts::{CgroupFacts, HostHierarchy, Layout, Version};
use super::{Hierarchy, Wanted};
use crate::error::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// The named v1 hierarchies and controllers that a container joins; others (name=elogind, …) belong to
/// their owners.
const JOINED: [&str; 16] = [
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "misc",
    "debug",
    "name=systemd",
];

/// The hierarchies of the plan, in the host's order.
pub(super) fn hierarchies(
    wanted: &Wanted<'_>,
    facts: &CgroupFacts,
    warnings: &mut Vec<String>,
) -> Result<Vec<Hierarchy>> {
    let given = wanted.cgroups_path.filter(|p| !p.is_empty());
    let path = given.unwrap_or(wanted.id);
    if path.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(Error::field(FIELD, "contains a control character"));
    }
    if given.is_some_and(|p| p.split(':').count() == 3) {
        warnings.push(format!(
            "{FIELD} looks like slice:prefix:name of the systemd driver, but is taken as a plain path: \
             --systemd-cgroup is missing or the caller's cgroup driver is another one"
        ));
    }
    let absolute = path.starts_with('/');
    let mut out = Vec::with_capacity(facts.hierarchies.len());
    for host in facts.hierarchies.iter().filter(|h| is_joined(h)) {
        let start = match (absolute, facts.layout) {
            (true, _) => "/",
            (false, Layout::V2) => parent(&host.own),
            (false, _) => &host.own,
        };
        let path = clean(start, path);
        if path == "/" {
            return Err(Error::field(FIELD, "names the root cgroup"));
        }
        let controllers = if host.version == Version::V1 { host.controllers.clone() } else { vec![] };
        out.push(Hierarchy { controllers, version: host.version, mount: host.mount.clone(), path });
    }
    Ok(out)
}

pub(super) fn is_joined(host: &HostHierarchy) -> bool {
    host.version == Version::V2 || host.controllers.iter().any(|c| JOINED.contains(&c.as_str()))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// `path` below `start`, without empty, `.` and `..` elements; `..` stops at `start`.
fn clean(start: &str, path: &str) -> String {
    let mut below: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                below.pop();
            }
            other => below.push(other),
        }
    }
    let mut out = String::with_capacity(start.len() + path.len() + 1);
    for element in start.split('/').filter(|e| !e.is_empty()).chain(below) {
        out.push('/');
        out.push_str(element);
    }
    if out.is_empty() { "/".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stay_below_the_start() {
        for (start, path, want) in [
            ("/", "/a/b", "/a/b"),
            ("/", "//a/./b//", "/a/b"),
            ("/", "/../../etc", "/etc"),
            ("/own", "../../x", "/own/x"),
            ("/own", "a/../..", "/own"),
            ("/", "..", "/"),
            ("/", "a:b:c", "/a:b:c"),
        ] {
            assert_eq!(clean(start, path), want, "{start} + {path}");
        }
        assert_eq!(["/", "/", "/a", "/a/b"], ["/", "/a", "/a/b", "/a/b/c"].map(parent));
    }
}
