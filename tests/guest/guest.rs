//! The program that contract tests run inside containers: it says as JSON what a process there sees and may do.
//!
//! Built by the harness with `rustc` alone (static, no crates), so it needs nothing in the rootfs.
//!
//! - `guest report [PROBE…]`: one JSON object with the facts and, under `probes`, one answer per probe
//! - `guest file PATH [PROBE…]`: the same into a file
//! - `guest pause`: waits with every signal at its default action
//! - `guest trap`: prints `signal N` for each signal it gets and ends with 40 + N at TERM
//! - `guest hunt FILE`: looks at every process of its /proc as fast as it can, for as long as /stop is not there,
//!   opens what they run and tries to write to it, and says in FILE what it got hold of, their command lines too
//! - `guest ambush HOW [NUMBER]`: lies in wait for whoever gets the next pid, and, for as long as /stop is not there,
//!   stops it `once`, or as its tracer (`trace`), holds a `copy` of its channel, or speaks for it (`usurp`: host process NUMBER is it)
//! - `guest gate HOW`: holds a `copy` of init's end of its start gate, or a `thief` reads one byte there
//! - `guest flood`: keeps descriptors in flight until the kernel takes no more
//! - `guest keys`: makes keys until the kernel takes no more, and lets nobody search the session keyring
//! - `guest exit N`, `guest die N` (by signal), `guest daemon` (leaves a child behind and waits)
//!
//! Probes: `read: write:PATH=TEXT open-w: create: mkdir: unlink: ls: stat: readlink: statfs: unshare:FLAGS
//! mknod:c|b:MAJOR:MINOR:PATH sys:NR[:A…] forksys:NR[:A…] fork chdir:`.

#![no_main] // std's own start-up would ignore SIGPIPE, open closed descriptors and install handlers: all are facts asked for

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

unsafe extern "C" {
    fn syscall(nr: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
    fn umask(mask: u32) -> u32;
    fn getresuid(r: *mut u32, e: *mut u32, s: *mut u32) -> c_int;
    fn getresgid(r: *mut u32, e: *mut u32, s: *mut u32) -> c_int;
    fn getgroups(n: c_int, list: *mut u32) -> c_int;
    fn getpid() -> c_int;
    fn getppid() -> c_int;
    fn getsid(pid: c_int) -> c_int;
    fn getpgrp() -> c_int;
    fn isatty(fd: c_int) -> c_int;
    fn ioctl(fd: c_int, request: u64, ...) -> c_int;
    fn uname(buf: *mut c_void) -> c_int;
    fn signal(n: c_int, handler: usize) -> usize;
    fn raise(n: c_int) -> c_int;
    fn pause() -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn mknod(path: *const c_char, mode: u32, dev: u64) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn statfs(path: *const c_char, buf: *mut c_void) -> c_int;
    fn clock_gettime(clock: c_int, ts: *mut i64) -> c_int;
    fn sigprocmask(how: c_int, set: *const c_void, old: *mut c_void) -> c_int;
    fn sigfillset(set: *mut c_void) -> c_int;
    fn sigwait(set: *const c_void, sig: *mut c_int) -> c_int;
    fn fcntl(fd: c_int, cmd: c_int, ...) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn send(fd: c_int, data: *const c_void, length: usize, flags: c_int) -> isize;
    fn sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize;
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_int, length: *mut u32) -> c_int;
}

const SIGKILL: c_int = 9;
const SIGCONT: c_int = 18;
const SIGSTOP: c_int = 19;

fn errno() -> i32 {
    unsafe { *__errno_location() }
}

fn quote(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 32 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn object(items: &[(&str, String)]) -> String {
    let inner: Vec<String> = items.iter().map(|(k, v)| format!("{}:{v}", quote(k.as_bytes()))).collect();
    format!("{{{}}}", inner.join(","))
}

fn slurp(path: &str) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.read_to_end(&mut text);
    }
    text
}

