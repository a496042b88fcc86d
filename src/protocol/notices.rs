//! The notices protocol: what the clients of the users server speak (Webinate users 0.3.2).

pub mod verbs;
pub mod wire;
