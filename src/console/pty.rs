//! The container's terminal: made in the container's own devpts by init (N5, mounts are there, the root may
//! be switched or not), handed to the caller by its console socket or to the runtime by the channel.
//!
//! The image and other containers that share its volumes are hostile: /dev, /dev/pts and ptmx may be links or
//! other files (CVE-2025-52565). So nothing is followed, the file system of every file is checked, and the
//! slave comes from the master (TIOCGPTPEER), never from a name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, major, minor, openat};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Call, Doing, Error, Result};
use crate::sys::{socket, stdio};

/// statfs(2) of devpts.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
/// Numbers of /dev/ptmx; those of slaves have the majors 136 to 143 (devices.txt).
const PTMX: (u32, u32) = (5, 2);
/// What runc sends with the master; readers want a byte and look at none.
const PAYLOAD: &[u8] = b"/dev/ptmx";

#[derive(Debug)]
pub struct Pty {
    pub master: OwnedFd,
    /// Not yet the controlling terminal of anybody. To be bound on /dev/console.
    pub slave: OwnedFd,
}

/// Allocates a terminal in the devpts on /dev/pts below `root`, the container's root directory, with `size`
/// as (rows, columns).
pub fn allocate(root: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Result<Pty> {
    let pts = open_devpts(root).doing("allocate a terminal in the container")?;
    allocate_in(pts.as_fd(), size).doing("allocate a terminal in the container")
}

fn open_devpts(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = openat(root, "dev", flags, Mode::empty()).call("openat").at("/dev in the container")?;
    let pts = openat(&dev, "pts", flags, Mode::empty()).call("openat").at("/dev/pts in the container")?;
    if !on_devpts(pts.as_fd())? {
        return Err(Error::new("is not a devpts file system")
            .at("/dev/pts in the container")
            .hint("process.terminal needs a mount of type devpts on /dev/pts"));
    }
    Ok(pts)
}

fn allocate_in(pts: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Result<Pty> {
    let place = "/dev/pts/ptmx in the container";
    let refused = || Error::new("is not the pty multiplexer of /dev/pts").at(place);
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Something else may be mounted over ptmx, and opening a device can have effects: look first.
    let handle = openat(pts, "ptmx", flags | OFlags::PATH, Mode::empty()).call("openat").at(place)?;
    if device(handle.as_fd())? != Some(PTMX) || !on_devpts(handle.as_fd())? {
        return Err(refused());
    }
    let master = openat(pts, "ptmx", flags | OFlags::RDWR, Mode::empty()).call("openat").at(place)?;
    if device(master.as_fd())? != Some(PTMX) || !on_devpts(master.as_fd())? {
        return Err(refused());
    }
    rustix::pty::unlockpt(&master).call("ioctl(TIOCSPTLCK)")?;
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer).call("ioctl(TIOCGPTPEER)")?;
    let is_slave = device(slave.as_fd())?.is_some_and(|(major, _)| (136..=143).contains(&major));
    // The same superblock: the terminal is the container's and nobody else's.
    let same = fstat(&slave).call("fstat")?.st_dev == fstat(pts).call("fstat")?.st_dev;
    if !is_slave || !same || !on_devpts(slave.as_fd())? {
        return Err(Error::new("the other side of the terminal is not a slave of /dev/pts").at(place));
    }
    if let Some((rows, columns)) = size {
        resize(master.as_fd(), rows, columns)?;
    }
    Ok(Pty { master, slave })
}

/// The numbers of a character device; None for any other file.
fn device(fd: BorrowedFd<'_>) -> Result<Option<(u32, u32)>> {
    let stat = fstat(fd).call("fstat")?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    Ok(character.then(|| (major(stat.st_rdev), minor(stat.st_rdev))))
}

fn on_devpts(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstatfs(fd).call("fstatfs")?.f_type as u64 == DEVPTS_SUPER_MAGIC)
}

/// TIOCSWINSZ: whoever has the terminal as its controlling one gets SIGWINCH.
pub fn resize(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
        .call("ioctl(TIOCSWINSZ)")
        .doing("set the size of the terminal")
}

