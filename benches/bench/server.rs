//! The server that is measured: the built executable as a program of its own, on a new folder.
//!
//! Knows how to start, stop and ask it. Invariant: no server outlives the value that stands for it. The
//! folder is below the target folder, so that it is on a disk and not in memory.

use crate::bench::cores::Cores;
use crate::bench::failure;
use crate::bench::http::{Http, request};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Names another executable to measure, such as one that was built before a change.
const SERVER: &str = "STREAMGATE_BENCH_SERVER";
/// The database's file in the folder.
const DATABASE: &str = "bench.db";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Account {
    /// The company.
    pub company: String,
    /// Its user, unless the token is restricted.
    pub user: Option<String>,
    /// The token.
    pub token: String,
}

/// A running server.
pub struct Server {
    /// Who may do everything.
    pub account: Account,
    /// Where it listens.
    pub address: SocketAddr,
    cores: Cores,
    folder: TempDir,
    running: Child,
}

impl Server {
    /// Starts it on an empty folder; `settings` are environment variables.
    pub fn start(cores: Cores, settings: &[(&str, &str)]) -> std::io::Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut running = spawn(cores, folder.path(), settings)?;
        let screen = read_screen(&mut running)?;
        let member = |name: &str| screen[name].as_str().unwrap_or_default().to_owned();
        let account = Account {
            company: member("company"),
            user: Some(member("user")),
            token: member("token"),
        };
        Ok(Self {
            account,
            address: address(&screen)?,
            cores,
            folder,
            running,
        })
    }

    /// Stops it and starts it on the same folder, which may be at another address.
    pub fn restart(&mut self, settings: &[(&str, &str)]) -> std::io::Result<()> {
        self.stop()?;
        self.resume(settings)
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> std::io::Result<()> {
        let told = Command::new("kill").arg(self.pid().to_string()).status()?;
        match told.success() && self.running.wait()?.success() {
            true => Ok(()),
            false => Err(failure("the server did not stop as it should")),
        }
    }

    /// Starts it again, after it was stopped.
    pub fn resume(&mut self, settings: &[(&str, &str)]) -> std::io::Result<()> {
        self.running = spawn(self.cores, self.folder.path(), settings)?;
        self.address = address(&read_screen(&mut self.running)?)?;
        Ok(())
    }

    /// Its number among the running programs.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }

    /// Where its database is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.folder().join(DATABASE)
    }

    /// A request to it.
    pub fn request(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        request(method, target, &self.account, body)
    }

    /// The same server as who may only publish, by so many patterns of which the last is the one.
    pub fn restricted(&self, patterns: usize) -> std::io::Result<Account> {
        let company = &self.account.company;
        let others = (1..patterns).map(|number| format!("/{company}/area/{number:05}/*"));
        let paths: Value = others
            .chain([format!("/{company}/growth/*")])
            .map(|pattern| (pattern, json!({"write": true})))
            .collect();
        let body = json!({"paths": paths}).to_string();
        let mut http = Http::connect(self.address)?;
        let request = self.request("POST", &format!("/v5.0/{company}/token"), &body);
        let answer: Value = serde_json::from_slice(http.demand(&request)?)?;
        let token = answer["body"]["token"].as_str();
        Ok(Account {
            company: company.clone(),
            user: None,
            token: token.ok_or_else(|| failure(format!("no token: {answer}")))?.to_owned(),
        })
    }

    /// A request that publishes to a stream, waiting for the disk.
    pub fn publication(&self, stream: &str, body: &str) -> Vec<u8> {
        publication(&self.account, stream, body)
    }

    /// Makes a stream; returns its id.
    pub fn make_stream(&self, name: &str, capacity: u64) -> std::io::Result<String> {
        let company = &self.account.company;
        let body = json!({"path": format!("/{company}/{name}"), "capacity": capacity}).to_string();
        self.make(&format!("/v5.0/{company}/stream"), &body)
    }

    /// Opens a session; returns its id.
    pub fn open_session(&self) -> std::io::Result<String> {
        self.make("/session", "")
    }

    fn make(&self, target: &str, body: &str) -> std::io::Result<String> {
        let mut http = Http::connect(self.address)?;
        let answer: Value = serde_json::from_slice(http.demand(&self.request("POST", target, body))?)?;
        let id = answer["body"]["id"].as_str();
        id.map(str::to_owned).ok_or_else(|| failure(format!("no id: {answer}")))
    }

    /// What it counts.
    pub fn metrics(&self) -> std::io::Result<Metrics> {
        let mut http = Http::connect(self.address)?;
        let text = http.demand(&self.request("GET", "/metrics", ""))?;
        Ok(Metrics(String::from_utf8_lossy(text).into_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody left to tell.
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

/// What the server had counted at a time.
pub struct Metrics(String);

impl Metrics {
    /// A counter's value, by its name without `streamgate_` and `_total`; 0 if there is none.
    pub fn count(&self, name: &str) -> u64 {
        self.gauge(&format!("{name}_total"))
    }

    /// A gauge's value, by its name without `streamgate_`; 0 if there is none.
    pub fn gauge(&self, name: &str) -> u64 {
        let start = format!("streamgate_{name} ");
        let value = self.0.lines().find_map(|line| line.strip_prefix(&start));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }
}

/// A request by which `account` publishes to a stream, waiting for the disk.
pub fn publication(account: &Account, stream: &str, body: &str) -> Vec<u8> {
    request(
        "POST",
        &format!("/v5.0/{}/event/{stream}", account.company),
        account,
        body,
    )
}

/// With only the environment that it needs, so that nobody's settings change the figures.
fn spawn(cores: Cores, folder: &Path, settings: &[(&str, &str)]) -> std::io::Result<Child> {
    let other = std::env::var(SERVER).ok();
    let program = other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_streamgate"));
    let mut command = cores.command(program);
    command.args(["serve", "--json"]).env_clear().current_dir(folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
        .env("STREAMGATE_LISTEN", "127.0.0.1:0")
        .env("STREAMGATE_DATABASE_URL", format!("sqlite:{DATABASE}"))
        .env("STREAMGATE_LOG", "warn")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

/// The one line that it prints once it listens.
fn read_screen(running: &mut Child) -> std::io::Result<Value> {
    let out = running.stdout.take().ok_or_else(|| failure("no standard output"))?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(|_| failure(format!("the server did not start: {line}")))
}

fn address(screen: &Value) -> std::io::Result<SocketAddr> {
    let text = screen["address"].as_str().unwrap_or_default();
    text.parse().map_err(|_| failure(format!("no address: {screen}")))
}
