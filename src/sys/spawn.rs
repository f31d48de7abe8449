//! Running another program from any process of the tree: fork-like clone, stdin from a memfd, output
//! captured, a time limit. std::process::Command is not for children of a raw clone.

use crate::error::{Call, Error, Result};
use crate::sys::clone::{Unseen, fork};
use crate::sys::memfd::memfd_create;
use crate::sys::pidfd::{has_ended, is_waitable, poll_child, real, wait_child};
use crate::sys::process::{Ended, exit_now, reset_signals};
use rustix::event::{PollFd, PollFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// What to run. Strings without NUL.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a str,
    pub args: &'a [String],
    /// `NAME=value` entries, exactly these.
    pub env: &'a [String],
    /// All of its standard input.
    pub stdin: &'a [u8],
    /// Working directory; None = ours.
    pub cwd: Option<&'a CStr>,
    pub timeout: Option<Duration>,
    /// A pidfd: with the end of its process the program has no use any more.
    pub serves: Option<BorrowedFd<'a>>,
}

#[derive(Debug)]
pub enum Outcome {
    /// How it ended, and the first kilobytes that it wrote to stdout and stderr.
    Ended(Ended, String),
    /// Killed after `timeout`.
    TimedOut,
    /// Killed after the process that it `serves`.
    Orphaned,
    /// execve failed with this errno.
    NotStarted(i32),
}

/// As much output as an error message can carry; the rest is read and dropped.
const KEPT_OUTPUT: usize = 4096;

/// Runs `program` to its end. A daemon it leaves behind may keep the output open: only the program's own
/// end is waited for.
pub fn run(program: &Program) -> Result<Outcome> {
    let path = cstring(program.path)?;
    let args = cstrings(program.args)?;
    let env = cstrings(program.env)?;
    let input = memfd_create(c"stdin")?;
    rustix::io::pwrite(&input, program.stdin, 0).call("write")?;
    let (output, output_end) = pipe()?;
    let (failure, failure_end) = pipe()?;
    let child = fork(|| {
        let errno = exec(program, &path, &args, &env, [&input, &output_end]);
        // The pipe closes at execve; an errno in it says that there was none.
        let _ = rustix::io::write(&failure_end, &errno.to_ne_bytes());
        exit_now(127)
    })?;
    drop((output_end, failure_end));
    let mut errno = [0; 4];
    if rustix::io::read(&failure, &mut errno).call("read")? == errno.len() {
        wait_child(child.pid)?;
        return Ok(Outcome::NotStarted(i32::from_ne_bytes(errno)));
    }
    let deadline = program.timeout.map(|timeout| Instant::now() + timeout);
    let cut = match collect(&output, &child, deadline, program.serves)? {
        Collected::All(text) => return Ok(Outcome::Ended(wait_child(child.pid)?, text)),
        Collected::Late => Outcome::TimedOut,
        Collected::Orphaned => Outcome::Orphaned,
    };
    // SAFETY: takes numbers only; the child is ours and not reaped.
    unsafe { libc::kill(child.pid, libc::SIGKILL) };
    // Not for ever: it may hang in the kernel (state D), and our caller holds the container's lock.
    if poll_child(&mut Vec::new(), &child, Some(Duration::from_secs(10)))? {
        wait_child(child.pid)?;
    }
    Ok(cut)
}

/// All output of a program of the host's, for the runtime itself. By itself the library would take posix_spawn, which
/// begins with clone3 and knows no other way where a profile answers EPERM.
pub fn output(command: &mut std::process::Command) -> std::io::Result<std::process::Output> {
    // SAFETY: the closure does nothing. That there is one makes the library fork.
    unsafe { command.pre_exec(|| Ok(())) }.output()
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2")
}

/// In the child: plumbing, then execve. Returns the errno of what failed.
fn exec(program: &Program, path: &CStr, args: &[CString], env: &[CString], fds: [&OwnedFd; 2]) -> i32 {
    reset_signals();
    let [input, output] = fds;
    for (fd, number) in [(input, 0), (output, 1), (output, 2)] {
        // SAFETY: plain descriptor numbers; 0–2 are this child's own to replace.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return super::last_errno();
        }
    }
    if let Some(Err(e)) = program.cwd.map(rustix::process::chdir) {
        return e.raw_os_error();
    }
    execve(path, args, env)
}

/// Replaces this process; returns errno only on failure.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> i32 {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: null-terminated arrays of live NUL-terminated strings.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    super::last_errno()
}

/// How often is looked whether the process that a program serves has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How the reading of the output ended.
enum Collected {
    All(String),
    Late,
    Orphaned,
}

fn collect(
    output: &OwnedFd,
    child: &Unseen,
    deadline: Option<Instant>,
    serves: Option<BorrowedFd<'_>>,
) -> Result<Collected> {
    // Without real pidfds nothing tells of the end: it is looked for.
    let (serves, looked) = match serves {
        Some(pidfd) if !is_waitable(pidfd) || real(pidfd).is_err() => (None, Some(pidfd)),
        told => (told, None),
    };
    let mut kept = Vec::new();
    let mut open = true;
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Collected::Late);
        }
        let mut polls = Vec::with_capacity(3);
        if open {
            polls.push(PollFd::new(output, PollFlags::IN));
        }
        polls.extend(serves.map(|pidfd| PollFd::from_borrowed_fd(pidfd, PollFlags::IN)));
        let wait = looked.map_or(left, |_| Some(left.unwrap_or(LOOK).min(LOOK)));
        let ended = poll_child(&mut polls, child, wait)?;
        let ready = |at: usize| polls.get(at).is_some_and(|poll| !poll.revents().is_empty());
        let (readable, orphaned) = (open && ready(0), ready(usize::from(open)));
        if readable {
            open = take(output, &mut kept)?;
        } else if ended {
            return Ok(Collected::All(String::from_utf8_lossy(&kept).trim().to_owned()));
        } else if orphaned || looked.is_some_and(has_ended) {
            return Ok(Collected::Orphaned);
        }
    }
}

/// Reads some output; false at its end.
fn take(output: &OwnedFd, kept: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 4096];
    let got = rustix::io::read(output, &mut buffer).call("read")?;
    let room = KEPT_OUTPUT.saturating_sub(kept.len());
    kept.extend_from_slice(buffer.get(..got.min(room)).unwrap_or_default());
    Ok(got > 0)
}

fn cstring(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(format!("{text:?} has a NUL byte")))
}

pub fn cstrings(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|text| cstring(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<Duration>) -> Outcome {
        let args = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let program = Program {
            path: "/bin/sh",
            args: &args,
            env: &["A=b".to_owned()],
            stdin: b"{\"x\":1}",
            cwd: None,
            timeout,
            serves: None,
        };
        run(&program).unwrap()
    }

    #[test]
    fn stdin_environment_and_output() {
        match shell("cat; echo $A; exit 3", None) {
            Outcome::Ended(Ended::Exited(3), text) => assert_eq!(text, "{\"x\":1}b"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_time_limit_and_a_daemon_left_behind() {
        let limit = Some(Duration::from_millis(100));
        assert!(matches!(shell("sleep 20", limit), Outcome::TimedOut));
        let start = Instant::now();
        assert!(matches!(shell("sleep 5 & exit 0", None), Outcome::Ended(Ended::Exited(0), _)));
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_program_that_is_not_there() {
        let program = Program {
            path: "/nowhere",
            args: &[],
            env: &[],
            stdin: b"",
            cwd: None,
            timeout: None,
            serves: None,
        };
        assert!(matches!(run(&program).unwrap(), Outcome::NotStarted(libc::ENOENT)));
    }
}
