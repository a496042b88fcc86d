//! A real server on port 0 with a fresh database file, and independent clients for it.
//!
//! Every wait has a condition and a deadline; nothing sleeps and hopes. Whoever starts a stage
//! must [`Stage::end`] it, which asserts that the server has nothing left of anybody.
//!
//! With `STREAMGATE_TEST_TLS=1` every stage speaks TLS, and its clients reach it through a bridge: so
//! all stories can be told once more behind TLS. Those fail then that name the server's own address
//! or ask how much a connection holds.

use crate::authority::{Authority, Bridge};
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use streamgate::catalogue::{Catalogue, NewToken};
use streamgate::config::Config;
use streamgate::domain::audit::{Actor, AuditPage};
use streamgate::domain::company::Changes;
use streamgate::domain::id::{SYSTEM, TokenKey};
use streamgate::domain::path::{CompanyName, Path, UserName};
use streamgate::domain::scope::{Scope, ScopeJson};
use streamgate::domain::stream::{NewStream, Rules};
use streamgate::server::Server;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Who does what is done on the database file.
pub const BY: Actor = Actor::COMMAND_LINE;

/// The longest that anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct JustSettings {
    #[command(flatten)]
    config: Config,
}

/// A running server and a second connection to its database, as another process would have it.
pub struct Stage {
    pub address: SocketAddr,
    pub catalogue: Catalogue,
    pub http: reqwest::Client,
    /// Where the server listens for notices, if a flag says that it does.
    pub notices: Option<SocketAddr>,
    /// Company acme's user alice.
    pub alice: Account,
    /// Where the server listens, if `address` is that of a bridge to it.
    pub secure: Option<Bridge>,
    folder: TempDir,
    config: Config,
    running: Option<Running>,
}

/// Stops a server and waits for its end.
type Running = (oneshot::Sender<()>, JoinHandle<()>);

/// What somebody presents.
#[derive(Clone)]
pub struct Account {
    pub company: String,
    pub user: Option<String>,
    pub token: String,
    pub key: TokenKey,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of a refusal, which is in its head if it has one.
    pub fn code(&self) -> String {
        let json = self.json();
        let code = json["head"]["code"].as_str().or(json["code"].as_str());
        code.unwrap_or_default().to_owned()
    }
}

impl Stage {
    /// With the default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With some settings, as flags: `&["--ping-interval", "100ms"]`.
    pub async fn with(flags: &[&str]) -> Self {
        Self::listening_on("127.0.0.1:0", flags).await
    }

    /// As [`Stage::with`], on an address that others than this machine may reach.
    pub async fn listening_on(listen: &str, flags: &[&str]) -> Self {
        match std::env::var_os("STREAMGATE_TEST_TLS") {
            Some(_) => Self::behind_tls(listen, flags).await,
            None => Self::in_folder(tempfile::tempdir().expect("a folder"), listen, flags).await,
        }
    }

    /// As [`Stage::with`], speaking TLS with a certificate of an authority of its own.
    pub async fn secure(flags: &[&str]) -> Self {
        Self::behind_tls("127.0.0.1:0", flags).await
    }

    async fn behind_tls(listen: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let files = authority.issue(folder.path(), "localhost");
        let [certificate, key] = files.map(|file| file.to_str().expect("text").to_owned());
        let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
        let mut stage = Self::in_folder(folder, listen, &[&tls, flags].concat()).await;
        let bridge = Bridge::start(authority, stage.address).await;
        stage.address = bridge.address;
        stage.secure = Some(bridge);
        stage
    }

    async fn in_folder(folder: TempDir, listen: &str, flags: &[&str]) -> Self {
        let url = format!("sqlite:{}/test.db", folder.path().display());
        let fixed = ["stage", "--listen", listen, "--workers", "2", "--database-url", &url];
        let JustSettings { config } = JustSettings::parse_from(fixed.iter().chain(flags));
        assert_eq!(config.contradictions(), Vec::<String>::new());
        let catalogue = Catalogue::open_file(&url, Arc::default()).await.expect("a catalogue");
        add_company(&catalogue, "acme").await;
        let alice = add_user(&catalogue, "acme", "alice").await;
        let (address, notices, running) = serve(&config).await;
        Self {
            address,
            notices,
            catalogue,
            http: reqwest::Client::new(),
            alice,
            secure: None,
            folder,
            config,
            running: Some(running),
        }
    }

