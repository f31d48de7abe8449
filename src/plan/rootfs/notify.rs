//! The mount of the notification socket's directory, which no entry of the configuration asks for. PURE.

use super::attributes::bind_attr;
use super::mounts::{BindOp, MountOp, Opener, Target, What};
use super::{Op, View};
use crate::plan::environment::NOTIFY_DIRECTORY;
use crate::spec::mount_options;
use std::path::Path;

/// The directory of the notification socket: read-only, for a name in it must stay ours.
pub fn op(source: &Path, view: &View<'_>) -> Op {
    let options = ["bind", "ro", "nosuid", "noexec", "nodev"].map(str::to_owned);
    let options = mount_options::parse(&options);
    let (set, clear, must_clear) = bind_attr(&options);
    Op::Mount(MountOp {
        at: "NOTIFY_SOCKET".into(),
        target: Target::LikeSource,
        destination: NOTIFY_DIRECTORY.into(),
        what: What::Bind(BindOp {
            source: source.to_owned(),
            recursive: false,
            set,
            clear,
            must_clear,
            idmap: None,
            opener: if view.userns { Opener::InitElseRuntime } else { Opener::Init },
            copy_link: false,
            optional: false,
        }),
        recursive: None,
        propagation: Vec::new(),
        late_readonly: false,
        over_proc: false,
        only_procfs: false,
    })
}
