//! The messages of the process tree: one SEQPACKET pair, one encoding, no serializer in the children.
//!
//! | message        | from → to               | answers / means                                            |
//! |----------------|-------------------------|------------------------------------------------------------|
//! | Attached       | runtime → first child   | P3: systemd has moved it into its cgroup                   |
//! | MapIds         | intermediate → runtime  | I1: in its new user namespace, wants id maps               |
//! | IdsMapped      | runtime → intermediate  | P4: maps are written                                       |
//! | InitPid (+ fd) | intermediate → runtime  | I4: pid of init, its pidfd if any; from nobody else        |
//! | Proceed (+ fd) | runtime → init          | P5: init is known; for a label its own attr directory      |
//! | MountsReady    | init → runtime          | N3: mounts and devices are made, before the switch of root |
//! | HooksDone      | runtime → init          | P6: limits set, prestart and createRuntime hooks ran       |
//! | Console (+ fd) | init → runtime          | N5: the master of the pty, or its number in the sender     |
//! | Ready          | init → runtime          | N6: all but identity is done                               |
//! | Release        | runtime → init          | P7: the record says created                                |
//! | Listener       | last stage → runtime    | N7: number of the seccomp listener in init                 |
//! | Taken          | runtime → who offered   | the agent has the listener; the runtime has the terminal   |
//! | Ambient        | last stage → runtime    | an ambient capability was refused (warning)                |
//! | Waiting        | last stage → runtime    | at the gate, where a filter denies close(2)                |
//! | Warning        | any child → runtime     | text for the log                                           |
//! | Failed         | any child → runtime     | step and text (or operation and errno of the last stage)   |
//!
//! End-of-file before Release is a death; after it, "waiting at the gate" once confirmed (create.rs).
//! Layout: kind u8, step u8, 2 bytes 0, op u32, errno i32, number i32, then up to 1024 bytes of text.
//! Where a process of a container may get hold of the children's end, the channel is watched.

use crate::error::{Error, Result};
use crate::sys::clone::Unseen;
use crate::sys::last_stage::layout;
use crate::sys::socket::{recv_with_sender, send_with_fds, seqpacket_pair, watch};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Where in the process tree something happened: the numbers of ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    I1 = 11,
    I2 = 12,
    I3 = 13,
    I4 = 14,
    N1 = 21,
    N2 = 22,
    N3 = 23,
    N4 = 24,
    N5 = 25,
    N6 = 26,
    N7 = 27,
}

impl Step {
    fn from_code(code: u8) -> Option<Step> {
        use Step::{I1, I2, I3, I4, N1, N2, N3, N4, N5, N6, N7};
        [I1, I2, I3, I4, N1, N2, N3, N4, N5, N6, N7].into_iter().find(|step| *step as u8 == code)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    MapIds = 1,
    IdsMapped = 2,
    InitPid = 3,
    Proceed = 4,
    MountsReady = 5,
    HooksDone = 6,
    Console = 7,
    Ready = 8,
    Release = 9,
    Attached = 10,
    Failed = layout::MESSAGE_FAILED,
    Listener = layout::MESSAGE_LISTENER,
    Taken = layout::MESSAGE_TAKEN,
    Ambient = layout::MESSAGE_AMBIENT,
    Waiting = layout::MESSAGE_WAITING,
    Warning = 0x75,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        use Kind::{
            Ambient, Attached, Console, Failed, HooksDone, IdsMapped, InitPid, Listener, MapIds, MountsReady,
            Proceed, Ready, Release, Taken, Waiting, Warning,
        };
        [
            Attached,
            MapIds,
            IdsMapped,
            InitPid,
            Proceed,
            MountsReady,
            HooksDone,
            Console,
            Ready,
            Release,
            Waiting,
            Failed,
            Listener,
            Taken,
            Ambient,
            Warning,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

const HEAD: usize = layout::MESSAGE_LEN;
const TEXT: usize = 1024;

/// How long the runtime waits for a word before it looks what the child is doing.
pub const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub step: Option<Step>,
    /// An operation code of the last stage, 0 elsewhere.
    pub op: u32,
    pub errno: i32,
    /// Pid, descriptor or capability, by kind.
    pub number: i32,
    pub text: String,
    /// Who has sent it to a watched channel, by the kernel's word; 0 elsewhere. It does not travel.
    pub sender: i32,
}

impl Message {
    pub fn new(kind: Kind) -> Self {
        Self { kind, step: None, op: 0, errno: 0, number: 0, text: String::new(), sender: 0 }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind as u8, self.step.map_or(0, |step| step as u8), 0, 0];
        bytes.extend_from_slice(&self.op.to_ne_bytes());
        bytes.extend_from_slice(&self.errno.to_ne_bytes());
        bytes.extend_from_slice(&self.number.to_ne_bytes());
        let mut end = self.text.len().min(TEXT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        bytes.extend_from_slice(self.text.get(..end).unwrap_or_default().as_bytes());
        bytes
    }

    /// None for junk.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
        Some(Message {
            kind: Kind::from_code(*bytes.first()?)?,
            step: Step::from_code(*bytes.get(1)?),
            op: u32::from_ne_bytes(word(4)?),
            errno: i32::from_ne_bytes(word(8)?),
            number: i32::from_ne_bytes(word(12)?),
            text: String::from_utf8_lossy(bytes.get(HEAD..)?).into_owned(),
            sender: 0,
        })
    }
}

/// What a child could not do, and where.
#[derive(Debug)]
pub struct Failed {
    pub step: Step,
    pub error: Box<Error>,
}

impl Failed {
    /// The sentence is made here, where all of it is known.
    pub fn message(&self) -> Message {
        let text = self.error.to_string();
        Message { step: Some(self.step), errno: self.error.errno(), text, ..Message::new(Kind::Failed) }
    }
}

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(pub OwnedFd);

impl Channel {
    /// The runtime's end and the children's.
    pub fn pair() -> Result<(Self, Self)> {
        let (ours, theirs) = seqpacket_pair()?;
        Ok((Self(ours), Self(theirs)))
    }

