//! What a process that joins a container gives up before anybody in there can see it, and what any process
//! of ours takes into its last stage.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
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

/// Another user than root loses its capabilities at execve(2), but for the ambient ones: all permitted become ambient.
/// The last stage sets them anew before the workload's own execve.
pub fn keep_over_execve() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let own = capabilities(None).call("capget")?;
    set_capabilities(None, CapabilitySets { inheritable: own.permitted, ..own }).call("capset")?;
    for capability in own.permitted.iter() {
        match configure_capability_in_ambient_set(capability, true) {
            // One that is not in the bounding set is worth nothing.
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(e) => return Err(e).call("prctl(PR_CAP_AMBIENT_RAISE)"),
        }
    }
    Ok(())
}
