//! The plan as text for people: one line a decision, in the order in which `create` acts. PURE.

use super::CreatePlan;
use super::namespaces::Tree;
use crate::error::{Error, Result};
use serde_json::Value;
use std::fmt::Write as _;

/// Renders `plan`.
pub fn text(plan: &CreatePlan) -> Result<String> {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12} {value}");
    };
    line("container", &format!("{} of bundle {}", plan.id, plan.bundle.display()));
    line(
        "tree",
        match plan.tree {
            Tree::Direct => "one clone3 with all new namespaces",
            Tree::ViaIntermediate(_) => "an intermediate process, for the user namespace",
        },
    );
    let names: Vec<&str> = plan.namespaces.create.iter().map(|kind| kind.proc_name()).collect();
    line("new", &names.join(" "));
    for join in &plan.namespaces.join {
        line("join", &format!("{} of {}", join.kind.proc_name(), join.path.display()));
    }
    for offset in &plan.namespaces.time_offsets {
        line("clock", &format!("{} {:+} s {} ns", offset.clock, offset.seconds, offset.nanoseconds));
    }
    if let Some(ids) = &plan.ids {
        for (name, maps) in [("uid map", &ids.uid), ("gid map", &ids.gid)] {
            for map in maps {
                line(name, &format!("{} -> host {} (+{})", map.inside, map.outside, map.count));
            }
        }
    }
    Ok(out + &sections(plan)?)
}

/// The larger parts, flattened from the serialised plan: whatever the plan holds is shown.
fn sections(plan: &CreatePlan) -> Result<String> {
    let whole = serde_json::to_value(plan).map_err(|e| Error::new(e.to_string()))?;
    let mut out = String::new();
    for name in ["cgroup", "rootfs", "hostname", "domainname", "sysctl", "process", "hooks", "warnings"] {
        if let Some(value) = whole.get(name) {
            flatten(&mut out, name, value);
        }
    }
    if let Some(seccomp) = &plan.seccomp {
        let instructions = seccomp.program.len();
        let when = match plan.process.as_ref().is_some_and(|process| process.no_new_privs) {
            true => "last before the start gate",
            false => "before identity (no_new_privs is off)",
        };
        let _ = writeln!(out, "{:<12} {instructions} instructions, loaded {when}", "seccomp");
    }
    Ok(out)
}

fn flatten(out: &mut String, path: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (key, member) in members {
                flatten(out, &format!("{path}.{key}"), member);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                // One line an entry: lists of mounts and writes are read as tables.
                let _ = writeln!(out, "{path}[{index}] {}", brief(item));
            }
        }
        Value::Array(items) if items.is_empty() => {}
        other => {
            let _ = writeln!(out, "{path} {}", brief(other));
        }
    }
}

/// `key=value` pairs without what is absent, false or empty.
fn brief(value: &Value) -> String {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| !is_nothing(member))
            .map(|(key, member)| match member {
                Value::Object(_) => format!("{key}({})", brief(member)),
                other => format!("{key}={}", brief(other)),
            })
            .collect::<Vec<_>>()
            .join(" "),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(brief).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_nothing),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
