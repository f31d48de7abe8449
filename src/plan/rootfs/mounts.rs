//! mounts[]: each entry as one operation, in the order of the configuration.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, Mount};
use serde::Serialize;

use super::attributes::{PLAIN, attr_of, bind_attr};
use super::{MountLabel, MountNs, Op, View, cgroups, clean, notify, userns};
use crate::error::{Error, Result};
use crate::spec::Bundle;
use crate::spec::mount_options::{self, Bind, Idmap, MountOptions};

/// What the mount point must be, and is created as when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Directory,
    /// A directory by itself, no link to one: a link at /proc or /sys once moved these mounts elsewhere.
    RealDirectory,
    /// A directory or a file, as the source turns out to be.
    LikeSource,
}

/// One mounts[] entry, or one of those that an entry of type cgroup stands for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MountOp {
    /// `mounts[3]`.
    pub at: String,
    /// Absolute and cleaned, inside the container.
    pub destination: PathBuf,
    pub what: What,
    pub target: Target,
    /// MOUNT_ATTR_* for every mount of the tree: to set, to clear.
    pub recursive: Option<(u64, u64)>,
    /// One change each, after the mount, in order.
    pub propagation: Vec<u64>,
    /// Read-only only at the end: until then the runtime itself puts things in there.
    pub late_readonly: bool,
    /// The mount point may lie on a procfs: only for procfs itself and the files that lxcfs covers.
    pub over_proc: bool,
    /// The source must be a procfs, being bound on /proc.
    pub only_procfs: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    FileSystem(FsOp),
    Bind(BindOp),
    /// Option `remount`: MS_* and data for what is mounted there already, the file system of everybody who has it.
    Remount {
        flags: u64,
        data: String,
    },
    /// `remount` with `bind`: MOUNT_ATTR_* of that one mount, replaced as a whole. The file system may be the host's.
    RemountBind {
        set: u64,
        clear: u64,
        /// As [`BindOp::must_clear`].
        must_clear: u64,
    },
}

/// A new instance of a file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FsOp {
    pub fs_type: String,
    pub source: String,
    /// MS_*.
    pub flags: u64,
    /// Those flags that belong to the superblock, in fsconfig's words.
    pub superblock: Vec<String>,
    pub options: Vec<(String, Option<String>)>,
    /// The options as one string for mount(2).
    pub data: String,
    /// fsconfig cannot express the options: a value of 256 bytes or more, a comma in a value.
    pub only_mount: bool,
    /// tmpfs without `mode=`: takes over the mode of an existing mount point.
    pub mode_of_target: bool,
    /// What lies at the mount point is copied in first.
    pub copy_up: bool,
    /// SELinux label set on the root of the new mount (mqueue, which has no `context=`).
    pub label: Option<String>,
    pub fallback: Option<Fallback>,
}

/// What is mounted when the kernel forbids the file system itself (EPERM, EBUSY).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    Bind(BindOp),
    /// A bind, and an empty read-only tmpfs where the source does not exist.
    BindElseEmpty(BindOp, Option<MountLabel>),
    /// An empty read-only tmpfs.
    Empty(Option<MountLabel>),
}

/// An existing tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BindOp {
    /// On the host.
    pub source: PathBuf,
    pub recursive: bool,
    /// MOUNT_ATTR_* of the top mount. Without any option the source's stay as they are; with one they are
    /// replaced as a whole, which is what mount(2)'s remount does and callers know.
    pub set: u64,
    pub clear: u64,
    /// Of `clear`, what the configuration names (`rw`, `suid`, …): if the kernel has locked it, that is an
    /// error, while other locked flags simply stay.
    pub must_clear: u64,
    pub idmap: Option<IdmapOp>,
    pub opener: Opener,
    /// A source that is a symbolic link becomes the same link inside; nothing is mounted then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copy_link: bool,
    /// Nothing is mounted when the source does not exist: a cgroup that was left out (rootless).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Who opens the source of a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Opener {
    /// Inside the container's mount namespace, so that flags locked by the kernel stay locked.
    Init,
    /// Init, and where the mapped root may not go (EACCES) the tree that the runtime opened.
    InitElseRuntime,
    /// Only the runtime may idmap it.
    Runtime,
}

