//! Terminals: the pty of a container, the console socket, the foreground relay.

pub mod pty;
pub mod relay;
