//! A session's standing conversation: its lines leave by whichever HTTP response takes them now, its
//! requests come one by one; and how a session moves between it and sockets.
//!
//! Knows what a line is about, not how responses bring it. Invariant: what was said and not taken goes
//! first wherever the session goes next, and what follows begins exactly behind it.

mod leaving;

pub(super) use leaving::leave;

use crate::broker::{Seat, Subscribed};
use crate::domain::error::{Code, Refusal};
use crate::domain::event::Wire;
use crate::domain::id::StreamId;
use crate::domain::position::{Offset, Position};
use crate::domain::stream::Target;
use crate::protocol::conversation::{Conversation, Errands};
use crate::protocol::frame;
use crate::protocol::line::Ending;
use crate::protocol::pump::{self, Desk};
use crate::protocol::session::verbs::{Answering, LINES, answer_request, call_events_drops};
use crate::protocol::session::wire::{self, Subscribe, Told};
use crate::sessions::pipe::{Inlet, Piece};
use crate::sessions::standing::{Errand, Estate, Followed, Leaving};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// Errands that may wait for a standing conversation.
const ERRANDS: usize = 64;

/// Begins a session's standing conversation on this worker, unless another worker was first.
pub fn begin(desk: &Rc<Desk>, seat: Seat, peer: Option<SocketAddr>) -> mpsc::Sender<Errand> {
    let (sender, receiver) = mpsc::channel(ERRANDS);
    if let Some(session) = seat.session()
        && let Err(other) = seat.broker().stand(session, sender.clone())
    {
        return other;
    }
    seat.rest();
    let answer = run_errand;
    let conversation = Conversation::relayed(Rc::clone(desk), seat, &LINES, peer);
    actix_rt::spawn(conversation.run_relayed(Some(Errands { receiver, answer })));
    sender
}

fn run_errand(at: &Rc<Conversation>, errand: Errand) {
    if let Err(refusal) = at.seat.wake() {
        return at.end(Ending::Refused(refusal.code));
    }
    match errand {
        Errand::Request { text, answer } => {
            take_up_kept(at);
            answer_request(at, &text, Answering::Once(answer));
        }
        Errand::Attach {
            inlet,
            seen,
            keeps_places,
        } => attach(at, inlet, &seen, keeps_places),
        Errand::TakeUp if at.is_attached() => take_up_kept(at),
        // A socket that comes next is to follow what it asks for.
        Errand::TakeUp => {}
        Errand::HandOver { answer } => hand_over(at, answer),
    }
    if !at.is_attached() {
        at.seat.rest();
    }
}

/// What the session's ended sockets followed is followed here now.
fn take_up_kept(at: &Conversation) {
    let Some(session) = at.seat.session() else {
        return;
    };
    let kept = at.seat.broker().take_kept(session);
    if kept.is_short {
        let text = "the session followed more than there was room to keep while it moved: subscribe again";
        tell_of(at, &Refusal::new(Code::LimitSubscriptions, text));
    }
    kept.followed.iter().for_each(|followed| take_up(at, followed));
}

/// Tells what became of something that is followed; as it would be told if it had been asked for just now.
fn tell_of(at: &Conversation, refusal: &Refusal) {
    let text = wire::refuse("null", refusal);
    at.reply(match at.is_relayed() {
        true => wire::line(text),
        false => frame::text(&text),
    });
}

/// Follows what another connection followed; a gap, or that it cannot be followed any more, is told.
fn take_up(at: &Conversation, followed: &Followed) {
    let broker = at.seat.broker();
    if matches!(followed.wire, Wire::Drops | Wire::DropLines) {
        call_events_drops(at);
    }
    let is_new = !broker.is_following(&at.desk, at.key, &Target::Id(followed.stream));
    let taken = broker.take_up(&at.desk, at.key, &at.seat.access, followed);
    match taken {
        Ok(subscribed) if is_new => {
            at.tell_place(place(&subscribed));
            tell(at, &subscribed);
        }
        // It goes on where it is, of which its reader knows.
        Ok(_) => {}
        Err(refusal) => {
            broker.metrics().count_refusal(refusal.code);
            let text = format!("{} is not followed any more: {refusal}", followed.stream);
            tell_of(at, &Refusal::new(refusal.code, text));
        }
    }
}

