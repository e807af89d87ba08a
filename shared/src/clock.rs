//! The only reader of the time.
//!
//! Everything that depends on the time takes a [`Clock`], so that tests move it instead of sleeping.
//! `clippy.toml` refuses `SystemTime::now` and its like everywhere else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, as in a JWT's `NumericDate` (RFC 7519 §2), and so in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point `seconds` after the Unix epoch.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// The point `seconds` later.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to here; zero when `earlier` is in fact later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC, to the second: `2026-11-23T10:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .ok_or(fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// Where the time comes from. Clones share one time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`advance`](Self::advance) moves it.
    pub fn fixed(now: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicU64::new(now.unix()))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one door for the time")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
            }
            Source::Fixed(seconds) => Timestamp(seconds.load(Ordering::SeqCst)),
        }
    }

    /// Sets a fixed clock, and all its clones, to `now`, which may be earlier.
    ///
    /// # Panics
    /// On the system's clock, which nobody here can move.
    pub fn set(&self, now: Timestamp) {
        match &self.0 {
            Source::System => panic!("the system's clock cannot be moved"),
            Source::Fixed(seconds) => seconds.store(now.unix(), Ordering::SeqCst),
        }
    }

    /// Moves a fixed clock, and all its clones, forward by `seconds`.
    ///
    /// # Panics
    /// On the system's clock, which nobody here can move.
    pub fn advance(&self, seconds: u64) {
        match &self.0 {
            Source::System => panic!("the system's clock cannot be moved"),
            Source::Fixed(now) => {
                now.fetch_add(seconds, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339() {
        assert_eq!(Timestamp::from_unix(1_795_428_000).to_string(), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn clones_of_a_fixed_clock_move_together() {
        let clock = Clock::fixed(Timestamp::from_unix(100));
        let clone = clock.clone();
        clone.advance(5);
        assert_eq!(clock.now(), Timestamp::from_unix(105));
        clone.set(Timestamp::from_unix(90));
        assert_eq!(clock.now(), Timestamp::from_unix(90));
    }
}