/// An idmapped mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdmapOp {
    pub recursive: bool,
    /// uid_map and gid_map of the translating user namespace; None = the container's own.
    pub maps: Option<(String, String)>,
}

/// What may be mounted below /proc: files that lxcfs and the like stand in for. Anything else could lead
/// label and sysctl writers of other tools astray.
const BELOW_PROC: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// File systems without storage, where `ro` is a matter of the mount alone. A read-only superblock of sysfs
/// would be shared with every later container of that network namespace.
const PSEUDO: [&str; 10] =
    ["proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "debugfs"];

/// fsconfig(2) takes at most 255 bytes of value.
const LONGEST_VALUE: usize = 255;

/// Whether the configuration brings a /dev of the host's.
pub fn binds_dev(bundle: &Bundle) -> bool {
    let mounts = bundle.spec.mounts().as_deref().unwrap_or_default();
    mounts
        .iter()
        .any(|mount| clean(mount.destination()) == Path::new("/dev") && is_bind(mount, &options(mount)))
}

/// The operations of all entries.
pub fn ops(bundle: &Bundle, view: &View<'_>, warnings: &mut Vec<String>) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    if view.mount_ns == MountNs::None {
        return Ok(ops);
    }
    for (index, mount) in bundle.spec.mounts().iter().flatten().enumerate() {
        entry(bundle, view, index, mount, &mut ops, warnings)?;
    }
    ops.extend(view.notify.as_ref().map(|source| notify::op(source, view)));
    Ok(ops)
}

pub(super) fn options(mount: &Mount) -> MountOptions {
    mount_options::parse(mount.options().as_deref().unwrap_or_default())
}

pub(super) fn is_bind(mount: &Mount, options: &MountOptions) -> bool {
    options.bind != Bind::No || mount.typ().as_deref() == Some("bind")
}

fn entry(
    bundle: &Bundle,
    view: &View<'_>,
    index: usize,
    mount: &Mount,
    ops: &mut Vec<Op>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let at = format!("mounts[{index}]");
    let destination = clean(mount.destination());
    if destination == Path::new("/") {
        return Err(Error::field(format!("{at}.destination"), "cannot be the root itself"));
    }
    let options = options(mount);
    let bind = is_bind(mount, &options);
    let fs_type = mount.typ().clone().unwrap_or_default();
    if !bind && idmap(bundle, view, &at, mount, &options)?.is_some() {
        return Err(Error::field(&at, "only bind mounts can be idmapped"));
    }
    let (over_proc, only_procfs) = covers_proc(&at, &destination, &fs_type, bind)?;
    let mut op = MountOp {
        at,
        target: target(&destination, &fs_type, bind),
        destination,
        what: What::Remount { flags: options.set, data: options.data.join(",") },
        recursive: (options.rec_set | options.rec_clear != 0).then_some((options.rec_set, options.rec_clear)),
        propagation: options.propagation.clone(),
        late_readonly: false,
        over_proc,
        only_procfs,
    };
    if options.set & libc::MS_REMOUNT != 0 {
        op.over_proc = true;
        if bind {
            let (set, clear, must_clear) = bind_attr(&options);
            op.what = What::RemountBind { set, clear: clear | PLAIN & !set, must_clear };
        }
    } else if bind {
        op.what = What::Bind(bind_op(bundle, view, &op.at, mount, &options)?);
    } else if fs_type.is_empty() {
        return Err(Error::field(format!("{}.type", op.at), "is missing"));
    } else {
        if let Some(why) = userns::obstacle(&fs_type, view) {
            warnings.push(format!("{}: {why}", op.at));
        }
        // The runtime itself still has to put mount points and devices in there.
        let late = fs_type == "tmpfs" || op.destination == Path::new("/dev");
        op.late_readonly = late && options.set & libc::MS_RDONLY != 0;
        if fs_type == "cgroup" || fs_type == "cgroup2" {
            return cgroups::ops(op, &fs_type, &options, view, ops, warnings);
        }
        let source = mount.source().as_ref().map(|source| source.to_string_lossy().into_owned());
        let source = source.filter(|source| !source.is_empty()).unwrap_or_else(|| fs_type.clone());
        op.what = What::FileSystem(fs_op(&fs_type, source, &options, op.late_readonly, view));
    }
    ops.push(Op::Mount(op));
    Ok(())
}

