//! What a session has beyond its sockets: a standing conversation, whose lines HTTP responses take,
//! and what its last socket followed.
//!
//! Knows neither protocol nor sockets; a standing conversation is reached through a channel from
//! whichever worker. Invariants: a session has one at most; what is kept of ended sockets is
//! bounded in all, and goes when the session does.

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Wire;
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset, Position};
use crate::domain::session_id::SessionId;
use crate::engine::subscription::{Subscription, Terms};
use crate::sessions::pipe::Inlet;
use crate::sessions::{Sessions, Table};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Followed {
    /// Goes on with this event, if it has passed it.
    pub fn begin_before(&mut self, first: Offset) {
        self.subscription = self.subscription.back_to(first.previous());
    }
}

/// What a session has beyond its sockets.
#[derive(Default)]
pub(super) struct Belongings {
    standing: Option<mpsc::Sender<Errand>>,
    /// What its last socket followed.
    followed: Vec<Followed>,
    /// The goodbye that nobody was there to read.
    goodbye: Option<Bytes>,
}

impl Belongings {
    /// How many subscriptions are kept.
    pub(super) fn kept(&self) -> usize {
        self.followed.len()
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
            && belongings.followed.is_empty()
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

    /// In how many milliseconds it lapses; none while it has a connection.
    pub fn lapses_in_ms(&self, id: &SessionId) -> Option<u64> {
        let now_ms = self.clock.now_ms();
        let table = self.table.lock();
        match table.sessions.get(id) {
            Some(known) if known.connections > 0 => None,
            Some(known) => Some(known.lapses_ms.saturating_sub(now_ms)),
            None => Some(0),
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

    /// Keeps what a socket followed until the session lapses, or somebody takes it up. Returns whether
    /// there was room.
    pub fn keep(&self, id: &SessionId, followed: Vec<Followed>) -> bool {
        let streams: HashSet<StreamId> = followed.iter().map(|new| new.stream).collect();
        let mut table = self.table.lock();
        let kept = table.kept;
        let most = self.terms.most_kept;
        let Some(belongings) = table.belongings(id) else {
            return true;
        };
        let before = belongings.followed.len();
        let count = before + followed.len();
        let has_room = kept + followed.len() <= most;
        if has_room {
            // Of two sockets that followed the same, the one that ended last knows where to go on.
            belongings.followed.retain(|old| !streams.contains(&old.stream));
            belongings.followed.extend(followed);
        }
        let after = belongings.followed.len();
        debug_assert!(after <= count);
        table.kept = kept - before + after;
        table.tidy(id);
        has_room
    }

    /// What is kept goes on with these events, by stream, where it has passed them.
    pub fn amend(&self, id: &SessionId, unread: &HashMap<StreamId, Offset>) {
        let mut table = self.table.lock();
        let known = table.sessions.get_mut(id);
        let Some(belongings) = known.and_then(|known| known.belongings.as_mut()) else {
            return;
        };
        for kept in &mut belongings.followed {
            if let Some(first) = unread.get(&kept.stream) {
                kept.begin_before(*first);
            }
        }
    }

    /// What the session's last socket followed; it is not kept any more.
    pub fn take_kept(&self, id: &SessionId) -> Vec<Followed> {
        let mut table = self.table.lock();
        let Some(known) = table.sessions.get_mut(id) else {
            return Vec::new();
        };
        let Some(belongings) = &mut known.belongings else {
            return Vec::new();
        };
        let followed = std::mem::take(&mut belongings.followed);
        table.kept -= followed.len();
        table.tidy(id);
        followed
    }
}
