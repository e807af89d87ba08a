//! `GET /me/export` — everything that is held about the user, for who has just proved who they are.
//!
//! Success: `200 {exported_at, user, address, sessions}`, a file to keep. Of what is held it leaves out what proves or opens
//! something: the hash of the password, MACs, hashes of keys. Sessions are all that lie in the table, ended ones too. What no
//! key of the user's finds (a sign-up that is not completed, counters) is not there, and ends by itself
//! (docs/privacy.md).
//!
//! Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended` (each with `WWW-Authenticate: Bearer`),
//! `reauthentication_required`, `unavailable`.
//!
//! Round trips: 2; 3 RRU and 1 for each 4 KB of sessions (some eight).

use lambda_http::http::header::{CONTENT_DISPOSITION, HeaderValue};
use lambda_http::tower::Layer;
use shared::account::{Undo, User};
use shared::http::SessionLayer;
use shared::http::caller::Caller;
use shared::prelude::*;
use shared::session::{AuthenticationMethod, Session};
use shared::store::Undeliverable;

/// What it needs, beside what the layer around it does.
pub struct Deps {
    store: Arc<Store>,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps { store: platform.store(), clock: platform.clock.clone() };
    Ok(Endpoint::new(SessionLayer::new(platform)?.fresh()?.layer(platform.endpoint(deps, handle)?)))
}

/// Everything that is held about a user.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Export))]
pub struct ExportResponse {
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    exported_at: String,
    user: ExportedUser,
    address: ExportedAddress,
    /// The last used first.
    sessions: Vec<ExportedSession>,
}

/// The user.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedUser {
    id: String,
    username: String,
    email: String,
    /// `enabled`: whoever is not can ask for nothing. An operator's export may say `reset_required`, `deleting`, `disabled`.
    status: &'static str,
    /// The language of mails.
    locale: &'static str,
    /// How often all sessions were ended at once, counted from 1.
    epoch: u64,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    created_at: String,
    /// What operators made them.
    roles: Vec<String>,
    /// Changes of address that may be taken back, or could be until not long ago.
    undos: Vec<ExportedUndo>,
}

/// A change of address that may be taken back by whoever reads the one before.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedUndo {
    id: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    changed_at: String,
    /// The address before.
    email: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    until: String,
}

/// What is held of the address by itself.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedAddress {
    email: String,
    /// Why and until when it is not mailed, where a mail came back or was complained about.
    undeliverable: Option<ExportedMark>,
}

/// Why and until when an address is not mailed.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedMark {
    /// `bounce` or `complaint`.
    reason: &'static str,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    until: String,
}

/// A session.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedSession {
    id: String,
    #[cfg_attr(feature = "openapi", schema(value_type = shared::session::Kind))]
    kind: &'static str,
    /// The `User-Agent` of the sign-in, as it came.
    device: String,
    /// How often it was refreshed, counted from 1.
    generation: u32,
    /// The user's when it began.
    epoch: u64,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    created_at: String,
    /// When and how the user last proved who they are (RFC 8176).
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    authenticated_at: String,
    #[cfg_attr(feature = "openapi", schema(example = json!(["pwd"])))]
    methods: Vec<&'static str>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    refreshed_at: String,
    /// When it was last signed in with, refreshed or extended.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    last_used_at: String,
    /// When it ends if it is not used.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    idle_expires_at: String,
    /// When it ends in any case.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    expires_at: String,
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, _inbound: Inbound) -> Result<Response, Problem> {
    let Caller { user, .. } = Caller::of_request(&request)?;
    let (sessions, mark) =
        deps.store.both(deps.store.find_sessions(user.id), deps.store.find_undeliverable_mark(&user.email)).await;
    let body = ExportResponse::new(user, sessions?, mark?, deps.clock.now());
    let mut response = json::response(StatusCode::OK, &body);
    let file = HeaderValue::from_static("attachment; filename=\"account.json\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, file);
    Ok(response)
}

fn mark_view((reason, until): (Undeliverable, Timestamp)) -> ExportedMark {
    ExportedMark { reason: reason.as_str(), until: until.to_string() }
}

impl ExportResponse {
    /// What is held about a user, as it was read: the user, the sessions, and the mark of the address.
    pub fn new(
        user: &User,
        mut sessions: Vec<Session>,
        mark: Option<(Undeliverable, Timestamp)>,
        now: Timestamp,
    ) -> Self {
        sessions.sort_by_key(|session| std::cmp::Reverse((session.used_at, session.created_at)));
        Self {
            exported_at: now.to_string(),
            user: ExportedUser::new(user),
            address: ExportedAddress { email: user.email.as_str().to_owned(), undeliverable: mark.map(mark_view) },
            sessions: sessions.iter().map(ExportedSession::new).collect(),
        }
    }
}

impl ExportedUser {
    fn new(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            status: user.status.as_str(),
            locale: user.locale.as_str(),
            epoch: user.epoch.number(),
            created_at: user.created_at.to_string(),
            roles: user.roles.iter().map(str::to_owned).collect(),
            undos: user.undos.iter().map(ExportedUndo::new).collect(),
        }
    }
}

impl ExportedUndo {
    fn new(undo: &Undo) -> Self {
        Self {
            id: undo.id.to_string(),
            changed_at: undo.changed_at.to_string(),
            email: undo.email.as_str().to_owned(),
            until: undo.until.to_string(),
        }
    }
}

impl ExportedSession {
    fn new(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.as_str(),
            device: session.device.clone(),
            generation: session.generation.number(),
            epoch: session.epoch.number(),
            created_at: session.created_at.to_string(),
            authenticated_at: session.authenticated_at.to_string(),
            methods: session.methods.iter().map(AuthenticationMethod::as_str).collect(),
            refreshed_at: session.rotated_at.to_string(),
            last_used_at: session.used_at.to_string(),
            idle_expires_at: session.idle_expires_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}
