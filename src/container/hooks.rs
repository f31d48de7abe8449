//! Hooks that run outside the last stage: prestart and createRuntime (runtime, P6), createContainer
//! (init, N4), poststart and poststop (runtime). In order, the state on standard input.

use crate::error::{Error, Result};
use crate::plan::hooks::HookPlan;
use crate::sys::process::Ended;
use crate::sys::spawn::{self, Outcome, Program};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// The state document of runtime.md, as hooks and seccomp agents get it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState<'a> {
    pub oci_version: &'static str,
    pub id: &'a str,
    pub status: &'static str,
    /// In the pid namespace of the hook; 0 once there is no process.
    pub pid: i32,
    pub bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

/// The version of the runtime-spec that we speak.
pub const OCI_VERSION: &str = "1.3.0";

impl HookState<'_> {
    /// Compact JSON; `/` is not escaped (hooks have broken over that).
    pub fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::new(e.to_string()))
    }
}

/// Runs `hooks` one after the other and stops at the first failure. `env` is what a hook without an
/// environment of its own gets; `cwd` None = ours. `init`: a hook that hangs is not waited for longer than it lives, so
/// that `delete --force` ends a `create`.
pub fn run(
    hooks: &[HookPlan],
    state: &HookState,
    env: &[String],
    cwd: Option<&CStr>,
    init: Option<BorrowedFd<'_>>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let stdin = state.json()?;
    for hook in hooks {
        run_one(hook, &stdin, env, cwd, init)?;
    }
    Ok(())
}

/// Runs all of `hooks`, whatever happens, and returns what failed (poststop: warnings only).
pub fn run_all(hooks: &[HookPlan], state: &HookState, env: &[String], cwd: Option<&CStr>) -> Vec<Error> {
    let stdin = match state.json() {
        Ok(stdin) => stdin,
        Err(e) => return vec![e],
    };
    hooks.iter().filter_map(|hook| run_one(hook, &stdin, env, cwd, None).err()).collect()
}

fn run_one(
    hook: &HookPlan,
    stdin: &[u8],
    env: &[String],
    cwd: Option<&CStr>,
    init: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let program = Program {
        path: &hook.path,
        args: &hook.args,
        env: hook.env.as_deref().unwrap_or(env),
        stdin,
        cwd,
        timeout: hook.timeout.map(|seconds| Duration::from_secs(seconds.into())),
        serves: init,
    };
    outcome(hook, spawn::run(&program)?)
}

fn outcome(hook: &HookPlan, outcome: Outcome) -> Result<()> {
    let phrase = format!("run hook {}", hook.path);
    match outcome {
        Outcome::Ended(Ended::Exited(0), _) => Ok(()),
        Outcome::Ended(ended, text) => {
            Err(Error::new(ended_text(ended, &text)).at(hook.field.clone())).map_err(|e| e.doing(phrase))
        }
        Outcome::TimedOut => {
            let seconds = hook.timeout.unwrap_or_default();
            Err(Error::new(format!("did not end within {seconds} s and was killed"))
                .at(hook.field.clone())
                .doing(phrase))
        }
        Outcome::Orphaned => {
            Err(Error::new("was ended: the container's init is gone").at(hook.field.clone()).doing(phrase))
        }
        Outcome::NotStarted(errno) => Err(Error::sys("execve", errno).at(hook.field.clone()).doing(phrase)),
    }
}

/// `exit status 3: its output on one line`.
pub fn ended_text(ended: Ended, output: &str) -> String {
    let status = match ended {
        Ended::Exited(code) => format!("exit status {code}"),
        Ended::Killed(signal) => format!("killed by signal {signal}"),
    };
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    if output.is_empty() { status } else { format!("{status}: {output}") }
}
