//! The five capability sets of a process as masks, and what of them the kernel will refuse. PURE.
//!
//! config.md (process.capabilities): what cannot be granted is a warning, never an error. capset(2) and
//! PR_CAP_AMBIENT know no "as far as possible", so the sets are trimmed here and every loss is named.
//! An absent `capabilities` drops everything, and an absent set is empty: the inheritable set is never
//! filled from another one (CVE-2022-29162, CVE-2022-27650).

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use serde::Serialize;

/// Names by number, capabilities(7): CAP_CHOWN is 0, CAP_CHECKPOINT_RESTORE is 40.
#[rustfmt::skip]
const NAMES: [(&str, Capability); 41] = [
    ("CAP_CHOWN", Capability::Chown), ("CAP_DAC_OVERRIDE", Capability::DacOverride),
    ("CAP_DAC_READ_SEARCH", Capability::DacReadSearch), ("CAP_FOWNER", Capability::Fowner),
    ("CAP_FSETID", Capability::Fsetid), ("CAP_KILL", Capability::Kill),
    ("CAP_SETGID", Capability::Setgid), ("CAP_SETUID", Capability::Setuid),
    ("CAP_SETPCAP", Capability::Setpcap), ("CAP_LINUX_IMMUTABLE", Capability::LinuxImmutable),
    ("CAP_NET_BIND_SERVICE", Capability::NetBindService), ("CAP_NET_BROADCAST", Capability::NetBroadcast),
    ("CAP_NET_ADMIN", Capability::NetAdmin), ("CAP_NET_RAW", Capability::NetRaw),
    ("CAP_IPC_LOCK", Capability::IpcLock), ("CAP_IPC_OWNER", Capability::IpcOwner),
    ("CAP_SYS_MODULE", Capability::SysModule), ("CAP_SYS_RAWIO", Capability::SysRawio),
    ("CAP_SYS_CHROOT", Capability::SysChroot), ("CAP_SYS_PTRACE", Capability::SysPtrace),
    ("CAP_SYS_PACCT", Capability::SysPacct), ("CAP_SYS_ADMIN", Capability::SysAdmin),
    ("CAP_SYS_BOOT", Capability::SysBoot), ("CAP_SYS_NICE", Capability::SysNice),
    ("CAP_SYS_RESOURCE", Capability::SysResource), ("CAP_SYS_TIME", Capability::SysTime),
    ("CAP_SYS_TTY_CONFIG", Capability::SysTtyConfig), ("CAP_MKNOD", Capability::Mknod),
    ("CAP_LEASE", Capability::Lease), ("CAP_AUDIT_WRITE", Capability::AuditWrite),
    ("CAP_AUDIT_CONTROL", Capability::AuditControl), ("CAP_SETFCAP", Capability::Setfcap),
    ("CAP_MAC_OVERRIDE", Capability::MacOverride), ("CAP_MAC_ADMIN", Capability::MacAdmin),
    ("CAP_SYSLOG", Capability::Syslog), ("CAP_WAKE_ALARM", Capability::WakeAlarm),
    ("CAP_BLOCK_SUSPEND", Capability::BlockSuspend), ("CAP_AUDIT_READ", Capability::AuditRead),
    ("CAP_PERFMON", Capability::Perfmon), ("CAP_BPF", Capability::Bpf),
    ("CAP_CHECKPOINT_RESTORE", Capability::CheckpointRestore),
];

/// Masks: bit n is capability number n. What the kernel demands of them holds: effective ⊆ permitted,
/// inheritable ⊆ bounding, ambient ⊆ permitted ∩ inheritable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CapabilityPlan {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

impl CapabilityPlan {
    /// `grantable`: the capabilities the process can have at all: those of a new user namespace (all the
    /// kernel knows), else the runtime's permitted set. Losses become `warnings`.
    pub fn new(wanted: Option<&LinuxCapabilities>, grantable: u64, warnings: &mut Vec<String>) -> Self {
        let Some(wanted) = wanted else { return Self::default() };
        let asked = Self {
            bounding: mask(wanted.bounding()),
            effective: mask(wanted.effective()),
            permitted: mask(wanted.permitted()),
            inheritable: mask(wanted.inheritable()),
            ambient: mask(wanted.ambient()),
        };
        let all = asked.bounding | asked.effective | asked.permitted | asked.inheritable | asked.ambient;
        warn(warnings, all & !grantable, "cannot be granted: the runtime or the kernel does not have them");

        let bounding = asked.bounding & grantable;
        let permitted = asked.permitted & grantable;
        let effective = asked.effective & grantable;
        warn(warnings, effective & !permitted, "are in the effective but not in the permitted set");
        let inheritable = asked.inheritable & grantable;
        // capset(2): the inheritable set cannot gain what the bounding set, dropped before it, lacks.
        warn(warnings, inheritable & !bounding, "are in the inheritable but not in the bounding set");
        let inheritable = inheritable & bounding;
        let ambient = asked.ambient & grantable;
        // PR_CAP_AMBIENT_RAISE: only what is both permitted and inheritable. Buildah (1.26 to 1.28) lists an ambient set
        // in every config and leaves the inheritable one empty since CVE-2022-27651: with a warning every RUN of a
        // build would show it, and nobody asked for anything.
        if asked.inheritable != 0 {
            warn(
                warnings,
                ambient & !(permitted & inheritable),
                "are in the ambient set but not in both the permitted and the inheritable one",
            );
        }
        Self {
            bounding,
            effective: effective & permitted,
            permitted,
            inheritable,
            ambient: ambient & permitted & inheritable,
        }
    }

