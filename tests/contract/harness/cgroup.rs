//! The container's cgroup, whichever version the host has. Limits are read in the words of v1, which the configuration
//! speaks: the tests of limits are the same on both.

use super::Bundle;
use std::path::{Path, PathBuf};

/// v1 prints the largest multiple of a page for "no limit".
pub const UNLIMITED: &str = "9223372036854771712";

/// Whether /sys/fs/cgroup is the one tree of v2.
pub fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Where `controller` (a name of v1) is: a hierarchy of its own, or the tree of v2.
pub fn mount(controller: &str) -> Option<PathBuf> {
    let own = super::leftovers::hierarchies().into_iter().find(|h| h.has(controller)).map(|h| h.mount);
    own.or_else(|| in_tree(controller))
}

fn in_tree(controller: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok()?;
    let wanted = match controller {
        "cpuacct" => "cpu",
        // No controller: every cgroup has them.
        "freezer" | "devices" => return Some("/sys/fs/cgroup".into()),
        "blkio" => "io",
        other => other,
    };
    text.split_whitespace().any(|c| c == wanted).then(|| "/sys/fs/cgroup".into())
}

/// The container's directory where `controller` is.
pub fn dir(b: &Bundle, controller: &str) -> PathBuf {
    mount(controller).expect("the controller was probed").join(&b.id)
}

/// A file of v1, or what stands for it in v2.
pub fn read(b: &Bundle, controller: &str, file: &str) -> String {
    let dir = dir(b, controller);
    if !is_v2() {
        return text(&dir.join(file));
    }
    let bytes = |text: String| if text == "max" { UNLIMITED.into() } else { text };
    let word = |at: usize| text(&dir.join("cpu.max")).split(' ').nth(at).unwrap_or_default().to_owned();
    match file {
        "memory.limit_in_bytes" => bytes(text(&dir.join("memory.max"))),
        "memory.soft_limit_in_bytes" => bytes(text(&dir.join("memory.low"))),
        "cpu.shares" => shares(&text(&dir.join("cpu.weight"))),
        "cpu.cfs_quota_us" => word(0).replace("max", "-1"),
        "cpu.cfs_period_us" => word(1),
        "cpu.cfs_burst_us" => text(&dir.join("cpu.max.burst")),
        same => text(&dir.join(same)),
    }
}

fn text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

/// The shares of which the tests know the weight.
fn shares(weight: &str) -> String {
    match weight {
        "35" => "256",
        "59" => "512",
        "100" => "1024",
        other => panic!("no shares for the weight {other}"),
    }
    .to_owned()
}

/// Stops the container's processes, or lets them go on, behind the runtime's back.
pub fn freeze(b: &Bundle, stop: bool) {
    let (file, word) = match (is_v2(), stop) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    };
    std::fs::write(dir(b, "freezer").join(file), word).expect("the freezer");
}
