//! One call of the runtime: output into files (a container inherits them and would keep a pipe open), a clean
//! environment, and a deadline after which the call is killed and the test fails.

use super::test::{Test, slow};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Call<'t> {
    test: &'t Test,
    globals: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    fds: Vec<(OwnedFd, RawFd)>,
    stdio: [Option<OwnedFd>; 3],
    umask: Option<u32>,
    bare: bool,
}

pub struct Output {
    /// Exit status, 128+N after signal N.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
    /// For the panic texts.
    line: String,
    files: [PathBuf; 2],
}

pub struct Running {
    child: Child,
    files: [PathBuf; 2],
    begin: Instant,
    line: String,
}

impl<'t> Call<'t> {
    pub fn new(test: &'t Test, args: &[impl AsRef<OsStr>]) -> Self {
        let args = args.iter().map(|a| a.as_ref().to_owned()).collect();
        let (fds, stdio) = (Vec::new(), [None, None, None]);
        Self {
            test,
            globals: Vec::new(),
            args,
            env: Vec::new(),
            cwd: None,
            fds,
            stdio,
            umask: None,
            bare: false,
        }
    }

    /// Options before the command, after `--root`.
    pub fn globals(mut self, args: &[impl AsRef<OsStr>]) -> Self {
        self.globals.extend(args.iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Without the test's `--root`.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.to_owned());
        self
    }

    /// Gives the call `fd` as descriptor `number`.
    pub fn fd(mut self, fd: impl Into<OwnedFd>, number: RawFd) -> Self {
        self.fds.push((fd.into(), number));
        self
    }

    /// Descriptor 0, 1 or 2 in place of /dev/null and the output files.
    pub fn stdio(mut self, which: usize, fd: impl Into<OwnedFd>) -> Self {
        self.stdio[which] = Some(fd.into());
        self
    }

    pub fn stdin_text(self, text: &str) -> Self {
        let path = self.test.fresh("stdin");
        std::fs::write(&path, text).expect("stdin text");
        let file = File::open(path).expect("stdin text");
        self.stdio(0, file)
    }

    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    pub fn spawn(mut self) -> Running {
        let rt = super::runtime::get();
        let mut command = Command::new(&rt.path);
        if !self.bare {
            command.arg("--root").arg(&self.test.root);
        }
        command.args(&self.globals).args(&self.args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.current_dir(self.cwd.as_ref().unwrap_or(&self.test.dir));
        let files = [self.test.fresh("out"), self.test.fresh("err")];
        let [stdin, stdout, stderr] = std::mem::take(&mut self.stdio);
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(stdout.map_or_else(|| Stdio::from(append(&files[0])), Stdio::from));
        command.stderr(stderr.map_or_else(|| Stdio::from(append(&files[1])), Stdio::from));
        let words: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let line = format!("{} {}", rt.name, words.join(" "));
        let fds: Vec<(RawFd, RawFd)> = self.fds.iter().map(|(fd, to)| (fd.as_raw_fd(), *to)).collect();
        let umask = self.umask;
        let filter = self.test.filter();
        let prepare = move || {
            place(&fds, umask)?;
            if filter.is_empty() { Ok(()) } else { super::refuse::install(&filter) }
        };
        // SAFETY: between fork and exec only system calls are made, no allocation.
        unsafe { command.pre_exec(prepare) };
        let begin = Instant::now();
        let child = command.spawn().expect("start the runtime");
        Running { child, files, begin, line }
    }

    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    pub fn ok(self) -> Output {
        self.run().ok()
    }
}

fn append(path: &Path) -> File {
    File::options().append(true).create(true).open(path).expect("an output file")
}

/// Moves descriptors to their numbers in two steps, so that none overwrites a source.
fn place(fds: &[(RawFd, RawFd)], umask: Option<u32>) -> std::io::Result<()> {
    const AWAY: RawFd = 400;
    for (n, (from, _)) in fds.iter().enumerate() {
        // SAFETY: plain descriptor numbers.
        if unsafe { libc::dup3(*from, AWAY + n as RawFd, libc::O_CLOEXEC) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    for (n, (_, to)) in fds.iter().enumerate() {
        // SAFETY: plain descriptor numbers.
        if unsafe { libc::dup2(AWAY + n as RawFd, *to) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    if let Some(mask) = umask {
        // SAFETY: cannot fail.
        unsafe { libc::umask(mask) };
    }
    Ok(())
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("signal the runtime");
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.files[0]).unwrap_or_default()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    pub fn wait(self) -> Output {
        self.wait_for(slow(10))
    }

    pub fn wait_for(mut self, limit: Duration) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the runtime") {
                break status;
            }
            if self.begin.elapsed() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("hung for {limit:?}: {}", self.line);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let text =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        // runc's own log format quotes the message; the words are what matters.
        let (stdout, stderr) = (text(&self.files[0]), text(&self.files[1]).replace("\\\"", "\""));
        Output { code, stdout, stderr, took: self.begin.elapsed(), line: self.line, files: self.files }
    }
}

impl Output {
    fn told(&self) -> String {
        format!("{}\nexit {}\nstdout: {}\nstderr: {}", self.line, self.code, self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.told());
        self
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "wanted exit {code}: {}", self.told());
        self
    }

    /// Failed, with this text on stderr, in at most a line that says why.
    #[track_caller]
    pub fn fails_with(self, text: &str) -> Self {
        assert_ne!(self.code, 0, "should have failed: {}", self.told());
        assert!(self.stderr.contains(text), "no `{text}`: {}", self.told());
        self
    }

    /// Failed with any of these words on stderr (in any case).
    #[track_caller]
    pub fn fails_naming(self, texts: &[&str]) -> Self {
        assert_ne!(self.code, 0, "should have failed: {}", self.told());
        let lower = self.stderr.to_lowercase();
        let named = texts.iter().any(|t| lower.contains(&t.to_lowercase()));
        assert!(named, "none of {texts:?}: {}", self.told());
        self
    }

    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, 0, "should have failed: {}", self.told());
        assert!(!self.stderr.trim().is_empty(), "a failure without a word: {}", self.told());
        self
    }

    /// Exactly one line on stderr.
    #[track_caller]
    pub fn one_line(self) -> Self {
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "not one line: {}", self.told());
        self
    }

    /// What has come into the output files by now: a detached container goes on writing.
    pub fn stdout_now(&self) -> String {
        std::fs::read_to_string(&self.files[0]).unwrap_or_default()
    }
}
