//! The defects of oci-spec 0.10, worked round in this one place; a test each at the bottom.
//!
//! Two moments: `value` repairs a document that the types refuse (or read wrongly) before it is read again, and
//! `fill` takes out of a read document what the types cannot carry and puts it into [`Mended`]. Pure.

use super::look::Look;
use super::{Mended, names};
use crate::error::{Error, Result};
use oci_spec::runtime::{LinuxSchedulerFlag, Spec};
use serde_json::{Map, Value};
use std::path::Path;

/// Whether the types may have read something else than was written: flag words that only oci-spec knows, and
/// a limit that must not be negative.
pub(super) fn is_doubtful(spec: &Spec) -> bool {
    let flags = spec.process().as_ref().and_then(|p| p.scheduler().as_ref()).and_then(|s| s.flags().as_ref());
    let misspelled = |flag: &LinuxSchedulerFlag| {
        matches!(flag, LinuxSchedulerFlag::SchedResetOnFork | LinuxSchedulerFlag::SchedFlagDLOverrun)
    };
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let hugepages = resources.and_then(|r| r.hugepage_limits().as_ref());
    flags.is_some_and(|flags| flags.iter().any(misspelled))
        || hugepages.is_some_and(|limits| limits.iter().any(|limit| limit.limit() < 0))
}

/// Moves into `mended` what the types cannot carry, and makes empty strings absent.
pub(super) fn fill(spec: &mut Spec, mended: &mut Mended, look: &Look) {
    mended.missing = look.missing();
    if let Some(resources) = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        mended.pids_limit = resources.pids().and_then(|pids| match pids.limit() {
            0 => look.pids_limit(),
            limit => Some(limit),
        });
        // Already there when the document had to be mended.
        if mended.hugepage_limits.is_empty() {
            let limits = resources.hugepage_limits().iter().flatten();
            let pair = |limit: &oci_spec::runtime::LinuxHugepageLimit| {
                (limit.page_size().clone(), u64::try_from(limit.limit()).unwrap_or(0))
            };
            mended.hugepage_limits = limits.map(pair).collect();
        }
    }
    take_scheduler_flags(spec, mended);
    empty_is_absent(spec);
    fill_listener(spec);
}

/// crun's annotation, older than `listenerPath`, which goes before it.
fn fill_listener(spec: &mut Spec) {
    const RECEIVER: &str = "run.oci.seccomp.receiver";
    let receiver = spec.annotations().as_ref().and_then(|all| all.get(RECEIVER)).cloned();
    let Some(receiver) = receiver.filter(|path| !path.is_empty()) else { return };
    let profile = spec.linux_mut().as_mut().and_then(|linux| linux.seccomp_mut().as_mut());
    if let Some(profile) = profile.filter(|profile| profile.listener_path().is_none()) {
        profile.set_listener_path(Some(receiver.into()));
    }
}

/// The flags that oci-spec spells right; the others came through [`value`].
fn take_scheduler_flags(spec: &mut Spec, mended: &mut Mended) {
    let Some(process) = spec.process_mut() else { return };
    let Some(mut scheduler) = process.scheduler().clone() else { return };
    if let Some(flags) = scheduler.flags() {
        mended.scheduler_flags.extend(flags.iter().map(ToString::to_string));
        scheduler.set_flags(None);
        process.set_scheduler(Some(scheduler));
    }
}

/// Go programs write `""` for what is not set, and their readers take it so.
fn empty_is_absent(spec: &mut Spec) {
    drop_empty(spec.hostname_mut());
    drop_empty(spec.domainname_mut());
    for mount in spec.mounts_mut().iter_mut().flatten() {
        drop_empty(mount.typ_mut());
        if mount.source().as_deref() == Some(Path::new("")) {
            mount.set_source(None);
        }
    }
    if let Some(process) = spec.process_mut() {
        if process.apparmor_profile().as_deref() == Some("") {
            process.set_apparmor_profile(None);
        }
        if process.selinux_label().as_deref() == Some("") {
            process.set_selinux_label(None);
        }
    }
    let Some(linux) = spec.linux_mut() else { return };
    drop_empty(linux.mount_label_mut());
    drop_empty(linux.rootfs_propagation_mut());
    if linux.cgroups_path().as_deref() == Some(Path::new("")) {
        linux.set_cgroups_path(None);
    }
    for namespace in linux.namespaces_mut().iter_mut().flatten() {
        if namespace.path().as_deref() == Some(Path::new("")) {
            namespace.set_path(None);
        }
    }
    if let Some(seccomp) = linux.seccomp_mut() {
        if seccomp.listener_path().as_deref() == Some(Path::new("")) {
            seccomp.set_listener_path(None);
        }
        if seccomp.listener_metadata().as_deref() == Some("") {
            seccomp.set_listener_metadata(None);
        }
    }
}

