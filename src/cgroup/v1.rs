//! What only cgroup v1 needs: a new cpuset is empty and takes no process until it is filled.

use super::files::{Place, read_at};
use crate::error::{Doing, Error, Result};
use crate::sys::cgroupfs;

/// Copies cpus and mems from the first parent that has them down to the container's cgroup. Mounts with
/// cgroup.clone_children set have done it already; `noprefix` mounts have other names.
pub(super) fn copy_cpuset(place: &Place) -> Result<()> {
    for names in [["cpuset.cpus", "cpus"], ["cpuset.mems", "mems"]] {
        let copied = match fill(place, &place.path, names[0]) {
            Ok(None) => fill(place, &place.path, names[1]),
            done => done,
        };
        match copied.doing("copy the parent's cpuset")? {
            Some(_) => {}
            None => return Err(Error::sys("openat", libc::ENOENT).at(place.show(names[0]))),
        }
    }
    Ok(())
}

/// The value of `path`, filled from above if it is empty; None without such a file.
fn fill(place: &Place, path: &str, name: &str) -> Result<Option<String>> {
    let file = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let Some(value) = read_at(&place.mount, &file)? else { return Ok(None) };
    if !value.is_empty() || path.is_empty() {
        return Ok(Some(value));
    }
    let parent = path.rfind('/').map_or("", |at| &path[..at]);
    let Some(value) = fill(place, parent, name)? else { return Ok(None) };
    let fd = cgroupfs::openat_write(&place.mount, &file).at_with(|| file.clone())?;
    cgroupfs::write(fd, value.as_bytes()).at_with(|| file.clone())?;
    Ok(Some(value))
}
