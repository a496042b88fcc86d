//! Connection tokens and channel tokens: HS512 JWTs that this server signs and reads itself.
//!
//! Claims are those that rootsocketjs decodes and obeys (jwt.ts, jwt.spec.ts), and `key`, the public
//! name of the token that asked for it. Pure: key and time are passed in. Invariants: the algorithm is
//! ours, whatever a header says; one kind is never taken for the other.

use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::ticket::{Ticket, TicketId};
use crate::protocol::channels::channel::Channel;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long either is good, in seconds (RootSocket's documentation, "Architecture").
pub const LIFE_S: u64 = 300;
/// Longest of ours, in bytes, and more.
const MAX_BYTES: usize = 2_048;

/// Signs tokens and reads them.
pub struct Seal([u8; 64]);

/// Whoever a token was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Stands for the company, 32 hexadecimal digits.
    pub application: &'a str,
    /// The token that asked for it.
    pub key: TokenKey,
}

/// What a token is worth beside its kind's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof<T> {
    /// Stands for the company.
    pub application: String,
    /// The token that asked for it.
    pub key: TokenKey,
    /// What it is good for.
    pub grants: T,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    exp: u64,
    application_identifier: String,
    id: String,
    allow_client_send: bool,
    allow_client_data: bool,
    allow_channel_subscription: bool,
    allow_channel_authorization: bool,
    category: ToConnect,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscribe {
    exp: u64,
    application_identifier: String,
    channel: String,
    category: ToSubscribe,
    key: String,
}

/// A connection token's kind.
#[derive(Serialize, Deserialize)]
enum ToConnect {
    #[serde(rename = "connect")]
    Connect,
}

/// A channel token's kind.
#[derive(Serialize, Deserialize)]
enum ToSubscribe {
    #[serde(rename = "subscription")]
    Subscription,
}

impl Seal {
    /// With a key of this purpose only, as long as the hash (RFC 7518 §3.2).
    pub fn new(key: [u8; 64]) -> Self {
        Self(key)
    }

    /// A token for one connection.
    pub fn connection(&self, holder: Holder, ticket: &Ticket, now_s: u64) -> String {
        self.sign(&Connect {
            exp: now_s + LIFE_S,
            application_identifier: holder.application.to_owned(),
            id: ticket.id.to_string(),
            allow_client_send: ticket.may_send,
            allow_client_data: true,
            allow_channel_subscription: ticket.may_subscribe,
            allow_channel_authorization: ticket.needs_authorization,
            category: ToConnect::Connect,
            key: holder.key.to_string(),
        })
    }

    /// A token to subscribe to a channel.
    pub fn channel(&self, holder: Holder, channel: &Channel, now_s: u64) -> String {
        self.sign(&Subscribe {
            exp: now_s + LIFE_S,
            application_identifier: holder.application.to_owned(),
            channel: channel.as_str().to_owned(),
            category: ToSubscribe::Subscription,
            key: holder.key.to_string(),
        })
    }

    /// Reads a connection token; refused with `ticket.refused` or `ticket.expired`.
    pub fn read_connection(&self, jwt: &str, now_s: u64) -> Result<Proof<Ticket>, Refusal> {
        let claims: Connect = self.read(jwt)?;
        check_time(claims.exp, now_s)?;
        let ticket = Ticket {
            id: TicketId::parse(&claims.id).ok_or_else(|| refused("its id is none"))?,
            user_agent: None,
            may_send: claims.allow_client_send,
            may_subscribe: claims.allow_channel_subscription,
            needs_authorization: claims.allow_channel_authorization,
        };
        proof(claims.application_identifier, &claims.key, ticket)
    }

    /// Reads a channel token: the name of the channel that it is for. Refused as above.
    pub fn read_channel(&self, jwt: &str, now_s: u64) -> Result<Proof<String>, Refusal> {
        let claims: Subscribe = self.read(jwt)?;
        check_time(claims.exp, now_s)?;
        proof(claims.application_identifier, &claims.key, claims.channel)
    }

    fn sign(&self, claims: &impl Serialize) -> String {
        let key = EncodingKey::from_secret(&self.0);
        encode(&Header::new(Algorithm::HS512), claims, &key).expect("claims are JSON, and any bytes are a key")
    }

    fn read<C: DeserializeOwned>(&self, jwt: &str) -> Result<C, Refusal> {
        if jwt.len() > MAX_BYTES {
            return Err(refused("it is too long"));
        }
        let mut validation = Validation::new(Algorithm::HS512);
        // Looked at by `check_time`, by the clock that made it.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let decoded = decode::<C>(jwt, &DecodingKey::from_secret(&self.0), &validation);
        let decoded = decoded.map_err(|error| {
            refused(match error.kind() {
                ErrorKind::InvalidSignature => "its signature is wrong",
                ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => "it is of another kind",
                _ => "it is no JWT, or of another algorithm",
            })
        })?;
        Ok(decoded.claims)
    }
}

fn check_time(expires_s: u64, now_s: u64) -> Result<(), Refusal> {
    if expires_s <= now_s {
        let text = "the token has expired: it was good for five minutes";
        return Err(Refusal::new(Code::TicketExpired, text));
    }
    Ok(())
}

fn proof<T>(application: String, key: &str, grants: T) -> Result<Proof<T>, Refusal> {
    let key = TokenKey::parse(key).map_err(|_| refused("its key is none"))?;
    Ok(Proof {
        application,
        key,
        grants,
    })
}

