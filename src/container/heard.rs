//! What the runtime hears from a child on its channel, for `create` and `exec` alike: the message that is waited for,
//! and those that may come at any time. Runs in the runtime.

use super::last;
use super::message::{Channel, Kind, Message};
use crate::error::{Doing, Error, Result};
use crate::plan::process::ProcessPlan;
use crate::sys::clone::Child;
use crate::sys::pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a process that nobody has told us of may take to see that it is alone.
pub const LAST_WORD: Duration = Duration::from_secs(1);

/// A child's words so far.
#[derive(Debug)]
pub struct Heard<'p> {
    /// What the child is in the runtime's sentences: "init", "the process".
    who: &'static str,
    /// For the words of its failures.
    process: Option<&'p ProcessPlan>,
    pub warnings: Vec<String>,
}

impl<'p> Heard<'p> {
    pub fn new(who: &'static str, process: Option<&'p ProcessPlan>) -> Self {
        Self { who, process, warnings: Vec::new() }
    }

    /// A failure, with what was heard before it: warnings go out only with a success.
    pub fn with_warnings(&self, error: Error) -> Error {
        match self.warnings.is_empty() {
            true => error,
            false => Error::new(format!("{error} (warnings before: {})", self.warnings.join("; "))),
        }
    }

    /// Says `kind` to the child; false when there is nobody any more. It may have died since its last word (cgroup
    /// v2 kills at once who is above a new memory limit): what it said before tells more than the broken pipe.
    pub fn tell(&mut self, channel: &Channel, kind: Kind) -> Result<bool> {
        self.hand(channel, kind, None)
    }

    /// The same with a descriptor.
    pub fn hand(&mut self, channel: &Channel, kind: Kind, fd: Option<BorrowedFd<'_>>) -> Result<bool> {
        match channel.send(&Message::new(kind), fd.as_slice()) {
            Err(e) if [libc::EPIPE, libc::ECONNRESET].contains(&e.errno()) => {
                while let Some((message, _)) = self.next(channel)? {
                    self.other(message)?;
                }
                Ok(false)
            }
            done => done.map(|()| true).doing(format!("tell {} {kind:?}", self.who)),
        }
    }

    /// The next message, whatever it is; None at end-of-file.
    pub fn next(&self, channel: &Channel) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        channel.receive().doing(format!("hear from {}", self.who))
    }

    /// The same where a child of `child` may hold the channel too: until that one has told of it, its death is an
    /// answer as good as end-of-file.
    pub fn next_while(
        &self,
        channel: &Channel,
        child: Option<&Child>,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        let Some(child) = child else { return self.next(channel) };
        loop {
            let mut polls = vec![PollFd::new(&channel.0, PollFlags::IN)];
            let death = pidfd::poll(&mut polls, child.pidfd.as_fd(), None)?;
            let word = polls.iter().any(|poll| !poll.revents().is_empty());
            // Its last word may have come between the two looks.
            if word || death && has_word(channel.0.as_fd()) {
                return self.next(channel);
            }
            if death {
                return Ok(None);
            }
        }
    }

    /// The next message of `kind`; None at end-of-file.
    pub fn await_kind(&mut self, channel: &Channel, kind: Kind) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        self.await_kind_while(channel, kind, None)
    }

    /// The same as [`Heard::next_while`].
    pub fn await_kind_while(
        &mut self,
        channel: &Channel,
        kind: Kind,
        child: Option<&Child>,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        while let Some((message, fds)) = self.next_while(channel, child)? {
            if message.kind == kind {
                return Ok(Some((message, fds)));
            }
            self.other(message)?;
        }
        Ok(None)
    }

    /// What may come at any time: warnings are collected, failures become the error.
    pub fn other(&mut self, message: Message) -> Result<()> {
        match message.kind {
            Kind::Warning => self.warnings.push(message.text),
            Kind::Ambient => self.warnings.push(format!(
                "process.capabilities.ambient: the kernel refuses {}",
                crate::plan::capabilities::names(1 << (message.number & 63)).join(" ")
            )),
            Kind::Failed if message.text.is_empty() => {
                return Err(last::failure(message.op, message.errno, message.number, self.process));
            }
            // The sentence is whole: it was made where it happened.
            Kind::Failed => return Err(Error::new(message.text)),
            other => return Err(Error::new(format!("{} said {other:?} out of turn", self.who))),
        }
        Ok(())
    }
}

/// Whether something can be read at once.
fn has_word(channel: BorrowedFd<'_>) -> bool {
    let mut polls = [PollFd::from_borrowed_fd(channel, PollFlags::IN)];
    poll(&mut polls, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::seqpacket_pair;

    #[test]
    fn the_last_words_of_the_dead_are_the_error() {
        let (ours, theirs) = seqpacket_pair().unwrap();
        let (ours, theirs) = (Channel(ours), Channel(theirs));
        let mut heard = Heard::new("init", None);
        assert!(heard.tell(&ours, Kind::Proceed).unwrap());
        theirs.send(&Message { text: "odd".into(), ..Message::new(Kind::Warning) }, &[]).unwrap();
        theirs.tell(Kind::Ready).unwrap();
        assert!(heard.await_kind(&ours, Kind::Ready).unwrap().is_some());
        assert_eq!(heard.warnings, ["odd"]);
        theirs.send(&Message { text: "no such thing".into(), ..Message::new(Kind::Failed) }, &[]).unwrap();
        drop(theirs);
        assert_eq!(heard.tell(&ours, Kind::Release).unwrap_err().to_string(), "no such thing");
        assert!(!heard.tell(&ours, Kind::Release).unwrap());
        assert!(heard.await_kind(&ours, Kind::Ready).unwrap().is_none());
    }
}
