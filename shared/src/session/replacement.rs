//! A session that follows another, once its user has proved again who they are, and the mark that the other one leaves.

use super::{AuthenticationMethods, Generation, Lifetimes, RetryKey, Session, SessionId, SessionRef};
use crate::account::User;
use crate::clock::Timestamp;

/// Seconds for which the mark of a replaced session is kept, so that the very same request may be repeated.
pub const REPLACEMENT_WINDOW: u64 = 600;

/// Wrong passwords in a row, asked again of who is signed in, that end the session they were given in.
pub const MAX_WRONG_PASSWORDS: u32 = 10;

/// What is left of a session that another one replaced. It opens nothing but the same request with the same key again:
/// whose answer was lost is not signed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The session that was replaced.
    pub session: SessionRef,
    /// The one that followed it.
    pub by: SessionId,
    /// The key of the request that did it; `None`: no request repeats it.
    pub key: Option<RetryKey>,
    /// When the mark ends.
    pub expires_at: Timestamp,
}

impl Replaced {
    /// The mark of `old`, which `new` replaces at the request with this key.
    pub const fn new(old: &Session, new: &Session, key: Option<RetryKey>, now: Timestamp) -> Self {
        Self { session: old.reference(), by: new.id, key, expires_at: now.plus(REPLACEMENT_WINDOW) }
    }

    /// Whether a request with this key is the one that replaced the session, again. An absent key never equals anything.
    pub fn is_repeated_by(&self, key: Option<RetryKey>, now: Timestamp) -> bool {
        now < self.expires_at && key.is_some() && key == self.key
    }

    /// Where the session lies that followed.
    pub const fn successor(&self) -> SessionRef {
        SessionRef { user_id: self.session.user_id, session_id: self.by }
    }
}

impl Session {
    /// The session that follows this one at `now`, when its user, who is of this epoch by now, has proved by `methods` who
    /// they are: a new one, so that no copy of the old one's tokens is fresh too, of the same kind and absolute end.
    #[must_use]
    pub fn successor(
        &self,
        user: &User,
        methods: AuthenticationMethods,
        device: &str,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Self {
        let new = Self::start(user, self.kind, methods, device, lifetimes, now);
        Self { idle_expires_at: new.idle_expires_at.min(self.expires_at), expires_at: self.expires_at, ..new }
    }

    /// Whether it is as it began: what its first answer was can be answered again.
    pub fn was_never_refreshed(&self) -> bool {
        self.generation == Generation::FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{EmailAddress, Epoch, Roles, Status, UserId, Username};
    use crate::locale::Locale;
    use crate::session::{Kind, SessionId};

    const LIFETIMES: Lifetimes = Lifetimes::DEFAULTS;
    const START: Timestamp = Timestamp::from_unix(1_000_000);

    fn user() -> User {
        User {
            id: UserId::random(),
            username: Username::parse("alice").expect("a name"),
            email: EmailAddress::parse("alice@example.test").expect("an address"),
            status: Status::Enabled,
            epoch: Epoch::FIRST,
            locale: Locale::En,
            created_at: START,
            devices: crate::token::DeviceEpoch::default(),
            roles: Roles::default(),
            undos: Vec::new(),
        }
    }

    fn session(user: &User, kind: Kind) -> Session {
        let old = Session::start(user, kind, AuthenticationMethods::MAIL, "a phone", &LIFETIMES, START);
        Session { generation: Generation::from_number(7), recent_keys: [Some(RetryKey::from_hash([1; 32])); 3], ..old }
    }

    #[test]
    fn the_successor_ends_when_the_old_one_would_have() {
        for kind in Kind::ALL {
            let user = User { epoch: Epoch::from_number(5), ..user() };
            let old = session(&user, kind);
            let absolute = LIFETIMES.of(kind).absolute;
            for (after, idle_ends_after) in [(60, 60 + LIFETIMES.of(kind).idle), (absolute - 10, absolute)] {
                let now = START.plus(after);
                let new = old.successor(&user, AuthenticationMethods::PASSWORD, "another", &LIFETIMES, now);
                assert_ne!(new.id, old.id);
                assert_eq!((new.kind, new.user_id, new.epoch), (kind, user.id, Epoch::from_number(5)));
                assert_eq!((new.expires_at, new.idle_expires_at), (old.expires_at, START.plus(idle_ends_after)));
                assert_eq!((new.created_at, new.authenticated_at), (now, now));
                assert_eq!(new.methods, AuthenticationMethods::PASSWORD);
                assert_eq!((new.generation, new.recent_keys), (Generation::FIRST, [None; 3]));
                assert_eq!(new.device, "another");
            }
        }
    }

    #[test]
    fn a_mark_knows_its_own_key_for_ten_minutes() {
        let user = user();
        let (old, new) = (session(&user, Kind::App), session(&user, Kind::App));
        let [own, other] = [1, 2].map(|number| RetryKey::from_hash([number; 32]));
        let mark = Replaced::new(&old, &new, Some(own), START);
        for (key, after, expected) in [
            (Some(own), 0, true),
            (Some(own), 599, true),
            (Some(own), 600, false),
            (Some(other), 0, false),
            (None, 0, false),
        ] {
            assert_eq!(mark.is_repeated_by(key, START.plus(after)), expected, "{after}");
        }
        let keyless = Replaced { key: None, ..mark };
        assert!(!keyless.is_repeated_by(None, START) && !keyless.is_repeated_by(Some(own), START));
        assert_eq!(mark.successor(), new.reference());
    }

    #[test]
    fn a_session_that_was_refreshed_is_not_as_it_began() {
        let old = session(&user(), Kind::App);
        assert!(!old.was_never_refreshed());
        assert!(Session { generation: Generation::FIRST, id: SessionId::random(), ..old }.was_never_refreshed());
    }
}
