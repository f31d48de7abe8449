//! orlop: an OCI runtime that turns a bundle into an isolated process and runs its life.
//!
//! One direction: args → spec → plan (pure) → executors → state. ARCHITECTURE.md draws the house;
//! `container::create` is where to start reading.

pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod console;
pub mod container;
pub mod error;
pub mod host;
pub mod log;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod security;
pub mod spec;
pub mod state;
pub mod sys;

#[cfg(test)]
#[path = "../tests/skip/mod.rs"]
mod skip;
