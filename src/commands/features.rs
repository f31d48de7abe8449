//! `features`: what this runtime supports, compiled in; silent on stderr, because CRI-O reads both.

use super::{Context, Outcome, print};
use crate::plan::seccomp;
use crate::spec::features;
use clap::Parser;

/// Print what this runtime supports
#[derive(Debug, Parser)]
pub struct Args {}

pub fn run(_: &Context, _: &Args) -> Outcome {
    let build = features::Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: Some(env!("ORLOP_COMMIT")),
        seccomp_archs: &seccomp::ARCHITECTURES,
        seccomp_known_flags: &features::SECCOMP_FLAGS,
        seccomp_supported_flags: &features::SECCOMP_FLAGS,
        checkpoint: false,
    };
    print(&features::document(&build)?)
}