/// Subscribes; returns what is to be told of a gap at once.
pub(super) fn follow(at: &Conversation, wish: Subscribe) -> Result<(Subscribed, Option<Bytes>), Refusal> {
    let broker = at.seat.broker();
    let is_new = !broker.is_following(&at.desk, at.key, &wish.target);
    let subscribed = broker.subscribe(&at.desk, at.key, &at.seat.access, &wish.target, wish.following)?;
    if is_new {
        // What follows already may be ahead of lines that still wait to be read.
        at.tell_place(place(&subscribed));
    }
    let gap = at.speech.dialect.gap;
    let notice = subscribed
        .resume
        .told
        .map(|told| gap(&subscribed.stream.id, None, &told));
    Ok((subscribed, notice))
}

/// Unsubscribes; who keeps places is told behind what was said of the stream, as far as that has room to leave.
pub(super) fn unfollow(at: &Conversation, target: &Target) {
    let left = at.seat.broker().unsubscribe(&at.desk, at.key, target);
    if let Some(stream) = left.filter(|_| at.is_relayed()) {
        pump::flush(&at.desk, at.key);
        at.tell_place(Piece::Place(stream, None));
    }
}

fn tell(at: &Conversation, subscribed: &Subscribed) {
    if let Some(told) = subscribed.resume.told {
        at.reply((at.speech.dialect.gap)(&subscribed.stream.id, None, &told));
    }
}

/// Where a subscription begins.
pub(super) fn place(subscribed: &Subscribed) -> Piece {
    let place = (subscribed.view.epoch, subscribed.resume.cursor);
    Piece::Place(subscribed.stream.id, Some(place))
}

/// Has a response take what is said, from where its reader is.
fn attach(at: &Conversation, inlet: Inlet, seen: &[(StreamId, Position)], keeps_places: bool) {
    let session = at.seat.session();
    if let Some(goodbye) = session.and_then(|session| at.seat.broker().take_goodbye(session)) {
        // It is all that this response brings: its reader begins anew, knowing why.
        return at.say_last(inlet, vec![goodbye]);
    }
    take_up_kept(at);
    let mut unsaid = at.take_unsaid();
    let mut back = Vec::new();
    if !seen.is_empty() {
        back = pass_over(at, &mut unsaid, seen);
    }
    let firsts = firsts(&unsaid);
    at.put_unsaid(unsaid);
    for (stream, position) in back {
        go_back(at, &stream, position);
    }
    let mut followed = Vec::new();
    if keeps_places {
        followed = at.seat.broker().all_followed(&at.desk, at.key);
        begin_before(&mut followed, &firsts);
    }
    let places = followed.into_iter();
    at.attach(
        inlet,
        places.map(|followed| {
            let place = (followed.epoch, followed.subscription.cursor());
            Piece::Place(followed.stream, Some(place))
        }),
    );
}

/// Drops the lines that a reader has seen. Returns from where it is to go on in streams whose lines that
/// wait do not begin right there; those are dropped, too. Streams that are not followed any more stay so.
fn pass_over(at: &Conversation, unsaid: &mut Vec<Bytes>, seen: &[(StreamId, Position)]) -> Vec<(StreamId, Position)> {
    let broker = at.seat.broker();
    let followed = broker.all_followed(&at.desk, at.key);
    let (mut passed, mut back) = (HashMap::new(), Vec::new());
    for (stream, position) in seen {
        let followed = followed.iter().find(|followed| followed.stream == *stream);
        passed.insert(*stream, position.offset);
        if let Some(followed) = followed
            && !joins(unsaid, followed, *position)
        {
            passed.insert(*stream, Offset(u64::MAX));
            back.push((*stream, *position));
        }
    }
    *unsaid = after(unsaid, &passed);
    back
}

/// Whether the lines that wait lead from where the reader is to what is followed, without a hole.
fn joins(unsaid: &[Bytes], followed: &Followed, position: Position) -> bool {
    let mut at = position.offset;
    for line in unsaid.iter().flat_map(wire::lines) {
        let told = Told::read(wire::text(&line));
        if let (Some((stream, first)), Some((_, last))) = (told.first(), told.last())
            && stream == followed.stream
            && last > at
        {
            if first > at.next() {
                return false;
            }
            at = last;
        }
    }
    position.epoch == Some(followed.epoch) && at == followed.subscription.cursor()
}

