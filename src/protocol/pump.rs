//! A worker's one loop: takes what came for it, lets the shard decide, writes what waits.
//!
//! Invariants: one write for each connection and burst, however many events; nobody is waited
//! for, what would block is left to the connection's own task; others get a turn in between.

use crate::broker::{Broker, Numbers, Watched};
use crate::database::now_ms;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::id::TokenKey;
use crate::engine::connection::{Connection, ConnectionKey};
use crate::engine::pulse::Finding;
use crate::engine::shard::Read;
use crate::hub::mailbox::{Notice, Post};
use crate::hub::worker::Worker;
use crate::protocol::deflate;
use crate::protocol::line::{Ending, Line};
use crate::protocol::reply;
use crate::protocol::speech::{Bereft, Speech};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections written to before others get their turn.
const WRITES: usize = 256;
/// Pages of the log read before others get their turn.
const PAGES: usize = 4;
/// A flush shorter than this is no load and is not held off after.
const LIGHT: Duration = Duration::from_micros(500);

/// A worker whose connections are sockets.
pub type Desk = Worker<Port>;

/// What a worker has of each connection.
pub struct Port {
    /// Its socket.
    pub line: Rc<Line>,
    /// Where its numbers are read by others.
    pub watched: Arc<Watched>,
    /// How it is spoken to.
    pub speech: &'static Speech,
}

/// Runs a worker until its thread ends. `hold_off` bounds how long events may gather after a flush.
pub async fn run(desk: Rc<Desk>, broker: Arc<Broker>, hold_off: Duration) {
    let interval = desk.pulse.borrow().interval();
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut post, mut dirty) = (Post::default(), Vec::new());
    let round_bytes = broker.limits().max_outbox_bytes / 2;
    loop {
        tokio::select! {
            () = desk.mailbox.wait() => {}
            _ = tick.tick() => look_around(&desk, &broker),
        }
        let start = Instant::now();
        desk.mailbox.take(&mut post);
        let mut rest = &mut post.events[..];
        loop {
            let (round, later) = rest.split_at_mut(round(rest, round_bytes));
            rest = later;
            decide(&desk, &broker, round, post.missed && rest.is_empty());
            write(&desk, &mut dirty).await;
            measure(&desk, &broker);
            if rest.is_empty() {
                break;
            }
        }
        // After the events, so that what was published before an end comes before the goodbye.
        for notice in &post.notices {
            obey(&desk, &broker, notice);
        }
        write(&desk, &mut dirty).await;
        count(&desk, &broker);
        if desk.shard.borrow().wants_reads() {
            desk.mailbox.ring();
        }
        // Events came faster than they could be written: let them gather for about as long as the
        // writing took, and go out joined. Who publishes one at a time never waits for this.
        let took = start.elapsed();
        if took >= LIGHT && !hold_off.is_zero() && desk.mailbox.has_events() {
            tokio::time::sleep(took.min(hold_off)).await;
        }
        // However busy it is, the worker's other tasks get their turn.
        tokio::task::yield_now().await;
    }
}

/// How many of the events go out before what they made is written: as many as an outbox takes
/// twice, so that who keeps up is never behind because of a burst.
fn round(events: &[Arc<Event>], bytes: usize) -> usize {
    let mut sum = 0;
    let fits = |event: &&Arc<Event>| {
        sum += event.frame_bytes();
        sum <= bytes
    };
    events.iter().take_while(fits).count().max(1).min(events.len())
}

/// Lets the shard hand out events and read pages; everything ends up in outboxes.
fn decide(desk: &Rc<Desk>, broker: &Arc<Broker>, events: &mut [Arc<Event>], missed: bool) {
    let mut shard = desk.shard.borrow_mut();
    shard.tell_time(now_ms());
    shard.deliver(events);
    if missed {
        shard.doubt_everything();
    }
    drop(shard);
    for _ in 0..PAGES {
        let read = desk.shard.borrow_mut().next_read();
        let Some(read) = read else {
            break;
        };
        match broker.read_recent(&read) {
            Some(page) => desk.shard.borrow_mut().on_page(&read, &page),
            None => read_stored(desk, broker, read),
        }
    }
    let too_slow = desk.shard.borrow_mut().take_too_slow();
    if !too_slow.is_empty() {
        let text = "this connection does not read in time";
        dismiss(desk, broker, &Refusal::new(Code::ReaderSlow, text), &too_slow);
    }
}

