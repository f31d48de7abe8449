//! What every contract test stands on: a process, a mount namespace and a state root of its own per test,
//! bundles made from nothing, runtime calls that cannot hang the suite, and a search for leftovers.
//!
//! `contract!(Root, Cgroup1).differs("crun", "why").run(|t| …)` is the whole interface; see [`case`] for what
//! happens around the closure and [`test::Test`] for what it can do.

pub mod bundle;
pub mod call;
pub mod case;
pub mod cgroup;
pub mod config;
pub mod exec;
pub mod guest;
pub mod leftovers;
pub mod needs;
pub mod refuse;
pub mod runtime;
pub mod socket;
pub mod test;

pub use bundle::Bundle;
pub use call::Output;
pub use config::{has_cap, namespaced, of};
pub use test::Test;

/// Starts a test: the needs, then `.differs(…)`, `.ours_only(…)`, `.run(…)`. It takes the test's name from where it
/// is written, so it must stand directly in the test function.
#[macro_export]
macro_rules! contract {
    ($($need:expr),* $(,)?) => {{
        fn here() {}
        #[allow(unused_imports)]
        use $crate::harness::needs::Need::*;
        $crate::harness::case::Case::new(std::any::type_name_of_val(&here), vec![$($need),*])
    }};
}
