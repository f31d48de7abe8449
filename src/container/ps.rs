//! `ps`: the processes of a container as the rows that ps(1) has of them.

use crate::error::{Call, Doing, Error, Result, printable};
use crate::sys::spawn;
use std::io::Read;
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
        let line = command_line(*pid);
        let command = if line.is_empty() { format!("[{}]", stat.comm) } else { line };
        Some(format!("{pid:>10} {:>10} {}\n", stat.ppid, printable(&command)))
    };
    let header = format!("{:>10} {:>10} CMD\n", "PID", "PPID");
    std::iter::once(header).chain(pids.iter().filter_map(row)).collect()
}

/// As ps(1) shows it, words with spaces between; its beginning, for a process may have megabytes of it.
fn command_line(pid: i32) -> String {
    const LONGEST: u64 = 4096;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/cmdline")) {
        // What cannot be read has no arguments, as a process of the kernel's.
        let _ = file.take(LONGEST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
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

    #[test]
    fn command_lines_are_short_and_steer_no_terminal() {
        let long = "x".repeat(100_000);
        let mut child = Command::new("sh")
            .args(["-c", "read x", "\x1b[2J\n", &long])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let table = own_table(&[child.id() as i32]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(table.contains(r"sh -c read x \x1b[2J\x0a xxx"), "{table}");
        assert!(table.lines().count() == 2 && table.len() < 5000, "{} bytes", table.len());
    }
}
