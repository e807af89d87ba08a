//! How often a call of AWS is made, and after which pauses.
//!
//! The SDK's own strategy does the same, but brings one more that slows calls down to what a service takes, and with it a
//! library that the system would load at every start for one function
//! (docs/decisions/0015-retries.md).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_smithy_runtime::client::retries::classifiers::run_classifiers_on_ctx;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{RetryAction, RetryReason};
use aws_smithy_runtime_api::client::retries::{RequestAttempts, RetryStrategy, ShouldAttempt};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::random;

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

    /// Takes another attempt, after so many, out of the quota: how long to wait before it, when there shall be one.
    fn another(&self, action: &RetryAction, attempts: u32) -> Option<Pause> {
        let RetryAction::RetryIndicated(RetryReason::RetryableError { retry_after, .. }) = action else { return None };
        if attempts >= ATTEMPTS {
            return None;
        }
        self.change(|quota| quota.checked_sub(COST))?;
        Some(match retry_after {
            Some(asked) => Pause::Exactly(LONGEST_PAUSE.min(*asked)),
            None => Pause::Below(FIRST_PAUSE * 2_u32.pow(attempts - 1)),
        })
    }

    /// A call has succeeded after so many attempts.
    fn reward(&self, attempts: u32) {
        let reward = if attempts > 1 { COST } else { REWARD };
        self.change(|quota| Some(QUOTA.min(quota + reward)));
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> Option<u32> {
        self.quota.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok()
    }
}

/// How long to wait before another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// As the service asked.
    Exactly(Duration),
    /// Less than this, at random, so that those who failed together do not come again together.
    Below(Duration),
}

impl Pause {
    fn draw(self) -> Duration {
        match self {
            Self::Exactly(pause) => pause,
            Self::Below(bound) => {
                let micros = u32::try_from(bound.as_micros()).unwrap_or(u32::MAX);
                Duration::from_micros(random::below(micros).into())
            }
        }
    }
}

impl RetryStrategy for Retries {
    fn should_attempt_initial_request(&self, _: &RuntimeComponents, _: &ConfigBag) -> Result<ShouldAttempt, BoxError> {
        Ok(ShouldAttempt::Yes)
    }

    fn should_attempt_retry(
        &self,
        context: &InterceptorContext,
        components: &RuntimeComponents,
        settings: &ConfigBag,
    ) -> Result<ShouldAttempt, BoxError> {
        let attempts = settings.load::<RequestAttempts>().ok_or("the SDK counts attempts")?.attempts();
        let action = run_classifiers_on_ctx(components.retry_classifiers(), context);
        if let Some(pause) = self.another(&action, attempts) {
            return Ok(ShouldAttempt::YesAfterDelay(pause.draw()));
        }
        if !context.is_failed() {
            self.reward(attempts);
        }
        Ok(ShouldAttempt::No)
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::retries::ErrorKind;

    use super::*;

    fn passing() -> RetryAction {
        RetryAction::server_error()
    }

    #[test]
    fn there_are_four_attempts_and_the_bound_of_pauses_doubles() {
        let retries = Retries::new();
        let bounds = [1, 2, 3].map(|attempts| retries.another(&passing(), attempts));
        assert_eq!(bounds, [50, 100, 200].map(|ms| Some(Pause::Below(Duration::from_millis(ms)))));
        assert_eq!(retries.another(&passing(), 4), None);
    }

    #[test]
    fn what_would_stay_is_not_tried_again() {
        let retries = Retries::new();
        assert_eq!(retries.another(&RetryAction::NoActionIndicated, 1), None);
        assert_eq!(retries.another(&RetryAction::RetryForbidden, 1), None);
    }

    #[test]
    fn a_service_s_wish_is_followed_up_to_the_longest_pause() {
        let retries = Retries::new();
        let wish = |ms| {
            let asked = Duration::from_millis(ms);
            RetryAction::retryable_error_with_explicit_delay(ErrorKind::ThrottlingError, asked)
        };
        assert_eq!(retries.another(&wish(300), 1), Some(Pause::Exactly(Duration::from_millis(300))));
        assert_eq!(retries.another(&wish(5000), 1), Some(Pause::Exactly(LONGEST_PAUSE)));
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
        let more = (0..100).take_while(|_| retries.another(&passing(), 1).is_some()).count();
        assert_eq!(more, (QUOTA / COST) as usize);
        // What the last attempt cost comes back when it succeeds, and little by little what others cost.
        retries.reward(2);
        assert!(retries.another(&passing(), 1).is_some());
        assert!(retries.another(&passing(), 1).is_none());
        for _ in 0..COST {
            retries.reward(1);
        }
        assert!(retries.another(&passing(), 1).is_some());
    }

    #[test]
    fn success_never_brings_more_than_the_quota() {
        let retries = Retries::new();
        retries.reward(2);
        assert_eq!(retries.quota.load(Ordering::Relaxed), QUOTA);
    }
}
