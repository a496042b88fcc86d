//! Those who read: a few threads, each with many sockets.
//!
//! A thread runs a task for each socket; all of its tasks read by way of one buffer and count in one book, so that a
//! socket costs little more than the system's part of it. Invariant: every event that comes is found in its
//! subscriber's tally.

use crate::cli::bench::book::Book;
use crate::cli::bench::gauge;
use crate::cli::bench::latency::Latency;
use crate::cli::bench::run::{Board, Run};
use crate::cli::bench::schedule::Micros;
use crate::cli::bench::socket::Socket;
use crate::cli::bench::tally::Tally;
use crate::cli::failure;
use crate::domain::error::{Error, Fault};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::LocalSet;

/// Connections of one thread that are in the making at once.
const DOOR: usize = 32;
/// Room for what one read takes.
const BUFFER_BYTES: usize = 256 << 10;
/// How often those who stall give a sign of life.
const BEAT: Duration = Duration::from_secs(10);
/// Opcode of a pong.
const PONG: u8 = 10;

/// What those who read want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What comes from now on; each event's time counts.
    Live,
    /// What comes from now on, but never to read it: they stall.
    Nothing,
    /// So many events from the start on, all at once when told to; the time to the last counts.
    Replay(u64),
}

/// Who reads what.
#[derive(Clone)]
pub struct Plan {
    /// How many sockets there are; they are spread over the streams.
    pub subscribers: usize,
    /// Threads for them.
    pub threads: usize,
    /// The streams' ids.
    pub streams: Arc<[String]>,
    /// How many publishers each stream may have.
    pub publishers: usize,
    /// What they want.
    pub wish: Wish,
    /// Where deliveries are counted as they come.
    pub board: Arc<Board>,
    /// How many connections the run has besides and before.
    pub connections_before: usize,
}

impl Plan {
    /// So many who stall, beside those of this plan.
    pub fn stalled(&self, subscribers: usize) -> Self {
        Self {
            subscribers,
            threads: 1,
            wish: Wish::Nothing,
            connections_before: self.connections_before + self.subscribers,
            ..self.clone()
        }
    }
}

/// What a crowd got.
#[derive(Debug)]
pub struct Seen {
    /// Each subscriber's stream, by its place among the streams, and what it got.
    pub tallies: Vec<(usize, Tally)>,
    /// Live: from when an event was due until a subscriber had it. Replay: from the start until a reader had all.
    pub times: Latency,
    /// How much of its time the busiest thread was busy, since all were there; and processor seconds of all.
    pub cpu: Option<(f64, f64)>,
}

/// How far a crowd is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Gather,
    Begin,
    Leave,
}

/// Readers that are there.
pub struct Crowd {
    word: watch::Sender<Word>,
    threads: Vec<oneshot::Receiver<Seen>>,
}

impl Crowd {
    /// Connects them all, and if they want what is live, subscribes them.
    pub async fn gather(run: &Arc<Run>, plan: &Plan) -> Result<Self, Error> {
        let (word, hears) = watch::channel(Word::Gather);
        let (ready, mut is_ready) = mpsc::channel(plan.threads);
        let mut threads = Vec::new();
        for number in 0..plan.threads {
            let (said, seen) = oneshot::channel();
            let (run, plan, hears, ready) = (Arc::clone(run), plan.clone(), hears.clone(), ready.clone());
            let body = move || match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    let reading = read_all(run, plan, number, hears, ready);
                    // Who does not wait for it any more needs nothing.
                    drop(said.send(LocalSet::new().block_on(&runtime, reading)));
                }
                Err(error) => run.fail(Fault::from(error).into()),
            };
            let thread = std::thread::Builder::new().name(format!("readers {number}"));
            thread.spawn(body).map_err(Fault::from)?;
            threads.push(seen);
        }
        drop(ready);
        for _ in 0..plan.threads {
            is_ready.recv().await.ok_or_else(broken)?;
        }
        Ok(Self { word, threads })
    }

    /// Has those who want a replay begin.
    pub fn begin(&self) {
        self.word.send_replace(Word::Begin);
    }

    /// Ends all connections; what they got.
    pub async fn leave(self) -> Result<Seen, Error> {
        self.word.send_replace(Word::Leave);
        let (mut tallies, mut times, mut cpu) = (Vec::new(), Latency::new(), None);
        for thread in self.threads {
            let seen = thread.await.map_err(|_| broken())?;
            tallies.extend(seen.tallies);
            times.add(&seen.times);
            let (busiest, all) = cpu.unwrap_or_default();
            cpu = seen.cpu.map(|(one, seconds)| (one.max(busiest), all + seconds));
        }
        Ok(Seen { tallies, times, cpu })
    }
}

fn broken() -> Error {
    failure("a reading thread broke")
}

