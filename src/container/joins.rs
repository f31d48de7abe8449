//! Namespaces that the config names by path: opened and checked by the runtime (P2), before anything depends on
//! them, so that what was checked is what is joined.

use crate::error::{Call, Doing, Error, Result};
use crate::plan::CreatePlan;
use crate::plan::namespaces::{Join, NsKind};
use crate::sys::{ns, path};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One of them.
#[derive(Debug)]
pub struct Joined {
    pub kind: NsKind,
    pub fd: OwnedFd,
    pub field: String,
}

/// Opens all.
pub fn open(plan: &CreatePlan) -> Result<Vec<Joined>> {
    plan.namespaces.join.iter().map(open_one).collect()
}

fn open_one(join: &Join) -> Result<Joined> {
    let shown = || format!("{} = {:?}", join.field, join.path);
    let open = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(&join.path, flags, Mode::empty()).call("open")?;
        match ns::kind(fd.as_fd()).map(NsKind::of_flag) {
            Some(Some(kind)) if kind == join.kind => {}
            Some(Some(kind)) => {
                let (is, wanted) = (kind.proc_name(), join.kind.proc_name());
                return Err(Error::new(format!("is a {is} namespace, not a {wanted} one")));
            }
            _ => return Err(Error::new("is no namespace")),
        }
        Ok(Joined { kind: join.kind, fd, field: join.field.clone() })
    };
    let joined = open().at_with(shown).doing("open a namespace")?;
    match &join.not_ours {
        Some(field) if is_ours(join.kind, joined.fd.as_fd())? => {
            let kind = join.kind.proc_name();
            let problem = format!("not allowed in the {kind} namespace of the host, which {} is", shown());
            Err(Error::new(problem).at(field.clone()))
        }
        _ => Ok(joined),
    }
}

/// Namespaces are compared by device and inode number (namespaces(7)).
fn is_ours(kind: NsKind, fd: BorrowedFd<'_>) -> Result<bool> {
    let ours = open_file(&format!("/proc/self/ns/{}", kind.proc_name()))?;
    Ok(path::identity(ours.as_fd())? == path::identity(fd)?)
}

/// Opens a namespace by its file in /proc.
pub fn open_file(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open")
        .at_with(|| path.to_owned())
}
