//! Idle rules that contradict each other, side by side for an hour of a paused clock: whoever only
//! answers pings lives, and who is pinged in words of its own protocol is heard.
//!
//! One worker on this thread with real sockets; time passes whenever nobody has anything to do.

use crate::stage::BY;
use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use std::cell::Cell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use streamgate::broker::{Broker, Entry, Seat};
use streamgate::catalogue::{Catalogue, now_ms};
use streamgate::config::Config;
use streamgate::database::Database;
use streamgate::domain::path::{CompanyName, UserName};
use streamgate::domain::ticket::{Ticket, TicketId};
use streamgate::domain::visitor::Visitor;
use streamgate::hub::Hub;
use streamgate::hub::worker::{Manners, Worker};
use streamgate::log::{self, Log};
use streamgate::metrics::Metrics;
use streamgate::protocol::conversation::{Conversation, Opening};
use streamgate::protocol::line::Line;
use streamgate::protocol::pump::{self, Desk};
use streamgate::protocol::socket::Socket;
use streamgate::sessions::{Sessions, Terms};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

const HOUR: Duration = Duration::from_secs(3_600);
/// How often RootSocket's clients ping, and how long they wait for a pong (rootsocketjs, rootsocket.ts).
const CHANNELS_PING: Duration = Duration::from_secs(45);
const CHANNELS_PATIENCE: Duration = Duration::from_secs(180);

#[derive(Parser)]
struct JustSettings {
    #[command(flatten)]
    config: Config,
}

type Client = WebSocketStream<TcpStream>;

/// What became of a client, and whether it has been asked to end.
#[derive(Clone, Default)]
struct Heard {
    pings: Rc<Cell<u32>>,
    is_over: Rc<Cell<bool>>,
}

/// A server's parts, without HTTP and without threads of its own.
struct World {
    broker: Arc<Broker>,
    desk: Rc<Desk>,
    /// Alice's token.
    secret: String,
    _folder: tempfile::TempDir,
    _writing: log::Tasks,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}/test.db", folder.path().display());
        let JustSettings { config } = JustSettings::parse_from(["idle", "--database-url", &url]);
        let metrics = Arc::new(Metrics::default());
        let (database, writer) = Database::open(&url).await.expect("a database");
        let catalogue = Catalogue::open(&database, writer, Arc::clone(&metrics)).await;
        let catalogue = catalogue.expect("a catalogue");
        let company = CompanyName::parse("acme").expect("a name");
        catalogue.add_company(&company).await.expect("a company");
        let alice = UserName::parse("alice").expect("a name");
        let enrolled = catalogue.add_user(&company, &alice, true, &BY).await.expect("a user");
        catalogue.refresh().await.expect("the mirror");
        let terms = Terms {
            ttl: config.session_ttl,
            ttl_max: config.session_ttl_max,
            most: 10,
            most_each: 10,
            most_kept: 10,
            most_kept_each: 10,
        };
        let sessions = Sessions::new(catalogue.key_for("idle"), terms, now_ms(), Arc::clone(&metrics));
        let hub = Arc::new(Hub::new(1_000, Arc::clone(&metrics)));
        let setup = log::Setup {
            database: &database,
            lock: File::create(folder.path().join("lock")).expect("a file"),
            streams: &[],
            limits: &config.limits,
            key_window: config.key_window,
        };
        let (log, writing) = Log::start(setup, Arc::clone(&hub), Arc::clone(&metrics))
            .await
            .expect("a log");
        let manners = Manners {
            outbox_limit: config.limits.max_outbox_bytes,
            ping: config.ping_interval,
            dead: config.dead_after,
        };
        assert!(manners.dead < HOUR / 10, "an hour is long");
        let limits = config.limits.clone();
        let broker = Arc::new(Broker::new(catalogue, sessions, log, Arc::clone(&hub), limits, metrics));
        let desk = Rc::new(Worker::enrol(hub, manners));
        spawn_local(pump::run(Rc::clone(&desk), Arc::clone(&broker), config.hold_off));
        Self {
            broker,
            desk,
            secret: enrolled.issued.secret,
            _folder: folder,
            _writing: writing,
        }
    }

    /// A connection of whoever takes the seat, spoken to as those are who come in by this path.
    async fn connect(&self, path: &str, seat: Seat) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        let (socket, peer) = listener.accept().await.expect("accepted");
        let door = streamgate::protocol::door(path).expect("a door");
        let opening = Opening {
            line: Line::new(Socket::Plain(socket)),
            peer: Some(peer),
            speech: door.speech,
            early: bytes::BytesMut::new(),
            answer: bytes::Bytes::new(),
        };
        Conversation::start(Rc::clone(&self.desk), seat, opening);
        WebSocketStream::from_raw_socket(client, Role::Client, None).await
    }

    fn session(&self) -> Seat {
        let alice = self
            .broker
            .sign_in("acme", Some("alice"), &self.secret, &Visitor::default())
            .expect("alice");
        let session = self.broker.open_session(&alice, None).expect("a session");
        self.broker.connect(session, &Visitor::default()).expect("a seat")
    }

    fn guest(&self) -> Seat {
        let guest = self.broker.notices_guest("acme", &Visitor::default());
        let entry = Entry::Notices { has_key: false };
        self.broker.take_seat(guest.expect("acme"), entry).expect("a seat")
    }

    fn ticket(&self) -> Seat {
        let alice = self.broker.sign_in_with_key(&self.secret, &Visitor::default());
        let ticket = Ticket {
            id: TicketId::random(),
            user_agent: None,
            may_send: true,
            may_subscribe: true,
            needs_authorization: false,
        };
        let entry = Entry::Channels(ticket);
        self.broker.take_seat(alice.expect("alice"), entry).expect("a seat")
    }
}

