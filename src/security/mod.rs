//! Labels, keyrings and other protections of a process that are not part of the last stage.

pub mod capabilities;
pub mod keyring;
pub mod labels;
pub mod oom;