    /// For the runtime, where processes of a container see a child of ours and may stop it, or hold its end of the channel
    /// and speak for it: messages name their sender, and nobody is waited for without a look ([`LOOK`]).
    pub fn watch(&self) -> Result<()> {
        watch(&self.0, LOOK)
    }

    pub fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<()> {
        send_with_fds(self.0.as_fd(), &message.encode(), fds)
    }

    /// Something that the operator should know, and no failure.
    pub fn warn(&self, text: &str) -> Result<()> {
        self.send(&Message { text: text.into(), ..Message::new(Kind::Warning) }, &[])
    }

    pub fn tell(&self, kind: Kind) -> Result<()> {
        self.send(&Message::new(kind), &[])
    }

    /// InitPid, with a pidfd if there is one and it may travel: the kernel lets no descriptor go (ETOOMANYREFS) from a user
    /// who has more of them in flight than RLIMIT_NOFILE, and our user may be the container's by now.
    pub fn introduce(&self, process: &Unseen) -> Result<()> {
        let message = Message { number: process.pid, ..Message::new(Kind::InitPid) };
        let pidfd: Vec<_> = process.pidfd.iter().map(AsFd::as_fd).collect();
        match self.send(&message, &pidfd) {
            Err(e) if e.errno() == libc::ETOOMANYREFS => self.send(&message, &[]),
            sent => sent,
        }
    }

    /// Console: the terminal's master; where it may not travel its number, for the runtime to take it.
    pub fn hand_master(&self, master: BorrowedFd<'_>) -> Result<()> {
        match self.send(&Message::new(Kind::Console), &[master]) {
            Err(e) if e.errno() == libc::ETOOMANYREFS => {}
            sent => return sent,
        }
        self.send(&Message { number: master.as_raw_fd(), ..Message::new(Kind::Console) }, &[])?;
        self.await_or_die(Kind::Taken);
        Ok(())
    }

    /// End-of-file for the other side; what it has said can still be heard.
    pub fn shut(&self) {
        // A peer that is gone already has its end-of-file.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// The next message; None at end-of-file. EAGAIN: a watched channel has been silent for a while.
    pub fn receive(&self) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut buffer = [0u8; HEAD + TEXT];
        let received = match recv_with_sender(self.0.as_fd(), &mut buffer) {
            // The peer died with a message of ours unread. The kernel says so once, before what the peer
            // still said and the end-of-file.
            Err(e) if e.errno() == libc::ECONNRESET => recv_with_sender(self.0.as_fd(), &mut buffer),
            received => received,
        };
        let received = received?;
        if received.length == 0 {
            return Ok(None);
        }
        let message = buffer.get(..received.length).and_then(Message::decode);
        let message = message.ok_or_else(|| Error::new("junk on the channel of init"))?;
        Ok(Some((Message { sender: received.sender, ..message }, received.fds)))
    }

    /// For children: waits for exactly `kind`; end-of-file means that the runtime is dead, and then so
    /// is the child (D: child safety net).
    pub fn await_or_die(&self, kind: Kind) -> Vec<OwnedFd> {
        match self.receive() {
            Ok(Some((message, fds))) if message.kind == kind => fds,
            _ => crate::sys::process::exit_now(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_round_trips_and_junk_is_refused() {
        for code in 0..=255u8 {
            let Some(kind) = Kind::from_code(code) else {
                assert_eq!(Message::decode(&[code; 16]), None);
                continue;
            };
            let message = Message { number: -3, errno: 2, text: "ä".repeat(3), ..Message::new(kind) };
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[Kind::Ready as u8]), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let message = Message { text: "ä".repeat(1000), ..Message::new(Kind::Warning) };
        let decoded = Message::decode(&message.encode()).map(|m| m.text.len());
        assert_eq!(decoded, Some(1024));
    }

    #[test]
    fn a_channel_carries_messages_and_its_end() {
        let (a, b) = Channel::pair().unwrap();
        a.tell(Kind::Ready).unwrap();
        drop(a);
        assert_eq!(b.receive().unwrap().map(|(m, _)| m.kind), Some(Kind::Ready));
        assert!(b.receive().unwrap().is_none());
    }

    #[test]
    fn the_last_words_of_a_peer_that_did_not_listen_are_heard() {
        let (a, b) = Channel::pair().unwrap();
        a.tell(Kind::Ready).unwrap();
        b.tell(Kind::HooksDone).unwrap();
        drop(a);
        assert_eq!(b.receive().unwrap().map(|(m, _)| m.kind), Some(Kind::Ready));
        assert!(b.receive().unwrap().is_none());
        assert_eq!(b.tell(Kind::HooksDone).unwrap_err().errno(), libc::EPIPE);
    }
}
