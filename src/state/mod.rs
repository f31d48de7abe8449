//! The record of a container under the state root: claim, lock, intent, derived status.
