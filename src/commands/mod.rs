//! The commands: one file each, arguments and `run`. Here: from argv to one exit code.

mod create;
mod delete;
mod events;
mod exec;
mod explain;
mod features;
mod go_flags;
mod kill;
mod list;
mod pause;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod update;

use crate::cli::{self, Global, Request};
use crate::error::{Doing, Error, Result, printable};
use crate::log::{Format, Level, Log};
use crate::state::{Entry, Record, Root};
use clap::Parser;
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The default of `--root` for the host's root.
const DEFAULT_ROOT: &str = "/run/orlop";

/// What every command gets besides its own arguments.
#[derive(Debug)]
pub struct Context {
    pub global: Global,
    pub log: Log,
    /// Descriptors from 3 on that the caller left open in a row.
    pub inherited_fds: u32,
    /// Until the outcome is known: a command that fails says them in its one line.
    warnings: RefCell<Vec<String>>,
}

/// How a command ends when it does not fail: its exit code.
pub type Outcome = anyhow::Result<i32>;

/// Runs one command line (without argv[0]) and returns the exit code. Only one line describes a failure:
/// in the log if there is one, and on stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    // Before anything is opened: the numbers of the caller's descriptors must be told from ours.
    let inherited = crate::process::stdio::sanitise();
    let (global, request) = cli::parse(args);
    let log = match &global.log {
        None => Ok(Log::stderr(global.format, global.level)),
        Some(path) => Log::open(path, global.format, global.level),
    };
    let log = match log {
        Ok(log) => log,
        Err(e) => {
            Log::stderr(Format::Text, Level::Error).error(&e.to_string());
            return 1;
        }
    };
    for remark in &global.remarks {
        log.debug(remark);
    }
    let inherited_fds = *inherited.as_ref().unwrap_or(&0);
    let context = Context { global, log, inherited_fds, warnings: RefCell::default() };
    let request = inherited.and(request).map_err(anyhow::Error::from);
    // A caller of exec must be able to tell our failure from the program's status.
    let failure = match &request {
        Ok(Request::Command(name, _)) if name == "exec" => 255,
        _ => 1,
    };
    match request.and_then(|request| dispatch(&context, request)) {
        Ok(code) => {
            context.say_warnings();
            code
        }
        Err(e) => {
            let mut text = one_line(&format!("{e:#}"));
            let warnings = context.warnings.take();
            if !warnings.is_empty() {
                text += " ";
                text += &one_line(&format!("(warnings before: {})", warnings.join("; ")));
            }
            context.log.error(&text);
            failure
        }
    }
}

/// Whatever a path, a hook or a library put into the text: log readers expect one line, and terminals no commands.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 2048;
    let line = text.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let line = printable(&line).into_owned();
    match line.len() > LONGEST {
        // Both ends tell more than the middle of a path of 70 kB.
        true => {
            let head: String = line.chars().take(LONGEST / 2).collect();
            let tail: Vec<char> = line.chars().rev().take(LONGEST / 4).collect();
            format!("{head} … {}", tail.into_iter().rev().collect::<String>())
        }
        false => line,
    }
}

fn dispatch(context: &Context, request: Request) -> Outcome {
    let (name, args) = match request {
        Request::Version => return print(&version()),
        Request::Help => return print(HELP),
        Request::Command(name, args) => (name, args),
    };
    match name.as_str() {
        "create" => with(&name, args, |args| create::run(context, &args)),
        "run" => with(&name, args, |args| run::run(context, &args)),
        "start" => with(&name, args, |args| start::run(context, &args)),
        "state" => with(&name, args, |args| state::run(context, &args)),
        "exec" => with(&name, args, |args| exec::run(context, &args)),
        "pause" => with(&name, args, |args| pause::run(context, &args)),
        "resume" => with(&name, args, |args| pause::resume(context, &args)),
        "update" => with(&name, args, |args| update::run(context, &args)),
        "events" => with(&name, args, |args| events::run(context, &args)),
        "ps" => with(&name, args, |args| ps::run(context, &args)),
        "kill" => with(&name, args, |args| kill::run(context, &args)),
        "delete" => with(&name, args, |args| delete::run(context, &args)),
        "list" => with(&name, args, |args| list::run(context, &args)),
        "spec" => with(&name, args, |args| spec::run(context, &args)),
        "features" => with(&name, args, |args| features::run(context, &args)),
        "explain" => with(&name, args, |args| explain::run(context, &args)),
        "help" => help(context, args),
        "version" => print(&version()),
        other => {
            let known = ["checkpoint", "restore"];
            let text = if known.contains(&other) {
                format!("command {other} is not supported by this version")
            } else {
                format!("unknown command {other:?}")
            };
            Err(Error::new(text).hint("orlop --help lists the commands").into())
        }
    }
}

