//! At the end: everything that a stream keeps, read from its start, against all that was promised.

use crate::cli::torture::arena::Arena;
use crate::cli::torture::link::{Heard, Link, Socket};
use crate::cli::torture::oracle::view::View;
use crate::cli::torture::oracle::{Given, Stored};
use crate::cli::torture::wire::{self, Incoming, Since};
use actix_web::http::Method;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longest time for one stream.
const LONGEST: Duration = Duration::from_secs(60);
/// How soon to look at the clock.
const LOOK: Duration = Duration::from_millis(100);

/// Reads every stream up to its head, of those that store anything.
pub async fn audit(arena: &Rc<Arena>, heads: &[u64]) {
    for (stream, head) in heads.iter().enumerate().filter(|(_, head)| **head > 0) {
        if read(arena, stream, *head).await.is_none() {
            arena.count(|figures| figures.unscanned += 1);
        }
    }
}

/// Nothing if not all of it came.
async fn read(arena: &Rc<Arena>, stream: usize, head: u64) -> Option<()> {
    let link = Link::new(arena);
    let generation = arena.generation();
    let bookmark = arena.oracle.borrow().bookmark(stream);
    let reply = link.ask(Method::POST, "/session", None, String::new()).await?;
    let session = wire::parse_id(reply.status, &reply.body)?;
    let mut socket = Socket::connect(arena.port, &session).await?;
    let request = wire::subscribe(0, &arena.streams[stream].id, &Since::Start, None);
    if !socket.say(request).await {
        return None;
    }
    let (mut view, mut epoch, mut stored) = (View::after(0), None, Vec::<Given>::new());
    let deadline = Instant::now() + LONGEST;
    while view.place() < Some(head) {
        match socket.hear(LOOK).await {
            Heard::Text(text) => match wire::parse_frame(&text)? {
                Incoming::Subscribed { position, .. } => {
                    let mut oracle = arena.oracle.borrow_mut();
                    epoch = position.map(|position| oracle.epoch(stream, generation, &position.epoch));
                }
                Incoming::Event { given, .. } => {
                    let finding = view.event(given.offset);
                    arena.oracle.borrow_mut().delivered(stream, epoch, given, finding);
                    stored.push(given);
                }
                Incoming::Gap { gap, .. } => {
                    let finding = view.gap(gap);
                    arena.oracle.borrow_mut().told(stream, gap, finding);
                }
                Incoming::Refused { .. } => return None,
                Incoming::Other => {}
            },
            Heard::End => return None,
            Heard::Noise | Heard::Silence if Instant::now() > deadline => return None,
            Heard::Noise | Heard::Silence => {}
        }
    }
    socket.close().await;
    let stored = Stored {
        events: &stored,
        limit: u64::MAX,
        head_after: head,
    };
    arena.oracle.borrow_mut().scanned(stream, generation, bookmark, &stored);
    Some(())
}
