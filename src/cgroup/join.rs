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
//! A payload that manages children of its own (systemd, a nested engine) has handed controllers down, and then
//! the v2 kernel lets no process into the container's cgroup itself: init's own cgroup below it is taken.

use super::files::{Place, is_no_mount, read_at};
use super::{entry_file, systemd};
use crate::error::{Doing, Error, Result};
use crate::plan::cgroup::attach::AttachPlan;
use crate::plan::cgroup::{Hierarchy, Layout, Version};
use crate::sys::cgroupfs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The open doors of a container's cgroups.
#[derive(Debug)]
pub struct Joining {
    v1: Vec<OwnedFd>,
    /// Those that count processes: only the process that stays is put into them.
    last: Vec<OwnedFd>,
    v2: Option<Tree>,
    /// On a v2 host: the directory for CLONE_INTO_CGROUP.
    leaf: Option<OwnedFd>,
    attach: Option<AttachPlan>,
    /// The kernel has refused: the joiner is born outside and waits for [`Joining::attach`].
    attaching: bool,
}

#[derive(Debug)]
struct Tree {
    place: Place,
    file: OwnedFd,
    /// The process in whose cgroup below ours we may be instead.
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
        let mut joining = Self { v1, last: Vec::new(), v2: None, leaf: None, attach, attaching: false };
        for hierarchy in hierarchies {
            let place = match Place::open(hierarchy) {
                Ok(place) => place,
                // The hierarchy is not mounted any more, for nobody.
                Err(e) if is_no_mount(&e) => continue,
                Err(e) => return Err(e),
            };
            let file = place.open_write(entry_file(place.version)).doing("open the container's cgroup")?;
            match place.version {
                Version::V1 if hierarchy.controllers.iter().any(|c| c == "pids") => joining.last.push(file),
                Version::V1 => joining.v1.push(file),
                Version::V2 => {
                    if layout == Layout::V2 {
                        joining.leaf = Some(place.open_dir()?);
                    }
                    joining.v2 = Some(Tree { place, file, init });
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
            && let Some(tree) = self.v2.take()
        {
            self.last.push(tree.file);
            return Ok(true);
        }
        if refused.errno() == libc::EACCES && self.leaf.is_some() && self.attach.is_some() {
            self.leaf = None;
            self.attaching = true;
            return Ok(true);
        }
        let Some(tree) = self.v2.as_ref().filter(|_| self.leaf.is_some()) else { return Ok(false) };
        let Some(tree) = tree.of_init(refused)? else { return Ok(false) };
        self.leaf = Some(tree.place.open_dir()?);
        self.v2 = Some(tree);
        Ok(true)
    }

    /// Whether the joiner has to wait until it has been moved.
    pub fn is_attaching(&self) -> bool {
        self.attaching
    }

    /// Has systemd move the joiner.
    pub fn attach(&self, joiner: i32) -> Result<()> {
        let (Some(plan), Some(tree)) = (&self.attach, &self.v2) else { return Ok(()) };
        match systemd::attach(plan, &tree.place.path, joiner) {
            Err(e) => match tree.of_init(&e)? {
                Some(other) => systemd::attach(plan, &other.place.path, joiner),
                None => Err(e),
            },
            done => done,
        }
    }

    /// Puts the process that stays into what [`Joining::enter_self`] has left out. For the runtime: a descriptor
    /// of the host's is nothing that the container should find in there.
    pub fn enter_last(&self, pid: i32) -> Result<()> {
        let pid = pid.to_string();
        for file in &self.last {
            cgroupfs::write(file, pid.as_bytes()).doing("enter the container's cgroup")?;
        }
        Ok(())
    }

    /// Moves the calling process, which must have one thread and still sees the host's /proc, into all others.
    /// `born`: clone3 has put it into the v2 one, or systemd has; a write would take the kernel's lock over all forks for
    /// nothing.
    pub fn enter_self(&self, born: bool) -> Result<()> {
        for file in &self.v1 {
            cgroupfs::write(file, b"0").doing("enter the container's cgroup")?;
        }
        let Some(tree) = self.v2.as_ref().filter(|_| !born) else { return Ok(()) };
        let entered = match cgroupfs::write(&tree.file, b"0") {
            Err(e) => match tree.of_init(&e)? {
                Some(other) => cgroupfs::write(&other.file, b"0"),
                None => Err(e),
            },
            done => done,
        };
        entered.doing("enter the container's cgroup")
    }
}

impl Tree {
    /// Where init is, if that is below the container's cgroup and the refusal means that this will help.
    fn of_init(&self, refused: &Error) -> Result<Option<Tree>> {
        // EBUSY: controllers were handed down. EOPNOTSUPP: it became a threaded domain.
        if ![libc::EBUSY, libc::EOPNOTSUPP].contains(&refused.errno()) {
            return Ok(None);
        }
        let Some(init) = self.init else { return Ok(None) };
        let Some(own) = own_path(&init.to_string())? else { return Ok(None) };
        let own = own.trim_start_matches('/');
        if !own.strip_prefix(&self.place.path).is_some_and(|below| below.starts_with('/')) {
            return Ok(None);
        }
        let place = self.place.sibling(own)?;
        let file = place.open_write(entry_file(Version::V2))?;
        Ok(Some(Tree { place, file, init: None }))
    }
}

/// The v2 cgroup of a process as this process sees it; None when it is gone.
fn own_path(process: &str) -> Result<Option<String>> {
    let text = read_at(cgroupfs::CWD, &format!("/proc/{process}/cgroup"))?;
    Ok(text.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("0::")).map(str::to_owned))
}