fn status_map() -> String {
    let text = String::from_utf8_lossy(&slurp("/proc/self/status")).into_owned();
    let pairs = text.lines().filter_map(|l| l.split_once(':'));
    let inner: Vec<String> =
        pairs.map(|(k, v)| format!("{}:{}", quote(k.as_bytes()), quote(v.trim().as_bytes()))).collect();
    format!("{{{}}}", inner.join(","))
}

/// Open descriptors: number, target, whether close-on-exec.
fn descriptors() -> String {
    let mut rows = Vec::new();
    for fd in 0..4096 {
        let flags = unsafe { fcntl(fd, 1) };
        if flags < 0 {
            continue;
        }
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        rows.push(object(&[
            ("fd", fd.to_string()),
            ("target", quote(target.as_os_str().as_bytes())),
            ("cloexec", (flags & 1 == 1).to_string()),
        ]));
    }
    list(rows.into_iter())
}

fn namespaces() -> String {
    let names = [
        "cgroup",
        "ipc",
        "mnt",
        "net",
        "pid",
        "pid_for_children",
        "time",
        "time_for_children",
        "user",
        "uts",
    ];
    let pairs: Vec<(&str, String)> = names
        .iter()
        .map(|n| {
            let link = std::fs::read_link(format!("/proc/self/ns/{n}")).unwrap_or_default();
            (*n, quote(link.as_os_str().as_bytes()))
        })
        .collect();
    object(&pairs)
}

fn limits() -> String {
    let mut rows = Vec::new();
    for which in 0..16 {
        let mut pair = [0u64; 2];
        let rc = unsafe { syscall(302, 0, which as c_long, 0usize, pair.as_mut_ptr()) };
        rows.push(if rc == 0 { format!("[{},{}]", pair[0], pair[1]) } else { "null".into() });
    }
    list(rows.into_iter())
}

/// Node name, domain name, machine.
fn host_names() -> (String, String, String) {
    let mut buf = [0u8; 65 * 6];
    unsafe { uname(buf.as_mut_ptr().cast()) };
    let field = |n: usize| {
        let part = &buf[65 * n..65 * (n + 1)];
        let end = part.iter().position(|b| *b == 0).unwrap_or(65);
        quote(&part[..end])
    };
    (field(1), field(5), field(4))
}

fn keyring() -> String {
    let mut buf = [0u8; 512];
    let n = unsafe { syscall(250, 6 as c_long, -3 as c_long, buf.as_mut_ptr(), buf.len()) };
    if n <= 0 { "null".into() } else { quote(&buf[..(n as usize - 1).min(buf.len())]) }
}

fn clock(id: c_int) -> String {
    let mut ts = [0i64; 2];
    unsafe { clock_gettime(id, ts.as_mut_ptr()) };
    ts[0].to_string()
}

fn terminal() -> String {
    let mut size = [0u16; 4];
    let sized = unsafe { ioctl(0, 0x5413, size.as_mut_ptr()) } == 0;
    let stat = String::from_utf8_lossy(&slurp("/proc/self/stat")).into_owned();
    let tty_nr =
        stat.rsplit_once(')').map_or("0", |(_, r)| r.split_whitespace().nth(4).unwrap_or("0")).to_string();
    let ttys = list((0..3).map(|fd| (unsafe { isatty(fd) } == 1).to_string()));
    let size = if sized { format!("[{},{}]", size[0], size[1]) } else { "null".into() };
    object(&[("isatty", ttys), ("size", size), ("tty_nr", tty_nr)])
}

