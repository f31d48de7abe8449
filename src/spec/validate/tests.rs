//! Tables of faults: one row per rule, a change to a sound configuration and every message it must cause.
//! The topics have theirs at the bottom of their files.

use super::super::{Bundle, parse};
use super::validate;
use serde_json::{Value, json};
use std::path::Path;

fn sound() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sh"]},
        "linux": {"namespaces": [
            {"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}
        ]}
    })
}

/// Sets the member at a path such as `process.cwd`; `null` removes it.
fn set(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for name in path.split('.') {
        place = &mut place[name];
    }
    *place = value;
}

fn bundle(document: &Value) -> Bundle {
    let raw = document.to_string().into_bytes();
    parse(Path::new("/b"), Path::new("/b/config.json"), raw).unwrap_or_else(|e| panic!("{document}: {e}"))
}

fn faults(document: &Value) -> Vec<String> {
    validate(&bundle(document)).iter().map(ToString::to_string).collect()
}

/// What is changed, and the faults that this causes.
type Row<'a> = (&'a [(&'a str, Value)], &'a [&'a str]);

/// Each row: what is changed, and the faults that must be found, all of them and in this order.
pub(super) fn table(rows: &[Row]) {
    for (changes, expected) in rows {
        let mut document = sound();
        for (path, value) in *changes {
            set(&mut document, path, value.clone());
        }
        assert_eq!(faults(&document), *expected, "{changes:?}");
    }
}

/// Rows with one change and one fault; an empty text means none.
pub(super) fn rows(path: &str, rows: &[(Value, &str)]) {
    for (value, expected) in rows {
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        table(&[(&[(path, value.clone())], expected)]);
    }
}

#[test]
fn a_sound_configuration_has_no_faults() {
    assert_eq!(faults(&sound()), [""; 0]);
    assert_eq!(bundle(&sound()).warnings, [""; 0]);
}

#[test]
fn top_level() {
    rows(
        "ociVersion",
        &[
            (json!("1.0.0"), ""),
            (json!("1.0.2-dev"), ""),
            (json!("1.99.0+x"), ""),
            (json!("2.0.0"), "ociVersion: version \"2.0.0\" is not supported, only 1.x is"),
            (json!("0.9.0"), "ociVersion: version \"0.9.0\" is not supported, only 1.x is"),
            (json!("1.0"), "ociVersion: \"1.0\" is not a version"),
            (json!("one"), "ociVersion: \"one\" is not a version"),
            (json!("1.-1.0"), "ociVersion: \"1.-1.0\" is not a version"),
            (json!("1.0.0-rc.2-x+build.05"), ""),
            (json!("1.0."), "ociVersion: \"1.0.\" is not a version"),
            (json!("1.00.0"), "ociVersion: \"1.00.0\" is not a version"),
            (json!("1.0.0.0"), "ociVersion: \"1.0.0.0\" is not a version"),
            (json!("1.0.0-01"), "ociVersion: \"1.0.0-01\" is not a version"),
            (json!("1.0.0+"), "ociVersion: \"1.0.0+\" is not a version"),
        ],
    );
    rows("root", &[(json!(null), "root: is missing"), (json!({}), "root.path: is empty")]);
    rows("root.path", &[(json!("a\0b"), "root.path: holds a NUL byte"), (json!("/abs"), "")]);
    rows("process", &[(json!(null), "")]);
    rows("annotations", &[(json!({"": "x"}), "annotations: a key is empty"), (json!({"a": ""}), "")]);
    rows("hostname", &[(json!("h"), ""), (json!("x".repeat(65)), "hostname: longer than 64 bytes")]);
    let without_uts = json!([{"type": "mount"}]);
    table(&[(
        &[("hostname", json!("h")), ("domainname", json!("d")), ("linux.namespaces", without_uts)],
        &[
            "hostname: needs a uts namespace in linux.namespaces",
            "domainname: needs a uts namespace in linux.namespaces",
        ],
    )]);
}

#[test]
fn warnings_are_no_faults() {
    let mut document = sound();
    set(&mut document, "ociVersion", json!(null));
    set(&mut document, "mounts", json!([{"destination": "data", "type": "tmpfs", "source": "x"}]));
    assert_eq!(faults(&document), [""; 0]);
    assert_eq!(
        bundle(&document).warnings,
        [
            "ociVersion: missing, taken as 1.x",
            "mounts[0].destination: data is relative, taken from / (deprecated)",
        ]
    );
}

#[test]
fn without_a_mount_namespace() {
    table(&[
        (
            &[
                ("linux.namespaces", json!([{"type": "pid"}])),
                ("mounts", json!([{"destination": "/x", "type": "tmpfs"}])),
                ("root", json!({"path": "rootfs", "readonly": true})),
                ("linux.maskedPaths", json!(["/proc/kcore"])),
                ("linux.readonlyPaths", json!(["/proc/sys"])),
                ("linux.rootfsPropagation", json!("rslave")),
            ],
            &[
                "mounts: needs a mount namespace in linux.namespaces",
                "root.readonly: needs a mount namespace in linux.namespaces",
                "linux.maskedPaths: needs a mount namespace in linux.namespaces",
                "linux.readonlyPaths: needs a mount namespace in linux.namespaces",
                "linux.rootfsPropagation: needs a mount namespace in linux.namespaces",
            ],
        ),
        (
            &[
                ("linux", json!(null)),
                ("mounts", json!([])),
                ("root", json!({"path": "r", "readonly": false})),
            ],
            &[],
        ),
    ]);
}
