//! Entering a cgroup from outside of all that is delegated to the user. PURE.
//!
//! The kernel moves a process, and lets one be born, only for whoever may write cgroup.procs of the cgroup that both
//! places have in common (cgroups(7)). Between a login session and the user's manager that is a slice of root's, so an
//! ordinary user cannot get from one into the other, though both are this user's. systemd does it on request for
//! processes of the user that the unit belongs to (AttachProcessesToUnit), as it does for the user's manager itself.

use super::facts::{Asker, Layout};
use super::{Hierarchy, Version};
use serde::Serialize;
use std::path::PathBuf;

/// Whom to ask when the kernel refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachPlan {
    /// Socket of the bus on which the system's manager is.
    pub bus: PathBuf,
    /// Who we are for the bus.
    pub uid: u32,
    /// The system manager's unit around the cgroup, `user@1000.service`.
    pub unit: String,
    /// The unit's own cgroup, begins with `/`.
    pub top: String,
}

impl AttachPlan {
    /// `path` (of a cgroup, with or without its first slash) below the unit's cgroup; empty for that itself. None for a
    /// cgroup elsewhere.
    pub fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        let top = self.top.trim_start_matches('/');
        let below = path.trim_start_matches('/').strip_prefix(top)?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }
}

/// None where nobody needs to be asked (`asker`: the host's root), or nobody can be: outside of all units.
pub fn plan(hierarchies: &[Hierarchy], layout: Layout, asker: Option<&Asker>) -> Option<AttachPlan> {
    let asker = asker.filter(|_| layout == Layout::V2)?;
    let path = &hierarchies.iter().find(|h| h.version == Version::V2)?.path;
    let mut top = String::new();
    for element in path.split('/').filter(|element| !element.is_empty()) {
        top.push('/');
        top.push_str(element);
        if element.ends_with(".slice") {
            continue;
        }
        let is_unit = element.ends_with(".service") || element.ends_with(".scope");
        let (bus, uid) = (asker.bus.clone(), asker.uid);
        return is_unit.then(|| AttachPlan { bus, uid, unit: element.to_owned(), top });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(path: &str) -> Option<AttachPlan> {
        let mount = "/sys/fs/cgroup".into();
        let tree = Hierarchy { controllers: vec![], version: Version::V2, mount, path: path.into() };
        plan(&[tree], Layout::V2, Some(&Asker { bus: "/bus".into(), uid: 7 }))
    }

    #[test]
    fn the_outermost_unit_is_asked() {
        let own = "/user.slice/user-7.slice/user@7.service";
        let attach = planned(&format!("{own}/user.slice/orlop-c1.scope")).unwrap();
        assert_eq!((attach.unit.as_str(), attach.top.as_str(), attach.uid), ("user@7.service", own, 7));
        assert_eq!(
            attach.below(&format!("{own}/user.slice/orlop-c1.scope/a")),
            Some("/user.slice/orlop-c1.scope/a")
        );
        assert_eq!(attach.below(&own[1..]), Some(""));
        assert_eq!(attach.below(&format!("{own}x")), None);
        assert_eq!(planned("/system.slice/runner.service/boxes/c1").unwrap().unit, "runner.service");
    }

    #[test]
    fn nobody_is_asked_outside_of_units() {
        assert_eq!(planned("/boxes/user@7.service/c1"), None);
        assert_eq!(planned("/user.slice/user-7.slice"), None);
        assert_eq!(plan(&[], Layout::V2, Some(&Asker { bus: "/bus".into(), uid: 7 })), None);
    }
}
