//! Which connections of one worker subscribe to a stream, each with its cursor.
//!
//! Invariant: a stream without subscribers has no entry.

use crate::domain::id::StreamId;
use crate::engine::connection::ConnectionKey;
use crate::engine::filter::Filter;
use crate::engine::subscription::{Subscription, Terms, WhenSlow};
use foldhash::fast::RandomState;
use slab::Slab;
use std::collections::HashMap;

/// A subscription and whose it is.
pub struct Subscriber {
    /// The connection.
    pub connection: ConnectionKey,
    /// Its place in the stream.
    pub subscription: Subscription,
    /// What else is agreed, if it is not the usual.
    pub terms: Option<Box<Terms>>,
}

impl Subscriber {
    /// What it wants if it does not read in time.
    pub fn when_slow(&self) -> WhenSlow {
        self.terms.as_ref().map_or(WhenSlow::CatchUp, |terms| terms.when_slow)
    }

    /// Which events it wants, if not all.
    pub fn filter(&self) -> Option<&Filter> {
        self.terms.as_ref()?.filter.as_ref()
    }
}

/// Streams and their subscribers.
#[derive(Default)]
pub struct Index {
    streams: HashMap<StreamId, Slab<Subscriber>, RandomState>,
}

impl Index {
    /// Adds a subscriber and returns the slot it can be found by.
    pub fn insert(&mut self, stream: StreamId, subscriber: Subscriber) -> u32 {
        let slab = self.streams.entry(stream).or_insert_with(|| Slab::with_capacity(1));
        u32::try_from(slab.insert(subscriber)).expect("connections are far fewer than 2^32")
    }

    /// Removes a subscriber; returns whether it was the stream's last one here.
    pub fn remove(&mut self, stream: &StreamId, slot: u32) -> bool {
        let Some(slab) = self.streams.get_mut(stream) else {
            return false;
        };
        slab.try_remove(slot as usize);
        let last = slab.is_empty();
        if last {
            self.streams.remove(stream);
        }
        last
    }

    /// Whether anybody here subscribes to the stream.
    pub fn contains(&self, stream: &StreamId) -> bool {
        self.streams.contains_key(stream)
    }

    /// One subscriber.
    pub fn get_mut(&mut self, stream: &StreamId, slot: u32) -> Option<&mut Subscriber> {
        self.streams.get_mut(stream)?.get_mut(slot as usize)
    }

    /// All subscribers of a stream, with their slots.
    pub fn subscribers(&mut self, stream: &StreamId) -> impl Iterator<Item = (u32, &mut Subscriber)> {
        let slab = self.streams.get_mut(stream).into_iter();
        slab.flat_map(|slab| slab.iter_mut())
            .map(|(slot, subscriber)| (slot as u32, subscriber))
    }

    /// All subscribers of all streams.
    pub fn everyone(&mut self) -> impl Iterator<Item = (StreamId, u32, &mut Subscriber)> {
        let streams = self.streams.iter_mut();
        streams.flat_map(|(stream, slab)| {
            slab.iter_mut()
                .map(|(slot, subscriber)| (*stream, slot as u32, subscriber))
        })
    }
}
