//! How often a call of AWS is made, and after which pauses.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};

use crate::random;

/// What other writes in flight stopped: a transaction, which the SDK takes for final by itself, or one of another region.
/// Nothing was written then, and the others are over in milliseconds.
const CONFLICTS: [&str; 2] = ["TransactionConflictException", "ReplicatedWriteConflictException"];

/// Whether a refusal with this code may pass in a moment.
pub(super) fn may_pass(code: &str) -> bool {
    [THROTTLING_ERRORS, TRANSIENT_ERRORS, &CONFLICTS].iter().any(|codes| codes.contains(&code))
}

/// How often a call is made in all.
const ATTEMPTS: u32 = 4;
/// The longest pause before the second attempt; it doubles with each further one. Someone waits for the answer: short
/// steps, and an end within an API call's patience.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause that a service can ask for.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What calls of one service have for attempts beyond their first, so that many instances together do not multiply what
/// a service cannot take: each costs [`COST`].
const QUOTA: u32 = 500;
const COST: u32 = 10;
/// What a call gives back that succeeds at its first attempt; one that succeeds later gives back what its last cost.
const REWARD: u32 = 1;

/// Attempts as long as a failure may pass, with pauses drawn at random between none and a bound that doubles.
#[derive(Debug)]
pub(super) struct Retries {
    quota: AtomicU32,
}

impl Retries {
    pub(super) const fn new() -> Self {
        Self { quota: AtomicU32::new(QUOTA) }
    }

    /// Takes another attempt, after so many, out of the quota: how long to wait before it, when there shall be one, by
    /// the service's own wish if it has one.
    pub(super) fn another(&self, attempts: u32, wish: Option<Duration>) -> Option<Pause> {
        if attempts >= ATTEMPTS {
            return None;
        }
        self.change(|quota| quota.checked_sub(COST))?;
        Some(match wish {
            Some(asked) => Pause::Exactly(LONGEST_PAUSE.min(asked)),
            None => Pause::Below(FIRST_PAUSE * 2_u32.pow(attempts - 1)),
        })
    }

    /// A call has succeeded after so many attempts.
    pub(super) fn reward(&self, attempts: u32) {
        let reward = if attempts > 1 { COST } else { REWARD };
        self.change(|quota| Some(QUOTA.min(quota + reward)));
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> Option<u32> {
        self.quota.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok()
    }
}

/// How long to wait before another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// As the service asked.
    Exactly(Duration),
    /// Less than this, at random, so that those who failed together do not come again together.
    Below(Duration),
}

impl Pause {
    pub(super) fn draw(self) -> Duration {
        match self {
            Self::Exactly(pause) => pause,
            Self::Below(bound) => {
                let micros = u32::try_from(bound.as_micros()).unwrap_or(u32::MAX);
                Duration::from_micros(random::below(micros).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_attempts_and_the_bound_of_pauses_doubles() {
        let retries = Retries::new();
        let bounds = [1, 2, 3].map(|attempts| retries.another(attempts, None));
        assert_eq!(bounds, [50, 100, 200].map(|ms| Some(Pause::Below(Duration::from_millis(ms)))));
        assert_eq!(retries.another(4, None), None);
    }

    #[test]
    fn what_may_pass_is_told_by_its_code() {
        let throttled = ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestTimeout"];
        for code in throttled.into_iter().chain(CONFLICTS) {
            assert!(may_pass(code), "{code}");
        }
        for code in ["ValidationException", "ConditionalCheckFailedException", "MessageRejected"] {
            assert!(!may_pass(code), "{code}");
        }
    }

    #[test]
    fn a_service_s_wish_is_followed_up_to_the_longest_pause() {
        let retries = Retries::new();
        let wish = |ms| retries.another(1, Some(Duration::from_millis(ms)));
        assert_eq!(wish(300), Some(Pause::Exactly(Duration::from_millis(300))));
        assert_eq!(wish(5000), Some(Pause::Exactly(LONGEST_PAUSE)));
    }

    #[test]
    fn pauses_are_drawn_from_all_below_their_bound() {
        let bound = Duration::from_millis(50);
        let pauses: Vec<Duration> = (0..200).map(|_| Pause::Below(bound).draw()).collect();
        assert!(pauses.iter().all(|pause| *pause < bound));
        assert!(pauses.iter().any(|pause| *pause < bound / 4) && pauses.iter().any(|pause| *pause > bound * 3 / 4));
    }

    #[test]
    fn a_service_that_fails_on_is_soon_called_once_each_time_until_it_succeeds() {
        let retries = Retries::new();
        let more = (0..100).take_while(|_| retries.another(1, None).is_some()).count();
        assert_eq!(more, (QUOTA / COST) as usize);
        // What the last attempt cost comes back when it succeeds, and little by little what others cost.
        retries.reward(2);
        assert!(retries.another(1, None).is_some());
        assert!(retries.another(1, None).is_none());
        for _ in 0..COST {
            retries.reward(1);
        }
        assert!(retries.another(1, None).is_some());
    }

    #[test]
    fn success_never_brings_more_than_the_quota() {
        let retries = Retries::new();
        retries.reward(2);
        assert_eq!(retries.quota.load(Ordering::Relaxed), QUOTA);
    }
}
