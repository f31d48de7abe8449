//! Log lines: text or JSON, to `--log` or to stderr, one write(2) each.
//!
//! Engines read the file: containerd wants the last line of level error, podman parses the whole file as
//! ONE object. So at the default level a failing command writes one error object and nothing else, and
//! warnings go out only with a success (amendment 25).

use crate::clock;
use crate::error::{Call, Doing, Result, printable};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug)]
pub struct Log {
    file: Option<OwnedFd>,
    format: Format,
    level: Level,
}

impl Log {
    /// Lines go to stderr.
    pub fn stderr(format: Format, level: Level) -> Self {
        Self { file: None, format, level }
    }

    pub fn open(path: &Path, format: Format, level: Level) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = rustix::fs::open(path, flags, mode)
            .call("open")
            .at_with(|| path.display().to_string())
            .doing("open the log")?;
        Ok(Self { file: Some(file), format, level })
    }

    /// The one error of a failing command: to the log, and plainly to stderr.
    pub fn error(&self, message: &str) {
        let message = &printable(message);
        if self.file.is_some() {
            self.line(Level::Error, message);
        }
        write_stderr(message);
    }

    /// Warnings of a command that succeeded; `--log-level error` silences them, as in crun.
    pub fn warn(&self, message: &str) {
        if self.level < Level::Warning {
            return;
        }
        let message = &printable(message);
        match self.file {
            Some(_) => self.line(Level::Warning, message),
            None => write_stderr(&format!("warning: {message}")),
        }
    }

    pub fn shows_debug(&self) -> bool {
        self.level >= Level::Debug
    }

    pub fn debug(&self, message: &str) {
        if self.shows_debug() {
            let message = &printable(message);
            match self.file {
                Some(_) => self.line(Level::Debug, message),
                None => write_stderr(&format!("debug: {message}")),
            }
        }
    }

    fn line(&self, level: Level, message: &str) {
        let text = render(self.format, level, message, &clock::now());
        if let Some(file) = &self.file {
            // A full or vanished log must not fail the command it reports on.
            let _ = rustix::io::write(file, text.as_bytes());
        }
    }
}

fn write_stderr(message: &str) {
    // One write per line; a closed stderr is the caller's wish.
    if rustix::io::write(rustix::stdio::stderr(), format!("{message}\n").as_bytes()).is_err() {}
}

fn render(format: Format, level: Level, message: &str, time: &str) -> String {
    let level = level.word();
    match format {
        Format::Json => format!("{}\n", serde_json::json!({"level": level, "msg": message, "time": time})),
        Format::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_engines_parse_them() {
        let json = render(Format::Json, Level::Error, "a \"b\"", "T");
        assert_eq!(json, "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"T\"}\n");
        assert_eq!(render(Format::Text, Level::Warning, "x", "T"), "time=\"T\" level=warning msg=\"x\"\n");
    }
}
