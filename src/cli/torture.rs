//! What it takes to torment a server: a disk that fails and forgets.
//!
//! Knows files and system calls, not the server.

pub mod disk;
pub mod shim;
