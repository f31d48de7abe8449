//! N7–N9, the last stage of init: identity, filter, the wait at the start gate, startContainer hooks,
//! execve. Core only and without allocation: the same lines run in the freestanding program (the usual
//! case: ten kilobytes waiting instead of a copy of the runtime, and nothing of the host's binary to be
//! captured through /proc/PID/exe) and in the forked process where memfds cannot be executed.
//!
//! Runs in init, inside all namespaces of the container, after pivot_root, with the credentials that
//! init was born with. Must be single-threaded. Ends in execve or exit_group.

use super::layout::{self, Op, Page, Plan};
use super::raw::{call, call6, nr};

const PR_SET_KEEPCAPS: usize = 8;
const PR_SET_DUMPABLE: usize = 4;
const PR_CAPBSET_DROP: usize = 24;
const PR_SET_NAME: usize = 15;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
const AT_FDCWD: usize = -100isize as usize;
const AT_EACCESS: usize = 0x200;
const X_OK: usize = 1;
const O_WRONLY: usize = 1;
const O_CLOEXEC: usize = 0o2_000_000;
#[cfg(target_arch = "x86_64")]
const O_NOFOLLOW: usize = 0o400_000;
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: usize = 0o100_000;
const S_IFMT: u32 = 0o170000;
const S_IFDIR: u32 = 0o040000;
const ENOENT: i32 = 2;
pub(super) const EINTR: i32 = 4;
const EACCES: i32 = 13;
const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const EISDIR: i32 = 21;
const ENOSYS: i32 = 38;
const F_SETFD: usize = 2;
const FD_CLOEXEC: usize = 1;

/// Where a failure is told: on the channel as long as it is open, and on the page, which no filter closes.
pub(super) struct Stage {
    plan: *const Plan,
    pub(super) page: *mut Page,
    /// Still connected to the runtime.
    channel: bool,
    /// The first chdir succeeded.
    entered: bool,
}

/// Runs the whole stage.
///
/// # Safety
/// `plan` must have been laid out by `image::Builder` for the address at which it lies now, and this
/// must be the only thread of a process that owns the descriptors named in it.
pub unsafe fn run(plan: *const Plan) -> ! {
    // SAFETY: the caller vouches for the plan; prctl takes plain numbers.
    unsafe {
        call(nr::PRCTL, PR_SET_DUMPABLE, 0, 0, 0);
        call(nr::PRCTL, PR_SET_NAME, c"orlop:[init]".as_ptr() as usize, 0, 0);
        let mut stage = Stage { plan, page: core::ptr::null_mut(), channel: true, entered: false };
        // Before any filter: one that denies these calls would leave the gate open in the workload.
        stage.close_others();
        stage.map_page();
        stage.label();
        stage.identity();
        stage.enter_cwd(true);
        let path = stage.resolve();
        if (*plan).flags & layout::SECCOMP_LAST != 0 {
            stage.seccomp();
        }
        stage.wait_at_gate();
        stage.hooks();
        stage.exec(path)
    }
}

/// Turns a raw result into errno, 0 for success.
pub(super) fn errno(result: isize) -> i32 {
    if (-4095..0).contains(&result) { -result as i32 } else { 0 }
}

pub(super) fn exit(code: usize) -> ! {
    // SAFETY: exit_group and exit take a number and do not return, unless a filter denies both.
    unsafe {
        call(nr::EXIT_GROUP, code, 0, 0, 0);
        call(nr::EXIT, code, 0, 0, 0);
    }
    loop {
        // SAFETY: an instruction that raises SIGILL (SIGTRAP): the last way out that no filter sees.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!("ud2")
        };
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!("brk 1")
        };
    }
}

// SAFETY (for every block in this impl): `self.plan` points at the laid-out plan for the whole life of
// the process; pointers inside it are absolute and NUL-terminated as layout.rs says; buffers passed to
// the kernel are locals that outlive the call; `self.page` is null or a live shared mapping.
impl Stage {
    pub(super) fn plan(&self) -> &Plan {
        // SAFETY: see the impl.
        unsafe { &*self.plan }
    }

    fn has(&self, flag: u64) -> bool {
        self.plan().flags & flag != 0
    }

    fn map_page(&mut self) {
        let fd = self.plan().page;
        if fd < 0 {
            return;
        }
        // SAFETY: see the impl; a new shared mapping at an address the kernel chooses (PROT_READ|WRITE = 3, MAP_SHARED = 1).
        let mapped = unsafe { call6(nr::MMAP, 0, layout::PAGE_SIZE, 3, 1, fd as usize, 0) };
        if errno(mapped) != 0 {
            self.fail(Op::Page, errno(mapped), 0);
        }
        self.page = mapped as *mut Page;
        let _ = self.close(fd);
    }

