//! Unix sockets: the channel between runtime and children, the console, pidfd and seccomp sockets of
//! callers, the notification socket. Runs in every process of orlop.
//!
//! Every descriptor is close-on-exec from birth. Paths may be longer than `sun_path` (108 bytes, unix(7)):
//! engines put sockets under long state directories. Nothing here binds abstract names:
//! they belong to a network namespace and are reachable by whoever shares it (CVE-2020-15257).

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials};
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_passcred, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Call, Doing, Error, Result};

/// A peer that does not accept or does not read holds a command no longer than this.
const PEER_DEADLINE: Duration = Duration::from_secs(10);
/// The most descriptors one message may carry here (the kernel's own limit is SCM_MAX_FD, 253).
const MAX_FDS: usize = 16;

/// A connected pair of AF_UNIX SOCK_SEQPACKET sockets: message borders are kept, the death of the other
/// side is an end-of-file.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call("socketpair")
}

/// Connects a new SOCK_STREAM socket to the listener at `path`, which may have any length. Waits at most
/// 10 s for a listener whose backlog is full; later sends have the same limit each.
pub fn connect_unix_stream(path: &Path) -> Result<OwnedFd> {
    connect(path, SocketType::STREAM)
}

/// Connects a new SOCK_DGRAM socket to the receiver at `path`, which may have any length.
pub fn connect_unix_datagram(path: &Path) -> Result<OwnedFd> {
    connect(path, SocketType::DGRAM)
}

/// Connects a new SOCK_DGRAM socket to the abstract `name`: only for a socket of the host's service manager,
/// whose name is given to us.
pub fn connect_abstract_datagram(name: &OsStr) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket")?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).call("connect")?;
    rustix::net::connect(&socket, &address).call("connect").at_with(|| format!("@{}", name.display()))?;
    Ok(socket)
}

fn connect(path: &Path, kind: SocketType) -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).call("socket")?;
    // unix(7): connect on a full backlog blocks; for AF_UNIX the limit of a send counts for it too.
    set_socket_timeout(&socket, Timeout::Send, Some(PEER_DEADLINE)).call("setsockopt")?;
    // A path that is too long is replaced by the magic link of a handle on the socket itself.
    let (address, _handle) = match SocketAddrUnix::new(path) {
        Ok(address) => (address, None),
        Err(rustix::io::Errno::NAMETOOLONG) => {
            let handle = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .call("open")
                .at_with(|| path.display().to_string())?;
            let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
            (SocketAddrUnix::new(link).call("connect")?, Some(handle))
        }
        Err(errno) => return Err(errno).call("connect").at_with(|| path.display().to_string()),
    };
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))
        .call("connect")
        .at_with(|| path.display().to_string())?;
    Ok(socket)
}

/// Makes a SOCK_DGRAM socket bound to the new name `path`, which may have any length as long as its last
/// component has at most 80 bytes. An existing name is an error (EADDRINUSE), never replaced.
pub fn bind_datagram(path: &Path) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket")?;
    let (short, _directory) = below_handle(path)?;
    let address = SocketAddrUnix::new(&short).call("bind").at_with(|| path.display().to_string())?;
    rustix::net::bind(&socket, &address).call("bind").at_with(|| path.display().to_string())?;
    Ok(socket)
}

/// `path` as it is when it fits `sun_path`, else `/proc/self/fd/N/name` with the directory that N is.
fn below_handle(path: &Path) -> Result<(PathBuf, Option<OwnedFd>)> {
    if SocketAddrUnix::new(path).is_ok() {
        return Ok((path.to_path_buf(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("the socket path has no last component").at(path.display().to_string()));
    };
    let handle =
        rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call("open")
            .at_with(|| directory.display().to_string())?;
    let short = Path::new("/proc/self/fd").join(handle.as_raw_fd().to_string()).join(name);
    Ok((short, Some(handle)))
}

/// Sends `bytes` (at least one: descriptors need a byte to travel on) and `fds` as one message. A closed
/// peer is EPIPE, never a signal. On a stream the rest of a partly taken message follows without fds.
pub fn send_with_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    if fds.len() > MAX_FDS || (bytes.is_empty() && !fds.is_empty()) {
        return Err(Error::new("a message carries at least one byte and at most 16 descriptors"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::sys("sendmsg", libc::EMSGSIZE));
    }
    let mut sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })
    .call("sendmsg")?;
    while sent < bytes.len() {
        let rest = bytes.get(sent..).unwrap_or_default();
        sent += rustix::io::retry_on_intr(|| rustix::net::send(&socket, rest, SendFlags::NOSIGNAL))
            .call("send")?;
    }
    Ok(())
}

