//! Back ends that sign for themselves: keys are added and revoked, and JWTs open sessions.
//!
//! Invariants: the key decides the algorithm, never the JWT; whoever it is signed for may do no
//! more than the key; why a JWT is refused is for the log, not for whoever sent it.

use crate::broker::Broker;
use crate::catalogue::{ListedKey, NewKey, SigningKey};
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::scope::{Scope, ScopeJson};
use crate::domain::token::{Access, Means};
use crate::domain::visitor::Visitor;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, dangerous, decode, decode_header};
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use std::time::Duration;

/// How far another clock may be off, in seconds.
const SKEW_S: u64 = 60;
/// Longest JWT, in bytes.
const MAX_BYTES: usize = 8_192;

/// What a JWT says, beside what the library looks at by itself.
#[derive(Deserialize)]
struct Claims {
    company: String,
    exp: f64,
    iat: Option<f64>,
    /// `null` is refused, for it would narrow to nothing less.
    #[serde(default, deserialize_with = "not_null")]
    paths: Option<ScopeJson>,
    ttl: Option<u64>,
}

fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// All that is looked at before the signature: whose keys to try.
#[derive(Deserialize)]
struct Claimed {
    company: String,
}

impl Broker {
    /// Whoever a JWT was signed for, and how long their session may last without a connection.
    ///
    /// Refused with `jwt.refused` or `jwt.expired`, and with `scope.denied` for more than the key may do.
    pub fn sign_in_with(&self, jwt: &str, visitor: &Visitor) -> Result<(Access, Duration), Refusal> {
        let (key, claims) = self.verified(jwt)?;
        let token = self
            .catalogue
            .token(key.token)
            .map_err(|_| refused("its key has ended"))?;
        if claims.company != token.company.as_str() {
            return Err(refused("its key is another company's"));
        }
        let scope = match &claims.paths {
            Some(paths) => Scope::parse(paths, &token.company, self.limits.max_patterns)?,
            None => token.scope.clone(),
        };
        if !token.scope.covers(&scope) {
            let text = "\"paths\" asks for more than the signing key may do";
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        let narrowed = Some(Arc::new(scope));
        let access = Access {
            token,
            narrowed,
            address: visitor.address,
            means: Means::Token,
        };
        Ok((access, claims.ttl.map_or(self.sessions.ttl(), Duration::from_secs)))
    }

    /// The key that signed it, and what it says.
    fn verified(&self, jwt: &str) -> Result<(Arc<SigningKey>, Claims), Refusal> {
        if jwt.len() > MAX_BYTES {
            return Err(refused("it is too long"));
        }
        let header = decode_header(jwt).map_err(|error| refused(reason(&error)))?;
        let claimed: Claimed = dangerous::insecure_decode_claims(jwt).map_err(|error| refused(reason(&error)))?;
        let mut why = "no key of the company is meant";
        for key in self.catalogue.signing_keys(&claimed.company, header.kid.as_deref()) {
            if key.algorithm.named() != header.alg {
                continue;
            }
            match decode::<Claims>(jwt, &key.verifies, &validation(&key)) {
                Ok(decoded) => {
                    self.check_times(&decoded.claims)?;
                    return Ok((key, decoded.claims));
                }
                // The signature was right, so another key's is not.
                Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => {
                    let text = "the JWT has expired";
                    return Err(Refusal::new(Code::JwtExpired, text));
                }
                Err(error) => why = reason(&error),
            }
        }
        Err(refused(why))
    }

    /// Refused unless it was made by now and ends within the time that is allowed.
    fn check_times(&self, claims: &Claims) -> Result<(), Refusal> {
        let now_s = (now_ms() / 1_000 + SKEW_S) as f64;
        let most_s = now_s + self.limits.jwt_max_age.as_secs() as f64;
        if claims.exp > most_s {
            return Err(refused("it lasts longer than STREAMGATE_JWT_MAX_AGE"));
        }
        if claims.iat.is_some_and(|iat| iat > now_s) {
            return Err(refused("it was made in the future"));
        }
        Ok(())
    }

    /// A company's signing keys, good or not, the newest first. For users who manage.
    pub async fn list_keys(&self, access: &Access) -> Result<Vec<ListedKey>, Error> {
        access.require_managing()?;
        Ok(self.catalogue.list_keys(access.token.company_id).await?)
    }

    /// Adds a signing key. For users who manage.
    pub async fn add_key(&self, access: &Access, new: &NewKey) -> Result<ListedKey, Error> {
        access.require_managing()?;
        self.limits.check_text("a label", &new.label)?;
        self.limits
            .check_text("a kid", new.kid.as_deref().unwrap_or_default())?;
        new.material.decoding_key(new.algorithm)?;
        let key = self
            .catalogue
            .add_key(access.token.company_id, new, &access.actor())
            .await?;
        self.follow_changes().await?;
        let added = self.catalogue.list_keys(access.token.company_id).await?.into_iter();
        let lost = || Fault::Io(std::io::Error::other("the key that was added is not there"));
        Ok(added
            .into_iter()
            .find(|listed| listed.token.key == key)
            .ok_or_else(lost)?)
    }

    /// Revokes a signing key and ends the sessions that it opened; refused with `token.unknown`. For
    /// users who manage.
    pub async fn remove_key(&self, access: &Access, key: TokenKey) -> Result<(), Error> {
        access.require_managing()?;
        if !self.catalogue.is_key(access.token.company_id, key).await? {
            return Err(Refusal::new(Code::TokenUnknown, format!("no signing key {key}")).into());
        }
        self.catalogue
            .remove_key(access.token.company_id, key, &access.actor())
            .await?;
        Ok(self.follow_changes().await?)
    }
}

fn validation(key: &SigningKey) -> Validation {
    let mut validation = Validation::new(key.algorithm.named());
    validation.leeway = SKEW_S;
    validation.validate_nbf = true;
    // Whom it is for is said by "company", which the key must be of.
    validation.validate_aud = false;
    validation
}

/// What is wrong with a JWT, without a word of what is in it.
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ImmatureSignature => "its time has not come yet",
        ErrorKind::MissingRequiredClaim(_) => "\"exp\" is missing",
        ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => "its header or claims are not understood",
        _ => "it is no JWT, or of an algorithm that is not known here",
    }
}

/// One text for all reasons; the reason is for the log.
fn refused(why: &str) -> Refusal {
    tracing::info!("a JWT is refused: {why}");
    Refusal::new(Code::JwtRefused, "the JWT is not accepted")
}
