//! The server under torture: starting it, signalling it, and how it ended.
//!
//! It is this executable, with the library of power cuts in front. Invariant: no server outlives
//! the value that stands for it; should the harness be killed, the library ends the server.

use crate::cli::failure;
use crate::cli::torture::shim::FOLDER_VARIABLE;
use crate::domain::error::{Error, Fault};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child as Running, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How soon to look again whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes that may wait for a reader: few, so that those who stall fall behind.
const OUTBOX_BYTES: &str = "65536";
/// Bytes of events in memory, in one life after the other: the usual, where all stays in the journal for long; so few
/// that it is soon settled and read from the disk; and in between, so that settling takes many steps.
const MEMORIES: [Option<&str>; 4] = [None, Some("1048576"), None, Some("6291456")];
/// Ports that may be taken, and how many are tried.
const LOWEST_PORT: u16 = 10_000;
const PORT_TRIES: usize = 100;

/// The server's program, files and port.
pub struct Child {
    program: PathBuf,
    folder: PathBuf,
    library: PathBuf,
    port: u16,
    starts: usize,
    running: Option<Running>,
}

impl Child {
    /// Nothing runs yet. The folder is without links, as the library compares paths.
    pub fn new(folder: &Path, library: PathBuf) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            folder: folder.to_owned(),
            library,
            port: free_port()?,
            starts: 0,
            running: None,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its number among the running programs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.folder.join("torture.db")
    }

    /// This program on the server's file, with only the environment that it needs.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(&self.folder);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let url = format!("sqlite:{}", self.database().display());
        command.env("STREAMGATE_DATABASE_URL", url).stdin(Stdio::null());
        command
    }

    /// Runs another command on the server's file, without the library, and returns what it printed as JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value, Error> {
        let ended = self
            .command()
            .args(arguments)
            .arg("--json")
            .output()
            .map_err(Fault::from)?;
        let text = String::from_utf8_lossy(&ended.stdout);
        match serde_json::from_str(&text) {
            Ok(value) if ended.status.success() => Ok(value),
            _ => {
                let said = String::from_utf8_lossy(&ended.stderr).into_owned();
                Err(failure(format!("streamgate {}: {text}{said}", arguments.join(" "))))
            }
        }
    }

    /// Whether this program has a command of this name.
    pub fn knows(&self, command: &str) -> bool {
        let ended = self.command().args([command, "--help"]).output();
        ended.is_ok_and(|ended| ended.status.success())
    }

    /// Starts it; it may not listen yet.
    pub fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))?;
        let mut command = self.command();
        command
            .arg("serve")
            .env("LD_PRELOAD", &self.library)
            .env(FOLDER_VARIABLE, &self.folder)
            .env("STREAMGATE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("STREAMGATE_WORKERS", "2")
            .env("STREAMGATE_LOG", "warn")
            .env("STREAMGATE_MAX_OUTBOX_BYTES", OUTBOX_BYTES)
            .env("STREAMGATE_SHUTDOWN_TIMEOUT", "5s")
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(bytes) = MEMORIES[self.starts % MEMORIES.len()] {
            command.env("STREAMGATE_MAX_LOG_BYTES", bytes);
        }
        self.starts += 1;
        self.running = Some(command.spawn()?);
        Ok(())
    }

    /// Whether it ended without having been told to.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.running.as_mut().map(Running::try_wait);
        !matches!(ended, Some(Ok(None)))
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.kill()?;
        running.wait().map(|_| ())
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let Some(pid) = self.pid() else {
            return Ok(());
        };
        // The shell's own, since this crate forbids what a system call of ours would take.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()?;
        match sent.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("SIG{name} was not sent"))),
        }
    }

    /// Asks it to end and waits for that; nothing if it is still there after `longest`.
    pub async fn terminate(&mut self, longest: Duration) -> io::Result<Option<ExitStatus>> {
        self.signal("TERM")?;
        let Some(mut running) = self.running.take() else {
            return Ok(None);
        };
        let deadline = Instant::now() + longest;
        loop {
            if let Some(status) = running.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                self.running = Some(running);
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A port that the system gives to nobody who asks for any. A client's own socket might get another one
/// while no server listens; on Linux it would then be connected to itself, and keep the server out.
fn free_port() -> io::Result<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let given = range.split_whitespace().next().and_then(|first| first.parse().ok());
    let below = given.unwrap_or(u16::MAX).max(LOWEST_PORT + 1);
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(LOWEST_PORT..below);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no port is free")))
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody left to tell.
        let _ = self.kill();
    }
}