    /// Ends the server and starts another one with the same settings on the same database file.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.restart_stopped().await;
    }

    /// The second half of [`Stage::restart`].
    pub async fn restart_stopped(&mut self) {
        let (address, notices, running) = serve(&self.config).await;
        self.notices = notices;
        self.address = match &self.secure {
            Some(bridge) => bridge.lead_to(address),
            None => address,
        };
        self.running = Some(running);
    }

    /// The folder of the database file `test.db`.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub async fn add_company(&self, name: &str) {
        add_company(&self.catalogue, name).await;
    }

    /// Changes acme's settings, a JSON object, as the command line would; waits until the server knows.
    pub async fn settle(&self, settings: serde_json::Value) {
        let company = CompanyName::parse("acme").expect("a name");
        let changes: Changes = serde_json::from_value(settings).expect("settings");
        let settled = self.catalogue.change_company(&company, &changes, &BY);
        settled.await.expect("settled");
        // Changes are followed in order: whoever knows a later one knows this.
        self.add_token(&[("/acme/settled", "read")], None).await;
    }

    /// Adds a user as the command line would, and waits until the server knows.
    pub async fn add_user(&self, company: &str, name: &str) -> Account {
        let account = add_user(&self.catalogue, company, name).await;
        self.until_known(&account).await;
        account
    }

    /// Adds a user of acme who does not manage, as the command line would.
    pub async fn add_plain_user(&self, name: &str) -> Account {
        let company = CompanyName::parse("acme").expect("a name");
        let user = UserName::parse(name).expect("a name");
        let enrolled = self
            .catalogue
            .add_user(&company, &user, false, &BY)
            .await
            .expect("a user");
        let account = Account {
            company: "acme".to_owned(),
            user: Some(name.to_owned()),
            token: enrolled.issued.secret,
            key: enrolled.issued.key,
        };
        self.until_known(&account).await;
        account
    }

    /// Makes a restricted token of acme: `&[("/acme/door/**", "read")]`; waits until the server knows.
    pub async fn add_token(&self, rules: &[(&str, &str)], expires_ms: Option<u64>) -> Account {
        let mut json = ScopeJson::new();
        for (pattern, verb) in rules {
            let verbs = json.entry((*pattern).to_owned()).or_default();
            match *verb {
                "read" => verbs.read = true,
                "write" => verbs.write = true,
                _ => verbs.manage = true,
            }
        }
        let company = CompanyName::parse("acme").expect("a name");
        let scope = Scope::parse(&json, &company, 64).expect("a scope");
        let label = "made by a test".to_owned();
        let new = NewToken {
            scope,
            label,
            expires_ms,
            ..NewToken::default()
        };
        let issued = self.catalogue.add_token(&company, &new, &BY).await.expect("a token");
        let account = Account {
            company: "acme".to_owned(),
            user: None,
            token: issued.secret,
            key: issued.key,
        };
        self.until_known(&account).await;
        account
    }

    async fn until_known(&self, account: &Account) {
        self.until("the server knows the account", || async {
            let address = format!("/v5.0/{}/stream?limit=0", account.company);
            self.request("GET", &address, Some(account), "").await.status == 200
        })
        .await;
    }

    /// What was done last in acme, the newest first: action, subject and user.
    pub async fn audited(&self, count: usize) -> Vec<[String; 3]> {
        let company = CompanyName::parse("acme").expect("a name");
        let tokens = self.catalogue.tokens_of(&company).await.expect("tokens");
        let page = AuditPage {
            limit: count,
            ..AuditPage::default()
        };
        let entries = self
            .catalogue
            .audit_of(tokens[0].company_id, &page)
            .await
            .expect("entries");
        let entries = entries.into_iter();
        entries
            .map(|entry| [entry.action, entry.subject, entry.user.unwrap_or_default()])
            .collect()
    }

    /// Adds a stream through the API and returns its id.
    pub async fn add_stream(&self, account: &Account, path: &str, capacity: u64) -> String {
        let body = format!(r#"{{"path":"{path}","capacity":{capacity}}}"#);
        let address = format!("/v5.0/{}/stream", account.company);
        let answer = self.request("POST", &address, Some(account), &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["body"]["id"].as_str().expect("an id").to_owned()
    }

    /// Adds a stream on the database file, as the command line would.
    pub async fn add_stream_on_file(&self, path: &str) -> String {
        let new = NewStream {
            rules: Rules::default(),
            path: Path::parse(path).expect("a path"),
            description: String::new(),
            capacity: 1_000,
        };
        let stream = self.catalogue.add_stream(&new, SYSTEM, &BY).await.expect("a stream");
        stream.id.to_string()
    }

    /// Any HTTP request.
    pub async fn request(&self, method: &str, path: &str, account: Option<&Account>, body: &str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        if let Some(account) = account {
            request = request
                .header("X-Auth-Company", &account.company)
                .header("X-Auth-Token", &account.token);
            if let Some(user) = &account.user {
                request = request.header("X-Auth-User", user);
            }
        }
        if !body.is_empty() {
            request = request.body(body.to_owned());
        }
        answer_to(request).await
    }

    /// A `POST` by alice with more headers than hers.
    pub async fn post_with(&self, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let alice = [("X-Auth-User", "alice"), ("X-Auth-Token", &*self.alice.token)];
        self.request_with("POST", path, &[&alice, more].concat(), body).await
    }

    /// What a `GET` by alice answers, which must succeed: its body.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let answer = self.request("GET", path, Some(&self.alice), "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()["body"].take()
    }

    /// The numbers `n` in the elems of what is found at an address, in the order of the answer.
    pub async fn find_numbers(&self, path: &str) -> Vec<u64> {
        let events = self.get(path).await;
        let events = events.as_array().expect("an array").iter();
        events
            .map(|event| event["elems"]["n"].as_u64().expect("a number"))
            .collect()
    }

    /// Publishes `{"n":…}` for each number to a stream, a thousand at once.
    pub async fn publish_numbers(&self, stream: &str, numbers: std::ops::Range<u64>) {
        let numbers: Vec<u64> = numbers.collect();
        for part in numbers.chunks(1_000) {
            let events: Vec<String> = part.iter().map(|n| format!(r#"{{"elems":{{"n":{n}}}}}"#)).collect();
            let address = format!("/v5.0/acme/event/{stream}");
            let body = format!("[{}]", events.join(","));
            let answer = self.request("POST", &address, Some(&self.alice), &body).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// An HTTP request with these headers and no others.
    pub async fn request_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_owned());
        }
        answer_to(request).await
    }

    /// `POST /session`.
    pub async fn open_session(&self, account: &Account, body: &str) -> Answer {
        self.request("POST", "/session", Some(account), body).await
    }

    /// Opens a session and returns its id.
    pub async fn session(&self, account: &Account) -> String {
        let answer = self.open_session(account, "").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["body"]["id"].as_str().expect("an id").to_owned()
    }

    /// Publishes one event by path and asserts that it was taken.
    pub async fn publish(&self, account: &Account, path: &str, elems: &str) -> Answer {
        let body = format!(r#"{{"path":"{path}","elems":{elems}}}"#);
        let address = format!("/v5.0/{}/event", account.company);
        let answer = self.request("POST", &address, Some(account), &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// Tries to connect; an HTTP refusal comes back as its status and text.
    pub async fn try_connect(&self, session: &str, headers: &[(&'static str, &str)]) -> Result<Socket, (u16, String)> {
        let url = format!("ws://{}/session/{session}/ws", self.address);
        self.try_open(&url, headers).await
    }

    /// As [`Stage::try_connect`], to any address.
    pub async fn try_open(&self, url: &str, headers: &[(&str, &str)]) -> Result<Socket, (u16, String)> {
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Socket { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let text = response
                    .body()
                    .as_ref()
                    .map(|body| String::from_utf8_lossy(body).into_owned());
                Err((response.status().as_u16(), text.unwrap_or_default()))
            }
            Err(error) => panic!("no answer to the upgrade: {error}"),
        }
    }

    /// Connects to a session.
    pub async fn connect(&self, session: &str) -> Socket {
        let connected = self.try_connect(session, &[]).await;
        connected.unwrap_or_else(|refusal| panic!("refused: {refusal:?}"))
    }

    /// A socket on a new session.
    pub async fn socket(&self, account: &Account) -> Socket {
        let session = self.session(account).await;
        self.connect(&session).await
    }

    /// Ends the server and asserts that it had nothing left of anybody. Drop all sockets first.
    pub async fn end(mut self) {
        self.until_metric("connections", 0).await;
        self.until_metric("subscriptions", 0).await;
        assert_eq!(self.metric("faults_total").await, 0);
        self.stop().await;
    }

    /// Ends the server whoever is connected.
    pub async fn stop(&mut self) {
        let task = self.begin_stop();
        tokio::time::timeout(DEADLINE, task)
            .await
            .expect("an end in time")
            .expect("an end without panic");
    }

    /// Tells the server to end; the task is over when it has.
    pub fn begin_stop(&mut self) -> JoinHandle<()> {
        let (stop, task) = self.running.take().expect("a running server");
        stop.send(()).expect("somebody who listens");
        task
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        assert!(
            self.running.is_none() || std::thread::panicking(),
            "a stage must be ended with end() or stop()"
        );
    }
}

/// A WebSocket client.
pub struct Socket {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub async fn send(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .await
            .expect("a socket that takes a message");
    }

    /// The next frame that is not a ping or pong.
    pub async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.socket.next()).await;
            let message = next
                .expect("a frame in time")
                .expect("a frame, not the end")
                .expect("a legal frame");
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("a text message was expected, not {other:?}"),
        }
    }

    /// The next text message as JSON.
    pub async fn json(&mut self) -> serde_json::Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Sends a request and returns the next message, which is its acknowledgement.
    pub async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        self.text().await
    }

    /// Subscribes by path and asserts that it was done.
    pub async fn subscribe(&mut self, path: &str) {
        let request = format!(r#"{{"msgId":"s","object":"event","type":"subscribe","path":"{path}"}}"#);
        let ack = self.ask(&request).await;
        assert!(ack.starts_with(r#"{"head":{"msgId":"s","ok":true"#), "{ack}");
    }

    /// Asserts that nothing has come: the next message is the answer to a question asked now.
    pub async fn assert_quiet(&mut self) {
        let request = r#"{"msgId":"quiet?","object":"event","type":"unsubscribe","path":"/nobody/here"}"#;
        let ack = self.ask(request).await;
        assert!(ack.contains(r#""msgId":"quiet?""#), "something had come: {ack}");
    }

    /// Waits for the server's close frame: code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(Some(frame)) = self.next().await {
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

/// Starts a server that runs until its sender is used.
async fn serve(config: &Config) -> (SocketAddr, Option<SocketAddr>, Running) {
    let server = Server::start(config).await.expect("a server");
    assert!(server.demo().is_none(), "a demo only on an empty database");
    let (address, notices) = (server.address(), server.notices_address());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let stop = async move {
            let _ = stopped.await;
        };
        server.run_until(stop).await.expect("an end without fault");
    });
    (address, notices, (stop, task))
}

async fn answer_to(request: reqwest::RequestBuilder) -> Answer {
    let (client, request) = request.timeout(DEADLINE).build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().to_string(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let answer = Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    };
    crate::described::check(&method, &path, &answer);
    answer
}

async fn add_company(catalogue: &Catalogue, name: &str) {
    let name = CompanyName::parse(name).expect("a name");
    catalogue.add_company(&name).await.expect("a company");
}

async fn add_user(catalogue: &Catalogue, company: &str, name: &str) -> Account {
    let (company, name) = (
        CompanyName::parse(company).expect("a name"),
        UserName::parse(name).expect("a name"),
    );
    let enrolled = catalogue.add_user(&company, &name, true, &BY).await.expect("a user");
    let issued = enrolled.issued;
    Account {
        company: company.to_string(),
        user: Some(name.to_string()),
        token: issued.secret,
        key: issued.key,
    }
}
