//! Signals as numbers, real-time ones included: blocking and reading them in a foreground command, passing
//! them on by pidfd, and giving a new program the dispositions it expects.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Call, Error, Result};

/// Faults of the process itself: blocked, they would only kill it without a trace (signal(7)).
const OF_OUR_OWN: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
];

/// A signal that somebody sent, read from the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub number: i32,
    /// The sender's pid, 0 for the kernel and for senders outside our pid namespace.
    pub sender: u32,
}

/// All signals but faults, blocked and readable. They stay blocked in children until [`super::process::reset_signals`].
#[derive(Debug)]
pub struct BlockedSignals {
    fd: SignalFd,
    before: SigSet,
}

impl BlockedSignals {
    pub fn new() -> Result<Self> {
        let mut set = SigSet::all();
        for signal in OF_OUR_OWN {
            set.remove(signal);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).call("sigprocmask")?;
        let fd =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).call("signalfd4")?;
        Ok(Self { fd, before })
    }

    /// The next pending signal, None when there is none.
    pub fn next(&self) -> Result<Option<Received>> {
        loop {
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo)
                        .map_err(|_| Error::new("the kernel sent a signal without a number"))?;
                    return Ok(Some(Received { number, sender: info.ssi_pid }));
                }
                Ok(None) => return Ok(None),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).call("read"),
            }
        }
    }
}

impl AsFd for BlockedSignals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // Cannot fail: the mask is a valid one, and a destructor could not report it.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// The default disposition for one signal.
pub fn set_default(number: i32) -> Result<()> {
    // SAFETY: an all-zero sigaction is a valid one: SIG_DFL, no flags, empty mask.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is initialised and outlives the call; no old action is asked for; SIG_DFL installs no
    // code of ours.
    if unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(Error::sys("rt_sigaction", super::last_errno()))
    }
}

/// Does `act` while a signal of our own comes again and again: waits of the kernel's that signals end, and that nobody has
/// asked for, are over after the pause. (A socket with SO_LINGER is closed so slowly, if the last descriptor is ours.)
pub fn nudged<T>(pause: Duration, act: impl FnOnce() -> T) -> T {
    /// Nobody else's: whoever waits in the foreground passes it over.
    const NUDGE: i32 = libc::SIGURG;
    extern "C" fn nothing(_: i32) {}
    // SAFETY: all structures live on this stack, and are initialised before the kernel reads them; the handler does nothing,
    // so that it may run anywhere; what was changed is set back before the return. Where no timer can be made (EAGAIN)
    // nothing comes.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, NUDGE);
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(NUDGE, &raw const action, &raw mut before);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, &raw mut mask);
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = NUDGE;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = std::mem::zeroed();
        let made = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) == 0;
        if made {
            let every = libc::timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
            let times = libc::itimerspec { it_interval: every, it_value: every };
            libc::timer_settime(timer, 0, &raw const times, std::ptr::null_mut());
        }
        let answer = act();
        if made {
            libc::timer_delete(timer);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
        libc::sigaction(NUDGE, &raw const before, std::ptr::null_mut());
        answer
    }
}
