//! The process tree: the effects of a container's life. Start reading at create.rs.

pub mod create;
pub mod delete;
pub mod hooks;
pub mod id_maps;
pub mod init;
pub mod intermediate;
pub mod kill;
pub mod last;
pub mod listener;
pub mod message;
pub mod start;
pub mod status;
