//! User namespace mappings: the lines for uid_map and gid_map and who may write them. PURE.

use crate::error::{Error, Result};
use oci_spec::runtime::LinuxIdMapping;
use serde::Serialize;

/// One line of a map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdMap {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// The runtime writes /proc/PID/{uid,gid}_map itself.
    Direct,
    /// newuidmap and newgidmap write them: more than one's own id without privilege.
    Helpers,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdMaps {
    pub uid: Vec<IdMap>,
    pub gid: Vec<IdMap>,
    /// "deny" must be written to setgroups before an unprivileged gid_map (CVE-2014-8989); newgidmap does it by itself
    /// when no subordinate group is mapped.
    pub deny_setgroups: bool,
    pub writer: Writer,
}

/// The most lines the kernel takes (UID_GID_MAP_MAX_EXTENTS).
const MAX_LINES: usize = 340;

/// `privileged`: the runtime has CAP_SETUID and CAP_SETGID over the ids it maps.
pub fn plan(
    uid: &[LinuxIdMapping],
    gid: &[LinuxIdMapping],
    privileged: bool,
    euid: u32,
    egid: u32,
) -> Result<IdMaps> {
    let uid = lines(uid, "linux.uidMappings")?;
    let gid = lines(gid, "linux.gidMappings")?;
    let (own_user, own_group) = (is_own(&uid, euid), is_own(&gid, egid));
    let writer = if privileged || own_user && own_group { Writer::Direct } else { Writer::Helpers };
    Ok(IdMaps { uid, gid, deny_setgroups: !privileged && own_group, writer })
}

/// A map of nothing but one's own id: the only one that can be written without privilege.
fn is_own(map: &[IdMap], id: u32) -> bool {
    matches!(map, [one] if one.count == 1 && one.outside == id)
}

/// Whether a namespace that [`plan`] made with these groups denies setgroups(2).
pub fn denies_setgroups(gid: &[LinuxIdMapping], privileged: bool, egid: u32) -> bool {
    !privileged && lines(gid, "linux.gidMappings").is_ok_and(|gid| is_own(&gid, egid))
}

/// The mappings as lines of a map.
pub fn lines(mappings: &[LinuxIdMapping], field: &str) -> Result<Vec<IdMap>> {
    if mappings.len() > MAX_LINES {
        return Err(Error::field(field, format!("{} lines, the kernel takes {MAX_LINES}", mappings.len())));
    }
    Ok(mappings
        .iter()
        .map(|map| IdMap { inside: map.container_id(), outside: map.host_id(), count: map.size() })
        .collect())
}

/// The text for uid_map or gid_map, one line per range.
pub fn render(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count)).collect()
}

/// The host id of `inside`, if it is mapped.
pub fn to_host(maps: &[IdMap], inside: u32) -> Option<u32> {
    maps.iter()
        .find(|map| inside >= map.inside && inside - map.inside < map.count)
        .and_then(|map| map.outside.checked_add(inside - map.inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(json: &str) -> Vec<LinuxIdMapping> {
        serde_json::from_str(json).unwrap()
    }

    /// One subordinate id is written by newgidmap, and does not deny it.
    #[test]
    fn only_ones_own_group_denies_the_others() {
        let one = |host: u32| maps(&format!(r#"[{{"containerID":0,"hostID":{host},"size":1}}]"#));
        assert!(denies_setgroups(&one(1000), false, 1000));
        assert!(!denies_setgroups(&one(1000), true, 1000));
        assert!(!denies_setgroups(&one(100_000), false, 1000));
        assert!(!denies_setgroups(&[], false, 1000));
    }

    #[test]
    fn who_writes_the_maps() {
        let own = maps(r#"[{"containerID":0,"hostID":1000,"size":1}]"#);
        let plan_own = plan(&own, &own, false, 1000, 1000).unwrap();
        assert_eq!((plan_own.writer, plan_own.deny_setgroups), (Writer::Direct, true));
        let range = maps(r#"[{"containerID":0,"hostID":100000,"size":65536}]"#);
        assert_eq!(plan(&range, &range, false, 1000, 1000).unwrap().writer, Writer::Helpers);
        let mixed = plan(&range, &own, false, 1000, 1000).unwrap();
        assert_eq!((mixed.writer, mixed.deny_setgroups), (Writer::Helpers, true));
        let as_root = plan(&range, &range, true, 0, 0).unwrap();
        assert_eq!((as_root.writer, as_root.deny_setgroups), (Writer::Direct, false));
        assert_eq!(render(&as_root.uid), "0 100000 65536\n");
        assert_eq!((to_host(&as_root.uid, 5), to_host(&as_root.uid, 65536)), (Some(100005), None));
    }
}
