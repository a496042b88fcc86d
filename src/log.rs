//! Where events are ordered and kept.
//!
//! One writer a database gives offsets, commits what has gathered with one sync, and hands it to
//! the hub in order; what is read comes from memory or, further back, from chunks. Invariants: the
//! hub gets each stream's events in order of offset, under one lock; whoever publishes waits for
//! its own events only, never for a reader; nothing that was answered as durable is lost.

mod batch;
mod book;
mod cache;
mod checkpoint;
mod chunks;
mod mark;
mod recovery;
mod settle;
mod store;
mod verify;
mod writer;

pub use book::{Publication, Published, RequestKey};
pub use recovery::{Setup, Tasks};
pub use verify::{Verified, backup, verify};

use crate::database::now_ms;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset};
use crate::domain::stream::Stream;
use crate::engine::ledger::{Page, Reading, View};
use crate::hub::Hub;
use crate::log::book::{Book, Entry};
use crate::log::chunks::{Chunks, Range};
use crate::log::mark::Mark;
use crate::log::settle::Order;
use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, oneshot};

/// Events in one page of a replay.
const PAGE_EVENTS: usize = 64;

/// The log of one server.
pub struct Log {
    shared: Arc<Shared>,
}

type Ordered = (Order, oneshot::Sender<Result<bool, Error>>);

/// What the writer and everybody else share.
struct Shared {
    book: Mutex<Book>,
    orders: Mutex<VecDeque<Ordered>>,
    /// Streams that are no more, whose chunks are not deleted yet.
    gone: Mutex<VecDeque<StreamId>>,
    /// Streams that let go of events by age or bytes.
    bounded: Mutex<Vec<Bound>>,
    bell: Notify,
    stopping: AtomicBool,
    mark: Mark,
    chunks: Chunks,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

/// What a stream keeps at most, beside its capacity.
#[derive(Clone, Copy, Debug)]
struct Bound {
    stream: StreamId,
    max_age_ms: Option<u64>,
    max_bytes: Option<u64>,
}

impl Log {
    /// Orders, keeps and hands over all of a publication, or nothing of it; returns once that is as
    /// safe as was asked for.
    pub async fn append(&self, publication: Publication) -> Result<Published, Error> {
        match self.enter(publication)? {
            Entry::Done(published) => Ok(published),
            Entry::Waits(answer) => match answer.await {
                Ok(published) => Ok(published?),
                Err(_) => Err(ended().into()),
            },
        }
    }

    /// As [`Log::append`], for who does not wait: what others have to wait for is done when they are.
    pub fn leave(&self, publication: Publication) -> Result<(), Refusal> {
        self.enter(publication).map(drop)
    }

    fn enter(&self, publication: Publication) -> Result<Entry, Refusal> {
        let shared = &self.shared;
        let mut book = shared.book.lock();
        let was_written = book.is_written();
        let entry = book.enter(publication, |events| shared.hub.deliver(events))?;
        shared.measure(&book);
        let needs_writer = matches!(entry, Entry::Waits(_)) || was_written && !book.is_written();
        drop(book);
        if needs_writer {
            shared.bell.notify_one();
        }
        if let Entry::Done(published) = &entry {
            shared.metrics.events_published.inc_by(published.events.len() as u64);
        }
        Ok(entry)
    }

    /// Whether a key was answered and its time is not over, so that it gets the same answer again.
    pub fn was_answered(&self, key: &RequestKey, now_ms: u64) -> bool {
        let book = self.shared.book.lock();
        let receipt = book.keys.receipt(&key.key);
        receipt.is_some_and(|receipt| receipt.used_ms >= book.keys.horizon(now_ms))
    }

    /// Where a stream is; from now on its numbering is kept.
    pub fn open(&self, stream: &Stream) -> View {
        self.shared.book.lock().ledger.open(stream)
    }

    /// A page of a stream after a cursor, if it is in memory.
    pub fn read_recent(&self, stream: &StreamId, after: Offset) -> Option<Page> {
        let (reading, head) = {
            let book = self.shared.book.lock();
            (book.ledger.after(stream, after, PAGE_EVENTS), book.ledger.head(stream))
        };
        match reading {
            Reading::Here(page) => Some(page),
            Reading::Stored { from, to } => {
                let events = self.shared.chunks.cached(stream, from, to, PAGE_EVENTS)?;
                let keeps = true;
                Some(Page { events, head, keeps })
            }
        }
    }

