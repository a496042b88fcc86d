//! HTTP/1.1 as far as the lane understands it: two kinds of requests, whole, and plain answers.
//!
//! Pure. Invariant: a request is understood only if there is no doubt where its body ends and
//! nothing in its head that would have it answered otherwise; RFC 9112 has more than is known here, and
//! that is left to who knows it.

use crate::protocol::reply::Answer;
use httparse::Header;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most fields of a head.
const MAX_FIELDS: usize = 32;
/// Most bytes of a request.
const MAX_BYTES: usize = 65_536;
/// Room for the fields of a head.
pub const FIELDS: [MaybeUninit<Header<'static>>; MAX_FIELDS] = [const { MaybeUninit::uninit() }; MAX_FIELDS];

/// What the head of every answer ends with, as the `App` has it for a request without an origin.
const SAME: &[u8] = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n\
    access-control-expose-headers: retry-after\r\ndate: ";

/// Fields that have a request answered otherwise, or its body end elsewhere.
const UNUSUAL: [&str; 6] = [
    "origin",
    "expect",
    "upgrade",
    "transfer-encoding",
    "content-encoding",
    "cookie",
];

/// What has come.
pub enum Parsed<'a> {
    /// A request of the lane, with its body.
    Whole(Request<'a>),
    /// The beginning of what may be one.
    Part,
    /// Something else.
    Other,
}

/// A request.
pub struct Request<'a> {
    /// What is wanted.
    pub errand: Errand<'a>,
    /// The fields of its head.
    pub fields: &'a [Header<'a>],
    /// Its body.
    pub body: &'a [u8],
    /// How many bytes all of it is.
    pub length: usize,
}

/// What an address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand<'a> {
    /// `POST /session`
    Open,
    /// `POST /v5.0/<company>/event[/<stream>][?<query>]`
    Publish {
        /// The company.
        company: &'a str,
        /// The stream's id.
        stream: Option<&'a str>,
        /// The query string.
        query: &'a str,
    },
}

impl<'a> Errand<'a> {
    fn parse(target: &'a str) -> Option<Self> {
        // What else may stand in an address is read in more than one way.
        let is_clear = |byte: u8| byte.is_ascii_graphic() && !b"#<>`".contains(&byte);
        if !target.bytes().all(is_clear) {
            return None;
        }
        if target == "/session" {
            return Some(Self::Open);
        }
        let (path, query) = cut(target, b'?').unwrap_or((target, ""));
        let (company, rest) = cut(path.strip_prefix("/v5.0/")?, b'/')?;
        let stream = match rest.strip_prefix("event")? {
            "" => None,
            stream => Some(stream.strip_prefix('/')?),
        };
        let is_plain = |segment: &str| !segment.is_empty() && !segment.bytes().any(|byte| b"/%".contains(&byte));
        let plain = is_plain(company) && stream.is_none_or(is_plain);
        plain.then_some(Self::Publish { company, stream, query })
    }

    /// As the `App` calls it.
    pub fn route(&self) -> &'static str {
        match self {
            Self::Open => "/session",
            Self::Publish { stream: None, .. } => "/v5.0/{company}/event",
            Self::Publish { stream: Some(_), .. } => "/v5.0/{company}/event/{id}",
        }
    }
}

fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// Looks at what has come. Longer bodies than `most` are for others to refuse.
pub fn parse<'a>(bytes: &'a [u8], fields: &'a mut [MaybeUninit<Header<'a>>], most: usize) -> Parsed<'a> {
    let mut head = httparse::Request::new(&mut []);
    let start = match head.parse_with_uninit_headers(bytes, fields) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) => return part(&head, bytes.len()),
        Err(_) => return Parsed::Other,
    };
    let (Some("POST"), Some(target), Some(1)) = (head.method, head.path, head.version) else {
        return Parsed::Other;
    };
    let fields = &*head.headers;
    let (Some(errand), Some(body)) = (Errand::parse(target), body_length(fields)) else {
        return Parsed::Other;
    };
    let length = start.saturating_add(body);
    if body > most || length > MAX_BYTES {
        return Parsed::Other;
    }
    match bytes.get(start..length) {
        Some(body) => Parsed::Whole(Request {
            errand,
            fields,
            body,
            length,
        }),
        None => Parsed::Part,
    }
}

/// What is not the lane's from its first line on goes on at once; a head is no longer than it may be elsewhere.
fn part<'a>(head: &httparse::Request, count: usize) -> Parsed<'a> {
    let may_be = head.method.is_none_or(|method| method == "POST")
        && head.path.is_none_or(|target| Errand::parse(target).is_some());
    match may_be && count < MAX_BYTES / 4 {
        true => Parsed::Part,
        false => Parsed::Other,
    }
}

/// How long the body is, if there is no doubt and nothing else is unusual.
fn body_length(fields: &[Header]) -> Option<usize> {
    let (mut length, mut hosts) = (None, 0);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let closes = is("connection") && !field.value.eq_ignore_ascii_case(b"keep-alive");
        if closes || UNUSUAL.iter().any(|name| is(name)) {
            return None;
        }
        hosts += usize::from(is("host"));
        if is("content-length") {
            let digits = std::str::from_utf8(field.value).ok()?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            // Said twice it may mean two things.
            if !is_number || length.replace(digits.parse().ok()?).is_some() {
                return None;
            }
        }
    }
    (hosts == 1).then(|| length.unwrap_or(0))
}

