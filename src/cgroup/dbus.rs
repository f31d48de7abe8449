//! A D-Bus client that is just large enough for systemd: one connection, calls in turn, signals kept until asked for.
//!
//! In the runtime, before and after children are made; no threads, which a library would start before our forks.
//! Byte order is ours: both ends are on this machine. Every wait has a deadline: a manager that hangs must not hang
//! `create`. (Connecting and sending have `sys::socket`'s.) Wire format: D-Bus specification 0.41, "Message Protocol" and "Authentication Protocol".

use crate::error::{Call, Doing, Error, Result};
use crate::plan::cgroup::value::Value;
use crate::sys::socket::connect_unix_stream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest message we take; systemd's are a few hundred bytes.
const LONGEST: usize = 1 << 20;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
}

/// A message that came.
#[derive(Debug, Default)]
pub struct Message {
    kind: u8,
    answers: u32,
    pub member: String,
    error: String,
    body: Vec<u8>,
}

/// Why a call failed: the bus or the manager said no (with the D-Bus error name), or nothing could be said.
#[derive(Debug)]
pub enum Failure {
    Refused { name: String, text: String },
    Lost(Error),
}

impl Failure {
    /// The errno that a refusal stands for (sd_bus_error_set_errno(3)), or 0.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Refused { name, .. } => match name.as_str() {
                "System.Error.EBUSY" => libc::EBUSY,
                "System.Error.EOPNOTSUPP" => libc::EOPNOTSUPP,
                _ => 0,
            },
            Self::Lost(error) => error.errno(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { name, text } => Error::new(format!("{text} ({name})")),
            Failure::Lost(error) => error,
        }
    }
}

/// EXTERNAL without a name: we are whom the kernel tells the server of, whatever number that is on its side of a user
/// namespace, as sd-bus does since systemd 242. All in one: a systemd that waits for BEGIN reads the first message along with
/// it, and does not look at that before the next one comes. The leading zero byte carries our credentials. The answers are
/// DATA and OK, or twice OK from an older systemd.
const NAMELESS: &str = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

#[derive(Debug)]
pub struct Bus {
    socket: OwnedFd,
    /// How long an answer may take.
    pub patience: Duration,
    serial: u32,
    received: Vec<u8>,
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects and says who we are: `uid` as the server sees it (the outer one in a user namespace), if it asks.
    pub fn connect(path: &Path, uid: u32, patience: Duration) -> Result<Self> {
        let mut bus = Self::new(connect_unix_stream(path)?, patience);
        let mut answer = bus.greet(NAMELESS, 2);
        let asks = match &answer {
            Ok(line) => !line.starts_with("OK "),
            Err(e) => e.errno() != libc::ETIMEDOUT,
        };
        if asks {
            let identity: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
            bus = Self::new(connect_unix_stream(path)?, patience);
            answer = bus.greet(&format!("\0AUTH EXTERNAL {identity}\r\nBEGIN\r\n"), 1);
        }
        let doing = || format!("be let in by the bus at {}", path.display());
        match answer.doing_with(doing)? {
            line if line.starts_with("OK ") => Ok(bus),
            line => Err(Error::new(format!("it does not accept uid {uid}: {line}"))).doing_with(doing),
        }
    }

    fn new(socket: OwnedFd, patience: Duration) -> Self {
        Self { socket, patience, serial: 0, received: Vec::new(), signals: VecDeque::new() }
    }

    /// The dialogue before the messages; gives the last of `answers` lines, or the first refusal.
    fn greet(&mut self, lines: &str, answers: u32) -> Result<String> {
        let deadline = Instant::now() + self.patience;
        self.send(lines.as_bytes())?;
        let mut line = String::new();
        for _ in 0..answers {
            line = self.line(deadline)?;
            if line.starts_with("REJECTED") {
                break;
            }
        }
        Ok(line)
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let rest = self.received.split_off(end + 2);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.received.len() > LONGEST {
                return Err(Error::new("its answer has no end"));
            }
            self.receive(deadline)?;
        }
    }

    /// Calls a method and waits for its reply.
    pub fn call(&mut self, target: &Target, member: &str, arguments: &[Value]) -> Result<Message, Failure> {
        self.serial += 1;
        let serial = self.serial;
        let message = encode(serial, target, member, arguments);
        self.send(&message)?;
        let deadline = Instant::now() + self.patience;
        loop {
            let message = self.next(deadline).map_err(|e| e.doing(format!("call {member}")))?;
            match message.kind {
                REPLY if message.answers == serial => return Ok(message),
                ERROR if message.answers == serial => {
                    let text = message.reader().string().unwrap_or_default();
                    return Err(Failure::Refused { name: message.error, text });
                }
                SIGNAL => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal, from those that have come in between first.
    pub fn signal(&mut self, deadline: Instant) -> Result<Message> {
        if let Some(message) = self.signals.pop_front() {
            return Ok(message);
        }
        loop {
            let message = self.next(deadline)?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let sent =
                rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL))
                    .call("send")?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut polls = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut polls, Some(&timeout)) {
            Ok(0) => return Err(Error::sys("poll", libc::ETIMEDOUT)),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno).call("poll"),
        }
        let mut chunk = [0; 4096];
        let (_, size) = rustix::net::recv(&self.socket, &mut chunk[..], RecvFlags::DONTWAIT).call("recv")?;
        if size == 0 {
            return Err(Error::new("the bus has closed the connection"));
        }
        self.received.extend_from_slice(&chunk[..size]);
        Ok(())
    }

    fn next(&mut self, deadline: Instant) -> Result<Message> {
        loop {
            if let Some(length) = length(&self.received)?
                && self.received.len() >= length
            {
                let rest = self.received.split_off(length);
                return decode(std::mem::replace(&mut self.received, rest));
            }
            self.receive(deadline)?;
        }
    }
}

