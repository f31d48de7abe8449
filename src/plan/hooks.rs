//! The six hook lists, with what each hook is run with. PURE.

use oci_spec::runtime::{Hook, Hooks};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// Absolute path, in the runtime's or the container's file system.
    pub path: String,
    /// Argument vector with argv[0].
    pub args: Vec<String>,
    /// None: not given in the config, so the hook gets the environment its stage prescribes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// `hooks.prestart[0]`.
    pub field: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HooksPlan {
    /// prestart, then createRuntime: both run in the runtime's namespaces after the mounts are made.
    pub create_runtime: Vec<HookPlan>,
    pub create_container: Vec<HookPlan>,
    pub start_container: Vec<HookPlan>,
    pub poststart: Vec<HookPlan>,
    pub poststop: Vec<HookPlan>,
}

pub fn plan(hooks: Option<&Hooks>) -> HooksPlan {
    let Some(hooks) = hooks else { return HooksPlan::default() };
    #[allow(deprecated)]
    let mut create_runtime = list(hooks.prestart().as_deref(), "prestart");
    create_runtime.extend(list(hooks.create_runtime().as_deref(), "createRuntime"));
    HooksPlan {
        create_runtime,
        create_container: list(hooks.create_container().as_deref(), "createContainer"),
        start_container: list(hooks.start_container().as_deref(), "startContainer"),
        poststart: list(hooks.poststart().as_deref(), "poststart"),
        poststop: list(hooks.poststop().as_deref(), "poststop"),
    }
}

fn list(hooks: Option<&[Hook]>, name: &str) -> Vec<HookPlan> {
    hooks
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(index, hook)| {
            let path = hook.path().to_string_lossy().into_owned();
            HookPlan {
                args: hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![path.clone()]),
                path,
                env: hook.env().clone(),
                timeout: hook.timeout().and_then(|seconds| u32::try_from(seconds).ok()),
                field: format!("hooks.{name}[{index}]"),
            }
        })
        .collect()
}