/// `help`, `help COMMAND`.
fn help(context: &Context, args: Vec<OsString>) -> Outcome {
    match args.into_iter().next().map(|name| name.to_string_lossy().into_owned()) {
        Some(name) if name != "help" => dispatch(context, Request::Command(name, vec!["--help".into()])),
        _ => print(HELP),
    }
}

/// Parses the command's own arguments with its own small parser and runs it.
fn with<A: Parser>(name: &str, args: Vec<OsString>, run: impl FnOnce(A) -> Outcome) -> Outcome {
    let command = A::command();
    let args = go_flags::rewrite(&command, args);
    let argv = std::iter::once(OsString::from(format!("orlop {name}"))).chain(args);
    match command.try_get_matches_from(argv).and_then(|matches| A::from_arg_matches(&matches)) {
        Ok(args) => run(args),
        Err(e) if !e.use_stderr() => print(&e.to_string()),
        Err(e) => Err(usage(name, &e.to_string()).into()),
    }
}

/// clap's text on one line, without its own prefix, tips and usage block: the hint leads to the help.
fn usage(name: &str, text: &str) -> Error {
    let end = ["\n\nUsage", "\n\n  tip:", "\n\nFor more"].iter().filter_map(|mark| text.find(mark)).min();
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    let text = one_line(text.trim_start_matches("error: "));
    Error::new(text).doing(name.to_owned()).hint(format!("orlop {name} --help"))
}

/// Data for stdout, in one write where it fits.
fn print(text: &str) -> Outcome {
    // A reader that has seen enough (`| head`) is no failure.
    write_out(text)?;
    Ok(0)
}

/// The same; false when nobody reads any more.
fn write_out(text: &str) -> Result<bool> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::PIPE) => return Ok(false),
            Err(e) => return Err(Error::sys("write", e.raw_os_error()).doing("write to stdout")),
        }
    }
    Ok(true)
}

fn version() -> String {
    format!(
        "orlop version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("ORLOP_COMMIT"),
        crate::container::hooks::OCI_VERSION
    )
}

impl Context {
    /// Where the state lies: `--root`, else the host root's directory or this user's.
    pub fn root_path(&self) -> Result<PathBuf> {
        if let Some(given) = &self.global.root {
            let path = std::path::absolute(given).unwrap_or_else(|_| given.clone());
            if path == Path::new("/") {
                return Err(Error::new("--root: the state root may not be /"));
            }
            return Ok(path);
        }
        let uid_0 = rustix::process::geteuid().is_root();
        let root =
            uid_0 && (!crate::host::in_user_namespace()? || std::env::var("USER").as_deref() == Ok("root"));
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) if !root => Ok(PathBuf::from(dir).join("orlop")),
            // Uid 0 of a container that runs engines has no session: the directory is its own there.
            None if !uid_0 => Err(Error::new("XDG_RUNTIME_DIR is not set, nowhere to keep the state")
                .hint("set it, or choose a directory with --root")),
            _ => Ok(PathBuf::from(DEFAULT_ROOT)),
        }
    }

    /// The state root for commands that act on what exists.
    pub fn root(&self) -> Result<Option<Root>> {
        Root::open(&self.root_path()?)
    }

    /// An existing container.
    pub fn entry(&self, id: &str) -> Result<(Root, Entry)> {
        crate::spec::names::check_container_id(id)?;
        let root = self.root()?.ok_or_else(crate::state::store::no_container)?;
        let entry = root.entry(id)?;
        Ok((root, entry))
    }

    /// An existing container that has got beyond its claim.
    pub fn container(&self, id: &str) -> Result<(Root, Entry, Record)> {
        let (root, entry) = self.entry(id)?;
        let record = crate::container::status::record(&entry)?;
        Ok((root, entry, record))
    }

    /// Ids of existing containers that an extended regular expression matches, for crun's `--regex`.
    fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let Some(root) = self.root()? else { return Ok(Vec::new()) };
        let is_id = |id: &String| crate::spec::names::check_container_id(id).is_ok();
        Ok(root.matching(pattern).at("--regex")?.into_iter().filter(is_id).collect())
    }

    /// Warnings are kept until the command has succeeded.
    fn warn_all(&self, warnings: &[String]) {
        self.warnings.borrow_mut().extend_from_slice(warnings);
    }

    /// What is known to have succeeded may go on for days: its warnings go out.
    fn say_warnings(&self) {
        self.warnings.take().iter().for_each(|warning| self.log.warn(&one_line(warning)));
    }
}

