//! Processes by descriptor: identity, signals, death. A pidfd, or what stands in for one.
//!
//! Before Linux 5.3, and under profiles that do not know the calls, a descriptor of the directory /proc/PID takes its
//! place. Like a pidfd it belongs to one process, whoever has the number later: once that process is reaped its files
//! answer ESRCH. What it lacks: it cannot be polled, so it is looked at every few milliseconds; and before 5.1 the
//! signal goes by number, right after the process was seen there, which leaves a gap of microseconds. Who needs more
//! (`--pidfd-socket`) asks for [`real`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use super::clone::Unseen;
use super::kernel::is_missing;
use super::process::Ended;
use crate::error::{Call, Error, Result};

/// statfs(2).
const PROC_SUPER_MAGIC: rustix::fs::FsWord = 0x9fa0;
const PID_FS_MAGIC: rustix::fs::FsWord = 0x5049_4446;
/// How soon a process without a pidfd is looked at again: what ends soon is seen soon, and what lasts costs little.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// /proc/PID/stat and the like are shorter.
const MOST_READ: usize = 4096;

/// A descriptor of the process: ESRCH when there is none, EINVAL when the number is a thread's.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    let number = Pid::from_raw(pid).ok_or(Error::sys("pidfd_open", libc::ESRCH))?;
    match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Err(e) if is_missing(libc::SYS_pidfd_open, e.raw_os_error()) => stand_in(pid),
        // What kernels before 6.15 call EINVAL: a thread has the number.
        Err(Errno::NOENT) => Err(Error::sys("pidfd_open", libc::EINVAL)),
        answer => answer.call("pidfd_open"),
    }
}

/// The directory /proc/PID. Not O_PATH: pidfd_send_signal (5.1) takes it, but only an open one.
fn stand_in(pid: i32) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // In the procfs of another pid namespace the number is another process's.
    let own =
        rustix::fs::readlink("/proc/self", Vec::new()).call("readlink").map_err(|e| e.at("/proc/self"))?;
    if own.as_bytes() != std::process::id().to_string().as_bytes() {
        return Err(Error::new("/proc is that of another pid namespace")
            .hint("pidfds (Linux 5.3), which need no /proc, are missing or refused"));
    }
    let fd = match rustix::fs::openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Err(Error::sys("openat", libc::ESRCH)),
        answer => answer.call("openat").map_err(|e| e.at(format!("/proc/{pid}")))?,
    };
    if !is_stand_in(fd.as_fd()) {
        return Err(Error::new("is not in a procfs").at(format!("/proc/{pid}")));
    }
    let status = read(fd.as_fd(), "status").ok_or(Error::sys("read", libc::ESRCH))?;
    match field(&status, "Tgid:") {
        Some(leader) if leader == pid => Ok(fd),
        _ => Err(Error::sys("openat", libc::EINVAL).at(format!("/proc/{pid}"))),
    }
}

fn is_stand_in(pidfd: BorrowedFd) -> bool {
    rustix::fs::fstatfs(pidfd).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// A pidfd that others can use as one.
pub fn real(pidfd: BorrowedFd) -> Result<BorrowedFd> {
    if is_stand_in(pidfd) {
        return Err(Error::sys("pidfd_open", libc::ENOSYS).hint("a pidfd needs Linux 5.3"));
    }
    Ok(pidfd)
}

/// Whether poll(2) tells the end of the process. In 5.2 clone(2) makes pidfds that nothing can wait for: they are
/// always ready for everything, writing included.
pub fn is_waitable(pidfd: BorrowedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::OUT)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
}

/// A file of the directory that stands in; None when the process is gone.
fn read(stand_in: BorrowedFd, name: &str) -> Option<String> {
    let file = rustix::fs::openat(stand_in, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = vec![0; MOST_READ];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut text[..])).ok()?;
    text.truncate(length);
    // The name of the process may be any bytes.
    (length > 0).then(|| String::from_utf8_lossy(&text).into_owned())
}

