//! What a server does with a refresh: production's machine, broken variants of it, and what others publish.

use std::sync::LazyLock;

use shared::account::{EmailAddress, Epoch, Status, User, UserId, Username};
use shared::clock::Timestamp;
use shared::locale::Locale;
use shared::session::{
    AccessDecision, AuthenticationMethods, Decision, Generation, Kind, KindLifetimes, Lifetimes, Presented,
    REMEMBERED_KEYS, RetryKey, Session, SessionId,
};

/// Seconds that one step of the model's clock takes: more than `RefreshGrace`, so that a step ends the grace, and less
/// than half of the window for late duplicates, so that two steps may pass within it.
pub const STEP: u64 = 25;
/// Steps after which a rotation is older than anything looks at: past the window for late duplicates.
pub const OLDEST: u8 = 3;

const LIFETIMES: Lifetimes = Lifetimes {
    browser: KindLifetimes { access: 1800, idle: 1800, absolute: 86_400 },
    app: KindLifetimes { access: 900, idle: 2_592_000, absolute: 15_552_000 },
    refresh_grace: 10,
};
const NOW: Timestamp = Timestamp::from_unix(1_000_000);
const USER_ID: UserId = UserId::from_bytes([2; 16]);

/// The user whose sessions these are.
static SOMEBODY: LazyLock<User> = LazyLock::new(|| User {
    id: USER_ID,
    username: Username::parse("somebody").expect("a name"),
    email: EmailAddress::parse("somebody@example.test").expect("an address"),
    status: Status::Enabled,
    epoch: Epoch::FIRST,
    locale: Locale::En,
    created_at: NOW,
    devices: shared::token::DeviceEpoch::default(),
    roles: shared::account::Roles::default(),
    undos: Vec::new(),
});

/// A retry key; equal numbers are equal keys.
pub type Key = u8;

/// A session as the model keeps it: what of it a refresh looks at, with times relative to now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// The current generation.
    pub generation: u8,
    /// The keys of the last rotations, newest first.
    pub keys: [Option<Key>; REMEMBERED_KEYS],
    /// Steps since the last rotation, [`OLDEST`] at most.
    pub age: u8,
    /// It has ended by time.
    pub expired: bool,
}

impl Stored {
    /// A session that has just begun.
    pub const fn new() -> Self {
        Self { generation: 1, keys: [None; REMEMBERED_KEYS], age: OLDEST, expired: false }
    }

    /// The session that production's machine is asked about.
    fn to_session(&self, kind: Kind) -> Session {
        let rotated_at = Timestamp::from_unix(NOW.unix() - u64::from(self.age) * STEP);
        Session {
            id: SessionId::from_bytes([1; 16]),
            user_id: USER_ID,
            kind,
            generation: Generation::from_number(u32::from(self.generation)),
            epoch: Epoch::FIRST,
            created_at: rotated_at,
            authenticated_at: rotated_at,
            methods: AuthenticationMethods::PASSWORD,
            rotated_at,
            used_at: rotated_at,
            idle_expires_at: if self.expired { NOW } else { NOW.plus(LIFETIMES.of(kind).idle) },
            expires_at: NOW.plus(LIFETIMES.of(kind).absolute),
            recent_keys: self.keys.map(|key| key.map(|number| RetryKey::from_hash([number; 32]))),
            device: String::new(),
        }
    }

    /// Whether the session, which is of this epoch, opens anything to a server that has read a user of an epoch and a status.
    pub fn is_alive(&self, kind: Kind, epoch: u8, user: Option<(u8, Status)>) -> bool {
        let of_number = |epoch| Epoch::from_number(u64::from(epoch));
        let session = Session { epoch: of_number(epoch), ..self.to_session(kind) };
        let user = user.map(|(epoch, status)| User { epoch: of_number(epoch), status, ..SOMEBODY.clone() });
        session.is_alive(user.as_ref(), NOW)
    }

    /// The session after a rotation with `key`.
    fn rotated(&self, key: Option<Key>) -> Self {
        let [newest, middle, _] = self.keys;
        Self { generation: self.generation + 1, keys: [key, newest, middle], age: 0, expired: false }
    }
}

impl Default for Stored {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// Tokens of this generation.
    Tokens(u8),
    /// `duplicate_request`.
    Duplicate,
    /// `invalid_request`: the key of the rotation before.
    UnchangedKey,
    /// `token_reused`: the session has been ended.
    Reused,
    /// `session_ended`.
    Ended,
}

/// A way to take an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Production's.
    Latchkey,
    /// Broken: the generation before is good for nobody, not even for requests under way.
    NoAllowance,
    /// Broken: the generation before ends the session once a minute has passed, whatever the client's key would say.
    ParentIsTheft,
    /// Broken: a large body is taken for any other.
    UploadsAreFast,
    /// Broken: an older generation is as good as the current one, as it was here before.
    OlderIsGood,
}

