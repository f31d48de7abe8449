//! What the runtime hears from a child on its channel, for `create` and `exec` alike: the message that is waited for,
//! and those that may come at any time. Runs in the runtime.

use super::last;
use super::message::{Channel, Kind, Message};
use super::silent::Stops;
use crate::error::{Doing, Error, Result};
use crate::plan::process::ProcessPlan;
use crate::sys::clone::Child;
use crate::sys::pidfd::{has_ended, pidfd_getfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a process that nobody has told us of may take to see that it is alone.
pub const LAST_WORD: Duration = Duration::from_secs(1);

/// More than there are capabilities, each of which may be one.
const MOST_WARNINGS: usize = 64;

/// A child's words so far.
#[derive(Debug)]
pub struct Heard<'p> {
    /// What the child is in the runtime's sentences: "init", "the process".
    who: &'static str,
    /// For the words of its failures.
    process: Option<&'p ProcessPlan>,
    pub warnings: Vec<String>,
    stops: Stops,
}

impl<'p> Heard<'p> {
    pub fn new(who: &'static str, process: Option<&'p ProcessPlan>) -> Self {
        Self { who, process, warnings: Vec::new(), stops: Stops::default() }
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
                // What is there and no more: who has shut the channel down may keep it open.
                while has_word(channel.0.as_fd()) {
                    let Some((message, _)) = self.next(channel, None)? else { break };
                    self.other(message)?;
                }
                Ok(false)
            }
            done => done.map(|()| true).doing(format!("tell {} {kind:?}", self.who)),
        }
    }

    /// The next message, whatever it is; None at end-of-file. Others may hold the channel too, a child that `child` has not
    /// told us of or a process of the container: on a watched channel the death of `child` is an answer as good, and without
    /// one silence is.
    pub fn next(
        &mut self,
        channel: &Channel,
        child: Option<&Child>,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        self.next_unless(channel, child, || Ok(false))
    }

    /// The same where `over` may know, too, that nothing more will be said: it is asked when the channel is silent.
    pub fn next_unless(
        &mut self,
        channel: &Channel,
        child: Option<&Child>,
        mut over: impl FnMut() -> Result<bool>,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        loop {
            match channel.receive() {
                Err(e) if e.errno() == libc::EAGAIN => {}
                heard => return heard.doing(format!("hear from {}", self.who)),
            }
            let Some(child) = child else { return Ok(None) };
            let ended = has_ended(child.pidfd.as_fd());
            if has_word(channel.0.as_fd()) {
                // Its last word may have come between the two looks.
                continue;
            }
            if ended || over()? {
                return Ok(None);
            }
            self.stops.look(self.who, child.pid, child.pidfd.as_fd())?;
        }
    }

    /// The next message of `kind`; None at end-of-file. As [`Heard::next`].
    pub fn await_kind(
        &mut self,
        channel: &Channel,
        kind: Kind,
        child: Option<&Child>,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        while let Some((message, fds)) = self.next(channel, child)? {
            if message.kind == kind {
                return Ok(Some((message, fds)));
            }
            self.other(message)?;
        }
        Ok(None)
    }

    /// The child that `teller` has cloned for us and now tells of. Nobody else is believed: a process of the container that
    /// has got hold of the channel could name any process of the host, which would then be limited, moved and killed.
    pub fn sibling(&self, message: &Message, fds: Vec<OwnedFd>, teller: &Child) -> Result<Child> {
        if message.sender != teller.pid || message.number == teller.pid {
            return Err(self.out_of_turn(message.kind));
        }
        Child::of_sibling(message.number, fds.into_iter().next())
    }

    /// The terminal's master, which `teller` sends, or names where it cannot be sent (see [`Channel::hand_master`]).
    pub fn master(
        &mut self,
        channel: &Channel,
        (message, fds): (Message, Vec<OwnedFd>),
        teller: &Child,
    ) -> Result<OwnedFd> {
        if ![0, teller.pid].contains(&message.sender) {
            return Err(self.out_of_turn(message.kind));
        }
        if let Some(master) = fds.into_iter().next() {
            return Ok(master);
        }
        let master = pidfd_getfd(teller.pidfd.as_fd(), message.number)
            .doing(format!("take the terminal from {}", self.who))
            .hint("the container's user has more descriptors in flight between its processes than RLIMIT_NOFILE")?;
        self.tell(channel, Kind::Taken)?;
        Ok(master)
    }

    fn out_of_turn(&self, kind: Kind) -> Error {
        Error::new(format!("{} said {kind:?} out of turn", self.who))
    }

    /// What may come at any time: warnings are collected, failures become the error.
    pub fn other(&mut self, message: Message) -> Result<()> {
        match message.kind {
            Kind::Warning | Kind::Ambient if self.warnings.len() >= MOST_WARNINGS => {
                return Err(Error::new(format!("{} says too much", self.who)));
            }
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
            other => return Err(self.out_of_turn(other)),
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
    use crate::sys::clone::fork;
    use crate::sys::pidfd::wait;
    use crate::sys::process::exit_now;

    #[test]
    fn the_last_words_of_the_dead_are_the_error() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut heard = Heard::new("init", None);
        assert!(heard.tell(&ours, Kind::Proceed).unwrap());
        theirs.send(&Message { text: "odd".into(), ..Message::new(Kind::Warning) }, &[]).unwrap();
        theirs.tell(Kind::Ready).unwrap();
        assert!(heard.await_kind(&ours, Kind::Ready, None).unwrap().is_some());
        assert_eq!(heard.warnings, ["odd"]);
        theirs.send(&Message { text: "no such thing".into(), ..Message::new(Kind::Failed) }, &[]).unwrap();
        drop(theirs);
        assert_eq!(heard.tell(&ours, Kind::Release).unwrap_err().to_string(), "no such thing");
        assert!(!heard.tell(&ours, Kind::Release).unwrap());
        assert!(heard.await_kind(&ours, Kind::Ready, None).unwrap().is_none());
    }

    /// Of three siblings one tells of another; what the third says of it, and what any says of somebody else, is not
    /// believed.
    #[test]
    fn only_the_teller_is_believed_and_only_of_our_children() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.watch().unwrap();
        let say = |number: i32| {
            let born = fork(|| {
                let _ = theirs.send(&Message { number, ..Message::new(Kind::InitPid) }, &[]);
                exit_now(0)
            });
            let born = born.unwrap();
            Child::of_sibling(born.pid, born.pidfd).unwrap()
        };
        let mut heard = Heard::new("the process", None);
        let sleeper = say(0);
        let (first, _) = heard.next(&ours, Some(&sleeper)).unwrap().unwrap();
        assert_eq!(first.sender, sleeper.pid);
        let parent = std::os::unix::process::parent_id().cast_signed();
        for (number, said) in [(parent, "no child of ours"), (sleeper.pid, "")] {
            let teller = say(number);
            let (message, fds) = heard.next(&ours, Some(&teller)).unwrap().unwrap();
            assert!(heard.sibling(&message, Vec::new(), &sleeper).is_err());
            match heard.sibling(&message, fds, &teller) {
                Ok(child) => assert_eq!((child.pid, said), (sleeper.pid, "")),
                Err(e) => assert!(!said.is_empty() && e.to_string().contains(said), "{e}"),
            }
            // Its death is an answer, though the other end is open.
            assert!(heard.next(&ours, Some(&teller)).unwrap().is_none());
            wait(teller.pidfd.as_fd()).unwrap();
        }
        wait(sleeper.pidfd.as_fd()).unwrap();
    }

    #[test]
    fn there_is_an_end_to_warnings() {
        let mut heard = Heard::new("the process", None);
        let warning = || Message { text: "a".into(), ..Message::new(Kind::Warning) };
        for _ in 0..MOST_WARNINGS {
            heard.other(warning()).unwrap();
        }
        assert_eq!(heard.warnings.len(), MOST_WARNINGS);
        assert!(heard.other(warning()).is_err());
    }
}