/// Receives one message: its length and the descriptors with it, close-on-exec. Length 0 without
/// descriptors is the end-of-file of a stream or seqpacket peer. A message longer than `bytes`, or with
/// more descriptors than fit, is an error (EMSGSIZE); what did arrive is closed.
pub fn recv_with_fds(socket: impl AsFd, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })
    .call("recvmsg")?;
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Error::sys("recvmsg", libc::EMSGSIZE).doing("receive a whole message"));
    }
    Ok((message.bytes, fds))
}

/// Receives one datagram of a stranger's: its length, which may be more than fits `bytes`. Descriptors with it are let go of
/// before they become ours, for close(2) would wait for whom their file system asks (FUSE), and for a socket that lingers:
/// the kernel still waits for that one, but no longer than it takes to be nudged.
pub fn recv_bytes(socket: impl AsFd, bytes: &mut [u8]) -> Result<usize> {
    const PAUSE: Duration = Duration::from_millis(20);
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let received = super::signal::nudged(PAUSE, || {
        rustix::io::retry_on_intr(|| rustix::net::recv(&socket, &mut *bytes, flags))
    });
    received.map(|(_, length)| length).call("recv")
}

/// One message of a peer.
#[derive(Debug)]
pub struct Received {
    pub length: usize,
    pub fds: Vec<OwnedFd>,
    /// The process that sent it, by the kernel's word; 0 without [`watch`], or when our pid namespace does not have it.
    pub sender: i32,
}

/// From now on messages that arrive at `socket` name their sender, and a receive without one gives up after `pause`
/// (EAGAIN).
pub fn watch(socket: impl AsFd, pause: Duration) -> Result<()> {
    set_socket_passcred(&socket, true).call("setsockopt")?;
    set_socket_timeout(&socket, Timeout::Recv, Some(pause)).call("setsockopt")
}

