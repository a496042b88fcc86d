//! The one writer: takes what has gathered, numbers it, commits it as one row with one sync, then
//! has it shown and answered. In between it settles, a small step at a time.
//!
//! Runs as one task and owns the writing connection. It never waits for more to gather while
//! somebody waits for an answer: a batch is what came while the last one was being written.
//! Invariant: nobody is answered before what they were promised is done.

use crate::domain::error::{Error, Fault};
use crate::domain::id::StreamId;
use crate::engine::keys::Digest;
use crate::engine::record::{Body, Place};
use crate::log::Shared;
use crate::log::batch::{Batch, Taken};
use crate::log::book::unwritable;
use crate::log::checkpoint::Checkpoint;
use crate::log::settle::Settling;
use crate::log::store::Store;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes of events in one commit, about; what is more waits for the next.
const BATCH_BYTES: usize = 4_194_304;
/// How long shown events gather while nobody waits for them to be written.
const GATHER: Duration = Duration::from_millis(5);
/// How often the writer looks around though nobody called.
const LOOK: Duration = Duration::from_millis(250);
/// How long a stream shows nothing unsynced before its numbering is firm again.
const QUIET_MS: u64 = 1_000;

/// The task's own state.
pub struct Writer {
    shared: Arc<Shared>,
    store: Store,
    settling: Settling,
    checkpoint: Checkpoint,
    next_id: i64,
    /// When it last looked around.
    looked: Instant,
}

impl Writer {
    /// Appends from `next_id` on.
    pub fn new(shared: Arc<Shared>, store: Store, settling: Settling, checkpoint: Checkpoint, next_id: i64) -> Self {
        Self {
            shared,
            store,
            settling,
            checkpoint,
            next_id,
            looked: Instant::now(),
        }
    }

    /// Writes until told to stop and nothing waits any more.
    pub async fn run(mut self) {
        loop {
            let called = tokio::time::timeout(LOOK, self.shared.bell.notified()).await.is_ok();
            if called && self.is_patient() {
                // Whoever wants an answer rings again and cuts this short; the rest can wait.
                let _ = tokio::time::timeout(GATHER, self.shared.bell.notified()).await;
            }
            while self.turn().await {
                // Somebody who publishes without end keeps nothing else from being done.
                self.look_around_if_due().await;
            }
            self.look_around_if_due().await;
            if self.shared.stopping.load(Ordering::SeqCst) {
                self.finish().await;
                return;
            }
        }
    }

    fn is_patient(&self) -> bool {
        let book = self.shared.book.lock();
        book.is_patient() && self.shared.orders.lock().is_empty()
    }

    /// Whether something is there that must not be left undone; settling may go on after a restart.
    fn is_awaited(&self) -> bool {
        !self.shared.book.lock().is_written() || !self.shared.orders.lock().is_empty()
    }

    /// One commit and what is due after it; returns whether there is more to do at once.
    async fn turn(&mut self) -> bool {
        let has_orders = self.obey().await;
        if self.shared.book.lock().failing.is_some() {
            return false;
        }
        let taken = self.shared.book.lock().take(BATCH_BYTES);
        let has_written = match taken {
            Some(taken) => self.write(taken).await,
            None => false,
        };
        let is_settling = self.settling.is_due();
        if is_settling {
            self.settle_step().await;
        }
        self.checkpoint.begin_if_due();
        let book = self.shared.book.lock();
        book.failing.is_none() && (has_orders || has_written || is_settling || !book.is_written())
    }

    async fn write(&mut self, taken: Taken) -> bool {
        let repeated = match self.repeated(&taken).await {
            Ok(repeated) => repeated,
            Err(fault) => {
                let batch = self.shared.book.lock().arrange(taken, &HashSet::new());
                self.fail(batch, &fault);
                return false;
            }
        };
        let mut batch = self.shared.book.lock().arrange(taken, &repeated);
        let body = std::mem::replace(&mut batch.body, Body::journal());
        if !body.is_empty() {
            let bytes = body.len();
            match self.append(body, batch.sync).await {
                Ok(()) => self.settling.add(self.next_id, bytes),
                Err(error) => {
                    self.fail(batch, &error.into());
                    return false;
                }
            }
            self.next_id += 1;
        }
        self.succeed(batch);
        true
    }

    async fn append(&mut self, body: Body, sync: bool) -> Result<(), sqlx::Error> {
        let bytes = body.len();
        let gate = self.checkpoint.gate().await;
        self.store.append(self.next_id, body.finish(), sync).await?;
        drop(gate);
        self.checkpoint.wrote(bytes);
        let metrics = &self.shared.metrics;
        metrics.log_commits.inc();
        metrics.log_written_bytes.inc_by(bytes as u64);
        if sync {
            // Before anybody is answered: a copy that lacks what was answered must be found out.
            self.shared.mark.note(self.next_id);
            self.shared.mark.write();
        }
        Ok(())
    }

    /// Hashes of this batch that settled events have.
    async fn repeated(&mut self, taken: &Taken) -> Result<HashSet<(StreamId, Digest)>, Fault> {
        let wanted: Vec<(StreamId, Digest)> = taken.requests.iter().flat_map(|(wish, _)| wish.hashes()).collect();
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let firsts: HashMap<StreamId, _> = {
            let book = self.shared.book.lock();
            let view = |stream| book.ledger.view(stream).map(|view| (*stream, view.first));
            wanted.iter().filter_map(|(stream, _)| view(stream)).collect()
        };
        let wanted: Vec<_> = wanted
            .into_iter()
            .filter_map(|(stream, hash)| Some((stream, hash, *firsts.get(&stream)?)))
            .collect();
        Ok(self.store.repeated(&wanted).await?.into_iter().collect())
    }

