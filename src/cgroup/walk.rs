//! The way through a cgroup tree whose width and depth the payload decides about: names are kept instead of
//! descriptors, of which there is one at a time, and nothing recurses. The way back up is `..`: a cgroup never moves
//! to another parent, and one that was removed still knows its own.

use crate::error::Result;
use crate::sys::cgroupfs;
use std::ffi::CString;
use std::os::fd::OwnedFd;

pub(super) struct Walk {
    dir: OwnedFd,
    /// Children of `dir` still to be visited.
    names: Vec<CString>,
    /// The way down: of each directory above its children still to be visited, and the name of the one we went into.
    above: Vec<(Vec<CString>, CString)>,
}

impl Walk {
    pub fn begin(top: OwnedFd) -> Result<Self> {
        Ok(Self { names: children(&top)?, dir: top, above: vec![] })
    }

    /// Where we are.
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The next child of where we are.
    pub fn child(&mut self) -> Option<CString> {
        self.names.pop()
    }

    /// Goes into a child; false when it is gone meanwhile.
    pub fn down(&mut self, name: CString) -> Result<bool> {
        let child = match cgroupfs::openat_dir(&self.dir, name.as_c_str(), true) {
            Ok(child) => child,
            Err(e) if e.errno() == libc::ENOENT => return Ok(false),
            Err(e) => return Err(e),
        };
        let siblings = std::mem::replace(&mut self.names, children(&child)?);
        self.above.push((siblings, name));
        self.dir = child;
        Ok(true)
    }

    /// Goes back to the parent and says from which of its children; None at the top.
    pub fn up(&mut self) -> Result<Option<CString>> {
        let Some((siblings, name)) = self.above.pop() else { return Ok(None) };
        self.dir = cgroupfs::openat_dir(&self.dir, c"..", true)?;
        self.names = siblings;
        Ok(Some(name))
    }
}

fn children(dir: &OwnedFd) -> Result<Vec<CString>> {
    // kernfs counts children in the links: the common leaf costs no listing.
    if cgroupfs::fstat_nlink(dir)? <= 2 { Ok(vec![]) } else { cgroupfs::getdents_dirs(dir) }
}
