//! `POST /logout` — ends the session, or with `"everywhere": true` all of the user's sessions.
//!
//! The credential is the body's `refresh`, the cookie `refresh`, or an access token, which may have expired. With
//! `everywhere` its session has to live, an access token must not have expired, and a refresh token has to be the
//! session's current one.
//!
//! Success: `204`, and a browser's cookies are removed; `204` again when repeated, and without any credential.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `token_invalid` (a token in the body or the
//! header that is not genuine), `csrf_rejected`, `unavailable`; with `everywhere` also `token_missing`, `token_expired`
//! and `session_ended`.
//!
//! Round trips: 1; 1 WRU. With `everywhere`: 2; 1 WRU, 2 RRU.

use shared::config::Api;
use shared::http;
use shared::http::caller::CallerError;
use shared::http::cookies::Cookies;
use shared::prelude::*;
use shared::session::SessionRef;
use shared::token::{AccessError, KeyRing};

/// What a logout needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    api: Api,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps {
        store: platform.store(),
        keys: platform.keys(&[KeyUse::Mac]),
        api: platform.environment.api()?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// What is ended.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogoutRequest {
    /// An app's refresh token; browsers have cookies.
    refresh: Option<String>,
    /// All of the user's sessions.
    #[cfg_attr(feature = "openapi", schema(nullable))]
    everywhere: bool,
}

/// Why nothing was ended.
#[derive(Debug, Error)]
pub enum LogoutError {
    /// A token in the body or the header is not genuine.
    #[error("the token is not valid")]
    Invalid,
}

impl From<LogoutError> for Problem {
    fn from(error: LogoutError) -> Self {
        match error {
            LogoutError::Invalid => Self::new(Code::TokenInvalid),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let LogoutRequest { refresh, everywhere } = json::parse_or_default(&request)?;
    let now = deps.clock.now();

    if everywhere {
        end_all(&deps, refresh.as_deref(), &inbound, now).await?;
    } else {
        for session in sessions(&deps.keys, refresh.as_deref(), &inbound, now).await? {
            deps.store.delete_session(session).await?;
        }
    }
    let mut response = http::empty(StatusCode::NO_CONTENT);
    let is_app = refresh.is_some() || inbound.bearer.is_some();
    if inbound.has_cookies() || !is_app {
        Cookies::new(&deps.api, &inbound.api_url).clear_all(&mut response);
    }
    Ok(response)
}

/// Ends all sessions of the caller. If the caller's own has been ended in this way already, the request is a repeated
/// one, and sessions that began since then are none of its business.
async fn end_all(deps: &Deps, refresh: Option<&str>, inbound: &Inbound, now: Timestamp) -> Result<(), Problem> {
    let (claimed, generation) = match refresh.or(inbound.refresh_cookie.as_deref()) {
        Some(token) => {
            let claims = deps.keys.verify_refresh(token, now).await?.ok_or(LogoutError::Invalid)?;
            (claims.session(), Some(claims.generation))
        }
        None => {
            let token = inbound.access_token().map_err(CallerError::from)?.ok_or(CallerError::Missing)?;
            let claims = deps.keys.verify_access(token, &inbound.api_url, now).await.map_err(CallerError::from)?;
            (claims.unexpired(now).map_err(CallerError::from)?.session(), None)
        }
    };
    let (session, user) = deps.store.find_session_and_user(claimed).await?;
    let (Some(session), Some(user)) = (session, user) else { return Err(CallerError::SessionEnded.into()) };
    let is_current = generation.is_none_or(|generation| generation == session.generation);
    if session.epoch < user.epoch {
        return Ok(());
    }
    if !session.is_alive(Some(&user), now) || !is_current {
        return Err(CallerError::SessionEnded.into());
    }
    Ok(deps.store.revoke_all_sessions(user.id).await?)
}

/// The sessions to end: the one of each credential that came. Cookies that are not genuine are only removed; a token
/// that a program sent on purpose has to be one.
async fn sessions(
    keys: &KeyRing,
    refresh: Option<&str>,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<Vec<SessionRef>, Problem> {
    let mut sessions = inbound.sessions(keys, now).await?;
    if let Some(token) = refresh {
        let claims = keys.verify_refresh(token, now).await?.ok_or(LogoutError::Invalid)?;
        if !sessions.contains(&claims.session()) {
            sessions.push(claims.session());
        }
    }
    if let Some(token) = &inbound.bearer {
        match keys.verify_access(token, &inbound.api_url, now).await {
            Ok(_) => {}
            Err(AccessError::Keys(error)) => return Err(error.into()),
            Err(AccessError::Invalid | AccessError::Expired) => return Err(LogoutError::Invalid.into()),
        }
    }
    Ok(sessions)
}
