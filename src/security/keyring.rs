//! The session keyring of a container: without its own the process would find the operator's keys. Runs in
//! init (N2) and in every process that joins the container, before the ids change.

use std::ffi::CString;
use std::thread::sleep;
use std::time::Duration;

use crate::error::{Doing, Error, Result};
use crate::plan::process::KeyringPlan;
use crate::sys::{kernel, key};

/// How often, and with what pauses, a used-up quota is tried again: 200 ms at most.
const QUOTA_LOOKS: u32 = 20;
const QUOTA_PAUSE: Duration = Duration::from_millis(10);

/// What the operator should know of a process that goes without its container's keyring.
pub const ALONE: &str = "the container's user has too many keys (/proc/sys/kernel/keys/maxkeys): the process gets an empty \
                         session keyring of its own, which it does not share with the container";

/// Leaves the operator's session keyring for an empty one that is nobody else's. For who is about to become root of a user
/// namespace: there the container's keyring counts against a user of the container's, who can have used up the quota, and
/// then this one remains, which counts against root of the host. The container's process can use it, because it possesses
/// it, and cannot give it away. False where there is none. Of no use without root, where the quota is the same.
pub fn leave_callers(plan: Option<&KeyringPlan>) -> bool {
    plan.is_some() && key::new_session_keyring().is_ok()
}

/// Makes or joins the keyring; false when the quota is used up, so that the process stays `alone` in the one that it has
/// ([`leave_callers`]). The SELinux label for new keys, if any, must already be in place
/// (`labels::set_key_label`). Without CONFIG_KEYS, or where a filter hides the call, there are no keys to protect either.
pub fn join(plan: &KeyringPlan, alone: bool) -> Result<bool> {
    let name =
        CString::new(plan.name.as_str()).map_err(|_| Error::new("the name of a keyring has a NUL byte"))?;
    if let Err(e) = joined_in_time(&name) {
        if kernel::is_missing(libc::SYS_keyctl, e.errno()) {
            return Ok(true);
        }
        if e.errno() == libc::EDQUOT && alone {
            return Ok(false);
        }
        let e = match e.errno() {
            libc::EPERM => e.hint("--no-new-keyring does without one"),
            libc::EDQUOT => e.hint(
                "too many keys of this user: raise /proc/sys/kernel/keys/maxkeys (root_maxkeys for root) or use \
                 --no-new-keyring",
            ),
            _ => e,
        };
        return Err(e).doing_with(|| format!("join the session keyring {}", plan.name));
    }
    // A keyring is born without the right to search it by owner or others; programs inside need one of them.
    let description = key::describe_session().doing("read the permissions of the session keyring")?;
    let now = permission(&description)
        .ok_or_else(|| Error::new(format!("the kernel describes the session keyring as `{description}`")))?;
    // What joins later finds them set, and may be another user, who could not.
    if now | plan.permission != now {
        key::set_session_permission(now | plan.permission)
            .doing("set the permissions of the session keyring")?;
    }
    Ok(true)
}

/// The keyrings of processes that have ended count until the kernel's collector comes by (before Linux 6.8): a quota
/// that is still used up after a while is a real one.
fn joined_in_time(name: &CString) -> Result<()> {
    for _ in 0..QUOTA_LOOKS {
        match key::join_session_keyring(name) {
            Err(e) if e.errno() == libc::EDQUOT => sleep(QUOTA_PAUSE),
            done => return done,
        }
    }
    key::join_session_keyring(name)
}

/// The fourth field of `keyring;uid;gid;perm;name`, hexadecimal (keyctl_describe(3)).
fn permission(description: &str) -> Option<u32> {
    u32::from_str_radix(description.split(';').nth(3)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions() {
        assert_eq!(permission("keyring;0;0;3f010000;_ses.c1"), Some(0x3f01_0000));
        assert_eq!(permission("keyring;0;0;3f010000;a;b"), Some(0x3f01_0000));
        assert_eq!(permission("keyring;0;0"), None);
        assert_eq!(permission("keyring;0;0;zz;n"), None);
    }

    #[test]
    fn the_second_process_joins_the_same_keyring() {
        let plan = KeyringPlan {
            name: format!("_ses.orlop-test-{}", std::process::id()),
            label: None,
            permission: 0x0008_0000,
        };
        // Keyrings belong to a thread until execve, so two threads are two processes here; the first has to
        // keep its own alive meanwhile.
        match join(&plan, false) {
            Ok(_) => {
                let described = match key::describe_session() {
                    Err(e) if kernel::is_missing(libc::SYS_keyctl, e.errno()) => return,
                    described => described.unwrap(),
                };
                assert!(described.ends_with(&plan.name), "{described}");
                assert_eq!(permission(&described).unwrap() & plan.permission, plan.permission);
                let first = key::session_serial().unwrap();
                join(&plan, false).unwrap();
                let second = std::thread::spawn(move || {
                    join(&plan, false).unwrap();
                    key::session_serial().unwrap()
                });
                assert_eq!((second.join().unwrap(), key::session_serial().unwrap()), (first, first));
            }
            // A host that is a container itself.
            Err(e) => assert!(matches!(e.errno(), libc::EPERM | libc::EDQUOT), "{e}"),
        }
    }
}
