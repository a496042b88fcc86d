//! Messages compressed, as RFC 7692 has it: each by itself, so that one serves every client.
//!
//! Knows texts and bytes, neither sockets nor events. Compressing takes some hundred kilobytes of
//! state, which the connections of a worker share. Invariant: nothing of one message is in the
//! next, and what comes out of a stranger's bytes never takes more room than it may.

pub mod offer;

use crate::protocol::frame;
use bytes::Bytes;
use clap::ValueEnum;
use flate2::{Compress, Compression as Level, Decompress, DecompressError, FlushCompress, FlushDecompress, Status};
use std::cell::{Cell, RefCell};

/// How hard to try. Level 1 leaves a quarter more in half the time, those above save next to nothing.
const LEVEL: u32 = 4;
/// What every compressed message ends with; it is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// What may be kept from one message to the next.
const SCRATCH_BYTES: usize = 65_536;
/// The least room to begin with when a message is unpacked.
const ROOM_BYTES: usize = 256;

/// Whether clients are let compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// What they offer is passed over.
    Off,
    /// If they offer it.
    On,
}

/// What a connection's messages may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// Compressed, each if it is worth it.
    Deflate,
}

/// What was compressed on this thread since the last time it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// Their bytes before.
    pub before: u64,
    /// Their bytes after; as many as before where it was not worth it.
    pub after: u64,
}

/// Why a compressed message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It unpacks to more than it may.
    TooLong,
    /// It is not what compressing makes.
    Malformed,
}

struct Packer {
    compress: Compress,
    packed: Vec<u8>,
}

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new());
    static UNPACKER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { messages: 0, before: 0, after: 0 }) };
}

/// A whole text message, framed; plain if compressing makes it no shorter.
pub fn text(message: &str) -> Bytes {
    let packed = PACKER.with_borrow_mut(|packer| packer.pack(message.as_bytes()).map(frame::packed));
    let framed = packed.unwrap_or_else(|| frame::text(message));
    let counts = COUNTS.get();
    COUNTS.set(Counts {
        messages: counts.messages + 1,
        before: counts.before + frame::length(message.len()) as u64,
        after: counts.after + framed.len() as u64,
    });
    framed
}

/// What was compressed on this thread since the last call.
pub fn take_counts() -> Counts {
    COUNTS.take()
}

/// A message as it was before it was compressed, if that is at most `most` bytes.
pub fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, Wrong> {
    UNPACKER.with_borrow_mut(|unpacker| {
        unpacker.reset(false);
        let room = packed.len().saturating_mul(2).max(ROOM_BYTES);
        let mut whole = Vec::with_capacity(room.min(most.saturating_add(1)));
        unpack_onto(&mut whole, unpacker, packed, most)?;
        unpack_onto(&mut whole, unpacker, &TAIL, most)?;
        Ok(whole)
    })
}

/// Appends what comes out of `rest`. There is room for one byte more than may come out at most, so
/// that too long a message is found out before it has grown.
fn unpack_onto(whole: &mut Vec<u8>, unpacker: &mut Decompress, mut rest: &[u8], most: usize) -> Result<(), Wrong> {
    let malformed = |_: DecompressError| Wrong::Malformed;
    loop {
        let (taken, made) = (unpacker.total_in(), whole.len());
        let status = unpacker
            .decompress_vec(rest, whole, FlushDecompress::Sync)
            .map_err(malformed)?;
        let taken = (unpacker.total_in() - taken) as usize;
        rest = &rest[taken..];
        if whole.len() > most {
            return Err(Wrong::TooLong);
        }
        if status == Status::StreamEnd {
            // Its sender closed a block for good, which the RFC allows; another one may follow.
            unpacker.reset(false);
        }
        let is_full = whole.len() == whole.capacity();
        if rest.is_empty() && !is_full {
            return Ok(());
        }
        if is_full {
            whole.reserve_exact(whole.len().min(most + 1 - whole.len()));
        } else if taken == 0 && whole.len() == made {
            return Err(Wrong::Malformed);
        }
    }
}

impl Packer {
    fn new() -> Self {
        Self {
            compress: Compress::new(Level::new(LEVEL), false),
            packed: Vec::new(),
        }
    }

    /// The message compressed, without its tail; `None` if that is no shorter.
    fn pack(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.compress.reset();
        self.packed.clear();
        self.packed.shrink_to(SCRATCH_BYTES);
        // What does not fit into this is no shorter.
        self.packed.reserve(message.len() + TAIL.len());
        let made = self
            .compress
            .compress_vec(message, &mut self.packed, FlushCompress::Sync);
        let is_whole = made.is_ok() && self.compress.total_in() == message.len() as u64;
        let packed = self.packed.strip_suffix(&TAIL).filter(|_| is_whole)?;
        (packed.len() < message.len()).then_some(packed)
    }
}

#[cfg(test)]
mod tests;
