//! `bench` against a real server: its figures add up, nothing of it stays, and what goes wrong is told.

use crate::server::{Account, Server};
use crate::shell::{Ended, Program, Shell};
use serde_json::{Value, json};

/// A running server, its first user, and runs that this user starts.
struct Scene {
    shell: Shell,
    server: Server,
    demo: Account,
}

impl Scene {
    fn new(variables: &[(&str, &str)]) -> Self {
        let shell = Shell::new();
        let (server, demo) = Server::first_start(&shell, variables);
        Self { shell, server, demo }
    }

    fn start(&self, arguments: &[&str]) -> Program {
        let url = self.server.url();
        let all = [&["bench"], arguments].concat();
        self.shell.start(&self.demo.variables(&url), &all)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).until_end()
    }

    /// The figures of a run in which nothing went wrong.
    fn figures(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        let figures = ended.json();
        assert_eq!(ended.code, Some(0), "{figures}");
        assert_eq!(ended.err, "", "nobody looks at a progress line");
        let nothing = json!({"lost": 0, "doubled": 0, "swapped": 0, "told": 0, "unsent": 0, "refused": {}});
        assert_eq!((&figures["wrong"], &figures["good"]), (&nothing, &json!(true)));
        assert_eq!((&figures["bench"], self.own_streams()), (&json!(arguments[0]), 0));
        figures
    }

    /// Streams that runs made and that are still there.
    fn own_streams(&self) -> usize {
        let streams = self.shell.json(&["stream", "list", "demo"]);
        let streams = streams.as_array().expect("a list").iter();
        let paths = streams.filter_map(|stream| stream["path"].as_str());
        paths.filter(|path| path.starts_with("/demo/bench/")).count()
    }
}

/// A count of a run.
fn count(figures: &Value, name: &str) -> u64 {
    let count = figures["counts"][name].as_u64();
    count.unwrap_or_else(|| panic!("no {name}: {figures}"))
}

/// How many times of a kind there are.
fn times(figures: &Value, name: &str) -> u64 {
    let times = &figures["latencyUs"][name];
    let ordered = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|name| times[name].as_u64());
    assert!(ordered.is_sorted() && ordered[0].is_some(), "{figures}");
    times["count"].as_u64().expect("a count")
}

#[test]
fn every_event_of_a_fan_out_reaches_everybody() {
    let scene = Scene::new(&[]);
    let pid = scene.server.program.pid().to_string();
    let fan_out = ["fan-out", "--subscribers", "20", "--seconds", "1"];
    let open = [&fan_out[..], &["--streams", "3", "--server-pid", &pid]].concat();
    let figures = scene.figures(&open);
    // Of 50 events 17 each go to the first two streams, with 7 subscribers each, and 16 to the third, with 6.
    assert_eq!(
        (count(&figures, "events"), count(&figures, "deliveries")),
        (50, 17 * 14 + 16 * 6)
    );
    assert_eq!((times(&figures, "delivered"), times(&figures, "answered")), (334, 50));
    assert_eq!(figures["loop"], json!("open"));
    assert!(figures["cost"]["residentBytes"].as_u64() > Some(1 << 20), "{figures}");
    let closed = [
        "--rate",
        "max",
        "--in-flight",
        "8",
        "--batch",
        "4",
        "--threads",
        "2",
        "--capacity",
        "0",
    ];
    let figures = scene.figures(&[&fan_out[..], &closed].concat());
    let events = count(&figures, "events");
    assert!(events >= 4 && events.is_multiple_of(4), "{figures}");
    assert_eq!(count(&figures, "deliveries"), 20 * events);
    assert_eq!((&figures["loop"], &figures["cost"]), (&json!("closed"), &Value::Null));
}

