//! Labels, keyrings and other protections of a process that are not part of the last stage.
