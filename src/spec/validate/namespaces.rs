//! The rules of linux.namespaces and of what depends on a new namespace: id mappings and clock offsets. Pure.

use super::super::field::Field;
use super::{Problems, has_nul, namespace};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};

/// user_namespaces(7): lines of one map file.
const MAPPINGS_MAX: usize = 340;

pub(super) fn check(linux: &Linux, problems: &mut Problems) {
    let field = Field::new("linux.namespaces");
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    for (i, one) in namespaces.iter().enumerate() {
        if namespaces[..i].iter().any(|before| before.typ() == one.typ()) {
            problems.add(field.item(i).member("type"), format_args!("{:?} is listed twice", word(one.typ())));
        }
        let Some(path) = one.path() else { continue };
        if !path.is_absolute() {
            problems.add(field.item(i).member("path"), format_args!("{path:?} is not an absolute path"));
        } else if has_nul(path) {
            problems.add(field.item(i).member("path"), "holds a NUL byte");
        }
    }
    user(linux, problems);
    clocks(linux, problems);
}

/// The word of config.json; the Display of oci-spec is the name below /proc/PID/ns.
pub(super) fn word(kind: LinuxNamespaceType) -> String {
    match kind {
        LinuxNamespaceType::Mount => "mount".to_owned(),
        LinuxNamespaceType::Network => "network".to_owned(),
        other => other.to_string(),
    }
}

