//! Passwords made into what may be stored, and compared with it: Argon2id, on threads of its own.
//!
//! Hashing is slow and takes memory on purpose. Invariant: only a few are under way at once and a
//! bounded number waits; who has no password costs as long as who has another.

use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::person::Password;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// How many are under way at once, each with 19 MiB.
const AT_ONCE: usize = 2;
/// How many may wait for that.
const MOST_WAITING: usize = 64;
/// What no password was made into, for who has none.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c3RyZWFtZ2F0ZSBub2JvZHk$m7M0OwLDXYCEyJmSTnpWnS0MxHWFkE1nCHXl6xgMlXY";

/// The one place where passwords are hashed.
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// What to store of a password; refused with `limit.attempts` when too many wait.
    pub(super) async fn hash(&self, password: Password) -> Result<String, Error> {
        let made = self.in_turn(move || {
            let made = Argon2::default().hash_password(password.bytes());
            made.map(|hash| hash.to_string())
        });
        let failed = |error: argon2::password_hash::Error| Fault::Io(std::io::Error::other(error.to_string()));
        Ok(made.await?.map_err(failed)?)
    }

    /// Whether this is the password of which `stored` was made; refused as [`Passwords::hash`].
    pub(super) async fn is_right(&self, password: Password, stored: Option<String>) -> Result<bool, Error> {
        self.in_turn(move || {
            let hash = stored.as_deref().unwrap_or(NOBODYS);
            let parsed = PasswordHash::new(hash);
            let verified = parsed.map(|hash| Argon2::default().verify_password(password.bytes(), &hash).is_ok());
            verified.unwrap_or(false) && stored.is_some()
        })
        .await
    }

    /// The turn is given back when the work is done, whoever still waits for it.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let place = Place::take(&self.waiting)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        drop(place);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        Ok(done.await.map_err(|error| Fault::Io(error.into()))?)
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Refusal> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            let text = "too many people are signing in at once";
            return Err(Refusal::later(Code::LimitAttempts, text, 1));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::presented(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_right_or_wrong() {
        let passwords = Passwords::new();
        let stored = passwords.hash(password("correct horse")).await.expect("a hash");
        assert!(!stored.contains("correct"), "{stored}");
        let is_right = async |text: &str, stored: Option<&str>| {
            let judged = passwords.is_right(password(text), stored.map(str::to_owned));
            judged.await.expect("a judgement")
        };
        assert!(is_right("correct horse", Some(&stored)).await);
        assert!(!is_right("correct horsf", Some(&stored)).await);
        assert!(!is_right("correct horse", None).await);
        assert!(!is_right("correct horse", Some("not a hash")).await);
        assert_ne!(
            stored,
            passwords.hash(password("correct horse")).await.expect("a hash"),
            "salted"
        );
    }

    #[tokio::test]
    async fn who_has_no_password_costs_the_same() {
        let stored = Passwords::new().hash(password("correct horse")).await.expect("a hash");
        let nobodys = PasswordHash::new(NOBODYS).expect("it parses");
        let stored = PasswordHash::new(&stored).expect("it parses");
        assert_eq!(nobodys.params, stored.params);
        assert_eq!((nobodys.algorithm, nobodys.version), (stored.algorithm, stored.version));
        let length = |hash: &PasswordHash| hash.hash.as_ref().map(|output| output.len());
        assert_eq!(length(&nobodys), length(&stored));
    }

    #[test]
    fn not_too_many_wait() {
        let waiting = AtomicUsize::new(0);
        let places: Vec<_> = (0..MOST_WAITING).map(|_| Place::take(&waiting)).collect();
        assert!(places.iter().all(Result::is_ok));
        assert!(Place::take(&waiting).is_err() && Place::take(&waiting).is_err());
        drop(places);
        assert!(Place::take(&waiting).is_ok());
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }
}
