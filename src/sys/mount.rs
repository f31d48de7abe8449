//! The mount calls, named as the system calls, on descriptors only.
//!
//! Used by the runtime (trees opened before the clone) and by init inside its own mount namespace. Nothing here
//! decides anything: the two-way choice between the descriptor calls (Linux 5.2, mount_setattr 5.12) and
//! mount(2) lives in `sys::tree`. mount(2) wants a path where the new calls take a descriptor; the only path
//! ever given to it is `self/fd/N` below our own procfs (`sys::procfs`), never a name inside the container.
//!
//! A descriptor call that is missing answers ENOSYS here, whichever way it was refused ([`is_missing`]).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::{Call, Error, Result};
use crate::sys::kernel;

/// What mount_setattr(2) changes: MOUNT_ATTR_* to set and to clear, one MS_* propagation value or 0, and for an
/// idmapped mount the user namespace whose maps translate the ids.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attr<'a> {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub userns: Option<BorrowedFd<'a>>,
}

/// `struct mount_attr`, linux/mount.h, MOUNT_ATTR_SIZE_VER0.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// Linux 5.14; mount(2) has it since 5.10, as MS_NOSYMFOLLOW.
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
const AT_RECURSIVE: libc::c_int = 0x8000;

/// Whether this kernel, or a seccomp profile around us, does not have the call.
pub fn is_missing(e: &Error) -> bool {
    e.errno() == libc::ENOSYS
}

/// `answer` to the system call `name` of number `call`, with a profile's refusal turned into the kernel's.
fn told<T>(name: &'static str, call: libc::c_long, answer: rustix::io::Result<T>) -> Result<T> {
    answer.map_err(|e| match e.raw_os_error() {
        errno if kernel::is_missing(call, errno) => Error::sys(name, libc::ENOSYS),
        errno => Error::sys(name, errno),
    })
}

/// What a call has made is worth something only where it can be attached: kernels have all of these calls or none, but
/// profiles may not. Asked by those who may mount, or the answer would be about them; once, not with every mount: the
/// one static of the program, a fact of the kernel and not of a container.
fn attachable(made: OwnedFd) -> Result<OwnedFd> {
    static SEEN: AtomicBool = AtomicBool::new(false);
    if SEEN.load(Ordering::Relaxed) || kernel::is_there(libc::SYS_move_mount) {
        SEEN.store(true, Ordering::Relaxed);
        return Ok(made);
    }
    Err(Error::sys("move_mount", libc::ENOSYS))
}

/// fsopen(2): a file system context for `fs_type`.
pub fn fsopen(fs_type: &str) -> Result<OwnedFd> {
    let answer = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC);
    told("fsopen", libc::SYS_fsopen, answer).and_then(attachable)
}

/// fsconfig(2) FSCONFIG_SET_STRING; the kernel takes at most 255 bytes of value.
pub fn fsconfig_string(context: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    told("fsconfig", libc::SYS_fsconfig, rustix::mount::fsconfig_set_string(context, key, value))
}

/// fsconfig(2) FSCONFIG_SET_FLAG.
pub fn fsconfig_flag(context: BorrowedFd<'_>, key: &str) -> Result<()> {
    told("fsconfig", libc::SYS_fsconfig, rustix::mount::fsconfig_set_flag(context, key))
}

/// fsconfig(2) FSCONFIG_CMD_CREATE.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> Result<()> {
    told("fsconfig", libc::SYS_fsconfig, rustix::mount::fsconfig_create(context))
}

/// The sentences the file system left in its context (`e overlay: …`): read(2) gives one a call. Without them
/// the cause of an EINVAL is known only to the kernel log.
pub fn context_messages(context: BorrowedFd<'_>) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    let mut buffer = [0u8; 512];
    while all.len() < 4 {
        match rustix::io::read(context, &mut buffer) {
            Ok(n) if n > 2 => {
                let text = String::from_utf8_lossy(buffer.get(2..n).unwrap_or_default()).trim().to_string();
                all.push(text);
            }
            _ => break,
        }
    }
    (!all.is_empty()).then(|| all.join(", "))
}

/// fsmount(2) with MOUNT_ATTR_* from birth: the mount is never visible without them.
pub fn fsmount(context: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd> {
    let bits = MountAttrFlags::from_bits_retain(u32::try_from(attr).unwrap_or(u32::MAX));
    match rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, bits) {
        // mount(2) may know it.
        Err(rustix::io::Errno::INVAL) if attr & MOUNT_ATTR_NOSYMFOLLOW != 0 && !knows_nosymfollow() => {
            Err(Error::sys("fsmount", libc::ENOSYS))
        }
        answer => told("fsmount", libc::SYS_fsmount, answer),
    }
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `dir`/`path` (`""` = `dir` itself).
pub fn open_tree_clone(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_NO_AUTOMOUNT;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    told("open_tree", libc::SYS_open_tree, rustix::mount::open_tree(dir, path, flags)).and_then(attachable)
}

/// move_mount(2) from descriptor to descriptor: the target is what was looked up, whatever its name means now.
pub fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", flags).call("move_mount")
}

