//! One who reads: subscribes, vanishes, stalls, resumes, and checks all that it is given.
//!
//! What it does follows from its seed; when, from the server. Invariant: each stream's view goes on
//! where the server was told that it does, or begins anew.

use crate::cli::torture::arena::{Arena, Phase, rng};
use crate::cli::torture::link::{Heard, Link, Socket};
use crate::cli::torture::oracle::Epoch;
use crate::cli::torture::oracle::view::{Gap, View};
use crate::cli::torture::wire::{self, Incoming, Position, Since};
use actix_web::http::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many there are.
pub const READERS: usize = 10;
/// Longest time for all that is left to come.
const DRAIN: Duration = Duration::from_secs(30);
/// How soon to look again at how far the run is.
const LOOK: Duration = Duration::from_millis(100);
/// Ways to be slow; the first stands for saying nothing about it.
const WHEN_SLOW: [Option<&str>; 5] = [None, Some("catchUp"), Some("latest"), Some("drop"), Some("disconnect")];

/// A stream that a reader follows.
struct Followed {
    stream: usize,
    view: View,
    epoch: Option<(String, Epoch)>,
    since: Since,
    /// Whether the server has said yes on this socket.
    is_on: bool,
}

impl Followed {
    fn position(&self) -> Option<Position> {
        let (epoch, offset) = (self.epoch.as_ref()?.0.clone(), self.view.place()?);
        Some(Position { epoch, offset })
    }
}

/// A reader.
pub struct Reader {
    arena: Rc<Arena>,
    link: Link,
    rng: StdRng,
    followed: Vec<Followed>,
    /// The session it opened last.
    session: Option<String>,
    /// The life of the server that its socket is of.
    generation: u32,
}

impl Reader {
    /// The reader of this number, which follows some of the streams.
    pub fn new(arena: &Rc<Arena>, number: usize) -> Self {
        let follow = |stream| Followed {
            stream,
            view: View::unknown(),
            epoch: None,
            since: Since::Now,
            is_on: false,
        };
        // Each stream has the same number of readers, or one more.
        let is_mine = |stream: &usize| (stream + number).is_multiple_of(2);
        let followed = (0..arena.streams.len()).filter(is_mine).map(follow).collect();
        Self {
            arena: Rc::clone(arena),
            link: Link::new(arena),
            rng: rng(arena.seed, "reader", number),
            followed,
            session: None,
            generation: 0,
        }
    }