/// Reads and says nothing of its own accord; the library answers pings while it is read from.
async fn listen(mut client: Client, heard: Heard) -> Client {
    while !heard.is_over.get() {
        let Ok(message) = tokio::time::timeout(Duration::from_secs(1), client.next()).await else {
            continue;
        };
        match message.expect("a connection").expect("a message") {
            Message::Ping(_) => heard.pings.set(heard.pings.get() + 1),
            message => panic!("nobody asked for {message:?}"),
        }
    }
    client
}

/// Pings and is pinged as RootSocket's own client is.
async fn converse(mut client: Client, heard: Heard) -> Client {
    let mut last_pong = Instant::now();
    let mut tick = tokio::time::interval(CHANNELS_PING);
    while !heard.is_over.get() {
        tokio::select! {
            _ = tick.tick() => {
                assert!(last_pong.elapsed() < CHANNELS_PATIENCE, "no pong in time");
                client.send(Message::text(r#"{"event":"ping"}"#)).await.expect("sent");
            }
            message = client.next() => match message.expect("a connection").expect("a message") {
                Message::Text(text) if text.as_str() == r#"{"event":"pong"}"# => last_pong = Instant::now(),
                Message::Text(text) if text.as_str() == r#"{"event":"ping"}"# => {
                    heard.pings.set(heard.pings.get() + 1);
                    client.send(Message::text(r#"{"event":"pong"}"#)).await.expect("sent");
                }
                Message::Ping(_) => {}
                message => panic!("nobody asked for {message:?}"),
            }
        }
    }
    assert!(last_pong.elapsed() < CHANNELS_PATIENCE, "no pong in time");
    client
}

/// Only answers, in words of channels.
async fn answer(mut client: Client, heard: Heard) -> Client {
    while !heard.is_over.get() {
        let Ok(message) = tokio::time::timeout(Duration::from_secs(1), client.next()).await else {
            continue;
        };
        if let Message::Text(text) = message.expect("a connection").expect("a message") {
            assert_eq!(text.as_str(), r#"{"event":"ping"}"#);
            heard.pings.set(heard.pings.get() + 1);
            client.send(Message::text(r#"{"event":"pong"}"#)).await.expect("sent");
        }
    }
    client
}

#[tokio::test]
async fn an_hour_of_silence_ends_nobody_who_answers_in_the_way_of_its_protocol() {
    LocalSet::new().run_until(hour()).await;
}

async fn hour() {
    let world = World::new().await;
    let session = world.connect("/session/x/ws", world.session()).await;
    let guest = world.connect("/users/acme/ws", world.guest()).await;
    let channels = world.connect("/api/v1/ws/x/", world.ticket()).await;
    let quiet_channels = world.connect("/api/v1/ws/x/", world.ticket()).await;
    assert_eq!(world.broker.connection_count(), 4);
    tokio::time::pause();
    let heard: [Heard; 4] = Default::default();
    let [a, b, c, d] = heard.clone();
    let clients = [
        spawn_local(listen(session, a)),
        spawn_local(listen(guest, b)),
        spawn_local(converse(channels, c)),
        spawn_local(answer(quiet_channels, d)),
    ];
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.broker.connection_count(), 4, "all are still there");
    assert_eq!(world.broker.metrics().peers_dead.get(), 0);
    for (heard, client) in heard.iter().zip(clients) {
        heard.is_over.set(true);
        drop(client.await.expect("a client that is content"));
    }
    let pings: Vec<u32> = heard.iter().map(|heard| heard.pings.get()).collect();
    // Whoever says nothing is asked again and again; whoever speaks is asked less.
    assert!(pings[0] > 100 && pings[1] > 100 && pings[3] > 100, "{pings:?}");
    while world.broker.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
