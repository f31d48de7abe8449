//! The only home of `unsafe`: one file per kernel topic, wrappers named as the system call, borrowed
//! descriptors in, owned descriptors out. Kernel-version fallbacks live here and nowhere else.
#![allow(unsafe_code)]

pub mod bpf;
pub mod cgroupfs;
pub mod clone;
pub mod kernel;
pub mod key;
pub mod last_stage;
pub mod memfd;
pub mod mount;
pub mod net;
pub mod ns;
pub mod own_image;
pub mod path;
pub mod pidfd;
pub mod process;
pub mod procfs;
pub mod regex;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod stdio;
pub mod tree;
pub mod userns;

/// errno of the call that just failed, for wrappers around raw `libc`.
pub(crate) fn last_errno() -> i32 {
    nix::errno::Errno::last_raw()
}