    /// Reads until the load is over, then takes what is left.
    pub async fn run(mut self) {
        while self.arena.phase() < Phase::Draining {
            if let Some(socket) = self.join().await {
                self.stay(socket).await;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
        self.drain().await;
    }

    /// Opens a session, or uses the one before, and subscribes.
    async fn join(&mut self) -> Option<Socket> {
        let session = match self.session.take() {
            Some(session) if self.rng.random_bool(0.3) => session,
            _ => self.open_session().await?,
        };
        self.generation = self.arena.generation();
        let mut socket = Socket::connect(self.arena.port, &session).await?;
        self.session = Some(session);
        self.arena.count(|figures| figures.sockets += 1);
        let is_draining = self.arena.phase() == Phase::Draining;
        let when_slow = WHEN_SLOW[self.rng.random_range(0..WHEN_SLOW.len())];
        let when_slow = when_slow.filter(|_| !is_draining);
        for number in 0..self.followed.len() {
            let since = self.choose(number, is_draining);
            let followed = &mut self.followed[number];
            let id = &self.arena.streams[followed.stream].id;
            let request = wire::subscribe(number, id, &since, when_slow);
            followed.since = since;
            followed.is_on = false;
            if !socket.say(request).await {
                return None;
            }
        }
        // If the server was replaced meanwhile, nobody knows which of the two it is.
        (self.arena.generation() == self.generation).then_some(socket)
    }

    /// Mostly where it was; sometimes anew.
    fn choose(&mut self, number: usize, is_draining: bool) -> Since {
        let dice = self.rng.random_range(0..10);
        match self.followed[number].position() {
            Some(position) if dice < 7 || is_draining => Since::Position(position),
            _ if dice < 9 || is_draining => Since::Start,
            _ => Since::Now,
        }
    }

    async fn open_session(&mut self) -> Option<String> {
        let mut asked = BTreeMap::new();
        if self.rng.random_bool(0.3) {
            for followed in &self.followed {
                if let Some(position) = followed.position() {
                    asked.insert(self.arena.streams[followed.stream].id.clone(), position);
                }
            }
        }
        let body = wire::session_body(&asked);
        let reply = self.link.ask(Method::POST, "/session", None, body).await?;
        if !asked.is_empty() {
            let wrong = match reply.status {
                201 => wire::wrong_standings(&reply.body, &asked),
                // It was stopping, or its disk failed.
                500.. => 0,
                _ => asked.len() as u64,
            };
            self.arena.count(|figures| {
                figures.standings += asked.len() as u64;
                figures.standings_wrong += wrong;
            });
        }
        wire::parse_id(reply.status, &reply.body)
    }

    /// Reads for some seconds, stalls in between, and leaves with or without a word.
    async fn stay(&mut self, mut socket: Socket) {
        let until = Instant::now() + Duration::from_millis(self.rng.random_range(500..8_000));
        let stall = Duration::from_millis(self.rng.random_range(500..6_000));
        let mut stalls = self.rng.random_bool(0.4);
        let leaves_politely = self.rng.random_bool(0.3);
        while Instant::now() < until && self.arena.phase() < Phase::Draining {
            if std::mem::take(&mut stalls) {
                self.arena.count(|figures| figures.stalls += 1);
                tokio::time::sleep(stall).await;
            }
            match socket.hear(LOOK).await {
                Heard::Text(text) => self.take(&text),
                Heard::End => return self.arena.count(|figures| figures.ended += 1),
                Heard::Noise | Heard::Silence => {}
            }
        }
        if leaves_politely {
            socket.close().await;
        } else {
            self.arena.count(|figures| figures.vanished += 1);
        }
    }

    /// Reads until it has everything that is kept, and counts what does not come.
    async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN;
        while Instant::now() < deadline && self.arrears() > 0 {
            let Some(mut socket) = self.join().await else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            while Instant::now() < deadline && (self.arrears() > 0 || !self.is_all_on()) {
                match socket.hear(LOOK).await {
                    Heard::Text(text) => self.take(&text),
                    Heard::End => break,
                    Heard::Noise | Heard::Silence => {}
                }
            }
            socket.close().await;
        }
        let arrears = self.arrears();
        self.arena.count(|figures| figures.arrears += arrears);
    }

    fn is_all_on(&self) -> bool {
        self.followed.iter().all(|followed| followed.is_on)
    }

    /// How many events are still to come; streams that store nothing have no known end.
    fn arrears(&self) -> u64 {
        let heads = self.arena.heads.borrow();
        let missing = |followed: &Followed| {
            let place = followed.view.place().unwrap_or(0);
            heads[followed.stream].saturating_sub(place)
        };
        self.followed.iter().map(missing).sum()
    }

    fn take(&mut self, text: &[u8]) {
        match wire::parse_frame(text) {
            Some(Incoming::Subscribed { number, position }) => self.begin(number, position),
            Some(Incoming::Refused { number, code }) => self.give_up(number, &code),
            Some(Incoming::Event { stream, given }) => {
                let Some(followed) = self.followed(&stream) else {
                    return;
                };
                let finding = followed.view.event(given.offset);
                let (stream, epoch) = (followed.stream, followed.epoch.as_ref().map(|(_, epoch)| *epoch));
                self.arena.oracle.borrow_mut().delivered(stream, epoch, given, finding);
            }
            Some(Incoming::Gap { stream, gap }) => self.miss(&stream, gap),
            Some(Incoming::Other) => {}
            None => self.arena.count(|figures| figures.unasked += 1),
        }
    }

    /// The one that a frame is about; anything but what was subscribed to should not have come.
    fn followed(&mut self, id: &str) -> Option<&mut Followed> {
        let stream = self.arena.stream_of(id);
        let mut all = self.followed.iter_mut();
        let found = all.find(|followed| Some(followed.stream) == stream && followed.is_on);
        if found.is_none() {
            self.arena.count(|figures| figures.unasked += 1);
        }
        found
    }

    /// The subscription is there: what has to come now?
    fn begin(&mut self, number: usize, position: Option<Position>) {
        let generation = self.generation;
        let Some(followed) = self.followed.get_mut(number) else {
            return;
        };
        followed.is_on = true;
        followed.view = match (&followed.since, &position) {
            (Since::Now, Some(position)) => View::after(position.offset),
            (Since::Now, None) => View::unknown(),
            (Since::Start, _) => View::after(0),
            (Since::Position(mine), Some(theirs)) if mine.epoch != theirs.epoch => View::renumbered(),
            (Since::Position(mine), _) => View::after(mine.offset),
        };
        let stream = followed.stream;
        followed.epoch = position.map(|position| {
            let epoch = self
                .arena
                .oracle
                .borrow_mut()
                .epoch(stream, generation, &position.epoch);
            (position.epoch, epoch)
        });
        let is_resumed = matches!(followed.since, Since::Position(_));
        self.arena.count(|figures| figures.resumed += u64::from(is_resumed));
    }

    fn give_up(&mut self, number: usize, code: &str) {
        self.arena
            .count(|figures| figures.refuse(&format!("subscribe: {code}")));
        if let Some(followed) = self.followed.get_mut(number) {
            // What has no place is asked for anew, from now on or from the start.
            (followed.view, followed.epoch) = (View::unknown(), None);
        }
    }

    fn miss(&mut self, stream: &str, gap: Gap) {
        let Some(followed) = self.followed(stream) else {
            return;
        };
        let is_resuming = followed.view.place().is_none();
        let (stream, finding) = (followed.stream, followed.view.gap(gap));
        if gap.is_renumbering && !is_resuming {
            // It changed while the socket was open; its new name is told at the next subscription.
            followed.epoch = None;
        }
        self.arena.oracle.borrow_mut().told(stream, gap, finding);
    }
}
