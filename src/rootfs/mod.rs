//! Executors of `plan::rootfs`: mounts, devices, masks, the switch of the root. Runs in init.
