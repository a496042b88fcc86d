//! How far the log has come, noted beside the database: in the lock file.
//!
//! A database file that is older than its mark was put back from a copy, and what clients know of
//! its numbering is not to be trusted; so is one that has no mark, for it came from elsewhere.
//! Invariant: the mark is never ahead of what is synced in the database.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

/// Generation and journal number, in hexadecimal digits, with a space and a line's end.
const BYTES: usize = 34;

/// The mark of one database.
pub struct Mark {
    file: File,
    generation: i64,
    synced: AtomicI64,
    written: AtomicI64,
}

impl Mark {
    /// Of a database of this generation.
    pub fn new(file: File, generation: i64) -> Self {
        Self {
            file,
            generation,
            synced: AtomicI64::new(0),
            written: AtomicI64::new(-1),
        }
    }

    /// What a lock file says: generation and journal number.
    pub fn read(file: &File) -> Option<(i64, i64)> {
        let mut bytes = [0; BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let (generation, number) = text.trim_end().split_once(' ')?;
        let parse = |text| i64::from_str_radix(text, 16).ok();
        Some((parse(generation)?, parse(number)?))
    }

    /// Journal rows up to this one are synced.
    pub fn note(&self, journal_id: i64) {
        self.synced.fetch_max(journal_id, Ordering::Relaxed);
    }

    /// Writes the mark so that it stays, whatever happens: without it every epoch would end.
    pub fn found(&self, folder: &Path) -> std::io::Result<()> {
        self.write();
        self.file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    /// Lets another server have the database; nothing is to be written any more.
    pub fn release(&self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!("the lock file cannot be unlocked, and is when this process ends: {error}");
        }
    }

    /// Writes the mark if it moved. That it is behind after a crash does no harm.
    pub fn write(&self) {
        let synced = self.synced.load(Ordering::Relaxed);
        if self.written.swap(synced, Ordering::Relaxed) == synced {
            return;
        }
        let text = format!("{:016x} {synced:016x}\n", self.generation);
        if let Err(error) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::warn!("the lock file cannot be written: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_next_can_lock_what_is_released_though_it_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || File::create(folder.path().join("test.db.lock")).expect("a file");
        let (first, next) = (open(), open());
        first.try_lock().expect("nobody has it");
        let mark = Mark::new(first, 1);
        assert!(next.try_lock().is_err());
        mark.release();
        next.try_lock().expect("it was let go");
    }
}