fn user(linux: &Linux, problems: &mut Problems) {
    let user = namespace(Some(linux), LinuxNamespaceType::User);
    let maps = [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
    for (field, mappings) in maps {
        let mappings = mappings.as_deref().unwrap_or_default();
        match user {
            None if !mappings.is_empty() => {
                problems.add(field, "needs a user namespace in linux.namespaces");
            }
            // With a path it is the joined namespace that has mappings; callers repeat them here.
            Some(user) if user.path().is_none() && mappings.is_empty() => {
                problems.add(field, "must not be empty with a new user namespace");
            }
            _ => {}
        }
        id_mappings(&Field::new(field), mappings, problems);
    }
}

/// What the kernel refuses in a map file (user_namespaces(7)): no entries of size 0, no end beyond the last id,
/// no overlap on either side.
pub(super) fn id_mappings(field: &Field, mappings: &[LinuxIdMapping], problems: &mut Problems) {
    if mappings.len() > MAPPINGS_MAX {
        let count = mappings.len();
        problems.add(field, format_args!("{count} entries, the kernel takes at most {MAPPINGS_MAX}"));
        return;
    }
    let overlap = |a: u32, a_size: u32, b: u32, b_size: u32| {
        a < b.saturating_add(b_size) && b < a.saturating_add(a_size)
    };
    for (i, map) in mappings.iter().enumerate() {
        if map.size() == 0 {
            problems.add(field.item(i).member("size"), "must be above 0");
        }
        for (member, first) in [("containerID", map.container_id()), ("hostID", map.host_id())] {
            if first.checked_add(map.size()).is_none() {
                let size = map.size();
                problems.add(
                    field.item(i).member(member),
                    format_args!("{first} plus the size {size} is too large"),
                );
            }
        }
        for (j, before) in mappings[..i].iter().enumerate() {
            if overlap(map.container_id(), map.size(), before.container_id(), before.size()) {
                problems.add(field.item(i).member("containerID"), format_args!("overlaps with entry {j}"));
            }
            if overlap(map.host_id(), map.size(), before.host_id(), before.size()) {
                problems.add(field.item(i).member("hostID"), format_args!("overlaps with entry {j}"));
            }
        }
    }
}

/// time_namespaces(7): offsets can be written only into a new namespace that nobody has entered.
fn clocks(linux: &Linux, problems: &mut Problems) {
    let field = Field::new("linux.timeOffsets");
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else { return };
    match namespace(Some(linux), LinuxNamespaceType::Time) {
        None => problems.add(&field, "needs a time namespace in linux.namespaces"),
        Some(time) if time.path().is_some() => {
            problems.add(&field, "cannot be set in a time namespace that is joined by its path");
        }
        Some(_) => {}
    }
    let mut offsets: Vec<_> = offsets.iter().collect();
    offsets.sort_unstable_by_key(|(clock, _)| clock.as_str());
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            problems.add(field.key(clock), "unknown clock, only monotonic and boottime can have an offset");
        }
        if let Some(nanosecs) = offset.nanosecs().filter(|nanosecs| *nanosecs >= 1_000_000_000) {
            problems
                .add(field.member(clock).member("nanosecs"), format_args!("{nanosecs} is a second or more"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rows, table};
    use serde_json::{Value, json};

    #[test]
    fn namespaces() {
        rows(
            "linux.namespaces",
            &[
                (
                    json!([{"type": "mount"}, {"type": "pid"}, {"type": "pid", "path": "/x"}]),
                    "linux.namespaces[2].type: \"pid\" is listed twice",
                ),
                (
                    json!([{"type": "mount"}, {"type": "network", "path": "x"}]),
                    "linux.namespaces[1].path: \"x\" is not an absolute path",
                ),
                (
                    json!([{"type": "mount"}, {"type": "network", "path": "/x\0"}]),
                    "linux.namespaces[1].path: holds a NUL byte",
                ),
                (json!([{"type": "mount"}, {"type": "network", "path": ""}]), ""),
                (json!([{"type": "mount", "path": "/x"}]), ""),
            ],
        );
        let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let new = json!([{"type": "mount"}, {"type": "user"}]);
        table(&[
            (
                &[("linux.namespaces", new.clone())],
                &[
                    "linux.uidMappings: must not be empty with a new user namespace",
                    "linux.gidMappings: must not be empty with a new user namespace",
                ],
            ),
            (
                &[("linux.namespaces", new.clone()), ("linux.uidMappings", one.clone())],
                &["linux.gidMappings: must not be empty with a new user namespace"],
            ),
            (
                &[
                    ("linux.namespaces", new),
                    ("linux.uidMappings", one.clone()),
                    ("linux.gidMappings", one.clone()),
                ],
                &[],
            ),
            (
                &[("linux.uidMappings", one.clone())],
                &["linux.uidMappings: needs a user namespace in linux.namespaces"],
            ),
            (&[("linux.uidMappings", json!([]))], &[]),
            (
                &[(
                    "linux.namespaces",
                    json!([{"type": "mount"}, {"type": "user", "path": "/proc/1/ns/user"}]),
                )],
                &[],
            ),
        ]);
    }

    #[test]
    fn id_mappings() {
        let map = |container: u32, host: u32, size: u32| json!({"containerID": container, "hostID": host, "size": size});
        let many: Vec<_> = (0..341).map(|i| map(i, i, 1)).collect();
        let cases: &[(Value, &[&str])] = &[
            (json!([map(0, 0, u32::MAX)]), &[]),
            (json!([map(0, 1000, 0)]), &["linux.uidMappings[0].size: must be above 0"]),
            (
                json!([map(0, 10, 1), map(1, u32::MAX, 1)]),
                &["linux.uidMappings[1].hostID: 4294967295 plus the size 1 is too large"],
            ),
            (
                json!([map(0, 10, 5), map(4, 20, 5)]),
                &["linux.uidMappings[1].containerID: overlaps with entry 0"],
            ),
            (json!([map(0, 10, 5), map(5, 14, 5)]), &["linux.uidMappings[1].hostID: overlaps with entry 0"]),
            (json!([map(0, 10, 5), map(5, 15, 5)]), &[]),
            (json!(many), &["linux.uidMappings: 341 entries, the kernel takes at most 340"]),
        ];
        for (maps, expected) in cases {
            table(&[(
                &[
                    ("linux.namespaces", json!([{"type": "mount"}, {"type": "user"}])),
                    ("linux.uidMappings", maps.clone()),
                    ("linux.gidMappings", json!([map(0, 0, 1)])),
                    ("process", json!(null)),
                ],
                expected,
            )]);
        }
    }

    #[test]
    fn time_offsets() {
        let with = |namespace: Value, offsets: Value| {
            [("linux.namespaces", json!([{"type": "mount"}, namespace])), ("linux.timeOffsets", offsets)]
        };
        let new = json!({"type": "time"});
        table(&[
            (&with(new.clone(), json!({"monotonic": {"secs": -5, "nanosecs": 1}, "boottime": {}})), &[]),
            (
                &[("linux.timeOffsets", json!({"boottime": {"secs": 1}}))],
                &["linux.timeOffsets: needs a time namespace in linux.namespaces"],
            ),
            (&[("linux.timeOffsets", json!({}))], &[]),
            (
                &with(json!({"type": "time", "path": "/x"}), json!({"boottime": {"secs": 1}})),
                &["linux.timeOffsets: cannot be set in a time namespace that is joined by its path"],
            ),
            (
                &with(new, json!({"realtime": {"secs": 1}, "boottime": {"nanosecs": 1_000_000_000}})),
                &[
                    "linux.timeOffsets.boottime.nanosecs: 1000000000 is a second or more",
                    "linux.timeOffsets[\"realtime\"]: unknown clock, only monotonic and boottime can have an offset",
                ],
            ),
        ]);
    }
}
