//! Streams by company and path, to be listed and looked through.
//!
//! Pure. Invariant: a list is read a piece at a time, so that nobody waits for somebody's long one.

use crate::domain::path::Path;
use crate::domain::stream::Stream;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// A stream, and what is looked through to find it.
#[derive(Clone)]
pub struct Shelved {
    /// The stream.
    pub stream: Arc<Stream>,
    /// Path and description, in small letters.
    pub text: Arc<str>,
}

/// All streams.
#[derive(Default)]
pub struct Shelf(HashMap<Box<str>, BTreeMap<Path, Shelved>, RandomState>);

impl Shelf {
    /// Puts a stream where its path is.
    pub fn put(&mut self, stream: &Arc<Stream>) {
        let text = format!("{}\n{}", stream.path, stream.description);
        let shelved = Shelved {
            stream: Arc::clone(stream),
            text: text.to_lowercase().into(),
        };
        let company = self.0.entry(stream.path.company().into()).or_default();
        company.insert(stream.path.clone(), shelved);
    }

    /// Takes a stream away, unless another is at its path by now.
    pub fn take(&mut self, stream: &Stream) {
        let Some(company) = self.0.get_mut(stream.path.company()) else {
            return;
        };
        if company
            .get(&stream.path)
            .is_some_and(|there| there.stream.id == stream.id)
        {
            company.remove(&stream.path);
        }
        if company.is_empty() {
            self.0.remove(stream.path.company());
        }
    }

    /// How many a company has.
    pub fn count(&self, company: &str) -> usize {
        self.0.get(company).map_or(0, BTreeMap::len)
    }

    /// A company's streams after a path, so many of them.
    pub fn after(&self, company: &str, path: Option<&Path>, count: usize) -> Vec<Shelved> {
        let Some(company) = self.0.get(company) else {
            return Vec::new();
        };
        let from = path.map_or(Unbounded, Excluded);
        let some = company.range::<Path, _>((from, Unbounded)).take(count);
        some.map(|(_, shelved)| shelved.clone()).collect()
    }
}