    /// False only when a filter denies it.
    pub(super) fn close(&self, fd: i32) -> bool {
        // SAFETY: closing a descriptor this process owns.
        fd < 0 || errno(unsafe { call(nr::CLOSE, fd as usize, 0, 0, 0) }) == 0
    }

    /// Tells what failed and ends. Never returns.
    pub(super) fn fail(&self, op: Op, errno: i32, detail: i32) -> ! {
        if self.channel {
            let _ = self.send(layout::MESSAGE_FAILED, op as u32, errno, detail);
        }
        if !self.page.is_null() {
            // SAFETY: see the impl. Volatile: another process reads it after our death.
            unsafe {
                (&raw mut (*self.page).errno).write_volatile(errno);
                (&raw mut (*self.page).detail).write_volatile(detail);
                (&raw mut (*self.page).failed).write_volatile(op as u32);
            }
        }
        exit(match errno {
            ENOENT => 127,
            0 => 1,
            _ => 126,
        })
    }

    /// False when a filter denies write(2), or the runtime is gone.
    fn send(&self, kind: u8, op: u32, errno: i32, number: i32) -> bool {
        let mut message = [0u8; layout::MESSAGE_LEN];
        message[0] = kind;
        message[4..8].copy_from_slice(&op.to_ne_bytes());
        message[8..12].copy_from_slice(&errno.to_ne_bytes());
        message[12..16].copy_from_slice(&number.to_ne_bytes());
        let channel = self.plan().channel as usize;
        // SAFETY: see the impl.
        let sent = unsafe { call(nr::WRITE, channel, message.as_ptr() as usize, message.len(), 0) };
        self::errno(sent) == 0
    }

    pub(super) fn check(&self, op: Op, result: isize) {
        if errno(result) != 0 {
            self.fail(op, errno(result), 0);
        }
    }

    /// AppArmor or SELinux label for the next execve. Here, not before: executing this program would
    /// have used it up, and since 5.13 the kernel takes it only from the image that has opened the file.
    fn label(&self) {
        let plan = self.plan();
        if plan.label_len == 0 {
            return;
        }
        let dir = plan.label_dir as usize;
        let mut name = plan.label_files as *const u64;
        let mut file = -(ENOENT as isize);
        // SAFETY: see the impl.
        unsafe {
            while *name != 0 && errno(file) == ENOENT {
                file = call(nr::OPENAT, dir, *name as usize, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0);
                name = name.add(1);
            }
            if errno(file) != 0 {
                self.fail(Op::Label, errno(file), layout::LABEL_NOT_OPENED);
            }
            self.check(
                Op::Label,
                call(nr::WRITE, file as usize, plan.label as usize, plan.label_len as usize, 0),
            );
        }
        let _ = self.close(file as i32);
        let _ = self.close(plan.label_dir);
    }

    fn identity(&mut self) {
        let plan = *self.plan();
        // SAFETY: see the impl.
        unsafe {
            if self.has(layout::NO_NEW_PRIVS) {
                self.check(Op::NoNewPrivs, call6(nr::PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0));
            }
            if self.has(layout::SECCOMP_FIRST) {
                self.seccomp();
            }
            self.drop_bounding();
            self.enter_cwd(false);
            self.check(Op::KeepCaps, call(nr::PRCTL, PR_SET_KEEPCAPS, 1, 0, 0));
            if self.has(layout::SET_GROUPS) {
                let result = call(nr::SETGROUPS, plan.group_count as usize, plan.groups as usize, 0, 0);
                // A filter says EPERM as well: there must be nothing that would stay.
                let none = || plan.group_count == 0 && call(nr::GETGROUPS, 0, 0, 0, 0) == 0;
                if !(errno(result) == EPERM && (self.has(layout::GROUPS_OPTIONAL) || none())) {
                    self.check(Op::Groups, result);
                }
            }
            let (gid, uid) = (plan.gid as usize, plan.uid as usize);
            self.check(Op::Gid, call(nr::SETRESGID, gid, gid, gid, 0));
            self.check(Op::Uid, call(nr::SETRESUID, uid, uid, uid, 0));
            self.capabilities();
            // The change of ids has made the process dumpable or not by its own rule: once more.
            call(nr::PRCTL, PR_SET_DUMPABLE, 0, 0, 0);
        }
    }