    /// A page of a stream after a cursor, wherever it is.
    pub async fn read(&self, stream: &StreamId, after: Offset) -> Result<Page, Fault> {
        let mut after = after;
        loop {
            let range = {
                let book = self.shared.book.lock();
                match book.ledger.after(stream, after, PAGE_EVENTS) {
                    Reading::Here(page) => return Ok(page),
                    Reading::Stored { from, to } => range(&book, stream, from, to)?,
                }
            };
            let events = self.shared.chunks.first(&range, PAGE_EVENTS).await?;
            let Some(last) = events.last() else {
                // All of it was deleted; what comes next is in memory, or yet to come.
                after = range.to;
                continue;
            };
            let head = self.head(stream).max(last.offset);
            let keeps = true;
            return Ok(Page { events, head, keeps });
        }
    }

    /// At most `most` events of a stream that stand before `end`, in order.
    pub async fn read_back(&self, stream: &StreamId, end: Offset, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
        let range = {
            let book = self.shared.book.lock();
            match book.ledger.before(stream, end, most) {
                Reading::Here(page) => return Ok(page.events),
                Reading::Stored { from, to } => range(&book, stream, from, to)?,
            }
        };
        self.shared.chunks.last(&range, most).await
    }

    /// One event, by its place.
    pub async fn event(&self, stream: &StreamId, offset: Offset) -> Result<Option<Arc<Event>>, Fault> {
        let events = self.read_back(stream, offset.next(), 1).await?;
        Ok(events.into_iter().find(|event| event.offset == offset))
    }

    /// The place before the first event that is later than a time; before the oldest kept one if
    /// all are, at the head if none is.
    pub async fn place_before(&self, stream: &Stream, time_ms: u64) -> Result<Offset, Fault> {
        self.open(stream);
        let first = first_since(&self.shared, &stream.id, time_ms.saturating_add(1)).await?;
        Ok(first.previous())
    }

    /// Deletes all events of a stream; returns whether there were any.
    pub async fn clear(&self, stream: StreamId) -> Result<bool, Error> {
        self.order(Order::Clear(stream)).await
    }

    /// Deletes one event; returns whether it was there.
    pub async fn remove(&self, stream: StreamId, offset: Offset) -> Result<bool, Error> {
        self.order(Order::Remove(stream, offset)).await
    }

    async fn order(&self, order: Order) -> Result<bool, Error> {
        let (answer, receiver) = oneshot::channel();
        self.shared.orders.lock().push_back((order, answer));
        self.shared.bell.notify_one();
        match receiver.await {
            Ok(done) => done,
            Err(_) => Err(ended().into()),
        }
    }

    /// The newest place of a stream.
    pub fn head(&self, stream: &StreamId) -> Offset {
        self.shared.book.lock().ledger.head(stream)
    }

    /// A stream's capacity or bounds are what the catalogue says from now on.
    pub fn adjust(&self, stream: &Stream) {
        let is_for_disk = self.shared.book.lock().ledger.adjust(stream);
        if is_for_disk {
            // What was let go of stays gone, whatever the capacity is later. Nobody waits for it.
            let (answer, _) = oneshot::channel();
            self.shared.orders.lock().push_back((Order::Settle(stream.id), answer));
            self.shared.bell.notify_one();
        }
        let mut bounded = self.shared.bounded.lock();
        bounded.retain(|bound| bound.stream != stream.id);
        bounded.extend(Bound::of(stream));
    }

    /// Lets go of a stream that is no more.
    pub fn forget(&self, stream: &StreamId) {
        let mut book = self.shared.book.lock();
        let is_stored = book.ledger.view(stream).is_some() && !book.ledger.is_unstored(stream);
        book.ledger.forget(stream);
        if is_stored {
            book.hashes.retain(|(owner, _), _| owner != stream);
        }
        self.shared.measure(&book);
        drop(book);
        if is_stored {
            self.shared.bounded.lock().retain(|bound| bound.stream != *stream);
            self.shared.gone.lock().push_back(*stream);
        }
    }