/// Sends the master over the connected `--console-socket`: exactly one message with exactly one descriptor
/// (go-runc and conmon refuse anything else).
pub fn send_master(console_socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<()> {
    socket::send_with_fds(console_socket, PAYLOAD, &[master])
        .doing("send the terminal over the console socket")
}

/// Makes `slave` the controlling terminal and 0, 1, 2 of the caller, which must lead a new session
/// (setsid(2)) without one.
pub fn take(slave: OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(&slave)
        .call("ioctl(TIOCSCTTY)")
        .doing("take the controlling terminal")?;
    (0..3)
        .try_for_each(|number| stdio::replace(number, slave.as_fd()))
        .doing("put the terminal on 0, 1 and 2")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_terminal_of_the_hosts_own_devpts() {
        let root = File::open("/").unwrap();
        if !on_devpts(File::open("/dev/pts").unwrap().as_fd()).unwrap() {
            return crate::skip::skip(&[], "no devpts on /dev/pts");
        }
        let pty = match allocate(root.as_fd(), Some((33, 77))) {
            Ok(pty) => pty,
            // ptmxmode=000 on /dev/pts/ptmx keeps all but root out.
            Err(e) if e.errno() == libc::EACCES && !rustix::process::geteuid().is_root() => {
                return crate::skip::skip(&["root"], "needs root");
            }
            Err(e) => panic!("{e}"),
        };
        let size = rustix::termios::tcgetwinsize(&pty.slave).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (33, 77));
        rustix::io::write(&pty.slave, b"out\n").unwrap();
        let mut buffer = [0; 16];
        let length = rustix::io::read(&pty.master, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"out\r\n", "ECHO and ONLCR are left on");
        for fd in [&pty.master, &pty.slave] {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn what_is_no_devpts_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let root = || File::open(base.path()).unwrap();
        let dev = base.path().join("dev");
        let refused = |words: &str| {
            let e = allocate(root().as_fd(), None).unwrap_err().to_string();
            assert!(e.starts_with("allocate a terminal in the container: ") && e.contains(words), "{e}");
        };
        refused("no such file or directory (/dev in the container, openat)");
        symlink("/dev", &dev).unwrap();
        refused("not a directory (/dev in the container, openat)");
        std::fs::remove_file(&dev).unwrap();
        std::fs::create_dir(&dev).unwrap();
        symlink("/dev/pts", dev.join("pts")).unwrap();
        refused("not a directory (/dev/pts in the container, openat)");
        std::fs::remove_file(dev.join("pts")).unwrap();
        std::fs::create_dir(dev.join("pts")).unwrap();
        refused("is not a devpts file system (/dev/pts in the container); hint: ");
        symlink("/dev/pts/ptmx", dev.join("pts/ptmx")).unwrap();
        let pts = File::open(dev.join("pts")).unwrap();
        assert!(
            allocate_in(pts.as_fd(), None).unwrap_err().to_string().contains("is not the pty multiplexer")
        );
        std::fs::remove_file(dev.join("pts/ptmx")).unwrap();
        std::fs::write(dev.join("pts/ptmx"), "").unwrap();
        assert!(
            allocate_in(pts.as_fd(), None).unwrap_err().to_string().contains("is not the pty multiplexer")
        );
    }

    #[test]
    fn one_message_with_one_descriptor() {
        let (ours, theirs) = socket::seqpacket_pair().unwrap();
        let (r, _w) = rustix::pipe::pipe().unwrap();
        send_master(ours.as_fd(), r.as_fd()).unwrap();
        drop(ours);
        let mut buffer = [0; 4096];
        let (length, fds) = socket::recv_with_fds(&theirs, &mut buffer).unwrap();
        assert!(length > 0 && fds.len() == 1);
        assert_eq!(socket::recv_with_fds(&theirs, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error() {
        let (ours, theirs) = socket::seqpacket_pair().unwrap();
        drop(theirs);
        let e = send_master(ours.as_fd(), ours.as_fd()).unwrap_err().to_string();
        assert_eq!(e, "send the terminal over the console socket: broken pipe (sendmsg)");
    }
}