fn target(destination: &Path, fs_type: &str, bind: bool) -> Target {
    match fs_type {
        _ if bind => Target::LikeSource,
        "proc" | "sysfs" => Target::RealDirectory,
        _ if destination == Path::new("/proc") || destination == Path::new("/sys") => Target::RealDirectory,
        _ => Target::Directory,
    }
}

/// May lie over procfs, and must be procfs itself.
fn covers_proc(at: &str, destination: &Path, fs_type: &str, bind: bool) -> Result<(bool, bool)> {
    let Ok(below) = destination.strip_prefix("/proc") else {
        return Ok((fs_type == "proc" && !bind, false));
    };
    let refuse = |why: String| Err(Error::field(format!("{at}.destination"), why));
    if below.as_os_str().is_empty() {
        return match (bind, fs_type) {
            (true, _) => Ok((true, true)),
            (false, "proc") => Ok((true, false)),
            _ => refuse(format!("only a procfs can be mounted on /proc, not {fs_type}")),
        };
    }
    if BELOW_PROC.iter().any(|name| below == Path::new(name)) {
        return Ok((true, false));
    }
    refuse(format!("{} is inside /proc, which nothing may cover", destination.display()))
}

fn fs_op(
    fs_type: &str,
    source: String,
    options: &MountOptions,
    late_readonly: bool,
    view: &View<'_>,
) -> FsOp {
    let mut flags = options.set;
    if late_readonly {
        flags &= !libc::MS_RDONLY;
    }
    let mut data = options.data.join(",");
    let mut op = FsOp {
        fs_type: fs_type.to_string(),
        source,
        flags,
        superblock: superblock(fs_type, flags),
        copy_up: options.tmpcopyup && fs_type == "tmpfs",
        only_mount: flags & libc::MS_I_VERSION != 0,
        ..FsOp::default()
    };
    match split(&data) {
        Some(options) => op.options = options,
        None => op.only_mount = true,
    }
    if let Some(label) = &view.mount_label {
        match fs_type {
            // These have no label of their own; sysfs and proc are labelled by policy.
            "proc" | "sysfs" | "cgroup" | "cgroup2" => {}
            "mqueue" => op.label = Some(label.value.clone()),
            _ => label.add_to(&mut op.options, &mut data),
        }
    }
    op.mode_of_target = fs_type == "tmpfs" && !op.options.iter().any(|(key, _)| key == "mode");
    let too_long = |value: &Option<String>| value.as_ref().is_some_and(|value| value.len() > LONGEST_VALUE);
    if fs_type == "overlay" {
        op.options = op.options.into_iter().flat_map(layers).collect();
    }
    op.only_mount |= op.options.iter().any(|(_, value)| too_long(value));
    op.data = data;
    if fs_type == "sysfs" && may_stand_for_sysfs(flags, view) {
        op.fallback = Some(Fallback::Bind(BindOp {
            source: "/sys".into(),
            recursive: true,
            set: attr_of(flags),
            clear: 0,
            must_clear: 0,
            idmap: None,
            opener: Opener::Init,
            copy_link: false,
            optional: false,
        }));
    }
    op
}

/// Whether the host's /sys, bound in all its depth, is what a refused sysfs is replaced by: as crun does, and rootless
/// engines with the host's network rely on. The kernel refuses it to a user namespace that does not own the network
/// namespace (the runtime's, or one joined that another made), and where something covers a part of the outer /sys.
fn may_stand_for_sysfs(flags: u64, view: &View<'_>) -> bool {
    let readonly = flags & libc::MS_RDONLY != 0;
    view.userns && !view.own_net_ns || readonly && (view.userns || view.in_user_namespace)
}

fn superblock(fs_type: &str, flags: u64) -> Vec<String> {
    let words = [
        (libc::MS_RDONLY, "ro"),
        (libc::MS_SYNCHRONOUS, "sync"),
        (libc::MS_DIRSYNC, "dirsync"),
        (libc::MS_MANDLOCK, "mand"),
        (libc::MS_LAZYTIME, "lazytime"),
    ];
    let asked = words.iter().filter(|(flag, _)| flags & flag != 0);
    asked
        .filter(|(_, word)| *word != "ro" || !PSEUDO.contains(&fs_type))
        .map(|(_, word)| (*word).into())
        .collect()
}

