//! What a refresh credential brings: rotation, a repeated answer, or the session's end.

use super::{Generation, Kind, Lifetimes, RetryKey, Session};
use crate::clock::Timestamp;

/// How many rotations' keys a session remembers.
pub const REMEMBERED_KEYS: usize = 3;

/// Seconds after the last rotation within which an older rotation's key marks a late duplicate, not a theft. Not
/// longer: a thief who copied a pending key would hide behind it.
pub const DUPLICATE_WINDOW: u64 = 60;

/// A refresh credential whose own verification (MAC or signature) succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Presented {
    /// The kind of session that refreshes with such a credential.
    pub kind: Kind,
    /// The generation it carries.
    pub generation: Generation,
}

/// What a refresh brings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack: a box would cost more")]
pub enum Decision {
    /// The current generation: the session goes on as this one, with tokens of the next generation.
    Rotate(Session),
    /// The answer to this very request was lost: tokens of the current generation, nothing written.
    Repeat,
    /// Two tabs without keys raced: tokens of the current generation, nothing written.
    Race,
    /// A late copy of an earlier request, answered or refused then: no tokens, and the session lives.
    Duplicate,
    /// The key is the one of the rotation before: refused, and the session lives.
    UnchangedKey,
    /// The credential of another kind of session: refused, and the session lives.
    WrongKind,
    /// An older credential was used elsewhere: the session must be deleted.
    Reuse,
    /// The session has ended, or the credential is of a generation that was never reached (a restored table).
    Ended,
}

