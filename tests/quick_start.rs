//! The first-start screen, taken at its word: its five lines are pasted as they are printed, and
//! the real wscat is driven through a pseudo-terminal.
//!
//! A line to be pasted starts at the margin. `tests/run` installs wscat and says where it is;
//! without it these tests fail, they are never skipped.

#[path = "command_line/server.rs"]
#[expect(dead_code, reason = "the command line's tests use the rest")]
mod server;
#[path = "command_line/shell.rs"]
#[expect(dead_code, reason = "the command line's tests use the rest")]
mod shell;

use server::Server;
use shell::{Program, Shell};
use std::io::Write;
use std::path::PathBuf;

/// What a terminal sends for Ctrl+C.
const INTERRUPT: &str = "\x03";

/// A newcomer at a terminal, in an empty folder.
struct Newcomer {
    shell: Shell,
    server: Server,
    /// The five lines to be pasted.
    lines: Vec<String>,
}

impl Newcomer {
    fn new() -> Self {
        let shell = Shell::new();
        let server = Server::start(&shell, &[], &[]);
        let screen = server.program.until_out("user rotate demo admin\n");
        let pasted = screen
            .lines()
            .filter(|line| line.starts_with(|first: char| !first.is_whitespace()));
        let lines: Vec<String> = pasted.map(str::to_owned).collect();
        assert_eq!(lines.len(), 5, "{screen}");
        Self { shell, server, lines }
    }

    /// The printed line of a number, as the screen counts.
    fn line(&self, number: usize) -> &str {
        &self.lines[number - 1]
    }

    /// Pastes a line into a shell.
    fn paste(&self, line: &str) -> Program {
        let mut command = self.shell.command("bash");
        command.env("PATH", path(false)).args(["-c", line]);
        Program::start(command)
    }

    /// Pastes the line that publishes, and sees that it did.
    fn publish(&self) {
        let said = self.paste(self.line(4)).until_end().json();
        assert_eq!(
            (&said["head"]["ok"], &said["head"]["status"]),
            (&true.into(), &201.into()),
            "{said}"
        );
    }

    /// Pastes a line into a terminal, where wscat is installed.
    fn paste_in_terminal(&self, line: &str) -> Program {
        let mut command = self.shell.command("script");
        let variables = [("TERM", "xterm"), ("SHELL", "/bin/bash")];
        command.env("PATH", path(true)).envs(variables);
        command.args(["--quiet", "--flush", "--return", "--command", line, "/dev/null"]);
        Program::start(command)
    }
}

/// Where programs are found.
fn path(with_wscat: bool) -> String {
    let usual = std::env::var("PATH").expect("a PATH");
    if with_wscat {
        let folder = wscat();
        return format!("{}:{usual}", folder.parent().expect("a folder").display());
    }
    usual
}

fn wscat() -> PathBuf {
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/node_modules/.bin/wscat").into();
    let wscat = std::env::var_os("STREAMGATE_TEST_WSCAT").map_or_else(usual, PathBuf::from);
    assert!(
        wscat.exists(),
        "{} is missing: run tests/run, or npm install --prefix target/tools wscat@6.1.0",
        wscat.display()
    );
    wscat
}

fn type_in(program: &mut Program, text: &str) {
    let stdin = program.stdin.as_mut().expect("it is open");
    let typed = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
    typed.expect("the terminal listens");
}

