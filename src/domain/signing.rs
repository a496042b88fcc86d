//! Keys that sign JWTs: what can be pasted, what of it is taken, and what it verifies.
//!
//! Invariant: a key is for one algorithm, and a private key never gets in.

use crate::domain::error::{Code, Refusal};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, crypto};
use serde_json::Value;

/// Shortest secret, in bytes.
const MIN_SECRET: usize = 32;
/// Longest material of any kind, in bytes.
const MAX_MATERIAL: usize = 16_384;
/// Bytes of the modulus of an RSA key; less can be broken, more costs whoever must verify.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// What stands around the modulus of such a key as it is stored in a PEM file.
const RSA_FRAME: std::ops::RangeInclusive<usize> = 10..=24;
/// Bytes of a point of P-256, not compressed.
const POINT: usize = 65;

/// How something can be signed; whatever else a JWT names is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

const ALGORITHMS: [(Algorithm, &str, jsonwebtoken::Algorithm); 4] = [
    (Algorithm::Hs256, "HS256", jsonwebtoken::Algorithm::HS256),
    (Algorithm::Hs512, "HS512", jsonwebtoken::Algorithm::HS512),
    (Algorithm::Rs256, "RS256", jsonwebtoken::Algorithm::RS256),
    (Algorithm::Es256, "ES256", jsonwebtoken::Algorithm::ES256),
];

impl Algorithm {
    /// Parses its word; refused with `body.malformed`.
    pub fn parse(word: &str) -> Result<Self, Refusal> {
        let found = ALGORITHMS.iter().find(|(_, name, _)| *name == word);
        let unknown = || malformed("\"algorithm\" is HS256, HS512, RS256 or ES256");
        found.map(|(algorithm, ..)| *algorithm).ok_or_else(unknown)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// What the library calls it.
    pub fn named(self) -> jsonwebtoken::Algorithm {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, jsonwebtoken::Algorithm) {
        let row = ALGORITHMS.iter().find(|(algorithm, ..)| *algorithm == self);
        row.expect("each algorithm has a row")
    }

    fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs512)
    }
}

/// What a signature is verified with, as it was given.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// A secret that both sides know.
    Secret(Vec<u8>),
    /// A public key in PEM.
    Pem(String),
    /// A public key as one JSON Web Key.
    Jwk(String),
}

impl Material {
    /// What was pasted: a secret, or a public key in PEM.
    pub fn pasted(text: &str, algorithm: Algorithm) -> Result<Self, Refusal> {
        let is_pem = text.trim_start().starts_with("-----BEGIN");
        match (algorithm.is_symmetric(), is_pem) {
            (true, false) => Ok(Self::Secret(text.as_bytes().to_vec())),
            (true, true) => Err(malformed(
                "this algorithm is for a secret, and what was pasted is a key in PEM",
            )),
            (false, true) if text.contains("PRIVATE KEY") => {
                Err(malformed("this is a private key: keep it, and paste the public one"))
            }
            (false, true) => Ok(Self::Pem(text.trim().to_owned())),
            (false, false) => Err(malformed("\"key\" is a public key in PEM: -----BEGIN PUBLIC KEY-----")),
        }
    }

