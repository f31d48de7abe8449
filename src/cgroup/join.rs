//! Entering the cgroups of an existing container. Opened by the runtime, whose rights the kernel checks;
//! entered by the joiner before it does anything else.
//!
//! Into the v1 pids hierarchy the runtime puts the process that the joiner clones: a limit is asked at a fork but
//! not at an entry, so a container that is full can still be looked into, as with all other runtimes. On v2, whose one
//! cgroup holds all limits, that is the way only after clone3 has been refused.
//!
//! From outside of all that is delegated to an ordinary user (a login session) the v2 kernel lets nobody in; then
//! systemd is asked to move the joiner.
//!
//! A payload that manages cgroups of its own (systemd, a nested engine) moves init: into one below, after which it hands
//! controllers down and the v2 kernel lets no process into the container's cgroup itself, or, where it sees the host's
//! tree, into one beside, after which it may remove ours. Then init's own cgroup is taken, wherever that is. That gives
//! nobody more than init has: whoever has brought init there could, with the same right, have brought any process of the
//! container there, and limits that init has got away from hold nobody whom it starts either.

use super::files::{Place, is_no_mount, read_at};
use super::{entry_file, systemd};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::attach::AttachPlan;
use crate::plan::cgroup::{Hierarchy, Layout, Version};
use crate::sys::cgroupfs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How often a way in is looked for: init may be on its way from one cgroup into another.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The open doors of a container's cgroups.
#[derive(Debug)]
pub struct Joining {
    v1: Vec<Door>,
    /// Those that count processes: only the process that stays is put into them.
    last: Vec<Door>,
    v2: Option<Door>,
    /// On a v2 host: the directory for CLONE_INTO_CGROUP.
    leaf: Option<OwnedFd>,
    attach: Option<AttachPlan>,
    /// The kernel has refused: the joiner is born outside and waits for [`Joining::attach`].
    attaching: bool,
    /// How often clone3 may be tried elsewhere yet.
    left: u32,
}

/// A cgroup, opened for entry.
#[derive(Debug)]
struct Door {
    place: Place,
    file: OwnedFd,
    /// The hierarchy, as /proc/PID/cgroup names it; empty = v2.
    controllers: String,
    /// The process in whose cgroup we may be instead.
    init: Option<i32>,
}

impl Joining {
    /// `init`: the container's init, when its own cgroup will do where the kernel refuses the wanted one.
    pub fn open(
        hierarchies: &[Hierarchy],
        layout: Layout,
        init: Option<i32>,
        attach: Option<&AttachPlan>,
    ) -> Result<Self> {
        let v1 = Vec::with_capacity(hierarchies.len());
        let attach = attach.cloned();
        let (last, v2, leaf, attaching, left) = (Vec::new(), None, None, false, TRIES);
        let mut joining = Self { v1, last, v2, leaf, attach, attaching, left };
        for hierarchy in hierarchies {
            let place = match Place::open(hierarchy) {
                Ok(place) => place,
                // The hierarchy is not mounted any more, for nobody.
                Err(e) if is_no_mount(&e) => continue,
                Err(e) => return Err(e),
            };
            let version = place.version;
            let door = Door::open(place, hierarchy.controllers.join(","), init)?;
            match version {
                Version::V1 if hierarchy.controllers.iter().any(|c| c == "pids") => joining.last.push(door),
                Version::V1 => joining.v1.push(door),
                Version::V2 => {
                    if layout == Layout::V2 {
                        joining.leaf = Some(door.place.open_dir()?);
                    }
                    joining.v2 = Some(door);
                }
            }
        }
        Ok(joining)
    }

    /// The directory for clone3's CLONE_INTO_CGROUP.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.leaf.as_ref().map(AsFd::as_fd)
    }

    /// After clone3 was refused: goes for init's own cgroup, for systemd's help, or past a limit of processes. False when
    /// nothing will do.
    pub fn fall_back(&mut self, refused: &Error) -> Result<bool> {
        if refused.errno() == libc::EAGAIN
            && self.leaf.take().is_some()
            && let Some(door) = self.v2.take()
        {
            self.last.push(door);
            return Ok(true);
        }
        if refused.errno() == libc::EACCES && self.leaf.is_some() && self.attach.is_some() {
            self.leaf = None;
            self.attaching = true;
            return Ok(true);
        }
        let is_possible = self.leaf.is_some() && self.left > 0;
        let Some(door) = self.v2.as_ref().filter(|_| is_possible) else { return Ok(false) };
        self.left -= 1;
        let Some(door) = door.of_init(refused)? else { return Ok(false) };
        self.leaf = Some(door.place.open_dir()?);
        self.v2 = Some(door);
        Ok(true)
    }

    /// Whether the joiner has to wait until it has been moved.
    pub fn is_attaching(&self) -> bool {
        self.attaching
    }

    /// Has systemd move the joiner.
    pub fn attach(&self, joiner: i32) -> Result<()> {
        let (Some(plan), Some(door)) = (&self.attach, &self.v2) else { return Ok(()) };
        let Err(refused) = systemd::attach(plan, &door.place.path, joiner) else { return Ok(()) };
        match door.of_init(&refused)?.filter(|other| plan.below(&other.place.path).is_some()) {
            Some(other) => systemd::attach(plan, &other.place.path, joiner),
            None => Err(refused),
        }
    }

    /// Puts the process that stays into what [`Joining::enter_self`] has left out. For the runtime: a descriptor
    /// of the host's is nothing that the container should find in there.
    pub fn enter_last(&self, pid: i32) -> Result<()> {
        self.last.iter().try_for_each(|door| door.enter(&pid.to_string()))
    }

    /// Moves the calling process, which must have one thread and still sees the host's /proc, into all others.
    /// `born`: clone3 has put it into the v2 one, or systemd has; a write would take the kernel's lock over all forks for
    /// nothing.
    pub fn enter_self(&self, born: bool) -> Result<()> {
        let v2 = self.v2.as_ref().filter(|_| !born);
        self.v1.iter().chain(v2).try_for_each(|door| door.enter("0"))
    }
}

