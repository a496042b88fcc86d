//! Lines as plain HTTP responses bring them: as they are, as a JSON array, as Server-Sent Events.
//!
//! Pure. Server-Sent Events are those of the HTML standard: a message ends with an empty line, a line
//! that begins with a colon is a comment. Invariant: a line of ours has no line breaks in it, so it
//! is one `data:` line.

use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset};
use crate::protocol::session::wire::places::{Places, Told, lines, text};
use bytes::{Bytes, BytesMut};

/// How a response brings lines.
pub enum Framing {
    /// One JSON object a line.
    Lines,
    /// Server-Sent Events; their ids say where the reader is in which streams.
    Events(Places),
}

impl Framing {
    /// The media type.
    pub fn kind(&self) -> &'static str {
        match self {
            Framing::Lines => "application/x-ndjson",
            Framing::Events(_) => "text/event-stream",
        }
    }

    /// What is said first, if anything is, so that an EventSource knows at once that it is through.
    pub fn greeting(&self) -> Option<Bytes> {
        match self {
            Framing::Lines => None,
            Framing::Events(_) => Some(Bytes::from_static(b": connected\n\n")),
        }
    }

    /// Where the reader is, so that who is cut off before the first event loses nothing either: an id
    /// without data is remembered and shown to nobody.
    pub fn here(&self) -> Option<Bytes> {
        match self {
            Framing::Lines => None,
            Framing::Events(places) => Some(Bytes::from(id_line(places) + "\n")),
        }
    }

    /// The reader of what follows is there, or follows the stream no more.
    pub fn place(&mut self, stream: StreamId, place: Option<(Epoch, Offset)>) {
        match (self, place) {
            (Framing::Lines, _) => {}
            (Framing::Events(places), Some((epoch, offset))) => places.put(stream, epoch, offset),
            (Framing::Events(places), None) => places.remove(&stream),
        }
    }

    /// What each line of a chunk ends with when it is framed, and nothing else within it.
    pub fn end(&self) -> &'static [u8] {
        match self {
            Framing::Lines => b"\n",
            Framing::Events(_) => b"\n\n",
        }
    }

    /// What is said when there is nothing to say.
    pub fn heartbeat(&self) -> Bytes {
        match self {
            Framing::Lines => Bytes::from_static(b"\n"),
            Framing::Events(_) => Bytes::from_static(b":\n\n"),
        }
    }

    /// A chunk of lines; `epoch` tells how a stream is numbered.
    pub fn frame(&mut self, chunk: Bytes, epoch: impl Fn(&StreamId) -> Option<Epoch>) -> Bytes {
        let places = match self {
            Framing::Lines => return chunk,
            Framing::Events(places) => places,
        };
        let mut framed = BytesMut::with_capacity(chunk.len() * 2);
        for line in lines(&chunk) {
            put_event(&mut framed, &line, places, &epoch);
        }
        framed.freeze()
    }
}

/// The id that says where the reader is. Where none has room for that, an empty one has the browser forget
/// the last one: going back there would bring again what came since.
fn id_line(places: &Places) -> String {
    places
        .id()
        .map_or_else(|| "id\n".to_owned(), |id| format!("id: {id}\n"))
}

fn put_event(framed: &mut BytesMut, line: &[u8], places: &mut Places, epoch: impl Fn(&StreamId) -> Option<Epoch>) {
    let told = Told::read(text(line));
    match told {
        Told::Gap(..) => framed.extend_from_slice(b"event: gap\n"),
        Told::Goaway => framed.extend_from_slice(b"event: goaway\n"),
        Told::Event(..) | Told::Other => {}
    }
    if let Some((stream, at)) = told.last() {
        if !places.advance(stream, at)
            && let Some(epoch) = epoch(&stream)
        {
            places.put(stream, epoch, at);
        }
        framed.extend_from_slice(id_line(places).as_bytes());
    }
    framed.extend_from_slice(b"data: ");
    framed.extend_from_slice(line);
    framed.extend_from_slice(b"\n\n");
}