fn drop_empty(text: &mut Option<String>) {
    if text.as_deref() == Some("") {
        *text = None;
    }
}

/// Repairs what oci-spec would refuse in a valid document. Faults that are none of these stay for it to find.
pub(super) fn value(document: &mut Value, mended: &mut Mended, warnings: &mut Vec<String>) -> Result<()> {
    drop_nulls(document);
    let Some(top) = document.as_object_mut() else { return Ok(()) };
    // Sections of other platforms are none of our business, whatever is in them; the top-level mappings are an
    // invention of oci-spec.
    for section in ["solaris", "windows", "vm", "zos", "freebsd", "uidMappings", "gidMappings"] {
        top.remove(section);
    }
    if let Some(process) = top.get_mut("process").and_then(Value::as_object_mut) {
        process.remove("commandLine");
        if !process.contains_key("user") {
            process.insert("user".to_owned(), Value::Object(Map::new()));
            warnings.push("process.user: missing, taken as 0:0".to_owned());
        }
        filter_capabilities(process, warnings);
        collect_scheduler_flags(process, mended)?;
        tidy_cpu_lists(process);
    }
    drop_empty_profile(document, warnings);
    collect_hugepage_limits(document, mended)
}

/// Go programs leave a structure of zero values for "no seccomp", and runc takes it so. With rules a default action is
/// asked for as before.
fn drop_empty_profile(document: &mut Value, warnings: &mut Vec<String>) {
    let Some(linux) = document.get_mut("linux").and_then(Value::as_object_mut) else { return };
    let Some(profile) = linux.get("seccomp").and_then(Value::as_object) else { return };
    let default = profile.get("defaultAction").is_none_or(|action| action.as_str() == Some(""));
    let rules = profile.get("syscalls").is_none_or(|rules| rules.as_array().is_some_and(Vec::is_empty));
    if default && rules {
        linux.remove("seccomp");
        let problem = "neither a defaultAction nor syscalls, taken as no profile: nothing is filtered";
        warnings.push(format!("linux.seccomp: {problem}"));
    }
}

/// `null` is an absent member to every other reader; the types take it only where they have an Option.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// An unknown capability makes oci-spec refuse the document, where the specification wants a warning.
fn filter_capabilities(process: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) else { return };
    for (set, capabilities) in sets {
        let Some(capabilities) = capabilities.as_array_mut() else { continue };
        capabilities.retain(|capability| match capability.as_str() {
            Some(name) if names::capability(name).is_none() => {
                let name = name.escape_default();
                warnings.push(format!("process.capabilities.{set}: unknown capability {name} ignored"));
                false
            }
            _ => true,
        });
    }
}

/// oci-spec misspells two of the flags, so it gets to see none.
fn collect_scheduler_flags(process: &mut Map<String, Value>, mended: &mut Mended) -> Result<()> {
    let Some(scheduler) = process.get_mut("scheduler").and_then(Value::as_object_mut) else { return Ok(()) };
    let Some(flags) = scheduler.get("flags").and_then(Value::as_array) else { return Ok(()) };
    for (i, flag) in flags.iter().enumerate() {
        match flag.as_str() {
            Some(word) if names::scheduler_flag(word).is_some() => {
                mended.scheduler_flags.push(word.to_owned());
            }
            Some(word) => {
                let field = format!("process.scheduler.flags[{i}]");
                return Err(Error::field(field, format!("unknown value {word:?}")));
            }
            // Not a string: left in place, refused with its type.
            None => return Ok(()),
        }
    }
    scheduler.remove("flags");
    Ok(())
}

/// oci-spec takes neither blanks nor empty items nor an empty list; the schema allows all of them.
fn tidy_cpu_lists(process: &mut Map<String, Value>) {
    let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) else { return };
    for member in ["initial", "final"] {
        let Some(text) = affinity.get(member).and_then(Value::as_str) else { continue };
        let items = text.split(',').map(|item| item.replace(' ', "")).filter(|item| !item.is_empty());
        let tidy = items.collect::<Vec<_>>().join(",");
        if tidy.is_empty() {
            affinity.remove(member);
        } else {
            affinity.insert(member.to_owned(), Value::String(tidy));
        }
    }
}

