//! mounts[] entries of type cgroup: the container's own cgroups, whatever the host's layout.
//!
//! cgroup2 hosts: one mount. v1 and hybrid hosts: a tmpfs with one directory for each hierarchy, as the host
//! has it. Without a cgroup namespace a v1 hierarchy is the container's directory bound, never the whole tree.

use std::path::Path;

use super::attributes::bind_attr;
use super::mounts::{self, BindOp, Fallback, FsOp, MountOp, Opener, Target, What};
use super::{LinkOp, MountNs, Op, View, clean};
use crate::error::Result;
use crate::plan::cgroup::{Hierarchy, Layout, Version};
use crate::spec::Bundle;
use crate::spec::mount_options::{MOUNT_ATTR_RDONLY, MountOptions};

/// The container's cgroups are mounted for writing where it looks for them: the payload is meant to manage its own tree.
pub fn are_writable(bundle: &Bundle) -> bool {
    bundle.spec.mounts().iter().flatten().any(|mount| {
        let options = mounts::options(mount);
        let is_readonly = options.set & libc::MS_RDONLY != 0 || options.rec_set & MOUNT_ATTR_RDONLY != 0;
        let is_cgroup = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
        is_cgroup
            && !is_readonly
            && !mounts::is_bind(mount, &options)
            && clean(mount.destination()) == Path::new("/sys/fs/cgroup")
    })
}

/// Appends the operations of one entry, prepared in `op` except for what it mounts.
pub fn ops(
    mut op: MountOp,
    fs_type: &str,
    options: &MountOptions,
    view: &View<'_>,
    ops: &mut Vec<Op>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    debug_assert!(view.mount_ns != MountNs::None);
    let mut options = options.clone();
    if view.userns && !view.cgroupns && options.set & libc::MS_RDONLY == 0 {
        // CVE-2023-25809: the host's cgroups would be writable by their owner inside. Of root's the container owns none:
        // it loses nothing that would have to be mentioned.
        if view.rootless {
            warnings.push(format!(
                "{}: read-only, as there is no cgroup namespace of the container's own",
                op.at
            ));
        }
        options.set |= libc::MS_RDONLY;
    }
    if fs_type == "cgroup2" || matches!(view.layout, Layout::V2 | Layout::None) {
        op.what = What::FileSystem(unified(&options, view));
        ops.push(Op::Mount(op));
        return Ok(());
    }
    legacy(op, &options, view, ops);
    Ok(())
}

/// The file system's flags: what belongs to binds and data is of no use here.
fn fs(fs_type: &str, options: &MountOptions) -> FsOp {
    FsOp { fs_type: fs_type.into(), source: "cgroup".into(), flags: options.set, ..FsOp::default() }
}

fn unified(options: &MountOptions, view: &View<'_>) -> FsOp {
    let own = view.cgroups.iter().find(|hierarchy| hierarchy.version == Version::V2);
    let fallback = match own {
        // A cgroup that was left out must not leave the path as it is: with a /sys of the host's bound there, that is the
        // host's writable tree (as CVE-2023-25809).
        Some(own) if view.rootless => {
            Fallback::BindElseEmpty(bind(own, options, !view.cgroupns, false), view.mount_label.clone())
        }
        Some(own) => Fallback::Bind(bind(own, options, !view.cgroupns, false)),
        None => Fallback::Empty(view.mount_label.clone()),
    };
    let mut op = fs("cgroup2", options);
    for word in options.data.iter().flat_map(|data| data.split(',')).filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some((key, value)) => op.options.push((key.into(), Some(value.into()))),
            None => op.options.push((word.into(), None)),
        }
    }
    op.data = options.data.join(",");
    op.fallback = Some(fallback);
    op
}

/// The container's directory of one hierarchy; the whole of it where there is no cgroup namespace on v2, whose
/// paths in /proc/self/cgroup would otherwise lead nowhere. Whether a rootless container has the directory only
/// its creation tells.
fn bind(own: &Hierarchy, options: &MountOptions, whole: bool, rootless: bool) -> BindOp {
    let (mut set, clear, must_clear) = bind_attr(options);
    if options.set & libc::MS_RDONLY != 0 {
        set |= MOUNT_ATTR_RDONLY;
    }
    let path = if whole { "" } else { own.path.trim_start_matches('/') };
    BindOp {
        source: if path.is_empty() { own.mount.clone() } else { own.mount.join(path) },
        recursive: false,
        set,
        clear,
        must_clear,
        idmap: None,
        opener: Opener::Init,
        copy_link: false,
        optional: rootless,
    }
}

fn legacy(op: MountOp, options: &MountOptions, view: &View<'_>, ops: &mut Vec<Op>) {
    let (at, destination) = (op.at.clone(), op.destination.clone());
    let mut tmpfs = fs("tmpfs", options);
    tmpfs.flags &= !libc::MS_RDONLY;
    tmpfs.options = vec![("mode".into(), Some("755".into()))];
    tmpfs.data = "mode=755".into();
    // The hierarchies below it have labels of their own.
    if let Some(label) = &view.mount_label {
        label.add_to(&mut tmpfs.options, &mut tmpfs.data);
    }
    ops.push(Op::Mount(MountOp {
        what: What::FileSystem(tmpfs),
        late_readonly: options.set & libc::MS_RDONLY != 0,
        ..op
    }));
    for hierarchy in view.cgroups {
        let Some(name) = hierarchy.mount.file_name() else { continue };
        let fs_type = if hierarchy.version == Version::V2 { "cgroup2" } else { "cgroup" };
        let what = if view.cgroupns {
            let mut op = fs(fs_type, options);
            op.options = v1_options(hierarchy);
            op.data = joined(&op.options);
            // A hierarchy that is mounted with other options already: the directory bound is the same view.
            op.fallback = Some(Fallback::Bind(bind(hierarchy, options, false, view.rootless)));
            What::FileSystem(op)
        } else {
            What::Bind(bind(hierarchy, options, false, view.rootless))
        };
        ops.push(Op::Mount(MountOp {
            at: at.clone(),
            destination: destination.join(name),
            what,
            target: Target::Directory,
            recursive: None,
            propagation: Vec::new(),
            late_readonly: false,
            over_proc: false,
            only_procfs: false,
        }));
        // `cpu -> cpu,cpuacct`, for programs that look for one controller.
        for controller in &hierarchy.controllers {
            if hierarchy.controllers.len() > 1 && Path::new(controller) != Path::new(name) {
                ops.push(Op::Link(LinkOp {
                    path: destination.join(controller),
                    target: name.into(),
                    replace: false,
                    only_if: None,
                }));
            }
        }
    }
}

/// The controllers as mount options; a named hierarchy has none.
fn v1_options(hierarchy: &Hierarchy) -> Vec<(String, Option<String>)> {
    let options =
        hierarchy.controllers.iter().flat_map(|controller| match controller.strip_prefix("name=") {
            Some(name) => vec![("none".to_string(), None), ("name".to_string(), Some(name.to_string()))],
            None => vec![(controller.clone(), None)],
        });
    if hierarchy.version == Version::V2 { Vec::new() } else { options.collect() }
}

fn joined(options: &[(String, Option<String>)]) -> String {
    let words = options.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    });
    words.collect::<Vec<_>>().join(",")
}
