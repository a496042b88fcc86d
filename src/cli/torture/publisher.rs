//! One who publishes what `letters` says, and sees each request through.
//!
//! Invariant: what has no key is never sent twice; what has one is sent unchanged until the server
//! says what became of it.

use crate::cli::torture::arena::{Arena, Phase, rng};
use crate::cli::torture::letters::{Letter, Letters};
use crate::cli::torture::link::Link;
use crate::cli::torture::oracle::{Acked, Level};
use crate::cli::torture::wire::{self, Answer, Published};
use actix_web::http::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most events of all publishers together, as each is remembered.
const MAX_EVENTS: u32 = 4_000_000;
/// After this long without an answer a request is given up; only a server that is broken comes to that.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many there are.
pub const PUBLISHERS: usize = 8;

/// A request, what came of it, and in which life of the server.
struct Answered {
    letter: Letter,
    published: Vec<Published>,
    generation: u32,
}

/// A publisher.
pub struct Publisher {
    arena: Rc<Arena>,
    link: Link,
    letters: Letters,
    /// What was answered last to a request with a key.
    last: Option<Answered>,
    /// How long to wait. How often depends on the server, so this is apart from what is published.
    pauses: StdRng,
}

impl Publisher {
    /// The publisher of this number.
    pub fn new(arena: &Rc<Arena>, number: usize) -> Self {
        Self {
            arena: Rc::clone(arena),
            link: Link::new(arena),
            letters: Letters::new(arena.seed, number as u16),
            last: None,
            pauses: rng(arena.seed, "pauses of publisher", number),
        }
    }

    /// Publishes until the load is over, and sees through what it has begun.
    pub async fn run(mut self) {
        while self.arena.phase() == Phase::Load && self.letters.sent() < MAX_EVENTS / PUBLISHERS as u32 {
            let letter = self.letters.write(&self.arena.account.company, &self.arena.streams);
            for (mark, print) in &letter.events {
                self.arena.oracle.borrow_mut().sends(*mark, *print);
            }
            let answered = self.deliver(letter).await;
            self.ask_again(answered).await;
            self.pause(5, 80).await;
        }
    }

    async fn pause(&mut self, from: u64, to: u64) {
        let millis = self.pauses.random_range(from..to);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Sends some requests again, as if the answer had been lost; after every crash the last one
    /// that was answered before it.
    async fn ask_again(&mut self, answered: Option<Answered>) {
        if let Some(last) = self.last.take_if(|last| last.generation != self.arena.generation())
            && !self.repeat(&last).await
        {
            self.last = Some(last);
            return;
        }
        let Some(answered) = answered.filter(|answered| answered.letter.key.is_some()) else {
            return;
        };
        if answered.letter.is_repeated {
            self.repeat(&answered).await;
        }
        self.last = Some(answered);
    }

    /// Sends until something is known.
    async fn deliver(&mut self, letter: Letter) -> Option<Answered> {
        let deadline = Instant::now() + PATIENCE;
        let since = self.arena.generation();
        self.arena.count(|figures| figures.requests += 1);
        loop {
            self.arena.wait_for_leave().await;
            let generation = self.arena.generation();
            match self.send(&letter).await {
                Answer::Done(published) => {
                    self.note(&letter, &published, since, generation);
                    return Some(Answered {
                        letter,
                        published,
                        generation,
                    });
                }
                Answer::Never(why) => {
                    self.arena.count(|figures| figures.refuse(&why));
                    return None;
                }
                Answer::Later(_) if letter.key.is_none() => {
                    self.arena.count(|figures| figures.unknown += 1);
                    return None;
                }
                Answer::Later(_) if Instant::now() > deadline => {
                    self.arena.count(|figures| figures.abandoned += 1);
                    return None;
                }
                Answer::Later(_) => self.arena.count(|figures| figures.retries += 1),
            }
            self.pause(50, 300).await;
        }
    }

    async fn send(&self, letter: &Letter) -> Answer {
        let key = letter.key.as_deref();
        let reply = self
            .link
            .ask(Method::POST, &letter.address, key, letter.body.clone())
            .await;
        match reply {
            Some(reply) => wire::parse_published(reply.status, &reply.body),
            None => Answer::Later("no answer".to_owned()),
        }
    }

    fn note(&self, letter: &Letter, published: &[Published], since: u32, generation: u32) {
        if published.len() != letter.events.len() {
            self.arena
                .count(|figures| figures.refuse("an answer with another number of events"));
            return;
        }
        let mut oracle = self.arena.oracle.borrow_mut();
        for ((mark, _), published) in letter.events.iter().zip(published) {
            let ack = Acked {
                mark: *mark,
                offset: published.offset,
                level: published.level,
                since,
                generation,
            };
            oracle.acked(letter.stream, ack, letter.wanted);
        }
        drop(oracle);
        let rises = published
            .windows(2)
            .all(|pair| pair[0].offset.is_none() || pair[0].offset < pair[1].offset);
        self.arena.count(|figures| figures.disordered += u64::from(!rises));
    }

    /// Sends the same again: it has to be the same answer. What was not durable may have gone with
    /// the life of the server that answered first. False if there was no answer now.
    async fn repeat(&mut self, first: &Answered) -> bool {
        self.arena.wait_for_leave().await;
        let answer = self.send(&first.letter).await;
        let is_durable = first
            .published
            .iter()
            .all(|published| published.level == Some(Level::Durable));
        if !is_durable && self.arena.generation() != first.generation {
            return true;
        }
        let names = |events: &[Published]| -> Vec<(String, Option<u64>)> {
            events.iter().map(|event| (event.id.clone(), event.offset)).collect()
        };
        let differs = match answer {
            Answer::Done(second) => names(&second) != names(&first.published),
            Answer::Never(_) => true,
            Answer::Later(_) => return false,
        };
        self.arena.count(|figures| {
            figures.replays += 1;
            figures.replays_differing += u64::from(differs);
        });
        true
    }
}
