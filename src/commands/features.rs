//! `features`: what this runtime supports, compiled in but for what only the kernel can tell; silent on stderr,
//! because CRI-O reads both.

use super::{Context, Outcome, print};
use crate::host;
use crate::plan::seccomp;
use crate::spec::features;
use clap::Parser;

/// Print what this runtime supports
#[derive(Debug, Parser)]
pub struct Args {}

pub fn run(_: &Context, _: &Args) -> Outcome {
    let supported = host::seccomp_flags();
    let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
    let build = features::Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: Some(env!("ORLOP_COMMIT")),
        seccomp_archs: &seccomp::ARCHITECTURES,
        seccomp_known_flags: &features::SECCOMP_FLAGS,
        seccomp_supported_flags: &supported,
        checkpoint: false,
    };
    print(&features::document(&build)?)
}
