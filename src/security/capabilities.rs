//! What a process that joins a container gives up before anybody in there can see it.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::error::{Call, Result};

/// Drops every capability that is not in `keep`, from all sets. A process of the container with
/// CAP_SYS_PTRACE could make any of them its own while ours is on its way in.
pub fn trim(keep: u64) -> Result<()> {
    for bit in (0..64).map(|number| 1u64 << number).filter(|bit| keep & bit == 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(e).call("prctl(PR_CAPBSET_DROP)"),
        }
    }
    match clear_ambient_capability_set() {
        // Before 4.3 there is none.
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(e) => return Err(e).call("prctl(PR_CAP_AMBIENT)"),
    }
    let own = capabilities(None).call("capget")?;
    let kept = CapabilitySet::from_bits_retain(keep);
    let sets = CapabilitySets {
        effective: own.effective & kept,
        permitted: own.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).call("capset")
}
