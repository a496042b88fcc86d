//! One who makes streams, so that the catalogue is put to the test as well as the log.
//!
//! Invariant: a stream that was made once is listed for ever, as nobody deletes any here.

use crate::cli::torture::arena::{Arena, Phase, rng};
use crate::cli::torture::link::Link;
use crate::cli::torture::wire;
use actix_web::http::Method;
use rand::RngExt;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

/// Most streams that are made.
const MOST: usize = 20_000;
/// Streams of a list.
const PAGE: usize = 1_000;

/// Makes streams until the load is over; returns the ids of those that were acknowledged.
pub async fn found(arena: Rc<Arena>) -> Vec<String> {
    let (link, mut rng) = (Link::new(&arena), rng(arena.seed, "founder", 0));
    let (mut made, mut number) = (Vec::new(), 0);
    while arena.phase() == Phase::Load && made.len() < MOST {
        arena.wait_for_leave().await;
        let company = &arena.account.company;
        let body = wire::stream_body(&format!("/{company}/made/{number}"), 1, None);
        number += 1;
        let reply = link
            .ask(Method::POST, &format!("/v5.0/{company}/stream"), None, body)
            .await;
        made.extend(reply.and_then(|reply| wire::parse_id(reply.status, &reply.body)));
        let pause = rng.random_range(20..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    made
}

/// Counts those of `made` that are not listed.
pub async fn count_lost(arena: &Rc<Arena>, made: &[String]) {
    let link = Link::new(arena);
    let mut listed = HashSet::new();
    loop {
        let address = wire::list_address(&arena.account.company, listed.len(), PAGE);
        let reply = link.get(&address).await;
        let Some(ids) = reply.and_then(|reply| wire::parse_list(reply.status, &reply.body)) else {
            arena.count(|figures| figures.unscanned += 1);
            return;
        };
        let is_last = ids.len() < PAGE;
        listed.extend(ids);
        if is_last {
            break;
        }
    }
    let lost = made.iter().filter(|id| !listed.contains(*id)).count();
    arena.count(|figures| {
        figures.founded = made.len() as u64;
        figures.founded_lost += lost as u64;
    });
}
