//! Which descriptors the container's first process gets beside 0, 1 and 2. PURE.
//!
//! Socket activation (sd_listen_fds(3)) passes 3..3+n to the runtime when LISTEN_PID names it, and
//! `--preserve-fds m` asks for the m descriptors after those; everything else is closed on execve.

use serde::Serialize;

use crate::error::{Error, Result};

/// The first descriptor that socket activation uses: SD_LISTEN_FDS_START.
pub const FIRST: u32 = 3;
/// More than any engine passes and less than the smallest usual RLIMIT_NOFILE; a bound against typing errors.
const MOST: u32 = 4096;

/// Descriptors `3..3+listen+preserve` survive execve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FdPlan {
    /// Sockets from socket activation, first.
    pub listen: u32,
    /// Those of `--preserve-fds`, after them.
    pub preserve: u32,
}

impl FdPlan {
    pub fn new(listen_fds: Option<u32>, preserve_fds: u32) -> Result<Self> {
        let listen = listen_fds.unwrap_or(0);
        match listen.checked_add(preserve_fds) {
            Some(sum) if sum <= MOST => Ok(Self { listen, preserve: preserve_fds }),
            _ => Err(Error::new(format!(
                "{listen} descriptors of LISTEN_FDS and {preserve_fds} of --preserve-fds are more than {MOST}"
            ))),
        }
    }

    /// The first descriptor that must not reach the container.
    pub fn first_closed(self) -> u32 {
        FIRST + self.listen + self.preserve
    }
}

/// The number of activation sockets in our own environment: `LISTEN_FDS` counts only when `LISTEN_PID` is
/// our pid (sd_listen_fds(3)); a number that is none is treated as absent there and here.
pub fn listen_fds(listen_pid: Option<&str>, listen_fds: Option<&str>, our_pid: u32) -> Option<u32> {
    let pid: u32 = decimal(listen_pid?)?;
    let count = decimal(listen_fds?)?;
    (pid == our_pid && count > 0).then_some(count)
}

/// Digits only: no sign, no space.
fn decimal(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_counts_only_for_us() {
        for (pid, count, wanted) in [
            (Some("12"), Some("2"), Some(2)),
            (Some("13"), Some("2"), None),
            (None, Some("2"), None),
            (Some("12"), None, None),
            (Some("12"), Some("0"), None),
            (Some("12"), Some("+2"), None),
            (Some(" 12"), Some("2"), None),
            (Some("12"), Some(""), None),
            (Some("12"), Some("99999999999"), None),
        ] {
            assert_eq!(listen_fds(pid, count, 12), wanted, "{pid:?} {count:?}");
        }
    }

    #[test]
    fn everything_after_the_named_ones_is_closed() {
        assert_eq!(FdPlan::new(None, 0).unwrap().first_closed(), 3);
        assert_eq!(FdPlan::new(Some(2), 3).unwrap().first_closed(), 8);
        assert!(FdPlan::new(Some(1), u32::MAX).is_err());
        assert!(FdPlan::new(None, 4097).is_err());
    }
}
