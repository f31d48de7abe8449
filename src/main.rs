//! The binary: arguments in, one exit code out. Everything else is in the library.
//!
//! `no_main`: the start-up of std (signal handlers, a stack guard, descriptors polled) costs 100 µs and
//! twenty system calls, and puts the host's /dev/null into closed descriptors, which the container would
//! see. `orlop::commands::main` does what is needed.
#![no_main]

/// Called by libc. Arguments come through std::env, which reads them before this (glibc's init array).
// The one exported name: what libc calls. It takes no pointer and keeps none.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    orlop::commands::main(std::env::args_os().skip(1))
}
