//! linux.maskedPaths and linux.readonlyPaths: which paths, each once.

use std::collections::HashSet;
use std::path::PathBuf;

/// The paths in order without repetitions. They are not cleaned: `..` behind a link means what the kernel says
/// it means, inside the root.
pub fn paths(list: Option<&[String]>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let list = list.unwrap_or_default().iter();
    list.filter(|path| !path.is_empty() && seen.insert(path.as_str())).map(PathBuf::from).collect()
}
