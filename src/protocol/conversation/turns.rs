//! Requests of one connection that are dealt with one at a time, as fast as their answers are read.
//!
//! For those whose answers are longer than what was asked, or must keep their order. Invariant: of what
//! is answered so, no more waits to be written than the outbox may hold and one answer.

use crate::protocol::conversation::Conversation;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// Who is next, and when.
#[derive(Default)]
pub struct Turns {
    turn: Mutex<()>,
    room: Notify,
}

impl Conversation {
    /// Waits for those that asked before, and until the peer has read enough of what it was told; or
    /// until it has gone, for what it asked for is done then, too. Hold it until the answer is queued.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        let turns = self.turns.get_or_init(Box::default);
        let turn = turns.turn.lock().await;
        while !self.is_over() && !self.outbox_has_room() {
            turns.room.notified().await;
        }
        turn
    }

    /// Whether what waits to be written is no more than it may be.
    pub(super) fn outbox_has_room(&self) -> bool {
        let most = self.seat.broker().limits().max_outbox_bytes;
        let mut shard = self.desk.shard.borrow_mut();
        shard
            .get_mut(self.key)
            .is_some_and(|connection| connection.outbox.bytes() <= most)
    }

    /// Has whoever waits for room look again.
    pub(super) fn tell_of_room(&self) {
        if let Some(turns) = self.turns.get() {
            turns.room.notify_one();
        }
    }
}
