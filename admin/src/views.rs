//! The JSON of `--json`: stable (docs/operations.md). Members may be added; none changes its meaning.

use serde::Serialize;
use shared::account::User;
use shared::clock::Timestamp;
use shared::session::Session;

use crate::keys::KeyView;
use crate::limits::Count;
use crate::users::{Deleted, Details};

/// A user.
#[derive(Serialize)]
pub(crate) struct UserJson {
    id: String,
    username: String,
    email: String,
    status: &'static str,
    roles: Vec<String>,
    locale: &'static str,
    epoch: u64,
    created_at: String,
}

impl UserJson {
    pub(crate) fn new(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            status: user.status.as_str(),
            roles: user.roles.iter().map(str::to_owned).collect(),
            locale: user.locale.as_str(),
            epoch: user.epoch.number(),
            created_at: user.created_at.to_string(),
        }
    }
}

/// A user with what lies beside it.
#[derive(Serialize)]
pub(crate) struct DetailsJson {
    #[serde(flatten)]
    user: UserJson,
    undos: Vec<UndoJson>,
    sessions: Vec<SessionJson>,
    /// Why and until when the address is not mailed.
    undeliverable: Option<MarkJson>,
}

/// What one rule has counted of one subject.
#[derive(Serialize)]
pub(crate) struct CountJson<'a> {
    limit: &'static str,
    of: &'a str,
    count: u32,
    next_guess_at: Option<String>,
    forgotten_at: String,
}

impl<'a> CountJson<'a> {
    pub(crate) fn new(count: &'a Count) -> Self {
        Self {
            limit: count.scope,
            of: &count.of,
            count: count.count,
            next_guess_at: count.open_at.map(|at| at.to_string()),
            forgotten_at: count.until.to_string(),
        }
    }
}

/// A change of address that may be taken back.
#[derive(Serialize)]
struct UndoJson {
    changed_at: String,
    email: String,
    until: String,
}

/// A session that lives.
#[derive(Serialize)]
struct SessionJson {
    id: String,
    kind: &'static str,
    device: String,
    created_at: String,
    last_used_at: String,
    idle_expires_at: String,
    expires_at: String,
}

/// Why and until when an address is not mailed.
#[derive(Serialize)]
struct MarkJson {
    reason: &'static str,
    until: String,
}

impl DetailsJson {
    pub(crate) fn new(details: &Details, now: Timestamp) -> Self {
        let Details { user, mark, .. } = details;
        let undos = user.undos.iter().filter(|undo| now < undo.until).map(|undo| UndoJson {
            changed_at: undo.changed_at.to_string(),
            email: undo.email.as_str().to_owned(),
            until: undo.until.to_string(),
        });
        let mark = mark.filter(|(_, until)| now < *until);
        Self {
            user: UserJson::new(user),
            undos: undos.collect(),
            sessions: living(details, now).into_iter().map(SessionJson::new).collect(),
            undeliverable: mark.map(|(reason, until)| MarkJson { reason: reason.as_str(), until: until.to_string() }),
        }
    }
}

impl SessionJson {
    fn new(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.as_str(),
            device: shared::device::words(&session.device),
            created_at: session.created_at.to_string(),
            last_used_at: session.used_at.to_string(),
            idle_expires_at: session.idle_expires_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}

/// The sessions that live, the last used first.
pub(crate) fn living(details: &Details, now: Timestamp) -> Vec<&Session> {
    let mut living: Vec<&Session> =
        details.sessions.iter().filter(|session| session.is_alive(Some(&details.user), now)).collect();
    living.sort_by_key(|session| std::cmp::Reverse((session.used_at, session.created_at)));
    living
}

/// What became of a user.
#[derive(Serialize)]
pub(crate) struct ChangedJson {
    pub(crate) user: UserJson,
    pub(crate) changed: bool,
}

/// What became of a deletion.
#[derive(Serialize)]
pub(crate) struct DeletedJson {
    user: UserJson,
    changed: bool,
    waits_until: Option<String>,
}

impl DeletedJson {
    pub(crate) fn new(deleted: &Deleted) -> Self {
        let Deleted { user, waits_until, changed } = deleted;
        Self { user: UserJson::new(user), changed: *changed, waits_until: waits_until.map(|time| time.to_string()) }
    }
}

/// A key.
#[derive(Serialize)]
pub(crate) struct KeyJson {
    name: String,
    purpose: &'static str,
    state: &'static str,
    active_from: String,
}

impl KeyJson {
    pub(crate) fn new(key: &KeyView) -> Self {
        Self {
            name: key.name.to_string(),
            purpose: key.purpose.as_str(),
            state: key.state.as_str(),
            active_from: key.active_from.to_string(),
        }
    }
}

/// What `rotate-keys` did.
#[derive(Serialize)]
pub(crate) struct RotationJson {
    pub(crate) created: usize,
    pub(crate) deleted: usize,
}

/// What became of an address.
#[derive(Serialize)]
pub(crate) struct AddressJson<'a> {
    pub(crate) email: &'a str,
    pub(crate) changed: bool,
}
