//! The operator's terminal and the container's, joined for `run` and `exec` in the foreground. Runs in the
//! runtime, which holds the master; `process::foreground` owns the loop and asks here what to wait for.
//!
//! The host's terminal is raw but for output processing, and the pty makes no CR of its own: keys arrive as
//! they are pressed, and `\n` becomes `\r\n` exactly once, on a terminal, never in a pipe. Dropping the relay
//! restores the terminal. Writes to the master never block: a program that reads nothing must not stop its
//! own output.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::error::{Call, Doing, Error, Result};
use crate::sys::stdio;

/// One page: a pipe that polls writable takes it without blocking (pipe(7), PIPE_BUF).
const BLOCK: usize = 4096;

/// More than a terminal holds: what comes beyond it after the program's end is not the program's.
const REST: usize = 64 << 10;

/// What a file watched for the relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Input,
    Output,
    Master,
}

#[derive(Debug)]
pub struct Relay {
    host: OwnedFd,
    before: Termios,
    master: OwnedFd,
    /// None after its end-of-file.
    input: Option<OwnedFd>,
    /// None after a failed write: the reader is gone, output is dropped so that the program goes on.
    output: Option<OwnedFd>,
    to_container: Block,
    to_host: Block,
    /// The last process has closed the terminal; another may open it again.
    hung_up: bool,
    /// We are in the background of our terminal: its keys are for somebody else until we are brought forward.
    in_background: bool,
}

/// The terminal of the operator: on stderr, stdout or stdin, else the controlling one. To be asked for before
/// a container is made, because without one there is nothing to relay to.
pub fn host_terminal() -> Result<OwnedFd> {
    for fd in stdio::all().into_iter().rev() {
        if tcgetattr(fd).is_ok() {
            return fcntl_dupfd_cloexec(fd, 3).call("fcntl");
        }
    }
    rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
        .call("open")
        .at("/dev/tty")
        .doing("find a terminal")
        .hint("process.terminal is true: run from a terminal, or detach with --console-socket")
}

impl Relay {
    /// Between the terminal `host`, with our stdin and stdout, and the container's `master`. Before the program
    /// writes anything: until here its lines end in the pty's own `\r\n`.
    pub fn start(host: OwnedFd, master: OwnedFd) -> Result<Self> {
        let [stdin, stdout, _] = stdio::all();
        let input = fcntl_dupfd_cloexec(stdin, 3).call("fcntl")?;
        let output = fcntl_dupfd_cloexec(stdout, 3).call("fcntl")?;
        Self::between(host, input, output, master).doing("relay the terminal")
    }

