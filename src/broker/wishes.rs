//! What is asked of the broker about events, and what it answers: no wire format, no rule.

use crate::domain::durability::Durability;
use crate::domain::event::Draft;
use crate::domain::position::{Epoch, Offset, Position};
use crate::domain::stream::{Stream, StreamPage, Target};
use crate::engine::filter::Filter;
use crate::engine::ledger::View;
use crate::engine::resume::Resume;
use crate::engine::subscription::{Subscription, Terms};
use std::sync::Arc;

/// What somebody publishes at once.
pub struct Publishing {
    /// What, and where to, in order.
    pub drafts: Vec<(Target, Draft)>,
    /// How safe it is to be before it is answered; each stream's own way if not said.
    pub ack: Option<Durability>,
    /// Where the stream, one alone, must be.
    pub expected: Option<Offset>,
    /// The publisher's key for this request, and all that came with it.
    pub key: Option<(String, Vec<u8>)>,
    /// Whether a stream that nobody declared takes it too: then only who listens now is told.
    pub fleeting: bool,
}

/// How somebody wants to follow a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// From where.
    pub from: From,
    /// What else is agreed.
    pub terms: Option<Terms>,
    /// Whether a stream that nobody declared is made for it, if the company allows that.
    pub fleeting: bool,
}

/// From where a stream is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// What is published from now on.
    #[default]
    Head,
    /// Everything after this.
    Position(Position),
    /// The newest few, then live.
    Last(u64),
    /// Where another connection left off, as it followed.
    Kept(Epoch, Subscription),
}

/// Which of the streams that there are somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Which part of them.
    pub page: StreamPage,
    /// Only those with this, in small letters, in their path or description.
    pub search: String,
    /// Only those that it accepts.
    pub filter: Option<Filter>,
}

/// What was set up.
pub struct Subscribed {
    /// The stream.
    pub stream: Arc<Stream>,
    /// Where it is.
    pub view: View,
    /// Where the subscription begins.
    pub resume: Resume,
}
