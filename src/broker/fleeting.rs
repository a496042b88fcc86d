//! Streams that nobody declared: they keep nothing, and exist while somebody listens.
//!
//! Knows nothing of channels or notices, whose clients need them. Invariants: a worker that listens is
//! known to the hub before this lock is let go, so no stream fades under a new subscriber, nor under
//! one that is between two connections; there are no more of them than a company may have streams;
//! nothing of them reaches the disk.

use crate::broker::{Broker, Following};
use crate::catalogue::now_ms;
use crate::domain::error::{Code, Refusal};
use crate::domain::id::{SYSTEM, StreamId};
use crate::domain::path::Path;
use crate::domain::scope::Verb;
use crate::domain::stream::{Rules, Stream, Target};
use crate::domain::token::Access;
use crate::hub::worker::Worker;
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a publication may be on its way from finding its stream to its place in the log's queue.
const GRACE: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Default)]
pub(super) struct Fleeting(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_path: HashMap<Path, Arc<Stream>>,
    paths: HashMap<StreamId, Path>,
    /// How many each company has.
    counts: HashMap<String, usize>,
    /// Those that somebody is declaring, which do not fade meanwhile.
    held: HashSet<StreamId>,
    /// Those that somebody is about to follow again, and how many are; as little do they.
    awaited: HashMap<StreamId, usize>,
}

impl Table {
    fn find(&self, target: &Target) -> Option<Arc<Stream>> {
        let path = match target {
            Target::Id(id) => self.paths.get(id)?,
            Target::Path(path) => path,
        };
        self.by_path.get(path).cloned()
    }

    fn count(&self, company: &str) -> usize {
        self.counts.get(company).copied().unwrap_or(0)
    }

    fn make(&mut self, path: &Path) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            id: StreamId::random(),
            path: path.clone(),
            description: String::new(),
            capacity: 0,
            rules: Rules::default(),
            creator: SYSTEM,
            created_ms: now_ms(),
            edited: None,
        });
        *self.counts.entry(path.company().to_owned()).or_default() += 1;
        self.paths.insert(stream.id, path.clone());
        self.by_path.insert(path.clone(), Arc::clone(&stream));
        stream
    }

    fn remove(&mut self, id: &StreamId) {
        let Some(path) = self.paths.remove(id) else {
            return;
        };
        self.by_path.remove(&path);
        if let Some(count) = self.counts.get_mut(path.company()) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(path.company());
            }
        }
    }
}

impl Broker {
    /// The stream that is not declared and exists for now.
    pub(super) fn find_fleeting(&self, target: &Target) -> Option<Arc<Stream>> {
        self.find_undeclared(&mut self.fleeting.0.lock(), target)
    }

    /// The stream that there is, declared meanwhile or not at all; a company's notices there always are.
    fn find_undeclared(&self, table: &mut Table, target: &Target) -> Option<Arc<Stream>> {
        // Somebody may have declared it since it was looked for.
        let found = self.catalogue.find(target).or_else(|| table.find(target));
        match target {
            Target::Path(path) if found.is_none() && path.is_notices() => {
                self.catalogue.company_by_name(path.company())?;
                Some(table.make(path))
            }
            _ => found,
        }
    }

    /// The stream to be followed, which the worker listens to from now on.
    pub(super) fn find_to_follow<P>(
        &self,
        worker: &Worker<P>,
        access: &Access,
        target: &Target,
        following: &Following,
    ) -> Result<Arc<Stream>, Refusal> {
        if let Some(stream) = self.catalogue.find(target) {
            let stream = self.check_found(access, Verb::Read, target, Some(stream))?;
            worker.listen(stream.id);
            return Ok(stream);
        }
        let mut table = self.fleeting.0.lock();
        let found = match self.find_undeclared(&mut table, target) {
            None if following.fleeting => self.make_fleeting(&mut table, access, target)?,
            found => found,
        };
        let stream = self.check_found(access, Verb::Read, target, found)?;
        worker.listen(stream.id);
        Ok(stream)
    }

    fn make_fleeting(
        &self,
        table: &mut Table,
        access: &Access,
        target: &Target,
    ) -> Result<Option<Arc<Stream>>, Refusal> {
        let Target::Path(path) = target else {
            return Ok(None);
        };
        access.check_path(Verb::Read, path)?;
        if !self.allows_undeclared(path) {
            return Ok(None);
        }
        let most = self.limits.max_streams;
        if self.catalogue.stream_count(path.company()) + table.count(path.company()) >= most {
            let text = format!("a company has at most {most} streams, those included that nobody declared");
            return Err(Refusal::new(Code::LimitStreams, text));
        }
        Ok(Some(table.make(path)))
    }

    /// Whether streams that nobody declared may exist where this one would.
    fn allows_undeclared(&self, path: &Path) -> bool {
        let company = self.catalogue.company_by_name(path.company());
        company.is_some_and(|company| company.settled.settings.allow_undeclared_channels)
    }

