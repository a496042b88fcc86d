//! Sessions: issuing ids that prove themselves, and knowing which are alive.
//!
//! A plain session needs no storage until something connects. Remembered are: sessions with a
//! connection, those lately closed, and those that were narrowed or have their own ttl. An id
//! that says it is remembered and is not has lapsed, so a restart never widens one. Invariant:
//! the table is bounded, and swept of what has lapsed.

pub mod pipe;
pub mod standing;

use crate::domain::error::{Code, Refusal};
use crate::domain::id::TokenKey;
use crate::domain::scope::Scope;
use crate::domain::session_id::SessionId;
use crate::metrics::Metrics;
use crate::sessions::standing::Belongings;
use foldhash::fast::RandomState;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is in force for sessions.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a session without a connection lasts, unless it has its own time.
    pub ttl: Duration,
    /// The longest a session may ask for.
    pub ttl_max: Duration,
    /// How many are remembered at once.
    pub most: usize,
    /// How many of them may be one token's.
    pub most_each: usize,
    /// How many subscriptions of sockets that have ended are kept, all sessions together.
    pub most_kept: usize,
    /// How many of them may be one session's.
    pub most_kept_each: usize,
}

/// What is asked for beyond a plain session.
#[derive(Default)]
pub struct Wishes {
    /// Less than the token may do.
    pub scope: Option<Arc<Scope>>,
    /// Another time to live.
    pub ttl: Option<Duration>,
}

/// All sessions of a server.
pub struct Sessions {
    mac: Hmac<Sha256>,
    table: Mutex<Table>,
    /// Counts up from a random start, so that no two ids of a second are the same.
    next_nonce: AtomicU32,
    terms: Terms,
    clock: SteadyClock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionId, Remembered, RandomState>,
    /// How many of them each token has.
    by_token: HashMap<TokenKey, usize, RandomState>,
    /// Subscriptions that sessions keep of sockets that have ended.
    kept: standing::Counts,
}

struct Remembered {
    scope: Option<Arc<Scope>>,
    ttl_ms: u64,
    connections: u32,
    /// When it lapses, unless it has a connection.
    lapses_ms: u64,
    /// What few have.
    belongings: Option<Box<Belongings>>,
}

/// The wall clock at the start, then only forward: a clock that jumps lapses nobody.
struct SteadyClock {
    start_ms: u64,
    start: Instant,
}

