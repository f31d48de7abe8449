//! One cgroup of a container as a directory, and the writes into its files.
//!
//! Every mount is checked by statfs before anything is made below it, and no file is ever opened with
//! O_CREAT: where only a plain directory stands, there is an error instead of a fake cgroup.

use super::absent;
use crate::error::{Call, Doing, Error, Result};
use crate::plan::cgroup::{CgroupWrite, Hierarchy, MemoryCheck, Need, Version};
use crate::sys::cgroupfs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A cgroup by its mount and the path below it: one lookup per file, no descriptor per directory.
#[derive(Debug)]
pub(super) struct Place {
    pub mount: OwnedFd,
    /// Relative to the mount, no slash in front.
    pub path: String,
    /// For messages.
    pub shown: PathBuf,
    pub version: Version,
    /// Directories made by us, outermost first; empty when the target was there before.
    pub made: Vec<String>,
}

impl Place {
    /// Opens the mount; the cgroup itself may be missing.
    pub fn open(hierarchy: &Hierarchy) -> Result<Self> {
        let path = hierarchy.path.trim_start_matches('/').to_owned();
        let shown = hierarchy.mount.join(&path);
        let mount = cgroupfs::open_mount(&hierarchy.mount).at_with(|| shown_mount(hierarchy))?;
        let wanted = match hierarchy.version {
            Version::V1 => cgroupfs::CGROUP_SUPER_MAGIC,
            Version::V2 => cgroupfs::CGROUP2_SUPER_MAGIC,
        };
        if cgroupfs::fstatfs(&mount)? != wanted {
            // ENOTDIR marks it for `is_no_mount`.
            return Err(Error::sys("fstatfs", libc::ENOTDIR)
                .at(shown_mount(hierarchy))
                .doing("find a cgroup file system where mountinfo has one"));
        }
        Ok(Self { mount, path, shown, version: hierarchy.version, made: vec![] })
    }

    /// Another cgroup of the same mount; `path` is relative to it, `.` the mount's own.
    pub fn sibling(&self, path: &str) -> Result<Self> {
        let mount = self.mount.try_clone().call("fcntl")?;
        let depth = if self.path == "." { 0 } else { self.path.split('/').count() };
        let top = self.shown.ancestors().nth(depth);
        let shown = top.unwrap_or(&self.shown).join(path);
        Ok(Self { mount, path: path.to_owned(), shown, version: self.version, made: vec![] })
    }

    /// Makes the cgroup and what is missing above it.
    pub fn make(hierarchy: &Hierarchy) -> Result<Self> {
        let mut place = Self::open(hierarchy)?;
        match place.make_path() {
            Ok(()) => Ok(place),
            Err(e) => {
                place.undo();
                let full = e.errno() == libc::ENOSPC;
                let e = e.at(place.shown.display().to_string());
                Err(if full {
                    e.hint("the host has too many cgroups (cgroup.max.descendants, css ids)")
                } else {
                    e
                })
            }
        }
    }