    /// The key of a JSON Web Key Set that `kid` names, or its only one for the algorithm; and its own `kid`.
    pub fn from_set(set: &Value, algorithm: Algorithm, kid: Option<&str>) -> Result<(Self, Option<String>), Refusal> {
        let wrong = || malformed("\"jwks\" is {\"keys\":[…]}");
        let keys = set.get("keys").and_then(Value::as_array).ok_or_else(wrong)?;
        let fits = |key: &&Value| {
            let is_for = |name: &str, wanted: &str| key.get(name).is_none_or(|value| *value == wanted);
            let named = kid.is_none_or(|kid| key.get("kid").is_some_and(|own| *own == kid));
            named && is_for("alg", algorithm.word()) && is_for("use", "sig")
        };
        let mut fitting = keys.iter().filter(fits);
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            (Some(_), Some(_)) => {
                return Err(malformed("\"jwks\" has more than one such key: name one with \"kid\""));
            }
            (None, _) => return Err(malformed("\"jwks\" has no such key for this algorithm")),
        };
        if ["d", "p", "q"].iter().any(|secret| key.get(secret).is_some()) {
            return Err(malformed("this is a private key: keep it, and paste the public one"));
        }
        let own = key.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok((Self::jwk(key, algorithm)?, own))
    }

    fn jwk(key: &Value, algorithm: Algorithm) -> Result<Self, Refusal> {
        let jwk = parse_jwk(&key.to_string())?;
        match &jwk.algorithm {
            AlgorithmParameters::OctetKey(_) if algorithm.is_symmetric() => match DecodingKey::from_jwk(&jwk) {
                Ok(secret) => Ok(Self::Secret(secret.try_get_as_bytes().unwrap_or_default().to_vec())),
                Err(_) => Err(malformed("\"k\" of the key is not base64url")),
            },
            _ => Ok(Self::Jwk(key.to_string())),
        }
    }

    /// What verifies signatures; refused with `body.malformed` unless it is a sound key for the algorithm.
    pub fn decoding_key(&self, algorithm: Algorithm) -> Result<DecodingKey, Refusal> {
        let unsound = || malformed(format!("this is not a key for {}", algorithm.word()));
        let key = match (self, algorithm) {
            (Self::Secret(secret), Algorithm::Hs256 | Algorithm::Hs512) => DecodingKey::from_secret(secret),
            (Self::Pem(pem), Algorithm::Rs256) => DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| unsound())?,
            (Self::Pem(pem), Algorithm::Es256) => DecodingKey::from_ec_pem(pem.as_bytes()).map_err(|_| unsound())?,
            (Self::Jwk(jwk), _) => DecodingKey::from_jwk(&parse_jwk(jwk)?).map_err(|_| unsound())?,
            _ => return Err(unsound()),
        };
        check(&key, algorithm)?;
        // With a key of another kind the library does not even compare.
        crypto::verify("AAAA", b"probe", &key, algorithm.named()).map_err(|_| unsound())?;
        Ok(key)
    }

    /// How it is written down: a word for its form, and its bytes.
    pub fn stored(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Secret(secret) => ("secret", secret),
            Self::Pem(pem) => ("pem", pem.as_bytes()),
            Self::Jwk(jwk) => ("jwk", jwk.as_bytes()),
        }
    }

    /// What was written down, if it is any.
    pub fn read(form: &str, bytes: Vec<u8>) -> Option<Self> {
        match form {
            "secret" => Some(Self::Secret(bytes)),
            "pem" => String::from_utf8(bytes).ok().map(Self::Pem),
            "jwk" => String::from_utf8(bytes).ok().map(Self::Jwk),
            _ => None,
        }
    }
}

/// Refused unless it is long enough to be safe and short enough to be verified quickly.
fn check(key: &DecodingKey, algorithm: Algorithm) -> Result<(), Refusal> {
    let bytes = match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.iter().skip_while(|byte| **byte == 0).count(),
    };
    match (algorithm, key.kind()) {
        (Algorithm::Hs256 | Algorithm::Hs512, _) if !(MIN_SECRET..=MAX_MATERIAL).contains(&bytes) => {
            Err(malformed(format!("a secret has at least {MIN_SECRET} bytes")))
        }
        (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(_))
            if !(MODULUS.start() + RSA_FRAME.start()..=MODULUS.end() + RSA_FRAME.end()).contains(&bytes) =>
        {
            Err(rsa_size())
        }
        (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { .. }) if !MODULUS.contains(&bytes) => Err(rsa_size()),
        (Algorithm::Es256, _) if bytes != POINT => Err(malformed("an ES256 key is a point of the curve P-256")),
        _ => Ok(()),
    }
}

