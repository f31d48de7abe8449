//! Watches a container's cgroup for out-of-memory kills and for its end. Runs in `events`.
//!
//! v1: an eventfd registered with memory.oom_control (Documentation/admin-guide/cgroup-v1/memory.rst, 10); the
//! kernel rings it for the removal too. v2: inotify on memory.events and cgroup.events.

use super::files::{Place, is_no_mount};
use crate::error::{Call, Doing, Result};
use crate::plan::cgroup::{CgroupRecord, Version};
use rustix::event::EventfdFlags;
use rustix::fs::inotify::{self, WatchFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What has happened since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// Somebody ran out of memory.
    pub oom: bool,
    /// No process is left, or no cgroup.
    pub over: bool,
}

#[derive(Debug)]
pub struct Watch {
    bell: OwnedFd,
    place: Place,
    /// memory.oom_control must stay open as long as the eventfd is to ring.
    _source: Option<OwnedFd>,
    kills: u64,
}

impl Watch {
    /// None where memory has no cgroup: then there is nothing to be told.
    pub fn new(record: &CgroupRecord) -> Result<Option<Self>> {
        let on_v1 = record.hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == "memory"));
        let v2 = record.v2_controllers.iter().any(|c| c == "memory");
        let on_v2 = || record.hierarchies.iter().find(|h| v2 && h.version == Version::V2);
        let Some(hierarchy) = on_v1.or_else(on_v2) else { return Ok(None) };
        let place = match Place::open(hierarchy) {
            Ok(place) => place,
            Err(e) if is_no_mount(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let watch = match place.version {
            Version::V1 => Self::v1(place),
            Version::V2 => Self::v2(place),
        };
        watch.map(Some).doing("watch the container's memory")
    }

    fn v1(place: Place) -> Result<Self> {
        let bell =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call("eventfd")?;
        let source = place.open_read("memory.oom_control")?;
        place.write("cgroup.event_control", &format!("{} {}", bell.as_raw_fd(), source.as_raw_fd()))?;
        Ok(Self { bell, place, _source: Some(source), kills: 0 })
    }

    fn v2(place: Place) -> Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let bell = inotify::init(flags).call("inotify_init1")?;
        let watch = |file: &str| {
            let path = place.shown.join(file);
            let added = inotify::add_watch(&bell, &path, WatchFlags::MODIFY).call("inotify_add_watch");
            added.map(drop).at_with(|| path.display().to_string())
        };
        match watch("memory.events") {
            // The host has the controller, but it was not handed down to here: only the end can be told.
            Err(e) if e.errno() == libc::ENOENT => {}
            done => done?,
        }
        watch("cgroup.events")?;
        let mut watch = Self { bell, place, _source: None, kills: 0 };
        watch.kills = watch.oom_kills()?;
        Ok(watch)
    }

    /// Kills are counted (v2), so that it may be looked for them at any time; v1 has nothing but the bell.
    pub fn counts(&self) -> bool {
        self.place.version == Version::V2
    }

    /// After the bell has rung ([`Watch::as_fd`] is readable).
    pub fn look(&mut self) -> Result<Happened> {
        self.silence()?;
        match self.place.version {
            Version::V1 => {
                let over = self.place.read("cgroup.procs")?.is_none();
                Ok(Happened { oom: !over, over })
            }
            Version::V2 => {
                let kills = self.oom_kills()?;
                let oom = kills > self.kills;
                self.kills = kills;
                let events = self.place.read("cgroup.events")?;
                let over = events.is_none_or(|text| text.lines().any(|line| line == "populated 0"));
                Ok(Happened { oom, over })
            }
        }
    }

    /// Takes what made the bell ring.
    fn silence(&self) -> Result<()> {
        let mut buffer = [0u8; 4096];
        loop {
            match rustix::io::read(&self.bell, &mut buffer) {
                // An eventfd gives its count whole; inotify may hold more.
                Ok(_) if self.place.version == Version::V1 => return Ok(()),
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).call("read"),
            }
        }
    }

    fn oom_kills(&self) -> Result<u64> {
        let text = self.place.read("memory.events")?.unwrap_or_default();
        Ok(text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
