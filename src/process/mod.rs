//! Executors of `plan::process`: limits, scheduling, standard descriptors, and the foreground commands'
//! waiting for the process. What cannot be undone (ids, capabilities, filter) is the last stage's.

pub mod foreground;
pub mod home;
pub mod notify;
pub mod rlimits;
pub mod scheduling;
pub mod stdio;