/// One text for all reasons; the reason is for the log.
fn refused(why: &str) -> Refusal {
    tracing::info!("a connection or channel token is refused: {why}");
    Refusal::new(Code::TicketRefused, "the token is not accepted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW_S: u64 = 1_649_958_671;
    const HOLDER: Holder = Holder {
        application: "0123456789abcdef0123456789abcdef",
        key: TokenKey([7; 8]),
    };

    fn seal() -> Seal {
        Seal::new([1; 64])
    }

    fn ticket() -> Ticket {
        Ticket {
            id: TicketId([0xab; 16]),
            user_agent: None,
            may_send: true,
            may_subscribe: true,
            needs_authorization: false,
        }
    }

    fn channel() -> Channel {
        Channel::parse("a.b").expect("a channel")
    }

    fn signed(algorithm: Algorithm, key: &[u8], claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).expect("a JWT")
    }

    fn claims() -> Value {
        json!({"exp": NOW_S + 1, "applicationIdentifier": HOLDER.application, "channel": "a.b",
            "category": "subscription", "key": HOLDER.key})
    }

    #[test]
    fn what_was_signed_is_read() {
        let jwt = seal().connection(HOLDER, &ticket(), NOW_S);
        let proof = seal().read_connection(&jwt, NOW_S + LIFE_S - 1).expect("good");
        assert_eq!((&*proof.application, proof.key), (HOLDER.application, HOLDER.key));
        assert_eq!(proof.grants, ticket());
        let jwt = seal().channel(HOLDER, &channel(), NOW_S);
        let proof = seal().read_channel(&jwt, NOW_S).expect("good");
        assert_eq!((proof.key, &*proof.grants), (HOLDER.key, "a.b"));
    }

    #[test]
    fn tokens_end_after_five_minutes() {
        let jwt = seal().connection(HOLDER, &ticket(), NOW_S);
        let refusal = seal().read_connection(&jwt, NOW_S + 300).expect_err("too late");
        assert_eq!(refusal.code, Code::TicketExpired);
        let jwt = seal().channel(HOLDER, &channel(), NOW_S);
        let refusal = seal().read_channel(&jwt, NOW_S + 300).expect_err("too late");
        assert_eq!(refusal.code, Code::TicketExpired);
    }

    #[test]
    fn one_kind_is_not_the_other() {
        let connection = seal().connection(HOLDER, &ticket(), NOW_S);
        let channel = seal().channel(HOLDER, &channel(), NOW_S);
        assert_eq!(
            seal().read_channel(&connection, NOW_S).expect_err("another kind").code,
            Code::TicketRefused
        );
        assert_eq!(
            seal().read_connection(&channel, NOW_S).expect_err("another kind").code,
            Code::TicketRefused
        );
    }

    #[test]
    fn nothing_but_our_own_signature_counts() {
        let good = signed(Algorithm::HS512, &[1; 64], &claims());
        assert!(seal().read_channel(&good, NOW_S).is_ok());
        let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts");
        };
        let mut bent = signature.to_owned();
        bent.replace_range(0..1, if signature.starts_with('A') { "B" } else { "A" });
        let mut widened = claims();
        widened["channel"] = json!("c");
        let widened = signed(Algorithm::HS512, &[2; 64], &widened);
        let widened = widened.split('.').nth(1).expect("claims");
        for bad in [
            signed(Algorithm::HS256, &[1; 64], &claims()),
            signed(Algorithm::HS384, &[1; 64], &claims()),
            signed(Algorithm::HS512, &[2; 64], &claims()),
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."),
            format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"),
            format!("{header}.{payload}.{bent}"),
            format!("{header}.{payload}."),
            format!("{header}.{payload}"),
            format!("{header}.{widened}.{signature}"),
            "x".to_owned(),
            String::new(),
            "x".repeat(MAX_BYTES + 1),
        ] {
            let refusal = seal().read_channel(&bad, NOW_S).expect_err(&bad);
            assert_eq!(refusal.code, Code::TicketRefused, "{bad}");
        }
    }

    #[test]
    fn claims_that_are_none_of_ours_are_refused() {
        for (name, value) in [
            ("key", json!("nobody")),
            ("exp", json!("soon")),
            ("category", json!("connect")),
            ("channel", Value::Null),
        ] {
            let mut claims = claims();
            claims[name] = value;
            let jwt = signed(Algorithm::HS512, &[1; 64], &claims);
            let refusal = seal().read_channel(&jwt, NOW_S).expect_err(name);
            assert_eq!(refusal.code, Code::TicketRefused, "{name}");
        }
    }

    /// rootsocketjs decodes the payload by hand and crashes where that fails: letters of base64url,
    /// a length that padding can mend, ASCII in it, and the three booleans.
    #[test]
    fn the_client_decodes_a_connection_token() {
        let jwt = seal().connection(HOLDER, &ticket(), NOW_S);
        let payload = jwt.split('.').nth(1).expect("claims");
        assert_ne!(payload.len() % 4, 1);
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).expect("base64");
        assert!(bytes.is_ascii());
        let text = std::str::from_utf8(&bytes).expect("text");
        assert_eq!(
            text,
            r#"{"exp":1649958971,"applicationIdentifier":"0123456789abcdef0123456789abcdef","id":"abababababababababababababababab","allowClientSend":true,"allowClientData":true,"allowChannelSubscription":true,"allowChannelAuthorization":false,"category":"connect","key":"k0707070707070707"}"#
        );
        let header = jwt.split('.').next().expect("a header");
        let header = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header).expect("base64");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        assert_eq!(header, json!({"alg": "HS512", "typ": "JWT"}));
    }
}