impl Access {
    /// What a genuine access token of `generation` brings; `is_upload`: the request's body may have been long under way.
    pub fn access(self, stored: &Stored, kind: Kind, generation: u8, is_upload: bool) -> AccessDecision {
        let presented = Presented { kind, generation: Generation::from_number(u32::from(generation)) };
        let decide = |stored: &Stored, is_slow| stored.to_session(kind).access(presented, is_slow, NOW);
        match self {
            Self::Latchkey => decide(stored, is_upload),
            Self::NoAllowance => decide(&Stored { age: OLDEST, ..stored.clone() }, is_upload),
            Self::ParentIsTheft => match decide(stored, is_upload) {
                AccessDecision::Expired if generation + 1 == stored.generation => AccessDecision::Reuse,
                decision => decision,
            },
            Self::UploadsAreFast => decide(stored, false),
            Self::OlderIsGood => match decide(stored, is_upload) {
                AccessDecision::Ended => AccessDecision::Ended,
                _ => AccessDecision::Accept,
            },
        }
    }
}

/// A way to refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Production's.
    Latchkey,
    /// Broken: tabs without keys may race however late.
    GraceWithoutLimit,
    /// Broken: an absent key equals an absent key.
    AbsentKeysMatch,
    /// Broken: nobody minds the key of the rotation before.
    NoKeyReuseCheck,
    /// Broken: an old key is a late duplicate however late.
    KnownKeysForEver,
    /// Broken: the parent with an earlier rotation's key is taken for theft, as it was here until the checker objected.
    RefusedCopyIsTheft,
    /// Broken: nobody looks at the user's epoch.
    EpochUnchecked,
    /// RFC 9700 §4.14.2: an older token ends the session.
    Rotation,
    /// The token before is good for a fixed time after its rotation.
    ReuseInterval,
    /// The token before is good for as long as it is the token before.
    UnlimitedParent,
}

impl Protocol {
    /// What becomes of the session, `None` when it is ended, and what the client is told.
    pub fn refresh(self, stored: &Stored, kind: Kind, generation: u8, key: Option<Key>) -> (Option<Stored>, Reply) {
        let current = stored.generation;
        let keep = |reply| (Some(stored.clone()), reply);
        let rotate = || (Some(stored.rotated(key)), Reply::Tokens(current + 1));
        let is_parent = generation + 1 == current;
        match self {
            Self::GraceWithoutLimit => {
                let lifetimes = Lifetimes { refresh_grace: u64::MAX, ..LIFETIMES };
                execute(stored, kind, generation, key, lifetimes)
            }
            Self::AbsentKeysMatch if is_parent && key.is_none() && stored.keys[0].is_none() => {
                keep(Reply::Tokens(current))
            }
            Self::KnownKeysForEver => {
                // As if the last rotation were now, for generations that only the window spares.
                let young = if generation + 1 < current { Stored { age: 0, ..stored.clone() } } else { stored.clone() };
                let (after, reply) = execute(&young, kind, generation, key, LIFETIMES);
                if reply == Reply::Duplicate { keep(reply) } else { (after, reply) }
            }
            Self::RefusedCopyIsTheft => {
                let (after, reply) = execute(stored, kind, generation, key, LIFETIMES);
                if is_parent && reply == Reply::Duplicate { (None, Reply::Reused) } else { (after, reply) }
            }
            Self::NoKeyReuseCheck | Self::Rotation | Self::ReuseInterval | Self::UnlimitedParent
                if generation == current =>
            {
                rotate()
            }
            Self::ReuseInterval if is_parent && stored.age == 0 => keep(Reply::Tokens(current)),
            Self::UnlimitedParent if is_parent => keep(Reply::Tokens(current)),
            Self::Rotation | Self::ReuseInterval | Self::UnlimitedParent => (None, Reply::Reused),
            Self::Latchkey | Self::EpochUnchecked | Self::AbsentKeysMatch | Self::NoKeyReuseCheck => {
                execute(stored, kind, generation, key, LIFETIMES)
            }
        }
    }
}

/// Asks production's machine, and does what `functions/refresh` does with its decision.
fn execute(
    stored: &Stored,
    kind: Kind,
    generation: u8,
    key: Option<Key>,
    lifetimes: Lifetimes,
) -> (Option<Stored>, Reply) {
    let presented = Presented { kind, generation: Generation::from_number(u32::from(generation)) };
    let hash = key.map(|number| RetryKey::from_hash([number; 32]));
    let keep = |reply| (Some(stored.clone()), reply);
    match stored.to_session(kind).refresh(presented, hash, &lifetimes, NOW) {
        Decision::Rotate(session) => {
            let after = stored.rotated(key);
            debug_assert_eq!(session.generation.number(), u32::from(after.generation));
            (Some(after), Reply::Tokens(stored.generation + 1))
        }
        Decision::Repeat | Decision::Race => keep(Reply::Tokens(stored.generation)),
        Decision::Duplicate => keep(Reply::Duplicate),
        Decision::UnchangedKey => keep(Reply::UnchangedKey),
        Decision::Reuse => (None, Reply::Reused),
        Decision::WrongKind | Decision::Ended => keep(Reply::Ended),
    }
}
