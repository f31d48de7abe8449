//! Plan of rootfs.
