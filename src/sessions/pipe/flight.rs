//! What was taken from a pipe and may not have left yet: which of its lines have.
//!
//! Knows lines and bytes, not who writes them. Invariant: a line counts as having left only when its
//! last byte has.

use bytes::Bytes;

/// How the chunks that were taken are written, where their reader can use a part of them.
pub struct Written {
    /// All of them.
    pub text: Bytes,
    /// The bytes that go before the text.
    pub lead: usize,
    /// Where each line ends in the text: behind this, which is nowhere else in it.
    pub end: &'static [u8],
}

/// Chunks on their way through the reader's connection.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) chunks: Vec<Bytes>,
    pub(super) written: Option<Written>,
    /// Bytes that have left.
    pub(super) sent: usize,
    /// Whether the connection takes no more for the time being.
    pub(super) is_stuck: bool,
}

impl Flight {
    /// The lines that have not left whole.
    pub(super) fn rest(self) -> Vec<Bytes> {
        let mut passed = self.written.map_or(0, |written| written.lines(self.sent));
        let mut rest = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks {
            let mut begin = 0;
            while passed > 0 && begin < chunk.len() {
                let end = memchr::memchr(b'\n', &chunk[begin..]);
                begin = end.map_or(chunk.len(), |end| begin + end + 1);
                passed -= 1;
            }
            if begin < chunk.len() {
                rest.push(chunk.slice(begin..));
            }
        }
        rest
    }
}

impl Written {
    /// How many lines are in the first bytes that are written.
    fn lines(&self, sent: usize) -> usize {
        let sent = sent.saturating_sub(self.lead).min(self.text.len());
        memchr::memmem::find_iter(&self.text[..sent], self.end).count()
    }
}