#[test]
fn who_never_reads_is_beside_those_who_do_and_counts_for_nothing() {
    let scene = Scene::new(&[]);
    let fan_out = ["fan-out", "--subscribers", "4", "--stalled", "3", "--seconds", "1"];
    let figures = scene.figures(&fan_out);
    assert_eq!((count(&figures, "events"), count(&figures, "deliveries")), (50, 200));
    scene.server.until_metric("streamgate_connections_opened_total 7");
}

#[test]
fn what_ingest_was_answered_is_there() {
    let scene = Scene::new(&[]);
    let ingest = ["ingest", "--publishers", "3", "--streams", "5", "--seconds", "1"];
    let figures = scene.figures(&[&ingest[..], &["--batch", "10"]].concat());
    let requests = count(&figures, "requests");
    assert!(requests > 0, "{figures}");
    assert_eq!(
        (count(&figures, "events"), times(&figures, "answered")),
        (10 * requests, requests)
    );
    let paced = ["--batch", "2", "--rate", "80", "--ack", "accepted", "--size", "300"];
    let figures = scene.figures(&[&ingest[..], &paced].concat());
    assert_eq!((count(&figures, "events"), count(&figures, "requests")), (80, 40));
}

#[test]
fn sessions_are_opened_with_and_without_their_sockets() {
    let scene = Scene::new(&[]);
    let sessions = ["sessions", "--connections", "2", "--seconds", "1"];
    for more in [&["--rate", "20"][..], &["--rate", "20", "--connect"]] {
        let figures = scene.figures(&[&sessions[..], more].concat());
        assert_eq!((count(&figures, "sessions"), times(&figures, "opened")), (20, 20));
    }
    assert!(count(&scene.figures(&sessions), "sessions") > 0);
    scene.server.until_subscriptions(0);
}

#[test]
fn every_reader_of_a_replay_gets_everything() {
    let scene = Scene::new(&[]);
    let replay = ["replay", "--readers", "5", "--events", "2200"];
    let figures = scene.figures(&replay);
    assert_eq!(
        (count(&figures, "deliveries"), times(&figures, "replayed")),
        (11_000, 5)
    );
    let figures = scene.figures(&[&replay[..], &["--rate", "200", "--subscribers", "3"]].concat());
    assert_eq!(count(&figures, "deliveries"), 11_000);
    assert_eq!(count(&figures, "liveDeliveries"), 3 * count(&figures, "liveEvents"));
}

#[test]
fn people_get_a_table_that_says_from_when_times_count() {
    let scene = Scene::new(&[]);
    let told = scene.run(&["fan-out", "--subscribers", "2", "--seconds", "1"]).done();
    let row = told.lines().find_map(|line| line.trim().strip_prefix("deliveries"));
    assert!(row.is_some_and(|row| row.trim().starts_with("100 ")), "{told}");
    for wanted in ["p99.99", "lost 0", "from when a request was due"] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let help = scene.shell.run(&["bench", "--help"]).done();
    assert!(help.contains("times count from when they were due"), "{help}");
}

#[test]
fn what_the_server_limits_is_told_with_the_setting() {
    let scene = Scene::new(&[("STREAMGATE_RATE_SESSIONS", "3")]);
    let sessions = ["sessions", "--rate", "20", "--connections", "1", "--seconds", "1"];
    let ended = scene.run(&sessions);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("raise STREAMGATE_RATE_SESSIONS"), "{ended:?}");
    let figures = scene.run(&[&sessions[..], &["--json"]].concat()).json();
    let refused = figures["wrong"]["refused"]["limit.rate"].as_u64().expect("a count");
    assert_eq!(
        (refused + count(&figures, "sessions"), &figures["good"]),
        (20, &json!(false))
    );
    let ended = scene.run(&["fan-out", "--subscribers", "20", "--json"]);
    assert_eq!(
        (ended.code, &ended.json()["error"]["code"]),
        (Some(1), &json!("limit.rate"))
    );
    assert_eq!(
        scene.own_streams(),
        0,
        "what could be made is removed also after a failure"
    );
}