impl Message {
    /// Reads the body from its start.
    pub fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// What is left of a message to be read.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, align: usize, size: usize) -> Option<&[u8]> {
        let start = self.at.next_multiple_of(align);
        let taken = self.bytes.get(start..start.checked_add(size)?)?;
        self.at = start + size;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1, 1).map(|bytes| bytes[0])
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take(4, 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
    }

    /// A string or an object path.
    pub fn string(&mut self) -> Option<String> {
        let size = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(1, size)?).into_owned();
        self.take(1, 1).map(|_| text)
    }

    pub fn signature(&mut self) -> Option<String> {
        let size = self.byte()?.into();
        let text = String::from_utf8_lossy(self.take(1, size)?).into_owned();
        self.take(1, 1).map(|_| text)
    }
}

/// Length of the message at the start of `bytes`; None while its fixed part is not there.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < 16 {
        return Ok(None);
    }
    if bytes[0] != byte_order() {
        return Err(Error::new("the bus speaks in another byte order"));
    }
    let mut fixed = Reader { bytes, at: 4 };
    let body = fixed.u32().unwrap_or(0) as usize;
    fixed.at = 12;
    let fields = fixed.u32().unwrap_or(0) as usize;
    match (16 + fields).next_multiple_of(8) + body {
        length if length <= LONGEST => Ok(Some(length)),
        length => Err(Error::new(format!("the bus sends a message of {length} bytes"))),
    }
}

fn decode(bytes: Vec<u8>) -> Result<Message> {
    let cut = || Error::new("the bus sends a broken message");
    let mut reader = Reader { bytes: &bytes, at: 12 };
    let size = reader.u32().ok_or_else(cut)? as usize;
    let end = 16 + size;
    let mut message = Message { kind: bytes[1], ..Message::default() };
    while reader.at < end {
        // Struct of a byte and a variant.
        reader.take(8, 0).ok_or_else(cut)?;
        let code = reader.byte().ok_or_else(cut)?;
        let signature = reader.signature().ok_or_else(cut)?;
        match (code, signature.as_str()) {
            (3, "s") => message.member = reader.string().ok_or_else(cut)?,
            (4, "s") => message.error = reader.string().ok_or_else(cut)?,
            (5, "u") => message.answers = reader.u32().ok_or_else(cut)?,
            (_, "s" | "o") => drop(reader.string().ok_or_else(cut)?),
            (_, "g") => drop(reader.signature().ok_or_else(cut)?),
            (_, "u") => drop(reader.u32().ok_or_else(cut)?),
            // "Unknown fields must be ignored", but there is no telling how long this one is.
            _ => return Err(cut()),
        }
    }
    message.body = bytes.get(end.next_multiple_of(8)..).ok_or_else(cut)?.to_vec();
    Ok(message)
}

const fn byte_order() -> u8 {
    if cfg!(target_endian = "little") { b'l' } else { b'B' }
}

fn encode(serial: u32, target: &Target, member: &str, arguments: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|value| put(&mut body, value));
    let signature: String = arguments.iter().map(Value::signature).collect();
    // Direction, kind, no flags, version 1.
    let mut out = vec![byte_order(), CALL, 0, 1];
    out.extend((body.len() as u32).to_ne_bytes());
    out.extend(serial.to_ne_bytes());
    let length_at = out.len();
    out.extend([0; 4]);
    let fields =
        [(1, "o", target.path), (6, "s", target.destination), (2, "s", target.interface), (3, "s", member)];
    for (code, kind, text) in fields.into_iter().filter(|(_, _, text)| !text.is_empty()) {
        pad(&mut out, 8);
        out.push(code);
        put_signature(&mut out, kind);
        put_string(&mut out, text);
    }
    if !signature.is_empty() {
        pad(&mut out, 8);
        out.push(8);
        put_signature(&mut out, "g");
        put_signature(&mut out, &signature);
    }
    let size = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&size.to_ne_bytes());
    pad(&mut out, 8);
    out.extend(body);
    out
}

