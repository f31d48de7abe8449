//! `kill`: a signal to init by pidfd, or to all processes of the container.

use super::members;
use super::status::living_init;
use crate::cgroup::{Freezer, Manager, signal_listed};
use crate::error::{Doing, Error, Result};
use crate::state::Record;
use crate::sys::pidfd::pidfd_send_signal;
use std::os::fd::AsFd;

/// Sends `signal` to init. `all`: to every process of the container instead; then a stopped container is no
/// error. Takes no lock: it must work while `create` or `start` is stuck.
pub fn kill(record: &Record, signal: i32, all: bool) -> Result<()> {
    let manager = Manager::open(&record.cgroup);
    let init = living_init(record)?;
    if all {
        return kill_everything(record, &manager, signal);
    }
    let Some(pidfd) = init else {
        // Leftovers of a container without a pid namespace of its own can still be killed.
        if signal == libc::SIGKILL && !record.own_pid_namespace {
            manager.kill_all()?;
        }
        return Err(Error::new("container not running"));
    };
    // The others do not die with init then.
    let everything = signal == libc::SIGKILL && !record.own_pid_namespace;
    if everything {
        manager.kill_all()?;
    }
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) => {}
        // It was among them, and its parent (conmon, a shim, our own `run`) has reaped it by now.
        Err(e) if everything && e.errno() == libc::ESRCH => return Ok(()),
        Err(e) if e.errno() == libc::ESRCH => return Err(Error::new("container not running")),
        Err(e) => return Err(e).doing("signal the container's init"),
    }
    if signal == libc::SIGKILL && manager.state()? == Freezer::Frozen {
        // A frozen process cannot die on v1.
        manager.thaw()?;
    }
    Ok(())
}

/// A waiting init is pid 1 of its namespace, where the kernel ignores a signal with default action; but
/// there is no program yet whose choice that could be, so a deadly signal ends it (as with runc).
pub fn kill_waiting(record: &Record, signal: i32) -> Result<()> {
    const HARMLESS: [i32; 5] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH, libc::SIGTSTP];
    const STOPPING: [i32; 3] = [libc::SIGSTOP, libc::SIGTTIN, libc::SIGTTOU];
    let deadly = !HARMLESS.contains(&signal) && !STOPPING.contains(&signal);
    kill(record, if deadly { libc::SIGKILL } else { signal }, false)
}

fn kill_everything(record: &Record, manager: &Manager, signal: i32) -> Result<()> {
    if signal == libc::SIGKILL && members::has_cgroup(record) {
        return manager.kill_all();
    }
    manager
        .while_frozen(|| signal_listed(signal, || members::processes(record)))
        .doing("signal the container's processes")
}
