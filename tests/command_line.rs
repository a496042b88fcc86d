//! The command line as a user runs it: the real binary in an empty folder, its two outputs and
//! its exit status.
//!
//! One file a story. What is printed with `--json` is a contract for scripts, so it is compared
//! as JSON and must be alone on standard output.

#[path = "command_line/bench.rs"]
mod bench;
#[path = "command_line/catalogue.rs"]
mod catalogue;
#[path = "command_line/client.rs"]
mod client;
#[path = "command_line/copies.rs"]
mod copies;
#[path = "command_line/crash.rs"]
mod crash;
#[path = "command_line/damage.rs"]
mod damage;
#[path = "command_line/full_disk.rs"]
mod full_disk;
#[path = "command_line/publisher.rs"]
mod publisher;
#[path = "command_line/secrets.rs"]
mod secrets;
#[path = "command_line/server.rs"]
mod server;
#[path = "command_line/serving.rs"]
mod serving;
#[path = "command_line/settings.rs"]
mod settings;
#[path = "command_line/settled.rs"]
mod settled;
#[path = "command_line/shell.rs"]
mod shell;
#[path = "command_line/tls.rs"]
mod tls;
#[path = "command_line/tokens.rs"]
mod tokens;
#[path = "command_line/torture.rs"]
mod torture;
