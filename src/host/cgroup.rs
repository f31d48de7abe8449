//! Which cgroup hierarchies the host mounts and where the runtime itself is in them.
//!
//! In the runtime, before anything else. Three reads at most: /proc/self/mountinfo, /proc/self/cgroup
//! and, with a cgroup2 mount, its cgroup.controllers. Never /proc/cgroups: it no longer lists memory and
//! cpuset on new kernels. A hierarchy may be mounted several times, at odd places or below a foreign
//! root; the mount under /sys/fs/cgroup that is not covered by a later one is preferred.

use crate::error::{Doing, Result};
use crate::plan::cgroup::facts::{CgroupFacts, HostHierarchy, Layout, Version};
use crate::sys::cgroupfs;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

const USUAL: &str = "/sys/fs/cgroup";

/// Reads the facts.
pub fn facts() -> Result<CgroupFacts> {
    let mounts = read_whole("/proc/self/mountinfo")?;
    let own = read_whole("/proc/self/cgroup")?;
    let mut facts = scan(&mounts, &own);
    for tree in facts.hierarchies.iter_mut().filter(|h| h.version == Version::V2) {
        let controllers = read_controllers(&tree.mount).doing("find the cgroup2 controllers")?;
        tree.controllers = controllers.split_ascii_whitespace().map(String::from).collect();
    }
    Ok(facts)
}

/// A file of /proc, whole: mounts, cgroups and id maps have no bound worth a buffer.
pub(super) fn read_whole(path: &str) -> Result<String> {
    let file = cgroupfs::openat_read(cgroupfs::CWD, path).at_with(|| path.to_owned())?;
    // Mount points may be any bytes; one that is no UTF-8 holds no hierarchy that we could name.
    Ok(String::from_utf8_lossy(&cgroupfs::read(file).at_with(|| path.to_owned())?).into_owned())
}

fn read_controllers(mount: &Path) -> Result<String> {
    let dir = cgroupfs::open_mount(mount)?;
    let file = cgroupfs::openat_read(dir, "cgroup.controllers")?;
    Ok(String::from_utf8_lossy(&cgroupfs::read(file)?).into_owned())
}

/// One cgroup mount of mountinfo.
struct Mount<'a> {
    version: Version,
    /// Which part of the hierarchy is mounted.
    root: Cow<'a, str>,
    point: Cow<'a, str>,
    /// Super block options, v1 controllers among them.
    options: &'a str,
}

fn scan(mountinfo: &str, own: &str) -> CgroupFacts {
    let mounts = visible_mounts(mountinfo);
    let unified = choose(&mounts, own_v2(own).unwrap_or("/"), |m| m.version == Version::V2);
    let mut hierarchies = vec![];
    // A cgroup2 at the usual place is the host's one interface; a stray v1 mount beside it (net_cls for
    // some VPN) is not ours to join.
    if unified.is_none_or(|m| m.point != USUAL) {
        let mut lines: Vec<_> = own.lines().filter_map(v1_line).collect();
        lines.sort_unstable();
        for (controllers, path) in lines {
            let holds_all = |m: &&Mount<'_>| {
                m.version == Version::V1
                    && controllers.split(',').all(|c| m.options.split(',').any(|option| option == c))
            };
            if let Some(mount) = choose(&mounts, path, |m| holds_all(&m)) {
                let controllers = controllers.split(',').map(String::from).collect();
                hierarchies.push(hierarchy(Version::V1, controllers, mount, path));
            }
        }
    }
    let v1 = !hierarchies.is_empty();
    if let Some(mount) = unified {
        hierarchies.push(hierarchy(Version::V2, vec![], mount, own_v2(own).unwrap_or("/")));
    }
    let layout = match (v1, unified.is_some()) {
        (true, true) => Layout::Hybrid,
        (true, false) => Layout::V1,
        (false, true) => Layout::V2,
        (false, false) => Layout::None,
    };
    CgroupFacts { layout, hierarchies, manager: None }
}

/// cgroup mounts in the order of mountinfo, without those that a later mount at or above them hides.
fn visible_mounts(mountinfo: &str) -> Vec<Mount<'_>> {
    let mut mounts: Vec<Mount<'_>> = vec![];
    for line in mountinfo.lines() {
        // 36 35 98:0 ROOT POINT OPTIONS OPTIONAL... - TYPE SOURCE SUPER-OPTIONS
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut fields = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        let mut after = after.split(' ');
        let kind = after.next().unwrap_or("");
        // Only what is mounted over the usual place matters: a root that was pivoted to comes late in
        // the list and hides nothing.
        if point.starts_with("/sys") {
            mounts.retain(|m| !(m.point.starts_with("/sys") && is_at_or_below(&m.point, point)));
        }
        let version = match kind {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        let options = after.nth(1).unwrap_or("");
        mounts.push(Mount { version, root: unescape(root), point: unescape(point), options });
    }
    mounts
}

