//! The rules of the `linux` section apart from namespaces and resources, and the clear refusal of what this
//! version does not do yet. Pure.

use super::super::field::Field;
use super::super::sysctl;
use super::namespaces::word;
use super::{Problems, has_nul, namespace};
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxSeccomp, LinuxSeccompAction};
use std::path::Path;

pub(super) fn check(linux: &Linux, problems: &mut Problems) {
    not_supported_yet(linux, problems);
    sysctls(linux, problems);
    for (i, device) in linux.devices().iter().flatten().enumerate() {
        check_device(i, device, linux.devices().as_deref().unwrap_or_default(), problems);
    }
    for (field, paths) in
        [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())]
    {
        for (i, path) in paths.iter().flatten().enumerate() {
            if !path.starts_with('/') {
                problems.add(Field::new(field).item(i), format_args!("{path:?} is not an absolute path"));
            } else if path.contains('\0') {
                problems.add(Field::new(field).item(i), "holds a NUL byte");
            }
        }
    }
    if let Some(word) = linux.rootfs_propagation().as_deref() {
        // The r-forms are not in the specification; runc and its callers have them.
        let known = ["shared", "slave", "private", "unbindable"];
        if !known.contains(&word) && !known.contains(&word.strip_prefix('r').unwrap_or(word)) {
            problems.add("linux.rootfsPropagation", format_args!("unknown value {word:?}"));
        }
    }
    if linux.cgroups_path().as_ref().is_some_and(|path| has_nul(path)) {
        problems.add("linux.cgroupsPath", "holds a NUL byte");
    }
    if linux.mount_label().as_ref().is_some_and(|label| label.contains('\0')) {
        problems.add("linux.mountLabel", "holds a NUL byte");
    }
    if linux.personality().as_ref().is_some_and(|p| p.flags().as_ref().is_some_and(|flags| !flags.is_empty()))
    {
        problems.add("linux.personality.flags", "the specification supports none");
    }
    if let Some(seccomp) = linux.seccomp() {
        check_seccomp(seccomp, problems);
    }
}

/// To leave one of these out silently would give less than was asked for.
fn not_supported_yet(linux: &Linux, problems: &mut Problems) {
    let given = [
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.netDevices", linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
    ];
    for (field, _) in given.iter().filter(|(_, given)| *given) {
        problems.add(field, "not supported yet");
    }
}

fn sysctls(linux: &Linux, problems: &mut Problems) {
    let mut keys: Vec<_> = linux.sysctl().iter().flatten().map(|(key, _)| key).collect();
    keys.sort_unstable();
    for key in keys {
        let field = Field::new("linux.sysctl").key(key);
        let Some(path) = sysctl::path(key) else {
            problems.add(field, "is not the name of a setting");
            continue;
        };
        match sysctl::namespace(&path) {
            _ if path == "kernel/hostname" => {
                problems.add(field, "the hostname is set by the field hostname")
            }
            None => problems.add(field, "not in a separate kernel namespace"),
            Some(kind) if namespace(Some(linux), kind).is_none() => {
                let kind = word(kind);
                problems.add(
                    field,
                    format_args!("not in a separate kernel namespace: needs the namespace {kind}"),
                );
            }
            Some(_) => {}
        }
    }
}

/// Major numbers have 12 bits in the kernel, minor numbers 20 (MINORBITS).
const MAJOR_MAX: i64 = 0xfff;
const MINOR_MAX: i64 = 0xf_ffff;

fn check_device(i: usize, device: &LinuxDevice, all: &[LinuxDevice], problems: &mut Problems) {
    let field = Field::new("linux.devices").item(i);
    let path = device.path();
    if !path.is_absolute() {
        problems.add(field.member("path"), format_args!("{path:?} is not an absolute path"));
    } else if has_nul(path) {
        problems.add(field.member("path"), "holds a NUL byte");
    } else if path == Path::new("/") {
        problems.add(field.member("path"), "is the root itself");
    }
    if device.typ() == LinuxDeviceType::A {
        problems.add(field.member("type"), "\"a\" is no type of a node: c, u, b or p");
    }
    if device.typ() != LinuxDeviceType::P {
        for (member, number, max) in
            [("major", device.major(), MAJOR_MAX), ("minor", device.minor(), MINOR_MAX)]
        {
            if !(0..=max).contains(&number) {
                problems.add(field.member(member), format_args!("{number} is not between 0 and {max}"));
            }
        }
    }
    // The same node twice does no harm, and callers merge their lists without looking.
    let identity = |device: &LinuxDevice| (kind_of_node(device.typ()), device.major(), device.minor());
    let twice = all[..i].iter().any(|other| other.path() == path && identity(other) != identity(device));
    if twice {
        problems.add(field.member("path"), format_args!("{path:?} is listed twice as different devices"));
    }
}