fn identity() -> Vec<(&'static str, String)> {
    let (mut r, mut e, mut s) = (0u32, 0u32, 0u32);
    unsafe { getresuid(&mut r, &mut e, &mut s) };
    let uid = format!("[{r},{e},{s}]");
    unsafe { getresgid(&mut r, &mut e, &mut s) };
    let gid = format!("[{r},{e},{s}]");
    let mut groups = vec![0u32; 65536];
    let n = unsafe { getgroups(65536, groups.as_mut_ptr()) }.max(0) as usize;
    groups.truncate(n);
    let mask = unsafe { umask(0) };
    unsafe { umask(mask) };
    vec![
        ("uid", uid),
        ("gid", gid),
        ("groups", list(groups.iter().map(u32::to_string))),
        ("umask", mask.to_string()),
        ("pid", unsafe { getpid() }.to_string()),
        ("ppid", unsafe { getppid() }.to_string()),
        ("sid", unsafe { getsid(0) }.to_string()),
        ("pgrp", unsafe { getpgrp() }.to_string()),
    ]
}

fn scheduling() -> String {
    let mut attr = [0u64; 7];
    let rc = unsafe { syscall(315, 0 as c_long, attr.as_mut_ptr(), 56usize, 0 as c_long) };
    let head = attr[0];
    let policy = if rc == 0 { (head >> 32).to_string() } else { "-1".into() };
    let nice = (attr[2] & 0xffff_ffff) as u32 as i32;
    let priority = attr[2] >> 32;
    let io = unsafe { syscall(252, 1 as c_long, 0 as c_long) };
    object(&[
        ("policy", policy),
        ("flags", attr[1].to_string()),
        ("nice", nice.to_string()),
        ("priority", priority.to_string()),
        ("runtime", attr[3].to_string()),
        ("deadline", attr[4].to_string()),
        ("period", attr[5].to_string()),
        ("ioprio", io.to_string()),
    ])
}

fn memory_policy() -> String {
    let mut mode: c_int = -1;
    let mut nodes = [0u64; 16];
    let rc = unsafe { syscall(239, &mut mode as *mut c_int, nodes.as_mut_ptr(), 1024usize, 0usize, 0usize) };
    if rc == 0 { format!("[{mode},{}]", nodes[0]) } else { "null".into() }
}

fn facts() -> Vec<(&'static str, String)> {
    let fds = descriptors();
    let mut out = vec![("fds", fds)];
    out.extend(identity());
    let (host, domain, machine) = host_names();
    let args: Vec<_> = std::env::args_os().map(|a| quote(a.as_bytes())).collect();
    let env = slurp("/proc/self/environ");
    let env_list = list(env.split(|b| *b == 0).filter(|e| !e.is_empty()).map(quote));
    let env_os = list(std::env::vars_os().map(|(k, v)| {
        let mut pair = k.as_bytes().to_vec();
        pair.push(b'=');
        pair.extend_from_slice(v.as_bytes());
        quote(&pair)
    }));
    let cwd = std::env::current_dir().map(|d| quote(d.as_os_str().as_bytes())).unwrap_or("null".into());
    let personality = unsafe { syscall(135, 0xffff_ffffu64) };
    let raw = |path: &str| quote(&slurp(path));
    out.extend([
        ("hostname", host),
        ("domainname", domain),
        ("machine", machine),
        ("argv", list(args.into_iter())),
        ("env", env_os),
        ("environ", env_list),
        ("cwd", cwd),
        ("status", status_map()),
        ("namespaces", namespaces()),
        ("rlimits", limits()),
        (
            "mountinfo",
            list(slurp("/proc/self/mountinfo").split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(quote)),
        ),
        ("cgroup", raw("/proc/self/cgroup")),
        ("oom_score_adj", raw("/proc/self/oom_score_adj")),
        ("uid_map", raw("/proc/self/uid_map")),
        ("gid_map", raw("/proc/self/gid_map")),
        ("setgroups", raw("/proc/self/setgroups")),
        ("timens_offsets", raw("/proc/self/timens_offsets")),
        ("label", raw("/proc/self/attr/current")),
        ("exe", quote(std::fs::read_link("/proc/self/exe").unwrap_or_default().as_os_str().as_bytes())),
        ("sched", scheduling()),
        ("mempolicy", memory_policy()),
        ("personality", personality.to_string()),
        ("keyring", keyring()),
        ("tty", terminal()),
        ("monotonic", clock(1)),
        ("boottime", clock(7)),
    ]);
    out
}

