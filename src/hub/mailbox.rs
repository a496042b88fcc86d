//! The one way into a worker from other threads.
//!
//! Invariant: bounded; events that find no room are not kept, but that some were missed is.

use crate::domain::event::Event;
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::stream::Stream;
use crate::engine::connection::ConnectionKey;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// What a worker is told besides events.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A token is no longer good; its connections end.
    TokenEnded(TokenKey),
    /// A company approves of fewer origins than it did; its guests end, and may come again if they still may.
    GuestsEnded(TokenKey),
    /// A stream is no more.
    StreamGone(StreamId),
    /// A stream that nobody had declared was: who followed the one goes over to the other.
    StreamDeclared(StreamId, Arc<Stream>),
    /// A connection of this worker is to end.
    ConnectionClosed(ConnectionKey),
    /// The server stops; all connections end.
    Stopping,
}

/// What gathered since the worker last looked.
#[derive(Default)]
pub struct Post {
    /// Events, each stream's in order.
    pub events: Vec<Arc<Event>>,
    /// Notices, in order.
    pub notices: Vec<Notice>,
    /// Some events found no room.
    pub missed: bool,
}

/// A bounded inbox with a bell.
pub struct Mailbox {
    post: Mutex<Post>,
    bell: Notify,
    limit: usize,
}

impl Mailbox {
    /// Holds `limit` events.
    pub fn new(limit: usize) -> Self {
        let post = Mutex::default();
        let bell = Notify::new();
        Self { post, bell, limit }
    }

    /// Adds events; returns whether there was room.
    pub fn put(&self, events: &[Arc<Event>]) -> bool {
        let mut post = self.post.lock();
        let has_room = post.events.len() + events.len() <= self.limit;
        let was_quiet = post.events.is_empty() && !post.missed;
        if has_room {
            post.events.extend_from_slice(events);
        } else {
            post.missed = true;
        }
        drop(post);
        if was_quiet {
            self.bell.notify_one();
        }
        has_room
    }

    /// Whether events wait.
    pub fn has_events(&self) -> bool {
        !self.post.lock().events.is_empty()
    }

    /// Adds a notice.
    pub fn notify(&self, notice: Notice) {
        self.post.lock().notices.push(notice);
        self.bell.notify_one();
    }

    /// Wakes the worker although nothing was added.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits until there may be something.
    pub async fn wait(&self) {
        self.bell.notified().await;
    }

    /// Swaps what gathered with an emptied `post`, whose memory is used again.
    pub fn take(&self, post: &mut Post) {
        post.events.clear();
        post.notices.clear();
        post.missed = false;
        std::mem::swap(&mut *self.post.lock(), post);
    }
}
