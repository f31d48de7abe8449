//! The only home of `unsafe`: one file per kernel topic, wrappers named as the system call, borrowed
//! descriptors in, owned descriptors out. Kernel-version fallbacks live here and nowhere else.
#![allow(unsafe_code)]

pub mod clone;
pub mod last_stage;
pub mod net;
pub mod ns;
pub mod process;
pub mod socket;
pub mod spawn;
pub mod bpf;
pub mod cgroupfs;
pub mod mount;
pub mod path;
pub mod procfs;
pub mod tree;
pub mod userns;