fn field(text: &str, name: &str) -> Option<i32> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok())
}

/// The number of the process as our /proc has it; None when it is reaped.
fn number(pidfd: BorrowedFd) -> Option<i32> {
    if is_stand_in(pidfd) {
        let stat = read(pidfd, "stat")?;
        return stat.split(' ').next()?.parse().ok();
    }
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    field(&info, "Pid:").filter(|pid| *pid > 0)
}

/// Whether what a stand-in stands for has ended: gone, or a zombie whose other threads have ended too.
fn looks_ended(stand_in: BorrowedFd) -> bool {
    let Some(stat) = read(stand_in, "stat") else { return true };
    // proc_pid_stat(5): the name in parentheses may hold anything; state is field 3, num_threads field 20.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let dead = matches!(fields.next(), Some("Z" | "X" | "x"));
    dead && fields.nth(16).is_none_or(|threads| matches!(threads, "0" | "1"))
}

/// poll(2) on `fds` and on the end of the process: true when it has ended. Without an event it returns after
/// `timeout`.
pub fn poll<'f>(fds: &mut Vec<PollFd<'f>>, pidfd: BorrowedFd<'f>, timeout: Option<Duration>) -> Result<bool> {
    fds.push(PollFd::from_borrowed_fd(pidfd, PollFlags::IN));
    let answer = poll_fds(fds, timeout);
    let ready = fds.pop().is_some_and(|last| !last.revents().is_empty());
    answer?;
    // A directory is always ready, so nothing was waited for.
    if ready && is_stand_in(pidfd) { poll_looking(fds, || looks_ended(pidfd), timeout) } else { Ok(ready) }
}

/// The same for a child of ours that is not reaped yet, with what clone gave for it. /proc may be that of another pid
/// namespace, where the number is somebody else's.
pub fn poll_child<'f>(
    fds: &mut Vec<PollFd<'f>>,
    child: &'f Unseen,
    timeout: Option<Duration>,
) -> Result<bool> {
    match &child.pidfd {
        Some(pidfd) => poll(fds, pidfd.as_fd(), timeout),
        None => poll_looking(fds, || child_ended(child.pid), timeout),
    }
}

fn poll_looking(
    fds: &mut [PollFd<'_>],
    has_ended: impl Fn() -> bool,
    timeout: Option<Duration>,
) -> Result<bool> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let ended = has_ended();
        let wait = if ended { Duration::ZERO } else { left.map_or(pause, |left| left.min(pause)) };
        let events = poll_fds(fds, Some(wait))?;
        if ended || events || left.is_some_and(|left| left.is_zero()) {
            return Ok(ended);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// False without an event.
fn poll_fds(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<bool> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(fds, timeout.as_ref()));
    Ok(ready.call("poll")? > 0)
}

/// Whether the process (all its threads) has ended; a zombie counts as ended.
pub fn has_ended(pidfd: BorrowedFd) -> bool {
    ended_within(pidfd, Duration::ZERO)
}

/// Waits up to `limit` for the end of the process.
pub fn ended_within(pidfd: BorrowedFd, limit: Duration) -> bool {
    poll(&mut Vec::new(), pidfd, Some(limit)).unwrap_or(false)
}

/// pidfd_send_signal(2) with any signal number, real-time ones included; without it (before 5.1) kill(2), as long as
/// the process is there.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let pidfd = pidfd.as_fd();
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means that of kill(2); the descriptor is open during the call.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    let errno = super::last_errno();
    if sent == 0 {
        return Ok(());
    }
    if !is_missing(libc::SYS_pidfd_send_signal, errno) {
        return Err(Error::sys("pidfd_send_signal", errno));
    }
    let pid = number(pidfd).ok_or(Error::sys("kill", libc::ESRCH))?;
    // SAFETY: takes numbers only; `pid` is positive.
    if unsafe { libc::kill(pid, signal) } == 0 {
        Ok(())
    } else {
        Err(Error::sys("kill", super::last_errno()))
    }
}

