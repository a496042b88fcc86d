//! A server that runs in a test's folder, and what a client needs to reach it.
//!
//! The server chooses its port; where it listens is read from its log, as a user would. The HTTP
//! client is not the product's own.

use super::shell::{Ended, Program, Shell, until};

/// A running server.
pub struct Server {
    pub program: Program,
    /// Host and port.
    pub address: String,
}

/// What somebody presents.
#[derive(Clone)]
pub struct Account {
    pub company: String,
    pub user: Option<String>,
    pub token: String,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(shell: &Shell, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let listen = [("STREAMGATE_LISTEN", "127.0.0.1:0")];
        let program = shell.start(&[&listen, variables].concat(), arguments);
        let announced = "listening on http://";
        program.until_err(announced);
        let mut address = String::new();
        until("the line is whole", || {
            let log = program.err();
            let line = log.split_once(announced).expect("it was waited for").1;
            // Text puts a space behind it, JSON a quote.
            let end = line.find([' ', '"']);
            address = line[..end.unwrap_or(0)].to_owned();
            end.is_some()
        });
        let server = Self { program, address };
        until("the server is ready", || server.get("/health/ready").0 == 200);
        server
    }

    /// Starts a server on an empty database; returns also what it made.
    pub fn first_start(shell: &Shell, variables: &[(&str, &str)]) -> (Self, Account) {
        let server = Self::start(shell, variables, &["serve", "--json"]);
        let made = server.program.until_out("\n");
        let made: serde_json::Value = serde_json::from_str(&made).expect("one JSON value");
        (server, Account::of(&made))
    }

    /// Ends it with a signal and waits for that.
    pub fn stop(self, signal: &str) -> Ended {
        self.program.signal(signal);
        self.program.until_end()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, None)
    }

    /// Opens a session: status and body.
    pub fn open_session(&self, account: &Account) -> (u16, String) {
        self.request("POST", "/session", Some(account))
    }

    /// Makes a connection token for RootSocket's clients: status and body.
    pub fn connection_token(&self, account: &Account) -> (u16, String) {
        self.request("POST", "/api/v1/connections/", Some(account))
    }

    /// Waits until the server lets an account in, or does no more.
    pub fn until_admitted(&self, account: &Account, admitted: bool) {
        let status = if admitted { 201 } else { 401 };
        until("the server knows of the token's change", || {
            self.open_session(account).0 == status
        });
    }

    /// Waits until a line is among the metrics.
    pub fn until_metric(&self, line: &str) {
        until(line, || self.get("/metrics").1.lines().any(|shown| shown == line));
    }

    /// Waits until so many sockets are subscribed to something.
    pub fn until_subscriptions(&self, count: usize) {
        self.until_metric(&format!("streamgate_subscriptions {count}"));
    }

    fn request(&self, method: &str, path: &str, account: Option<&Account>) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.url()));
        if let Some(account) = account {
            request = request
                .header("X-Auth-Company", &account.company)
                .header("X-Auth-Token", &account.token)
                .header("Authorization", &account.token);
            request = match &account.user {
                Some(user) => request.header("X-Auth-User", user),
                None => request,
            };
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a body"))
        })
    }
}

impl Account {
    /// What a command that makes a token printed with `--json`.
    pub fn of(made: &serde_json::Value) -> Self {
        let text = |name: &str| made[name].as_str().map(str::to_owned);
        Self {
            company: text("company").expect("a company"),
            user: text("user"),
            token: text("token").expect("a token"),
        }
    }

    /// The environment of the client's commands; without a company the path names it.
    pub fn variables<'a>(&'a self, url: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut variables = vec![("STREAMGATE_URL", url), ("STREAMGATE_TOKEN", self.token.as_str())];
        if let Some(user) = &self.user {
            variables.push(("STREAMGATE_USER", user));
            variables.push(("STREAMGATE_COMPANY", &self.company));
        }
        variables
    }
}
