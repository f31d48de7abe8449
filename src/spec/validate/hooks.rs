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
