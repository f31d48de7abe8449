//! What only cgroup v1 needs: a new cpuset is empty and takes no process until it is filled.

use super::files::{Place, read_at};
use crate::error::{Doing, Error, Result};
use crate::sys::cgroupfs;

/// Copies cpus and mems from the first parent that has them down to the container's cgroup. Mounts with
/// cgroup.clone_children set have done it already; `noprefix` mounts have other names.
pub(super) fn copy_cpuset(place: &Place) -> Result<()> {
    for names in [["cpuset.cpus", "cpus"], ["cpuset.mems", "mems"]] {
        let name = match place.read(names[0])? {
            Some(value) if !value.is_empty() => continue,
            Some(_) => names[0],
            None => names[1],
        };
        fill(place, &place.path, name).doing("copy the parent's cpuset")?;
    }
    Ok(())
}

/// The value of `path`, filled from above if it is empty.
fn fill(place: &Place, path: &str, name: &str) -> Result<String> {
    let file = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let value =
        read_at(&place.mount, &file)?.ok_or_else(|| Error::sys("openat", libc::ENOENT).at(file.clone()))?;
    if !value.is_empty() || path.is_empty() {
        return Ok(value);
    }
    let parent = path.rfind('/').map_or("", |at| &path[..at]);
    let value = fill(place, parent, name)?;
    let fd = cgroupfs::openat_write(&place.mount, &file).at_with(|| file.clone())?;
    cgroupfs::write(fd, value.as_bytes()).at_with(|| file.clone())?;
    Ok(value)
}
