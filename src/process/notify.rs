//! sd_notify(3) for a container: a socket of its own, below /run/notify inside, whose READY=1 is passed on to
//! the host's service manager. Runs in the runtime: in `start`, or while `run` waits in the foreground.
//!
//! The container must not reach the host's socket: through it any process could speak for the service. So
//! only READY travels, and its sender stays unknown outside.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::process::Pid;

use crate::error::{Call, Doing, Error, Result};
use crate::sys::{pidfd, socket};

/// A longer message than any that sd_notify(3) is used for.
const LONGEST: usize = 8192;
/// How long systemd may take to read our messages (sd_notify_barrier(3)).
const BARRIER: Duration = Duration::from_secs(30);

/// The container's notification socket and the way to the host's. Dropping it removes the socket.
#[derive(Debug)]
pub struct Notify {
    receiver: OwnedFd,
    path: PathBuf,
    host: PathBuf,
}

/// How waiting for READY ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ready,
    /// The process died without having said it.
    Died,
}

/// Where the socket lies, on the host. The directory is what is mounted, read-only, on /run/notify.
pub fn directory(state: &Path) -> PathBuf {
    state.join("notify")
}

/// Makes the directory, in `create`, before the mounts.
pub fn make_directory(state: &Path) -> Result<()> {
    let path = directory(state);
    rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)).call("mkdir").at_with(|| path.display().to_string())
}

impl Notify {
    /// Binds the container's socket, in `start`; `host` is our own NOTIFY_SOCKET.
    pub fn bind(state: &Path, host: &str) -> Result<Self> {
        let path = directory(state).join("notify.sock");
        let receiver = match socket::bind_datagram(&path) {
            // A `start` that was killed.
            Err(e) if e.errno() == libc::EADDRINUSE => {
                rustix::fs::unlink(&path).call("unlink").at_with(|| path.display().to_string())?;
                socket::bind_datagram(&path)
            }
            other => other,
        }
        .doing("make the container's notification socket")?;
        let notify = Self { receiver, path, host: PathBuf::from(host) };
        // Any user inside may send; nobody outside can reach it below the state directory (0700).
        rustix::fs::chmod(&notify.path, Mode::from_raw_mode(0o777))
            .call("chmod")
            .at_with(|| notify.path.display().to_string())?;
        Ok(notify)
    }

