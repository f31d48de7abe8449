//! The process tree: the effects of a container's life. Start reading at create.rs.

pub mod hooks;
pub mod message;
