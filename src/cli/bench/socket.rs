//! A session's socket: the server's frames, taken apart with little more work than counting.
//!
//! A server's frames are whole and unmasked (it never fragments), so a frame is a slice of what was read. Ours are
//! masked with zeros, which RFC 6455 lets a client choose and costs nothing. Invariant: between two reads a socket
//! holds no more than the frame that is not whole yet, and such a frame has a bound.

use crate::cli::bench::http::Http;
use crate::cli::bench::target::Target;
use crate::cli::bench::wire::Wire;
use crate::cli::{failure, malformed};
use crate::domain::error::Error;
use serde::Deserialize;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// The largest frame that is taken.
const FRAME_BYTES: usize = 16 << 20;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message.
    Text(&'a [u8]),
    /// Wants a pong of the same body.
    Ping(&'a [u8]),
    /// The end, and why.
    Close(&'a [u8]),
}

/// A socket.
pub struct Socket {
    wire: Wire,
    /// Bytes that do not make a frame yet.
    rest: Vec<u8>,
}

/// Anything with an id in an answer's body.
#[derive(Deserialize)]
struct Envelope {
    body: Named,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The id in the answer to a request that made something.
pub fn made_id(body: &[u8]) -> Result<String, Error> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| malformed("the server's answer has no id"))?;
    Ok(envelope.body.id)
}

impl Socket {
    /// Opens a session and its socket, over one connection.
    pub async fn open(target: &Target, number: usize) -> Result<Self, Error> {
        let mut http = Http::connect(target, number).await?;
        let answer = http.ask(&target.request("POST", "/session", "")).await?;
        let session = made_id(answer.success()?)?;
        let (wire, rest) = http.switch(&target.upgrade(&session)).await?;
        Ok(Self { wire, rest })
    }

    /// Asks for a stream's events: all that come from now on, or all that it keeps and then those.
    pub async fn subscribe(&mut self, stream: &str, from_start: bool) -> Result<(), Error> {
        let since = if from_start { r#","since":0"# } else { "" };
        let request = format!(r#"{{"msgId":1,"object":"event","type":"subscribe","streamId":"{stream}"{since}}}"#);
        self.say(1, request.as_bytes()).await
    }

    /// Sends a frame of fewer than 64 KiB.
    pub async fn say(&mut self, opcode: u8, payload: &[u8]) -> Result<(), Error> {
        let frame = framed(opcode, payload);
        let sent = async {
            self.wire.write_all(&frame).await?;
            self.wire.flush().await
        };
        let lost = |error: io::Error| failure(format!("the connection was lost: {error}"));
        sent.await.map_err(lost)
    }

    /// Reads once, by way of `buffer`, and hands over each frame that is whole.
    pub fn poll_frames(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), Error>,
    ) -> Poll<Result<(), Error>> {
        let mut read = ReadBuf::new(buffer);
        let result = ready!(Pin::new(&mut self.wire).poll_read(context, &mut read));
        let came = read.filled();
        let lost = |why: &dyn std::fmt::Display| failure(format!("the connection was lost: {why}"));
        Poll::Ready(match result {
            Err(error) => Err(lost(&error)),
            Ok(()) if came.is_empty() => Err(lost(&"the server closed it")),
            Ok(()) => self.take(came, &mut each),
        })
    }

    fn take(&mut self, came: &[u8], each: &mut impl FnMut(Frame<'_>) -> Result<(), Error>) -> Result<(), Error> {
        if self.rest.is_empty() {
            let taken = walk(came, each)?;
            self.rest.extend_from_slice(&came[taken..]);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(came);
        let taken = walk(&rest, each)?;
        // An idle socket keeps no memory for what is over.
        self.rest = rest.split_off(taken);
        Ok(())
    }
}

/// Hands over each whole frame; returns how many bytes those have.
fn walk(bytes: &[u8], each: &mut impl FnMut(Frame<'_>) -> Result<(), Error>) -> Result<usize, Error> {
    let mut taken = 0;
    let broken = |error: io::Error| failure(format!("the server's frame is not understood: {error}"));
    while let Some((opcode, bounds)) = bounds(&bytes[taken..]).map_err(broken)? {
        let payload = &bytes[taken + bounds.start..taken + bounds.end];
        taken += bounds.end;
        each(match opcode {
            1 => Frame::Text(payload),
            8 => Frame::Close(payload),
            9 => Frame::Ping(payload),
            10 => continue,
            other => return Err(broken(io::Error::other(format!("opcode {other}")))),
        })?;
    }
    Ok(taken)
}

/// The first frame's opcode, and where its payload is; nothing if it is not all there.
fn bounds(bytes: &[u8]) -> io::Result<Option<(u8, Range<usize>)>> {
    let number = |range: Range<usize>| {
        let digits = bytes.get(range)?.iter();
        Some(digits.fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let Some(short) = bytes.get(1) else {
        return Ok(None);
    };
    let (head, length) = match short {
        126 => (4, number(2..4)),
        127 => (10, number(2..10)),
        128.. => return Err(io::Error::other("it is masked")),
        short => (2, Some(u64::from(*short))),
    };
    let Some(length) = length else {
        return Ok(None);
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_BYTES);
    let end = head + length.ok_or_else(|| io::Error::other("it is too long"))?;
    // Whole, and neither compressed nor of a later version.
    match bytes[0] & 0xf0 {
        0x80 => Ok((end <= bytes.len()).then_some((bytes[0] & 0x0f, head..end))),
        _ => Err(io::Error::other("it is a fragment, or has reserved bits")),
    }
}

/// A client's frame of fewer than 64 KiB.
fn framed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length => {
            let length = u16::try_from(length).expect("a request is short");
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame;

    fn walked(bytes: &[u8]) -> (Vec<String>, usize) {
        let mut seen = Vec::new();
        let taken = walk(bytes, &mut |frame| {
            seen.push(match frame {
                Frame::Text(text) => format!("text {}", text.len()),
                Frame::Ping(_) => "ping".to_owned(),
                Frame::Close(reason) => format!("close {}", String::from_utf8_lossy(&reason[2..])),
            });
            Ok(())
        });
        (seen, taken.expect("the server's own frames are understood"))
    }

    #[test]
    fn the_servers_frames_are_read_in_any_pieces() {
        let lengths = [0, 125, 126, 65_535, 65_536];
        let mut bytes: Vec<u8> = lengths
            .iter()
            .flat_map(|length| frame::text(&"x".repeat(*length)))
            .collect();
        bytes.extend(frame::ping());
        bytes.extend(frame::close(1001, "bye"));
        let wanted: Vec<String> = lengths.iter().map(|length| format!("text {length}")).collect();
        let wanted = [wanted, vec!["ping".to_owned(), "close bye".to_owned()]].concat();
        assert_eq!(walked(&bytes), (wanted, bytes.len()));
        for cut in [1, 2, 3, 130] {
            assert!(walked(&bytes[..cut]).1 <= cut);
        }
        assert_eq!(walked(&bytes[..3]), (vec!["text 0".to_owned()], 2));
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        let wrong: [&[u8]; 5] = [
            &[0x01, 1],
            &[0xc1, 1, 0],
            &[0x81, 0x81],
            &[0x82, 0],
            &[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in wrong {
            assert!(walk(bytes, &mut |_| Ok(())).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn our_frames_are_masked() {
        assert_eq!(framed(10, b"hi"), [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(framed(1, &[b'x'; 200])[..8], [0x81, 0xfe, 0, 200, 0, 0, 0, 0]);
    }
}
