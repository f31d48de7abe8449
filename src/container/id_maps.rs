//! P4: writes the id maps of the intermediate's user namespace.

use crate::error::{Call, Doing, Error, Result};
use crate::plan::ids::{IdMap, IdMaps, Writer, render};
use crate::sys::process::Ended;
use crate::sys::spawn::{self, Outcome, Program};

/// `pid`: the process in the new user namespace.
pub fn write(pid: i32, ids: &IdMaps) -> Result<()> {
    match ids.writer {
        Writer::Helpers => {
            helper("newgidmap", pid, &ids.gid).at("linux.gidMappings")?;
            helper("newuidmap", pid, &ids.uid).at("linux.uidMappings")
        }
        Writer::Direct => {
            if ids.deny_setgroups {
                put(pid, "setgroups", "deny")?;
            }
            put(pid, "gid_map", &render(&ids.gid)).at("linux.gidMappings")?;
            put(pid, "uid_map", &render(&ids.uid)).at("linux.uidMappings")
        }
    }
}

/// The kernel takes a map in one write only.
fn put(pid: i32, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, text).call("write").doing_with(|| format!("write {path}"))
}

fn helper(name: &'static str, pid: i32, maps: &[IdMap]) -> Result<()> {
    let path = find(name)?;
    let mut args = vec![name.to_owned(), pid.to_string()];
    args.extend(maps.iter().flat_map(|map| [map.inside, map.outside, map.count]).map(|id| id.to_string()));
    let program =
        Program { path: &path, args: &args, env: &[], stdin: b"", cwd: None, timeout: None, serves: None };
    match spawn::run(&program)? {
        Outcome::Ended(Ended::Exited(0), _) => Ok(()),
        Outcome::Ended(_, text) => Err(Error::new(text))
            .doing(format!("run {name}"))
            .hint("/etc/subuid and /etc/subgid must grant the ranges"),
        Outcome::NotStarted(errno) => Err(Error::sys("execve", errno)).doing(format!("run {name}")),
        Outcome::TimedOut | Outcome::Orphaned => Err(Error::new("timed out")).doing(format!("run {name}")),
    }
}

fn find(name: &str) -> Result<String> {
    let search = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin:/usr/sbin:/sbin".into());
    search
        .split(':')
        .map(|dir| format!("{dir}/{name}"))
        .find(|path| std::path::Path::new(path).is_file())
        .ok_or_else(|| {
            Error::new(format!("{name} is not installed"))
                .hint("more than one's own id needs it (package uidmap)")
        })
}