    /// Up to the first number that this kernel does not know.
    fn drop_bounding(&self) {
        let plan = self.plan();
        let mut capability = 0u64;
        while capability < 64 {
            if plan.bounding & (1u64 << (capability & 63)) == 0 {
                // SAFETY: prctl with plain numbers.
                let result = unsafe { call6(nr::PRCTL, PR_CAPBSET_DROP, capability as usize, 0, 0, 0, 0) };
                match errno(result) {
                    0 => {}
                    EINVAL => return,
                    other => self.fail(Op::Bounding, other, capability as i32),
                }
            }
            capability += 1;
        }
    }

    /// One capset for all three sets, then ambient one by one (capabilities(7)).
    fn capabilities(&self) {
        let plan = self.plan();
        // _LINUX_CAPABILITY_VERSION_3, this process.
        let header: [u32; 2] = [0x2008_0522, 0];
        let low = |set: u64| set as u32;
        let high = |set: u64| (set >> 32) as u32;
        let data: [u32; 6] = [
            low(plan.effective),
            low(plan.permitted),
            low(plan.inheritable),
            high(plan.effective),
            high(plan.permitted),
            high(plan.inheritable),
        ];
        // SAFETY: header and data are live locals in the layout of capset(2) version 3; prctl takes numbers.
        unsafe {
            self.check(
                Op::Capabilities,
                call(nr::CAPSET, header.as_ptr() as usize, data.as_ptr() as usize, 0, 0),
            );
            call(nr::PRCTL, PR_SET_KEEPCAPS, 0, 0, 0);
            call6(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0);
            let mut capability = 0u64;
            while capability < 64 {
                if plan.ambient & (1u64 << (capability & 63)) != 0 {
                    let raised =
                        call6(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability as usize, 0, 0, 0);
                    if errno(raised) != 0 {
                        self.send(layout::MESSAGE_AMBIENT, 0, errno(raised), capability as i32);
                    }
                }
                capability += 1;
            }
        }
    }

    /// chdir as container root first: a directory that only root may search is fine (docker run -u 1000
    /// -w /root); where that is refused, again with the final credentials. Then proof that the result lies
    /// inside the container's root: a descriptor of the host named as /proc/self/fd/N would give
    /// "(unreachable)…" (CVE-2024-21626).
    fn enter_cwd(&mut self, last: bool) {
        let plan = *self.plan();
        if plan.cwd == 0 {
            return;
        }
        if !self.entered {
            // SAFETY: see the impl.
            let changed = errno(unsafe { call(nr::CHDIR, plan.cwd as usize, 0, 0, 0) });
            self.entered = changed == 0;
            if changed != 0 && (last || (changed != EACCES && changed != EPERM)) {
                self.fail(Op::Cwd, changed, 0);
            }
        }
        if last {
            let mut buffer = [0u8; 4096];
            // SAFETY: see the impl.
            let length = unsafe { call(nr::GETCWD, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0) };
            if errno(length) != 0 || buffer[0] != b'/' {
                self.fail(Op::CwdOutside, if errno(length) != 0 { errno(length) } else { ENOENT }, 0);
            }
        }
    }

    /// Finds args[0] with the credentials and the directory that execve will have.
    fn resolve(&self) -> u64 {
        if self.has(layout::NO_PROCESS) {
            return 0;
        }
        let mut candidate = self.plan().candidates as *const u64;
        let mut denied = 0;
        // SAFETY: see the impl.
        unsafe {
            while *candidate != 0 {
                match self.executable(*candidate) {
                    0 => return *candidate,
                    found => {
                        if self.has(layout::PATH_GIVEN) {
                            self.fail(Op::Lookup, found, 0);
                        }
                        if found == EACCES || found == EISDIR {
                            denied = found;
                        }
                    }
                }
                candidate = candidate.add(1);
            }
        }
        if denied != 0 {
            self.fail(Op::Lookup, denied, 0);
        }
        self.fail(Op::NotFoundInPath, ENOENT, 0)
    }

    /// 0 when the file may be executed. A filter that denies the question leaves the answer to execve.
    fn executable(&self, path: u64) -> i32 {
        let mut stat = [0u64; 20];
        // SAFETY: see the impl; struct stat is at most 144 bytes on the supported architectures.
        unsafe {
            let result = errno(call(nr::NEWFSTATAT, AT_FDCWD, path as usize, stat.as_mut_ptr() as usize, 0));
            if result == EPERM || result == ENOSYS {
                return 0;
            }
            if result != 0 {
                return result;
            }
            let mode = stat.as_ptr().cast::<u8>().add(nr::ST_MODE).cast::<u32>().read_unaligned();
            if mode & S_IFMT == S_IFDIR {
                return EISDIR;
            }
            let mut result = errno(call(nr::FACCESSAT2, AT_FDCWD, path as usize, X_OK, AT_EACCESS));
            if result == ENOSYS || result == EPERM {
                result = errno(call(nr::FACCESSAT, AT_FDCWD, path as usize, X_OK, 0));
            }
            match result {
                EPERM | ENOSYS => 0,
                other => other,
            }
        }
    }

