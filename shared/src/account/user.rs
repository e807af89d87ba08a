//! A user, as far as sessions and answers need it: the password hash is not part of it.

use super::{EmailAddress, UserId, Username};
use crate::clock::Timestamp;
use crate::locale::Locale;

/// Counts the times that all of a user's sessions were ended at once. A session of an older epoch is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of a new account.
    pub const FIRST: Self = Self(1);

    /// The epoch with this number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it, in which no session of this one lives.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Whether a user may have sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As everyone.
    Enabled,
    /// Banned: no sign-in succeeds and no session lives.
    Disabled,
}

impl Status {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "enabled" => Some(Self::Enabled),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// Its name, as it was typed at sign-up.
    pub username: Username,
    /// Its verified address.
    pub email: EmailAddress,
    /// Whether it may have sessions.
    pub status: Status,
    /// The epoch that its living sessions have.
    pub epoch: Epoch,
    /// The language of its mails.
    pub locale: Locale,
    /// When the address was verified.
    pub created_at: Timestamp,
}
