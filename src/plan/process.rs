//! Plan of the process.
