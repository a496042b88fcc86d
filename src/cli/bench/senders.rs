//! Those who send: each a thread with a connection, which does its turns of the schedule one after the other.
//!
//! A thread sleeps until a turn is due, as a runtime's timer is late by up to two milliseconds. Knows nothing of what
//! is sent. Invariant: each turn that became due is counted: as answered, as refused, or as never sent.

use crate::cli::bench::gauge;
use crate::cli::bench::latency::Latency;
use crate::cli::bench::run::Run;
use crate::cli::bench::schedule::{Micros, Pace, Schedule, Turn, micros};
use crate::cli::failure;
use crate::domain::error::{Code, Error, Fault};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Barrier, oneshot};

/// Time after the end for turns that are late; those after that are never sent.
const OVERTIME: Duration = Duration::from_secs(10);

/// What a sender does in a turn.
pub trait Errand {
    /// Does it, to the answer's end.
    async fn run(&mut self, turn: &Turn) -> Result<(), Error>;

    /// Blocks until there is a reason to do the next one; in an open loop there always is.
    fn wait_for_room(&mut self) {}
}

/// When so many senders send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many there are.
    pub senders: u32,
    /// Requests, not events.
    pub pace: Pace,
    /// For how long.
    pub length: Duration,
    /// Set when it is to end before that.
    pub stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug)]
pub struct Sent {
    /// Requests that were answered with a success.
    pub answered: u64,
    /// How long answers took, from when their requests were due; what was never sent counts until it was given up.
    pub answers: Latency,
    /// How late requests were sent through nobody's fault but this program's.
    pub late: Latency,
    /// Requests that were due while their sender waited for an answer.
    pub waited: u64,
    /// Requests that were never sent.
    pub unsent: u64,
    /// Refusals by their code.
    pub refused: BTreeMap<&'static str, u64>,
    /// From the start to the last answer.
    pub time: Micros,
    /// Processor seconds of the busiest sender, and of all.
    pub cpu: Option<(f64, f64)>,
}

/// Senders at work.
pub struct Senders(Vec<oneshot::Receiver<Sent>>);

impl Sent {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            answered: 0,
            answers: Latency::new(),
            late: Latency::new(),
            waited: 0,
            unsent: 0,
            refused: BTreeMap::new(),
            time: 0,
            cpu: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.answers.add(&other.answers);
        self.late.add(&other.late);
        self.waited += other.waited;
        self.unsent += other.unsent;
        for (code, count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.time = self.time.max(other.time);
        let (busiest, all) = self.cpu.unwrap_or_default();
        let more = |(one, _): (f64, f64)| (busiest.max(one), all + one);
        self.cpu = other.cpu.map(more).or(self.cpu);
    }
}

impl Senders {
    /// Starts them; `make` gives each of them, by number, what it does. All begin together, once all are ready.
    pub fn start<E, M>(run: &Arc<Run>, plan: Plan, make: M) -> Result<Self, Error>
    where
        E: Errand,
        M: AsyncFn(u32) -> Result<E, Error> + Clone + Send + 'static,
    {
        let barrier = Arc::new(Barrier::new(plan.senders as usize));
        let start = Arc::new(OnceLock::new());
        let mut all = Vec::new();
        for number in 0..plan.senders {
            let (run, make, plan) = (Arc::clone(run), make.clone(), plan.clone());
            let (barrier, start) = (Arc::clone(&barrier), Arc::clone(&start));
            let (said, heard) = oneshot::channel();
            let thread = std::thread::Builder::new().name(format!("sender {number}"));
            let body = move || match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    let made = make(number);
                    let sent = runtime.block_on(send_all(&run, made, plan, number, &barrier, &start));
                    // Who does not wait for it any more needs nothing.
                    drop(said.send(sent));
                }
                Err(error) => run.fail(Fault::from(error).into()),
            };
            thread.spawn(body).map_err(Fault::from)?;
            all.push(heard);
        }
        Ok(Self(all))
    }

    /// Waits until all have done all their turns.
    pub async fn finish(self) -> Result<Sent, Error> {
        let mut total = Sent::new();
        for heard in self.0 {
            let sent = heard.await.map_err(|_| failure("a sending thread broke"))?;
            total.add(&sent);
        }
        Ok(total)
    }
}

/// One thread: its connection, then its turns, from when all are ready.
async fn send_all<E: Errand>(
    run: &Arc<Run>,
    made: impl Future<Output = Result<E, Error>>,
    plan: Plan,
    number: u32,
    barrier: &Barrier,
    start: &OnceLock<Micros>,
) -> Sent {
    let made = made.await.map_err(|error| run.fail(error));
    // Also who failed goes through, or the others would wait for ever.
    barrier.wait().await;
    let start = *start.get_or_init(|| run.clock.now());
    let mut sender = Sender {
        run: Arc::clone(run),
        sent: Sent::new(),
    };
    if let Ok(errand) = made {
        sender.work(errand, plan, number, start).await;
    }
    sender.sent
}

struct Sender {
    run: Arc<Run>,
    sent: Sent,
}

impl Sender {
    async fn work(&mut self, mut errand: impl Errand, plan: Plan, number: u32, start: Micros) {
        let before = gauge::own_thread();
        let end = start.saturating_add(micros(plan.length));
        let mut schedule = Schedule::new(plan.pace, (number, plan.senders), start, end);
        let clock = self.run.clock;
        while !self.run.is_over() && !plan.stop.load(Ordering::Relaxed) {
            errand.wait_for_room();
            let Some(turn) = schedule.next(clock.now()) else {
                break;
            };
            if clock.now() > end.saturating_add(micros(OVERTIME)) {
                self.give_up(&turn);
            } else if !self.run.wait_until(turn.due) {
                break;
            } else if let Err(error) = self.take(&mut errand, &turn).await {
                self.run.fail(error);
            }
        }
        self.sent.time = clock.now() - start;
        self.sent.cpu = gauge::between(before, gauge::own_thread()).map(|seconds| (seconds, seconds));
    }

    async fn take(&mut self, errand: &mut impl Errand, turn: &Turn) -> Result<(), Error> {
        let clock = self.run.clock;
        self.sent.late.record(turn.late(clock.now()));
        self.sent.waited += u64::from(turn.has_waited());
        match errand.run(turn).await {
            Ok(()) => {
                self.sent.answered += 1;
                self.sent.answers.record(turn.took(clock.now()));
            }
            Err(Error::Refusal(refusal)) if !is_final(refusal.code) => {
                *self.sent.refused.entry(refusal.code.entry().code).or_default() += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// It waited all the time, so that counts, too.
    fn give_up(&mut self, turn: &Turn) {
        self.sent.unsent += 1;
        self.sent.answers.record(turn.took(self.run.clock.now()));
    }
}

/// Whether all that follows would be refused as well: then there is nothing to measure.
fn is_final(code: Code) -> bool {
    matches!(code.entry().status, 400..408 | 413 | 501)
}