/// Chunks of lines as one JSON array.
pub fn array(chunks: &[Bytes]) -> Bytes {
    let length: usize = chunks.iter().map(Bytes::len).sum();
    let mut array = BytesMut::with_capacity(length + 2);
    array.extend_from_slice(b"[");
    for (number, line) in chunks.iter().flat_map(lines).enumerate() {
        if number > 0 {
            array.extend_from_slice(b",");
        }
        array.extend_from_slice(&line);
    }
    array.extend_from_slice(b"]");
    array.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::session::wire::places::MAX_PLACES;

    fn event(stream: &StreamId, offset: u64) -> String {
        format!("{{\"type\":\"message\",\"resource\":\"{stream}\",\"offset\":{offset},\"value\":{{}}}}\n")
    }

    #[test]
    fn every_id_names_every_stream_of_the_response() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let one = Epoch::new(1);
        let mut places = Places::default();
        places.put(a, one, Offset(6));
        let mut framing = Framing::Events(places);
        assert_eq!(framing.here().expect("a place"), format!("id: {a}.{one}.6\n\n"));
        let chunk = Bytes::from(event(&b, 3) + &event(&a, 7));
        let framed = framing.frame(chunk, |_| Some(one));
        let (first, second) = (event(&b, 3), event(&a, 7));
        let wanted =
            format!("id: {a}.{one}.6,{b}.{one}.3\ndata: {first}\nid: {a}.{one}.7,{b}.{one}.3\ndata: {second}\n");
        assert_eq!(framed, wanted);
    }

    #[test]
    fn an_id_that_has_no_room_for_all_streams_is_taken_back() {
        let one = Epoch::new(1);
        let mut framing = Framing::Events(Places::default());
        let [first, second] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        framing.place(first, Some((one, Offset(1))));
        for byte in 100..100 + u8::try_from(MAX_PLACES).expect("few") {
            framing.place(StreamId::new([byte; 12]), Some((one, Offset(1))));
        }
        assert_eq!(framing.here().expect("a word"), "id\n\n");
        let event = event(&second, 3);
        let framed = framing.frame(Bytes::from(event.clone()), |_| Some(one));
        assert_eq!(framed, format!("id\ndata: {event}\n"));
    }

    #[test]
    fn what_is_not_followed_any_more_is_not_named() {
        let [a, b] = [1, 2].map(|byte| StreamId::new([byte; 12]));
        let one = Epoch::new(1);
        let mut framing = Framing::Events(Places::default());
        framing.place(a, Some((one, Offset(6))));
        framing.place(b, Some((one, Offset(7))));
        framing.place(a, None);
        assert_eq!(framing.here().expect("a place"), format!("id: {b}.{one}.7\n\n"));
        framing.place(b, None);
        assert_eq!(framing.here().expect("a word"), "id\n\n");
    }

    #[test]
    fn gaps_and_goodbyes_are_events_of_their_own() {
        let stream = StreamId::new([1; 12]);
        let one = Epoch::new(1);
        let gap = format!(r#"{{"type":"gap","head":{{}},"body":{{"resource":"{stream}","from":1,"to":4,"count":4}}}}"#);
        let goaway = r#"{"type":"goaway","head":{},"body":{}}"#;
        let mut framing = Framing::Events(Places::default());
        let framed = framing.frame(Bytes::from(format!("{gap}\n{goaway}\n{{}}\n")), |_| Some(one));
        let wanted =
            format!("event: gap\nid: {stream}.{one}.4\ndata: {gap}\n\nevent: goaway\ndata: {goaway}\n\ndata: {{}}\n\n");
        assert_eq!(framed, wanted);
        assert_eq!(framing.heartbeat(), ":\n\n");
    }

    #[test]
    fn what_waits_is_one_array() {
        assert_eq!(array(&[]), "[]");
        let chunks = ["{\"a\":1}\n{\"b\":2}\n", "{\"c\":3}\n"].map(Bytes::from);
        assert_eq!(array(&chunks), r#"[{"a":1},{"b":2},{"c":3}]"#);
    }
}
