//! Control groups: executors of the plan (directories, entry, limits, devices, freeze, kill, removal).