    fn between(host: OwnedFd, input: OwnedFd, output: OwnedFd, master: OwnedFd) -> Result<Self> {
        let flags = fcntl_getfl(&master).call("fcntl")?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).call("fcntl")?;
        let mut pty = tcgetattr(&master).call("ioctl(TCGETS)")?;
        pty.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&master, OptionalActions::Now, &pty).call("ioctl(TCSETS)")?;
        let before = tcgetattr(&host).call("ioctl(TCGETS)")?;
        let mut relay = Self {
            host,
            before,
            master,
            input: Some(input),
            output: Some(output),
            to_container: Block::new(),
            to_host: Block::new(),
            hung_up: false,
            in_background: false,
        };
        relay.in_background = relay.belongs_to_another();
        if !relay.in_background {
            relay.make_raw()?;
        }
        relay.resize();
        Ok(relay)
    }

    /// After SIGCONT: the shell had its own modes while we were stopped, and has them still if it has only let us go on
    /// behind it. A terminal that is gone comes with this signal, too: it has no modes, and the container goes on.
    pub fn resume(&mut self) {
        self.in_background = self.belongs_to_another();
        if !self.in_background {
            let _ = self.make_raw();
        }
        self.resize();
    }

    /// Another process group is in the foreground of the terminal. One that is not ours to control, or that is gone, has
    /// no such group.
    fn belongs_to_another(&self) -> bool {
        tcgetpgrp(&self.host).is_ok_and(|group| group != getpgrp())
    }

    fn make_raw(&self) -> Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        raw.output_modes.insert(OutputModes::OPOST);
        tcsetattr(&self.host, OptionalActions::Now, &raw).call("ioctl(TCSETS)")
    }

    /// Gives the container's terminal the size of the host's (SIGWINCH). A terminal without a size, or one
    /// that was just hung up, leaves things as they are.
    pub fn resize(&self) {
        if let Ok(size) = tcgetwinsize(&self.host)
            && size.ws_row > 0
        {
            // Fails only for a terminal that is gone, which the next read reports.
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// What to poll for. Errors and hang-ups come unasked.
    pub fn watched(&self) -> Vec<(End, BorrowedFd<'_>, PollFlags)> {
        let mut list = Vec::with_capacity(3);
        let takes_input = self.to_container.is_empty() && !self.hung_up && !self.in_background;
        if let Some(input) = self.input.as_ref().filter(|_| takes_input) {
            list.push((End::Input, input.as_fd(), PollFlags::IN));
        }
        if let Some(output) = self.output.as_ref().filter(|_| !self.to_host.is_empty()) {
            list.push((End::Output, output.as_fd(), PollFlags::OUT));
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.to_host.is_empty());
        events.set(PollFlags::OUT, !self.to_container.is_empty());
        // A hung-up terminal polls ready for ever, whatever is asked: it is tried now and then instead. While
        // output waits for its reader there is nothing to ask, and the hang-up would spin as well.
        if !self.hung_up && !events.is_empty() {
            list.push((End::Master, self.master.as_fd(), events));
        }
        list
    }

    /// Whether [`Self::ready`] shall be called for the master now and then without an event.
    pub fn wants_retry(&self) -> bool {
        self.hung_up
    }

    /// Moves what can be moved without blocking. Call it for each end that polled ready.
    pub fn ready(&mut self, end: End) -> Result<()> {
        match end {
            End::Input => {
                self.read_input();
                Ok(())
            }
            End::Output => {
                self.write_output();
                Ok(())
            }
            End::Master => {
                self.write_master()?;
                self.read_master().map(|_| ())
            }
        }
    }

    fn read_input(&mut self) {
        let Some(input) = &self.input else { return };
        match self.to_container.fill(input.as_fd()) {
            Ok(0) => self.input = None,
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(Errno::IO) if self.belongs_to_another() => self.in_background = true,
            // Hung up, or never to be read (nohup leaves a file that is open for writing only): no reason to end a
            // container.
            Err(_) => self.input = None,
        }
    }

    fn write_output(&mut self) {
        let Some(output) = &self.output else { return self.to_host.clear() };
        match self.to_host.drain(output.as_fd()) {
            Ok(()) | Err(Errno::AGAIN) => {}
            // EPIPE, EIO, ENOSPC: nobody will see this or anything later.
            Err(_) => {
                self.output = None;
                self.to_host.clear();
            }
        }
    }

    fn write_master(&mut self) -> Result<()> {
        if self.to_container.is_empty() {
            return Ok(());
        }
        match self.to_container.drain(self.master.as_fd()) {
            Ok(()) | Err(Errno::AGAIN) => Ok(()),
            Err(Errno::IO) => {
                self.hung_up = true;
                Ok(())
            }
            Err(errno) => Err(errno).call("write").doing("write to the container's terminal"),
        }
    }

    /// How much was read; nothing while a block waits for its reader.
    fn read_master(&mut self) -> Result<usize> {
        if !self.to_host.is_empty() {
            return Ok(0);
        }
        match self.to_host.fill(self.master.as_fd()) {
            Ok(length) => {
                self.hung_up = length == 0;
                if self.output.is_none() {
                    self.to_host.clear();
                }
                Ok(length)
            }
            Err(Errno::AGAIN) => {
                self.hung_up = false;
                Ok(0)
            }
            // All slaves are closed and everything written to them has been read: the kernel flushes the
            // line discipline before it says so.
            Err(Errno::IO) => {
                self.hung_up = true;
                Ok(0)
            }
            Err(errno) => Err(errno).call("read").doing("read the container's terminal"),
        }
    }

    /// After the program's end: shows what is still in the terminal, then restores the host's. Others may have the terminal
    /// and write faster than is read here: of what they go on to say no more is shown than might be the program's.
    pub fn finish(mut self) -> Result<()> {
        let mut shown = 0;
        loop {
            while !self.to_host.is_empty() {
                self.wait_for_reader()?;
                self.write_output();
            }
            let length = self.read_master()?;
            shown += length;
            if length == 0 || shown > REST {
                return Ok(());
            }
        }
    }

    fn wait_for_reader(&self) -> Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        let mut fds = [rustix::event::PollFd::new(output, PollFlags::OUT)];
        retry_on_intr(|| rustix::event::poll(&mut fds, None)).call("poll")?;
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Behind somebody else the modes are not ours. A destructor cannot report; the only failure is a terminal that is
        // gone.
        if !self.in_background {
            let _ = tcsetattr(&self.host, OptionalActions::Now, &self.before);
        }
    }
}

/// Bytes on their way in one direction.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8; BLOCK]>,
    start: usize,
    end: usize,
}

impl Block {
    fn new() -> Self {
        Self { bytes: Box::new([0; BLOCK]), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Only when empty.
    fn fill(&mut self, from: BorrowedFd<'_>) -> std::result::Result<usize, Errno> {
        let length = retry_on_intr(|| rustix::io::read(from, &mut self.bytes[..]))?;
        (self.start, self.end) = (0, length);
        Ok(length)
    }

    fn drain(&mut self, to: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        self.start += retry_on_intr(|| rustix::io::write(to, rest))?;
        Ok(())
    }
}

/// A terminal asked for without `terminal`, or the other way round: the words are runc's.
pub fn check_console_socket(terminal: bool, detached: bool, given: bool) -> Result<()> {
    match (terminal, detached, given) {
        (true, true, false) => {
            Err(Error::new("cannot allocate tty if orlop will detach without setting console socket"))
        }
        (false, _, true) | (true, false, true) => {
            Err(Error::new("cannot use console socket if orlop will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