/// Ends a direct child of ours and reaps it. One that hangs in the kernel (state D) is left alone after ten seconds, and
/// one that a process of the container traces after one more, because its tracer has to wait for it first: a command that
/// waits on would hold its container's lock.
pub fn end_child(pidfd: BorrowedFd) {
    const TRACER: Duration = Duration::from_secs(1);
    // The child may be dead already: nothing is lost then.
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL);
    if !ended_within(pidfd, Duration::from_secs(10)) {
        return;
    }
    let deadline = Instant::now() + TRACER;
    // ECHILD: somebody else has reaped it.
    while matches!(waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(None)) {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(FIRST_PAUSE);
    }
}

/// Waits for a child of ours and reaps it.
pub fn wait(pidfd: BorrowedFd) -> Result<Ended> {
    loop {
        if let Some(status) = waitid(pidfd, WaitIdOptions::EXITED)? {
            return Ok(ended(&status));
        }
    }
}

/// The same for a child that has done its part: one that somebody has stopped is killed.
pub fn wait_unstopped(pidfd: BorrowedFd) -> Result<Ended> {
    loop {
        match waitid(pidfd, WaitIdOptions::EXITED | WaitIdOptions::STOPPED)? {
            Some(status) if status.stopped() => pidfd_send_signal(pidfd, libc::SIGKILL)?,
            Some(status) => return Ok(ended(&status)),
            None => {}
        }
    }
}

/// Whether the process is a child of ours that nobody has waited for.
pub fn is_child(pidfd: BorrowedFd) -> Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    match waitid(pidfd, options) {
        Err(e) if e.errno() == libc::ECHILD => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// How a dead child ended, without reaping it.
pub fn peek(pidfd: BorrowedFd) -> Option<Ended> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(pidfd, options).ok().flatten().as_ref().map(ended)
}

/// waitid(2) with P_PIDFD (5.4), else by the number: that of an unreaped child is nobody else's.
fn waitid(pidfd: BorrowedFd, options: WaitIdOptions) -> Result<Option<WaitIdStatus>> {
    let by = |id| match rustix::process::waitid(id, options) {
        Err(Errno::INTR) => Ok(None),
        answer => answer,
    };
    match by(WaitId::PidFd(pidfd)) {
        // EINVAL: P_PIDFD is unknown. EBADF: no pidfd but its stand-in. waitid(2) has no EPERM of its own.
        Err(Errno::INVAL | Errno::BADF | Errno::NOSYS | Errno::PERM) => {}
        answer => return answer.call("waitid"),
    }
    let pid = number(pidfd).and_then(Pid::from_raw).ok_or(Error::sys("waitid", libc::ECHILD))?;
    by(WaitId::Pid(pid)).call("waitid")
}

/// Whether a child has ended, without reaping it.
fn child_ended(pid: i32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let Some(id) = Pid::from_raw(pid) else { return true };
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(id), options));
    // ECHILD: the kernel has reaped it, or somebody else.
    !matches!(status, Ok(None))
}

/// Reaps all children that have ended, and waits up to `limit` for the others to do so.
pub fn reap_all(limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() < deadline => std::thread::sleep(FIRST_PAUSE),
            _ => return,
        }
    }
}

/// Reaps a child of ours by its number.
pub fn wait_child(pid: i32) -> Result<Ended> {
    let id = Pid::from_raw(pid).ok_or(Error::sys("waitid", libc::ECHILD))?;
    loop {
        match rustix::process::waitid(WaitId::Pid(id), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(ended(&status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).call("waitid"),
        }
    }
}

fn ended(status: &WaitIdStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Killed(signal),
        (None, None) => Ended::Killed(libc::SIGKILL),
    }
}

/// The inode of a pidfd, unique per process and boot on pidfs (Linux 6.9); 0 elsewhere.
pub fn pidfd_inode(pidfd: BorrowedFd) -> u64 {
    match rustix::fs::fstatfs(pidfd) {
        Ok(fs) if fs.f_type == PID_FS_MAGIC => {}
        _ => return 0,
    }
    rustix::fs::fstat(pidfd).map_or(0, |stat| stat.st_ino)
}