fn rsa_size() -> Refusal {
    malformed("an RSA key has 2048 to 4096 bits")
}

fn parse_jwk(text: &str) -> Result<Jwk, Refusal> {
    if text.len() > MAX_MATERIAL {
        return Err(malformed("this is no key: it is too long"));
    }
    serde_json::from_str(text).map_err(|_| malformed("this is not a JSON Web Key"))
}

fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::BodyMalformed, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EC_PUBLIC: &str = include_str!("../../tests/api/keys/ec.pub");

    fn sound(material: Result<Material, Refusal>, algorithm: Algorithm) -> bool {
        material.and_then(|material| material.decoding_key(algorithm)).is_ok()
    }

    #[test]
    fn a_secret_is_long_enough_and_no_key() {
        let pasted = |text: &str| Material::pasted(text, Algorithm::Hs256);
        assert!(sound(pasted(&"x".repeat(32)), Algorithm::Hs256));
        assert!(!sound(pasted(&"x".repeat(31)), Algorithm::Hs256));
        assert!(
            !sound(pasted(EC_PUBLIC), Algorithm::Hs256),
            "a public key is known to all"
        );
    }

    #[test]
    fn a_key_is_good_for_its_own_algorithm_only() {
        let pem = || Material::pasted(EC_PUBLIC, Algorithm::Es256);
        assert!(sound(pem(), Algorithm::Es256));
        assert!(!sound(pem(), Algorithm::Rs256));
        assert!(!sound(pem(), Algorithm::Hs256));
        assert!(!sound(Material::pasted("no key", Algorithm::Es256), Algorithm::Es256));
        let private = EC_PUBLIC.replace("PUBLIC", "PRIVATE");
        let refusal = Material::pasted(&private, Algorithm::Es256)
            .map(|_| ())
            .expect_err("private");
        assert!(refusal.text.contains("private"), "{refusal}");
    }

    #[test]
    fn one_key_is_taken_out_of_a_set() {
        let point = json!({"kty": "EC", "crv": "P-256", "kid": "a",
            "x": "PYk4G412TxY1Q8YPogWOwkoNMMVsE3KwhhfzR-LzWF0", "y": "Y4joa2LdABMRz9KL9RRPQYd4Mml_4BWlIjEr-PFJyLI"});
        let other = json!({"kty": "EC", "crv": "P-256", "kid": "b", "x": "AAAA", "y": "AAAA"});
        let set = json!({"keys": [point, other]});
        let from = |set: &Value, kid| Material::from_set(set, Algorithm::Es256, kid);
        let (material, kid) = from(&set, Some("a")).map_err(|refusal| refusal.text).expect("a key");
        assert_eq!(kid.as_deref(), Some("a"));
        assert!(sound(Ok(material), Algorithm::Es256));
        assert!(from(&set, None).is_err(), "which of the two?");
        assert!(from(&set, Some("c")).is_err());
        let (bad, _) = from(&set, Some("b")).map_err(|refusal| refusal.text).expect("a key");
        assert!(!sound(Ok(bad), Algorithm::Es256));
        let private = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "d": "AAAA"}]});
        assert!(from(&private, None).is_err());
        assert!(from(&json!([]), None).is_err());
    }

    #[test]
    fn short_rsa_keys_are_refused() {
        let key = |bytes: usize| {
            use base64::Engine;
            let n = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
            Material::Jwk(json!({"kty": "RSA", "n": n, "e": "AQAB"}).to_string())
        };
        assert!(sound(Ok(key(256)), Algorithm::Rs256));
        assert!(!sound(Ok(key(128)), Algorithm::Rs256));
        assert!(!sound(Ok(key(1_024)), Algorithm::Rs256));
        assert!(!sound(Ok(key(256)), Algorithm::Es256));
    }
}
