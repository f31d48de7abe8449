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
            level: Level::Warning,
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
            break Ok(Request::Command(text, args.collect()));
        }
        match option(&mut global, &text, &mut args) {
            Ok(None) => {}
            Ok(Some(request)) => break Ok(request),
            Err(e) => break Err(e),
        }
    };
    (global, request)
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
    // Go's flags, and runc's with them, may have one dash.
    let with_two = format!("-{name}");
    let name = if name.len() > 2 && !name.starts_with("--") { with_two.as_str() } else { name };
    let mut value = |what: &str| {
        let value = inline.clone().or_else(|| rest.next()).filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::new(format!("{name} needs {what}")))
    };
    match name {
        "--version" | "-v" | "-V" => return Ok(Some(Request::Version)),
        "--help" | "-h" | "-?" => return Ok(Some(Request::Help)),
        "--root" => global.root = Some(value("a directory")?.into()),
        "--log" => {
            let file = inline.or_else(|| rest.next()).ok_or_else(|| Error::new("--log needs a file"))?;
            global.log = log_file(file)?;
        }
        "--log-format" => global.format = format(&value("text or json")?.to_string_lossy())?,
        "--log-level" => global.level = level(&value("a level")?.to_string_lossy())?,
        "--debug" => {
            if flag(name, inline.as_ref())? {
                global.level = Level::Debug;
            }
        }
        "--systemd-cgroup" | "-s" => {
            global.driver = match flag(name, inline.as_ref())? {
                true => Driver::Systemd,
                false => Driver::Cgroupfs,
            };
        }
        "--cgroup-manager" => global.driver = driver(&value("a manager")?.to_string_lossy())?,
        "--rootless" => {
            let text = inline.or_else(|| rest.next());
            let text = text.ok_or_else(|| Error::new("--rootless needs true, false or auto"))?;
            global.rootless = rootless(&text.to_string_lossy())?;
        }
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

/// As crun reads it, which has other destinations than files. A file of such a name can be given as `./syslog:x`.
fn log_file(to: OsString) -> Result<Option<PathBuf>> {
    let text = to.to_string_lossy();
    if text.starts_with("journald:") || text.starts_with("syslog:") {
        return Err(Error::new(format!("--log {text}: only a file can be logged to")));
    }
    let file = match text.strip_prefix("file:") {
        Some(path) => path.into(),
        None => to,
    };
    Ok((!file.is_empty()).then(|| file.into()))
}

fn flag(name: &str, inline: Option<&OsString>) -> Result<bool> {
    let Some(value) = inline.map(|value| value.to_string_lossy().into_owned()) else { return Ok(true) };
    truth(&value).ok_or_else(|| Error::new(format!("{name}={value}: not true or false")))
}

/// The words of a boolean option's value (Go's strconv.ParseBool).
pub fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
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
    match (text, truth(text)) {
        ("auto" | "", _) => Ok(None),
        (_, Some(value)) => Ok(Some(value)),
        _ => Err(Error::new(format!("--rootless {text:?}: not true, false or auto"))),
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
    fn as_go_reads_them() {
        let (global, _) =
            parsed("-root /a -log-level=debug -rootless=TRUE --systemd-cgroup -systemd-cgroup=0 list");
        assert_eq!(global.root.as_deref(), Some(std::path::Path::new("/a")));
        assert_eq!(
            (global.level, global.rootless, global.driver),
            (Level::Debug, Some(true), Driver::Cgroupfs)
        );
        let (global, request) =
            parse(["--log", "/l", "--log", "", "--rootless", "", "list"].map(OsString::from));
        assert_eq!((global.log, global.rootless, request.is_ok()), (None, None, true));
    }

    #[test]
    fn a_log_is_a_file_whatever_crun_calls_it() {
        for (text, file) in
            [("/l", Some("/l")), ("file:/l", Some("/l")), ("file:l", Some("l")), ("file:", None)]
        {
            let (global, request) = parse(["--log", text, "list"].map(OsString::from));
            assert_eq!(
                (global.log.as_deref(), request.is_ok()),
                (file.map(std::path::Path::new), true),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_values_name_the_option() {
        for (line, words) in [
            ("--log-format xml list", "unknown log-format \"xml\""),
            ("--frob list", "unknown option --frob"),
            ("--log journald:x list", "--log journald:x: only a file"),
            ("--log=syslog:x list", "--log syslog:x: only a file"),
            ("--root", "--root needs a directory"),
            ("--root= list", "--root needs a directory"),
            ("--rootless maybe", "not true, false or auto"),
        ] {
            assert!(parsed(line).1.unwrap_err().to_string().contains(words), "{line}");
        }
    }
}
