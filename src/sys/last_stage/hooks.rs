//! N8: startContainer hooks, run by the last stage between the gate and execve, with the identity, the filter
//! and the namespaces of the workload. Output and failures go to the status page. Core only.

use super::layout::{Hook, Op};
use super::raw::{call, call6, nr};
use super::stage::{EINTR, Stage, errno, exit};

const CLOEXEC: usize = 0o2000000;
/// Milliseconds between two looks at a hook that cannot be waited for by a descriptor.
const TICK: i64 = 5;

// SAFETY (for every block in this impl): as in stage.rs: the plan is laid out for its place, its pointers are
// absolute and NUL-terminated, buffers are locals that outlive the call, the page is null or a live mapping.
impl Stage {
    pub(super) fn hooks(&self) {
        let plan = self.plan();
        let mut index = 0;
        while index < plan.hook_count {
            // SAFETY: see the impl; `hooks` is an array of hook_count entries.
            let hook = unsafe { &*(plan.hooks as *const Hook).add(index as usize) };
            if !self.page.is_null() {
                // SAFETY: see the impl. What an earlier hook wrote is not this one's.
                unsafe {
                    (&raw mut (*self.page).hook).write_volatile(index as u32);
                    (&raw mut (*self.page).text_len).write_volatile(0);
                }
            }
            self.run_hook(hook);
            index += 1;
        }
    }

    fn run_hook(&self, hook: &Hook) {
        let mut pipe = [0i32; 2];
        // SAFETY: see the impl; SIGCHLD (17) as exit signal of a plain fork-like clone.
        let child = unsafe {
            self.check(Op::HookStart, call(nr::PIPE2, pipe.as_mut_ptr() as usize, CLOEXEC, 0, 0));
            if self.plan().hook_stdin >= 0 {
                call(nr::LSEEK, self.plan().hook_stdin as usize, 0, 0, 0);
            }
            call6(nr::CLONE, 17, 0, 0, 0, 0, 0)
        };
        self.check(Op::HookStart, child);
        if child == 0 {
            self.become_hook(hook, pipe[1]);
        }
        let _ = self.close(pipe[1]);
        let mut status = None;
        let timed_out = self.wait_for_hook(child as i32, pipe[0], hook.timeout, &mut status);
        if timed_out {
            // Not waited for: a filter may deny the signal. At the latest the hook dies with its pid namespace.
            // SAFETY: plain numbers; the child is not reaped yet.
            unsafe { call(nr::KILL, child as usize, 9, 0, 0) };
            self.fail(Op::HookTimeout, 0, 0);
        }
        let status = loop {
            match status {
                Some(status) => break status,
                None => status = self.reap(child as i32, 0),
            }
        };
        let _ = self.close(pipe[0]);
        if status != 0 {
            // What the child has said when it could not become the hook: to be told, and not to be overwritten.
            let refused = if self.page.is_null() {
                0
            } else {
                // SAFETY: see the impl.
                unsafe { (&raw const (*self.page).errno).read_volatile() }
            };
            self.fail(Op::HookStatus, refused, status);
        }
    }

    fn become_hook(&self, hook: &Hook, output: i32) -> ! {
        // SAFETY: see the impl; after the clone this process owns its copies of the descriptors.
        unsafe {
            if self.plan().hook_stdin >= 0 {
                call(nr::DUP3, self.plan().hook_stdin as usize, 0, 0, 0);
            }
            call(nr::DUP3, output as usize, 1, 0, 0);
            call(nr::DUP3, output as usize, 2, 0, 0);
            let result = call(nr::EXECVE, hook.path as usize, hook.argv as usize, hook.envp as usize, 0);
            if !self.page.is_null() {
                (&raw mut (*self.page).errno).write_volatile(errno(result));
            }
        }
        exit(127)
    }

    /// wait4(2): the hook's status, None when it has not ended (WNOHANG) or a signal came.
    fn reap(&self, child: i32, options: usize) -> Option<i32> {
        let mut status = 0i32;
        // SAFETY: see the impl.
        let waited = unsafe { call(nr::WAIT4, child as usize, &raw mut status as usize, options, 0) };
        match errno(waited) {
            0 if waited > 0 => Some(status),
            0 | EINTR => None,
            // How the hook ended cannot be known: that is no success.
            other => self.fail(Op::HookStart, other, 0),
        }
    }

    /// Collects the hook's output into the page until it ends; true = its time is up. `status` is set where looking for
    /// the end was taking it.
    fn wait_for_hook(&self, child: i32, output: i32, timeout: u64, status: &mut Option<i32>) -> bool {
        const WNOHANG: usize = 1;
        let deadline = if timeout > 0 { self.now() + timeout } else { 0 };
        // SAFETY: plain numbers.
        let pidfd = unsafe { call(nr::PIDFD_OPEN, child as usize, 0, 0, 0) };
        let pidfd = if errno(pidfd) == 0 { pidfd as i32 } else { -1 };
        let mut output = output;
        let mut taken = 0usize;
        let expired = loop {
            let left = match deadline {
                0 => -1i64,
                at => match at.checked_sub(self.now()) {
                    Some(left) if left > 0 => left as i64,
                    _ => break true,
                },
            };
            // Without a pidfd (before 5.3, or a filter) its end is looked for again and again.
            let left = if pidfd >= 0 {
                left
            } else {
                *status = self.reap(child, WNOHANG);
                match status {
                    Some(_) => 0,
                    None if left < 0 => TICK,
                    None => left.min(TICK),
                }
            };
            // struct pollfd { fd, events: i16, revents: i16 }; POLLIN = 1.
            let mut polls = [[output, 1], [pidfd, 1]];
            let time = [left / 1000, (left % 1000) * 1_000_000];
            let time_pointer = if left < 0 { 0 } else { &raw const time as usize };
            // SAFETY: see the impl.
            let ready = unsafe { call6(nr::PPOLL, polls.as_mut_ptr() as usize, 2, time_pointer, 0, 0, 0) };
            if errno(ready) != 0 && errno(ready) != EINTR {
                break false;
            }
            if polls[0][1] >> 16 != 0 && output >= 0 && !self.take_output(output, &mut taken) {
                output = -1;
            }
            if polls[1][1] >> 16 != 0 || status.is_some() {
                break false;
            }
        };
        let _ = self.close(pidfd);
        expired
    }

    /// Reads some of a hook's output into the page; false at its end.
    fn take_output(&self, output: i32, taken: &mut usize) -> bool {
        let mut buffer = [0u8; 512];
        // SAFETY: see the impl.
        let got = unsafe { call(nr::READ, output as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0) };
        if got <= 0 {
            return errno(got) == EINTR;
        }
        if !self.page.is_null() {
            let mut index = 0;
            // SAFETY: see the impl; `taken` never exceeds the text's length.
            unsafe {
                while index < got as usize && *taken < 1024 {
                    (&raw mut (*self.page).text).cast::<u8>().add(*taken).write_volatile(buffer[index]);
                    *taken += 1;
                    index += 1;
                }
                (&raw mut (*self.page).text_len).write_volatile(*taken as u32);
            }
        }
        true
    }

    /// Milliseconds of the monotonic clock.
    fn now(&self) -> u64 {
        let mut time = [0i64; 2];
        // SAFETY: see the impl; CLOCK_MONOTONIC = 1.
        unsafe { call(nr::CLOCK_GETTIME, 1, time.as_mut_ptr() as usize, 0, 0) };
        time[0] as u64 * 1000 + time[1] as u64 / 1_000_000
    }
}