fn answer(rc: i64) -> String {
    if rc < 0 {
        object(&[("errno", errno().to_string())])
    } else {
        object(&[("errno", "0".into()), ("ret", rc.to_string())])
    }
}

fn io_answer(result: std::io::Result<Vec<(&str, String)>>) -> String {
    match result {
        Ok(mut more) => {
            more.insert(0, ("errno", "0".into()));
            object(&more)
        }
        Err(e) => object(&[("errno", e.raw_os_error().unwrap_or(-1).to_string())]),
    }
}

fn numbers(arg: &str) -> Vec<i64> {
    arg.split(':')
        .map(|t| match t.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).map(|n| n as i64).unwrap_or(0),
            None => t.parse().unwrap_or(0),
        })
        .collect()
}

fn raw_syscall(arg: &str) -> i64 {
    let mut n = numbers(arg);
    n.resize(7, 0);
    unsafe { syscall(n[0], n[1], n[2], n[3], n[4], n[5], n[6]) }
}

/// Runs `job` in a child and reports how that one ended.
fn in_child(job: impl FnOnce() -> i64) -> String {
    let pid = unsafe { fork() };
    if pid < 0 {
        return answer(-1);
    }
    if pid == 0 {
        let rc = job();
        let code = if rc < 0 { errno() } else { 0 };
        unsafe { _exit(code & 0x7f) }
    }
    let mut status = 0;
    unsafe { waitpid(pid, &mut status, 0) };
    let signal = status & 0x7f;
    if signal == 0 {
        object(&[("signal", "0".into()), ("errno", ((status >> 8) & 0xff).to_string())])
    } else {
        object(&[("signal", signal.to_string())])
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn stat_answer(path: &str) -> String {
    io_answer(std::fs::symlink_metadata(path).map(|m| {
        let t = m.file_type();
        let kind = match () {
            () if t.is_dir() => "dir",
            () if t.is_symlink() => "link",
            () if t.is_char_device() => "char",
            () if t.is_block_device() => "block",
            () if t.is_fifo() => "fifo",
            () if t.is_socket() => "socket",
            () => "file",
        };
        let rdev = m.rdev();
        let major = ((rdev >> 8) & 0xfff) | ((rdev >> 32) & !0xfff);
        let minor = (rdev & 0xff) | ((rdev >> 12) & !0xff);
        vec![
            ("type", quote(kind.as_bytes())),
            ("mode", (m.permissions().mode() & 0o7777).to_string()),
            ("uid", m.uid().to_string()),
            ("gid", m.gid().to_string()),
            ("major", major.to_string()),
            ("minor", minor.to_string()),
            ("size", m.size().to_string()),
            ("ino", m.ino().to_string()),
        ]
    }))
}

fn mknod_answer(arg: &str) -> String {
    let parts: Vec<&str> = arg.splitn(4, ':').collect();
    let [kind, major, minor, path] = parts[..] else { return answer(-1) };
    let (major, minor): (u64, u64) = (major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
    let mode = if kind == "b" { 0o060_666 } else { 0o020_666 };
    let dev = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & !0xff) << 12);
    answer(i64::from(unsafe { mknod(c(path).as_ptr(), mode, dev) }))
}

fn probe(text: &str) -> String {
    let (verb, arg) = text.split_once(':').unwrap_or((text, ""));
    match verb {
        "read" => io_answer(std::fs::File::open(arg).and_then(|mut f| {
            let mut buf = vec![0; 65536];
            let n = f.read(&mut buf)?;
            Ok(vec![("text", quote(&buf[..n]))])
        })),
        "write" => {
            let (path, data) = arg.split_once('=').unwrap_or((arg, "x"));
            io_answer(
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .and_then(|mut f| f.write_all(data.as_bytes()).map(|()| vec![])),
            )
        }
        "open-w" => io_answer(std::fs::OpenOptions::new().write(true).open(arg).map(|_| vec![])),
        "open-rw" => io_answer(std::fs::OpenOptions::new().write(true).read(true).open(arg).map(|_| vec![])),
        "create" => {
            io_answer(std::fs::OpenOptions::new().write(true).create_new(true).open(arg).map(|_| vec![]))
        }
        "mkdir" => io_answer(std::fs::create_dir(arg).map(|()| vec![])),
        "unlink" => io_answer(std::fs::remove_file(arg).map(|()| vec![])),
        "ls" => io_answer(std::fs::read_dir(arg).map(|entries| {
            let mut names: Vec<_> = entries.flatten().map(|e| quote(e.file_name().as_bytes())).collect();
            names.sort();
            vec![("names", list(names.into_iter()))]
        })),
        "stat" => stat_answer(arg),
        "readlink" => {
            io_answer(std::fs::read_link(arg).map(|l| vec![("target", quote(l.as_os_str().as_bytes()))]))
        }
        "statfs" => {
            let mut buf = [0u64; 32];
            let rc = unsafe { statfs(c(arg).as_ptr(), buf.as_mut_ptr().cast()) };
            if rc < 0 {
                return answer(-1);
            }
            object(&[("errno", "0".into()), ("type", buf[0].to_string()), ("flags", buf[10].to_string())])
        }
        "unshare" => in_child(|| i64::from(unsafe { unshare(numbers(arg)[0] as c_int) })),
        "mknod" => mknod_answer(arg),
        "sys" => answer(raw_syscall(arg)),
        "forksys" => in_child(|| raw_syscall(arg)),
        "fork" => in_child(|| 0),
        "chdir" => answer(i64::from(unsafe { chdir(c(arg).as_ptr()) })),
        _ => object(&[("errno", "-2".into())]),
    }
}

fn report(probes: &[String]) -> String {
    let mut all = facts();
    let answers: Vec<String> =
        probes.iter().map(|p| format!("{}:{}", quote(p.as_bytes()), probe(p))).collect();
    all.push(("probes", format!("{{{}}}", answers.join(","))));
    object(&all)
}

/// Whoever joins the container is a prey: its executable and its descriptors.
fn hunt(path: &str) {
    let own = unsafe { getpid() };
    let (mut images, mut files, mut held, mut wrote) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut lines: Vec<String> = Vec::new();
    while !std::path::Path::new("/stop").exists() {
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            if pid == own || pid == 1 {
                continue;
            }
            let line = String::from_utf8_lossy(&slurp(&format!("/proc/{pid}/cmdline"))).replace('\0', " ");
            if !lines.contains(&line) {
                lines.push(line);
            }
            if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/exe")) {
                let name = std::fs::read_link(format!("/proc/self/fd/{}", file_number(&file))).unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                // Its own programs are no prey.
                let own = name.starts_with("/bin/") || name == "/guest";
                if !own && !images.contains(&name) {
                    images.push(name.clone());
                    held.push(file);
                }
            }
            for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                let name = std::fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned();
                if !files.contains(&name) {
                    files.push(name);
                }
            }
        }
        for file in &held {
            let again = format!("/proc/self/fd/{}", file_number(file));
            // Often: a writer who is refused may yet be in the way of who executes the file meanwhile (ETXTBSY).
            for _ in 0..500 {
                if let Ok(mut writer) = std::fs::OpenOptions::new().write(true).open(&again) {
                    wrote += i32::from(writer.write(&[0x7f]).is_ok());
                }
            }
        }
    }
    let quoted = |names: &[String]| list(names.iter().map(|n| quote(n.as_bytes())));
    let text =
        object(&[("images", quoted(&images)), ("files", quoted(&files)), ("lines", quoted(&lines)), ("wrote", wrote.to_string())]);
    let part = format!("{path}.part");
    if std::fs::write(&part, text).is_err() || std::fs::rename(&part, path).is_err() {
        std::process::exit(9);
    }
}

