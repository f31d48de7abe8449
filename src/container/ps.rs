//! `ps`: the processes of a container as the rows that ps(1) has of them.

use crate::error::{Call, Doing, Error, Result};
use crate::sys::spawn;
use std::process::{Command, Stdio};

/// The table of `ps ARGS` (`-ef` without any) with the header and the rows of `pids`. A host without ps gets a
/// short table of our own.
pub fn table(pids: &[i32], args: &[String]) -> Result<String> {
    let usual = ["-ef".to_owned()];
    let args = if args.is_empty() { &usual } else { args };
    let output = spawn::output(Command::new("ps").args(args).stdin(Stdio::null()));
    let output = match output {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(own_table(pids)),
        other => other.call("execve").doing("run ps")?,
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{}: {}", output.status, text.trim())).doing("run ps"));
    }
    rows(&String::from_utf8_lossy(&output.stdout), pids).ok_or_else(|| {
        Error::new("its output has no PID column")
            .doing("run ps")
            .hint("choose columns with a PID among them")
    })
}

/// The header of a table and the rows whose PID column holds one of `pids`.
fn rows(text: &str, pids: &[i32]) -> Option<String> {
    let mut lines = text.lines();
    let header = lines.next()?;
    let column = header.split_whitespace().position(|name| name == "PID")?;
    let ours = |line: &&str| {
        let cell = line.split_whitespace().nth(column).and_then(|cell| cell.parse::<i32>().ok());
        cell.is_some_and(|pid| pids.contains(&pid))
    };
    Some(std::iter::once(header).chain(lines.filter(ours)).map(|line| format!("{line}\n")).collect())
}

/// PID, parent and command of those that are still there.
fn own_table(pids: &[i32]) -> String {
    let row = |pid: &i32| {
        let process = procfs::process::Process::new(*pid).ok()?;
        let stat = process.stat().ok()?;
        let words = process.cmdline().unwrap_or_default();
        let command = if words.is_empty() { format!("[{}]", stat.comm) } else { words.join(" ") };
        Some(format!("{pid:>10} {:>10} {command}\n", stat.ppid))
    };
    let header = format!("{:>10} {:>10} CMD\n", "PID", "PPID");
    std::iter::once(header).chain(pids.iter().filter_map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_the_pid_column() {
        let text = "UID  PID  PPID CMD\nroot  12  1 sleep 13\nroot 13 12 x\nroot 112 1 y\nroot - 12 thread\n";
        assert_eq!(rows(text, &[12, 14]).unwrap(), "UID  PID  PPID CMD\nroot  12  1 sleep 13\n");
        assert_eq!(rows(text, &[]).unwrap(), "UID  PID  PPID CMD\n");
        assert!(rows("CMD\nx\n", &[1]).is_none() && rows("", &[1]).is_none());
    }

    #[test]
    fn without_ps_there_is_a_table_too() {
        let own = std::process::id() as i32;
        let table = own_table(&[own, i32::MAX]);
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.contains(&own.to_string()));
    }
}