fn kind_of_node(kind: LinuxDeviceType) -> char {
    match kind {
        LinuxDeviceType::A => 'a',
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::P => 'p',
    }
}

/// seccomp(2): the errno is cut at MAX_ERRNO, the datum of a trace has 16 bits.
const ERRNO_MAX: u32 = 4095;
const TRACE_MAX: u32 = 0xffff;

/// The structure of the profile; what the rules mean together is worked out by the compiler.
fn check_seccomp(seccomp: &LinuxSeccomp, problems: &mut Problems) {
    let field = Field::new("linux.seccomp");
    let default = seccomp.default_action();
    errno(default, seccomp.default_errno_ret(), &field.member("defaultErrnoRet"), problems);
    if default == LinuxSeccompAction::ScmpActNotify {
        problems.add(field.member("defaultAction"), "SCMP_ACT_NOTIFY cannot be the default");
    }
    if seccomp.listener_metadata().is_some() && seccomp.listener_path().is_none() {
        problems.add(field.member("listenerMetadata"), "needs a listenerPath");
    }
    let mut notifies = false;
    for (i, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        let field = field.member("syscalls").item(i);
        if rule.names().is_empty() {
            problems.add(field.member("names"), "must hold at least one entry");
        }
        errno(rule.action(), rule.errno_ret(), &field.member("errnoRet"), problems);
        if rule.action() == LinuxSeccompAction::ScmpActNotify {
            notifies = true;
            // The number of the listener is reported through a write.
            if rule.names().iter().any(|name| name == "write") {
                problems.add(field.member("action"), "SCMP_ACT_NOTIFY cannot be used for the write syscall");
            }
        }
        for (j, arg) in rule.args().iter().flatten().enumerate().filter(|(_, arg)| arg.index() > 5) {
            let field = field.member("args").item(j).member("index");
            problems.add(field, format_args!("{} is not between 0 and 5", arg.index()));
        }
    }
    if notifies && seccomp.listener_path().is_none() {
        problems.add(field.member("listenerPath"), "is missing, SCMP_ACT_NOTIFY needs it");
    }
}

