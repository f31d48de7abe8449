//! Runs a command as on an older kernel: `fake-enosys [--errno ENOSYS|EPERM] CALL[,CALL...] -- COMMAND...` answers these
//! system calls with that errno, for the command and all that it starts.
//!
//! A CALL may be limited to a value or to bits of one argument: `waitid:0=3`, `clone:0&0x1000` (see refuse.rs, which is
//! also what it cannot do). EPERM is how an outer container engine's profile answers what it does not know.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

#[path = "../tests/contract/harness/refuse.rs"]
mod refuse;

const USAGE: &str =
    "usage: fake-enosys [--errno ENOSYS|EPERM] CALL[:N=VALUE|:N&BITS][,CALL...] -- COMMAND...";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let mut word = || args.next().and_then(|word| word.into_string().ok());
    let mut errno = libc::ENOSYS;
    let mut calls = word();
    if calls.as_deref() == Some("--errno") {
        errno = match word().as_deref() {
            Some("ENOSYS") => libc::ENOSYS,
            Some("EPERM") => libc::EPERM,
            _ => anyhow::bail!(USAGE),
        };
        calls = word();
    }
    let (Some(calls), Some("--")) = (calls, word().as_deref()) else { anyhow::bail!(USAGE) };
    let Some(program) = args.next() else { anyhow::bail!(USAGE) };
    let refusals = refuse::parse(&calls).map_err(anyhow::Error::msg)?;
    refuse::install(&refuse::program(&refusals, errno))?;
    let failed = Command::new(&program).args(args).exec();
    anyhow::bail!("{}: {failed}", program.display())
}
