//! The command line: serving, keeping the catalogue, and a small client.
//!
//! Every command is a contract for scripts: with `--json` standard output holds one JSON value and
//! nothing else. Exit status 0 is done, 1 refused or failed, 2 not understood.

mod arguments;
mod backup;
mod bench;
mod catalogue;
mod client;
mod people;
mod serve;
mod settings;
mod streams;
mod tokens;
pub mod torture;
mod welcome;

use crate::config::Config;
use crate::domain::error::{Code, Error, Fault, Refusal};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::io::Write;
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
    /// Users, their passwords and their master tokens.
    #[command(subcommand)]
    User(people::UserCommand),
    /// Tokens.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Streams.
    #[command(subcommand)]
    Stream(streams::StreamCommand),
    /// Copy the database to a file; a server may be running on it.
    Backup(backup::Backup),
    /// Read all of a database file or copy, and say whether it is sound.
    Verify(backup::Verify),
    /// Publish an event to a running server.
    Publish(client::Publish),
    /// Follow a stream of a running server, an event a line.
    Tail(client::Tail),
    Bench(bench::Bench),
    Torture(torture::Torture),
}

/// What a command has to say.
struct Output {
    /// For scripts: the text of one JSON value.
    json: String,
    /// For people.
    text: String,
    /// Whether the status is to be 0: a verdict can be given and be a bad one.
    is_good: bool,
}

impl Output {
    fn new(json: &Value, text: impl Into<String>) -> Self {
        Self {
            json: json.to_string(),
            text: text.into(),
            is_good: true,
        }
    }
}

/// Parses the command line, does it, and prints what came of it.
pub fn run() -> ExitCode {
    if let Err(text) = read_dotenv() {
        return usage(&[text]);
    }
    let cli = match arguments::parse() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    let as_json = cli.json;
    let done = actix_rt::System::new().block_on(dispatch(cli));
    let printed = done.and_then(|output| match output {
        Some(output) if as_json => print(&output.json).map(|()| output.is_good),
        Some(output) => print(&output.text).map(|()| output.is_good),
        None => Ok(true),
    });
    match printed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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
        Some(Command::Backup(backup)) => backup.run(config).await.map(Some),
        Some(Command::Verify(verify)) => verify.run().await.map(Some),
        Some(Command::Publish(publish)) => publish.run().await.map(Some),
        Some(Command::Bench(bench)) => bench.run().await.map(Some),
        Some(Command::Torture(torture)) => torture.run().await.map(Some),
        Some(Command::Tail(tail)) => tail.run(cli.json).await.map(|()| None),
    }
}

/// The `.env` of this folder. That there is none is no mistake; one that cannot be read is. Its lines may hold
/// secrets and are not shown.
fn read_dotenv() -> Result<(), String> {
    match dotenvy::from_path(".env") {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(dotenvy::Error::LineParse(..)) => Err(".env has a line that is not NAME=VALUE".to_owned()),
        Err(error) => Err(format!(".env: {error}")),
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| failure(format!("standard output cannot be written: {error}")))
}

fn print_error(error: &Error, as_json: bool) {
    let entry = match error {
        Error::Refusal(refusal) => refusal.code.entry(),
        Error::Fault(_) => Code::ServerFault.entry(),
    };
    let mut lines = vec![format!("error: {error}")];
    if let Error::Refusal(_) = error {
        lines.push(format!("  {}: {}", entry.code, entry.advice));
    }
    complain(&lines, as_json.then_some((entry.code, error.to_string())));
}

/// Ends with what is wrong about the command line or the settings.
fn usage(mistakes: &[String]) -> ExitCode {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("error: {mistake}")).collect();
    let as_json = std::env::args_os().any(|argument| argument == "--json");
    complain(&lines, as_json.then(|| ("usage", mistakes.join("; "))));
    ExitCode::from(2)
}

/// If neither standard error nor standard output can be written there is nobody left to tell.
fn complain(lines: &[String], json: Option<(&str, String)>) {
    for line in lines {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    if let Some((code, message)) = json {
        let json = json!({"error": {"code": code, "message": message}});
        let _ = writeln!(std::io::stdout(), "{json}");
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
