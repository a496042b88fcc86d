//! What a socket protocol is to a connection: how it sounds, and what it does with a message.
//!
//! A table of functions, made once for each protocol and form. Knows no connection's state.

use crate::domain::error::Refusal;
use crate::domain::limits::Limits;
use crate::engine::connection::Dialect;
use crate::protocol::conversation::Conversation;
use crate::protocol::deflate::Packing;
use crate::protocol::frame;
use crate::protocol::inbound::TooLong;
use bytes::Bytes;
use std::rc::Rc;

/// A socket protocol: how it sounds, and what it does with a message.
pub struct Speech {
    /// How events and notices are rendered.
    pub dialect: Dialect,
    /// What its messages may look like.
    pub packing: Packing,
    /// Answers a text message.
    pub receive: fn(&Rc<Conversation>, &str),
    /// What happens first, before anything is read.
    pub begin: fn(&Rc<Conversation>),
    /// What happens when the peer has gone or says goodbye, before its subscriptions end.
    pub part: fn(&Conversation),
    /// What who was silent for long is sent, to be answered somehow.
    pub ping: fn() -> Bytes,
    /// The last thing that is said, and why.
    pub goodbye: fn(&Refusal) -> Bytes,
    /// How long a message may be, in bytes.
    pub max_bytes: fn(&Limits) -> usize,
    /// What happens when one is longer.
    pub oversize: Oversize,
    /// What happens when one is binary.
    pub binary: Binary,
    /// What happens when a stream that is followed is deleted.
    pub bereft: Bereft,
}

/// What happens when a message is too long.
#[derive(Clone, Copy)]
pub enum Oversize {
    /// The connection is closed.
    Close,
    /// It is not read, and this answers.
    Skip(fn(&Rc<Conversation>)),
}

/// What happens when a message is binary, which none is understood of.
#[derive(Clone, Copy)]
pub enum Binary {
    /// The connection is closed.
    Close,
    /// Nothing.
    Ignore,
    /// This answers.
    Answer(fn(&Rc<Conversation>)),
}

/// What happens when a stream that is followed is deleted.
#[derive(Clone, Copy)]
pub enum Bereft {
    /// Nothing: the client knows its streams by other ways.
    Silence,
    /// This is said, with the name that the reader has for the stream.
    Tell(fn(&str) -> Bytes),
    /// The connection is closed, for the client has no other way to follow anything again.
    Part,
}

impl Speech {
    /// How most protocols speak, over WebSockets.
    pub const fn new(dialect: Dialect, receive: fn(&Rc<Conversation>, &str)) -> Self {
        Self {
            dialect,
            packing: Packing::Plain,
            receive,
            begin: |_| {},
            part: |_| {},
            ping: frame::ping,
            goodbye: frame::close_for,
            max_bytes: |limits| limits.max_frame_bytes,
            oversize: Oversize::Close,
            binary: Binary::Close,
            bereft: Bereft::Silence,
        }
    }

    /// What reading does with a message that is too long.
    pub(super) fn too_long(&self) -> TooLong {
        match self.oversize {
            Oversize::Close => TooLong::Refuse,
            Oversize::Skip(_) => TooLong::Skip,
        }
    }
}
