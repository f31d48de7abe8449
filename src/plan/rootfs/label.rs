//! linux.mountLabel: the SELinux label of what is mounted, and as which option a file system gets it. PURE.

use crate::error::{Error, Result};
use crate::spec::Bundle;
use serde::Serialize;

/// crun's; podman's `--security-opt label=nested` wants `rootcontext`, so that files inside can have labels of their own.
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// The four of mount(8): all files, the file system, files without a label, the root directory.
const OPTIONS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// A label as an option of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountLabel {
    pub option: &'static str,
    pub value: String,
}

impl MountLabel {
    /// Appends it to the options one by one, and to the same as one string for mount(2). The comma between two
    /// categories is safe in both: the kernel asks SELinux before the file system, and there it is quoted.
    pub fn add_to(&self, options: &mut Vec<(String, Option<String>)>, data: &mut String) {
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(&format!("{}=\"{}\"", self.option, self.value));
        options.push((self.option.into(), Some(self.value.clone())));
    }
}

/// The label of the container's mounts.
pub fn plan(bundle: &Bundle) -> Result<Option<MountLabel>> {
    let wanted = bundle.spec.annotations().as_ref().and_then(|all| all.get(CONTEXT_TYPE));
    let wanted = wanted.map_or(OPTIONS[0], String::as_str);
    let Some(option) = OPTIONS.into_iter().find(|option| *option == wanted) else {
        let problem = format_args!("{wanted:?} is none of {}", OPTIONS.join(", "));
        return Err(Error::field(format_args!("annotations[{CONTEXT_TYPE:?}]"), problem));
    };
    let label = bundle.spec.linux().as_ref().and_then(|linux| linux.mount_label().clone());
    Ok(label.map(|value| MountLabel { option, value }))
}