    /// Shows and answers a batch that is written.
    fn succeed(&self, batch: Batch) {
        let shared = &self.shared;
        let mut book = shared.book.lock();
        let answers = book.commit(batch, |events| shared.hub.deliver(events));
        shared.measure(&book);
        drop(book);
        for (answer, published) in answers {
            if let Ok(published) = &published {
                shared.metrics.events_published.inc_by(published.events.len() as u64);
            }
            // Who asked may have gone; what was written stays written.
            let _ = answer.send(published);
        }
    }

    fn fail(&self, batch: Batch, fault: &Fault) {
        let code = fault.log_code();
        self.shared.begin_failing(code, fault);
        let answers = self.shared.book.lock().roll_back(batch, code);
        for (answer, refused) in answers {
            let _ = answer.send(refused);
        }
    }

    async fn settle_step(&mut self) {
        let gate = self.checkpoint.gate().await;
        let done = self.settling.step(&mut self.store, &self.shared).await;
        drop(gate);
        match done {
            Ok(bytes) => self.checkpoint.wrote(bytes),
            Err(error) => {
                let fault = Fault::from(error);
                self.shared.begin_failing(fault.log_code(), &fault);
            }
        }
    }

    /// Does one thing that was ordered besides publishing, such as deleting, so that nobody who
    /// orders without end keeps publishers waiting; returns whether there are more.
    async fn obey(&mut self) -> bool {
        let order = self.shared.orders.lock().pop_front();
        let Some((order, answer)) = order else {
            return false;
        };
        let failing = self.shared.book.lock().failing;
        let done = match failing {
            // What a failed sync left behind is not to be built upon.
            Some(code) => Err(unwritable(code).into()),
            None => {
                let gate = self.checkpoint.gate().await;
                let done = self.settling.obey(&mut self.store, &self.shared, &order).await;
                drop(gate);
                done.map_err(|fault| self.explain(fault))
            }
        };
        // Who ordered it may have gone.
        let _ = answer.send(done);
        !self.shared.orders.lock().is_empty()
    }

    /// What an order that failed is told; a disk that takes nothing is known from then on.
    fn explain(&self, fault: Fault) -> Error {
        match fault {
            Fault::Database(_) => {
                let code = fault.log_code();
                self.shared.begin_failing(code, &fault);
                unwritable(code).into()
            }
            fault => fault.into(),
        }
    }

    async fn look_around_if_due(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.look_around().await;
        }
    }

    /// What is due now and then: a disk that fails is tried again, quiet streams are firm again,
    /// old events go.
    async fn look_around(&mut self) {
        if self.shared.book.lock().failing.is_some() {
            self.try_again().await;
        }
        if self.shared.book.lock().failing.is_some() {
            return;
        }
        self.checkpoint.begin_now_and_then();
        let horizon = crate::log::now_ms().saturating_sub(QUIET_MS);
        self.firm_up(horizon).await;
        let gate = self.checkpoint.gate().await;
        let done = self.settling.let_go_of_old(&mut self.store, &self.shared).await;
        drop(gate);
        match done {
            Ok(()) => {}
            // A sync that failed here may have been that of what others were to be answered about.
            Err(fault @ Fault::Database(_)) => self.shared.begin_failing(fault.log_code(), &fault),
            Err(fault) => {
                tracing::error!("{fault}");
                self.shared.metrics.faults.inc();
            }
        }
    }

    async fn try_again(&mut self) {
        let gate = self.checkpoint.gate().await;
        let probed = self.store.probe().await;
        drop(gate);
        match probed {
            Ok(()) => {
                self.shared.book.lock().failing = None;
                self.shared.metrics.log_failing.set(0);
                tracing::info!("the disk takes events again");
            }
            Err(error) => tracing::debug!("the disk still fails: {error}"),
        }
    }

    /// Once all that was shown is synced, streams that are quiet are firm.
    async fn firm_up(&mut self, before_ms: u64) {
        let places = {
            let mut book = self.shared.book.lock();
            if !book.is_written() {
                return;
            }
            book.ledger.firm_up(before_ms)
        };
        if places.is_empty() {
            return;
        }
        let mut body = Body::journal();
        places.iter().for_each(|place| body.put_place(place));
        let bytes = body.len();
        match self.append(body, true).await {
            Ok(()) => {
                self.settling.add(self.next_id, bytes);
                self.next_id += 1;
            }
            Err(error) => {
                let mut book = self.shared.book.lock();
                for place in places {
                    // The disk has them as loose still; they are asked about again.
                    book.ledger.confirm(&Place { loose: true, ..place });
                }
                drop(book);
                let fault = Fault::from(error);
                self.shared.begin_failing(fault.log_code(), &fault);
            }
        }
    }

    /// The last things: everything written, every numbering firm, one file.
    async fn finish(&mut self) {
        while self.is_awaited() && self.turn().await {}
        if self.shared.book.lock().failing.is_some() {
            self.try_again().await;
            while self.is_awaited() && self.turn().await {}
        }
        if self.shared.book.lock().failing.is_some() {
            tracing::error!("the disk takes nothing: what was accepted last is lost");
            return;
        }
        self.firm_up(u64::MAX).await;
        let gate = self.checkpoint.gate().await;
        if let Err(error) = self.store.checkpoint().await {
            tracing::warn!("the last checkpoint failed: {error}");
        }
        drop(gate);
    }
}