/// Writes an answer: packed, if that is given. `varies` if it would be packed for others.
pub fn put(out: &mut Vec<u8>, answer: &Answer) {
    let body = answer.text.as_bytes();
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let mut number = itoa::Buffer::new();
    let parts: [&[u8]; 6] = [
        b"HTTP/1.1 ",
        answer.status.as_str().as_bytes(),
        b" ",
        reason.as_bytes(),
        b"\r\ncontent-length: ",
        number.format(body.len()).as_bytes(),
    ];
    parts.iter().for_each(|part| out.extend_from_slice(part));
    if let Some(seconds) = answer.retry_after {
        out.extend_from_slice(b"\r\nretry-after: ");
        out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    }
    out.extend_from_slice(b"\r\ncontent-type: application/json\r\nvary: ");
    out.extend_from_slice(SAME);
    put_date(out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// The date is written anew once a second.
fn put_date(out: &mut Vec<u8>) {
    thread_local!(static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) });
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    WRITTEN.with_borrow_mut(|(second, text)| {
        if *second != since || text.is_empty() {
            *second = since;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;

    fn parsed(bytes: &[u8]) -> Result<(usize, String), bool> {
        let mut fields = FIELDS;
        match parse(bytes, &mut fields, MAX_BYTES) {
            Parsed::Whole(request) => Ok((request.length, String::from_utf8_lossy(request.body).into_owned())),
            Parsed::Part => Err(true),
            Parsed::Other => Err(false),
        }
    }

    #[test]
    fn the_lane_is_for_two_kinds_of_plain_addresses() {
        let publish = |company, stream, query| Some(Errand::Publish { company, stream, query });
        assert_eq!(Errand::parse("/session"), Some(Errand::Open));
        assert_eq!(Errand::parse("/v5.0/acme/event"), publish("acme", None, ""));
        let target = "/v5.0/acme/event/s1?ack=durable";
        assert_eq!(Errand::parse(target), publish("acme", Some("s1"), "ack=durable"));
        for other in [
            "/session/",
            "/session?x",
            "/session/x/ws",
            "/v5.0/acme/event/",
            "/v5.0//event",
            "/v5.0/acme/events",
            "/v5.0/acme/event/s1/e1",
            "/v5.0/acme/event/%73",
            "/v5.0/acme/stream",
            "*",
            "http://x/session",
            "/v5.0/acme/event?ack=durable#x",
            "/v5.0/acme/event?<",
            "/v5.0/acm\u{e9}/event",
        ] {
            assert_eq!(Errand::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_request_is_taken_when_all_of_it_is_there() {
        let whole = b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n{}POST";
        for end in 0..whole.len() - 4 {
            assert_eq!(parsed(&whole[..end]), Err(true), "{end}");
        }
        let length = whole.len() - 4;
        assert_eq!(parsed(whole), Ok((length, "{}".to_owned())));
    }

    #[test]
    fn what_is_unusual_is_for_others() {
        let head = |line: &str| format!("POST /session HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
        assert_eq!(parsed(head("Accept: a/b").as_bytes()), Ok((48, String::new())));
        for line in [
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length:",
            "Content-Length: 65536",
            "Content-Length: 99999999999999999999999",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "Connection: keep-alive, upgrade",
            "Expect: 100-continue",
            "ORIGIN: https://app.example.com",
            "Cookie: streamgate=x",
            "Content-Encoding: gzip",
            "Upgrade: h2c",
            "Bad Header: x",
            "HOST: y",
        ] {
            assert_eq!(parsed(head(line).as_bytes()), Err(false), "{line}");
        }
        for start in [
            "POST /session HTTP/1.1\r\nAccept: a/b\r\n\r\n",
            "GET /session HTTP/1.1\r\n\r\n",
            "POST /session HTTP/1.0\r\n\r\n",
            "GET /session/x",
            "PUT ",
            "\u{16}\u{3}\u{1}",
            "POST /v5.0/acme/stream HTTP/1.1\r\n",
        ] {
            assert_eq!(parsed(start.as_bytes()), Err(false), "{start}");
        }
        let many = "a: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(parsed(head(&many).as_bytes()), Err(false));
        let long = format!("POST /session HTTP/1.1\r\na: {}", "b".repeat(MAX_BYTES / 4));
        assert_eq!(parsed(long.as_bytes()), Err(false));
        let (body, mut fields) = (head("Content-Length: 2") + "{}", FIELDS);
        assert!(matches!(parse(body.as_bytes(), &mut fields, 1), Parsed::Other));
    }

    #[test]
    fn an_answer_is_plain_http() {
        let answer = Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            text: "{}".to_owned(),
            retry_after: Some(3),
            total: None,
        };
        let mut out = Vec::new();
        put(&mut out, &answer);
        let text = String::from_utf8(out).expect("text");
        let start = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\nretry-after: 3\r\ncontent-type: application/json\r\nvary: ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with(" GMT\r\n\r\n{}"), "{text}");
    }
}
