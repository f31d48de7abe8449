//! The contract: what callers of a low-level runtime rely on, as tests that run against any of them.
//!
//! `cargo test --test contract` tests orlop; `RUNTIME=runc` or `RUNTIME=crun` (a name in PATH or a path) tests a
//! peer: a sentence is believed only after the incumbents have been asked. README.md tells the rest.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

mod ambush;
mod attacks;
mod bad_config;
mod binds;
mod cgroups;
mod cli;
mod conformance_config;
mod conformance_features;
mod conformance_hooks;
mod conformance_linux;
mod conformance_runtime;
mod conformance_table;
mod differences;
mod exec;
mod exec_joins;
mod exec_process;
mod harness;
mod hooks;
mod kill_delete;
mod leaks;
mod lifecycle;
mod lsm;
mod mounts;
mod namespaces;
mod old_kernel;
mod pause;
mod process;
mod program;
mod ps_events;
mod races;
mod review;
mod rootfs;
mod run;
mod seccomp;
mod seccomp_agent;
mod state_cmd;
mod stdio;
mod terminal;
mod update;