impl Door {
    fn open(place: Place, controllers: String, init: Option<i32>) -> Result<Self> {
        match place.open_write(entry_file(place.version)) {
            Ok(file) => Ok(Self { place, file, controllers, init }),
            Err(e) => of_init(&place, &controllers, init, &e)?.ok_or(e).doing("open the container's cgroup"),
        }
    }

    /// The door of the cgroup that init is in.
    fn of_init(&self, refused: &Error) -> Result<Option<Self>> {
        of_init(&self.place, &self.controllers, self.init, refused)
    }

    /// Lets `pid` in, or where init is by now.
    fn enter(&self, pid: &str) -> Result<()> {
        let Err(mut refused) = cgroupfs::write(&self.file, pid.as_bytes()) else { return Ok(()) };
        let mut other: Option<Self> = None;
        for _ in 0..TRIES {
            let Some(next) = other.as_ref().unwrap_or(self).of_init(&refused)? else { break };
            match cgroupfs::write(&next.file, pid.as_bytes()) {
                Ok(()) => return Ok(()),
                Err(e) => refused = e,
            }
            other = Some(next);
        }
        Err(refused).doing("enter the container's cgroup")
    }
}

/// The refusal tells of a payload that manages cgroups. EBUSY: controllers were handed down. EOPNOTSUPP: it became a
/// threaded domain. ENOENT, ENODEV: it was removed.
fn is_managed(refused: &Error) -> bool {
    [libc::EBUSY, libc::EOPNOTSUPP, libc::ENOENT, libc::ENODEV].contains(&refused.errno())
}

/// The door of init's cgroup in the hierarchy of `place`, if that is another one and `refused` means that it will help.
fn of_init(place: &Place, controllers: &str, init: Option<i32>, refused: &Error) -> Result<Option<Door>> {
    let Some(pid) = init.filter(|_| is_managed(refused)) else { return Ok(None) };
    for again in 0..TRIES {
        if again > 0 {
            std::thread::sleep(PAUSE);
        }
        let text = read_at(cgroupfs::CWD, &format!("/proc/{pid}/cgroup"))?;
        let Some(own) = text.as_deref().and_then(|text| own_path(text, controllers)) else { return Ok(None) };
        if own == place.path {
            continue;
        }
        match inhabited(place.sibling(own)?, pid) {
            Ok(Some((place, file))) => {
                return Ok(Some(Door { place, file, controllers: controllers.to_owned(), init }));
            }
            // It has moved on.
            Ok(None) => {}
            Err(e) if is_managed(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// `place`, opened for entry, if `pid` is in there: what we have mounted need not be the top of what /proc counts from.
fn inhabited(place: Place, pid: i32) -> Result<Option<(Place, OwnedFd)>> {
    let members = match place.version {
        Version::V1 => place.read("tasks")?,
        // Unlike cgroup.procs also of a threaded one.
        Version::V2 => place.read("cgroup.threads")?,
    };
    let pid = pid.to_string();
    if !members.is_some_and(|members| members.lines().any(|line| line == pid)) {
        return Ok(None);
    }
    let file = place.open_write(entry_file(place.version))?;
    Ok(Some((place, file)))
}

/// The cgroup of a hierarchy in `text` (/proc/PID/cgroup), relative to the hierarchy's top, which is `.`. None where it is
/// out of our reach.
fn own_path<'a>(text: &'a str, controllers: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':')?.1.strip_prefix(controllers)?.strip_prefix(":/");
    let path = text.lines().find_map(of)?;
    match path {
        "" => Some("."),
        // Outside of our cgroup namespace: below the mount that would lead out of it.
        _ if path.split('/').any(|element| element == "..") => None,
        _ => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found() {
        let text = "9:pids:/p:q\n4:name=systemd:/\n3:cpu,cpuacct:/a/b\n2:cpuset:/../x\n0::/u/init.scope\n";
        for (controllers, path) in [
            ("pids", Some("p:q")),
            ("name=systemd", Some(".")),
            ("cpu,cpuacct", Some("a/b")),
            ("cpu", None),
            ("cpuset", None),
            ("", Some("u/init.scope")),
        ] {
            assert_eq!(own_path(text, controllers), path, "{controllers}");
        }
        assert_eq!(own_path("0::/a..b\n", ""), Some("a..b"));
    }
}
