//! Which capabilities a container's process can get at all. Runs in the runtime, once, before planning.

use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set};

use crate::error::{Call, Result};

/// What this process may pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The highest one this kernel knows; a new user namespace starts with all up to it.
    pub last: u32,
    /// Bit n is capability n: what the runtime itself may use and pass on, for capset(2) and the bounding
    /// set only ever shrink.
    pub grantable: u64,
}

pub fn read() -> Result<Capabilities> {
    let (mut last, mut bounding) = (0, 0);
    for number in 0..64u32 {
        let bit = 1u64 << number;
        // PR_CAPBSET_READ answers EINVAL for a number that the kernel does not know.
        match capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(set) => {
                last = number;
                bounding |= if set { bit } else { 0 };
            }
            Err(_) => break,
        }
    }
    let permitted = capabilities(None).call("capget")?.permitted.bits();
    Ok(Capabilities { last, grantable: permitted & bounding })
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
        let read = read().unwrap();
        assert_eq!(read.grantable, mask("CapPrm:") & mask("CapBnd:"));
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last.trim(), read.last.to_string());
    }
}
