//! The generated table of system call numbers against the `syscalls` crate.

#![allow(clippy::expect_used)] // A failed expectation of the generator is a failed test.

#[path = "../hack/syscall-tables.rs"]
mod tables;

#[test]
fn numbers_are_those_of_the_syscalls_crate() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plan/seccomp/numbers.rs");
    let wanted = tables::generate();
    if std::env::var_os("WRITE_TABLES").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{path} is out of date: run with WRITE_TABLES=1");
}
