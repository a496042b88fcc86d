//! Ten thousand idle sockets and a thousand subscribers at once, and nothing left when they go.
//!
//! The server is a process of its own here: two ends of so many connections are more open files
//! than one process is allowed on many machines, and a process's open files can be counted.

use crate::raw::{CLOSE, PING, PONG, RawSocket};
use crate::stage::DEADLINE;
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const IDLE: usize = 10_000;
const SUBSCRIBERS: usize = 1_000;
const EVENTS: u64 = 20;
/// How many connect at the same time.
const GROUPS: usize = 50;
/// A file for each connection, and some more.
const OPEN_FILES: u64 = 11_500;

/// `streamgate serve` with its first start's company, user, token and stream.
struct Program {
    child: Child,
    address: SocketAddr,
    token: String,
    http: reqwest::Client,
    _folder: TempDir,
}

impl Program {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}/test.db", folder.path().display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamgate"))
            .args([
                "--json",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workers",
                "2",
                "--log",
                "warn",
            ])
            .args(["--database-url", &url])
            // Nobody here answers a ping.
            .args(["--ping-interval", "5m", "--dead-after", "10m"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        lines.read_line(&mut line).expect("a first line");
        let screen: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| screen[name].as_str().expect(name).to_owned();
        Self {
            address: text("address").parse().expect("an address"),
            token: text("token"),
            // Each request on its own connection, so that none of ours is among the open files.
            http: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()
                .expect("a client"),
            child,
            _folder: folder,
        }
    }

    async fn request(&self, method: reqwest::Method, path: &str, body: &str) -> String {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        let request = request.header("X-Auth-Company", "demo").header("X-Auth-User", "admin");
        let request = request.header("X-Auth-Token", &self.token).body(body.to_owned());
        let answer = request.timeout(DEADLINE).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.text().await.expect("a body")
    }

    async fn session(&self) -> String {
        let answer = self.request(reqwest::Method::POST, "/session", "").await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["body"]["id"].as_str().expect("an id").to_owned()
    }

    async fn publish(&self) {
        let body = r#"{"path":"/demo/hello","elems":{"hello":"crowd"}}"#;
        self.request(reqwest::Method::POST, "/v5.0/demo/event", body).await;
    }

    /// Waits until a metric has a value.
    async fn until_metric(&self, name: &str, value: usize) {
        let wanted = format!("\nstreamgate_{name} {value}\n");
        self.until(&wanted, async || {
            self.request(reqwest::Method::GET, "/metrics", "")
                .await
                .contains(&wanted)
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many files it has open, of which none is a client's: waits for the last to have gone.
    async fn open_files_without_clients(&self) -> usize {
        let least = std::cell::Cell::new((usize::MAX, 0));
        self.until("no more files are closed", async || {
            let (files, looks) = least.get();
            let now = self.open_files();
            least.set(if now < files { (now, 0) } else { (files, looks + 1) });
            looks >= 10
        })
        .await;
        least.get().0
    }

    fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("a process that lives").count()
    }

    /// Ends it as an operator would.
    async fn end(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        assert!(asked.success());
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whether the test failed or not, it is not to outlive it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens `count` sockets in groups at the same time, each group on a session of its own.
async fn open(program: &Program, count: usize, subscribe: bool) -> Vec<RawSocket> {
    let mut groups = JoinSet::new();
    for group in 0..GROUPS {
        let (server, session) = (program.address, program.session().await);
        groups.spawn(async move {
            let mut sockets = Vec::with_capacity(count / GROUPS);
            for _ in 0..count / GROUPS {
                let mut socket = RawSocket::new(connect(group, server).await);
                socket.upgrade(&session).await;
                if subscribe {
                    socket.subscribe("/demo/hello").await;
                }
                sockets.push(socket);
            }
            sockets
        });
    }
    groups.join_all().await.into_iter().flatten().collect()
}

/// Connects from one of several addresses of this machine, so that ports are never short.
async fn connect(group: usize, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = Ipv4Addr::new(127, 0, 0, 2 + (group % 4) as u8);
    socket.bind((from, 0).into()).expect("a port");
    socket.connect(server).await.expect("a connection")
}

/// Reads what was published, then asks a question whose answer shows that nothing else had come.
async fn read_each_once(socket: &mut RawSocket) {
    for offset in 1..=EVENTS {
        let text = socket.text().await;
        assert!(
            text.contains(&format!(r#","offset":{offset},"#)),
            "{offset} was expected: {text}"
        );
    }
    socket.send_frame(PING, b"more?").await;
    let pong = socket.next().await;
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"more?"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eleven_thousand_sockets_are_served_and_leave_nothing_behind() {
    let allowed = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    assert!(
        allowed >= OPEN_FILES,
        "{allowed} open files are allowed, {OPEN_FILES} are needed"
    );
    let program = Program::start();
    // Opens whatever the database opens with the first request.
    program.session().await;
    program.until_metric("connections", 0).await;
    let before = program.open_files_without_clients().await;

    let idle: Vec<TcpStream> = open(&program, IDLE, false)
        .await
        .into_iter()
        .map(|socket| socket.stream)
        .collect();
    let subscribers = open(&program, SUBSCRIBERS, true).await;
    program.until_metric("connections", IDLE + SUBSCRIBERS).await;
    program.until_metric("subscriptions", SUBSCRIBERS).await;
    assert!(program.open_files() >= IDLE + SUBSCRIBERS);

    for _ in 0..EVENTS {
        program.publish().await;
    }
    let mut readers = JoinSet::new();
    for mut socket in subscribers {
        readers.spawn(async move {
            read_each_once(&mut socket).await;
            socket
        });
    }
    let subscribers = readers.join_all().await;
    for socket in &idle {
        let nothing = socket.try_read(&mut [0]).expect_err("nothing to read");
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }

    drop(idle);
    for mut socket in subscribers {
        socket.send_frame(CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(socket.closed().await.0, 1000);
    }
    program.until_metric("connections", 0).await;
    program.until_metric("subscriptions", 0).await;
    program
        .until("its open files are as before", async || program.open_files() <= before)
        .await;
    program.end().await;
}
