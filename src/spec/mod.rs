//! config.json: read once, mended, validated. Nothing here decides what to do about it.

pub mod mount_options;
