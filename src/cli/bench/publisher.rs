//! One who publishes: a batch a turn, streams in turn, over a connection of its own.
//!
//! Invariant: its events in a stream are numbered without a gap, since what was refused gives its numbers back.

use crate::cli::bench::http::Http;
use crate::cli::bench::letters::{self, Mark};
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::schedule::{Micros, Turn};
use crate::cli::bench::senders::Errand;
use crate::domain::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Silence after which a connection is looked at before it is used: servers and proxies end those that idle.
const IDLE: Micros = 1_000_000;

/// What all publishers of a run send.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Events of a request.
    pub batch: u64,
    /// Bytes of an event's `elems`.
    pub size: usize,
}

/// What is published, and what became of it.
pub struct Post {
    shape: Shape,
    /// A request's head for each stream.
    heads: Vec<Vec<u8>>,
    /// How many read each stream.
    readers: Vec<u64>,
    /// Events of each stream that were taken.
    taken: Vec<AtomicU64>,
    board: Arc<Board>,
    /// Most deliveries under way for the next batch to be sent; in an open loop there is no such bound.
    most: Option<u64>,
}

impl Post {
    /// To these streams, each read by so many.
    pub fn new(run: &Run, streams: &[String], shape: Shape, subscribers: u64, board: &Arc<Board>) -> Self {
        let mut body = Vec::new();
        letters::put_all(&mut body, &Mark::default(), shape.batch, shape.size);
        let head = |id: &String| {
            let address = format!("/v5.0/{}/event/{id}", run.target.company);
            run.target.head("POST", &address, body.len()).into_bytes()
        };
        let count = streams.len() as u64;
        let readers = |stream| subscribers / count + u64::from(stream < subscribers % count);
        Self {
            shape,
            heads: streams.iter().map(head).collect(),
            readers: (0..count).map(readers).collect(),
            taken: streams.iter().map(|_| AtomicU64::new(0)).collect(),
            board: Arc::clone(board),
            most: None,
        }
    }

    /// With at most so many events on their way to all of their subscribers.
    pub fn in_flight(mut self, events: u64) -> Self {
        let widest = self.readers.iter().copied().max().unwrap_or(0);
        self.most = Some(events.saturating_mul(widest));
        self
    }

    /// Events of each stream that the server took.
    pub fn taken(&self) -> Vec<u64> {
        self.taken.iter().map(|taken| taken.load(Ordering::SeqCst)).collect()
    }
}

/// A publisher.
pub struct Publisher {
    run: Arc<Run>,
    post: Arc<Post>,
    http: Http,
    number: u32,
    /// The next number of each stream.
    next: Vec<u64>,
    request: Vec<u8>,
    /// When it was last answered.
    answered: Micros,
}

impl Publisher {
    /// Connects.
    pub async fn connect(run: &Arc<Run>, post: &Arc<Post>, number: u32) -> Result<Self, Error> {
        Ok(Self {
            http: Http::connect(&run.target, 0).await?,
            run: Arc::clone(run),
            post: Arc::clone(post),
            number,
            next: vec![0; post.heads.len()],
            request: Vec::new(),
            answered: run.clock.now(),
        })
    }
}

impl Errand for Publisher {
    async fn run(&mut self, turn: &Turn) -> Result<(), Error> {
        let post = &self.post;
        let stream = (turn.number % post.heads.len() as u64) as usize;
        let Shape { batch, size } = post.shape;
        let first = Mark {
            due: turn.due,
            publisher: self.number as usize,
            number: self.next[stream],
        };
        self.request.clear();
        self.request.extend_from_slice(&post.heads[stream]);
        letters::put_all(&mut self.request, &first, batch, size);
        if self.run.clock.now() - self.answered > IDLE && self.http.is_over().await {
            self.http = Http::connect(&self.run.target, 0).await?;
        }
        let owed = batch * post.readers[stream];
        post.board.owe(batch, owed);
        let done = self
            .http
            .ask(&self.request)
            .await
            .and_then(|answer| answer.success().map(|_| ()));
        self.answered = self.run.clock.now();
        match done {
            Ok(()) => {
                self.next[stream] += batch;
                post.taken[stream].fetch_add(batch, Ordering::SeqCst);
            }
            Err(_) => post.board.forgive(batch, owed),
        }
        done
    }

    fn wait_for_room(&mut self) {
        if let Some(most) = self.post.most {
            let widest = self.post.readers.iter().copied().max().unwrap_or(0);
            self.post
                .board
                .wait_for_room(&self.run, self.post.shape.batch * widest, most);
        }
    }
}