fn file_number(file: &std::fs::File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

/// Copies of the message channels among the descriptors of a process (pidfd_open, pidfd_getfd, SO_TYPE).
fn channels(pid: c_int) -> Vec<c_int> {
    let pidfd = unsafe { syscall(434, pid as c_long, 0 as c_long) };
    let copies = (3..64).map(|fd| unsafe { syscall(438, pidfd, fd as c_long, 0 as c_long) } as c_int);
    let is_channel = |fd: &c_int| {
        let (mut kind, mut length) = (0, 4);
        *fd >= 0 && unsafe { getsockopt(*fd, 1, 3, &mut kind, &mut length) } == 0 && kind == 5
    };
    copies.filter(is_channel).collect()
}

/// Says InitPid (3) of `number`, then Ready (8).
fn usurp(channel: c_int, number: c_int) {
    for (kind, number) in [(3u8, number), (8, 0)] {
        let mut message = [0u8; 16];
        message[0] = kind;
        message[12..].copy_from_slice(&number.to_ne_bytes());
        unsafe { send(channel, message.as_ptr().cast(), message.len(), 0x4000) };
    }
}

fn is_ours_no_more(pid: c_int) -> bool {
    !String::from_utf8_lossy(&slurp(&format!("/proc/{pid}/comm"))).starts_with("orlop")
}

/// The newest pid: the last word of /proc/loadavg.
fn newest() -> c_int {
    let text = String::from_utf8_lossy(&slurp("/proc/loadavg")).into_owned();
    text.split_whitespace().last().and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

fn is_stopped(pid: c_int) -> bool {
    String::from_utf8_lossy(&slurp(&format!("/proc/{pid}/stat"))).contains(") T ")
}

fn ambush(how: &str, number: c_int) {
    let _ = std::fs::write("/waiting", "1");
    while !std::path::Path::new("/stop").exists() {
        let stop = |pid: &c_int| unsafe { kill(*pid, SIGSTOP) } == 0;
        let next = newest() + 1;
        let Some(prey) = (0..20_000).find_map(|_| Some(next).filter(stop)) else { continue };
        while !is_stopped(prey) && !is_ours_no_more(prey) {}
        if is_ours_no_more(prey) {
            unsafe { kill(prey, SIGCONT) };
            continue;
        }
        let _ = std::fs::write("/caught", prey.to_string());
        match how {
            // PTRACE_ATTACH: until we end.
            "trace" => drop(unsafe { syscall(101, 16 as c_long, prey as c_long, 0 as c_long, 0 as c_long) }),
            "usurp" => {
                for channel in channels(prey) {
                    usurp(channel, number);
                    // Nothing but its death is to be heard of it from here on.
                    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(channel) });
                }
                unsafe { kill(prey, SIGKILL) };
            }
            // They stay open.
            "copy" => drop(channels(prey)),
            // Nobody here lets it go on.
            _ => continue,
        }
        unsafe { kill(prey, SIGCONT) };
    }
}