impl SteadyClock {
    fn now_ms(&self) -> u64 {
        self.start_ms + ms(self.start.elapsed())
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Sessions {
    /// Signs with `mac`, which must be a key of this purpose only.
    pub fn new(mac: Hmac<Sha256>, terms: Terms, start_ms: u64, metrics: Arc<Metrics>) -> Self {
        let start = Instant::now();
        Self {
            mac,
            table: Mutex::default(),
            next_nonce: AtomicU32::new(rand::random()),
            terms,
            clock: SteadyClock { start_ms, start },
            metrics,
        }
    }

    /// How long a session lasts that has no time of its own.
    pub fn ttl(&self) -> Duration {
        self.terms.ttl
    }

    /// A new session of a token; refused with `limit.sessions`, or `body.malformed` for a bad ttl.
    pub fn issue(&self, token: TokenKey, wishes: Wishes) -> Result<SessionId, Refusal> {
        let ttl = wishes.ttl.unwrap_or(self.terms.ttl);
        if ttl.is_zero() || ttl > self.terms.ttl_max {
            let text = format!("\"ttl\" is 1 to {} seconds", self.terms.ttl_max.as_secs());
            return Err(Refusal::new(Code::BodyMalformed, text));
        }
        let lapses_ms = self.clock.now_ms() + ms(ttl);
        let is_plain = wishes.scope.is_none() && wishes.ttl.is_none();
        let id = self.sign(token, lapses_ms, !is_plain);
        if !is_plain {
            let scope = wishes.scope;
            let (ttl_ms, connections) = (ms(ttl), 0);
            self.remember(
                &mut self.table.lock(),
                id,
                Remembered {
                    scope,
                    ttl_ms,
                    connections,
                    lapses_ms,
                    belongings: None,
                },
            )?;
        }
        self.metrics.sessions_issued.inc();
        Ok(id)
    }

    /// Refused with `session.unknown` unless the id is one of ours.
    pub fn verify(&self, id: &SessionId) -> Result<(), Refusal> {
        let genuine = self.mac_of(id.signed_part()).verify_truncated_left(id.mac());
        genuine.map_err(|_| Refusal::new(Code::SessionUnknown, "no such session"))
    }

    /// Counts a connection of a verified session in; returns what the session was narrowed to.
    ///
    /// Refused with `session.lapsed` or `limit.sessions`.
    pub fn enter(&self, id: &SessionId) -> Result<Option<Arc<Scope>>, Refusal> {
        let lapsed = || Refusal::new(Code::SessionLapsed, "the session has lapsed");
        let now_ms = self.clock.now_ms();
        let mut table = self.table.lock();
        if let Some(known) = table.sessions.get_mut(id) {
            if known.connections == 0 && known.lapses_ms <= now_ms {
                return Err(lapsed());
            }
            known.connections += 1;
            return Ok(known.scope.clone());
        }
        if id.is_remembered() || u64::from(id.expires_s()) * 1_000 <= now_ms {
            return Err(lapsed());
        }
        let ttl_ms = ms(self.terms.ttl);
        let (scope, connections, lapses_ms) = (None, 1, now_ms);
        let session = Remembered {
            scope,
            ttl_ms,
            connections,
            lapses_ms,
            belongings: None,
        };
        self.remember(&mut table, *id, session)?;
        Ok(None)
    }

    /// Counts a connection out; after the last one the session lasts its ttl again.
    pub fn leave(&self, id: &SessionId) {
        if let Some(known) = self.table.lock().sessions.get_mut(id) {
            known.connections = known.connections.saturating_sub(1);
            known.lapses_ms = self.clock.now_ms() + known.ttl_ms;
        }
    }

    /// Forgets what has lapsed.
    pub fn sweep(&self) {
        let now_ms = self.clock.now_ms();
        // Goes after the lock does: streams may end by it.
        let mut forgotten = Vec::new();
        let mut table = self.table.lock();
        let Table {
            sessions,
            by_token,
            kept,
        } = &mut *table;
        sessions.retain(|id, known| {
            let stays = known.connections > 0 || known.lapses_ms > now_ms;
            if !stays {
                if let Some(belongings) = known.belongings.take() {
                    kept.let_go(&belongings);
                    forgotten.push(belongings);
                }
                if let Some(count) = by_token.get_mut(&id.token()) {
                    *count -= 1;
                }
            }
            stays
        });
        by_token.retain(|_, count| *count > 0);
        if sessions.capacity() > 4 * sessions.len() + 1_024 {
            sessions.shrink_to_fit();
        }
        self.metrics.sessions.set(sessions.len() as i64);
    }

    fn remember(&self, table: &mut Table, id: SessionId, session: Remembered) -> Result<(), Refusal> {
        let full = |text| Err(Refusal::new(Code::LimitSessions, text));
        let (most, most_each) = (self.terms.most, self.terms.most_each);
        if table.sessions.len() >= most {
            return full(format!("{most} sessions are remembered, more are not allowed"));
        }
        let of_token = table.by_token.entry(id.token()).or_default();
        if *of_token >= most_each {
            return full(format!(
                "{most_each} sessions of this token are remembered, more are not allowed"
            ));
        }
        *of_token += 1;
        table.sessions.insert(id, session);
        self.metrics.sessions.set(table.sessions.len() as i64);
        Ok(())
    }

    fn sign(&self, token: TokenKey, lapses_ms: u64, remembered: bool) -> SessionId {
        let expires_s = u32::try_from(lapses_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        let nonce = self.next_nonce.fetch_add(1, Ordering::Relaxed);
        let part = SessionId::unsigned(token, expires_s, nonce, remembered);
        let full = self.mac_of(&part).finalize().into_bytes();
        let mut mac = [0; 16];
        mac.copy_from_slice(&full[..16]);
        SessionId::signed(part, mac)
    }

    fn mac_of(&self, part: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(part);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Wire;
    use crate::domain::id::StreamId;
    use crate::domain::position::{Epoch, Offset};
    use crate::engine::subscription::Subscription;
    use crate::sessions::standing::{Followed, Leaving};
    use hmac::KeyInit;
    use tokio::sync::mpsc;

    const TOKEN: TokenKey = TokenKey([7; 8]);

    fn sessions(most: usize) -> Sessions {
        let mac = Hmac::new_from_slice(b"key").expect("any length");
        let terms = Terms {
            ttl: Duration::from_secs(60),
            ttl_max: Duration::from_secs(600),
            most,
            most_each: most,
            most_kept: 8,
            most_kept_each: 5,
        };
        Sessions::new(mac, terms, 1_700_000_000_000, Arc::default())
    }

    fn forward(sessions: &mut Sessions, seconds: u64) {
        sessions.clock.start_ms += seconds * 1_000;
    }

    fn code(result: Result<Option<Arc<Scope>>, Refusal>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_session_lapses_without_a_connection_only() {
        let mut sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        assert_eq!(id.token(), TOKEN);
        forward(&mut sessions, 59);
        assert!(sessions.enter(&id).is_ok());
        forward(&mut sessions, 3_600);
        sessions.sweep();
        assert!(sessions.enter(&id).is_ok(), "two connections at once, long after");
        sessions.leave(&id);
        sessions.leave(&id);
        forward(&mut sessions, 59);
        assert!(sessions.enter(&id).is_ok(), "again within the ttl");
        sessions.leave(&id);
        forward(&mut sessions, 61);
        assert_eq!(code(sessions.enter(&id)), Some(Code::SessionLapsed));
        sessions.sweep();
        assert_eq!(code(sessions.enter(&id)), Some(Code::SessionLapsed));
        assert!(sessions.table.lock().sessions.is_empty());
        assert!(sessions.table.lock().by_token.is_empty());
    }

    #[test]
    fn a_changed_id_is_unknown() {
        let sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        let text = id.encode();
        for (place, letter) in text.char_indices().filter(|(_, letter)| *letter != '.') {
            let mut changed = text.clone();
            changed.replace_range(place..=place, if letter == 'A' { "E" } else { "A" });
            if let Some(changed) = SessionId::parse(&changed) {
                assert!(sessions.verify(&changed).is_err(), "{place}");
            }
        }
    }

    #[test]
    fn what_was_narrowed_stays_narrow_or_lapses() {
        let before = sessions(1);
        let wishes = || Wishes {
            scope: Some(Arc::default()),
            ttl: None,
        };
        let id = before.issue(TOKEN, wishes()).expect("issued");
        assert_eq!(before.enter(&id).expect("known"), Some(Arc::new(Scope::default())));
        let refusal = before.issue(TOKEN, wishes()).map(|_| ()).expect_err("full");
        assert_eq!(refusal.code, Code::LimitSessions);
        let after_restart = sessions(1);
        assert_eq!(code(after_restart.enter(&id)), Some(Code::SessionLapsed));
    }

    #[test]
    fn ten_thousand_ids_of_one_second_are_ten_thousand_ids() {
        let sessions = sessions(9);
        let issue = |_| {
            sessions
                .issue(TOKEN, Wishes::default())
                .expect("issued")
                .signed_part()
                .to_vec()
        };
        let ids: std::collections::HashSet<Vec<u8>> = (0..10_000).map(issue).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn one_token_cannot_take_every_place() {
        let mut sessions = sessions(9);
        sessions.terms.most_each = 2;
        let wishes = || Wishes {
            scope: None,
            ttl: Some(Duration::from_secs(9)),
        };
        assert!(sessions.issue(TOKEN, wishes()).is_ok());
        assert!(sessions.issue(TOKEN, wishes()).is_ok());
        let refusal = sessions.issue(TOKEN, wishes()).map(|_| ()).expect_err("full");
        assert_eq!(refusal.code, Code::LimitSessions);
        assert!(sessions.issue(TokenKey([8; 8]), wishes()).is_ok());
        forward(&mut sessions, 10);
        sessions.sweep();
        assert!(sessions.issue(TOKEN, wishes()).is_ok(), "lapsed ones make room");
    }

    #[test]
    fn a_ttl_is_bounded() {
        let sessions = sessions(9);
        let wishes = |seconds| Wishes {
            scope: None,
            ttl: Some(Duration::from_secs(seconds)),
        };
        assert!(sessions.issue(TOKEN, wishes(600)).is_ok());
        assert!(sessions.issue(TOKEN, wishes(601)).is_err());
        assert!(sessions.issue(TOKEN, wishes(0)).is_err());
    }

    fn followed(stream: u8, offset: u64) -> Followed {
        Followed {
            stream: StreamId::new([stream; 12]),
            epoch: Epoch::new(1),
            subscription: Subscription::live(Offset(offset)),
            terms: None,
            wire: Wire::Session,
            hold: None,
        }
    }

    fn streams(streams: &[u8]) -> Leaving {
        Leaving::for_good(streams.iter().map(|stream| followed(*stream, 7)).collect())
    }

    fn taken(sessions: &Sessions, id: &SessionId) -> Vec<u8> {
        let kept = sessions.take_kept(id).followed;
        kept.iter().map(|followed| followed.stream.bytes()[0]).collect()
    }

    #[test]
    fn what_a_socket_followed_is_kept_as_long_as_the_session() {
        let mut sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        sessions.enter(&id).expect("alive");
        assert!(sessions.keep(&id, 1, streams(&[1, 2])));
        assert!(sessions.keep(&id, 1, streams(&[2])), "of one stream once");
        assert_eq!(taken(&sessions, &id), [1, 2]);
        assert!(taken(&sessions, &id).is_empty());
        assert_eq!(sessions.table.lock().kept.total(), 0);
        assert!(sessions.keep(&id, 1, streams(&[1, 2, 3])));
        assert_eq!(sessions.table.lock().kept.total(), 3);
        sessions.leave(&id);
        forward(&mut sessions, 61);
        sessions.sweep();
        assert_eq!(sessions.table.lock().kept.total(), 0);
    }

    #[test]
    fn a_company_keeps_at_most_half_of_what_others_leave_free_and_a_session_what_one_connection_may() {
        let sessions = sessions(9);
        let ids = [(); 4].map(|()| sessions.issue(TOKEN, Wishes::default()).expect("issued"));
        for id in &ids {
            sessions.enter(id).expect("alive");
        }
        let [a, b, c, d] = &ids;
        assert!(sessions.keep(a, 1, streams(&[1, 2, 3])));
        assert!(!sessions.keep(b, 1, streams(&[1, 2])), "half of eight are four");
        assert!(sessions.keep(b, 1, streams(&[1])));
        assert!(
            sessions.keep(a, 1, streams(&[1, 2])),
            "what is there already is no more"
        );
        assert!(!sessions.keep(c, 2, streams(&[1, 2, 3])), "half of four are two");
        assert!(sessions.keep(c, 2, streams(&[1, 2])));
        assert!(sessions.keep(d, 3, streams(&[1])), "and there is some for the next");
        let taken = sessions.take_kept(b);
        assert_eq!((taken.followed.len(), taken.is_short), (1, true));
        let taken = sessions.take_kept(b);
        assert_eq!((taken.followed.len(), taken.is_short), (0, false), "told once");
        assert!(!sessions.take_kept(a).is_short);
        assert!(sessions.take_kept(c).is_short);
        let all: Vec<u8> = (1..=6).collect();
        sessions.take_kept(d);
        assert!(
            !sessions.keep(a, 1, streams(&all[..5])),
            "half of eight are four, again"
        );
        let mut roomy = sessions;
        roomy.terms.most_kept = 100;
        assert!(roomy.keep(a, 1, streams(&all[..5])));
        assert!(!roomy.keep(a, 1, streams(&all[5..])), "a session has five");
    }

    #[test]
    fn what_stands_in_the_place_of_something_else_is_kept_though_there_is_no_room() {
        let sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        sessions.enter(&id).expect("alive");
        assert!(sessions.keep(&id, 1, streams(&[1, 2, 3, 4])));
        let more = [followed(4, 9), followed(5, 9)].into();
        assert!(!sessions.keep(&id, 1, Leaving::for_good(more)));
        let kept = sessions.take_kept(&id);
        let places = kept.followed.iter().map(|followed| followed.subscription.cursor());
        assert_eq!(places.collect::<Vec<_>>(), [7, 7, 7, 9].map(Offset));
        assert!(kept.is_short);
        assert_eq!(sessions.table.lock().kept.total(), 0);
    }

    #[test]
    fn of_two_sockets_the_one_opened_later_counts_unless_the_other_was_seen_further() {
        let sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        sessions.enter(&id).expect("alive");
        let now = Instant::now();
        let times = [now, now + Duration::from_millis(1)];
        // Where the older one was, and whether its peer said goodbye; the newer one was at 7.
        for (older, said_goodbye, goes_on) in [(5, false, 7), (9, false, 7), (5, true, 7), (9, true, 9)] {
            for newer_said_goodbye in [false, true] {
                let leaves = [(older, times[0], said_goodbye), (7, times[1], newer_said_goodbye)];
                for order in [[0, 1], [1, 0]] {
                    for (offset, opened, said_goodbye) in order.map(|at| leaves[at]) {
                        let leaving = Leaving::new(vec![followed(1, offset)], opened, said_goodbye);
                        assert!(sessions.keep(&id, 1, leaving));
                    }
                    let kept = sessions.take_kept(&id).followed;
                    assert_eq!(kept[0].subscription.cursor(), Offset(goes_on), "{older} {said_goodbye}");
                    assert_eq!(kept.len(), 1);
                }
            }
        }
    }

    #[test]
    fn a_session_has_one_standing_conversation() {
        let sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        sessions.enter(&id).expect("alive");
        assert!(sessions.standing(&id).is_none());
        let (sender, receiver) = mpsc::channel(1);
        assert!(sessions.stand(&id, sender.clone()).is_ok());
        let (late, _receiver) = mpsc::channel(1);
        let other = sessions.stand(&id, late.clone()).expect_err("the first");
        assert!(other.same_channel(&sender));
        assert!(sessions.standing(&id).is_some());
        drop(receiver);
        assert!(sessions.standing(&id).is_none(), "it has ended");
        sessions.sit_down(&id);
        assert!(sessions.stand(&id, late).is_ok());
    }

    #[test]
    fn who_asks_whether_a_session_is_alive_takes_no_place_in_it() {
        let mut sessions = sessions(9);
        let id = sessions.issue(TOKEN, Wishes::default()).expect("issued");
        assert!(sessions.check(&id).is_ok());
        assert!(sessions.table.lock().sessions.is_empty());
        sessions.enter(&id).expect("alive");
        forward(&mut sessions, 3_600);
        assert!(sessions.check(&id).is_ok());
        sessions.leave(&id);
        forward(&mut sessions, 61);
        assert_eq!(
            sessions.check(&id).map_err(|refusal| refusal.code),
            Err(Code::SessionLapsed)
        );
    }
}
