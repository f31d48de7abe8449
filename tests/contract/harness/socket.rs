//! A listening unix socket that takes one message with its descriptors: console masters and seccomp listeners
//! come this way.

use super::test::slow;
use nix::sys::socket::{Backlog, ControlMessageOwned, MsgFlags, UnixAddr, listen, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub struct Message {
    pub data: Vec<u8>,
    pub fds: Vec<OwnedFd>,
    /// Number of SCM_RIGHTS control messages.
    pub rights: usize,
}

/// Nobody accepts at `path`, and the queue is full: who connects waits for as long as the two are there.
pub fn full(path: &Path) -> (UnixListener, UnixStream) {
    let listener = UnixListener::bind(path).expect("bind the socket");
    listen(&listener, Backlog::new(0).expect("a backlog")).expect("listen");
    let waiting = UnixStream::connect(path).expect("the one place in the queue");
    (listener, waiting)
}

/// Accepts one connection and reads one message of it; `take` waits for it.
pub struct Receiving(Receiver<Message>);

impl Receiving {
    pub fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("bind the socket");
        let (tx, rx) = channel();
        std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                let _ = tx.send(receive(stream.as_raw_fd()));
            }
        });
        Self(rx)
    }

    #[track_caller]
    pub fn take(&self) -> Message {
        self.0.recv_timeout(slow(10)).expect("no message on the socket")
    }

    pub fn is_empty(&self) -> bool {
        self.0.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

fn receive(socket: RawFd) -> Message {
    let mut buf = vec![0u8; 65536];
    let mut space = nix::cmsg_space!([RawFd; 16]);
    let mut slices = [IoSliceMut::new(&mut buf)];
    let got = recvmsg::<UnixAddr>(socket, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    let got = got.expect("recvmsg");
    let (mut fds, mut rights) = (Vec::new(), 0);
    for control in got.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(raw) = control {
            rights += 1;
            // SAFETY: the kernel has just given us these descriptors.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let n = got.bytes;
    buf.truncate(n);
    Message { data: buf, fds, rights }
}
