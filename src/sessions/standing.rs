//! What a session has beyond its sockets: a standing conversation, whose lines HTTP responses take,
//! and what its sockets followed that have ended.
//!
//! Knows neither protocol nor sockets; a standing conversation is reached through a channel from
//! whichever worker. Invariants: a session has one at most; what is kept of ended sockets is bounded in
//! all, for a company and for a session, goes when the session does, and who does without is told.

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Wire;
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset, Position};
use crate::domain::session_id::SessionId;
use crate::engine::subscription::{Subscription, Terms};
use crate::sessions::pipe::Inlet;
use crate::sessions::{Sessions, Table};
use bytes::Bytes;
use std::collections::btree_map::Entry as Place;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What a standing conversation is asked for.
pub enum Errand {
    /// To answer a request.
    Request {
        /// The request's text.
        text: String,
        /// Where the answer goes.
        answer: oneshot::Sender<Answered>,
    },
    /// To say everything here from now on.
    Attach {
        /// Where.
        inlet: Inlet,
        /// Where the reader was in some streams when it last read.
        seen: Vec<(StreamId, Position)>,
        /// Whether the reader is to be told where it is.
        keeps_places: bool,
    },
    /// To follow what ended sockets of the session followed, if somebody reads: more of that is kept now.
    TakeUp,
    /// To end, and to give away all that it has.
    HandOver {
        /// To whom.
        answer: oneshot::Sender<Estate>,
    },
}

impl Errand {
    /// To say everything there, to who asks for it as it comes.
    pub fn attach(inlet: Inlet) -> Self {
        let (seen, keeps_places) = (Vec::new(), false);
        Errand::Attach {
            inlet,
            seen,
            keeps_places,
        }
    }

