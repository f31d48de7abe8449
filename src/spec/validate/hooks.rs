//! The rules of `hooks`, the same for all six lists. Pure.

use super::super::field::Field;
use super::{Problems, has_nul, variable};
use oci_spec::runtime::{Hook, Hooks};

pub(super) fn check(hooks: &Hooks, problems: &mut Problems) {
    for (name, list) in lists(hooks) {
        for (i, hook) in list.iter().flatten().enumerate() {
            check_hook(&Field::new("hooks").member(name).item(i), hook, problems);
        }
    }
}

/// prestart is deprecated and must run all the same.
#[allow(deprecated)]
fn lists(hooks: &Hooks) -> [(&'static str, &Option<Vec<Hook>>); 6] {
    [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ]
}

fn check_hook(field: &Field, hook: &Hook, problems: &mut Problems) {
    let path = hook.path();
    if !path.is_absolute() {
        problems.add(field.member("path"), format_args!("{path:?} is not an absolute path"));
    } else if has_nul(path) {
        problems.add(field.member("path"), "holds a NUL byte");
    }
    for (i, arg) in hook.args().iter().flatten().enumerate() {
        if arg.contains('\0') {
            problems.add(field.member("args").item(i), format_args!("{arg:?} holds a NUL byte"));
        }
    }
    for (i, text) in hook.env().iter().flatten().enumerate() {
        variable(|| field.member("env").item(i), text, problems);
    }
    if let Some(timeout) = hook.timeout().filter(|timeout| *timeout <= 0) {
        problems.add(field.member("timeout"), format_args!("{timeout} is not above 0"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use serde_json::json;

    #[test]
    fn hooks() {
        for kind in
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        {
            let at = |member: &str, problem: &str| format!("hooks.{kind}[0].{member}: {problem}");
            rows(
                &format!("hooks.{kind}"),
                &[
                    (json!([{"path": "/bin/x", "args": [], "env": [], "timeout": 1}]), ""),
                    (json!([{"path": "x"}]), &at("path", "\"x\" is not an absolute path")),
                    (json!([{"path": "/x\0"}]), &at("path", "holds a NUL byte")),
                    (json!([{"path": "/x", "args": ["\0"]}]), &at("args[0]", "\"\\0\" holds a NUL byte")),
                    (json!([{"path": "/x", "env": ["A"]}]), &at("env[0]", "has no \"=\"")),
                    (json!([{"path": "/x", "timeout": 0}]), &at("timeout", "0 is not above 0")),
                    (json!([{"path": "/x", "timeout": -3}]), &at("timeout", "-3 is not above 0")),
                ],
            );
        }
    }
}