fn gate(how: &str) {
    let fds: Vec<_> = std::fs::read_dir("/proc/1/fd").into_iter().flatten().flatten().collect();
    let is_gate =
        |path: &std::path::Path| std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("start.fifo"));
    let Some(path) = fds.iter().map(|entry| entry.path()).find(|path| is_gate(path)) else {
        std::process::exit(7)
    };
    // Of its own, so that its flags are not init's (O_NONBLOCK).
    let open = std::os::unix::fs::OpenOptionsExt::custom_flags(std::fs::OpenOptions::new().read(true), 0o4000).open(path);
    let Ok(mut fifo) = open else { std::process::exit(6) };
    let _ = std::fs::write("/waiting", "1");
    while how != "copy" && !matches!(fifo.read(&mut [0; 1]), Ok(1)) {}
    let _ = std::fs::write("/caught", "1");
    loop {
        unsafe { pause() };
    }
}

/// One message with a hundred copies of a descriptor after the other (SCM_RIGHTS); nobody receives them.
fn flood() -> ! {
    const EACH: usize = 100;
    #[repr(C)]
    struct Control {
        length: usize,
        level: c_int,
        kind: c_int,
        fds: [c_int; EACH],
    }
    let mut pair = [0; 2];
    unsafe { socketpair(1, 1, 0, pair.as_mut_ptr()) };
    let control = Control { length: 16 + EACH * 4, level: 1, kind: 1, fds: [0; EACH] };
    let vector = [c"x".as_ptr() as usize, 1];
    // struct msghdr
    let message = [
        0,
        0,
        vector.as_ptr() as usize,
        1,
        (&raw const control) as usize,
        size_of::<Control>(),
        0,
    ];
    while unsafe { sendmsg(pair[0], message.as_ptr().cast(), 0x40) } == 1 {}
    let _ = std::fs::write("/caught", errno().to_string());
    loop {
        unsafe { pause() };
    }
}