    /// `exec --cap`: added to what the program may use, never to what files may take from it (inheritable). Those that
    /// already are inheritable become ambient, too, as with runc: without root's uid they would be lost at execve.
    pub fn add(&mut self, more: u64) {
        self.bounding |= more;
        self.effective |= more;
        self.permitted |= more;
        self.ambient |= more & self.inheritable;
    }
}

fn warn(warnings: &mut Vec<String>, lost: u64, why: &str) {
    if lost != 0 {
        warnings.push(format!("capabilities {} {why} (process.capabilities)", names(lost).join(", ")));
    }
}

fn mask(set: &Option<Capabilities>) -> u64 {
    let Some(set) = set else { return 0 };
    (0u32..)
        .zip(NAMES)
        .filter(|(_, (_, capability))| set.contains(capability))
        .fold(0, |m, (n, _)| m | 1 << n)
}

/// The names of a mask in the order of their numbers; one without a name is `capability 63`.
pub fn names(mask: u64) -> Vec<String> {
    let name = |n: usize| NAMES.get(n).map_or_else(|| format!("capability {n}"), |(name, _)| (*name).into());
    (0..64).filter(|n| mask & (1 << n) != 0).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALL: u64 = (1 << 41) - 1;

    fn plan(capabilities: serde_json::Value, grantable: u64) -> (CapabilityPlan, Vec<String>) {
        let parsed: LinuxCapabilities = serde_json::from_value(capabilities).unwrap();
        let mut warnings = Vec::new();
        (CapabilityPlan::new(Some(&parsed), grantable, &mut warnings), warnings)
    }

    #[test]
    fn what_is_added_becomes_ambient_where_the_kernel_lets_it() {
        let mut plan =
            CapabilityPlan { bounding: 6, inheritable: 6, ambient: 4, ..CapabilityPlan::default() };
        plan.add(3);
        let expected = CapabilityPlan { bounding: 7, effective: 3, permitted: 3, inheritable: 6, ambient: 6 };
        assert_eq!(plan, expected);
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (n, (name, capability)) in NAMES.iter().enumerate() {
            let theirs: caps::Capability = name.parse().unwrap();
            assert_eq!(usize::from(theirs.index()), n, "{name}");
            assert_eq!(format!("CAP_{capability}"), *name);
        }
        assert_eq!(caps::all().len(), NAMES.len());
        assert_eq!(names(1 << 63 | 1), ["CAP_CHOWN", "capability 63"]);
    }

    #[test]
    fn nothing_given_drops_all() {
        assert_eq!(CapabilityPlan::new(None, ALL, &mut Vec::new()), CapabilityPlan::default());
        assert_eq!(plan(json!({}), ALL), (CapabilityPlan::default(), vec![]));
    }

    #[test]
    fn inheritable_is_only_what_was_given() {
        let (p, w) = plan(
            json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}),
            ALL,
        );
        assert_eq!((p.bounding, p.effective, p.permitted), (32, 32, 32));
        assert_eq!((p.inheritable, p.ambient), (0, 0));
        assert!(w.is_empty());
    }

    #[test]
    fn ambient_needs_permitted_and_inheritable() {
        let set = json!(["CAP_KILL", "CAP_CHOWN"]);
        let (p, w) = plan(
            json!({"bounding": set, "permitted": set, "inheritable": ["CAP_KILL"], "ambient": set}),
            ALL,
        );
        assert_eq!(p.ambient, 32);
        assert_eq!(
            w,
            [
                "capabilities CAP_CHOWN are in the ambient set but not in both the permitted and the inheritable \
              one (process.capabilities)"
            ]
        );
    }

    #[test]
    fn ambient_without_any_inheritable_is_dropped_in_silence() {
        let set = json!(["CAP_KILL"]);
        let (p, w) = plan(json!({"bounding": set, "permitted": set, "effective": set, "ambient": set}), ALL);
        assert_eq!((p.permitted, p.ambient), (32, 0));
        assert_eq!(w, [""; 0]);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_trimmed() {
        let (p, w) = plan(json!({"effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}), ALL);
        assert_eq!(p, CapabilityPlan::default());
        assert_eq!(w.len(), 2);
        let (p, w) = plan(json!({"bounding": ["CAP_SYS_RESOURCE"]}), ALL & !(1 << 24));
        assert_eq!(p.bounding, 0);
        assert!(w[0].starts_with("capabilities CAP_SYS_RESOURCE cannot be granted"), "{w:?}");
    }

    #[test]
    fn exec_adds_nothing_to_pass_on() {
        let mut p = CapabilityPlan { inheritable: 1, ..CapabilityPlan::default() };
        p.add(4);
        assert_eq!((p.bounding, p.effective, p.permitted, p.inheritable, p.ambient), (4, 4, 4, 1, 0));
    }
}
