//! The TLS records of one connection: bytes come in, text comes out, and the other way round.
//!
//! Knows no socket. Memory is held only for a record that came in part, or that the socket has not
//! taken yet; an idle connection has its keys and nothing else. Invariant: what [`Records::waiting`]
//! shows leaves in that order, each byte once, and is bounded.

use bytes::{Buf, BytesMut};
use rustls::Error;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use std::sync::Arc;

/// The most text that is sealed at once: as much as one record holds, in bytes.
pub const TEXT_BYTES: usize = 16_384;
/// The most that may have come of a record, or of a client's hello.
const PART_BYTES: usize = 20_480;
/// The most that may wait for the socket; a hostile client that asks for answers without reading
/// them comes to its end here.
const WAITING_BYTES: usize = 131_072;

/// One connection's keys, and the records under way.
pub struct Records {
    session: UnbufferedServerConnection,
    /// A record that came in part.
    part: Vec<u8>,
    /// Records that the socket has not taken yet.
    waiting: BytesMut,
    /// The peer said that this was all.
    ended: bool,
    /// Something was wrong; rustls is not asked any more.
    failed: bool,
}

impl Records {
    /// Before the client's hello.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            session: UnbufferedServerConnection::new(config)?,
            part: Vec::new(),
            waiting: BytesMut::new(),
            ended: false,
            failed: false,
        })
    }

    /// Whether text cannot go both ways yet.
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Whether the peer said that this was all.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What is to be written.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// The first `count` bytes of that were.
    pub fn wrote(&mut self, count: usize) {
        self.waiting.advance(count);
        if self.waiting.is_empty() {
            self.waiting = BytesMut::new();
        }
    }

    /// Takes bytes that came and appends their text to `text`. After an error, the alert waits.
    pub fn receive(&mut self, came: &mut [u8], text: &mut BytesMut) -> Result<(), Error> {
        self.check()?;
        let taken = self.take(came, text);
        self.failed = taken.is_err();
        taken
    }

    fn take(&mut self, came: &mut [u8], text: &mut BytesMut) -> Result<(), Error> {
        if self.part.is_empty() {
            let used = self.open(came, text)?;
            self.part = came[used..].to_vec();
        } else {
            let mut part = std::mem::take(&mut self.part);
            part.extend_from_slice(came);
            let used = self.open(&mut part, text)?;
            if used < part.len() {
                part.drain(..used);
                self.part = part;
            }
        }
        match self.part.len() > PART_BYTES {
            true => Err(Error::General("a hello or record is too long".to_owned())),
            false => Ok(()),
        }
    }

    /// Takes whole records from the front of `bytes`; returns how many bytes they had.
    fn open(&mut self, bytes: &mut [u8], text: &mut BytesMut) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } = self.session.process_tls_records(&mut bytes[used..]);
            let mut is_over = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        text.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut word)) => push(&mut self.waiting, |room| word.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => (self.ended, is_over) = (true, true),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => is_over = true,
                Ok(_) => return Err(Error::General("early text was not offered".to_owned())),
                Err(error) => {
                    // What was wrong is told to the peer in a last record.
                    used += discard;
                    if let Ok(ConnectionState::EncodeTlsData(mut alert)) =
                        self.session.process_tls_records(&mut bytes[used..]).state
                    {
                        push(&mut self.waiting, |room| alert.encode(room))?;
                    }
                    return Err(error);
                }
            }
            used += discard;
            if is_over {
                return Ok(used);
            }
        }
    }

    /// Seals text, at most [`TEXT_BYTES`] of it, so that it waits to be written.
    pub fn seal(&mut self, text: &[u8]) -> Result<(), Error> {
        self.say(Say::Text(text))
    }

    /// Says that this was all; again changes nothing.
    pub fn close(&mut self) -> Result<(), Error> {
        self.say(Say::End)
    }

    /// After a failure, rustls remembers more of what came in part than is still there to be shown.
    fn check(&self) -> Result<(), Error> {
        match self.failed {
            true => Err(Error::General("the connection has failed".to_owned())),
            false => Ok(()),
        }
    }

    fn say(&mut self, say: Say<'_>) -> Result<(), Error> {
        self.check()?;
        loop {
            // What came in part is shown again, because rustls remembers how far it has looked.
            match self.session.process_tls_records(&mut self.part).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return match say {
                        Say::Text(text) => push(&mut self.waiting, |room| traffic.encrypt(text, room)),
                        Say::End => push(&mut self.waiting, |room| traffic.queue_close_notify(room)),
                    };
                }
                ConnectionState::EncodeTlsData(mut word) => push(&mut self.waiting, |room| word.encode(room))?,
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }
}