/// add_key(2) until EDQUOT; then KEYCTL_SETPERM of the session keyring: for those who possess it.
fn keys() -> ! {
    let mut n = 0;
    while unsafe { syscall(248, c"user".as_ptr(), c(&n.to_string()).as_ptr(), c"x".as_ptr(), 1usize, -3 as c_long) } > 0
    {
        n += 1;
    }
    println!("{}", errno());
    unsafe { syscall(250, 5 as c_long, -3 as c_long, 0x3f00_0000 as c_long) };
    let _ = std::fs::write("/caught", "1");
    loop {
        unsafe { pause() };
    }
}

fn trap() -> ! {
    let mut set = [0u64; 16];
    unsafe {
        sigfillset(set.as_mut_ptr().cast());
        sigprocmask(0, set.as_ptr().cast(), std::ptr::null_mut());
    }
    println!("ready");
    loop {
        let mut n = 0;
        unsafe { sigwait(set.as_ptr().cast(), &mut n) };
        println!("signal {n}");
        if n == 15 {
            unsafe { _exit(40 + n) }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let args: Vec<String> =
        std::env::args_os().map(|a| String::from_utf8_lossy(a.as_bytes()).into_owned()).collect();
    let number = |n: usize| args.get(n).and_then(|t| t.parse::<i32>().ok()).unwrap_or(0);
    match args.get(1).map(String::as_str) {
        Some("report") => println!("{}", report(&args[2..])),
        Some("file") => {
            let text = report(args.get(3..).unwrap_or_default());
            let path = args.get(2).map_or("/report.json", String::as_str);
            let part = format!("{path}.part");
            if std::fs::write(&part, text).is_err() || std::fs::rename(&part, path).is_err() {
                std::process::exit(9);
            }
        }
        Some("pause") => loop {
            unsafe { pause() };
        },
        Some("trap") => trap(),
        Some("hunt") => hunt(args.get(2).map_or("/hunt.json", String::as_str)),
        Some("ambush") => ambush(args.get(2).map_or("", String::as_str), number(3)),
        Some("gate") => gate(args.get(2).map_or("", String::as_str)),
        Some("flood") => flood(),
        Some("keys") => keys(),
        Some("exit") => std::process::exit(number(2)),
        Some("die") => unsafe {
            signal(number(2), 0);
            raise(number(2));
        },
        Some("daemon") => unsafe {
            if fork() == 0 {
                loop {
                    pause();
                }
            }
            loop {
                pause();
            }
        },
        other => {
            eprintln!("guest: no such verb: {other:?}");
            std::process::exit(8);
        }
    }
    let _ = std::io::stdout().flush();
    0
}
