//! `POST /refresh` — exchanges a refresh credential for new tokens (DESIGN.md section 5).
//!
//! The credential is the body's `refresh` (apps), the cookie `refresh` (remembered browsers), or the unexpired access
//! token (browsers), in this order. With `Idempotency-Key` the same request may be repeated if its answer was lost.
//!
//! Success: `200`, a session response.
//!
//! Errors: `invalid_request` (also: a key that is too short, or the key of the rotation before),
//! `unsupported_media_type`, `body_too_large`, `token_missing`, `token_invalid`, `token_expired`, `token_reused` (the
//! session is ended and the cookies are cleared), `session_ended`, `duplicate_request`, `csrf_rejected`, `unavailable`.
//!
//! An access token past its end refreshes nothing; one that is two generations behind tells that it was copied, and ends
//! the session.
//!
//! Round trips: 1; 1 WRU, 1 RRU (where a session is ended for reuse 2, and 4 WRU: its owner is told).

use shared::account::User;
use shared::http::idempotency_key;
use shared::http::session_response::Issuer;
use shared::outbox::OutboxItem;
use shared::prelude::*;
use shared::session::{AccessDecision, Decision, InvalidRetryKey, Kind, Presented, RetryKey, Session, SessionRef};
use shared::store::Rotation;
use shared::telemetry::{Credential, SecurityEvent};
use shared::token::{AccessClaims, KeyRing};

/// What a refresh needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    issuer: Issuer,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let keys = platform.signing_keys(&[KeyUse::Mac, KeyUse::Signing])?;
    let deps = Deps { store: platform.store(), issuer: platform.issuer(&keys)?, keys, clock: platform.clock.clone() };
    platform.endpoint(deps, handle)
}

/// What is refreshed.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    /// An app's refresh token; browsers have cookies.
    refresh: Option<String>,
}

