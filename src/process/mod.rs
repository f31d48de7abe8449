//! The container's process: stdio, limits, scheduling, home.
