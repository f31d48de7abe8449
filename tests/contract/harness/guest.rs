//! Builds `tests/guest/guest.rs` once per source text, by rustc alone. `CONTRACT_GUEST` names a ready one for hosts
//! without a compiler.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("../../guest/guest.rs");

pub fn path() -> PathBuf {
    if let Some(ready) = std::env::var_os("CONTRACT_GUEST") {
        return ready.into();
    }
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ready = dir.join(format!("guest-{:016x}", hasher.finish()));
    if !ready.exists() {
        build(dir, &ready);
    }
    ready
}

/// Several processes may do this at once: each builds into a directory of its own, the rename is atomic.
fn build(dir: &Path, ready: &Path) {
    let work = tempfile::tempdir_in(dir).expect("a directory below target");
    let (source, out) = (work.path().join("guest.rs"), work.path().join("guest"));
    std::fs::write(&source, SOURCE).expect("write the guest's source");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static"]);
    command.args(["-C", "panic=abort", "-C", "strip=symbols", "-o"]).arg(&out).arg(&source);
    let done = command.output().expect("rustc is needed to build the guest (or CONTRACT_GUEST)");
    assert!(done.status.success(), "guest: {}", String::from_utf8_lossy(&done.stderr));
    std::fs::rename(&out, ready).expect("move the guest into place");
}
