//! process.oomScoreAdj: written by the runtime for init (P7), or by a process that joins the container for
//! itself.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Doing, Result};

/// Writes `value` (-1000..=1000) through `process`, the opened /proc/PID directory of the process: the
/// caller's own procfs, never a name inside the container.
pub fn set_score_adj(process: BorrowedFd<'_>, value: i32) -> Result<()> {
    let write = || -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(process, "oom_score_adj", flags, Mode::empty()).call("openat")?;
        let text = value.to_string();
        rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes())).call("write")?;
        Ok(())
    };
    let result =
        write().at("process.oomScoreAdj").doing_with(|| format!("set the OOM score adjustment to {value}"));
    match &result {
        // proc_pid_oom_score_adj(5): below the inherited minimum only with the capability.
        Err(e) if e.errno() == libc::EACCES => {
            result.hint("a value below that of the caller needs CAP_SYS_RESOURCE on the host")
        }
        _ => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    #[test]
    fn the_score_of_a_child() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let path = format!("/proc/{}", child.id());
        let directory = std::fs::File::open(&path).unwrap();
        let result = set_score_adj(directory.as_fd(), 777);
        let value = std::fs::read_to_string(format!("{path}/oom_score_adj")).unwrap();
        let lowered = set_score_adj(directory.as_fd(), -1000);
        drop(child.stdin.take());
        child.wait().unwrap();
        result.unwrap();
        assert_eq!(value.trim(), "777");
        if let Err(e) = lowered {
            assert!(e.to_string().contains("(process.oomScoreAdj, write); hint: "), "{e}");
        }
    }
}
