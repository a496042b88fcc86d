//! The binary: everything it can do is a command of [`streamgate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    streamgate::cli::run()
}