/// The options one by one, or None where commas do not separate (quotes, backslashes).
fn split(data: &str) -> Option<Vec<(String, Option<String>)>> {
    if data.contains(['"', '\\']) {
        return None;
    }
    let words = data.split(',').filter(|word| !word.is_empty());
    Some(
        words
            .map(|word| match word.split_once('=') {
                Some((key, value)) => (key.to_string(), Some(value.to_string())),
                None => (word.to_string(), None),
            })
            .collect(),
    )
}

/// A long `lowerdir` as one `lowerdir+` per layer (Linux 6.8).
fn layers(option: (String, Option<String>)) -> Vec<(String, Option<String>)> {
    match &option {
        (key, Some(value)) if key == "lowerdir" && value.len() > LONGEST_VALUE && !value.contains("::") => {
            value.split(':').map(|layer| ("lowerdir+".to_string(), Some(layer.to_string()))).collect()
        }
        _ => vec![option],
    }
}

fn bind_op(
    bundle: &Bundle,
    view: &View<'_>,
    at: &str,
    mount: &Mount,
    options: &MountOptions,
) -> Result<BindOp> {
    let source = mount.source().as_ref().filter(|source| !source.as_os_str().is_empty());
    let source = source.ok_or_else(|| Error::field(format!("{at}.source"), "is missing"))?;
    if !options.data.is_empty() {
        return Err(Error::field(
            format!("{at}.options"),
            format!(
                "bind mounts cannot have any filesystem-specific options applied: {}",
                options.data.join(",")
            ),
        ));
    }
    let (set, clear, must_clear) = bind_attr(options);
    let idmap = idmap(bundle, view, at, mount, options)?;
    Ok(BindOp {
        source: bundle.dir.join(source),
        recursive: options.bind == Bind::Rbind,
        set,
        clear,
        must_clear,
        opener: match (&idmap, view.userns) {
            (Some(_), _) => Opener::Runtime,
            (None, true) => Opener::InitElseRuntime,
            (None, false) => Opener::Init,
        },
        // A link has nothing to translate.
        copy_link: options.copy_symlink && idmap.is_none(),
        idmap,
        optional: false,
    })
}

fn idmap(
    bundle: &Bundle,
    view: &View<'_>,
    at: &str,
    mount: &Mount,
    options: &MountOptions,
) -> Result<Option<IdmapOp>> {
    let given = |list: &Option<Vec<LinuxIdMapping>>| list.clone().filter(|list| !list.is_empty());
    let maps = match (given(mount.uid_mappings()), given(mount.gid_mappings())) {
        (None, None) if options.idmap == Idmap::No => return Ok(None),
        (None, None) => None,
        (Some(uid), Some(gid)) => Some((map_text(&uid), map_text(&gid))),
        _ => return Err(Error::field(at, "uidMappings and gidMappings must be given together")),
    };
    if !view.userns && maps.is_none() {
        return Err(Error::field(at, "an idmapped mount needs mappings of its own, or a user namespace"));
    }
    // Root of a user namespace may idmap what was mounted in there: the kernel knows.
    if !view.root {
        return Err(Error::field(at, "idmapped mounts cannot be had without root"));
    }
    let linux = bundle.spec.linux().as_ref();
    let same = maps.as_ref().is_some_and(|(uid, gid)| {
        let own = |list: Option<&Vec<LinuxIdMapping>>| list.map(|list| map_text(list)).unwrap_or_default();
        view.new_userns
            && *uid == own(linux.and_then(|linux| linux.uid_mappings().as_ref()))
            && *gid == own(linux.and_then(|linux| linux.gid_mappings().as_ref()))
    });
    Ok(Some(IdmapOp {
        recursive: options.idmap == Idmap::Ridmap,
        // The container's own maps need no second user namespace.
        maps: maps.filter(|_| !same),
    }))
}

/// The lines of uid_map (user_namespaces(7)).
fn map_text(list: &[LinuxIdMapping]) -> String {
    list.iter().map(|map| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size())).collect()
}