    /// Waits until the container says READY= and passes it on with `main_pid`, the process the service manager
    /// shall watch from now on; or until the process of `pidfd` is dead. A manager that does not confirm is
    /// a warning: it has the messages.
    pub fn wait_ready(
        &self,
        pidfd: BorrowedFd<'_>,
        main_pid: Pid,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome> {
        loop {
            let mut fds = vec![PollFd::new(&self.receiver, PollFlags::IN)];
            let death = pidfd::poll(&mut fds, pidfd, None)?;
            let message = fds.iter().any(|fd| !fd.revents().is_empty());
            // The message first: a process may say it and end.
            if message && let Some(line) = self.receive()? {
                let host = self.send(&line, main_pid)?;
                if !barrier(host.as_fd(), pidfd)? {
                    warnings.push("the service manager did not confirm READY=1 within 30 s".into());
                }
                return Ok(Outcome::Ready);
            }
            if death && !message {
                return Ok(Outcome::Died);
            }
        }
    }

    /// One message of a container in the foreground: our own process stays the main one.
    pub fn pass_on_ready(&self) -> Result<()> {
        match self.receive()? {
            Some(line) => self.send(&line, rustix::process::getpid()).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The READY line of the next message, if it has one. Descriptors sent along are let go of: systemd-notify(1) sends one
    /// to see that it was read (sd_notify_barrier(3)), so they are not refused (SO_PASSRIGHTS).
    fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut buffer = [0; LONGEST];
        let length = match socket::recv_bytes(&self.receiver, &mut buffer) {
            // Too long is not what this socket is for.
            Ok(length) if length > LONGEST => return Ok(None),
            Ok(length) => length,
            Err(e) if e.errno() == libc::EAGAIN => return Ok(None),
            Err(e) => return Err(e.doing("read the container's notification")),
        };
        let message = buffer.get(..length).unwrap_or_default();
        Ok(message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY=")).map(<[u8]>::to_vec))
    }

    fn send(&self, ready: &[u8], main_pid: Pid) -> Result<OwnedFd> {
        let host = connect(&self.host).doing("connect to the socket of NOTIFY_SOCKET")?;
        let main = format!("MAINPID={}", main_pid.as_raw_pid());
        for message in [ready, main.as_bytes()] {
            socket::send_with_fds(&host, message, &[]).doing("notify the service manager")?;
        }
        Ok(host)
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        // What is left goes with the state directory.
        let _ = rustix::fs::unlink(&self.path);
    }
}

/// The host's socket may be abstract (`@name`): the name comes from the service manager.
fn connect(host: &Path) -> Result<OwnedFd> {
    match host.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => socket::connect_abstract_datagram(OsStr::new(name)),
        None if host.is_absolute() => socket::connect_unix_datagram(host),
        None => Err(Error::new(format!(
            "NOTIFY_SOCKET={} is neither a path nor an abstract name",
            host.display()
        ))),
    }
}

/// BARRIER=1 with the write end of a pipe: systemd closes it once it has handled all that came before, and
/// until then wants the sender alive. False after the time is up; the death of the process of `pidfd` ends it too.
fn barrier(host: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<bool> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2")?;
    socket::send_with_fds(host, b"BARRIER=1", &[write.as_fd()]).doing("notify the service manager")?;
    drop(write);
    let mut fds = vec![PollFd::new(&read, PollFlags::IN)];
    let ended = pidfd::poll(&mut fds, pidfd, Some(BARRIER))?;
    Ok(ended || fds.iter().any(|fd| !fd.revents().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    fn sleeper() -> (Child, OwnedFd) {
        let child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        (child, pidfd)
    }

    fn stop(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 100];
        let (length, _fds) = socket::recv_with_fds(socket, &mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn ready_travels_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        make_directory(state.path()).unwrap();
        let host_path = state.path().join("host");
        let host = UnixDatagram::bind(&host_path).unwrap();
        let notify = Notify::bind(state.path(), host_path.to_str().unwrap()).unwrap();
        let path = state.path().join("notify/notify.sock");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        let container = UnixDatagram::unbound().unwrap();
        container.connect(&path).unwrap();
        container.send(b"STATUS=starting\nFDSTORE=1").unwrap();
        container.send(&[b'x'; LONGEST + 1]).unwrap();
        container.send(b"STATUS=up\nREADY=1\nMAINPID=1").unwrap();
        let (child, pidfd) = sleeper();
        let main = Pid::from_child(&child);
        let answers = std::thread::spawn(move || [received(&host), received(&host), received(&host)]);
        let mut warnings = Vec::new();
        let outcome = notify.wait_ready(pidfd.as_fd(), main, &mut warnings);
        stop(child);
        assert_eq!(outcome.unwrap(), Outcome::Ready);
        let wanted = ["READY=1".to_owned(), format!("MAINPID={}", main.as_raw_pid()), "BARRIER=1".to_owned()];
        assert_eq!(answers.join().unwrap(), wanted);
        assert!(warnings.is_empty(), "the pipe was closed when its receiver let it go");
        drop(notify);
        assert!(!path.exists());
    }

    #[test]
    fn descriptors_that_close_slowly_hold_nobody() {
        use std::io::Write;
        use std::net::{TcpListener, TcpStream};
        let state = tempfile::tempdir().unwrap();
        make_directory(state.path()).unwrap();
        let notify = Notify::bind(state.path(), "/none").unwrap();
        let container = socket::connect_unix_datagram(&directory(state.path()).join("notify.sock")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let slow: Vec<TcpStream> = (0..3)
            .map(|_| {
                let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::from_secs(20))).unwrap();
                // Nobody reads: what cannot be sent keeps the socket from closing.
                stream.set_nonblocking(true).unwrap();
                while stream.write(&[0; 65536]).is_ok() {}
                // A socket that does not block does not linger.
                stream.set_nonblocking(false).unwrap();
                stream
            })
            .collect();
        let fds: Vec<_> = slow.iter().map(AsFd::as_fd).collect();
        socket::send_with_fds(&container, b"READY=1", &fds).unwrap();
        drop(slow);
        let begin = std::time::Instant::now();
        assert_eq!(notify.receive().unwrap().as_deref(), Some(&b"READY=1"[..]));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        // As systemd-notify waits for its barrier.
        let (read, write) = rustix::pipe::pipe().unwrap();
        socket::send_with_fds(&container, b"BARRIER=1", &[write.as_fd()]).unwrap();
        drop(write);
        assert_eq!(notify.receive().unwrap(), None);
        assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
        assert_eq!(notify.receive().unwrap(), None, "nothing is there");
    }

    #[test]
    fn a_dead_process_ends_the_wait() {
        let state = tempfile::tempdir().unwrap();
        make_directory(state.path()).unwrap();
        std::mem::forget(Notify::bind(state.path(), "/none").unwrap());
        let notify = Notify::bind(state.path(), "/none").unwrap();
        let (child, pidfd) = sleeper();
        let main = Pid::from_child(&child);
        stop(child);
        assert_eq!(notify.wait_ready(pidfd.as_fd(), main, &mut Vec::new()).unwrap(), Outcome::Died);
    }

    #[test]
    fn abstract_names_of_the_host() {
        let name = format!("orlop-test-{}", std::process::id());
        let host = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket = connect(Path::new(&format!("@{name}"))).unwrap();
        socket::send_with_fds(&socket, b"READY=1", &[]).unwrap();
        assert_eq!(received(&host), "READY=1");
        assert!(connect(Path::new("relative")).is_err());
    }
}