/// Has a page read from the disk; meanwhile the others go on. There is one at a time for each
/// connection.
fn read_stored(desk: &Rc<Desk>, broker: &Arc<Broker>, read: Read) {
    let (desk, broker) = (Rc::clone(desk), Arc::clone(broker));
    actix_rt::spawn(async move {
        match broker.read(&read).await {
            Ok(page) => desk.shard.borrow_mut().on_page(&read, &page),
            Err(fault) => {
                let refusal = reply::explain(broker.metrics(), fault.into());
                desk.shard.borrow_mut().end_read(&read);
                dismiss(&desk, &broker, &refusal, &[read.connection()]);
            }
        }
        desk.mailbox.ring();
    });
}

/// Writes to every connection that has something new, and gives others a turn in between.
async fn write(desk: &Desk, dirty: &mut Vec<ConnectionKey>) {
    desk.shard.borrow_mut().take_dirty(dirty);
    for burst in dirty.chunks(WRITES) {
        burst.iter().for_each(|key| flush(desk, *key));
        if burst.len() == WRITES {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes what waits for a connection, as far as its socket takes it.
pub fn flush(desk: &Desk, key: ConnectionKey) {
    let mut shard = desk.shard.borrow_mut();
    let Some(connection) = shard.get_mut(key) else {
        return;
    };
    // Before the peer can know of it, and again when its socket has taken what it takes.
    note(connection);
    let mut total = 0;
    while !connection.outbox.is_empty() {
        let count = connection.port.line.write(&connection.outbox);
        if count == 0 {
            break;
        }
        connection.outbox.wrote(count);
        total += count;
    }
    if total > 0 {
        note(connection);
    }
    if total > 0 && shard.has_written(key, total) {
        desk.mailbox.ring();
    }
}

/// Lets others see what has become of a connection so far.
pub fn note(connection: &Connection<Port>) {
    connection.port.watched.note(Numbers {
        sent: connection.sent,
        waiting: connection.outbox.bytes() as u64,
        subscriptions: u32::try_from(connection.subscription_count()).unwrap_or(u32::MAX),
    });
}

/// As [`flush`], after a socket would have blocked: that it takes bytes again is a sign of life.
pub fn flush_again(desk: &Desk, key: ConnectionKey) {
    if let Some(connection) = desk.shard.borrow_mut().get_mut(key) {
        connection.vitals.heard = desk.now();
    }
    flush(desk, key);
}

/// Pings the silent, breaks off the dead, and dismisses whoever's token has ended unheard of.
fn look_around(desk: &Desk, broker: &Broker) {
    let now = desk.now();
    loop {
        let Some(key) = desk.pulse.borrow_mut().due(now) else {
            return;
        };
        let mut shard = desk.shard.borrow_mut();
        let Some(connection) = shard.get_mut(key) else {
            continue;
        };
        let token = connection.token;
        let finding = match connection.port.line.relay() {
            // Its own task knows best whether somebody takes what it says.
            Some(_) => Finding::Fine,
            None => desk.pulse.borrow().judge(connection.vitals, now),
        };
        match finding {
            Finding::Fine => {}
            Finding::Silent => {
                connection.vitals.pinged = now;
                let ping = (connection.port.speech.ping)();
                shard.reply(key, ping);
            }
            Finding::Dead => {
                broker.metrics().peers_dead.inc();
                connection.port.line.break_off(Ending::Dead);
                continue;
            }
        }
        drop(shard);
        if let Err(refusal) = broker.check_token(token) {
            dismiss_ended(desk, broker, &refusal, &[key]);
        }
        desk.pulse.borrow_mut().watch(key, now);
    }
}

fn obey(desk: &Desk, broker: &Broker, notice: &Notice) {
    match notice {
        Notice::StreamGone(stream) => bereave(desk, broker, stream),
        Notice::StreamDeclared(from, to) => broker.go_over(desk, from, to),
        Notice::TokenEnded(token) => {
            if let Err(refusal) = broker.check_token(*token) {
                dismiss_ended(desk, broker, &refusal, &chosen(desk, |of| of == *token));
            }
        }
        Notice::GuestsEnded(guest) => {
            let text = "the company approves of other origins now, connect again";
            let refusal = Refusal::new(Code::OriginDenied, text);
            dismiss_ended(desk, broker, &refusal, &chosen(desk, |of| of == *guest));
        }
        Notice::ConnectionClosed(key) => {
            let refusal = Refusal::new(Code::ConnectionClosed, "closed by an operator");
            dismiss(desk, broker, &refusal, &[*key]);
        }
        Notice::Stopping => {
            let refusal = Refusal::new(Code::ServerStopping, "the server is stopping, connect again");
            dismiss(desk, broker, &refusal, &chosen(desk, |_| true));
        }
    }
}

/// A stream was deleted: those are told of it who could not know.
fn bereave(desk: &Desk, broker: &Broker, stream: &StreamId) {
    let mut parting = Vec::new();
    for (key, terms) in broker.end_stream(desk, stream) {
        let mut shard = desk.shard.borrow_mut();
        let speech = shard.get_mut(key).map(|connection| connection.port.speech);
        match speech.map_or(Bereft::Silence, |speech| speech.bereft) {
            Bereft::Silence => {}
            Bereft::Tell(render) => {
                let name = terms.and_then(|terms| terms.name);
                shard.reply(key, render(name.as_deref().unwrap_or_default()));
            }
            Bereft::Part => parting.push(key),
        }
    }
    let text = "the stream was deleted: connect again";
    dismiss(desk, broker, &Refusal::new(Code::StreamUnknown, text), &parting);
}

/// The connections of some tokens.
fn chosen(desk: &Desk, whose: impl Fn(TokenKey) -> bool) -> Vec<ConnectionKey> {
    let shard = desk.shard.borrow();
    let chosen = shard.connections().filter(|(_, connection)| whose(connection.token));
    chosen.map(|(key, _)| key).collect()
}

/// Says goodbye to those whose token or welcome has ended. What has not left yet is no longer for them, but for
/// a goodbye that was said already: this comes by notice and by looking around, in either order.
fn dismiss_ended(desk: &Desk, broker: &Broker, refusal: &Refusal, keys: &[ConnectionKey]) {
    for key in keys {
        if let Some(connection) = desk.shard.borrow_mut().get_mut(*key)
            && !connection.closing
        {
            connection.outbox.forget();
            if let Some(relay) = connection.port.line.relay() {
                relay.forget();
            }
        }
    }
    dismiss(desk, broker, refusal, keys);
}

/// Says goodbye, and why.
fn dismiss(desk: &Desk, broker: &Broker, refusal: &Refusal, keys: &[ConnectionKey]) {
    let mut shard = desk.shard.borrow_mut();
    for key in keys {
        let speech = shard.get_mut(*key).map(|connection| connection.port.speech);
        let Some(goodbye) = speech.map(|speech| (speech.goodbye)(refusal)) else {
            continue;
        };
        if !shard.say_goodbye(*key, goodbye) {
            continue;
        }
        broker.metrics().count_refusal(refusal.code);
        if let Some(connection) = shard.get_mut(*key) {
            connection.port.line.end(Ending::Refused(refusal.code));
            connection.port.line.wake();
        }
    }
}

fn measure(desk: &Desk, broker: &Broker) {
    if let Some(stamp) = desk.shard.borrow_mut().take_asked() {
        broker.metrics().delivery_seconds.observe(stamp);
    }
}

fn count(desk: &Desk, broker: &Broker) {
    let counts = desk.shard.borrow_mut().take_counts();
    let metrics = broker.metrics();
    metrics.events_delivered.inc_by(counts.delivered);
    metrics.events_missed.inc_by(counts.missed);
    metrics.subscriptions_behind.inc_by(counts.fell_behind);
    metrics.socket_bytes.inc_by(counts.written);
    let packed = deflate::take_counts();
    if packed.messages > 0 {
        metrics.events_compressed.inc_by(packed.messages);
        metrics.compressed_before_bytes.inc_by(packed.before);
        metrics.compressed_after_bytes.inc_by(packed.after);
    }
}
