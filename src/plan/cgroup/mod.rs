//! Plan of cgroup.