    /// Everything the workload must not see closes at execve. All but our own were close-on-exec already;
    /// those survived the execve of this program on purpose and must not survive the next: `start` waits for
    /// the last copy of the gate to close.
    fn close_others(&self) {
        const CLOSE_RANGE_CLOEXEC: usize = 4;
        let plan = self.plan();
        // SAFETY: plain numbers.
        let all = unsafe {
            call(nr::CLOSE_RANGE, plan.first_closed as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0)
        };
        if errno(all) == 0 {
            return;
        }
        // Before 5.11, or a filter around the runtime.
        let mut index = 0;
        let own = [plan.channel, plan.start, plan.page, plan.label_dir, plan.hook_stdin];
        while index < own.len() {
            if own[index] >= 0 {
                // SAFETY: plain numbers; F_SETFD with FD_CLOEXEC on a descriptor of ours.
                let marked = unsafe { call(nr::FCNTL, own[index] as usize, F_SETFD, FD_CLOEXEC, 0) };
                self.check(Op::Descriptors, marked);
            }
            index += 1;
        }
    }

    fn seccomp(&mut self) {
        const SECCOMP_SET_MODE_FILTER: usize = 1;
        let plan = *self.plan();
        // struct sock_fprog
        #[repr(C)]
        struct Program {
            len: u16,
            filter: u64,
        }
        let program = Program { len: plan.program_len as u16, filter: plan.program };
        let pointer = &raw const program as usize;
        // SAFETY: the program lies in the plan for the whole call.
        let mut result =
            unsafe { call(nr::SECCOMP, SECCOMP_SET_MODE_FILTER, plan.filter_flags as usize, pointer, 0) };
        if errno(result) == EINVAL && self.has(layout::SECCOMP_FLAGS_OPTIONAL) {
            // SAFETY: as above.
            result = unsafe { call(nr::SECCOMP, SECCOMP_SET_MODE_FILTER, 0, pointer, 0) };
        }
        self.check(Op::Seccomp, result);
        if self.has(layout::SECCOMP_LISTENER) {
            self.hand_over(result as i32);
        }
    }

    /// The runtime takes the listener by pidfd_getfd and answers when the agent has it: from then on
    /// our own calls may be asked about.
    fn hand_over(&self, listener: i32) {
        self.send(layout::MESSAGE_LISTENER, 0, 0, listener);
        let mut answer = [0u8; layout::MESSAGE_LEN];
        loop {
            // SAFETY: see the impl.
            let got = unsafe {
                call(nr::READ, self.plan().channel as usize, answer.as_mut_ptr() as usize, answer.len(), 0)
            };
            if errno(got) == EINTR {
                continue;
            }
            if got as usize != answer.len() || answer[0] != layout::MESSAGE_TAKEN {
                exit(1);
            }
            break;
        }
        let _ = self.close(listener);
    }

    /// End-of-file on the channel is the sign "waiting". Any failed read but EINTR means die, never pass.
    /// A process that joins a container has no gate: its channel stays open until execve closes it.
    fn wait_at_gate(&mut self) {
        let plan = *self.plan();
        if plan.start < 0 {
            return;
        }
        if !self.close(plan.channel) && !self.send(layout::MESSAGE_WAITING, 0, 0, 0) {
            // Neither close nor write: nobody would ever learn that we wait.
            exit(1);
        }
        self.channel = false;
        let mut byte = [0u8; 1];
        loop {
            // SAFETY: see the impl.
            let got = unsafe { call(nr::READ, plan.start as usize, byte.as_mut_ptr() as usize, 1, 0) };
            match errno(got) {
                EINTR => continue,
                0 if got == 1 => break,
                0 => exit(1),
                other => self.fail(Op::Gate, other, 0),
            }
        }
        self.reached(8);
    }

    fn reached(&self, stage: u32) {
        if !self.page.is_null() {
            // SAFETY: see the impl.
            unsafe { (&raw mut (*self.page).stage).write_volatile(stage) };
        }
    }

    fn exec(&self, path: u64) -> ! {
        let plan = self.plan();
        if self.has(layout::NO_PROCESS) {
            self.fail(Op::NoProcess, 0, 0);
        }
        self.reached(9);
        // SAFETY: see the impl.
        let result = unsafe { call(nr::EXECVE, path as usize, plan.argv as usize, plan.envp as usize, 0) };
        self.fail(Op::Execve, errno(result), 0)
    }
}
