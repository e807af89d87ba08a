//! `GET /sessions` — the caller's sessions, the last used first. `DELETE /sessions/{id}` — ends one of them.
//!
//! Success: `200 {sessions: [{id, kind, device, created_at, last_used_at, expires_at, current}]}`, where `device` is the
//! `User-Agent` of the sign-in in plain words; `204`, also when there is no such session. Whoever ends the current one
//! is logged out, and a browser's cookies are removed.
//!
//! Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended` (each with `WWW-Authenticate: Bearer`),
//! `csrf_rejected`, `unavailable`.
//!
//! Round trips: 2; 2 RRU and 1 for each 4 KB of sessions (some eight), or 1 WRU.

use lambda_http::RequestExt;
use lambda_http::http::Method;
use lambda_http::tower::Layer;
use shared::config::Api;
use shared::http::caller::Caller;
use shared::http::cookies::Cookies;
use shared::http::{self, SessionLayer};
use shared::prelude::*;
use shared::session::{Session, SessionId, SessionRef};

/// What it needs, beside what the layer around it does.
pub struct Deps {
    store: Arc<Store>,
    api: Api,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps { store: platform.store(), api: platform.environment.api()?, clock: platform.clock.clone() };
    Ok(Endpoint::new(SessionLayer::new(platform)?.layer(platform.endpoint(deps, handle)?)))
}

/// The user's sessions.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionsResponse {
    /// The last used first.
    sessions: Vec<DeviceView>,
}

/// A session among others.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ListedSession))]
pub struct DeviceView {
    id: String,
    #[cfg_attr(feature = "openapi", schema(value_type = shared::session::Kind))]
    kind: &'static str,
    /// The `User-Agent` of the sign-in, in plain words.
    #[cfg_attr(feature = "openapi", schema(example = "Firefox on Windows"))]
    device: String,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    created_at: String,
    /// When it was last signed in with, refreshed or extended.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    last_used_at: String,
    /// When it ends if it is not used.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    expires_at: String,
    /// Whether it is the one that asks.
    current: bool,
}

impl DeviceView {
    fn new(session: &Session, current: SessionId) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.as_str(),
            device: shared::device::words(&session.device),
            created_at: session.created_at.to_string(),
            last_used_at: session.used_at.to_string(),
            expires_at: session.expires_at.to_string(),
            current: session.id == current,
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let caller = Caller::of_request(&request)?;
    if request.method() == Method::DELETE {
        let parameters = request.path_parameters();
        end(&deps, caller, parameters.first("id").unwrap_or_default(), &inbound).await
    } else {
        list(&deps, caller).await
    }
}

async fn list(deps: &Deps, caller: &Caller) -> Result<Response, Problem> {
    let now = deps.clock.now();
    let mut sessions = deps.store.find_sessions(caller.user.id).await?;
    sessions.retain(|session| session.is_alive(Some(&caller.user), now));
    sessions.sort_by_key(|session| std::cmp::Reverse((session.used_at, session.created_at)));
    let views = sessions.iter().map(|session| DeviceView::new(session, caller.session.id));
    Ok(json::response(StatusCode::OK, &SessionsResponse { sessions: views.collect() }))
}

/// Ends a session of the caller's own. What cannot be one's identifier is no session.
async fn end(deps: &Deps, caller: &Caller, id: &str, inbound: &Inbound) -> Result<Response, Problem> {
    let id = SessionId::parse(id);
    if let Some(session_id) = id {
        deps.store.delete_session(SessionRef { user_id: caller.user.id, session_id }).await?;
    }
    let mut response = http::empty(StatusCode::NO_CONTENT);
    if id == Some(caller.session.id) && inbound.has_cookies() {
        Cookies::new(&deps.api, &inbound.api_url).clear_all(&mut response);
    }
    Ok(response)
}