/// mount_setattr(2) on the mount `fd` is the root of.
pub fn mount_setattr(fd: BorrowedFd<'_>, recursive: bool, attr: Attr<'_>) -> Result<()> {
    let idmap = attr.userns.map_or((0, 0), |fd| (MOUNT_ATTR_IDMAP, fd.as_raw_fd().unsigned_abs().into()));
    let raw = MountAttr {
        attr_set: attr.set | idmap.0,
        attr_clr: attr.clear,
        propagation: attr.propagation,
        userns_fd: idmap.1,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let errno = match setattr(fd.as_raw_fd(), flags, &raw) {
        0 => return Ok(()),
        errno => errno,
    };
    let unknown = errno == libc::EINVAL
        && (attr.set | attr.clear) & MOUNT_ATTR_NOSYMFOLLOW != 0
        && !knows_nosymfollow();
    if unknown && attr.set & MOUNT_ATTR_NOSYMFOLLOW == 0 && (recursive || attr.userns.is_some()) {
        // Nothing else can say the rest; a source that follows no links goes on so.
        return mount_setattr(fd, recursive, Attr { clear: attr.clear & !MOUNT_ATTR_NOSYMFOLLOW, ..attr });
    }
    if !unknown && !kernel::is_missing(libc::SYS_mount_setattr, errno) {
        return Err(Error::sys("mount_setattr", errno));
    }
    let e = Error::sys("mount_setattr", libc::ENOSYS);
    Err(match (attr.userns, recursive) {
        (Some(_), _) => e.hint("idmapped mounts need Linux 5.12"),
        (None, true) if unknown => e.hint("rnosymfollow needs Linux 5.14"),
        (None, true) => e.hint("recursive options need Linux 5.12"),
        (None, false) => e,
    })
}

/// The errno of mount_setattr(2), or 0.
fn setattr(fd: RawFd, flags: libc::c_int, attr: &MountAttr) -> i32 {
    // SAFETY: the path is a static NUL-terminated string, `attr` is fully initialised, lives across the call and
    // is exactly the size given; the kernel only reads both.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 { 0 } else { last_errno() }
}

/// Linux 5.12 and 5.13 have mount_setattr(2) and refuse this one bit; a kernel that knows it refuses the descriptor.
fn knows_nosymfollow() -> bool {
    let attr = MountAttr { attr_set: 0, attr_clr: MOUNT_ATTR_NOSYMFOLLOW, propagation: 0, userns_fd: 0 };
    matches!(setattr(-1, libc::AT_EMPTY_PATH, &attr), 0 | libc::EBADF)
}

/// mount(2) with every argument as the kernel takes it. Paths are `self/fd/N` or `/` or `.`.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fs_type: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null or a NUL-terminated string borrowed for the whole call; the kernel copies at
    // most a page from `data`, which is a string for every file system but a few that read no further than NUL.
    let answer = unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(fs_type), flags, pointer(data).cast())
    };
    if answer == 0 { Ok(()) } else { Err(Error::sys("mount", last_errno())) }
}

/// umount2(2) with MNT_DETACH of a path that is `.` or `self/fd/N`.
pub fn umount_detach(target: &CStr) -> Result<()> {
    rustix::mount::unmount(target, UnmountFlags::DETACH).call("umount2")
}

/// pivot_root(2) with both arguments `.`: the old root ends up on top of the new one (pivot_root(2), NOTES).
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(c".", c".").call("pivot_root")
}

/// statfs(2)'s magic number and ST_* flags of the mount behind `fd`; an O_PATH descriptor will do.
pub fn fstatfs(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstatfs(fd).call("fstatfs")?;
    // The kernel's fields are signed longs whose bits are meant as they are.
    Ok((stat.f_type.cast_unsigned() as u64 & 0xffff_ffff, stat.f_flags.cast_unsigned() as u64))
}

/// Whether `fd` lies on a procfs (PROC_SUPER_MAGIC, statfs(2)).
pub fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstatfs(fd)?.0 == 0x9fa0)
}

/// A detached clone of the tree at an absolute path of this process's own mount namespace. Sources of binds are
/// trusted, so links in them are followed.
pub fn open_tree_of_path(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    open_tree_clone(CWD, path, recursive)
}

/// `self/fd/N`: the name of a descriptor relative to a procfs root.
pub fn fd_name(fd: impl AsFd) -> Result<CString> {
    CString::new(format!("self/fd/{}", fd.as_fd().as_raw_fd())).map_err(|_| Error::new("a NUL in a name"))
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernels that the tests run on are newer, but for 5.10, which has no mount_setattr(2).
    #[test]
    fn a_bit_that_no_kernel_knows_is_told_from_the_descriptor() {
        let unknown = MountAttr { attr_set: 0, attr_clr: 1 << 60, propagation: 0, userns_fd: 0 };
        let answer = setattr(-1, libc::AT_EMPTY_PATH, &unknown);
        assert!(matches!(answer, libc::EINVAL | libc::ENOSYS | libc::EPERM), "{answer}");
        assert!(knows_nosymfollow() || answer != libc::EINVAL);
    }
}
