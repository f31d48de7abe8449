//! Reads src/ as text and fails on what the architecture forbids: a `use` between rooms that have no door, a plan
//! that touches the system, `unsafe` outside `sys`, a file too long to be read at a sitting.
//!
//! It needs no compiler: paths are found as `crate::room`, `crate::{room, …}` and `super::…::room` in the text
//! without comments and strings, and before a file's test module.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which rooms a room may name besides itself. A room that is not listed may name nothing but `error`.
const DOORS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("clock", &["error"]),
    ("sys", &["error"]),
    ("log", &["error", "clock", "sys"]),
    ("cli", &["error", "log", "plan"]),
    ("spec", &["error"]),
    ("plan", &["spec", "error"]),
    ("host", &["plan", "sys", "error"]),
    ("rootfs", EXECUTOR),
    ("cgroup", EXECUTOR),
    ("security", EXECUTOR),
    ("console", EXECUTOR),
    // Waiting in the foreground relays the terminal by the same poll.
    ("process", &["plan", "sys", "console", "log", "clock", "error"]),
    ("state", EXECUTOR),
    ("criu", EXECUTOR),
    (
        "container",
        &[
            "rootfs", "cgroup", "security", "console", "process", "state", "criu", "plan", "spec", "host",
            "sys", "log", "clock", "error",
        ],
    ),
    (
        "commands",
        &["container", "console", "process", "plan", "host", "spec", "state", "log", "clock", "error", "cli"],
    ),
    ("main", &["commands", "cli", "log", "error"]),
    ("lib", &[]),
];

/// An executor does its part of the plan and knows no other executor.
const EXECUTOR: &[&str] = &["plan", "sys", "log", "clock", "error"];

/// What a plan may not ask: it is a function of its arguments.
const IMPURE: &[&str] = &["fs", "env", "process", "time", "net", "thread"];

const LONGEST: usize = 500;

struct Source {
    path: PathBuf,
    /// Modules from the crate's root: `["plan", "cgroup", "v1"]`; empty for lib.rs and main.rs.
    module: Vec<String>,
    room: String,
    raw: String,
    /// Without comments, the contents of strings, and the test module at the bottom.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 5, "src/ was not found");
    files.into_iter().filter(|path| !holds_tests(path)).map(|path| read(&root, path)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// `tests.rs` and `…_tests.rs` are the test modules of their neighbours.
fn holds_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests" || stem.to_string_lossy().ends_with("_tests"))
}

fn read(root: &Path, path: PathBuf) -> Source {
    let inner = path.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<String> = inner.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    let room = module[0].clone();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    let raw = std::fs::read_to_string(&path).unwrap();
    let code = strip(before_tests(&raw));
    Source { path: path.strip_prefix(root.parent().unwrap()).unwrap().to_owned(), module, room, raw, code }
}

/// The text up to `#[cfg(test)]` on a line of its own in the first column that is followed by a module.
fn before_tests(text: &str) -> &str {
    let mut offset = 0;
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let module = |next: &&str| next.starts_with("mod ") || next.starts_with("#[");
        if line.trim_end() == "#[cfg(test)]" && lines.peek().is_some_and(module) {
            return &text[..offset];
        }
        offset += line.len();
    }
    text
}

/// Blanks comments and the contents of string and character literals; lines stay where they are.
fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (skip, with) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |n| n + 2), "")
        } else if let Some(n) = raw_string(rest) {
            (n, "\"\"")
        } else if c == '"' {
            (string_end(rest), "\"\"")
        } else if c == '\'' {
            {
                let n = char_end(rest);
                if n == 1 { (1, "'") } else { (n, "' '") }
            }
        } else {
            (c.len_utf8(), &rest[..c.len_utf8()])
        };
        out.push_str(with);
        let (gone, left) = rest.split_at(skip);
        if with.is_empty() || with.len() < gone.len() {
            out.extend(gone.chars().filter(|c| *c == '\n'));
        }
        rest = left;
    }
    out
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (n, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return n + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[count..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(count));
    let end = body.find(&close)?;
    Some(1 + count + 1 + end + close.len())
}

/// The length of a character literal, or 1 for a lifetime.
fn char_end(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(1, |(n, _)| n + 3)
        }
        Some((n, c)) if text[n + c.len_utf8()..].starts_with('\'') => n + c.len_utf8() + 1,
        _ => 1,
    }
}

fn ident(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// First names after `head::`, also those of a group `head::{a::b, c}`.
fn named_after(code: &str, head: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(head) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + head.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => found.extend([ident(rest).to_owned()]),
        }
    }
    found.remove("");
    found
}

fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut heads) = (0, true, Vec::new());
    for (n, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                heads.push(ident(&group[n..]).to_owned());
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// Rooms that a file names, by whichever path.
fn rooms_named(source: &Source) -> BTreeSet<String> {
    let mut found = named_after(&source.code, "crate::");
    found.extend(named_after(&source.code, "orlop::"));
    if !source.module.is_empty() {
        found.extend(named_after(&source.code, &"super::".repeat(source.module.len())));
    }
    found.remove(&source.room);
    found
}

#[test]
fn rooms_name_only_those_they_have_a_door_to() {
    let known: BTreeSet<&str> = DOORS.iter().map(|(room, _)| *room).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let doors = DOORS.iter().find(|(room, _)| *room == source.room).map_or(&["error"][..], |(_, d)| d);
        for named in rooms_named(&source) {
            // Names that are no rooms are items of the crate's root (macros).
            if known.contains(named.as_str()) && !doors.contains(&named.as_str()) {
                wrong.push(format!("{}: {} may not use {named}", source.path.display(), source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_known() {
    let known: BTreeSet<&str> = DOORS.iter().map(|(room, _)| *room).collect();
    let rooms: BTreeSet<String> = sources().into_iter().map(|s| s.room).collect();
    let strange: Vec<_> = rooms.iter().filter(|r| !known.contains(r.as_str())).collect();
    assert!(strange.is_empty(), "rooms without a row in DOORS: {strange:?}");
}

#[test]
fn the_plan_touches_nothing() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.room == "plan") {
        let mut names: Vec<String> = named_after(&source.code, "std::").into_iter().collect();
        names.retain(|n| IMPURE.contains(&n.as_str()));
        if source.code.contains("os::unix::net") {
            names.push("os::unix::net".into());
        }
        wrong.extend(names.into_iter().map(|n| format!("{}: std::{n}", source.path.display())));
        let calls = system_calls(&source.code);
        wrong.extend(calls.into_iter().map(|n| format!("{}: {n}", source.path.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is named of the crates that ask the system. Of libc constants are left out, and types by their names.
fn system_calls(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for krate in ["rustix", "nix", "procfs"] {
        found.extend(named_after(code, &format!("{krate}::")).into_iter().map(|n| format!("{krate}::{n}")));
    }
    let call = |n: &String| !n.starts_with(char::is_uppercase) && !n.starts_with("c_") && !n.ends_with("_t");
    found.extend(named_after(code, "libc::").into_iter().filter(call).map(|n| format!("libc::{n}")));
    // Under another name, or all at once.
    for other in ["use libc;", "libc as ", "libc::*", "use rustix;", "use nix;", "use procfs;"] {
        found.extend(code.contains(other).then(|| other.to_owned()));
    }
    found
}

#[test]
fn spec_reads_files_in_one_place() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.room == "spec" && !s.path.ends_with("spec/mod.rs")) {
        let names = named_after(&source.code, "std::");
        let impure = names.iter().filter(|n| IMPURE.contains(&n.as_str()));
        wrong.extend(impure.map(|n| format!("{}: std::{n}", source.path.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_sys() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.room != "sys") {
        for (n, line) in source.code.lines().enumerate() {
            let line =
                line.replace("#[unsafe(no_mangle)]", if source.room == "main" { "" } else { "unsafe" });
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|w| w == "unsafe") {
                wrong.push(format!("{}:{}", source.path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside src/sys:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        let name = source.path.file_name().unwrap().to_string_lossy().into_owned();
        let table = name.starts_with("numbers") || name.starts_with("tables");
        let lines = before_tests(&source.raw).lines().count();
        if lines > LONGEST && !table {
            wrong.push(format!("{}: {lines} lines", source.path.display()));
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        if before_tests(&text).lines().count() > 20 && !text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The checks above are worth something only if they can fail.
#[test]
fn the_reader_sees_what_it_should() {
    let code =
        strip("use crate::{error::Error, sys::{a, b}};\n// crate::host\nlet x = \"crate::state\"; 'a';\n");
    let named: Vec<_> = named_after(&code, "crate::").into_iter().collect();
    assert_eq!(named, ["error", "sys"]);
    assert_eq!(named_after("use super::super::sys::x;", "super::super::").into_iter().next().unwrap(), "sys");
    let heads: Vec<_> = named_after("use std::{fmt, fs::File};", "std::").into_iter().collect();
    assert_eq!(heads, ["fmt", "fs"]);
    let code = "use libc::{MS_REC, c_int, mount}; libc::getpid(); let x: libc::uid_t; rustix::fs::open(p)";
    assert_eq!(system_calls(code), ["rustix::fs", "libc::getpid", "libc::mount"]);
    assert_eq!(system_calls("use libc as c; use libc::*;"), ["libc as ", "libc::*"]);
    assert_eq!(strip("let c = '\"'; unsafe").trim_end(), "let c = ' '; unsafe");
    assert_eq!(strip("r#\"unsafe \"x\"#; b"), "\"\"; b");
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\n"), "a\n");
    assert_eq!(strip("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
}
