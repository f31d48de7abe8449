//! All that is wrong with a configuration by itself, each problem with its field; what only the host can tell
//! (files, kernel features, privileges) is found out by whoever needs it.
//!
//! One file per topic. Every check adds to the list and goes on: the author of a configuration wants to see all
//! faults at once. Pure.

mod hooks;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod resources;
#[cfg(test)]
mod tests;

use super::field::Field;
use super::{Bundle, Mended};
use crate::error::Error;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, LinuxResources, Process, Spec};
use std::fmt::Display;

/// The faults found so far.
#[derive(Debug, Default)]
struct Problems(Vec<Error>);

impl Problems {
    fn add(&mut self, field: impl Display, problem: impl Display) {
        self.0.push(Error::field(field, problem));
    }
}

/// Every fault of the configuration; an empty list means that it can be planned.
pub fn validate(bundle: &Bundle) -> Vec<Error> {
    let spec = &bundle.spec;
    let mut problems = Problems::default();
    version(spec, &mut problems);
    root(spec, &mut problems);
    for field in &bundle.mended.missing {
        problems.add(field, "is missing");
    }
    if let Some(process) = spec.process() {
        process::check(process, &bundle.mended, spec.linux().as_ref(), &mut problems);
    }
    names_of_host(spec, &mut problems);
    annotations(spec, &mut problems);
    mounts::check(spec, &mut problems);
    if let Some(hooks) = spec.hooks() {
        hooks::check(hooks, &mut problems);
    }
    without_mount_namespace(spec, &mut problems);
    if let Some(linux) = spec.linux() {
        namespaces::check(linux, &mut problems);
        linux::check(linux, &mut problems);
        if let Some(resources) = linux.resources() {
            resources::check(resources, &bundle.mended, &mut problems);
        }
    }
    problems.0
}

/// The faults of a process that joins a container with this `linux` section (`exec`).
pub fn validate_process(process: &Process, mended: &Mended, linux: Option<&Linux>) -> Vec<Error> {
    let mut problems = Problems::default();
    for field in &mended.missing {
        problems.add(field, "is missing");
    }
    process::check(process, mended, linux, &mut problems);
    problems.0
}

/// The faults of limits that replace those of a container (`update`).
pub fn validate_resources(resources: &LinuxResources, mended: &Mended) -> Vec<Error> {
    let mut problems = Problems::default();
    for field in &mended.missing {
        problems.add(field, "is missing");
    }
    resources::check(resources, mended, &mut problems);
    problems.0
}

/// What is odd, but no reason to refuse the configuration. What has no effect is the plan's to say.
pub(super) fn warnings(spec: &Spec) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.version().is_empty() {
        warnings.push("ociVersion: missing, taken as 1.x".to_owned());
    }
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        if mount.destination().is_relative() && !mount.destination().as_os_str().is_empty() {
            let shown = mount.destination().display();
            warnings.push(format!("mounts[{i}].destination: {shown} is relative, taken from / (deprecated)"));
        }
    }
    warnings
}

/// The entry of a type in linux.namespaces, the first one if there are several.
fn namespace(linux: Option<&Linux>, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    linux?.namespaces().as_ref()?.iter().find(|namespace| namespace.typ() == kind)
}

fn has_namespace(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    namespace(spec.linux().as_ref(), kind).is_some()
}

fn version(spec: &Spec, problems: &mut Problems) {
    let version = spec.version().as_str();
    if version.is_empty() {
        return;
    }
    if !is_semver(version) {
        problems.add("ociVersion", format_args!("{version:?} is not a version"));
    } else if !version.starts_with("1.") {
        problems.add("ociVersion", format_args!("version {version:?} is not supported, only 1.x is"));
    }
}

/// The grammar of SemVer 2.0.0: three numbers, `-` and words, `+` and words; no number begins with a zero.
fn is_semver(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |part: &str| is_digits(part) && (part == "0" || !part.starts_with('0'));
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| {
            pre.split('.').all(|part| is_word(part) && (is_number(part) || !is_digits(part)))
        })
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn root(spec: &Spec, problems: &mut Problems) {
    match spec.root() {
        None => problems.add("root", "is missing"),
        Some(root) => match root.path().as_os_str().as_encoded_bytes() {
            [] => problems.add("root.path", "is empty"),
            path if path.contains(&0) => problems.add("root.path", "holds a NUL byte"),
            _ => {}
        },
    }
}

/// Longest host and domain name (__NEW_UTS_LEN).
const UTS_NAME_MAX: usize = 64;

fn names_of_host(spec: &Spec, problems: &mut Problems) {
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name else { continue };
        if !has_namespace(spec, LinuxNamespaceType::Uts) {
            problems.add(field, "needs a uts namespace in linux.namespaces");
        }
        if name.len() > UTS_NAME_MAX {
            problems.add(field, format_args!("longer than {UTS_NAME_MAX} bytes"));
        }
    }
}

fn annotations(spec: &Spec, problems: &mut Problems) {
    if spec.annotations().as_ref().is_some_and(|annotations| annotations.contains_key("")) {
        problems.add("annotations", "a key is empty");
    }
}

/// Without a mount namespace of its own whatever the container mounts lands on the host.
fn without_mount_namespace(spec: &Spec, problems: &mut Problems) {
    if has_namespace(spec, LinuxNamespaceType::Mount) {
        return;
    }
    let filled = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mut refuse = |given: bool, field: &str| {
        if given {
            problems.add(field, "needs a mount namespace in linux.namespaces");
        }
    };
    refuse(spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty()), "mounts");
    refuse(spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true)), "root.readonly");
    if let Some(linux) = spec.linux() {
        refuse(filled(linux.masked_paths()), "linux.maskedPaths");
        refuse(filled(linux.readonly_paths()), "linux.readonlyPaths");
        refuse(linux.rootfs_propagation().is_some(), "linux.rootfsPropagation");
    }
}

fn has_nul(path: &std::path::Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}

/// One `NAME=value`. The text is never repeated in a message: values of variables are often secret.
fn variable(field: impl FnOnce() -> Field, text: &str, problems: &mut Problems) {
    let problem = if text.contains('\0') {
        "holds a NUL byte"
    } else if text.starts_with('=') {
        "has no name before the \"=\""
    } else if !text.contains('=') {
        "has no \"=\""
    } else {
        return;
    };
    problems.add(field(), problem);
}
