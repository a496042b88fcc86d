//! Which core does what: the server has core 0 to itself, who measures has core 1.
//!
//! `taskset` and `renice` do it, as system calls of ours would be unsafe. Where there is one core or no
//! `taskset`, nothing is pinned, and that is printed.

use std::process::{Command, Stdio};

/// The server's core.
const SERVER: &str = "0";
/// The load's core.
const LOAD: &str = "1";

/// Whether the server and the load have a core each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The server has core 0, the load core 1.
    Apart,
    /// Everybody takes what is free.
    Shared,
}

impl Cores {
    /// Pins the calling thread, and all that it will start, to the load's core. To be called first.
    pub fn divide() -> Self {
        let there = std::thread::available_parallelism().map_or(1, usize::from);
        match there >= 2 && pin(LOAD) {
            true => Self::Apart,
            false => Self::Shared,
        }
    }

    /// Moves the calling thread to the server's core.
    pub fn move_to_server(self) {
        if self == Self::Apart && !pin(SERVER) {
            println!("this part could not be pinned to core {SERVER}");
        }
    }

    /// A command that runs `program` on the server's core.
    pub fn command(self, program: &str) -> Command {
        match self {
            Self::Shared => Command::new(program),
            Self::Apart => {
                let mut command = Command::new("taskset");
                command.args(["-c", SERVER, program]);
                command
            }
        }
    }

    /// For the head of what is printed.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Apart => "server on core 0, load on core 1",
            Self::Shared => "nothing pinned: the figures include the load's own work",
        }
    }
}

/// Lets the calling thread stand back behind the others on its core; without it, what waits for
/// the core would be counted as the server's.
pub fn stand_back() {
    if let Some(thread) = own_number() {
        quietly("renice", &["-n", "10", "-p", &thread]);
    }
}

fn pin(core: &str) -> bool {
    own_number().is_some_and(|thread| quietly("taskset", &["-p", "-c", core, &thread]))
}

/// The calling thread's number, as `taskset` takes it.
fn own_number() -> Option<String> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

fn quietly(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