/// Makes `path` absolute against the working directory of the caller, before anything changes it.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::new(e.to_string()).at(path.display().to_string()))
}

/// Writes `file` beside itself and renames it, mode 0666 & ~umask, no newline: readers poll for it.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let next = path.with_file_name(format!(".{name}"));
    let write = || {
        use crate::error::Call;
        use std::io::Write;
        // Anew, whatever is there: another user's link in a shared directory, or what a killed orlop has left.
        let open = || std::fs::OpenOptions::new().write(true).create_new(true).open(&next);
        let mut file = match open() {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(&next).call("unlink")?;
                open()
            }
            opened => opened,
        }
        .call("open")?;
        let written = file.write_all(pid.to_string().as_bytes()).call("write");
        let named = written.and_then(|()| std::fs::rename(&next, path).call("rename"));
        if named.is_err() {
            // The failure is what is told.
            let _ = std::fs::remove_file(&next);
        }
        named
    };
    write().at_with(|| path.display().to_string()).doing("write the pid file")
}

const HELP: &str = "\
orlop: a low-level OCI container runtime

Usage: orlop [global options] command [arguments]

Commands:
  create    make a container and leave it waiting at its start gate
  start     let a created container run its program
  run       create, start, wait, delete
  exec      run one more process in a container
  pause     stop all processes of a container
  resume    let the processes of a paused container go on
  update    change the limits of a container
  ps        list the processes of a container
  events    print statistics and out-of-memory kills of a container
  state     print the state of a container
  kill      send a signal to a container (default TERM)
  delete    remove a container and all that belongs to it
  list      list the containers of this state root
  spec      write a config.json to begin with
  features  print what this runtime supports
  explain   print what create would do with a bundle, without doing it

Global options:
  --root DIR                    state root (default /run/orlop)
  --log FILE                    log to FILE (errors also go to stderr)
  --log-format text|json        format of the log
  --log-level LEVEL             error, warning, info or debug
  --debug                       the same as --log-level debug
  --systemd-cgroup              let systemd make the cgroup
  --cgroup-manager NAME         cgroupfs, systemd or disabled
  --rootless true|false|auto    ignore missing cgroup permissions
  --version, --help
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_one_line() {
        assert_eq!(one_line("a\n\n  b\r\nc\x1b[2Jd\r"), r"a b c\x1b[2Jd");
        assert_eq!(one_line("a\nb\u{1b}[2J"), r"a b\x1b[2J", "a warning of a process of the container's");
        let text = "error: required arguments were not provided:\n  <ID>\n\nUsage: orlop start <ID>\n";
        let shown = usage("start", text).to_string();
        assert_eq!(shown, "start: required arguments were not provided: <ID>; hint: orlop start --help");
        let text = "error: unexpected argument '--x' found\n\n  tip: to pass\n\nUsage: orlop start <ID>\n";
        assert_eq!(
            usage("start", text).to_string(),
            "start: unexpected argument '--x' found; hint: orlop start --help"
        );
    }
}
