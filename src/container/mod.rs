//! The process tree: the effects of a container's life. Start reading at create.rs.

pub mod create;
mod death;
pub mod delete;
pub mod events;
pub mod exec;
pub mod guard;
mod heard;
pub mod hooks;
pub mod id_maps;
pub mod init;
pub mod intermediate;
mod joiner;
pub mod joins;
pub mod kill;
pub mod last;
mod limits;
pub mod listener;
pub mod members;
pub mod message;
pub mod pause;
pub mod ps;
mod silent;
pub mod start;
pub mod status;
pub mod stored;
pub mod update;