/// A limit is a u64 in the specification and an i64 in oci-spec: one above its range is clipped for it (ours
/// has the whole), one below 0 refused here.
fn collect_hugepage_limits(document: &mut Value, mended: &mut Mended) -> Result<()> {
    let Some(Value::Array(limits)) = document.pointer_mut("/linux/resources/hugepageLimits") else {
        return Ok(());
    };
    for (i, entry) in limits.iter_mut().enumerate() {
        let Some(entry) = entry.as_object_mut() else { continue };
        let page_size = entry.get("pageSize").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(limit) = entry.get_mut("limit") else {
            mended.hugepage_limits.push((page_size, 0));
            continue;
        };
        if let Some(negative) = limit.as_i64().filter(|limit| *limit < 0) {
            let field = format!("linux.resources.hugepageLimits[{i}].limit");
            return Err(Error::field(field, format!("invalid value: integer `{negative}`, expected u64")));
        }
        if let Some(bytes) = limit.as_u64() {
            mended.hugepage_limits.push((page_size, bytes));
            if bytes > i64::MAX as u64 {
                *limit = Value::from(i64::MAX);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read::{Document, document};

    fn read(text: &str) -> Document {
        document(text.as_bytes(), "config.json").unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn error(text: &str) -> String {
        document(text.as_bytes(), "config.json").unwrap_err().to_string()
    }

    fn process(members: &str) -> String {
        format!(r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/","user":{{}},{members}}}}}"#)
    }

    fn resources(members: &str) -> String {
        format!(r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{{members}}}}}}}"#)
    }

    #[test]
    fn absent_pids_limit_is_not_zero() {
        let cases: &[(&str, Option<i64>)] = &[
            ("", None),
            (r#""pids":{}"#, None),
            (r#""pids":null"#, None),
            (r#""pids":{"limit":null}"#, None),
            (r#""pids":{"limit":0}"#, Some(0)),
            (r#""pids":{"limit":7}"#, Some(7)),
            (r#""pids":{"limit":-1}"#, Some(-1)),
        ];
        for (members, limit) in cases {
            assert_eq!(read(&resources(members)).mended.pids_limit, *limit, "{members}");
        }
        // The same on the slow way.
        let slow = r#"{"zos":{"namespaces":7},"linux":{"resources":{"pids":{"limit":0}}}}"#;
        assert_eq!(read(slow).mended.pids_limit, Some(0));
    }

    #[test]
    fn unknown_capabilities_only_warn() {
        let text = process(r#""capabilities":{"bounding":["CAP_FOO","CAP_KILL"],"ambient":["CAP_BAR\n"]}"#);
        let read = read(&text);
        assert_eq!(
            read.warnings,
            [
                "process.capabilities.ambient: unknown capability CAP_BAR\\n ignored",
                "process.capabilities.bounding: unknown capability CAP_FOO ignored",
            ]
        );
        let capabilities = read.spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
        assert_eq!(capabilities.ambient().as_ref().unwrap().len(), 0);
    }

    #[test]
    fn scheduler_flags_as_the_specification_spells_them() {
        let flags = "SCHED_FLAG_RESET_ON_FORK SCHED_FLAG_RECLAIM SCHED_FLAG_DL_OVERRUN SCHED_FLAG_KEEP_POLICY \
            SCHED_FLAG_KEEP_PARAMS SCHED_FLAG_UTIL_CLAMP_MIN SCHED_FLAG_UTIL_CLAMP_MAX";
        for flag in flags.split_whitespace() {
            let text = process(&format!(r#""scheduler":{{"policy":"SCHED_OTHER","flags":["{flag}"]}}"#));
            let read = read(&text);
            assert_eq!(read.mended.scheduler_flags, [flag]);
            let scheduler = read.spec.process().as_ref().unwrap().scheduler().clone().unwrap();
            assert_eq!(scheduler.flags(), &None, "{flag}");
        }
        for flag in ["SCHED_RESET_ON_FORK", "SCHED_FLAG_D_L_OVERRUN", "SCHED_FLAG_FOO"] {
            let text = process(&format!(r#""scheduler":{{"policy":"SCHED_OTHER","flags":["{flag}"]}}"#));
            assert_eq!(error(&text), format!("process.scheduler.flags[0]: unknown value \"{flag}\""));
        }
        let text = process(r#""scheduler":{"policy":"SCHED_OTHER","flags":[7]}"#);
        assert!(
            error(&text).starts_with("process.scheduler.flags[0]: invalid type: integer `7`"),
            "{}",
            error(&text)
        );
    }

    #[test]
    fn hugepage_limits_are_unsigned() {
        let limits =
            |text: &str| read(&resources(&format!(r#""hugepageLimits":[{text}]"#))).mended.hugepage_limits;
        assert_eq!(limits(r#"{"pageSize":"2MB","limit":7}"#), [("2MB".to_owned(), 7)]);
        assert_eq!(
            limits(r#"{"pageSize":"2MB","limit":18446744073709551615},{"pageSize":"1GB","limit":1}"#),
            [("2MB".to_owned(), u64::MAX), ("1GB".to_owned(), 1)]
        );
        assert_eq!(
            error(&resources(r#""hugepageLimits":[{"pageSize":"2MB","limit":-1}]"#)),
            "linux.resources.hugepageLimits[0].limit: invalid value: integer `-1`, expected u64"
        );
    }

    #[test]
    fn null_is_absent() {
        let text = r#"{"ociVersion":null,"root":null,"annotations":null,"process":{"cwd":"/","user":null,
            "args":null,"rlimits":[{"type":"RLIMIT_CPU","soft":1,"hard":null}]},"linux":{"devices":null}}"#;
        let read = read(text);
        assert_eq!(read.spec.version(), "");
        assert!(read.spec.root().is_none());
        assert_eq!(read.mended.missing, ["process.rlimits[0].hard"]);
        assert_eq!(read.warnings, ["process.user: missing, taken as 0:0"]);
        assert!(
            error(r#"{"mounts":[null]}"#).starts_with("mounts[0]: invalid type: null, expected an object")
        );
    }

    #[test]
    fn cpu_lists_may_have_blanks_and_be_empty() {
        let affinity = |members: &str| {
            let text = process(&format!(r#""execCPUAffinity":{{{members}}}"#));
            let affinity = read(&text).spec.process().as_ref().unwrap().exec_cpu_affinity().clone().unwrap();
            (affinity.initial().clone(), affinity.cpu_affinity_final().clone())
        };
        assert_eq!(affinity(r#""initial":"0-3,7""#), (Some("0-3,7".into()), None));
        assert_eq!(affinity(r#""initial":" 0 - 3,, 7,","final":"""#), (Some("0-3,7".into()), None));
        let text = process(r#""execCPUAffinity":{"final":"0-x"}"#);
        assert_eq!(
            error(&text),
            format!(
                "process.execCPUAffinity.final: invalid CPU list \"0-x\" (config.json line 1 column {})",
                text.len() - 2
            )
        );
    }

    #[test]
    fn other_platforms_are_ignored_whatever_they_hold() {
        let text = r#"{"ociVersion":"1.3.0","zos":{"namespaces":7},"windows":[],"vm":"x","solaris":1,"freebsd":{},
            "uidMappings":1,"process":{"cwd":"/","user":{},"commandLine":1}}"#;
        assert!(read(text).spec.windows().is_none());
    }

    #[test]
    fn a_listener_may_be_named_by_an_annotation() {
        let path = |listener: &str| {
            let text = format!(
                r#"{{"annotations":{{"run.oci.seccomp.receiver":"/annotated"}},
                "linux":{{"seccomp":{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"{listener}"}}}}}}"#
            );
            let spec = read(&text).spec;
            spec.linux().as_ref().unwrap().seccomp().as_ref().unwrap().listener_path().clone()
        };
        assert_eq!(path("").as_deref(), Some("/annotated".as_ref()));
        assert_eq!(path("/own").as_deref(), Some("/own".as_ref()));
    }

    #[test]
    fn a_profile_without_anything_is_none() {
        let linux = |seccomp: &str| format!(r#"{{"linux":{{"seccomp":{seccomp}}}}}"#);
        for empty in
            ["{}", r#"{"defaultAction":"","syscalls":[]}"#, r#"{"architectures":null,"syscalls":null}"#]
        {
            let read = read(&linux(empty));
            assert!(read.spec.linux().as_ref().unwrap().seccomp().is_none(), "{empty}");
            assert!(read.warnings[0].starts_with("linux.seccomp: neither"), "{:?}", read.warnings);
        }
        let rule = r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        assert!(error(&linux(rule)).starts_with("linux.seccomp.defaultAction: is missing"));
        assert!(error(&linux(r#"{"defaultAction":7}"#)).starts_with("linux.seccomp.defaultAction: "));
    }

    #[test]
    fn empty_strings_are_absent() {
        let text = r#"{"hostname":"","process":{"cwd":"/","user":{},"apparmorProfile":"","selinuxLabel":""},
            "mounts":[{"destination":"/x","type":"","source":""}],
            "linux":{"cgroupsPath":"","rootfsPropagation":"","mountLabel":"","namespaces":[{"type":"pid","path":""}],
            "seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"","listenerMetadata":""}}}"#;
        let spec = read(text).spec;
        assert!(spec.hostname().is_none());
        let mount = &spec.mounts().as_ref().unwrap()[0];
        assert!(mount.typ().is_none() && mount.source().is_none());
        let process = spec.process().as_ref().unwrap();
        assert!(process.apparmor_profile().is_none() && process.selinux_label().is_none());
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.cgroups_path().is_none() && linux.rootfs_propagation().is_none());
        assert!(linux.mount_label().is_none() && linux.namespaces().as_ref().unwrap()[0].path().is_none());
        let seccomp = linux.seccomp().as_ref().unwrap();
        assert!(seccomp.listener_path().is_none() && seccomp.listener_metadata().is_none());
    }
}
