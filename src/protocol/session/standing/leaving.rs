//! What a socket leaves to its session when its peer goes: what it followed, each stream from its first
//! event that the socket was not given.
//!
//! Knows frames, not who takes the session up. Invariant: no event is left to who comes next and written
//! here, too: what is left is taken out of the outbox first.

use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::protocol::conversation::Conversation;
use crate::protocol::line::Ending;
use crate::protocol::session::standing::begin_before;
use crate::protocol::session::wire::{self, Told};
use crate::protocol::{deflate, frame};
use crate::sessions::standing::Leaving;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// More than any event of ours unpacks to.
const MAX_EVENT_BYTES: usize = 1 << 30;

/// A socket's peer has gone, or says goodbye: what it followed is kept, from behind what is written to it.
///
/// A peer that said goodbye may discard what still comes (RFC 6455 §1.4), and may ask for it by another way
/// at once. So events of which nothing was written wait for it no longer; answers to what it asked do.
pub(in crate::protocol::session) fn leave(at: &Conversation) {
    let said_goodbye = at.ending() == Some(Ending::Peer);
    let may_come_again = said_goodbye || matches!(at.ending(), Some(Ending::Lost | Ending::Dead));
    if !may_come_again {
        return;
    }
    let mut followed = at.seat.broker().leave_behind(&at.desk, at.key);
    if followed.is_empty() {
        return;
    }
    let streams = followed.iter().map(|followed| followed.stream).collect();
    let parted = part(&take_outbox(at), at.is_broken(), &streams);
    begin_before(&mut followed, &parted.firsts);
    at.seat.keep(Leaving::new(followed, at.opened(), said_goodbye));
    parted.stays.into_iter().for_each(|bytes| at.reply(bytes));
}

/// What waited to be written: chunks as they were pushed, and how many bytes of the first have left.
struct Unwritten {
    chunks: Vec<Bytes>,
    begun: usize,
}

fn take_outbox(at: &Conversation) -> Unwritten {
    let mut shard = at.desk.shard.borrow_mut();
    let taken = shard.get_mut(at.key).map(|connection| connection.outbox.take());
    let (chunks, begun) = taken.unwrap_or_default();
    Unwritten { chunks, begun }
}

/// What waited, told apart.
struct Parted {
    /// What is still to be written, in order.
    stays: Vec<Bytes>,
    /// Of the rest, the first place of each stream.
    firsts: HashMap<StreamId, Offset>,
}

/// Tells events of these streams, and gaps in them, from all else that waited. Of a frame that has begun to
/// leave the rest must, unless the line `is_broken`: then it is as if nothing had.
fn part(unwritten: &Unwritten, is_broken: bool, streams: &HashSet<StreamId>) -> Parted {
    let (mut stays, mut firsts) = (Vec::new(), HashMap::new());
    let mut sent = unwritten.begun;
    for chunk in &unwritten.chunks {
        let mut begin = 0;
        while begin < chunk.len() {
            // What is no frame of ours is the answer to an upgrade.
            let split = frame::split(&chunk[begin..]);
            let length = split.map_or(chunk.len() - begin, |(_, _, length)| length);
            let gone = sent.min(length);
            sent -= gone;
            let rest = begin + gone..begin + length;
            begin += length;
            if rest.is_empty() {
                continue;
            }
            let is_begun = gone > 0 && !is_broken;
            let place = split
                .filter(|_| !is_begun)
                .and_then(|(head, payload, _)| place(head, payload));
            match place.filter(|(stream, _)| streams.contains(stream)) {
                Some((stream, first)) => _ = firsts.entry(stream).or_insert(first),
                None => stays.push(chunk.slice(rest)),
            }
        }
    }
    Parted { stays, firsts }
}

/// Which place of which stream a frame is about, if about any.
fn place(head: u8, payload: &[u8]) -> Option<(StreamId, Offset)> {
    match head {
        frame::TEXT => Told::read(wire::text(payload)).first(),
        frame::PACKED => {
            let unpacked = deflate::unpack(payload, MAX_EVENT_BYTES).ok()?;
            Told::read(wire::text(&unpacked)).first()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::session::standing::tests::event;

    #[test]
    fn what_was_not_sent_whole_was_not_read() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let joined = [1, 2, 3].map(|offset| frame::text(&event(a, offset)));
        let length = joined[0].len();
        let chunks = vec![
            Bytes::from(joined.concat()),
            frame::ping(),
            deflate::text(&event(b, 7)),
            deflate::text(&event(b, 8)),
        ];
        assert_eq!(chunks[2][0], frame::PACKED);
        let both = HashSet::from([a, b]);
        for (begun, broken, closed) in [
            (0, 1, 1),
            (length - 1, 1, 2),
            (length, 2, 2),
            (length + 1, 2, 3),
            (2 * length, 3, 3),
        ] {
            let unwritten = Unwritten {
                chunks: chunks.clone(),
                begun,
            };
            let parted = part(&unwritten, true, &both);
            assert_eq!(
                parted.firsts,
                HashMap::from([(a, Offset(broken)), (b, Offset(7))]),
                "{begun}"
            );
            let parted = part(&unwritten, false, &both);
            assert_eq!(
                parted.firsts,
                HashMap::from([(a, Offset(closed)), (b, Offset(7))]),
                "{begun}"
            );
            let begun_rest = &chunks[0][begun..begun.next_multiple_of(length)];
            assert_eq!(parted.stays.concat(), [begun_rest, &frame::ping()].concat(), "{begun}");
        }
    }

    #[test]
    fn what_is_nobody_elses_stays() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let answer = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        let acknowledgement = frame::text(r#"{"head":{"msgId":1,"ok":true}}"#);
        let other = frame::text(&event(b, 1));
        let chunks = vec![
            answer.clone(),
            acknowledgement.clone(),
            frame::text(&event(a, 1)),
            other.clone(),
        ];
        let parted = part(&Unwritten { chunks, begun: 5 }, false, &HashSet::from([a]));
        assert_eq!(parted.stays.concat(), [&answer[5..], &acknowledgement, &other].concat());
        assert_eq!(parted.firsts, HashMap::from([(a, Offset(1))]));
    }
}
