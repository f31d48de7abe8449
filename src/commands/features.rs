//! `features`: what this runtime supports, compiled in; silent on stderr, because CRI-O reads both.

use super::{Context, Outcome, print};
use clap::Parser;

/// Print what this runtime supports
#[derive(Debug, Parser)]
pub struct Args {}

pub fn run(_: &Context, _: &Args) -> Outcome {
    print(&crate::spec::features::document()?)
}
