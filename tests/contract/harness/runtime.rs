//! Which runtime is under test: `RUNTIME` is a name looked up in PATH or a path; without it, ours.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

pub struct Runtime {
    /// `orlop`, `runc`, `crun`, `youki`: what marks are about.
    pub name: String,
    pub path: PathBuf,
    /// First line of `--version`.
    pub version: String,
}

/// The releases of the peers that the marks in the tests were made for. Another one may agree where they differ.
const MARKED: [(&str, &str); 2] = [("runc", "runc version 1.1.5"), ("crun", "crun version 1.8.1")];

pub fn get() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(find)
}

fn find() -> Runtime {
    let asked = std::env::var("RUNTIME").unwrap_or_else(|_| "orlop".into());
    let path = match asked.as_str() {
        "orlop" => PathBuf::from(env!("CARGO_BIN_EXE_orlop")),
        path if path.contains('/') => PathBuf::from(path),
        name => in_path(name).unwrap_or_else(|| panic!("RUNTIME={name} is not in PATH")),
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let said = Command::new(&path).arg("--version").output().expect("the runtime does not start");
    let version = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_owned();
    Runtime { name, path, version }
}

pub fn in_path(name: &str) -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|d| d.join(name)).find(|p| p.is_file())
}

impl Runtime {
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub fn is_ours(&self) -> bool {
        self.is("orlop")
    }

    /// Whether the marks in the tests were made for exactly this release, on a host such as this (`CONTRACT_ELSEWHERE`:
    /// it is not).
    pub fn is_marked_release(&self) -> bool {
        let same = |text: &str| self.version == text || self.version.starts_with(&format!("{text}+"));
        if std::env::var_os("CONTRACT_ELSEWHERE").is_some() {
            return self.is_ours();
        }
        self.is_ours() || MARKED.iter().any(|(name, version)| self.is(name) && same(version))
    }
}