/// The lines that are beyond these places.
fn after(chunks: &[Bytes], passed: &HashMap<StreamId, Offset>) -> Vec<Bytes> {
    let mut left = Vec::new();
    for line in chunks.iter().flat_map(wire::lines) {
        let last = Told::read(wire::text(&line)).last();
        let is_passed = last.is_some_and(|(stream, last)| passed.get(&stream).is_some_and(|passed| last <= *passed));
        if !is_passed {
            left.push(Bytes::from([&line[..], b"\n"].concat()));
        }
    }
    left
}

/// A reader says where it is in a stream: it goes on from there, on the same terms.
fn go_back(at: &Conversation, stream: &StreamId, position: Position) {
    let told = at.seat.broker().go_back(&at.desk, at.key, stream, position);
    if let Some(told) = told {
        at.reply((at.speech.dialect.gap)(stream, None, &told));
    }
}

/// The first place of each stream that lines are about.
fn firsts(chunks: &[Bytes]) -> HashMap<StreamId, Offset> {
    let mut firsts = HashMap::new();
    for line in chunks.iter().flat_map(wire::lines) {
        if let Some((stream, first)) = Told::read(wire::text(&line)).first() {
            firsts.entry(stream).or_insert(first);
        }
    }
    firsts
}

fn begin_before(followed: &mut [Followed], firsts: &HashMap<StreamId, Offset>) {
    for followed in followed {
        if let Some(first) = firsts.get(&followed.stream) {
            followed.begin_before(*first);
        }
    }
}

/// Gives everything to the socket that takes the session over, and ends.
fn hand_over(at: &Conversation, answer: oneshot::Sender<Estate>) {
    let estate = Estate {
        followed: at.seat.broker().leave_behind(&at.desk, at.key),
        lines: at.take_unsaid(),
    };
    at.end(Ending::Refused(Code::SessionMoved));
    if let Err(estate) = answer.send(estate) {
        lay_down(&at.seat, estate);
    }
}

/// Nobody takes it: it is kept for who comes next.
fn lay_down(seat: &Seat, estate: Estate) {
    let Estate { mut followed, lines } = estate;
    begin_before(&mut followed, &firsts(&lines));
    seat.keep(Leaving::for_good(followed));
}

/// A socket opens on a session: it takes over what the session follows by HTTP, before it is heard.
/// What an earlier socket followed is forgotten, because who opens sockets subscribes anew.
pub(super) fn take_over(at: &Rc<Conversation>) {
    let Some(session) = at.seat.session() else {
        return;
    };
    at.seat.broker().take_kept(session);
    at.seat.broker().take_goodbye(session);
    let Some(standing) = at.seat.broker().standing(session) else {
        return;
    };
    at.hold();
    let at = Rc::clone(at);
    actix_rt::spawn(async move {
        let (answer, estate) = oneshot::channel();
        if standing.send(Errand::HandOver { answer }).await.is_ok()
            && let Ok(estate) = estate.await
        {
            inherit(&at, estate);
        }
        at.go_on();
    });
}

fn inherit(at: &Conversation, estate: Estate) {
    if at.is_over() {
        return lay_down(&at.seat, estate);
    }
    for line in estate.lines.iter().flat_map(wire::lines) {
        at.reply(frame::text(wire::text(&line)));
    }
    estate.followed.iter().for_each(|followed| take_up(at, followed));
    pump::flush(&at.desk, at.key);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event as it is told, of about half a kilobyte.
    pub(super) fn event(stream: StreamId, offset: u64) -> String {
        let elems = "x".repeat(500);
        format!(r#"{{"type":"message","resource":"{stream}","offset":{offset},"value":"{elems}"}}"#)
    }

    #[test]
    fn lines_that_a_reader_has_not_seen_stay() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let chunk = Bytes::from(format!("{}\n{}\n{}\n{{}}\n", event(a, 1), event(a, 2), event(b, 1)));
        let left = after(&[chunk], &HashMap::from([(a, Offset(1))]));
        assert_eq!(
            left.concat(),
            format!("{}\n{}\n{{}}\n", event(a, 2), event(b, 1)).into_bytes()
        );
    }
}