    /// Whether a stream was not found because nobody declared it and nobody listens, where it could be.
    pub(super) fn is_unheard(&self, access: &Access, refusal: &Refusal, target: &Target) -> bool {
        let Target::Path(path) = target else {
            return false;
        };
        let is_own = path.company() == access.token.company.as_str();
        refusal.code == Code::StreamUnknown && is_own && self.allows_undeclared(path)
    }

    /// A worker listens to a stream no more: if nobody does, one that was not declared is no more.
    pub(super) fn ignore<P>(&self, worker: &Worker<P>, stream: &StreamId) {
        worker.ignore(stream);
        let mut table = self.fleeting.0.lock();
        self.fade(&mut table, stream);
    }

    /// Lets a stream that is not declared go, unless it lasts, is being declared or awaited, or somebody listens.
    fn fade(&self, table: &mut Table, stream: &StreamId) {
        let lasts = table.paths.get(stream).is_none_or(Path::is_notices);
        let is_held = table.held.contains(stream) || table.awaited.contains_key(stream);
        if !lasts && !is_held && !self.hub.has_listener(stream) {
            table.remove(stream);
            self.log.forget(stream);
            self.gone.leave(*stream);
        }
    }

    /// Has a stream wait for who is about to follow it again, if it would fade otherwise.
    pub(super) fn hold(self: &Arc<Self>, stream: &StreamId) -> Option<Hold> {
        let mut table = self.fleeting.0.lock();
        table.paths.get(stream).filter(|path| !path.is_notices())?;
        *table.awaited.entry(*stream).or_default() += 1;
        let (broker, stream) = (Arc::downgrade(self), *stream);
        Some(Hold { broker, stream })
    }

    /// The id that a stream is to have which is declared at a path: that of who is followed there already, so
    /// that nobody's place in it is lost. To be given back with [`Broker::end_declaring`].
    pub(super) fn begin_declaring(&self, path: &Path) -> StreamId {
        let mut table = self.fleeting.0.lock();
        let there = table.by_path.get(path).map(|stream| stream.id);
        // Two who declare the same at once have an id each; one of them is refused.
        let id = there.filter(|id| table.held.insert(*id));
        id.unwrap_or_else(StreamId::random)
    }

    /// It was declared, or was refused.
    pub(super) fn end_declaring(&self, id: &StreamId) {
        let mut table = self.fleeting.0.lock();
        if table.held.remove(id) {
            self.fade(&mut table, id);
        }
    }

    /// Streams that were declared under another id where one was not: its id, and what there is now.
    pub(super) fn take_declared(&self, declared: &[Arc<Stream>]) -> Vec<(StreamId, Arc<Stream>)> {
        let mut table = self.fleeting.0.lock();
        let mut taken = Vec::new();
        for stream in declared {
            if let Some(before) = table.by_path.get(&stream.path).map(|before| before.id) {
                table.remove(&before);
                if before != stream.id {
                    taken.push((before, Arc::clone(stream)));
                }
            }
        }
        taken
    }

    /// Those who followed a stream that was not declared follow the one that another process declared, from
    /// its beginning.
    pub fn go_over<P>(&self, worker: &Worker<P>, from: &StreamId, to: &Stream) {
        if worker.shard.borrow_mut().follower_count(from) > 0 {
            worker.listen(to.id);
            let (before, after) = (self.log.head(from), self.log.open(to).head);
            let fewer = worker.shard.borrow_mut().go_over((from, before), (to.id, after));
            self.metrics.subscriptions.dec_by(fewer as i64);
            worker.mailbox.ring();
        }
        worker.ignore(from);
        // Other workers still have to see how far it came.
        self.gone.leave(*from);
    }
}

/// Has a stream that nobody declared wait, as long as this is there.
pub(super) struct Hold {
    /// Sessions keep holds, and the broker keeps sessions.
    broker: Weak<Broker>,
    stream: StreamId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        let mut table = broker.fleeting.0.lock();
        if let Entry::Occupied(mut count) = table.awaited.entry(self.stream) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                broker.fade(&mut table, &self.stream);
            }
        }
    }
}

/// Streams that are no more, and whose numbering is forgotten once whoever found them before can have
/// published to them after.
#[derive(Default)]
pub(super) struct Gone(Mutex<Vec<(Instant, StreamId)>>);

impl Gone {
    /// A stream is no more.
    pub(super) fn leave(&self, stream: StreamId) {
        self.0.lock().push((Instant::now(), stream));
    }

    /// Those that have been so for long enough, of those that may be forgotten now.
    pub(super) fn take(&self, may_go: impl Fn(&StreamId) -> bool) -> Vec<StreamId> {
        let mut taken = Vec::new();
        self.0.lock().retain(|(since, stream)| {
            let goes = since.elapsed() >= GRACE && may_go(stream);
            if goes {
                taken.push(*stream);
            }
            !goes
        });
        taken
    }
}