/// Takes a copy of descriptor `number` of the process (needs ptrace access; Linux 5.6).
pub fn pidfd_getfd(pidfd: BorrowedFd, number: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers; on success the kernel returns a new descriptor (CLOEXEC) of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    if fd < 0 {
        let errno = super::last_errno();
        let e = Error::sys("pidfd_getfd", errno);
        // EBADF: only where there is no pidfd either.
        let missing = is_missing(libc::SYS_pidfd_getfd, errno) || errno == libc::EBADF && is_stand_in(pidfd);
        return Err(if missing { e.hint("this needs pidfd_getfd (Linux 5.6)") } else { e });
    }
    // SAFETY: see above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn sleeper() -> (Child, i32) {
        let child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id().cast_signed();
        (child, pid)
    }

    #[test]
    fn the_stand_in_tells_life_from_death() {
        let (mut child, pid) = sleeper();
        for fd in [stand_in(pid).unwrap(), pidfd_open(pid).unwrap()] {
            assert_eq!(number(fd.as_fd()), Some(pid));
            let begin = Instant::now();
            assert!(!has_ended(fd.as_fd()) && !ended_within(fd.as_fd(), Duration::from_millis(30)));
            assert!(begin.elapsed() >= Duration::from_millis(30));
        }
        let (stood, opened) = (stand_in(pid).unwrap(), pidfd_open(pid).unwrap());
        assert!(real(stood.as_fd()).is_err());
        assert!(!is_waitable(stood.as_fd()));
        pidfd_send_signal(&stood, libc::SIGTERM).unwrap();
        for fd in [&stood, &opened] {
            assert!(ended_within(fd.as_fd(), Duration::from_secs(10)));
            assert_eq!(peek(fd.as_fd()), Some(Ended::Killed(libc::SIGTERM)));
        }
        // A zombie has ended, and its number is still its own.
        assert_eq!(number(stood.as_fd()), Some(pid));
        assert_eq!(wait(stood.as_fd()).unwrap(), Ended::Killed(libc::SIGTERM));
        assert_eq!((number(stood.as_fd()), number(opened.as_fd())), (None, None));
        assert!(has_ended(stood.as_fd()));
        assert_eq!(pidfd_send_signal(&stood, libc::SIGTERM).unwrap_err().errno(), libc::ESRCH);
        assert_eq!(stand_in(pid).unwrap_err().errno(), libc::ESRCH);
        assert!(child.try_wait().is_err(), "reaped by us");
    }

    #[test]
    fn a_thread_is_no_process() {
        let (send, receive) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            let _ = wait.recv();
        });
        let id = receive.recv().unwrap();
        assert_eq!(stand_in(id).unwrap_err().errno(), libc::EINVAL);
        assert_eq!(pidfd_open(id).unwrap_err().errno(), libc::EINVAL);
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn other_descriptors_are_waited_for_beside_it() {
        let (mut child, pid) = sleeper();
        let fd = stand_in(pid).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let watch = || vec![PollFd::new(&reader, PollFlags::IN)];
        let limit = Some(Duration::from_millis(20));
        let mut fds = watch();
        assert!(!poll(&mut fds, fd.as_fd(), limit).unwrap());
        assert!(fds[0].revents().is_empty() && fds.len() == 1);
        rustix::io::write(&writer, b"x").unwrap();
        let mut fds = watch();
        assert!(!poll(&mut fds, fd.as_fd(), None).unwrap());
        assert!(!fds[0].revents().is_empty());
        drop(child.stdin.take());
        let mut fds = watch();
        assert!(ended_within(fd.as_fd(), Duration::from_secs(10)));
        assert!(poll(&mut fds, fd.as_fd(), None).unwrap() && !fds[0].revents().is_empty());
        child.wait().unwrap();
    }
}
