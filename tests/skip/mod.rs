//! How a test outside of the contract says that it cannot be run here, so that hack/test.sh counts it.

use std::io::Write;
use std::sync::Mutex;

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Straight to descriptor 2, as libtest swallows what a passing test prints; once for each test. Where `NEEDS_HAVE` promises
/// all that the test needs (the words of the contract's `needs.rs`; none of them for what is never promised), it fails.
#[track_caller]
pub fn skip(needs: &[&str], why: &str) {
    let promised = std::env::var("NEEDS_HAVE").unwrap_or_default();
    let kept = |need: &&str| promised.split(',').any(|word| word == *need);
    assert!(needs.is_empty() || !needs.iter().all(kept), "NEEDS_HAVE promises {needs:?} but: {why}");
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let mut said = SAID.lock().unwrap_or_else(|e| e.into_inner());
    if !said.contains(&name) {
        let _ = std::io::stderr().write_all(format!("skip: {name}: {why}\n").as_bytes());
        said.push(name);
    }
}
