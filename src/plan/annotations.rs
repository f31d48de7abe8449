//! Annotations of other runtimes that change what a container is. PURE.
//!
//! Those that this runtime has are read where they matter. What it has not must not be passed over in silence: the
//! container would be another one than was asked for, or without the filter that was asked for.

use super::cgroup::Driver;
use super::seccomp::SeccompPlan;
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// All of crun's, with the reason.
const REFUSED: [(&str, &str); 3] = [
    // A virtual machine, WebAssembly.
    ("run.oci.handler", "there are no handlers, only plain processes are run"),
    // It may stand alone, without linux.seccomp.
    ("run.oci.seccomp_bpf_data", "compiled filters are not taken, only linux.seccomp"),
    ("run.oci.seccomp.plugins", "there are no plugins, only an agent at linux.seccomp.listenerPath"),
];

/// crun's prefixes for programs of other machines, and what they would run as here.
const HANDLERS: [&str; 2] = ["module.wasm.", "krun."];

const HOOKS: &str = "what a hook writes is shown when it fails";
const CGROUPS: &str = "no cgroup is made below the container's";
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// They do no harm, but somebody waits for their effect.
const PASSED_OVER: [(&str, &str); 5] = [
    ("run.oci.hooks.stdout", HOOKS),
    ("run.oci.hooks.stderr", HOOKS),
    ("run.oci.delegate-cgroup", CGROUPS),
    ("run.oci.systemd.force_cgroup_v1", "a systemd in the container gets the host's cgroup version"),
    // Means something to the systemd driver only.
    (SUBGROUP, CGROUPS),
];

/// `run.oci.seccomp_fail_unknown_syscall`: the filter must hold all that the profile names. "0" is off.
pub fn check_filter(spec: &Spec, filter: &SeccompPlan) -> Result<()> {
    const NAME: &str = "run.oci.seccomp_fail_unknown_syscall";
    let strict = spec.annotations().iter().flatten().any(|(name, value)| name == NAME && value != "0");
    match strict && !filter.unknown.is_empty() {
        true => {
            let text = format!("unknown system calls: {} (annotation {NAME})", filter.unknown.join(", "));
            Err(Error::field("linux.seccomp.syscalls", text))
        }
        false => Ok(()),
    }
}

/// Refuses those that cannot be done without.
pub fn check(spec: &Spec, driver: Driver, warnings: &mut Vec<String>) -> Result<()> {
    let given = |name: &str| spec.annotations().as_ref()?.get(name).filter(|value| !value.is_empty());
    let field = |name: &str| format!("annotations[{name:?}]");
    for (name, why) in REFUSED {
        if let Some(value) = given(name) {
            // A filter can be long.
            let value: String = value.chars().take(40).collect();
            return Err(Error::field(field(name), format_args!("{value:?}: {why}")));
        }
    }
    let concerns = |name: &str| given(name).is_some() && (name != SUBGROUP || driver == Driver::Systemd);
    for (name, why) in PASSED_OVER.into_iter().filter(|(name, _)| concerns(name)) {
        warnings.push(format!("{}: ignored: {why}", field(name)));
    }
    let all = spec.annotations().iter().flatten();
    for (name, _) in all.filter(|(name, _)| HANDLERS.iter().any(|handler| name.starts_with(handler))) {
        warnings
            .push(format!("{}: ignored: there are no handlers, only plain processes are run", field(name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(name: &str, value: &str) -> (Result<()>, Vec<String>) {
        let spec = json!({"ociVersion": "1.3.0", "annotations": { name: value }});
        let mut warnings = Vec::new();
        (check(&serde_json::from_value(spec).unwrap(), Driver::Systemd, &mut warnings), warnings)
    }

    #[test]
    fn what_cannot_be_passed_over_is_refused() {
        for (name, _) in REFUSED {
            let problem = with(name, &"x".repeat(5000)).0.unwrap_err().to_string();
            assert!(problem.starts_with(&format!("annotations[{name:?}]: \"xxx")), "{problem}");
            assert!(problem.len() < 200, "{problem}");
            assert!(with(name, "").0.is_ok(), "{name}");
        }
        assert!(with("run.oci.seccomp.receiver", "/run/agent").0.is_ok());
        for name in
            PASSED_OVER.into_iter().map(|(name, _)| name).chain(["module.wasm.image/variant", "krun.cpus"])
        {
            let (answer, warnings) = with(name, "/tmp/x");
            assert!(answer.is_ok() && warnings.len() == 1, "{name}: {warnings:?}");
        }
    }
}