/// The best mount: under the usual place, then one that shows the runtime's own cgroup.
fn choose<'m, 'a>(
    mounts: &'m [Mount<'a>],
    own: &str,
    fits: impl Fn(&'m Mount<'a>) -> bool,
) -> Option<&'m Mount<'a>> {
    mounts.iter().filter(|m| fits(m)).max_by_key(|m| {
        let usual = is_at_or_below(&m.point, USUAL);
        (usual, is_at_or_below(own, &m.root), m.root.len() <= 1)
    })
}

fn hierarchy(version: Version, controllers: Vec<String>, mount: &Mount<'_>, own: &str) -> HostHierarchy {
    HostHierarchy { version, controllers, mount: PathBuf::from(&*mount.point), own: below(own, &mount.root) }
}

/// `own` as seen below a mount of `root`. A path from outside the mount, or from outside the runtime's
/// cgroup namespace (`/..`), can only be entered at the top.
fn below(own: &str, root: &str) -> String {
    let rest = if root == "/" { own } else { own.strip_prefix(root).unwrap_or("") };
    let foreign = rest.split('/').any(|e| e == "..") || !rest.starts_with('/');
    if foreign { "/".into() } else { rest.to_owned() }
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    top == "/" || path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `ID:CONTROLLERS:PATH` of a v1 hierarchy; the path may contain colons.
fn v1_line(line: &str) -> Option<(&str, &str)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let controllers = parts.next().filter(|c| !c.is_empty())?;
    // `name=a:b` cannot be: the kernel allows only letters, digits, `.`, `-` and `_` in names.
    Some((controllers, parts.next()?))
}

fn own_v2(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mountinfo: &str, own: &str) -> (Layout, Vec<String>) {
        let facts = scan(mountinfo, own);
        let line = |h: &HostHierarchy| {
            format!("{:?} {} {} {}", h.version, h.controllers.join(","), h.mount.display(), h.own)
        };
        (facts.layout, facts.hierarchies.iter().map(line).collect())
    }

    #[test]
    fn unified() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
                      40 23 0:30 / /run/net_cls rw - cgroup cgroup rw,net_cls\n";
        let own = "1:net_cls:/\n0::/user.slice/a.scope\n";
        assert_eq!(shown(mounts, own), (Layout::V2, vec!["V2  /sys/fs/cgroup /user.slice/a.scope".into()]));
    }

    #[test]
    fn hybrid_with_odd_mounts() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      50 23 0:29 / /mnt/a\\040b rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      34 31 0:31 / /mnt/pids\\134x rw - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "9:pids:/p:q\n4:name=systemd:/s\n3:cpu,cpuacct:/c\n2:memory:/not/mounted\n0::/u\n";
        assert_eq!(
            shown(mounts, own),
            (
                Layout::Hybrid,
                vec![
                    "V1 cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct /c".into(),
                    "V1 name=systemd /sys/fs/cgroup/systemd /s".into(),
                    "V1 pids /mnt/pids\\x /p:q".into(),
                    "V2  /sys/fs/cgroup/unified /u".into()
                ]
            )
        );
    }

    #[test]
    fn inside_a_container() {
        let mounts = "1 0 0:1 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n\
                      2 0 0:2 /../.. /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let own = "2:memory:/\n1:pids:/docker/abc/sub\n0::/\n";
        assert_eq!(
            shown(mounts, own).1,
            ["V1 memory /sys/fs/cgroup/memory /", "V1 pids /sys/fs/cgroup/pids /sub"]
        );
        assert_eq!(below("/../other", "/"), "/");
        assert_eq!(below("/docker/abcd", "/docker/abc"), "/");
    }

    #[test]
    fn covered_mounts_do_not_count() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      60 31 0:40 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(shown(mounts, "1:cpu:/\n0::/x\n"), (Layout::V2, vec!["V2  /sys/fs/cgroup /x".into()]));
        let none =
            "60 31 0:40 / /sys/fs/cgroup rw - cgroup2 none rw\n61 60 0:41 / /sys/fs/cgroup rw - tmpfs x rw";
        assert_eq!(shown(none, "0::/x\n").0, Layout::None);
    }

    #[test]
    fn this_host_is_read() {
        let facts = facts().unwrap();
        assert!(facts.hierarchies.iter().all(|h| h.own.starts_with('/') && h.mount.is_absolute()));
    }
}