/// What the tasks of a thread share.
struct Desk {
    run: Arc<Run>,
    plan: Plan,
    hears: watch::Receiver<Word>,
    door: Semaphore,
    pages: RefCell<Pages>,
}

/// What they take turns with; never borrowed across an await.
struct Pages {
    buffer: Vec<u8>,
    book: Book,
}

/// One thread: all of its sockets, until it is told to leave.
async fn read_all(
    run: Arc<Run>,
    plan: Plan,
    thread: usize,
    mut hears: watch::Receiver<Word>,
    ready: mpsc::Sender<()>,
) -> Seen {
    let numbers: Vec<usize> = (thread..plan.subscribers).step_by(plan.threads).collect();
    let streams: Vec<usize> = numbers.iter().map(|number| number % plan.streams.len()).collect();
    let pages = Pages {
        buffer: vec![0; BUFFER_BYTES],
        book: Book::new(&streams, plan.publishers, plan.wish),
    };
    let desk = Rc::new(Desk {
        run,
        plan,
        hears: hears.clone(),
        door: Semaphore::new(DOOR),
        pages: RefCell::new(pages),
    });
    let (seated, mut sit) = mpsc::channel(numbers.len().max(1));
    for (seat, number) in numbers.iter().copied().enumerate() {
        let (desk, seated) = (Rc::clone(&desk), seated.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = desk.attend(seat, number, seated).await {
                desk.run.fail(error);
            }
        });
    }
    drop(seated);
    for _ in 0..numbers.len() {
        // One that failed has ended the run, and nobody waits any more.
        sit.recv().await;
    }
    let (before, start) = (gauge::own_thread(), desk.run.clock.now());
    // Who is gone need not be told, and has nothing more to say.
    let _ = ready.send(()).await;
    let _ = hears.wait_for(|word| *word == Word::Leave).await;
    let time = (desk.run.clock.now() - start) as f64 / 1e6;
    let seconds = gauge::between(before, gauge::own_thread());
    let (tallies, times) = desk.pages.borrow_mut().book.close();
    let cpu = seconds.map(|seconds| (seconds / time.max(f64::MIN_POSITIVE), seconds));
    Seen { tallies, times, cpu }
}

impl Desk {
    /// One subscriber, for as long as it is there.
    async fn attend(&self, seat: usize, number: usize, seated: mpsc::Sender<()>) -> Result<(), Error> {
        let permit = self.door.acquire().await;
        let mut socket = Socket::open(&self.run.target, self.plan.connections_before + number).await?;
        let stream = &self.plan.streams[number % self.plan.streams.len()];
        if matches!(self.plan.wish, Wish::Live | Wish::Nothing) {
            socket.subscribe(stream, false).await?;
            while !self.pages.borrow().book.is_subscribed(seat) {
                self.hear(&mut socket, seat).await?;
            }
        }
        drop(permit);
        // If the thread does not count any more, the run is over.
        let _ = seated.send(()).await;
        if self.plan.wish == Wish::Nothing {
            return self.stall(&mut socket).await;
        }
        if let Wish::Replay(_) = self.plan.wish {
            // The sender being gone means the same as leaving: this task ends with its thread.
            let _ = self.hears.clone().wait_for(|word| *word >= Word::Begin).await;
            self.pages.borrow_mut().book.begin(seat, self.run.clock.now());
            socket.subscribe(stream, true).await?;
        }
        loop {
            self.hear(&mut socket, seat).await?;
        }
    }

    /// Reads nothing, but gives signs of life, or it would be taken for dead.
    async fn stall(&self, socket: &mut Socket) -> Result<(), Error> {
        let mut hears = self.hears.clone();
        while tokio::time::timeout(BEAT, hears.wait_for(|word| *word == Word::Leave))
            .await
            .is_err()
        {
            socket.say(PONG, &[]).await?;
        }
        Ok(())
    }

    /// Takes what comes next.
    async fn hear(&self, socket: &mut Socket, seat: usize) -> Result<(), Error> {
        let mut pong = None;
        let clock = self.run.clock;
        let fresh = poll_fn(|context| {
            let Pages { buffer, book } = &mut *self.pages.borrow_mut();
            let before = book.settled(seat);
            let mut now: Option<Micros> = None;
            socket
                .poll_frames(context, buffer, |frame| {
                    let now = *now.get_or_insert_with(|| clock.now());
                    pong = book.take(seat, &frame, now)?.or(pong.take());
                    Ok(())
                })
                .map_ok(|()| book.settled(seat) - before)
        })
        .await?;
        if fresh > 0 {
            self.plan.board.settle(fresh);
        }
        match pong {
            Some(body) => socket.say(PONG, &body).await,
            None => Ok(()),
        }
    }
}