/// As [`recv_with_fds`], with as many descriptors as a peer may send, and the sender. Not rustix's: its pid cannot be 0.
pub fn recv_with_sender(socket: impl AsFd, bytes: &mut [u8]) -> Result<Received> {
    /// SCM_MAX_FD: all that a message can have, so that no descriptor is ever cut off and lost.
    const MOST: usize = 253;
    let mut space = nix::cmsg_space!([RawFd; MOST], UnixCredentials);
    let socket = socket.as_fd().as_raw_fd();
    let mut slices = [IoSliceMut::new(bytes)];
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match nix::sys::socket::recvmsg::<()>(socket, &mut slices, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            done => break done.call("recvmsg")?,
        }
    };
    let mut received = Received { length: message.bytes, fds: Vec::new(), sender: 0 };
    for part in message.cmsgs().call("recvmsg")? {
        match part {
            ControlMessageOwned::ScmRights(rights) => {
                // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
                received.fds.extend(rights.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
            ControlMessageOwned::ScmCredentials(sender) => received.sender = sender.pid(),
            _ => {}
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Error::sys("recvmsg", libc::EMSGSIZE).doing("receive a whole message"));
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn messages_keep_their_borders_and_descriptors_travel_cloexec() {
        let (a, b) = seqpacket_pair().unwrap();
        assert!(fcntl_getfd(&a).unwrap().contains(FdFlags::CLOEXEC));
        let (r, w) = rustix::pipe::pipe().unwrap();
        send_with_fds(&a, b"one", &[w.as_fd(), r.as_fd()]).unwrap();
        send_with_fds(&a, b"two!", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, fds) = recv_with_fds(&b, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"one"[..], 2));
        assert!(fcntl_getfd(&fds[0]).unwrap().contains(FdFlags::CLOEXEC));
        rustix::io::write(&fds[0], b"x").unwrap();
        let mut one = [0; 2];
        assert_eq!(rustix::io::read(&r, &mut one).unwrap(), 1);
        let (length, fds) = recv_with_fds(&b, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"two!"[..], 0));
        drop(a);
        assert_eq!(recv_with_fds(&b, &mut buffer).unwrap().0, 0, "end-of-file");
        assert_eq!(send_with_fds(&b, b"x", &[]).unwrap_err().errno(), libc::EPIPE);
    }

    #[test]
    fn truncation_is_an_error_and_nothing_leaks() {
        let (a, b) = seqpacket_pair().unwrap();
        let (r, w) = rustix::pipe::pipe().unwrap();
        send_with_fds(&a, b"longer than four", &[w.as_fd()]).unwrap();
        drop(w);
        let e = recv_with_fds(&b, &mut [0; 4]).unwrap_err();
        assert_eq!(e.errno(), libc::EMSGSIZE);
        let mut one = [0; 1];
        assert_eq!(rustix::io::read(&r, &mut one).unwrap(), 0, "the received write end was closed");
        assert!(send_with_fds(&a, b"", &[r.as_fd()]).is_err());
    }

    #[test]
    fn a_watched_socket_names_the_sender_and_waits_for_nobody_for_ever() {
        let (a, b) = seqpacket_pair().unwrap();
        let pause = Duration::from_millis(10);
        watch(&b, pause).unwrap();
        let begin = std::time::Instant::now();
        assert_eq!(recv_with_sender(&b, &mut [0; 4]).unwrap_err().errno(), libc::EAGAIN);
        assert!(begin.elapsed() >= pause);
        send_with_fds(&a, b"x", &[a.as_fd()]).unwrap();
        let got = recv_with_sender(&b, &mut [0; 4]).unwrap();
        assert_eq!((got.length, got.fds.len()), (1, 1));
        assert_eq!(got.sender, std::process::id().cast_signed());
        assert!(fcntl_getfd(&got.fds[0]).unwrap().contains(FdFlags::CLOEXEC));
        send_with_fds(&a, b"longer than four", &[a.as_fd()]).unwrap();
        assert_eq!(recv_with_sender(&b, &mut [0; 4]).unwrap_err().errno(), libc::EMSGSIZE);
        drop((a, got));
        let got = recv_with_sender(&b, &mut [0; 4]).unwrap();
        assert_eq!((got.length, got.sender), (0, 0));
    }

    fn long_directory(base: &Path) -> PathBuf {
        let mut path = base.to_path_buf();
        while path.as_os_str().len() < 400 {
            path.push("a-component-of-thirty-two-bytes-");
        }
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn long_paths_connect_and_bind() {
        let base = tempfile::tempdir().unwrap();
        let directory = long_directory(base.path());
        let handle = std::fs::File::open(&directory).unwrap();
        let short = format!("/proc/self/fd/{}/console.sock", handle.as_raw_fd());
        let listener = UnixListener::bind(short).unwrap();
        let socket = connect_unix_stream(&directory.join("console.sock")).unwrap();
        send_with_fds(&socket, b"/dev/ptmx", &[socket.as_fd()]).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let mut buffer = [0; 64];
        let (length, fds) = recv_with_fds(&peer, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"/dev/ptmx"[..], 1));

        let path = directory.join("notify.sock");
        let receiver = bind_datagram(&path).unwrap();
        assert_eq!(bind_datagram(&path).unwrap_err().errno(), libc::EADDRINUSE);
        let sender = connect_unix_datagram(&path).unwrap();
        send_with_fds(&sender, b"READY=1", &[]).unwrap();
        let (length, _) = recv_with_fds(&receiver, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn short_paths_and_missing_ones() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("s");
        let receiver = UnixDatagram::bind(&path).unwrap();
        send_with_fds(connect_unix_datagram(&path).unwrap(), b"x", &[]).unwrap();
        assert_eq!(receiver.recv(&mut [0; 4]).unwrap(), 1);
        let e = connect_unix_stream(&base.path().join("none")).unwrap_err();
        assert!(e.to_string().starts_with("no such file or directory ("), "{e}");
        let missing = base.path().join("n".repeat(200));
        assert_eq!(connect_unix_stream(&missing).unwrap_err().errno(), libc::ENOENT);
    }
}
