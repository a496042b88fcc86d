//! Bodies compressed with gzip (RFC 1952), on their way in and out.
//!
//! flowthings' Java client sends its bodies so and asks for answers in the same way. Knows bytes and
//! two headers, not what the bodies say. Invariants: what comes out of a stranger's bytes never takes
//! more room than a plain body may; neither way keeps a worker to itself.

use crate::domain::error::{Code, Refusal};
use crate::protocol::extract::{Headers, Value};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// Shorter answers go out as they are: what is saved is less than what it costs.
const LEAST_BYTES: usize = 1_024;
/// Level 1 leaves a quarter more in half the time, those above save next to nothing.
const LEVEL: u32 = 4;
/// What is packed or unpacked before others get a turn.
const TURN_BYTES: usize = 65_536;

/// Whether a body is packed, by the value of its `Content-Encoding`; refused with `body.encoding` if
/// in another way.
pub fn is_packed(coding: Option<Value<'_>>) -> Result<bool, Refusal> {
    let Some(coding) = coding else {
        return Ok(false);
    };
    let name = coding.text().unwrap_or_default().trim().to_ascii_lowercase();
    match &*name {
        "gzip" | "x-gzip" => Ok(true),
        "identity" => Ok(false),
        _ => {
            let text = "a body is plain or has the Content-Encoding gzip";
            Err(Refusal::new(Code::BodyEncoding, text))
        }
    }
}

/// What a packed body says. Refused with `limit.body` if that is more than `most` bytes, with
/// `body.malformed` if it is not what gzip makes.
pub async fn unpack(packed: &[u8], most: usize) -> Result<Bytes, Refusal> {
    let mut unpacker = MultiGzDecoder::new(packed).take(most as u64 + 1);
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    loop {
        let turn = unpacker.by_ref().take(TURN_BYTES as u64).read_to_end(&mut plain);
        let malformed = |_| {
            Refusal::new(
                Code::BodyMalformed,
                "the body is not what gzip makes, or ends too early",
            )
        };
        let count = turn.map_err(malformed)?;
        if plain.len() > most {
            let text = format!("a body has at most {most} bytes, unpacked");
            return Err(Refusal::new(Code::LimitBody, text));
        }
        if count < TURN_BYTES {
            return Ok(plain.into());
        }
        tokio::task::yield_now().await;
    }
}

/// An answer's body, packed.
pub async fn pack(plain: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(plain.len() / 2);
    let mut packer = GzEncoder::new(room, Compression::new(LEVEL));
    for part in plain.chunks(TURN_BYTES) {
        packer.write_all(part).expect("memory takes what is written to it");
        tokio::task::yield_now().await;
    }
    packer.finish().expect("memory takes what is written to it")
}

/// Whether whoever asks takes a packed answer.
pub fn is_wanted(headers: Headers<'_>) -> bool {
    headers
        .get(&ACCEPT_ENCODING)
        .and_then(Value::text)
        .is_some_and(takes_gzip)
}

/// `gzip`, or `*`, with a weight above 0 and none smaller than that of a plain body (RFC 9110 §12.5.3).
fn takes_gzip(accepted: &str) -> bool {
    let weight = |wanted: &[&str]| {
        let mut codings = accepted
            .split(',')
            .map(|coding| coding.split_once(';').unwrap_or((coding, "")));
        let (_, weight) = codings.find(|(name, _)| wanted.iter().any(|it| it.eq_ignore_ascii_case(name.trim())))?;
        let weight = weight.trim().strip_prefix("q=").or(weight.trim().strip_prefix("Q="));
        Some(weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0)))
    };
    let gzip: f32 = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight(&["identity"]).unwrap_or(0.0)
}

/// Packs what the `App` shows, where it is JSON, all there, long enough, and not packed already. Not what it
/// says of what was made or refused: whoever publishes without pause, maybe by the lane, is not to pay for it.
pub async fn answers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let wanted = is_wanted(Headers::Map(request.headers()));
    let response = next.call(request).await?;
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    // What varies already is a file, which has its own packed form.
    if !is_json || response.status() != StatusCode::OK || response.headers().contains_key(VARY) {
        return Ok(response.map_into_boxed_body());
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let body = match body.boxed().try_into_bytes() {
        Ok(plain) if plain.len() >= LEAST_BYTES => {
            response
                .headers_mut()
                .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            match wanted {
                true => {
                    response
                        .headers_mut()
                        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    BoxBody::new(pack(&plain).await)
                }
                false => BoxBody::new(plain),
            }
        }
        Ok(short) => BoxBody::new(short),
        Err(stream) => stream,
    };
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(task)
    }

    fn code(packed: &[u8], most: usize) -> Code {
        run(unpack(packed, most)).expect_err("a refusal").code
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = run(pack(&vec![b' '; 64 * 1_048_576]));
        assert!(bomb.len() < 1_048_576 / 4, "{}", bomb.len());
        assert_eq!(code(&bomb, 1_048_576), Code::LimitBody);
        let exact = run(pack(&[b'x'; 1_000]));
        assert_eq!(run(unpack(&exact, 1_000)).expect("room").len(), 1_000);
        assert_eq!(code(&exact, 999), Code::LimitBody);
    }

    #[test]
    fn what_is_not_gzip_is_refused() {
        let packed = run(pack(b"{\"elems\":{}}"));
        assert_eq!(code(b"{}", 100), Code::BodyMalformed);
        assert_eq!(code(b"", 100), Code::BodyMalformed);
        assert_eq!(code(&packed[..packed.len() - 1], 100), Code::BodyMalformed);
        let mut wrong = packed.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 0xff;
        assert_eq!(code(&wrong, 100), Code::BodyMalformed);
        let twice = [&packed[..], &packed[..]].concat();
        let plain = run(unpack(&twice, 100)).expect("two members are one body");
        assert_eq!(&plain[..], b"{\"elems\":{}}{\"elems\":{}}");
    }

    #[test]
    fn an_answer_is_packed_for_who_asks_for_it() {
        for yes in [
            "gzip",
            "GZIP, deflate",
            "deflate, gzip;q=0.5",
            "*",
            "gzip;q=1.0, identity; q=0.5",
            "x-gzip",
        ] {
            assert!(takes_gzip(yes), "{yes}");
        }
        for no in [
            "",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "*;q=0",
            "gzip;q=0, *",
            "identity, gzip;q=0.5",
            "gzipped",
        ] {
            assert!(!takes_gzip(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_unpacks(plain in proptest::collection::vec(any::<u8>(), 0..200_000)) {
            let packed = run(pack(&plain));
            let unpacked = run(unpack(&packed, plain.len())).expect("what was packed");
            prop_assert_eq!(&unpacked[..], &plain[..]);
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(plain) = run(unpack(&bytes, 1_000)) {
                prop_assert!(plain.len() <= 1_000);
            }
        }
    }
}
