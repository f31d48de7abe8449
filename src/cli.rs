//! Global options and the choice of the command. The global part is read by a short loop that stops at
//! the command's name; only the chosen command's own arguments meet clap (the whole tree would cost
//! more than reading config.json).

use crate::error::{Error, Result};
use crate::log::{Format, Level};
use crate::plan::cgroup::Driver;
use std::ffi::OsString;
use std::path::PathBuf;

/// What stands before the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// `--root` as given; None = the default of this user.
    pub root: Option<PathBuf>,
    pub log: Option<PathBuf>,
    pub format: Format,
    pub level: Level,
    pub driver: Driver,
    /// `--rootless`: None = auto.
    pub rootless: Option<bool>,
    /// Remarks for the debug level: options that are accepted and ignored.
    pub remarks: Vec<String>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            root: None,
            log: None,
            format: Format::Text,
            level: Level::Error,
            driver: Driver::Cgroupfs,
            rootless: None,
            remarks: Vec::new(),
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    Version,
    /// `--help`, or no command at all.
    Help,
    Command(String, Vec<OsString>),
}

/// Splits the arguments (without argv[0]) at the command. Options may be repeated: the last one holds.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> (Global, Result<Request>) {
    let mut global = Global::default();
    let mut args = args.into_iter();
    let request = loop {
        let Some(arg) = args.next() else { break Ok(Request::Help) };
        let text = arg.to_string_lossy().into_owned();
        if !text.starts_with('-') || text == "-" {
            break Ok(Request::Command(text, args.map(long_form).collect()));
        }
        match option(&mut global, &text, &mut args) {
            Ok(None) => {}
            Ok(Some(request)) => break Ok(request),
            Err(e) => break Err(e),
        }
    };
    (global, request)
}

/// go-runc writes `-no-subreaper` with one dash.
fn long_form(arg: OsString) -> OsString {
    if arg == "-no-subreaper" { "--no-subreaper".into() } else { arg }
}

fn option(
    global: &mut Global,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<Option<Request>> {
    let (name, inline) = match text.split_once('=') {
        Some((name, value)) => (name, Some(OsString::from(value))),
        None => (text, None),
    };
    let mut value = |what: &str| {
        let value = inline.clone().or_else(|| rest.next()).filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::new(format!("{name} needs {what}")))
    };
    match name {
        "--version" | "-v" | "-V" => return Ok(Some(Request::Version)),
        "--help" | "-h" | "-?" => return Ok(Some(Request::Help)),
        "--root" => global.root = Some(value("a directory")?.into()),
        "--log" => global.log = Some(value("a file")?.into()),
        "--log-format" => global.format = format(&value("text or json")?.to_string_lossy())?,
        "--log-level" => global.level = level(&value("a level")?.to_string_lossy())?,
        "--debug" => {
            if flag(name, inline.as_ref())? {
                global.level = Level::Debug;
            }
        }
        "--systemd-cgroup" | "-s" => {
            if flag(name, inline.as_ref())? {
                global.driver = Driver::Systemd;
            }
        }
        "--cgroup-manager" => global.driver = driver(&value("a manager")?.to_string_lossy())?,
        "--rootless" => global.rootless = rootless(&value("true, false or auto")?.to_string_lossy())?,
        "--criu" => {
            value("a path")?;
            global.remarks.push("--criu is ignored: criu is found on the search path".into());
        }
        other => {
            return Err(Error::new(format!("unknown option {other}")).hint("orlop --help lists the options"));
        }
    }
    Ok(None)
}

fn flag(name: &str, inline: Option<&OsString>) -> Result<bool> {
    match inline.map(|value| value.to_string_lossy().into_owned()).as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(Error::new(format!("{name}={other}: not true or false"))),
    }
}

fn format(text: &str) -> Result<Format> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => Err(Error::new(format!("unknown log-format {other:?}"))),
    }
}

fn level(text: &str) -> Result<Level> {
    match text {
        "error" => Ok(Level::Error),
        "warn" | "warning" => Ok(Level::Warning),
        "info" => Ok(Level::Info),
        "debug" | "trace" => Ok(Level::Debug),
        other => Err(Error::new(format!("unknown log-level {other:?}"))),
    }
}

fn driver(text: &str) -> Result<Driver> {
    match text {
        "cgroupfs" => Ok(Driver::Cgroupfs),
        "systemd" => Ok(Driver::Systemd),
        "disabled" => Ok(Driver::Disabled),
        other => Err(Error::new(format!("unknown cgroup-manager {other:?}"))),
    }
}

fn rootless(text: &str) -> Result<Option<bool>> {
    match text {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        "auto" => Ok(None),
        other => Err(Error::new(format!("--rootless {other:?}: not true, false or auto"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (Global, Result<Request>) {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_containerd_and_conmon_write() {
        let (global, request) =
            parsed("--root /r/ns --log /b/log.json --log-format json --systemd-cgroup create --bundle /b ID");
        assert_eq!(global.root.as_deref(), Some(std::path::Path::new("/r/ns")));
        assert_eq!((global.format, global.driver), (Format::Json, Driver::Systemd));
        let args = ["--bundle", "/b", "ID"].map(OsString::from).to_vec();
        assert_eq!(request.unwrap(), Request::Command("create".into(), args));
        // conmon-rs repeats globals; podman has --opt=value.
        let (global, _) = parsed("--root=/a --root /b --cgroup-manager=disabled --rootless auto list");
        assert_eq!(global.root.as_deref(), Some(std::path::Path::new("/b")));
        assert_eq!(global.driver, Driver::Disabled);
    }

    #[test]
    fn wrong_values_name_the_option() {
        for (line, words) in [
            ("--log-format xml list", "unknown log-format \"xml\""),
            ("--frob list", "unknown option --frob"),
            ("--root", "--root needs a directory"),
            ("--root= list", "--root needs a directory"),
            ("--rootless maybe", "not true, false or auto"),
        ] {
            assert!(parsed(line).1.unwrap_err().to_string().contains(words), "{line}");
        }
    }
}