/// What can be said once the handshake is over.
#[derive(Clone, Copy)]
enum Say<'a> {
    Text(&'a [u8]),
    End,
}

/// Why something was not written into the room there was.
trait Short {
    /// How much room it takes, if that is why.
    fn wanted(&self) -> Option<usize>;
}

impl Short for EncodeError {
    fn wanted(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(short) => Some(short.required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl Short for EncryptError {
    fn wanted(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(short) => Some(short.required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}

/// Appends what `write` makes, which says how much room it takes.
fn push<E: Short>(waiting: &mut BytesMut, mut write: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<(), Error> {
    let start = waiting.len();
    let mut room = 0;
    loop {
        if start + room > WAITING_BYTES {
            return Err(Error::General("the peer does not read its answers".to_owned()));
        }
        waiting.resize(start + room, 0);
        match write(&mut waiting[start..]) {
            Ok(count) => {
                waiting.truncate(start + count);
                return Ok(());
            }
            Err(short) => {
                waiting.truncate(start);
                let wanted = short.wanted().filter(|wanted| *wanted > room);
                room = wanted.ok_or(Error::EncryptError)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};
    use std::io::{Read, Write};

    /// A client and the records of its server, before the client's hello.
    fn pair(version: &'static SupportedProtocolVersion) -> (ClientConnection, Records) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let mut trusted = RootCertStore::empty();
        trusted.add(made.cert.der().clone()).expect("a root");
        let provider = || Arc::new(ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider());
        let client = client.with_protocol_versions(&[version]).expect("a version");
        let client = client.with_root_certificates(trusted).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(client), name).expect("a client");
        let key = made.signing_key.serialize_der().try_into().expect("a key");
        let server = ServerConfig::builder_with_provider(provider());
        let server = server.with_safe_default_protocol_versions().expect("versions");
        let server = server.with_no_client_auth();
        let server = server
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        (client, Records::new(Arc::new(server)).expect("a server"))
    }

    /// Carries what each has to say to the other until both are silent, in pieces; returns the server's text.
    fn talk(client: &mut ClientConnection, server: &mut Records, piece: usize) -> Result<BytesMut, Error> {
        let mut text = BytesMut::new();
        loop {
            let mut said = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut said).expect("memory");
            }
            for piece in said.chunks_mut(piece) {
                server.receive(piece, &mut text)?;
            }
            let answer = server.waiting().to_vec();
            for mut piece in answer.chunks(piece) {
                server.wrote(piece.len());
                while !piece.is_empty() {
                    client.read_tls(&mut piece).expect("room");
                    client.process_new_packets().expect("legal records");
                }
            }
            if said.is_empty() && answer.is_empty() {
                return Ok(text);
            }
        }
    }

    #[test]
    fn text_goes_both_ways_in_any_pieces_and_nothing_is_kept() {
        let long: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
        for (version, piece) in [(&version::TLS12, 1), (&version::TLS13, 1), (&version::TLS13, 5_000)] {
            let (mut client, mut server) = pair(version);
            talk(&mut client, &mut server, piece).expect("a handshake");
            assert!(!server.is_handshaking() && !client.is_handshaking());
            client.set_buffer_limit(None);
            client.writer().write_all(&long).expect("memory");
            assert_eq!(talk(&mut client, &mut server, piece).expect("text"), long);
            let mut heard = Vec::new();
            for part in long.chunks(TEXT_BYTES) {
                server.seal(part).expect("keys");
                talk(&mut client, &mut server, piece).expect("records");
                let mut room = vec![0; TEXT_BYTES];
                let count = client.reader().read(&mut room).expect("text");
                heard.extend_from_slice(&room[..count]);
            }
            assert_eq!(heard, long);
            assert_eq!((server.part.capacity(), server.waiting.capacity()), (0, 0));
            client.send_close_notify();
            server.close().expect("an end");
            talk(&mut client, &mut server, piece).expect("an end");
            assert!(server.has_ended());
            assert_eq!(
                client.reader().read(&mut [0; 1]).expect("an end in the words of TLS"),
                0
            );
            server.close().ok();
            assert_eq!(server.waiting(), b"", "it is said once");
        }
    }

    #[test]
    fn what_is_no_record_is_answered_with_an_alert() {
        let (mut client, mut server) = pair(&version::TLS13);
        talk(&mut client, &mut server, 100).expect("a handshake");
        let mut forged = *b"\x17\x03\x03\x00\x15012345678901234567890";
        let refused = server.receive(&mut forged, &mut BytesMut::new());
        assert_eq!(refused, Err(Error::DecryptError));
        assert_eq!(server.waiting().first(), Some(&23), "an alert is sealed as well");
        client.read_tls(&mut server.waiting()).expect("room");
        assert!(matches!(client.process_new_packets(), Err(Error::AlertReceived(_))));
    }

    /// What rustls remembers of a hello that came in part must not be asked for after a failure.
    #[test]
    fn after_a_failure_nothing_is_said_any_more() {
        let (mut client, mut server) = pair(&version::TLS13);
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("memory");
        let (head, body) = hello.split_at(5);
        let half = body.len() / 2;
        let cut = |piece: &[u8]| [&head[..3], &(piece.len() as u16).to_be_bytes(), piece].concat();
        let mut text = BytesMut::new();
        server
            .receive(&mut cut(&body[..half]), &mut text)
            .expect("it may go on");
        assert!(
            server
                .receive(&mut b"\x17\x03\x03\x00\x01x".to_vec(), &mut text)
                .is_err()
        );
        assert!(server.close().is_err() && server.seal(b"x").is_err());
        assert!(server.receive(&mut cut(&body[half..]), &mut text).is_err());
    }

    #[test]
    fn a_hello_without_end_is_refused() {
        let (_, mut server) = pair(&version::TLS13);
        let mut record = [
            &b"\x16\x03\x01\x3f\x00"[..],
            &b"\x01\x00\xff\x00\x03\x03"[..],
            &[0; 16_122],
        ]
        .concat();
        let mut text = BytesMut::new();
        server.receive(&mut record.clone(), &mut text).expect("it may go on");
        assert!(server.receive(&mut record, &mut text).is_err());
        assert!(server.part.len() <= PART_BYTES + record.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What a client sends is changed anywhere and comes in any pieces, in the handshake or after it.
        #[test]
        fn no_bytes_are_too_strange(
            is_open in any::<bool>(),
            pieces in proptest::collection::vec((1..600_usize, any::<bool>()), 1..20),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let (mut client, mut server) = pair(&version::TLS13);
            if is_open {
                talk(&mut client, &mut server, 1_000).expect("a handshake");
                client.writer().write_all(&[7; 500]).expect("memory");
                client.refresh_traffic_keys().expect("new keys");
                client.writer().write_all(&[8; 500]).expect("memory");
            }
            let (mut said, mut text) = (Vec::new(), BytesMut::new());
            while client.wants_write() {
                client.write_tls(&mut said).expect("memory");
            }
            for (at, byte) in &changes {
                let at = at.index(said.len());
                said[at] = *byte;
            }
            let mut rest = &mut said[..];
            for (length, answers) in pieces {
                let (piece, later) = rest.split_at_mut(length.min(rest.len()));
                rest = later;
                let came = server.receive(piece, &mut text);
                let sealed = if answers { server.seal(b"an answer") } else { Ok(()) };
                prop_assert!(came.is_ok() || !answers || sealed.is_err());
                prop_assert!(!is_open || !changes.is_empty() || (came.is_ok() && sealed.is_ok()));
            }
            prop_assert!(text.len() <= 1_000 && server.part.len() <= PART_BYTES + 600);
            // Whether there is anybody to tell or not.
            let _ = server.close();
        }
    }
}
