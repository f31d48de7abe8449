//! Which capabilities a container's process can get at all. Runs in the runtime, once, before planning.

use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set};

use crate::error::{Call, Result};

/// Bit n is capability n. A new user namespace starts with all that the kernel knows; without one it is what
/// the runtime itself may use and pass on: capset(2) and the bounding set only ever shrink.
pub fn grantable(new_user_namespace: bool) -> Result<u64> {
    let mut known = 0;
    let mut bounding = 0;
    for number in 0..64 {
        let bit = 1u64 << number;
        // PR_CAPBSET_READ answers EINVAL for a number that the kernel does not know.
        match capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(set) => {
                known |= bit;
                bounding |= if set { bit } else { 0 };
            }
            Err(_) => break,
        }
    }
    if new_user_namespace {
        return Ok(known);
    }
    Ok(capabilities(None).call("capget")?.permitted.bits() & bounding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_proc() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(grantable(false).unwrap(), mask("CapPrm:") & mask("CapBnd:"));
        let last: u32 =
            std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert_eq!(grantable(true).unwrap(), (1 << (last + 1)) - 1);
    }
}