fn pad(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    out.extend((text.len() as u32).to_ne_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

fn put_signature(out: &mut Vec<u8>, signature: &str) {
    out.push(signature.len() as u8);
    out.extend(signature.as_bytes());
    out.push(0);
}

/// Alignment of a value by its signature.
fn align(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'(') => 8,
        _ => 4,
    }
}

fn put(out: &mut Vec<u8>, value: &Value) {
    pad(out, align(&value.signature()));
    match value {
        Value::Bool(b) => out.extend(u32::from(*b).to_ne_bytes()),
        Value::Byte(n) => out.push(*n),
        Value::Int16(n) => out.extend(n.to_ne_bytes()),
        Value::Uint16(n) => out.extend(n.to_ne_bytes()),
        Value::Int32(n) => out.extend(n.to_ne_bytes()),
        Value::Uint32(n) => out.extend(n.to_ne_bytes()),
        Value::Int64(n) => out.extend(n.to_ne_bytes()),
        Value::Uint64(n) => out.extend(n.to_ne_bytes()),
        Value::Text(text) => put_string(out, text),
        Value::Variant(value) => {
            put_signature(out, &value.signature());
            put(out, value);
        }
        Value::Tuple(fields) => fields.iter().for_each(|field| put(out, field)),
        Value::Array(element, values) => {
            let length_at = out.len();
            out.extend([0; 4]);
            // The padding before the first element does not count.
            pad(out, align(element));
            let start = out.len();
            values.iter().for_each(|value| put(out, value));
            let size = (out.len() - start) as u32;
            out[length_at..length_at + 4].copy_from_slice(&size.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> = Target { destination: "a.b", path: "/c", interface: "d.e" };

    #[test]
    fn a_message_comes_back_as_it_went() {
        let list = Value::Array(
            "(sv)".into(),
            vec![Value::Tuple(vec![Value::text("Delegate"), Value::Variant(Box::new(Value::Bool(true)))])],
        );
        let bytes = encode(7, &TARGET, "Do", &[Value::text("unit"), list, Value::Uint64(9)]);
        assert_eq!(length(&bytes).unwrap(), Some(bytes.len()));
        let message = decode(bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (CALL, "Do"));
        let mut body = message.reader();
        assert_eq!(body.string().as_deref(), Some("unit"));
        // The array: its length, its one struct at a multiple of 8, a padded boolean in it.
        assert_eq!(body.u32(), Some(4 + 8 + 1 + 3 + 4));
        assert_eq!(body.at, 16);
    }

    /// For each connection what is said, and what a server answers to it.
    fn connected(dialogues: &'static [(&str, &str)]) -> Result<()> {
        use std::io::{Read, Write};
        let dir = std::env::temp_dir().join(format!("orlop-bus-{}-{}", std::process::id(), dialogues.len()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("bus");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            for (said, answer) in dialogues {
                let mut client = listener.accept().unwrap().0;
                let mut heard = vec![0; said.len()];
                client.read_exact(&mut heard).unwrap();
                assert_eq!(String::from_utf8(heard).unwrap(), *said);
                client.write_all(answer.as_bytes()).unwrap();
            }
        });
        let done = Bus::connect(&path, 7, Duration::from_secs(30)).map(drop);
        server.join().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        done
    }

    #[test]
    fn who_we_are_is_named_only_where_it_must_be() {
        const NAMED: &str = "\0AUTH EXTERNAL 37\r\nBEGIN\r\n";
        let no = "REJECTED EXTERNAL\r\n";
        connected(&[(NAMELESS, "DATA\r\nOK 01ab\r\n")]).unwrap();
        connected(&[(NAMELESS, "OK 01ab\r\nOK 01ab\r\n")]).unwrap();
        for refusal in ["DATA\r\nREJECTED EXTERNAL\r\n", "REJECTED EXTERNAL\r\nERROR\r\nERROR\r\n", ""] {
            connected(vec![(NAMELESS, refusal), (NAMED, "OK 01ab\r\n")].leak()).unwrap();
        }
        let refused = connected(vec![(NAMELESS, no), (NAMED, no)].leak()).unwrap_err();
        assert!(refused.to_string().contains("uid 7: REJECTED"), "{refused}");
    }

    #[test]
    fn cut_messages_are_errors() {
        let bytes = encode(1, &TARGET, "Do", &[Value::text("x")]);
        for end in 16..bytes.len() {
            let mut cut = bytes[..end].to_vec();
            // Either it is known to be incomplete or its fields cannot be read; never a panic.
            let _ = length(&cut);
            let _ = decode(std::mem::take(&mut cut));
        }
        assert!(length(&[byte_order(), 1, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