    fn make_path(&mut self) -> Result<()> {
        match cgroupfs::mkdirat(&self.mount, &self.path) {
            Ok(()) => {
                self.made.push(self.path.clone());
                return Ok(());
            }
            Err(e) if e.errno() == libc::EEXIST => return Ok(()),
            Err(e) if e.errno() == libc::ENOENT => {}
            Err(e) => return Err(e),
        }
        for (end, _) in self.path.match_indices('/').chain([(self.path.len(), "")]) {
            match cgroupfs::mkdirat(&self.mount, &self.path[..end]) {
                Ok(()) => self.made.push(self.path[..end].to_owned()),
                Err(e) if e.errno() == libc::EEXIST => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Removes the directories that this very call chain made. What cannot go now belongs to the
    /// failure that is already being reported.
    pub fn undo(&self) {
        for path in self.made.iter().rev() {
            if cgroupfs::rmdirat(&self.mount, path).is_err() {
                return;
            }
        }
    }

    /// The cgroup was made by us just now, so nobody is in it.
    pub fn is_fresh(&self) -> bool {
        self.made.last() == Some(&self.path)
    }

    fn below(&self, file: &str) -> String {
        format!("{}/{file}", self.path)
    }

    pub fn open_dir(&self) -> Result<OwnedFd> {
        cgroupfs::openat_dir(&self.mount, &self.path, true).at_with(|| self.shown.display().to_string())
    }

    pub fn open_write(&self, file: &str) -> Result<OwnedFd> {
        cgroupfs::openat_write(&self.mount, &self.below(file)).at_with(|| self.show(file))
    }

    pub fn open_read(&self, file: &str) -> Result<OwnedFd> {
        cgroupfs::openat_read(&self.mount, &self.below(file)).at_with(|| self.show(file))
    }

    /// Content without the last newline; None when there is no such file (or cgroup).
    pub fn read(&self, file: &str) -> Result<Option<String>> {
        read_at(&self.mount, &self.below(file)).at_with(|| self.show(file))
    }

    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let fd = self.open_write(file)?;
        cgroupfs::write(fd, value.as_bytes()).at_with(|| self.show(file))
    }

    pub fn show(&self, file: &str) -> String {
        self.shown.join(file).display().to_string()
    }
}

fn shown_mount(hierarchy: &Hierarchy) -> String {
    hierarchy.mount.display().to_string()
}

/// A file below `dir`; None when it is missing, ENODEV included: a cgroup that is being removed.
pub(super) fn read_at(dir: impl std::os::fd::AsFd, path: &str) -> Result<Option<String>> {
    let content = cgroupfs::openat_read(dir, path).and_then(cgroupfs::read);
    match content {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
        }
        Err(e) if [libc::ENOENT, libc::ENODEV].contains(&e.errno()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The kernel says no to this user.
pub(super) fn is_refusal(e: &Error) -> bool {
    [libc::EACCES, libc::EPERM, libc::EROFS].contains(&e.errno())
}

/// There is no such mount.
pub(super) fn is_no_mount(e: &Error) -> bool {
    [libc::ENOENT, libc::ENOTDIR, libc::ENODEV].contains(&e.errno())
}

/// The writes that might have gone to another file, and do not.
pub(super) fn settled(places: &[Option<Place>], writes: &[CgroupWrite]) -> Vec<CgroupWrite> {
    let is_there = |write: &CgroupWrite| {
        let place = places.get(write.hierarchy).and_then(Option::as_ref);
        place.is_some_and(|place| place.read(&write.file).is_ok_and(|text| text.is_some()))
    };
    let several = writes.iter().filter(|write| write.instead.is_some() && is_there(write));
    several.map(|write| CgroupWrite { instead: None, ..write.clone() }).collect()
}

/// Carries out the writes in order; those that may need a later one first get a second chance at the end.
pub(super) fn apply(places: &[Option<Place>], writes: &[CgroupWrite]) -> Result<()> {
    let mut again = vec![];
    for write in writes {
        match one(places, write) {
            Err(e) if e.errno() == libc::EINVAL && write.repeat => again.push(write),
            done => done?,
        }
    }
    again.into_iter().try_for_each(|write| one(places, write))
}

/// Carries out as many of the writes as can be: what one is refused, another may make possible. What was left.
pub(super) fn restore(places: &[Option<Place>], writes: &[CgroupWrite]) -> Vec<Error> {
    let refused: Vec<&CgroupWrite> = writes.iter().filter(|write| one(places, write).is_err()).collect();
    refused.into_iter().filter_map(|write| one(places, write).err()).collect()
}

fn one(places: &[Option<Place>], write: &CgroupWrite) -> Result<()> {
    let Some(place) = places.get(write.hierarchy).and_then(Option::as_ref) else {
        return match write.need {
            Need::IfPresent => Ok(()),
            Need::Required => Err(absent(&write.field)),
        };
    };
    let mut file = &*write.file;
    let mut value = &write.value;
    let mut opened = place.open_write(file);
    if let (Err(e), Some((other, other_value))) = (&opened, &write.instead)
        && e.errno() == libc::ENOENT
    {
        (file, value) = (&**other, other_value);
        opened = place.open_write(file);
    }
    let doing = || format!("set {}: write {value:?} to {}", write.field, place.show(file));
    match opened {
        Ok(fd) => cgroupfs::write(fd, value.as_bytes())
            .map_err(|e| explain(place, write, e))
            .map_err(|e| if e.errno() == 0 { e } else { e.doing(doing()) }),
        Err(e) if e.errno() == libc::ENOENT && write.need == Need::IfPresent => Ok(()),
        Err(e) => Err(missing_hint(place, &write.file, e).doing(doing())),
    }
}

/// errno lies in some places; say what it means there.
fn explain(place: &Place, write: &CgroupWrite, e: Error) -> Error {
    let number = |file: &str| place.read(file).ok().flatten().unwrap_or_else(|| "unknown".into());
    match (e.errno(), &*write.file) {
        (libc::EBUSY, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => Error::field(
            &*write.field,
            format_args!(
                "unable to set memory limit to {} (current usage: {}, peak usage: {})",
                write.value,
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes")
            ),
        ),
        (libc::EINVAL, "cpu.rt_runtime_us" | "cpu.rt_period_us") => {
            e.hint("with CONFIG_RT_GROUP_SCHED every parent cgroup needs a realtime budget of its own first")
        }
        (libc::ENODEV, _) if write.value.contains(':') => e.hint("there is no such block device"),
        (libc::EOPNOTSUPP, "io.bfq.weight" | "io.weight") => e.hint(
            "a weight of its own needs the bfq scheduler on the device, or io.cost.qos enabled for it in the root cgroup",
        ),
        _ => e,
    }
}

fn missing_hint(place: &Place, file: &str, e: Error) -> Error {
    if e.errno() != libc::ENOENT {
        return e;
    }
    if file.starts_with("hugetlb.") {
        return e.hint("the page size must be one that this host has (/sys/kernel/mm/hugepages)");
    }
    if file.starts_with("memory.memsw") || file.starts_with("memory.swap") {
        return e.hint("the kernel does not account swap (boot parameter swapaccount=1)");
    }
    match (place.version, file.split('.').next()) {
        (Version::V2, Some(controller)) if controller != "cgroup" && !has_controller(place, controller) => e
            .hint(format!(
                "the parent cgroup may not hand down the {controller} controller: \
             see cgroup.controllers and cgroup.subtree_control there"
            )),
        _ => e,
    }
}

/// The controller works in this cgroup, whatever file of it is missing. One that cannot be asked may not.
fn has_controller(place: &Place, controller: &str) -> bool {
    let listed = place.read("cgroup.controllers").ok().flatten().unwrap_or_default();
    listed.split_ascii_whitespace().any(|c| c == controller)
}

/// memory.checkBeforeUpdate: v2 would kill instead of refusing. As good as the moment allows: a usage
/// that cannot be read refuses nothing.
pub(super) fn check_memory(places: &[Option<Place>], check: &MemoryCheck) -> Result<()> {
    let place = places.get(check.hierarchy).and_then(Option::as_ref);
    let current = place.and_then(|p| p.read("memory.current").ok().flatten());
    match current.and_then(|text| text.parse::<u64>().ok()) {
        Some(usage) if check.limit <= usage => Err(Error::field(
            "linux.resources.memory.limit",
            format_args!("rejecting memory limit {} <= usage {usage}", check.limit),
        )),
        _ => Ok(()),
    }
}
