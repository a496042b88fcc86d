//! A folder of its own for each test, and programs started in it as a user would.
//!
//! A program gets no environment but what the test gives it. Each is a process group of its own
//! that ends with the value that stands for it, so nothing is left behind by a test that fails.
//! Every wait has a condition and a deadline.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How soon to look again at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(5);

/// A place to type commands.
pub struct Shell {
    folder: TempDir,
}

impl Shell {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `streamgate` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(&[], arguments)
    }

    /// Runs `streamgate` to its end with some environment variables.
    pub fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        self.start(variables, arguments).until_end()
    }

    /// Runs `streamgate --json`, which must succeed, and returns what it printed.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.json()
    }

    /// Starts `streamgate`.
    pub fn start(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Program {
        let mut command = self.command(env!("CARGO_BIN_EXE_streamgate"));
        command.envs(variables.iter().copied()).args(arguments);
        Program::start(command)
    }

    /// Any program, in this folder and without an environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.folder());
        command
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; none after a signal.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Standard output, which must be exactly one JSON value on a line.
    pub fn json(&self) -> serde_json::Value {
        let line = self
            .out
            .strip_suffix('\n')
            .unwrap_or_else(|| panic!("no line: {self:?}"));
        assert!(!line.contains('\n'), "more than a line: {self:?}");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output of a success.
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// A program that runs.
pub struct Program {
    /// What is typed.
    pub stdin: Option<ChildStdin>,
    child: Child,
    out: Capture,
    err: Capture,
    status: Option<ExitStatus>,
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.process_group(0).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self {
            out: Capture::of(child.stdout.take().expect("it is piped")),
            err: Capture::of(child.stderr.take().expect("it is piped")),
            stdin: child.stdin.take(),
            child,
            status: None,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until standard output holds `text`; returns all of it.
    pub fn until_out(&self, text: &str) -> String {
        self.out.until(text, &self.err)
    }

    /// Waits until standard error holds `text`; returns all of it.
    pub fn until_err(&self, text: &str) -> String {
        self.err.until(text, &self.out)
    }

    /// Standard output so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// Standard error so far.
    pub fn err(&self) -> String {
        self.err.text()
    }

    /// Sends a signal by its name: `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = kill(name, &self.pid().to_string());
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
    }

    /// Waits until it ends by itself.
    pub fn until_end(mut self) -> Ended {
        drop(self.stdin.take());
        until("the program ends", || {
            self.status = self.child.try_wait().expect("it is our child");
            self.status.is_some()
        });
        Ended {
            code: self.status.expect("it has ended").code(),
            out: self.out.whole(),
            err: self.err.whole(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Its whole group, then itself; a test that fails already has nothing to add.
            let _ = kill("KILL", &format!("-{}", self.pid()));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn kill(signal: &str, whom: &str) -> std::io::Result<ExitStatus> {
    let line = format!("kill -{signal} -- {whom}");
    Command::new("bash").args(["-c", &line]).stderr(Stdio::null()).status()
}

/// What a program writes, as it comes.
struct Capture {
    state: Arc<(Mutex<Captured>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let state = Arc::new((Mutex::new(Captured::default()), Condvar::new()));
        let written = Arc::clone(&state);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut captured = written.0.lock().expect("nobody panics with it");
                captured.bytes.extend_from_slice(&buffer[..count]);
                captured.ended = count == 0;
                written.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self {
            state,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        let captured = self.state.0.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&captured.bytes).into_owned()
    }

    fn until(&self, text: &str, other: &Capture) -> String {
        let holds = |captured: &Captured| String::from_utf8_lossy(&captured.bytes).contains(text);
        let (lock, grew) = &*self.state;
        let captured = lock.lock().expect("nobody panics with it");
        let waited = grew.wait_timeout_while(captured, DEADLINE, |captured| !captured.ended && !holds(captured));
        let (captured, _) = waited.expect("nobody panics with it");
        let found = holds(&captured);
        drop(captured);
        assert!(found, "no {text:?} in:\n{}\nbeside:\n{}", self.text(), other.text());
        self.text()
    }

    /// Everything, once the program has ended.
    fn whole(&mut self) -> String {
        let reader = self.reader.take().expect("it is asked once");
        reader.join().expect("reading does not panic");
        self.text()
    }
}

/// Waits until a condition holds that nobody signals.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "still not: {what}");
        std::thread::park_timeout(LOOK);
    }
}