/// Why there are no new tokens.
#[derive(Debug, Error)]
pub enum RefreshError {
    /// The `Idempotency-Key` has less than 128 bits.
    #[error(transparent)]
    Key(#[from] InvalidRetryKey),
    /// The `Idempotency-Key` is the one of the rotation before.
    #[error("the Idempotency-Key must be a new one for each refresh")]
    UnchangedKey,
    /// No credential came.
    #[error("no refresh credential")]
    Missing,
    /// The credential is not genuine, or not one of its session's kind.
    #[error("the refresh credential is not valid")]
    Invalid,
    /// The access token, as a browser's credential, has expired.
    #[error("the access token has expired")]
    Expired,
    /// The session is gone, expired, or of an older epoch.
    #[error("the session has ended")]
    Ended,
    /// The credential was used elsewhere.
    #[error("the refresh credential was used before")]
    Reused,
    /// A late copy of an earlier refresh.
    #[error("a later refresh has happened")]
    Duplicate,
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Key(_) | RefreshError::UnchangedKey => Self::new(Code::InvalidRequest).with_detail(error),
            RefreshError::Missing => Self::new(Code::TokenMissing),
            RefreshError::Invalid => Self::new(Code::TokenInvalid),
            RefreshError::Expired => Self::new(Code::TokenExpired),
            RefreshError::Ended => Self::new(Code::SessionEnded),
            // Only here: a late answer about an ended session must not wipe the cookies of a newer login.
            RefreshError::Reused => Self::new(Code::TokenReused).clearing_cookies(),
            RefreshError::Duplicate => Self::new(Code::DuplicateRequest),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let RefreshRequest { refresh } = json::parse_or_default(&request)?;
    let now = deps.clock.now();
    let (session, presented) = credential(&deps, refresh.as_deref(), &inbound, now).await?;
    let key = idempotency_key(&request).map_err(RefreshError::Key)?;
    let key = key.map(|text| RetryKey::parse(text, session.session_id)).transpose().map_err(RefreshError::Key)?;

    let lifetimes = deps.issuer.lifetimes();
    let rotation = deps.store.rotate_session(session, presented, key, lifetimes, now);
    let (rotation, user) = deps.store.both(rotation, deps.store.find_user(session.user_id)).await;
    let (stored, decision) = match rotation? {
        Rotation::Rotated(session) => (session.clone(), Decision::Rotate(session)),
        Rotation::Refused(session) => {
            let decision = session.refresh(presented, key, lifetimes, now);
            (session, decision)
        }
        Rotation::Missing => return Err(ended(session).into()),
    };
    // A session of an older epoch is dead whatever was presented, also if the update has just rotated it.
    let user = user?.filter(|user| stored.belongs_to(user)).ok_or_else(|| ended(session))?;
    let session = execute(&deps, &user, stored, decision, now).await?;

    let replaced = deps.issuer.sessions(&inbound, now).await?;
    for other in replaced.into_iter().filter(|other| *other != session.reference()) {
        deps.store.delete_session(other).await?;
    }
    Ok(deps.issuer.session_response(StatusCode::OK, &user, &session, &inbound, now).await?)
}

/// The session that the request's credential names, and what of it is presented.
async fn credential(
    deps: &Deps,
    refresh: Option<&str>,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<(SessionRef, Presented), Problem> {
    let opaque = match (refresh, inbound.refresh_cookie.as_deref()) {
        (Some(token), _) => Some((token, Kind::App)),
        (None, Some(token)) => Some((token, Kind::Remembered)),
        (None, None) => None,
    };
    if let Some((token, kind)) = opaque {
        let claims = deps.keys.verify_refresh(token, now).await?.ok_or(RefreshError::Invalid)?;
        return Ok((claims.session(), Presented { kind, generation: claims.generation }));
    }
    let token = inbound.access_token()?.ok_or(RefreshError::Missing)?;
    let claims = deps.keys.verify_access(token, &inbound.api_url, now).await?;
    if now >= claims.expires_at {
        return Err(refuse_expired(deps, &claims, now).await?.into());
    }
    // An access token of another kind never refreshes: those kinds have a refresh token.
    if claims.kind != Kind::Browser {
        return Err(RefreshError::Invalid.into());
    }
    Ok((claims.session(), Presented { kind: Kind::Browser, generation: claims.generation }))
}

/// Why a genuine access token past its end refreshes nothing. In a browser's session one that is older than what may be
/// under way was copied: that ends the session.
async fn refuse_expired(deps: &Deps, claims: &AccessClaims, now: Timestamp) -> Result<RefreshError, Problem> {
    if claims.kind.is_browser() {
        let (session, user) = deps.store.find_session_and_user(claims.session()).await?;
        if let Some((session, user)) = session.zip(user).filter(|(session, user)| session.belongs_to(user))
            && session.access(claims.presented(), false, now) == AccessDecision::Reuse
        {
            return end_for_reuse(deps, &user, &session, Credential::Access, now).await;
        }
    }
    Ok(if claims.kind == Kind::Browser { RefreshError::Expired } else { RefreshError::Invalid })
}

/// Ends a session whose credential was used elsewhere, and has the owner told. Whoever shows it after another has, finds
/// it ended.
async fn end_for_reuse(
    deps: &Deps,
    user: &User,
    session: &Session,
    credential: Credential,
    now: Timestamp,
) -> Result<RefreshError, Problem> {
    let notice = OutboxItem::session_reused(user, session, now);
    deps.store.end_reused_session(session.reference(), None, &[notice]).await?;
    SecurityEvent::TokenReused { session: session.reference(), kind: session.kind, credential }.log();
    Ok(RefreshError::Reused)
}

/// The refusal of a genuine credential whose session was ended before its time.
fn ended(session: SessionRef) -> RefreshError {
    SecurityEvent::EndedSessionUsed { session, credential: Credential::Refresh }.log();
    RefreshError::Ended
}

/// Does what was decided, and returns the session whose tokens to issue.
async fn execute(
    deps: &Deps,
    user: &User,
    stored: Session,
    decision: Decision,
    now: Timestamp,
) -> Result<Session, Problem> {
    match decision {
        Decision::Rotate(session) => Ok(session),
        Decision::Repeat => Ok(stored),
        Decision::Race => {
            SecurityEvent::RefreshRaced { session: stored.reference() }.log();
            Ok(stored)
        }
        Decision::Duplicate => Err(RefreshError::Duplicate.into()),
        Decision::UnchangedKey => Err(RefreshError::UnchangedKey.into()),
        Decision::WrongKind => Err(RefreshError::Invalid.into()),
        Decision::Ended => Err(RefreshError::Ended.into()),
        Decision::Reuse => Err(end_for_reuse(deps, user, &stored, Credential::Refresh, now).await?.into()),
    }
}