    /// To say everything there, to who keeps places and was in these when it last read.
    pub fn attach_at(inlet: Inlet, seen: Vec<(StreamId, Position)>) -> Self {
        let keeps_places = true;
        Errand::Attach {
            inlet,
            seen,
            keeps_places,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its HTTP status.
    pub status: u16,
    /// Its text; none where there is nothing to say.
    pub text: Option<String>,
    /// After how many seconds to try again, where that can help.
    pub retry_after: Option<u32>,
}

/// What a standing conversation leaves behind.
#[derive(Default)]
pub struct Estate {
    /// Lines that nobody has taken.
    pub lines: Vec<Bytes>,
    /// What it followed; the lines stand before whatever comes after these places.
    pub followed: Vec<Followed>,
}

/// A subscription without its connection.
pub struct Followed {
    /// The stream.
    pub stream: StreamId,
    /// The numbering that its place is of.
    pub epoch: Epoch,
    /// Where it was, and how it followed.
    pub subscription: Subscription,
    /// What else was agreed.
    pub terms: Option<Box<Terms>>,
    /// The form in which its events were given.
    pub wire: Wire,
    /// What has the stream be there as long as this is kept, if it needs that.
    pub hold: Option<Box<dyn Send>>,
}

impl Followed {
    /// Goes on with this event, if it has passed it.
    pub fn begin_before(&mut self, first: Offset) {
        self.subscription = self.subscription.back_to(first.previous());
    }
}

/// What a connection followed, to be kept.
pub struct Leaving {
    followed: Vec<Followed>,
    left: Left,
}

impl Leaving {
    /// What a socket followed that was opened at that time.
    pub fn new(followed: Vec<Followed>, opened: Instant, said_goodbye: bool) -> Self {
        let left = Left { opened, said_goodbye };
        Self { followed, left }
    }

    /// What counts from now on, whatever was opened before.
    pub fn for_good(followed: Vec<Followed>) -> Self {
        Self::new(followed, Instant::now(), true)
    }
}

/// By whom something was left.
#[derive(Clone, Copy)]
struct Left {
    /// When it was opened.
    opened: Instant,
    /// Whether its peer said goodbye, rather than being lost or found dead.
    said_goodbye: bool,
}

/// What is kept of one stream.
struct Kept {
    followed: Followed,
    left: Left,
}

impl Kept {
    /// Whether this is where to go on, rather than the other, which was left of the same stream.
    ///
    /// What was opened later counts. An older socket that is lost or found dead was written to for a while
    /// after its peer had gone to the newer one, so going on where it was would lose events that nobody saw.
    /// Only if its peer said goodbye that peer lived to see them; if it came further than the newer one on the
    /// same terms, it counts, or they would come twice.
    fn outdoes(&self, other: &Kept) -> bool {
        match self.left.opened < other.left.opened {
            true => self.was_seen_beyond(other),
            false => !other.was_seen_beyond(self),
        }
    }

    fn was_seen_beyond(&self, other: &Kept) -> bool {
        let (this, other) = (&self.followed, &other.followed);
        let is_beyond = this.subscription.cursor() > other.subscription.cursor();
        self.left.said_goodbye && this.epoch == other.epoch && this.terms == other.terms && is_beyond
    }
}

/// What a session has beyond its sockets.
#[derive(Default)]
pub(super) struct Belongings {
    standing: Option<mpsc::Sender<Errand>>,
    /// What its sockets followed that have ended.
    kept: BTreeMap<StreamId, Kept>,
    /// Whether there was no room for more of that.
    is_short: bool,
    /// Whose session it is, once something is kept.
    company: i64,
    /// The goodbye that nobody was there to read.
    goodbye: Option<Bytes>,
}

/// What was kept of a session's sockets.
#[derive(Default)]
pub struct Taken {
    /// What they followed.
    pub followed: Vec<Followed>,
    /// Whether they followed more, for which there was no room.
    pub is_short: bool,
}

/// How many subscriptions are kept, and whose.
#[derive(Default)]
pub(super) struct Counts {
    total: usize,
    by_company: HashMap<i64, usize>,
}

impl Counts {
    /// How many more a company may keep where there is room for `most`: it has at most half of what the
    /// others leave free, so that there is always some for who comes next.
    fn room(&self, company: i64, most: usize) -> usize {
        let own = self.by_company.get(&company).copied().unwrap_or(0);
        let free = most.saturating_sub(self.total - own);
        free.div_ceil(2).saturating_sub(own)
    }

    fn add(&mut self, company: i64, count: usize) {
        self.total += count;
        *self.by_company.entry(company).or_default() += count;
    }

    /// What a session had is not kept any more.
    pub(super) fn let_go(&mut self, of: &Belongings) {
        self.total -= of.kept.len();
        if let Entry::Occupied(mut count) = self.by_company.entry(of.company) {
            *count.get_mut() -= of.kept.len();
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        assert_eq!(self.total, self.by_company.values().sum::<usize>());
        assert!(self.by_company.values().all(|count| *count > 0));
        self.total
    }
}

impl Table {
    fn belongings(&mut self, id: &SessionId) -> Option<&mut Belongings> {
        let known = self.sessions.get_mut(id)?;
        Some(known.belongings.get_or_insert_default())
    }

    /// Whoever has nothing needs no room for it.
    fn tidy(&mut self, id: &SessionId) {
        if let Entry::Occupied(mut known) = self.sessions.entry(*id)
            && let Some(belongings) = &known.get().belongings
            && belongings.standing.is_none()
            && belongings.kept.is_empty()
            && !belongings.is_short
            && belongings.goodbye.is_none()
        {
            known.get_mut().belongings = None;
        }
    }
}

impl Sessions {
    /// Refused unless the session is one of ours and alive; takes no place in it.
    pub fn check(&self, id: &SessionId) -> Result<(), Refusal> {
        self.verify(id)?;
        let now_ms = self.clock.now_ms();
        let table = self.table.lock();
        let is_alive = match table.sessions.get(id) {
            Some(known) => known.connections > 0 || known.lapses_ms > now_ms,
            None => !id.is_remembered() && u64::from(id.expires_s()) * 1_000 > now_ms,
        };
        match is_alive {
            true => Ok(()),
            false => Err(Refusal::new(Code::SessionLapsed, "the session has lapsed")),
        }
    }

    /// The standing conversation of a session, if it has one.
    pub fn standing(&self, id: &SessionId) -> Option<mpsc::Sender<Errand>> {
        let table = self.table.lock();
        let belongings = table.sessions.get(id)?.belongings.as_ref()?;
        belongings.standing.clone().filter(|standing| !standing.is_closed())
    }

    /// Gives a session that has a connection its standing conversation; if it has one, that one is
    /// returned instead.
    pub fn stand(&self, id: &SessionId, standing: mpsc::Sender<Errand>) -> Result<(), mpsc::Sender<Errand>> {
        let mut table = self.table.lock();
        let Some(belongings) = table.belongings(id) else {
            return Ok(());
        };
        match &belongings.standing {
            Some(other) if !other.is_closed() => Err(other.clone()),
            _ => {
                belongings.standing = Some(standing);
                Ok(())
            }
        }
    }

    /// A standing conversation takes no errands any more.
    pub fn sit_down(&self, id: &SessionId) {
        let mut table = self.table.lock();
        if let Some(belongings) = table.belongings(id)
            && belongings.standing.as_ref().is_some_and(mpsc::Sender::is_closed)
        {
            belongings.standing = None;
        }
        table.tidy(id);
    }

    /// Keeps a standing conversation's goodbye, which nobody read, for who reads next.
    pub fn keep_goodbye(&self, id: &SessionId, goodbye: Bytes) {
        if let Some(belongings) = self.table.lock().belongings(id) {
            belongings.goodbye = Some(goodbye);
        }
    }

    /// The goodbye that was kept; it is not kept any more.
    pub fn take_goodbye(&self, id: &SessionId) -> Option<Bytes> {
        let mut table = self.table.lock();
        let belongings = table.sessions.get_mut(id)?.belongings.as_mut()?;
        let goodbye = belongings.goodbye.take();
        table.tidy(id);
        goodbye
    }

    /// Keeps what a connection of a company followed until the session lapses, or somebody takes it up. Returns
    /// whether there was room; if not, who takes up the rest is told.
    ///
    /// A session keeps as much as one connection may follow, a company half of what the others leave free.
    pub fn keep(&self, id: &SessionId, company: i64, leaving: Leaving) -> bool {
        let Leaving { followed, left } = leaving;
        // Goes after the lock does: streams may end by it.
        let mut outdone = Vec::new();
        let mut table = self.table.lock();
        let in_all = table.kept.room(company, self.terms.most_kept);
        let Some(belongings) = table.belongings(id) else {
            return true;
        };
        let kept = &mut belongings.kept;
        let before = kept.len();
        let more = followed.iter().filter(|new| !kept.contains_key(&new.stream)).count();
        let has_room = more <= in_all && before + more <= self.terms.most_kept_each;
        for followed in followed {
            let new = Kept { followed, left };
            match kept.entry(new.followed.stream) {
                // What stands in the place of something else needs no more room.
                Place::Occupied(mut old) if new.outdoes(old.get()) => outdone.push(old.insert(new)),
                Place::Vacant(place) if has_room => _ = place.insert(new),
                Place::Occupied(_) | Place::Vacant(_) => outdone.push(new),
            }
        }
        let count = kept.len() - before;
        belongings.is_short |= !has_room;
        if count > 0 {
            belongings.company = company;
            table.kept.add(company, count);
        }
        table.tidy(id);
        has_room
    }

    /// What the session's sockets followed that have ended; it is not kept any more.
    pub fn take_kept(&self, id: &SessionId) -> Taken {
        let mut table = self.table.lock();
        let Table { sessions, kept, .. } = &mut *table;
        let known = sessions.get_mut(id);
        let Some(belongings) = known.and_then(|known| known.belongings.as_mut()) else {
            return Taken::default();
        };
        kept.let_go(belongings);
        let followed = std::mem::take(&mut belongings.kept);
        let is_short = std::mem::take(&mut belongings.is_short);
        table.tidy(id);
        drop(table);
        let followed = followed.into_values().map(|kept| kept.followed).collect();
        Taken { followed, is_short }
    }
}
