//! The seccomp listener: taken from init or from a process that joins, handed to the agent at `listenerPath` with the state of the
//! container process (config-linux.md, "The Container Process State"). Runs in the runtime.

use super::hooks::{HookState, OCI_VERSION};
use crate::error::{Doing, Error, Result};
use crate::plan::seccomp::SeccompPlan;
use crate::sys::clone::Child;
use crate::sys::pidfd::pidfd_getfd;
use crate::sys::socket::{connect_unix_stream, send_with_fds};
use serde::Serialize;
use std::os::fd::AsFd;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: HookState<'a>,
}

/// `process` offers the listener as its descriptor `number`; `state` is that of its container.
pub fn hand_over(
    seccomp: Option<&SeccompPlan>,
    process: &Child,
    number: i32,
    state: HookState<'_>,
) -> Result<()> {
    let listener = seccomp
        .and_then(|seccomp| seccomp.listener.as_ref())
        .ok_or_else(|| Error::new("init offers a seccomp listener that nobody asked for"))?;
    let fd = pidfd_getfd(process.pidfd.as_fd(), number).doing("take the seccomp listener from init")?;
    let state = ContainerProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid: process.pid,
        metadata: &listener.metadata,
        state,
    };
    let json = serde_json::to_vec(&state).map_err(|e| Error::new(e.to_string()))?;
    let send = || {
        let socket = connect_unix_stream(listener.path.as_ref())?;
        send_with_fds(&socket, &json, &[fd.as_fd()])
    };
    send()
        .at_with(|| format!("linux.seccomp.listenerPath {}", listener.path))
        .doing("hand over the seccomp listener")
}
