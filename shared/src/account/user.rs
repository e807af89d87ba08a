//! A user, as far as sessions and answers need it: the password hash is not part of it.

use serde::{Deserialize, Serialize};

use super::{EmailAddress, Roles, UserId, Username, random_id};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::token::DeviceEpoch;

/// Counts the times that all of a user's sessions were ended at once. A session of an older epoch is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

random_id! {
    /// Names an undo.
    UndoId
}

/// A change of address that whoever reads the address before may take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Its identifier.
    pub id: UndoId,
    /// When the address changed.
    pub changed_at: Timestamp,
    /// The address before.
    pub email: EmailAddress,
    /// When it lapses.
    pub until: Timestamp,
}

/// Whether a user may have sessions: with [`Status::Enabled`] alone. With any other no sign-in succeeds, which does not say
/// why, and no session lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// As everyone.
    #[default]
    Enabled,
    /// Only a reset of the password leads out: after an undo, or for whoever was imported without a password.
    ResetRequired,
    /// Deleted by its owner, while a change of address may still be undone.
    Deleting,
    /// Banned by an operator; no reset, undo or import changes that.
    Disabled,
}

impl Status {
    const ALL: [Self; 4] = [Self::Enabled, Self::ResetRequired, Self::Deleting, Self::Disabled];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::ResetRequired => "reset_required",
            Self::Deleting => "deleting",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether a reset of the password may go on.
    pub const fn may_reset(self) -> bool {
        matches!(self, Self::Enabled | Self::ResetRequired)
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
    /// How often it has made its devices unknown.
    pub devices: DeviceEpoch,
    /// What operators made them.
    pub roles: Roles,
    /// The changes of address that may be taken back, lapsed ones too as long as nobody has removed them.
    pub undos: Vec<Undo>,
}

impl User {
    /// Until when an undo is open; `None` when none is.
    pub fn undo_open_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.undos.iter().map(|undo| undo.until).filter(|until| now < *until).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for status in [Status::Enabled, Status::ResetRequired, Status::Deleting, Status::Disabled] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("Enabled"), None);
    }

    #[test]
    fn an_undo_is_open_until_the_last_has_lapsed() {
        let undo = |until| Undo {
            id: UndoId::random(),
            changed_at: Timestamp::from_unix(1),
            email: EmailAddress::parse("ann@example.test").expect("an address"),
            until: Timestamp::from_unix(until),
        };
        let user = User {
            id: UserId::random(),
            username: Username::parse("ann").expect("a name"),
            email: EmailAddress::parse("ann@example.com").expect("an address"),
            status: Status::Enabled,
            epoch: Epoch::FIRST,
            locale: Locale::En,
            created_at: Timestamp::from_unix(0),
            devices: DeviceEpoch::default(),
            roles: Roles::default(),
            undos: vec![undo(300), undo(200)],
        };
        let open = |now| user.undo_open_until(Timestamp::from_unix(now)).map(Timestamp::unix);
        assert_eq!([open(100), open(200), open(299), open(300)], [Some(300), Some(300), Some(300), None]);
        assert_eq!(User { undos: Vec::new(), ..user.clone() }.undo_open_until(Timestamp::from_unix(0)), None);
    }
}