fn errno(action: LinuxSeccompAction, errno: Option<u32>, field: &Field, problems: &mut Problems) {
    let Some(errno) = errno else { return };
    let max = match action {
        LinuxSeccompAction::ScmpActErrno => ERRNO_MAX,
        LinuxSeccompAction::ScmpActTrace => TRACE_MAX,
        other => return problems.add(field, format_args!("has no meaning with {other}")),
    };
    if errno > max {
        problems.add(field, format_args!("{errno} is above {max}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rows, table};
    use serde_json::json;

    #[test]
    fn not_supported_yet() {
        table(&[
            (
                &[("linux.intelRdt", json!({})), ("linux.netDevices", json!({"eth0": {"name": "x"}}))],
                &["linux.intelRdt: not supported yet", "linux.netDevices: not supported yet"],
            ),
            (&[("linux.netDevices", json!({}))], &[]),
        ]);
    }

    #[test]
    fn personality() {
        rows(
            "linux.personality",
            &[
                (json!({"domain": "LINUX32", "flags": []}), ""),
                (
                    json!({"domain": "LINUX", "flags": ["X"]}),
                    "linux.personality.flags: the specification supports none",
                ),
            ],
        );
    }

    #[test]
    fn sysctls() {
        let host = |key: &str| format!("linux.sysctl[\"{key}\"]: not in a separate kernel namespace");
        rows(
            "linux.sysctl",
            &[
                (
                    json!({"net.core.somaxconn": "1", "net/ipv4/conf/eno2.100/rp_filter": "1", "kernel.sem": "1"}),
                    "",
                ),
                (json!({"fs.mqueue.msg_max": "1", "kernel.domainname": "d"}), ""),
                (json!({"kernel.core_pattern": "|/x"}), &host("kernel.core_pattern")),
                (
                    json!({"kernel.hostname": "h"}),
                    "linux.sysctl[\"kernel.hostname\"]: the hostname is set by the field hostname",
                ),
                (
                    json!({"net.//.kernel.core_pattern": "|/x"}),
                    "linux.sysctl[\"net.//.kernel.core_pattern\"]: is not the name of a setting",
                ),
                (
                    json!({"net/../kernel/core_pattern": "|/x"}),
                    "linux.sysctl[\"net/../kernel/core_pattern\"]: is not the name of a setting",
                ),
                (
                    json!({"user.max_user_namespaces": "1"}),
                    &(host("user.max_user_namespaces") + ": needs the namespace user"),
                ),
            ],
        );
        table(&[(
            &[
                ("linux.namespaces", json!([{"type": "mount"}])),
                ("linux.sysctl", json!({"net.a": "1", "kernel.sem": "1", "kernel.domainname": "d"})),
            ],
            &[
                &(host("kernel.domainname") + ": needs the namespace uts"),
                &(host("kernel.sem") + ": needs the namespace ipc"),
                &(host("net.a") + ": needs the namespace network"),
            ],
        )]);
    }

    #[test]
    fn devices() {
        let device = |kind: &str, path: &str, major: i64, minor: i64| json!({"type": kind, "path": path, "major": major, "minor": minor});
        rows(
            "linux.devices",
            &[
                (
                    json!([device("c", "/dev/x", 0, 0xf_ffff), device("b", "/dev/y", 0xfff, 0), {"type": "p", "path": "/dev/f"}]),
                    "",
                ),
                (
                    json!([device("c", "dev/x", 1, 1)]),
                    "linux.devices[0].path: \"dev/x\" is not an absolute path",
                ),
                (json!([device("c", "/dev/x\0", 1, 1)]), "linux.devices[0].path: holds a NUL byte"),
                (json!([device("c", "/", 1, 1)]), "linux.devices[0].path: is the root itself"),
                (
                    json!([device("a", "/dev/x", 1, 1)]),
                    "linux.devices[0].type: \"a\" is no type of a node: c, u, b or p",
                ),
                (
                    json!([device("u", "/dev/x", -1, 1)]),
                    "linux.devices[0].major: -1 is not between 0 and 4095",
                ),
                (
                    json!([device("c", "/dev/x", 1, 0x10_0000)]),
                    "linux.devices[0].minor: 1048576 is not between 0 and 1048575",
                ),
                (json!([device("c", "/dev/x", 1, 1), device("u", "/dev/x", 1, 1)]), ""),
                (
                    json!([device("c", "/dev/x", 1, 1), device("c", "/dev/x", 1, 2)]),
                    "linux.devices[1].path: \"/dev/x\" is listed twice as different devices",
                ),
            ],
        );
    }

    #[test]
    fn paths_and_propagation() {
        rows(
            "linux.maskedPaths",
            &[
                (
                    json!(["/proc/kcore", "proc/x"]),
                    "linux.maskedPaths[1]: \"proc/x\" is not an absolute path",
                ),
                (json!(["/a\0"]), "linux.maskedPaths[0]: holds a NUL byte"),
            ],
        );
        rows("linux.readonlyPaths", &[(json!([""]), "linux.readonlyPaths[0]: \"\" is not an absolute path")]);
        for good in
            ["shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable", ""]
        {
            rows("linux.rootfsPropagation", &[(json!(good), "")]);
        }
        for bad in ["rrshared", "Shared", "r", "hared"] {
            let expected = format!("linux.rootfsPropagation: unknown value \"{bad}\"");
            rows("linux.rootfsPropagation", &[(json!(bad), &expected)]);
        }
        rows("linux.cgroupsPath", &[(json!("/a\0"), "linux.cgroupsPath: holds a NUL byte")]);
        rows("linux.mountLabel", &[(json!("a\0"), "linux.mountLabel: holds a NUL byte")]);
    }

    #[test]
    fn seccomp() {
        let rule = |rule: serde_json::Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [rule]});
        rows(
            "linux.seccomp",
            &[
                (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}), ""),
                (
                    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
                    "linux.seccomp.defaultErrnoRet: 4096 is above 4095",
                ),
                (
                    json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
                    "linux.seccomp.defaultErrnoRet: has no meaning with SCMP_ACT_KILL",
                ),
                (
                    json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}),
                    "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default",
                ),
                (
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
                    "linux.seccomp.listenerMetadata: needs a listenerPath",
                ),
                (
                    rule(json!({"names": [], "action": "SCMP_ACT_KILL"})),
                    "linux.seccomp.syscalls[0].names: must hold at least one entry",
                ),
                (
                    rule(json!({"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
                    "linux.seccomp.syscalls[0].errnoRet: 65536 is above 65535",
                ),
                (
                    rule(json!({"names": ["a"], "action": "SCMP_ACT_LOG", "errnoRet": 1})),
                    "linux.seccomp.syscalls[0].errnoRet: has no meaning with SCMP_ACT_LOG",
                ),
                (
                    rule(json!({"names": ["write"], "action": "SCMP_ACT_NOTIFY"})),
                    "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write syscall",
                ),
                (rule(json!({"names": ["a"], "action": "SCMP_ACT_NOTIFY"})), ""),
                (
                    rule(
                        json!({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}),
                    ),
                    "linux.seccomp.syscalls[0].args[0].index: 6 is not between 0 and 5",
                ),
                (
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]}),
                    "linux.seccomp.listenerPath: is missing, SCMP_ACT_NOTIFY needs it",
                ),
            ],
        );
    }
}
