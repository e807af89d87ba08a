//! What an access token brings to whoever reads its session: a protected function, the authorizer, or a refresh that was
//! shown an expired one (DESIGN.md section 5, «Older generations anywhere»).

use super::{Generation, Kind, Presented, Session};
use crate::clock::Timestamp;

/// Seconds after a rotation for which requests under way may still show the generation before.
pub const IN_FLIGHT_WINDOW: u64 = 60;

/// What an access token brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// The current generation, or the one before it in a request that was under way at the rotation: it goes on.
    Accept,
    /// An older one in an app's session, whose queues keep requests: it goes on, and is a security event.
    AcceptStale,
    /// The generation before, longer after the rotation than a request is under way: as if expired, so that the client
    /// refreshes, where its key decides. The newest cookie may have been in a lost answer. Also an older one in a request
    /// whose body may have been that long under way.
    Expired,
    /// An older one in a browser's session: it was used elsewhere, and the session must end.
    Reuse,
    /// The session has ended, is of another kind, or was never at that generation (a restored table).
    Ended,
}

impl Session {
    /// Decides what a genuine access token of this session brings. `may_be_slow` says whether the request's body is so
    /// large that it may have been under way for long. Whether the session is of its user's epoch is
    /// [`Session::belongs_to`]'s question, which every caller asks too.
    pub fn access(&self, presented: Presented, may_be_slow: bool, now: Timestamp) -> AccessDecision {
        if self.is_expired(now) || presented.kind != self.kind || presented.generation > self.generation {
            return AccessDecision::Ended;
        }
        if presented.generation == self.generation {
            return AccessDecision::Accept;
        }
        if self.kind == Kind::App {
            return AccessDecision::AcceptStale;
        }
        if presented.generation.next() == self.generation {
            let is_in_flight = now.seconds_since(self.rotated_at) <= IN_FLIGHT_WINDOW;
            return if is_in_flight { AccessDecision::Accept } else { AccessDecision::Expired };
        }
        if may_be_slow { AccessDecision::Expired } else { AccessDecision::Reuse }
    }

    /// Whether this is still the generation that somebody read who wants it renewed or ended.
    pub fn is_at(&self, generation: Generation) -> bool {
        self.generation == generation
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::{Epoch, UserId};
    use crate::session::{AuthenticationMethods, Lifetimes, SessionId};

    const START: Timestamp = Timestamp::from_unix(1_000_000);

    /// A session at generation 10.
    fn session(kind: Kind) -> Session {
        let lifetimes = Lifetimes::DEFAULTS;
        Session {
            id: SessionId::from_bytes([1; 16]),
            user_id: UserId::from_bytes([2; 16]),
            kind,
            generation: Generation::from_number(10),
            epoch: Epoch::FIRST,
            // Neither of these decides anything: sliding renewal moves the second.
            created_at: Timestamp::from_unix(900_000),
            authenticated_at: Timestamp::from_unix(900_000),
            methods: AuthenticationMethods::PASSWORD,
            rotated_at: START,
            used_at: START.plus(50),
            idle_expires_at: START.plus(lifetimes.of(kind).idle),
            expires_at: START.plus(lifetimes.of(kind).absolute),
            recent_keys: [None; 3],
            device: String::new(),
        }
    }

    fn access(kind: Kind, generation: u32, may_be_slow: bool, after: u64) -> AccessDecision {
        let presented = Presented { kind, generation: Generation::from_number(generation) };
        session(kind).access(presented, may_be_slow, START.plus(after))
    }

    #[test]
    fn the_generation_before_is_good_for_requests_under_way() {
        for kind in [Kind::Browser, Kind::Remembered] {
            assert_eq!(access(kind, 9, false, 60), AccessDecision::Accept);
            assert_eq!(access(kind, 9, false, 61), AccessDecision::Expired);
        }
    }

    #[test]
    fn an_older_one_ends_a_browser_s_session_unless_it_may_have_been_under_way() {
        for kind in [Kind::Browser, Kind::Remembered] {
            for after in [0, 60, 61, 1000] {
                assert_eq!(access(kind, 8, false, after), AccessDecision::Reuse);
                assert_eq!(access(kind, 1, false, after), AccessDecision::Reuse);
                assert_eq!(access(kind, 8, true, after), AccessDecision::Expired);
            }
        }
        assert_eq!(access(Kind::App, 8, false, 1000), AccessDecision::AcceptStale);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// The paragraph of section 5, written down a second time.
        #[test]
        fn every_class_of_session_token_body_and_time(
            kind_index in 0..3_usize,
            presented_index in 0..3_usize,
            generation in 6..13_u32,
            may_be_slow: bool,
            age in prop_oneof![0..3_u64, 58..63_u64, 1797..1803_u64, 2_591_998..2_592_003_u64],
        ) {
            let (kind, presented_kind) = (Kind::ALL[kind_index], Kind::ALL[presented_index]);
            let presented = Presented { kind: presented_kind, generation: Generation::from_number(generation) };
            let decision = session(kind).access(presented, may_be_slow, START.plus(age));

            let behind = 10_i64 - i64::from(generation);
            let lives = age < Lifetimes::DEFAULTS.of(kind).idle && presented_kind == kind && behind >= 0;
            let browser = kind != Kind::App;
            prop_assert_eq!(decision == AccessDecision::Ended, !lives);
            prop_assert_eq!(
                decision == AccessDecision::Accept,
                lives && (behind == 0 || (browser && behind == 1 && age <= 60))
            );
            prop_assert_eq!(decision == AccessDecision::AcceptStale, lives && !browser && behind > 0);
            prop_assert_eq!(
                decision == AccessDecision::Expired,
                lives && browser && ((behind == 1 && age > 60) || (behind > 1 && may_be_slow))
            );
            prop_assert_eq!(decision == AccessDecision::Reuse, lives && browser && behind > 1 && !may_be_slow);
        }
    }
}