#[test]
fn mistakes_are_told_before_there_is_any_load() {
    let scene = Scene::new(&[]);
    let url = scene.server.url();
    let company = ("STREAMGATE_COMPANY", "demo");
    let mistakes = [
        (vec![], "body.malformed", "STREAMGATE_COMPANY"),
        (vec![company], "body.malformed", "STREAMGATE_TOKEN"),
        (vec![company, ("STREAMGATE_TOKEN", "wrong")], "auth.refused", "token"),
    ];
    for (variables, code, named) in mistakes {
        let variables = [vec![("STREAMGATE_URL", url.as_str())], variables].concat();
        let ended = scene.shell.run_with(&variables, &["bench", "fan-out", "--json"]);
        let error = &ended.json()["error"];
        assert_eq!((ended.code, &error["code"]), (Some(1), &json!(code)), "{ended:?}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.to_lowercase().contains(&named.to_lowercase()), "{ended:?}");
    }
    for wrong in [
        ["--rate", "fast"],
        ["--size", "10"],
        ["--subscribers", "0"],
        ["--ack", "never"],
    ] {
        let ended = scene.run(&[&["fan-out"], &wrong[..]].concat());
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
    }
}

/// A run that would go on for long, once all of its subscribers are there.
fn under_way(scene: &Scene) -> Program {
    let program = scene.start(&["fan-out", "--subscribers", "10", "--seconds", "600", "--json"]);
    scene.server.until_subscriptions(10);
    program
}

#[test]
fn a_server_that_goes_away_ends_a_run_with_an_error() {
    let scene = Scene::new(&[]);
    let program = under_way(&scene);
    scene.server.stop("KILL");
    let ended = program.until_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let message = ended.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(
        message.contains("connection was lost") || message.contains("running"),
        "{ended:?}"
    );
    assert!(
        ended.err.contains("1 streams under /demo/bench/"),
        "what stays is told: {ended:?}"
    );
}

#[test]
fn an_interrupted_run_removes_its_streams() {
    let scene = Scene::new(&[]);
    let program = under_way(&scene);
    assert_eq!(scene.own_streams(), 1);
    program.signal("INT");
    let ended = program.until_end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("interrupted"), "{ended:?}");
    assert_eq!(scene.own_streams(), 0);
    scene.server.until_subscriptions(0);
}

#[test]
fn a_server_that_speaks_tls_is_measured_as_well() {
    let shell = Shell::new();
    for name in ["its", "other"] {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let write = |end: &str, text: String| {
            let file = shell.folder().join(format!("{name}.{end}"));
            std::fs::write(file, text).expect("it can be written");
        };
        write("pem", made.cert.pem());
        write("key", made.signing_key.serialize_pem());
    }
    let tls = [
        ("STREAMGATE_TLS_CERTIFICATE", "its.pem"),
        ("STREAMGATE_TLS_KEY", "its.key"),
        ("STREAMGATE_LISTEN", "127.0.0.1:0"),
    ];
    let server = shell.start(&tls, &["serve", "--json"]);
    let screen: Value = serde_json::from_str(&server.until_out("\n")).expect("one JSON value");
    let url = format!("https://{}", screen["address"].as_str().expect("an address"));
    let demo = Account::of(&screen);
    let run = |ca: &str| {
        let fan_out = [
            "bench",
            "fan-out",
            "--subscribers",
            "5",
            "--seconds",
            "1",
            "--size",
            "5000",
        ];
        shell.run_with(&demo.variables(&url), &[&fan_out[..], &["--json", "--ca", ca]].concat())
    };
    let ended = run("its.pem");
    let figures = ended.json();
    assert_eq!((ended.code, count(&figures, "deliveries")), (Some(0), 250), "{figures}");
    for (ca, named) in [
        ("other.pem", "TLS failed"),
        ("its.key", "no certificates"),
        ("gone.pem", "gone.pem"),
    ] {
        let ended = run(ca);
        let message = ended.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(ended.code == Some(1) && message.contains(named), "{ca}: {ended:?}");
    }
}
