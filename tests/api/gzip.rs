//! Bodies packed with gzip, both ways: what flowthings' Java client sends and asks for.

use crate::stage::{Account, DEADLINE, Stage};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, VARY};
use std::io::Read;

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = GzEncoder::new(plain, Compression::best());
    encoder.read_to_end(&mut packed).expect("bytes");
    packed
}

fn unpacked(packed: &[u8]) -> String {
    let mut plain = String::new();
    GzDecoder::new(packed).read_to_string(&mut plain).expect("gzip");
    plain
}

/// What somebody is answered: status, head, body.
async fn ask(
    stage: &Stage,
    method: &str,
    path: &str,
    account: &Account,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, HeaderMap, Vec<u8>) {
    let method = method.parse().expect("a method");
    let mut request = stage.http.request(method, format!("http://{}{path}", stage.address));
    request = request
        .header("X-Auth-Company", &account.company)
        .header("X-Auth-Token", &account.token);
    if let Some(user) = &account.user {
        request = request.header("X-Auth-User", user);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.timeout(DEADLINE).body(body).send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.expect("a body").to_vec())
}

async fn post(stage: &Stage, path: &str, coding: &str, body: Vec<u8>) -> (u16, String) {
    let headers = [("Content-Encoding", coding)];
    let (status, _, body) = ask(stage, "POST", path, &stage.alice, &headers, body).await;
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let code = json["head"]["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_packed_on_every_route_that_takes_one() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let event = br#"{"path":"/acme/door","elems":{"n":1}}"#;
    for (path, body) in [
        ("/v5.0/acme/event", &event[..]),
        (
            &format!("/v5.0/acme/event/{id}"),
            br#"[{"elems":{"n":2}},{"elems":{"n":3}}]"#,
        ),
        ("/v5.0/acme/stream", br#"{"path":"/acme/other"}"#),
        ("/v5.0/acme/token", br#"{"paths":{"/acme/door":{"read":true}}}"#),
        ("/session", br#"{"ttl":30}"#),
        ("/session", b""),
    ] {
        for coding in ["gzip", "GZIP"] {
            let told = post(&stage, path, coding, packed(body)).await;
            let twice = path.ends_with("/stream") && coding == "GZIP";
            assert_eq!(told.0, if twice { 409 } else { 201 }, "{path}: {told:?}");
        }
    }
    assert_eq!(
        stage.find_numbers("/v5.0/acme/event?path=/acme/door&order=asc").await,
        [1, 1, 2, 3, 2, 3]
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_body_counts_as_what_it_unpacks_to() {
    let stage = Stage::with(&["--max-body-bytes", "100000"]).await;
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let bomb = packed(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    for path in ["/v5.0/acme/event", "/session"] {
        assert_eq!(
            post(&stage, path, "gzip", bomb.clone()).await,
            refused(413, "limit.body")
        );
        let whole = packed(b"{}");
        let half = whole[..whole.len() / 2].to_vec();
        assert_eq!(post(&stage, path, "gzip", half).await, refused(400, "body.malformed"));
        let plain = b"{}".to_vec();
        assert_eq!(post(&stage, path, "gzip", plain).await, refused(400, "body.malformed"));
        for other in ["deflate", "br", "gzip, gzip", "zstd"] {
            let told = post(&stage, path, other, packed(b"{}")).await;
            assert_eq!(told, refused(415, "body.encoding"), "{other}");
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_are_packed_for_who_takes_it() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 100).await;
    stage.publish_numbers(&id, 0..30).await;
    let path = format!("/v5.0/acme/event/{id}?limit=30");
    let get = async |accepted: &str, path: &str| {
        let headers = [("Accept-Encoding", accepted)];
        ask(&stage, "GET", path, &stage.alice, &headers, Vec::new()).await
    };
    let (status, headers, plain) = get("identity", &path).await;
    assert_eq!((status, headers.get(CONTENT_ENCODING)), (200, None));
    assert!(headers[VARY].to_str().expect("text").contains("Accept-Encoding"));
    let (status, headers, body) = get("gzip, deflate", &path).await;
    assert_eq!(
        (status, &headers[CONTENT_ENCODING]),
        (200, &"gzip".parse().expect("a value"))
    );
    assert_eq!(headers[CONTENT_LENGTH].to_str().expect("text"), body.len().to_string());
    assert!(headers[VARY].to_str().expect("text").contains("Accept-Encoding"));
    assert!(body.len() < plain.len() / 3, "{} of {}", body.len(), plain.len());
    assert_eq!(unpacked(&body).as_bytes(), plain);
    // What is short is not worth it, and what has a packed form of its own is not packed twice.
    let (_, headers, short) = get("gzip", "/health/live").await;
    assert_eq!(
        (headers.get(CONTENT_ENCODING), &short[..]),
        (None, &br#"{"ok":true}"#[..])
    );
    let (_, headers, document) = get("gzip", "/openapi.json").await;
    assert_eq!(headers.get_all(CONTENT_ENCODING).iter().count(), 1);
    assert!(unpacked(&document).starts_with(r#"{"openapi":"#));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_is_packed_by_neither_way() {
    let stage = Stage::start().await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 100).await;
    let body = format!("[{}]", vec![r#"{"elems":{"open":true}}"#; 20].join(","));
    let path = format!("/v5.0/acme/event/{id}");
    for accepted in ["gzip", "identity"] {
        let mut told = Vec::new();
        // The second of each is sent in a way that only the `App` reads.
        for coding in [None, Some(("Content-Encoding", "identity"))] {
            let headers: Vec<_> = [("Accept-Encoding", accepted)].into_iter().chain(coding).collect();
            let (status, head, body) =
                ask(&stage, "POST", &path, &stage.alice, &headers, body.clone().into_bytes()).await;
            let text = String::from_utf8(body).expect("text");
            assert!(
                text.len() > 1_024 && text.contains(r#""elems":{"open":true}"#),
                "{text}"
            );
            told.push((status, head.get(CONTENT_ENCODING).cloned(), head[VARY].clone()));
        }
        assert_eq!(told[0], told[1], "{accepted}");
        assert_eq!((told[0].0, &told[0].1), (201, &None), "{accepted}");
    }
    stage.end().await;
}
