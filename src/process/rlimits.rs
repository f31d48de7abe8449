//! Resource limits, set from outside on the finished init: set by itself, a small RLIMIT_NOFILE or RLIMIT_AS
//! would break its own mounts. Runs in the runtime at P7, before init gives up the equal ids that
//! prlimit(2) asks for.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::error::{Call, Doing, Error, Result};
use crate::plan::process::RlimitPlan;

/// Sets each limit on `pid`, in the order of the configuration.
pub fn set(pid: Pid, limits: &[RlimitPlan]) -> Result<()> {
    for limit in limits {
        let resource = resource(limit)?;
        let new = Rlimit { current: bounded(limit.soft), maximum: bounded(limit.hard) };
        match prlimit(Some(pid), resource, new) {
            Ok(_) => {}
            Err(rustix::io::Errno::PERM) => return Err(refused(limit, resource)),
            Err(errno) => {
                return Err(errno)
                    .call("prlimit")
                    .at_with(|| limit.field.clone())
                    .doing_with(|| phrase(limit));
            }
        }
    }
    Ok(())
}

fn phrase(limit: &RlimitPlan) -> String {
    format!("set {} to {}:{}", limit.name, shown(limit.soft), shown(limit.hard))
}

/// EPERM has two causes: no right over the process, or a raised hard limit (capabilities(7)).
fn refused(limit: &RlimitPlan, resource: Resource) -> Error {
    let error = Error::sys("prlimit", libc::EPERM).at(limit.field.clone()).doing(phrase(limit));
    // Init got its limits from us.
    let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    if limit.hard > hard {
        error.hint(format!("raising the hard limit above {} needs CAP_SYS_RESOURCE on the host", shown(hard)))
    } else {
        error
    }
}

/// RLIM_INFINITY is all ones in the configuration as in the kernel.
fn bounded(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

fn shown(value: u64) -> String {
    if value == u64::MAX { "unlimited".into() } else { value.to_string() }
}

fn resource(limit: &RlimitPlan) -> Result<Resource> {
    const BY_NUMBER: [Resource; 16] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    BY_NUMBER
        .get(limit.resource as usize)
        .copied()
        .ok_or_else(|| Error::field(&limit.field, format_args!("{} is no resource", limit.resource)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn limit(resource: u32, name: &str, soft: u64, hard: u64) -> RlimitPlan {
        RlimitPlan { resource, name: name.into(), soft, hard, field: "process.rlimits[1]".into() }
    }

    #[test]
    fn limits_of_a_child_are_set_from_outside() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let result = set(pid, &[limit(7, "RLIMIT_NOFILE", 4, 10), limit(4, "RLIMIT_CORE", 0, 0)]);
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let raised = set(pid, &[limit(7, "RLIMIT_NOFILE", 4, hard.saturating_add(1))]);
        drop(child.stdin.take());
        child.wait().unwrap();
        result.unwrap();
        let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["4", "10"]);
        // Refused only where the capability is missing, as on hosts that are containers themselves.
        if let Err(e) = raised {
            let text = e.to_string();
            assert!(
                text.contains("(process.rlimits[1], prlimit)") && text.contains("CAP_SYS_RESOURCE"),
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        for number in 0..16 {
            assert_eq!(resource(&limit(number, "", 0, 0)).unwrap() as u32, number);
        }
        assert!(resource(&limit(16, "", 0, 0)).is_err());
    }
}
