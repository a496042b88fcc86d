//! The command line: serving, keeping the catalogue, and a small client.
//!
//! Every command is a contract for scripts: with `--json` standard output holds one JSON value and
//! nothing else. Exit status 0 is done, 1 refused or failed, 2 not understood.

mod arguments;
mod catalogue;
mod client;
mod serve;
mod settings;
mod welcome;

use crate::config::Config;
use crate::domain::error::{Code, Error, Fault, Refusal};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;

pub use arguments::command;

/// Push live streams to browsers, devices and scripts.
#[derive(Parser)]
#[command(name = "streamgate", version, about)]
pub struct Cli {
    /// Print one JSON value and nothing else.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server; so does streamgate alone.
    Serve,
    /// Show the settings in force.
    Config,
    /// Companies, the tenants.
    #[command(subcommand)]
    Company(catalogue::CompanyCommand),
    /// Users and their master tokens.
    #[command(subcommand)]
    User(catalogue::UserCommand),
    /// Restricted tokens.
    #[command(subcommand)]
    Token(catalogue::TokenCommand),
    /// Streams.
    #[command(subcommand)]
    Stream(catalogue::StreamCommand),
    /// Publish an event to a running server.
    Publish(client::Publish),
    /// Follow a stream of a running server, an event a line.
    Tail(client::Tail),
}

/// What a command has to say.
struct Output {
    /// For scripts.
    json: Value,
    /// For people.
    text: String,
}

/// Parses the command line, does it, and prints what came of it.
pub fn run() -> ExitCode {
    if let Err(error) = read_dotenv() {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    let cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    let as_json = cli.json;
    let done = actix_rt::System::new().block_on(dispatch(cli));
    match done {
        Ok(output) => {
            print(&output, as_json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&error, as_json);
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Option<Output>, Error> {
    let config = &cli.config;
    match cli.command {
        None | Some(Command::Serve) => serve::run(config, cli.json).await.map(|()| None),
        Some(Command::Config) => Ok(Some(settings::show())),
        Some(Command::Company(command)) => command.run(config).await.map(Some),
        Some(Command::User(command)) => command.run(config).await.map(Some),
        Some(Command::Token(command)) => command.run(config).await.map(Some),
        Some(Command::Stream(command)) => command.run(config).await.map(Some),
        Some(Command::Publish(publish)) => publish.run().await.map(Some),
        Some(Command::Tail(tail)) => tail.run(cli.json).await.map(|()| None),
    }
}

/// A `.env` that is not there is no mistake; one that cannot be read is.
fn read_dotenv() -> Result<(), String> {
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(format!(".env: {error}")),
    }
}

fn print(output: &Option<Output>, as_json: bool) {
    match output {
        Some(output) if as_json => println!("{}", output.json),
        Some(output) => println!("{}", output.text),
        None => {}
    }
}

fn print_error(error: &Error, as_json: bool) {
    let (code, advice) = match error {
        Error::Refusal(refusal) => (refusal.code.entry().code, refusal.code.entry().advice),
        Error::Fault(_) => (Code::ServerFault.entry().code, ""),
    };
    eprintln!("error: {error}");
    if !advice.is_empty() {
        eprintln!("  {code}: {advice}");
    }
    if as_json {
        println!("{}", json!({"error": {"code": code, "message": error.to_string()}}));
    }
}

/// A failure that has no type of its own, in words.
fn failure(text: impl Into<String>) -> Error {
    Error::Fault(Fault::Io(std::io::Error::other(text.into())))
}

/// A refusal of what was typed.
fn malformed(text: impl Into<String>) -> Error {
    Refusal::new(Code::BodyMalformed, text.into()).into()
}
