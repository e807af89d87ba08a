//! Sessions: what one is, and the state machine that decides what a refresh credential brings (DESIGN.md section 5).
//!
//! Everything here is pure: no I/O, no clock, no randomness beside the identifier's. The store executes what
//! [`Session::refresh`] decides, and its conditional update is the same decision written as a DynamoDB condition.

mod access;
mod kind;
mod machine;
mod methods;
mod replacement;
mod retry_key;

pub use access::{AccessDecision, IN_FLIGHT_WINDOW};
pub use kind::{Client, Kind, KindLifetimes, Lifetimes};
pub use machine::{DUPLICATE_WINDOW, Decision, Presented, REMEMBERED_KEYS};
pub use methods::{AuthenticationMethod, AuthenticationMethods};
pub use replacement::{MAX_WRONG_PASSWORDS, REPLACEMENT_WINDOW, Replaced};
pub use retry_key::{InvalidRetryKey, RetryKey};

use crate::account::{Epoch, Status, User, UserId, random_id};
use crate::clock::Timestamp;

random_id! {
    /// Names a session; the `sid` of its tokens.
    SessionId
}

/// Counts a session's rotations; the `gen` of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    /// The generation of a new session.
    pub const FIRST: Self = Self(1);

    /// The generation with this number.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a session lies: its user's partition and its own key there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// Whose session it is.
    pub user_id: UserId,
    /// Which one.
    pub session_id: SessionId,
}

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Which client holds it, and how.
    pub kind: Kind,
    /// How often it was rotated.
    pub generation: Generation,
    /// The user's epoch when it began.
    pub epoch: Epoch,
    /// When it began.
    pub created_at: Timestamp,
    /// When its user last proved who they are. Neither a refresh nor an extension is such a proof; to be asked again makes
    /// a new session.
    pub authenticated_at: Timestamp,
    /// How they proved it.
    pub methods: AuthenticationMethods,
    /// When it was last rotated, or began.
    pub rotated_at: Timestamp,
    /// When it was last rotated or extended, or began.
    pub used_at: Timestamp,
    /// When it ends unless it is used before.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// The keys of the last rotations, newest first; `None` for a rotation without a key.
    pub recent_keys: [Option<RetryKey>; REMEMBERED_KEYS],
    /// The client's `User-Agent`, cut to 256 bytes.
    pub device: String,
}

impl Session {
    /// A new session of `user`, who has just proved by `methods` who they are.
    pub fn start(
        user: &User,
        kind: Kind,
        methods: AuthenticationMethods,
        device: &str,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Self {
        let lifetimes = lifetimes.of(kind);
        let expires_at = now.plus(lifetimes.absolute);
        Self {
            id: SessionId::random(),
            user_id: user.id,
            kind,
            generation: Generation::FIRST,
            epoch: user.epoch,
            created_at: now,
            authenticated_at: now,
            methods,
            rotated_at: now,
            used_at: now,
            idle_expires_at: now.plus(lifetimes.idle).min(expires_at),
            expires_at,
            recent_keys: [None; REMEMBERED_KEYS],
            device: cut(device, 256).to_owned(),
        }
    }

    /// Where it lies.
    pub const fn reference(&self) -> SessionRef {
        SessionRef { user_id: self.user_id, session_id: self.id }
    }

    /// Whether it has ended by time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.idle_expires_at || now >= self.expires_at
    }

    /// Whether it may be used: not expired, of its user's epoch, and the user enabled. `user` is what a strong read
    /// found; nobody there means no.
    pub fn is_alive(&self, user: Option<&User>, now: Timestamp) -> bool {
        !self.is_expired(now) && user.is_some_and(|user| self.belongs_to(user))
    }

    /// Whether it is a session of `user` as the user is now: of the same epoch, and the user enabled.
    pub fn belongs_to(&self, user: &User) -> bool {
        self.user_id == user.id && self.epoch == user.epoch && user.status == Status::Enabled
    }

    /// Whether its user proved who they are not longer than `window` seconds ago.
    pub const fn is_fresh(&self, window: u64, now: Timestamp) -> bool {
        now.seconds_since(self.authenticated_at) <= window
    }

    /// Seconds that an access token issued at `now` lives: never past the session's own end.
    pub fn access_lifetime(&self, lifetimes: &Lifetimes, now: Timestamp) -> u64 {
        let end = self.idle_expires_at.min(self.expires_at);
        lifetimes.of(self.kind).access.min(end.seconds_since(now))
    }
}

/// Which of a user's sessions have to go, so that with one more there are at most `limit`: those that have ended first,
/// then the oldest. `replaced` go in any case and are not counted.
///
/// The limit is kept by each sign-in alone: sign-ins at the same moment do not see each other, so there may be more for
/// a while. No more than [`MAX_EVICTED`] go at once; the next sign-in goes on.
pub fn evicted(
    user: &User,
    mut sessions: Vec<Session>,
    replaced: &[SessionRef],
    limit: usize,
    now: Timestamp,
) -> Vec<SessionRef> {
    sessions.retain(|session| !replaced.contains(&session.reference()));
    sessions.sort_by_key(|session| (session.is_alive(Some(user), now), session.created_at, session.used_at));
    let excess = (sessions.len() + 1).saturating_sub(limit);
    sessions.iter().take(excess.min(MAX_EVICTED)).map(Session::reference).collect()
}

/// A transaction of DynamoDB has 100 items at most: the new session, these, and the few that the request came with.
pub const MAX_EVICTED: usize = 90;

/// The longest start of `text` within `limit` bytes that ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{EmailAddress, Roles, Username};
    use crate::locale::Locale;

    const LIFETIMES: Lifetimes = Lifetimes::DEFAULTS;

    #[test]
    fn ended_sessions_go_first_and_then_the_oldest() {
        let user = User {
            id: UserId::random(),
            username: Username::parse("alice").expect("a name"),
            email: EmailAddress::parse("alice@example.test").expect("an address"),
            status: Status::Enabled,
            epoch: Epoch::FIRST,
            locale: Locale::En,
            created_at: Timestamp::from_unix(0),
            devices: crate::token::DeviceEpoch::default(),
            roles: Roles::default(),
            undos: Vec::new(),
        };
        let at = |seconds: u64| Timestamp::from_unix(1_000_000 + seconds);
        let start =
            |kind, seconds| Session::start(&user, kind, AuthenticationMethods::PASSWORD, "", &LIFETIMES, at(seconds));
        let app = [start(Kind::App, 0), start(Kind::App, 10), start(Kind::App, 20)];
        let idle = start(Kind::Browser, 5);
        let sessions = || app.iter().cloned().chain([idle.clone()]).collect::<Vec<_>>();
        let out = |replaced: &[SessionRef], limit| evicted(&user, sessions(), replaced, limit, at(5000));

        assert_eq!(out(&[], 5), []);
        assert_eq!(out(&[], 4), [idle.reference()]);
        assert_eq!(out(&[], 3), [idle.reference(), app[0].reference()]);
        assert_eq!(out(&[], 1), [idle.reference(), app[0].reference(), app[1].reference(), app[2].reference()]);
        assert_eq!(out(&[app[1].reference()], 2), [idle.reference(), app[0].reference()]);
        let parallel: Vec<Session> = (0..150).map(|second| start(Kind::App, second)).collect();
        assert_eq!(evicted(&user, parallel, &[], 20, at(5000)).len(), MAX_EVICTED);
        let newer = User { epoch: Epoch::from_number(2), ..user.clone() };
        assert_eq!(evicted(&newer, sessions(), &[], 4, at(30)), [app[0].reference()]);
    }
}
