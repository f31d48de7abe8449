//! The one error type below the commands.
//!
//! An error is a sentence built from parts: what was being done (outermost phrase first), why it failed
//! (errno in the words that callers match on, or a text of ours), where (config field, path, system
//! call) and the way out. It is rendered once, on one line, by whoever ends the command:
//! `mount proc on /proc: operation not permitted (mounts[0], fsmount); hint: …`.

use std::borrow::Cow;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The few distinctions that commands make between errors; everything else is in the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Other,
    /// No container of that id: `delete --force` takes it for success.
    NoContainer,
    /// Somebody else has had the container's lock for too long.
    Held,
}

/// See the module text. Made by [`Error::new`], [`Error::field`] or `.call("name")` on a result.
#[derive(Debug, Clone, Default)]
pub struct Error {
    /// Imperative phrases, innermost first.
    doing: Vec<Cow<'static, str>>,
    /// The cause in words; without it errno speaks.
    what: Cow<'static, str>,
    errno: i32,
    /// Config field, path, object: the innermost wins.
    place: Option<Cow<'static, str>>,
    /// The system call that failed.
    call: Option<&'static str>,
    hint: Option<Cow<'static, str>>,
    kind: Kind,
}

impl Error {
    /// An error that is no errno: `what` is the whole cause, lower case, no trailing dot.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// A fault in the configuration, named by its JSON path: `Error::field("process.cwd", "is not absolute")`
    /// reads `process.cwd: is not absolute`.
    pub fn field(path: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::new(format!("{path}: {problem}"))
    }

    /// A failed system call `call` with its errno.
    pub fn sys(call: &'static str, errno: i32) -> Self {
        Self { errno, call: Some(call), ..Self::default() }
    }

    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Calls what came by a flag by its name, not by that of the config field which it stands for.
    pub fn with_flag(mut self, field: &str, flag: &str) -> Self {
        for text in self.place.iter_mut().chain([&mut self.what]).filter(|text| text.contains(field)) {
            *text = text.replace(field, flag).into();
        }
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno, 0 when the cause was not one.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// Adds what was being done, around what is there: one imperative phrase per layer.
    pub fn doing(mut self, phrase: impl Into<Cow<'static, str>>) -> Self {
        self.doing.push(phrase.into());
        self
    }

    /// Names the field, path or object; one that is already there is closer to the cause and stays.
    pub fn at(mut self, place: impl Into<Cow<'static, str>>) -> Self {
        if self.place.is_none() {
            self.place = Some(place.into());
        }
        self
    }

    /// Adds the way out; an earlier hint is closer to the cause and stays.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        if self.hint.is_none() {
            self.hint = Some(hint.into());
        }
        self
    }

    /// Several problems as one error, joined by `; `. None for an empty list.
    pub fn joined(errors: Vec<Error>) -> Option<Error> {
        let mut errors = errors;
        if errors.len() < 2 {
            return errors.pop();
        }
        let text = errors.iter().map(Error::to_string).collect::<Vec<_>>().join("; ");
        Some(Error::new(text))
    }
}

/// errno in Go's words: engines choose their own exit code by them (contract: `permission denied`,
/// `no such file or directory`, … in lower case).
pub fn errno_text(errno: i32) -> String {
    // libc's, which are Go's but for the first letter; nix has others (`out of memory` for ENOMEM).
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}

/// `text` for a terminal: what an image or a hook puts into it (names, command lines) does not steer the operator's.
/// Control characters of all kinds (C0, DEL, C1) become `\x1b` and the like; everything else stays.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            true => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown.into()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phrase in self.doing.iter().rev() {
            write!(f, "{phrase}: ")?;
        }
        if self.what.is_empty() {
            f.write_str(&errno_text(self.errno))?
        } else {
            f.write_str(&self.what)?
        }
        match (&self.place, self.call) {
            (Some(place), Some(call)) => write!(f, " ({place}, {call})")?,
            (Some(place), None) => write!(f, " ({place})")?,
            (None, Some(call)) => write!(f, " ({call})")?,
            (None, None) => {}
        }
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Phrases added to a result on its way up.
pub trait Doing<T> {
    fn doing(self, phrase: impl Into<Cow<'static, str>>) -> Result<T>;
    /// The same, with the phrase made only when needed.
    fn doing_with<P: Into<Cow<'static, str>>>(self, phrase: impl FnOnce() -> P) -> Result<T>;
    fn at(self, place: impl Into<Cow<'static, str>>) -> Result<T>;
    fn at_with<P: Into<Cow<'static, str>>>(self, place: impl FnOnce() -> P) -> Result<T>;
    fn hint(self, hint: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T> Doing<T> for Result<T> {
    fn doing(self, phrase: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| e.doing(phrase))
    }
    fn doing_with<P: Into<Cow<'static, str>>>(self, phrase: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|e| e.doing(phrase()))
    }
    fn at(self, place: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| e.at(place))
    }
    fn at_with<P: Into<Cow<'static, str>>>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|e| e.at(place()))
    }
    fn hint(self, hint: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|e| e.hint(hint))
    }
}

/// Turns the errno of any wrapper crate into an [`Error`] that names the system call.
pub trait Call<T> {
    fn call(self, name: &'static str) -> Result<T>;
}

impl<T> Call<T> for std::result::Result<T, rustix::io::Errno> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|e| Error::sys(name, e.raw_os_error()))
    }
}

impl<T> Call<T> for std::result::Result<T, nix::errno::Errno> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|e| Error::sys(name, e as i32))
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|e| match e.raw_os_error() {
            Some(errno) => Error::sys(name, errno),
            None => Error { call: Some(name), ..Error::new(e.to_string()) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_from_all_parts() {
        let e = Error::sys("fsmount", libc::EPERM)
            .at("mounts[0]")
            .at("outer place is ignored")
            .doing("mount proc on /proc")
            .doing("create c1")
            .hint("give the container its own pid namespace");
        assert_eq!(
            e.to_string(),
            "create c1: mount proc on /proc: operation not permitted (mounts[0], fsmount); \
             hint: give the container its own pid namespace"
        );
    }

    #[test]
    fn problems_of_a_config_are_joined() {
        let e = Error::joined(vec![
            Error::field("process.cwd", "is not absolute"),
            Error::field("root.path", "is empty"),
        ]);
        assert_eq!(
            e.map(|e| e.to_string()),
            Some("process.cwd: is not absolute; root.path: is empty".into())
        );
        assert!(Error::joined(vec![]).is_none());
    }

    #[test]
    fn what_steers_a_terminal_is_shown_in_words() {
        assert_eq!(printable("a\x1b]0;b\x07\r\u{7f}\u{9b}2J\n"), r"a\x1b]0;b\x07\x0d\x7f\x9b2J\x0a");
        assert!(matches!(printable("é \\ “x” … 語"), Cow::Borrowed("é \\ “x” … 語")));
    }

    #[test]
    fn errno_words_are_lower_case() {
        assert_eq!(errno_text(libc::ENOENT), "no such file or directory");
        assert_eq!(errno_text(libc::EACCES), "permission denied");
        assert_eq!(errno_text(libc::ENOMEM), "cannot allocate memory");
        assert_eq!(errno_text(libc::ELOOP), "too many levels of symbolic links");
        assert_eq!(errno_text(libc::EAGAIN), "resource temporarily unavailable");
        assert_eq!(errno_text(4095), "unknown error 4095");
    }
}
