//! /proc/PID/stat of one process: its start time and how far it has got with dying.

use crate::error::{Error, Result};

/// The few fields that orlop looks at (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// Field 3: R, S, D, T, Z, X…
    pub state: char,
    /// Field 9: PF_* of the kernel.
    pub flags: u64,
    /// Field 22: clock ticks since boot.
    pub start_time: u64,
}

impl ProcessStat {
    /// Dead or on its way there: the descriptors of such a process are closed already, while its pid
    /// cannot be waited for yet. A process that dumps core is not exiting yet, but was signalled to death.
    pub fn is_exiting(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        const PF_SIGNALED: u64 = 0x400;
        matches!(self.state, 'Z' | 'X' | 'x') || self.flags & (PF_EXITING | PF_SIGNALED) != 0
    }
}

/// None when there is no such process.
pub fn process_stat(pid: i32) -> Result<Option<ProcessStat>> {
    let path = format!("/proc/{pid}/stat");
    let text = match super::read(&path) {
        Ok(text) => text,
        Err(e) if matches!(e.errno(), libc::ENOENT | libc::ESRCH) => return Ok(None),
        Err(e) => return Err(e),
    };
    parse(&text).map(Some).ok_or_else(|| Error::new("unreadable").at(path))
}

/// The name in parentheses may hold spaces and parentheses itself: fields are counted from the last one.
fn parse(text: &str) -> Option<ProcessStat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let flags = fields.nth(5)?.parse().ok()?;
    let start_time = fields.nth(12)?.parse().ok()?;
    Some(ProcessStat { state, flags, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let line = "12 (a) R 1 2) S 1 2 3 4 5 4194560 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21 22";
        let stat = parse(line).unwrap();
        assert_eq!((stat.state, stat.flags, stat.start_time), ('S', 4194560, 777));
    }

    #[test]
    fn ourselves() {
        let stat = process_stat(std::process::id() as i32).unwrap().unwrap();
        assert!(!stat.is_exiting() && stat.start_time > 0);
        assert_eq!(process_stat(i32::MAX).unwrap(), None);
    }
}