#[test]
fn the_first_line_opens_a_session() {
    let newcomer = Newcomer::new();
    let said = newcomer.paste(newcomer.line(1)).until_end().done();
    let (before, id) = said.split_at(said.find("\"id\":\"").expect("an id") + 6);
    assert_eq!(before, r#"{"head":{"ok":true,"status":201,"errors":[]},"body":{"id":""#);
    let (id, after) = id.split_once('"').expect("its end");
    assert_eq!((id.len(), id.find('.'), after), (44, Some(11), "}}\n"), "{said}");
}

#[test]
fn in_wscat_the_pasted_subscription_shows_the_event_that_the_pasted_curl_publishes() {
    let newcomer = Newcomer::new();
    let mut wscat = newcomer.paste_in_terminal(newcomer.line(2));
    wscat.until_out("Connected (press CTRL+C to quit)");
    type_in(&mut wscat, &format!("{}\r", newcomer.line(3)));
    let ack = concat!(
        r#"< {"head":{"msgId":1,"ok":true,"errors":[],"#,
        r#""messages":["Your request has been processed successfully."]},"body":{}}"#
    );
    let before = wscat.until_out(ack);
    assert!(
        !before.contains(r#""type":"message""#),
        "nothing was published yet: {before}"
    );
    newcomer.publish();
    let shown = wscat.until_out(r#""elems":{"hello":"world"}"#);
    let event = shown.find(r#"< {"type":"message","resource":"s"#).expect("an event");
    assert!(shown.find(ack).is_some_and(|ack| ack < event), "{shown}");
    assert!(shown[event..].contains(r#""offset":1,"value":{"id":"e"#), "{shown}");
    assert!(shown[event..].contains(r#""path":"/demo/hello""#), "{shown}");
    type_in(&mut wscat, INTERRUPT);
    wscat.until_end().done();
    newcomer.server.until_metric("streamgate_connections 0");
}

/// The lines of a section of the README, as they stand in its first block, for this server.
fn block(heading: &str, address: &str) -> Vec<String> {
    let section = include_str!("../README.md").split_once(heading).expect("a section").1;
    let block = section.split_once("```sh\n").expect("a block").1;
    let block = block.split_once("```").expect("its end").0;
    block
        .replace("127.0.0.1:8080", address)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn in_wscat_a_rootsocket_client_hears_what_the_readme_sends() {
    let newcomer = Newcomer::new();
    let token = newcomer.line(1).split_once("X-Auth-Token: ").expect("a token").1;
    let token = token.split(['\'', '"']).next().expect("its end");
    let lines = block("## RootSocket clients\n", &newcomer.server.address);
    let [ticket, connect, send, _] = &lines[..] else {
        panic!("{lines:?}");
    };
    let mut wscat = newcomer.paste_in_terminal(&format!("TOKEN={token}; {ticket}\n{connect}"));
    wscat.until_out("Connected (press CTRL+C to quit)");
    let frame = connect.split_once("# > ").expect("a frame").1;
    type_in(&mut wscat, &format!("{frame}\r"));
    type_in(&mut wscat, "{\"event\":\"ping\"}\r");
    wscat.until_out(r#"< {"event":"pong"}"#);
    let said = newcomer.paste(&format!("TOKEN={token}; {send}")).until_end().done();
    assert!(said.starts_with(r#"{"channel":"door.1","id":"e"#), "{said}");
    let shown = lines[3].trim_start().strip_prefix("# ").expect("what is shown");
    wscat.until_out(shown);
    type_in(&mut wscat, INTERRUPT);
    wscat.until_end().done();
    newcomer.server.until_metric("streamgate_connections 0");
}

#[test]
fn the_last_line_follows_the_stream_without_wscat() {
    let newcomer = Newcomer::new();
    let tail = newcomer.paste(newcomer.line(5));
    newcomer.server.until_subscriptions(1);
    for offset in 1..=2 {
        newcomer.publish();
        tail.until_out(&format!("{offset}\t{{\"hello\":\"world\"}}\n"));
    }
    assert_eq!(newcomer.server.stop("TERM").code, Some(0));
    let ended = tail.until_end();
    assert_eq!(ended.out.lines().count(), 2, "{ended:?}");
    assert!(ended.err.contains("the server is stopping"), "{ended:?}");
}

#[test]
fn the_lines_go_on_working_after_a_restart() {
    let Newcomer { shell, server, lines } = Newcomer::new();
    let address = server.address.clone();
    assert_eq!(server.stop("INT").code, Some(0));
    // The lines name the port, so the next server takes the same.
    let server = Server::start(&shell, &[], &["--listen", &address]);
    let newcomer = Newcomer { shell, server, lines };
    newcomer.paste(newcomer.line(1)).until_end().done();
    newcomer.publish();
}

#[test]
fn the_way_out_for_a_lost_token_works_as_printed() {
    let newcomer = Newcomer::new();
    let screen = newcomer.server.program.out();
    let (_, line) = screen.split_once("The token is lost? ").expect("it is on the screen");
    let said = newcomer.paste(line.trim()).until_end().done();
    assert!(said.contains("token ") && said.contains("admin"), "{said}");
    let refused = || {
        newcomer
            .paste(newcomer.line(1))
            .until_end()
            .done()
            .contains(r#""status":401"#)
    };
    shell::until("the old token is refused", refused);
}
