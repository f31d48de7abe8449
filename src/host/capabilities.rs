//! Which capabilities the runtime itself may use and pass on. Runs in the runtime, once, before planning.

use crate::error::{Call, Result};
use rustix::thread::capabilities;

/// Bit n is capability n: the permitted set, which bounds what capset(2) gives a child without a user namespace
/// of its own. (A capability in it but not in our bounding set is lost at the workload's execve; asking for the
/// bounding set costs 42 calls, and the kernel keeps to it anyway.)
pub fn grantable() -> Result<u64> {
    Ok(capabilities(None).call("capget")?.permitted.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_proc() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapPrm:")).unwrap();
        assert_eq!(grantable().unwrap(), u64::from_str_radix(line.trim(), 16).unwrap());
    }
}