    /// How a stream is numbered, if it was opened.
    pub fn epoch(&self, stream: &StreamId) -> Option<Epoch> {
        self.shared.book.lock().ledger.view(stream).map(|view| view.epoch)
    }

    /// Whether events of a stream are on their way to the disk.
    pub fn awaits(&self, stream: &StreamId) -> bool {
        self.shared.book.lock().ledger.awaits(stream)
    }

    /// Refused while nothing can be written.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.shared.book.lock().failing {
            Some(code) => Err(book::unwritable(code)),
            None => Ok(()),
        }
    }

    /// Has the writer end once everything is written.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.bell.notify_one();
    }
}

impl Shared {
    fn measure(&self, book: &Book) {
        let (kept, bytes) = book.ledger.kept();
        self.metrics.log_events.set(kept as i64);
        self.metrics.log_bytes.set(bytes as i64);
        self.metrics.log_pending_bytes.set(book.pending_bytes() as i64);
        self.metrics.log_key_bytes.set(book.keys.bytes() as i64);
    }

    /// Nothing can be written from now on; said once.
    fn begin_failing(&self, code: Code, fault: &Fault) {
        let mut book = self.book.lock();
        let was_failing = book.failing.is_some();
        let refused = book.refuse_waiting(code);
        self.measure(&book);
        drop(book);
        for (answer, refusal) in refused {
            // Who asked may have gone.
            let _ = answer.send(refusal);
        }
        self.metrics.log_failing.set(1);
        if !was_failing {
            self.metrics.faults.inc();
            tracing::error!("events cannot be written: {fault}");
        }
    }

    fn is_unsettled(&self, stream: &StreamId, offset: Offset) -> bool {
        let view = self.book.lock().ledger.view(stream);
        view.is_some_and(|view| offset > view.settled && offset <= view.head)
    }
}

impl Bound {
    fn of(stream: &Stream) -> Option<Self> {
        let rules = &stream.rules;
        let bound = Self {
            stream: stream.id,
            max_age_ms: rules.max_age_s.map(|seconds| seconds.saturating_mul(1_000)),
            max_bytes: rules.max_bytes,
        };
        (bound.max_age_ms.is_some() || bound.max_bytes.is_some()).then_some(bound)
    }
}

impl Bound {
    /// The first event that is neither too old nor too many bytes away from the newest.
    async fn first(&self, shared: &Shared) -> Result<Offset, Fault> {
        let mut first = Offset(0);
        if let Some(max_age_ms) = self.max_age_ms {
            first = first_since(shared, &self.stream, now_ms().saturating_sub(max_age_ms)).await?;
        }
        if let Some(max_bytes) = self.max_bytes
            && let Some(by_bytes) = shared.chunks.first_within(&self.stream, max_bytes).await?
        {
            first = first.max(by_bytes);
        }
        Ok(first)
    }
}

/// The first event of a stream that is of this time or later; the next one to come if none is.
async fn first_since(shared: &Shared, stream: &StreamId, time_ms: u64) -> Result<Offset, Fault> {
    let (view, range, in_memory) = {
        let book = shared.book.lock();
        let Some(view) = book.ledger.view(stream) else {
            return Ok(Offset(0));
        };
        let range = range(&book, stream, view.first, view.settled)?;
        (view, range, book.ledger.first_since(stream, time_ms))
    };
    let stored = match in_memory {
        // What chunks have is older still.
        Some((_, true)) => None,
        _ => shared.chunks.first_since(&range, time_ms).await?,
    };
    let first = [stored, in_memory.map(|(offset, _)| offset)]
        .into_iter()
        .flatten()
        .min();
    Ok(first.unwrap_or(view.head.next()))
}

fn range(book: &Book, stream: &StreamId, from: Offset, to: Offset) -> Result<Range, Fault> {
    let path = book.ledger.path(stream);
    let path = path.ok_or_else(|| Fault::Io(std::io::Error::other("a stream went while it was read")))?;
    Ok(Range {
        stream: *stream,
        path,
        from,
        to,
    })
}

fn ended() -> Fault {
    Fault::Io(std::io::Error::other("the log's writer has ended"))
}
