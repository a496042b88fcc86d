//! Outcomes as HTTP answers: the envelopes, and refusals and faults in either.
//!
//! Key order is that of the services whose protocols these are (session: founding documents;
//! REST: docs.octave.dev, flowthings' Head-Error.json). Invariant: a fault shows nothing of its
//! cause and is logged once, here.

use crate::domain::error::{Code, Error, Refusal};
use crate::metrics::Metrics;
use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use std::borrow::Cow;

/// How many there are in all of what an answer lists a part of.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// `messages[0]` of a success.
pub const PROCESSED: &str = "Your request has been processed successfully.";
/// `messages[0]` of a creation (docs.octave.dev, "Using the REST API in an External System").
const CREATED: &str = "Your request has been processed successfully. A new resource has been created.";

/// Which head an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `{"head":{"ok":…,"status":…,"errors":…},"body":…}`
    Session,
    /// `{"head":{"status":…,"ok":…,"messages":…,"errors":…,"references":{}},"body":…}`
    Rest,
    /// `{"detail":…,"code":…}` for a refusal, and a success as it is (rootsocket/front, utils/error.ts).
    Detail,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// `200`
    Processed,
    /// `201`
    Created,
}

/// A success: what was done, and JSON to tell of it.
pub struct Success {
    /// Which.
    pub done: Done,
    /// The body.
    pub body: String,
    /// An object of what the body refers to, where the envelope has a place for it.
    pub references: Cow<'static, str>,
    /// How many there are in all, where the body is a part of them.
    pub total: Option<usize>,
}

impl From<(Done, String)> for Success {
    fn from((done, body): (Done, String)) -> Self {
        Self {
            done,
            body,
            references: "{}".into(),
            total: None,
        }
    }
}

impl Envelope {
    /// The text of a success, put together without the machinery of `format!`: it is most answers.
    fn success(self, success: &Success) -> String {
        let Success {
            done, body, references, ..
        } = success;
        let (status, message) = match done {
            Done::Processed => ("200", PROCESSED),
            Done::Created => ("201", CREATED),
        };
        let parts: &[&str] = match self {
            Envelope::Session => &[
                r#"{"head":{"ok":true,"status":"#,
                status,
                r#","errors":[]},"body":"#,
                body,
                "}",
            ],
            Envelope::Detail => &[body],
            Envelope::Rest => &[
                r#"{"head":{"status":"#,
                status,
                r#","ok":true,"messages":[""#,
                message,
                r#""],"errors":[],"references":"#,
                references,
                r#"},"body":"#,
                body,
                "}",
            ],
        };
        parts.concat()
    }

    /// The text of a refusal; the code stands last in the head, behind what older clients know.
    pub fn failure(self, refusal: &Refusal) -> String {
        let entry = refusal.code.entry();
        let (status, code, text) = (entry.status, entry.code, quoted(&refusal.text));
        match self {
            Envelope::Session => {
                format!(r#"{{"head":{{"ok":false,"status":{status},"errors":[{text}],"code":"{code}"}},"body":{{}}}}"#)
            }
            Envelope::Detail => format!(r#"{{"detail":{text},"code":"{code}"}}"#),
            Envelope::Rest => format!(
                r#"{{"head":{{"status":{status},"ok":false,"messages":[],"errors":[{text}],"references":{{}},"code":"{code}"}},"body":{{}}}}"#
            ),
        }
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// An answer, before it is HTTP.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, which is JSON.
    pub text: String,
    /// After how many seconds to try again, where that can help.
    pub retry_after: Option<u32>,
    /// How many there are in all, where the body is a part of them.
    pub total: Option<usize>,
}

/// The answer to a request: what was done, or why not.
pub fn settle(metrics: &Metrics, envelope: Envelope, outcome: Result<impl Into<Success>, Error>) -> Answer {
    match outcome.map(Into::into) {
        Ok(success) => Answer {
            status: match success.done {
                Done::Processed => StatusCode::OK,
                Done::Created => StatusCode::CREATED,
            },
            text: envelope.success(&success),
            retry_after: None,
            total: success.total,
        },
        Err(error) => settle_refusal(metrics, envelope, &explain(metrics, error)),
    }
}

fn settle_refusal(metrics: &Metrics, envelope: Envelope, refusal: &Refusal) -> Answer {
    metrics.count_refusal(refusal.code);
    Answer {
        status: status(refusal.code),
        text: envelope.failure(refusal),
        retry_after: retry_after(refusal),
        total: None,
    }
}

/// The answer to a request of the `App`.
pub fn answer(metrics: &Metrics, envelope: Envelope, outcome: Result<impl Into<Success>, Error>) -> HttpResponse {
    settle(metrics, envelope, outcome).into()
}

/// The answer that refuses a request of the `App`.
pub fn refuse(metrics: &Metrics, envelope: Envelope, refusal: &Refusal) -> HttpResponse {
    settle_refusal(metrics, envelope, refusal).into()
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        let mut response = HttpResponse::with_body(answer.status, BoxBody::new(answer.text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(total) = answer.total {
            headers.insert(TOTAL, HeaderValue::from(total));
        }
        if let Some(seconds) = answer.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The HTTP status of a refusal.
pub fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// When to try again, where that can help.
pub fn retry_after(refusal: &Refusal) -> Option<u32> {
    let may_help = refusal.code.entry().retry;
    may_help.then(|| refusal.wait_s.unwrap_or(1))
}

/// What the client may know of an error; a fault is logged.
pub fn explain(metrics: &Metrics, error: Error) -> Refusal {
    match error {
        Error::Refusal(refusal) => refusal,
        Error::Fault(fault) => {
            metrics.faults.inc();
            tracing::error!("{fault}");
            if fault.is_full_disk() {
                return Refusal::new(Code::LogFull, "the server's disk is full");
            }
            Refusal::new(Code::ServerFault, "something went wrong on our side")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_have_the_documented_key_order() {
        let created = Envelope::Session.success(&(Done::Created, r#"{"id":"x"}"#.to_owned()).into());
        assert_eq!(
            created,
            r#"{"head":{"ok":true,"status":201,"errors":[]},"body":{"id":"x"}}"#
        );
        let created = Envelope::Rest.success(&(Done::Created, "{}".to_owned()).into());
        let head = r#"{"status":201,"ok":true,"messages":["Your request has been processed successfully. A new resource has been created."],"errors":[],"references":{}}"#;
        assert_eq!(created, format!(r#"{{"head":{head},"body":{{}}}}"#));
    }

    #[test]
    fn a_refusal_is_quoted_and_has_its_code_last() {
        let refusal = Refusal::new(Code::StreamUnknown, "no \"stream\"");
        let head = r#"{"ok":false,"status":404,"errors":["no \"stream\""],"code":"stream.unknown"}"#;
        assert_eq!(
            Envelope::Session.failure(&refusal),
            format!(r#"{{"head":{head},"body":{{}}}}"#)
        );
        let detail = r#"{"detail":"no \"stream\"","code":"stream.unknown"}"#;
        assert_eq!(Envelope::Detail.failure(&refusal), detail);
    }
}
