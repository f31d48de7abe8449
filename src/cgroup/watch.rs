//! Watches a container's cgroup for out-of-memory kills and for its end. Runs in `events`.
//!
//! v1: an eventfd registered with memory.oom_control (Documentation/admin-guide/cgroup-v1/memory.rst, 10); the
//! kernel rings it for the removal too. v2: memory.events and cgroup.events, held open, poll with POLLPRI after every
//! change; inotify would tell as much, but of its instances a user has 128, and root of a container may be that user.

use super::files::{Place, is_no_mount};
use crate::error::{Call, Doing, Result};
use crate::plan::cgroup::{CgroupRecord, Version};
use crate::sys::cgroupfs;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use std::os::fd::{AsRawFd, OwnedFd};

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
    bell: Bell,
    place: Place,
    kills: u64,
}

#[derive(Debug)]
enum Bell {
    V1 {
        eventfd: OwnedFd,
        /// memory.oom_control must stay open as long as the eventfd is to ring.
        _source: OwnedFd,
    },
    V2 {
        /// memory.events; none where the controller was not handed down to here: then only the end can be told.
        memory: Option<OwnedFd>,
        cgroup: OwnedFd,
    },
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
        let eventfd =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call("eventfd")?;
        let source = place.open_read("memory.oom_control")?;
        place.write("cgroup.event_control", &format!("{} {}", eventfd.as_raw_fd(), source.as_raw_fd()))?;
        Ok(Self { bell: Bell::V1 { eventfd, _source: source }, place, kills: 0 })
    }

    fn v2(place: Place) -> Result<Self> {
        let memory = match place.open_read("memory.events") {
            Err(e) if e.errno() == libc::ENOENT => None,
            file => Some(file?),
        };
        let cgroup = place.open_read("cgroup.events")?;
        let mut watch = Self { bell: Bell::V2 { memory, cgroup }, place, kills: 0 };
        // Reading is also what makes them silent until the next change.
        watch.look()?;
        Ok(watch)
    }

    /// What to poll for: whatever comes of it, it is time to [`Watch::look`].
    pub fn watched(&self) -> Vec<PollFd<'_>> {
        match &self.bell {
            Bell::V1 { eventfd, .. } => vec![PollFd::new(eventfd, PollFlags::IN)],
            Bell::V2 { memory, cgroup } => {
                memory.iter().chain([cgroup]).map(|file| PollFd::new(file, PollFlags::PRI)).collect()
            }
        }
    }

    /// Kills are counted (v2), so that it may be looked for them at any time; v1 has nothing but the bell.
    pub fn counts(&self) -> bool {
        self.place.version == Version::V2
    }

    /// After the bell has rung, which is silent then.
    pub fn look(&mut self) -> Result<Happened> {
        match &self.bell {
            Bell::V1 { eventfd, .. } => {
                match rustix::io::retry_on_intr(|| rustix::io::read(eventfd, &mut [0u8; 8])) {
                    Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
                    Err(e) => return Err(e).call("read"),
                }
                let over = self.place.read("cgroup.procs")?.is_none();
                Ok(Happened { oom: !over, over })
            }
            Bell::V2 { memory, cgroup } => {
                let text = memory.as_ref().map(reread).transpose()?.flatten().unwrap_or_default();
                let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
                let kills = kills.unwrap_or(0);
                let oom = kills > std::mem::replace(&mut self.kills, kills);
                let over = reread(cgroup)?.is_none_or(|text| text.lines().any(|line| line == "populated 0"));
                Ok(Happened { oom, over })
            }
        }
    }
}

/// The content of an open file from its beginning; None when the cgroup is gone.
fn reread(file: &OwnedFd) -> Result<Option<String>> {
    let begin = rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).call("lseek");
    match begin.and_then(|_| cgroupfs::read(file)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.errno() == libc::ENODEV => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::Hierarchy;
    use std::process::{Command, Stdio};

    #[test]
    fn the_end_is_heard_of_and_nothing_before_it() {
        let is_v2 = |mount: &&str| std::path::Path::new(mount).join("cgroup.controllers").exists();
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find(is_v2);
        let Some(mount) = mount.filter(|_| rustix::process::geteuid().is_root()) else {
            return crate::skip::skip(&[], "no cgroup2 that we may write");
        };
        let path = format!("/orlop-watch-{}", std::process::id());
        let place =
            Place::make(&Hierarchy { controllers: vec![], version: Version::V2, mount: mount.into(), path });
        // The root of the tree may not be ours to write, where the host is a container itself.
        let Ok(place) = place else { return crate::skip::skip(&[], "the root of cgroup2 is not ours") };
        let shown = place.shown.clone();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        std::fs::write(shown.join("cgroup.procs"), child.id().to_string()).unwrap();
        let mut watch = Watch::v2(place).unwrap();
        let rang = |watch: &Watch, milliseconds: i64| {
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
            rustix::event::poll(&mut watch.watched(), Some(&timeout)).unwrap() > 0
        };
        assert!(!rang(&watch, 20));
        assert_eq!(watch.look().unwrap(), Happened::default());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(rang(&watch, 900));
        assert_eq!(watch.look().unwrap(), Happened { oom: false, over: true });
        assert!(!rang(&watch, 20), "silent after the look");
        std::fs::remove_dir(&shown).unwrap();
        assert!(rang(&watch, 900));
        assert!(watch.look().unwrap().over);
    }
}