impl Session {
    /// Decides what a credential of this session brings. Whether the session is of its user's epoch is
    /// [`Session::belongs_to`]'s question, which every caller asks too.
    pub fn refresh(
        &self,
        presented: Presented,
        key: Option<RetryKey>,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Decision {
        if self.is_expired(now) {
            return Decision::Ended;
        }
        if presented.kind != self.kind {
            return Decision::WrongKind;
        }
        if presented.generation > self.generation {
            return Decision::Ended;
        }
        if presented.generation == self.generation {
            return match key {
                Some(_) if key == self.recent_keys[0] => Decision::UnchangedKey,
                _ => Decision::Rotate(self.rotated(key, lifetimes, now)),
            };
        }
        let since_rotation = now.seconds_since(self.rotated_at);
        if presented.generation.next() == self.generation {
            match (key, self.recent_keys[0]) {
                (Some(key), Some(rotation)) if key == rotation => return Decision::Repeat,
                (None, None) if self.kind.is_browser() && since_rotation <= lifetimes.refresh_grace => {
                    return Decision::Race;
                }
                // With the key of an earlier rotation it may be a copy of a request that was refused as unchanged.
                _ => {}
            }
        }
        if key.is_some() && self.recent_keys.contains(&key) && since_rotation <= DUPLICATE_WINDOW {
            return Decision::Duplicate;
        }
        Decision::Reuse
    }

    /// The session after a rotation at `now`.
    fn rotated(&self, key: Option<RetryKey>, lifetimes: &Lifetimes, now: Timestamp) -> Self {
        let [newest, middle, _oldest] = self.recent_keys;
        Self {
            generation: self.generation.next(),
            rotated_at: now,
            used_at: now,
            idle_expires_at: now.plus(lifetimes.of(self.kind).idle).min(self.expires_at),
            recent_keys: [key, newest, middle],
            ..self.clone()
        }
    }

    /// Sliding renewal: the idle expiry to set when a request shows an access token of this session, `None` when
    /// nothing is due. Only `browser` sessions slide, only at the current generation (a rotation here would collide
    /// with the client's own refresh in flight), and only past half of the token's life.
    pub fn extend(
        &self,
        generation: Generation,
        token_expires_at: Timestamp,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let access = lifetimes.browser.access;
        let half_spent = token_expires_at.seconds_since(now) < access.div_ceil(2);
        let extended = now.plus(lifetimes.browser.idle).min(self.expires_at);
        let due = self.kind == Kind::Browser
            && generation == self.generation
            && !self.is_expired(now)
            && half_spent
            && extended > token_expires_at;
        due.then_some(extended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::{Epoch, UserId};
    use crate::session::{AuthenticationMethods, SessionId};

    const LIFETIMES: Lifetimes = Lifetimes::DEFAULTS;
    const START: Timestamp = Timestamp::from_unix(1_000_000);

    fn key(number: u8) -> RetryKey {
        RetryKey::from_hash([number; 32])
    }

    /// A session at generation 10 whose last rotations had these keys.
    fn session(kind: Kind, recent_keys: [Option<RetryKey>; 3]) -> Session {
        let lifetimes = LIFETIMES.of(kind);
        Session {
            id: SessionId::from_bytes([1; 16]),
            user_id: UserId::from_bytes([2; 16]),
            kind,
            generation: Generation::from_number(10),
            epoch: Epoch::FIRST,
            created_at: START,
            authenticated_at: START,
            methods: AuthenticationMethods::PASSWORD,
            rotated_at: START,
            used_at: START,
            idle_expires_at: START.plus(lifetimes.idle),
            expires_at: START.plus(lifetimes.absolute),
            recent_keys,
            device: String::new(),
        }
    }

    fn refresh(session: &Session, generation: u32, key: Option<RetryKey>, after: u64) -> Decision {
        let presented = Presented { kind: session.kind, generation: Generation::from_number(generation) };
        session.refresh(presented, key, &LIFETIMES, START.plus(after))
    }

    #[test]
    fn the_current_generation_rotates() {
        for kind in Kind::ALL {
            let before = session(kind, [Some(key(1)), None, Some(key(3))]);
            let Decision::Rotate(after) = refresh(&before, 10, Some(key(9)), 100) else { panic!("{kind:?}") };
            assert_eq!(after.generation, Generation::from_number(11));
            assert_eq!(after.rotated_at, START.plus(100));
            assert_eq!(after.idle_expires_at, START.plus(100 + LIFETIMES.of(kind).idle));
            assert_eq!(after.recent_keys, [Some(key(9)), Some(key(1)), None]);
            assert_eq!(
                (after.id, after.created_at, after.expires_at),
                (before.id, before.created_at, before.expires_at)
            );
            // To refresh is no proof of who one is.
            assert_eq!((after.authenticated_at, after.methods), (before.authenticated_at, before.methods));
        }
    }

    #[test]
    fn a_rotation_never_outlives_the_session() {
        let before = Session { idle_expires_at: START.plus(86_400), ..session(Kind::Browser, [None; 3]) };
        let Decision::Rotate(after) = refresh(&before, 10, None, 86_399) else { panic!() };
        assert_eq!(after.idle_expires_at, before.expires_at);
    }

    #[test]
    fn a_rotation_without_a_key_clears_the_field() {
        let Decision::Rotate(after) = refresh(&session(Kind::App, [Some(key(1)); 3]), 10, None, 0) else { panic!() };
        assert_eq!(after.recent_keys[0], None);
    }

    #[test]
    fn the_key_of_the_rotation_before_is_refused() {
        let session = session(Kind::App, [Some(key(1)), Some(key(2)), None]);
        assert_eq!(refresh(&session, 10, Some(key(1)), 1_000), Decision::UnchangedKey);
        assert!(matches!(refresh(&session, 10, Some(key(2)), 1_000), Decision::Rotate(_)));
    }

    #[test]
    fn a_lost_answer_is_repeated_however_late() {
        for kind in Kind::ALL {
            let session = session(kind, [Some(key(1)), Some(key(2)), None]);
            for after in [0, 11, 61, LIFETIMES.of(kind).idle - 1] {
                assert_eq!(refresh(&session, 9, Some(key(1)), after), Decision::Repeat, "{kind:?} {after}");
            }
        }
    }

    #[test]
    fn tabs_without_keys_may_race_within_the_grace() {
        for kind in [Kind::Browser, Kind::Remembered] {
            assert_eq!(refresh(&session(kind, [None; 3]), 9, None, 10), Decision::Race);
            assert_eq!(refresh(&session(kind, [None; 3]), 9, None, 11), Decision::Reuse);
            assert_eq!(refresh(&session(kind, [Some(key(1)), None, None]), 9, None, 0), Decision::Reuse);
            assert_eq!(refresh(&session(kind, [None; 3]), 9, Some(key(1)), 0), Decision::Reuse);
        }
        assert_eq!(refresh(&session(Kind::App, [None; 3]), 9, None, 0), Decision::Reuse);
    }

    #[test]
    fn a_late_duplicate_gets_duplicate_request_for_a_minute() {
        let session = session(Kind::App, [Some(key(1)), Some(key(2)), Some(key(3))]);
        for (generation, number) in [(8, 2), (7, 3)] {
            assert_eq!(refresh(&session, generation, Some(key(number)), 60), Decision::Duplicate);
            assert_eq!(refresh(&session, generation, Some(key(number)), 61), Decision::Reuse);
        }
        assert_eq!(refresh(&session, 8, Some(key(4)), 0), Decision::Reuse);
        assert_eq!(refresh(&session, 9, Some(key(4)), 0), Decision::Reuse);
        assert_eq!(refresh(&session, 9, None, 0), Decision::Reuse);
        assert_eq!(refresh(&session, 8, None, 0), Decision::Reuse);
    }

    #[test]
    fn a_late_copy_of_a_request_refused_for_its_key_is_a_duplicate() {
        let at_ten = session(Kind::Remembered, [Some(key(1)), None, None]);
        assert_eq!(refresh(&at_ten, 10, Some(key(1)), 0), Decision::UnchangedKey);
        let Decision::Rotate(at_eleven) = refresh(&at_ten, 10, Some(key(2)), 0) else { panic!() };
        assert_eq!(refresh(&at_eleven, 10, Some(key(1)), 60), Decision::Duplicate);
        assert_eq!(refresh(&at_eleven, 10, Some(key(1)), 61), Decision::Reuse);
    }

    #[test]
    fn an_absent_key_never_equals_an_absent_key() {
        let session = session(Kind::App, [None; 3]);
        for generation in 0..10 {
            assert_eq!(refresh(&session, generation, None, 0), Decision::Reuse);
        }
    }

    #[test]
    fn a_generation_never_reached_ends_without_alarm() {
        assert_eq!(refresh(&session(Kind::App, [None; 3]), 11, None, 0), Decision::Ended);
    }

    #[test]
    fn a_credential_of_another_kind_changes_nothing() {
        for kind in Kind::ALL {
            for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
                for generation in [1, 9, 10, 11] {
                    let presented = Presented { kind: other, generation: Generation::from_number(generation) };
                    let decision = session(kind, [None; 3]).refresh(presented, None, &LIFETIMES, START);
                    assert_eq!(decision, Decision::WrongKind);
                }
            }
        }
    }

    #[test]
    fn an_expired_session_has_ended_for_every_credential() {
        for kind in Kind::ALL {
            let session = session(kind, [Some(key(1)), None, None]);
            for generation in 8..=11 {
                assert_eq!(refresh(&session, generation, Some(key(1)), LIFETIMES.of(kind).idle), Decision::Ended);
            }
        }
    }

    #[test]
    fn only_a_browser_session_slides_past_half_of_its_tokens_life() {
        let token_end = START.plus(1800);
        let at = |session: &Session, generation: u32, after: u64| {
            session.extend(Generation::from_number(generation), token_end, &LIFETIMES, START.plus(after))
        };
        let browser = session(Kind::Browser, [None; 3]);
        assert_eq!(at(&browser, 10, 900), None);
        assert_eq!(at(&browser, 10, 901), Some(START.plus(901 + 1800)));
        assert_eq!(at(&browser, 9, 901), None);
        assert_eq!(at(&browser, 10, 1800), None);
        let ending = Session { expires_at: token_end, ..browser };
        assert_eq!(at(&ending, 10, 901), None);
        for kind in [Kind::Remembered, Kind::App] {
            assert_eq!(at(&session(kind, [None; 3]), 10, 901), None);
        }
    }

    /// Keys from a set so small that equal ones are drawn often.
    fn any_key() -> impl Strategy<Value = Option<RetryKey>> {
        prop_oneof![Just(None), (1..4_u8).prop_map(|number| Some(key(number)))]
    }

    /// Ages around every bound of the protocol.
    fn any_age() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_u64, 9..13_u64, 58..63_u64, 1797..1803_u64, 2_591_998..2_592_003_u64]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// The whole table of section 5, written down a second time as properties of the outcome.
        #[test]
        fn every_class_of_state_credential_key_and_time(
            kind_index in 0..3_usize,
            presented_index in 0..3_usize,
            generation in 5..13_u32,
            stored in [any_key(), any_key(), any_key()],
            key in any_key(),
            age in any_age(),
        ) {
            let (kind, presented_kind) = (Kind::ALL[kind_index], Kind::ALL[presented_index]);
            let session = session(kind, stored);
            let presented = Presented { kind: presented_kind, generation: Generation::from_number(generation) };
            let decision = session.refresh(presented, key, &LIFETIMES, START.plus(age));

            let usable = age < LIFETIMES.of(kind).idle;
            let ours = usable && presented_kind == kind;
            let behind = 10_i64 - i64::from(generation);
            let matches = |stored: Option<RetryKey>| key.is_some() && key == stored;

            prop_assert_eq!(matches!(decision, Decision::Rotate(_)), ours && behind == 0 && !matches(stored[0]));
            prop_assert_eq!(decision == Decision::UnchangedKey, ours && behind == 0 && matches(stored[0]));
            prop_assert_eq!(decision == Decision::Repeat, ours && behind == 1 && matches(stored[0]));
            prop_assert_eq!(
                decision == Decision::Race,
                ours && behind == 1 && kind != Kind::App && key.is_none() && stored[0].is_none() && age <= 10
            );
            prop_assert_eq!(
                decision == Decision::Duplicate,
                ours && age <= 60
                    && match behind {
                        1 => !matches(stored[0]) && (matches(stored[1]) || matches(stored[2])),
                        2.. => stored.iter().any(|stored| matches(*stored)),
                        _ => false,
                    }
            );
            prop_assert_eq!(decision == Decision::Ended, !usable || (ours && behind < 0));
            prop_assert_eq!(decision == Decision::WrongKind, usable && !ours);
        }
    }
}
