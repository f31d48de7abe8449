//! What an update would take back: the same writes, with what the files held before. In the runtime.
//!
//! A file with one value gets that value. In a file with a line for each device the line of the same device comes
//! back, or what stands for "no line".

use super::files::Place;
use crate::plan::cgroup::{CgroupWrite, Version};

/// None where nothing can be taken back: no such file, or one whose lines nobody here knows.
pub(super) fn of(places: &[Option<Place>], write: &CgroupWrite) -> Option<CgroupWrite> {
    let place = places.get(write.hierarchy)?.as_ref()?;
    let candidates =
        [Some((&write.file, &write.value)), write.instead.as_ref().map(|(file, value)| (file, value))];
    candidates.into_iter().flatten().find_map(|(file, value)| {
        let text = place.read(file).ok().flatten()?;
        let value = old(place.version, file, value, &text)?;
        Some(CgroupWrite { file: file.clone(), value, instead: None, ..write.clone() })
    })
}

/// What to write for `text` to be there again where `value` was written.
fn old(version: Version, file: &str, value: &str, text: &str) -> Option<String> {
    let key = value.split(' ').next().filter(|key| is_keyed(file, key));
    if let Some(key) = key {
        let line = text.lines().find(|line| line.split_ascii_whitespace().next() == Some(key));
        return match line {
            Some(line) => Some(line.to_owned()),
            None => absent(version, file).map(|none| format!("{key} {none}")),
        };
    }
    // `default 100`, then a line for each device that differs.
    if let Some(default) = text.lines().find(|line| line.starts_with("default ")) {
        return Some(default.to_owned());
    }
    match text {
        // An empty write is none; a line without anything empties the set.
        "" if file.ends_with("cpus") || file.ends_with("mems") => Some("\n".into()),
        // That of an idle cgroup, which takes no weight.
        "0" if file == "cpu.weight" => None,
        "" => None,
        lines if lines.contains('\n') => None,
        value => Some(value.to_owned()),
    }
}

fn is_keyed(file: &str, key: &str) -> bool {
    key.contains(':') || file == "rdma.max" || file == "net_prio.ifpriomap"
}

/// What a device without a line has.
fn absent(version: Version, file: &str) -> Option<&'static str> {
    match (version, file) {
        (Version::V2, "io.max") => Some("rbps=max wbps=max riops=max wiops=max"),
        (Version::V2, "io.latency") => Some("target=0"),
        (Version::V2, "io.weight" | "io.bfq.weight") => Some("default"),
        (_, "rdma.max") => Some("hca_handle=max hca_object=max"),
        // Of the scheduler, which takes no 0.
        (Version::V1, "blkio.bfq.weight_device") => Some("default"),
        (Version::V1, file) if file.starts_with("blkio.") => Some("0"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_gets_back_what_it_had() {
        let (v1, v2) = (Version::V1, Version::V2);
        for (version, file, value, text, want) in [
            (v2, "memory.max", "4096", "max", Some("max")),
            (v2, "cpu.max", "1000 2000", "max 100000", Some("max 100000")),
            (v2, "cpuset.cpus", "0", "", Some("\n")),
            (v1, "cpus", "0", "0-3", Some("0-3")),
            (v2, "cpu.weight", "5", "0", None),
            (v2, "cpu.idle", "1", "0", Some("0")),
            (v2, "io.weight", "50", "default 100\n8:0 7", Some("default 100")),
            (v2, "io.weight", "8:0 50", "default 100\n8:0 7", Some("8:0 7")),
            (v2, "io.weight", "8:16 50", "default 100\n8:0 7", Some("8:16 default")),
            (v2, "io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            (
                v2,
                "io.max",
                "8:0 rbps=1",
                "8:0 rbps=9 wbps=max riops=max wiops=max",
                Some("8:0 rbps=9 wbps=max riops=max wiops=max"),
            ),
            (v1, "blkio.throttle.read_bps_device", "8:0 5", "8:16 9", Some("8:0 0")),
            (v1, "blkio.throttle.read_bps_device", "8:0 5", "8:0 9", Some("8:0 9")),
            (v1, "blkio.bfq.weight_device", "8:0 5", "default 100", Some("8:0 default")),
            (v1, "net_prio.ifpriomap", "eth0 5", "lo 0\neth0 1", Some("eth0 1")),
            (v2, "memory.stat", "x", "a 1\nb 2", None),
        ] {
            assert_eq!(old(version, file, value, text).as_deref(), want, "{file} {value:?} {text:?}");
        }
    }
}
