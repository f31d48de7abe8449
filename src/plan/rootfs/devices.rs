//! Device nodes and links of /dev: runtime-spec's default devices, linux.devices, /dev/fd and its kin.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxDeviceType;
use serde::Serialize;

use super::{MountNs, Op, View, clean};
use crate::error::{Error, Result};
use crate::spec::Bundle;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// How the node comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// mknod(2); where that is forbidden (EPERM), the host's node is bound.
    MknodElseBind,
    /// mknod(2) only: without a mount namespace nothing can be bound.
    Mknod,
    /// In a user namespace mknod(2) never works: the host's node of the same path and number is bound.
    Bind,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceOp {
    /// `linux.devices[2]`, or `default device` for those of the specification.
    pub at: String,
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside the container; not applied to a bound node, whose owner is the host's.
    pub uid: u32,
    pub gid: u32,
    pub how: How,
}

/// One symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkOp {
    pub path: PathBuf,
    pub target: PathBuf,
    /// An existing file of that name is removed; otherwise it stays.
    pub replace: bool,
    /// Made only where this exists on the host.
    pub only_if: Option<PathBuf>,
}

/// config-linux.md "Default Devices"; all c, all 0666.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// runtime-linux.md "Dev symbolic links", and the kernel image that ps and gdb look for.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Nodes first, then links: after all mounts, so that they land in the container's own /dev.
pub fn ops(bundle: &Bundle, view: &View<'_>) -> Result<Vec<Op>> {
    let how = match (view.userns, view.mount_ns) {
        (_, MountNs::None) => How::Mknod,
        (true, _) => How::Bind,
        (false, _) => How::MknodElseBind,
    };
    let mut configured = configured(bundle, how)?;
    let overridden = |path: &str| configured.iter().any(|device| device.path == Path::new(path));
    let defaults = DEFAULTS.iter().filter(|(path, ..)| !overridden(path) && !is_mounted(bundle, path));
    let defaults = defaults.map(|&(path, major, minor)| DeviceOp {
        at: "default device".into(),
        path: path.into(),
        kind: DeviceKind::Char,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        how,
    });
    let mut ops: Vec<Op> = defaults.map(Op::Device).collect();
    configured.retain(|device| !is_mounted(bundle, &device.path));
    ops.extend(configured.into_iter().map(Op::Device));
    // A node or file of the image here would be the host's terminal multiplexer.
    ops.push(link("/dev/ptmx", "pts/ptmx", true, None));
    ops.extend(LINKS.iter().map(|(path, target)| link(path, target, false, None)));
    ops.push(link("/dev/core", "/proc/kcore", false, Some("/proc/kcore")));
    Ok(ops)
}

/// What somebody mounts on the very path of a device (`-v /dev/urandom:/dev/random`) is what is wanted there.
fn is_mounted(bundle: &Bundle, path: impl AsRef<Path>) -> bool {
    let mounts = bundle.spec.mounts().iter().flatten();
    mounts.into_iter().any(|mount| clean(mount.destination()) == path.as_ref())
}

fn link(path: &str, target: &str, replace: bool, only_if: Option<&str>) -> Op {
    Op::Link(LinkOp {
        path: path.into(),
        target: target.into(),
        replace,
        only_if: only_if.map(PathBuf::from),
    })
}

fn configured(bundle: &Bundle, how: How) -> Result<Vec<DeviceOp>> {
    let devices = bundle.spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let mut ops = Vec::new();
    for (index, device) in devices.into_iter().flatten().enumerate() {
        let at = format!("linux.devices[{index}]");
        if !device.path().is_absolute() {
            return Err(Error::field(format!("{at}.path"), "is not absolute"));
        }
        let path = clean(device.path());
        // Always the link to the container's own instance (runc skips it too).
        if path == Path::new("/dev/ptmx") {
            continue;
        }
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
            LinuxDeviceType::B => DeviceKind::Block,
            LinuxDeviceType::P => DeviceKind::Fifo,
            LinuxDeviceType::A => return Err(Error::field(format!("{at}.type"), "is none of c, b, u, p")),
        };
        let number = |value: i64, field: &str, most: i64| match u32::try_from(value) {
            Ok(number) if value <= most => Ok(number),
            _ => Err(Error::field(format!("{at}.{field}"), format!("is not within 0 and {most}"))),
        };
        // dev_t in the kernel: 12 bits of major, 20 of minor (linux/kdev_t.h).
        let (major, minor) = match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (number(device.major(), "major", 0xfff)?, number(device.minor(), "minor", 0xf_ffff)?),
        };
        let op = DeviceOp {
            at,
            path,
            kind,
            major,
            minor,
            // Callers pass st_mode as it is: the type bits are not ours to set.
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            how: if kind == DeviceKind::Fifo { How::Mknod } else { how },
        };
        ops.retain(|earlier: &DeviceOp| earlier.path != op.path);
        ops.push(op);
    }
    Ok(ops)
}
