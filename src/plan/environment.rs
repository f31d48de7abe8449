//! The environment of a process: checked, without duplicates, with what the runtime adds. PURE.
//!
//! The last of several equal names wins and keeps its place, as in runc. HOME is left out when it is absent
//! or empty: its value stands in the container's /etc/passwd, which only init can read.

use std::collections::HashSet;

use serde::Serialize;

use super::fds::FdPlan;
use crate::error::{Error, Result};

/// The search path of `args[0]` when the environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the directory of the notification socket is mounted in the container.
pub const NOTIFY_DIRECTORY: &str = "/run/notify";
/// The notification socket as the container sees it.
pub const NOTIFY_SOCKET: &str = "/run/notify/notify.sock";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// `NAME=value`, no NUL inside, every name once.
    pub variables: Vec<String>,
    /// HOME is to be added at run time, from the container's /etc/passwd, else `/`.
    pub home_from_passwd: bool,
    /// Directories in which `args[0]` without a slash is looked for.
    pub search_path: String,
}

/// `field` names the list in messages, e.g. `process.env`.
pub fn plan(given: &[String], field: &str, fds: FdPlan, notify: bool) -> Result<Environment> {
    for (index, entry) in given.iter().enumerate() {
        if entry.contains('\0') {
            return Err(Error::field(format_args!("{field}[{index}]"), "has a NUL byte"));
        }
        match entry.split_once('=') {
            None => return Err(Error::field(format_args!("{field}[{index}]"), "has no `=`")),
            Some(("", _)) => return Err(Error::field(format_args!("{field}[{index}]"), "has an empty name")),
            Some(_) => {}
        }
    }
    let mut added = Vec::new();
    if notify {
        added.push(format!("NOTIFY_SOCKET={NOTIFY_SOCKET}"));
    }
    if fds.listen > 0 {
        // sd_listen_fds(3) compares with getpid(): true for the first process of a pid namespace.
        added.push(format!("LISTEN_FDS={}", fds.listen));
        added.push("LISTEN_PID=1".into());
    }
    let mut seen = HashSet::new();
    let mut variables: Vec<String> = given
        .iter()
        .chain(&added)
        .rev()
        .filter(|entry| seen.insert(name_of(entry)))
        .filter(|entry| entry.as_str() != "HOME=")
        .cloned()
        .collect();
    variables.reverse();
    let home_from_passwd = !variables.iter().any(|entry| name_of(entry) == "HOME");
    let search_path = variables
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .map_or_else(|| DEFAULT_PATH.into(), str::to_owned);
    Ok(Environment { variables, home_from_passwd, search_path })
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn env(list: &[&str]) -> Environment {
        plan(&strings(list), "process.env", FdPlan::default(), false).unwrap()
    }

    #[test]
    fn the_last_duplicate_wins_in_its_place() {
        let e = env(&["A=1", "HOME=/h", "B=2", "A=3=4", "PATH=/x"]);
        assert_eq!(e.variables, ["HOME=/h", "B=2", "A=3=4", "PATH=/x"]);
        assert!(!e.home_from_passwd);
        assert_eq!(e.search_path, "/x");
    }

    #[test]
    fn home_is_left_open_when_absent_or_empty() {
        for list in [&["A=1"][..], &["HOME=/h", "HOME=", "A=1"], &["HOME=", "A=1"]] {
            let e = env(list);
            assert_eq!(e.variables, ["A=1"], "{list:?}");
            assert!(e.home_from_passwd);
            assert_eq!(e.search_path, DEFAULT_PATH);
        }
    }

    #[test]
    fn bad_entries_are_named() {
        for (bad, problem) in [
            ("NOVALUE", "has no `=`"),
            ("", "has no `=`"),
            ("=x", "has an empty name"),
            ("A=\0", "has a NUL byte"),
        ] {
            let e = plan(&strings(&["A=1", bad]), "process.env", FdPlan::default(), false).unwrap_err();
            assert_eq!(e.to_string(), format!("process.env[1]: {problem}"));
        }
    }

    #[test]
    fn what_the_runtime_adds_replaces_the_images() {
        let fds = FdPlan { listen: 2, preserve: 1 };
        let given = strings(&["LISTEN_PID=7", "NOTIFY_SOCKET=/x", "HOME=/"]);
        let e = plan(&given, "process.env", fds, true).unwrap();
        assert_eq!(
            e.variables,
            ["HOME=/", "NOTIFY_SOCKET=/run/notify/notify.sock", "LISTEN_FDS=2", "LISTEN_PID=1"]
        );
    }
}
