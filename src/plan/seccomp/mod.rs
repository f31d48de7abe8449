//! Plan of seccomp.
