//! The function that extends and ends browser sessions for whoever only reads them: protected functions, anyone's, and the
//! authorizer, which can sign and write nothing themselves (DESIGN.md section 5).
//!
//! It takes the access token that was presented and the generation that its caller read, `{access, generation}`, and acts
//! only while that generation is the stored one. It verifies the token itself, and does no more than the token's own
//! session allows:
//! - a token of the current generation past half of its life extends a `browser` session: `{outcome: "extended", access,
//!   expires_in, idle_expires_at}`, the new token with the issuer of the old one;
//! - a token two generations behind or more was used elsewhere: the session is ended, `{outcome: "ended"}`, and that is a
//!   security event, of which the owner is told;
//! - anything else changes nothing: `{outcome: "unchanged"}`.
//!
//! Round trips: 2; 2 RRU, 1 WRU (4 WRU where a session is ended for reuse).

use shared::http::renewal::{RenewRequest, Renewed};
use shared::outbox::OutboxItem;
use shared::prelude::*;
use shared::session::{AccessDecision, Generation, Lifetimes, Session};
use shared::store::StoreError;
use shared::telemetry::{Credential, SecurityEvent};
use shared::token::{AccessError, KeyError, KeyRing};

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    lifetimes: Lifetimes,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        Ok(Self {
            store: platform.store(),
            keys: platform.signing_keys(&[KeyUse::Signing, KeyUse::Public])?,
            lifetimes: platform.environment.lifetimes()?,
            clock: platform.clock.clone(),
        })
    }
}

/// Why nothing was decided. The caller's own answer does not depend on it.
#[derive(Debug, Error)]
pub enum RenewError {
    /// No key.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Answers an invocation.
pub async fn renew(deps: Arc<Deps>, request: RenewRequest) -> Result<Renewed, RenewError> {
    let now = deps.clock.now();
    let token = match deps.keys.verify_any_access(&request.access, now).await {
        Ok(token) if now < token.expires_at => token,
        Ok(_) | Err(AccessError::Invalid | AccessError::Expired) => return Ok(Renewed::Unchanged),
        Err(AccessError::Keys(error)) => return Err(error.into()),
    };
    let (session, user) = deps.store.find_session_and_user(token.session()).await?;
    let found = session.zip(user).filter(|(session, user)| {
        session.belongs_to(user) && session.is_at(Generation::from_number(request.generation))
    });
    let Some((session, user)) = found else { return Ok(Renewed::Unchanged) };

    match session.access(token.presented(), false, now) {
        AccessDecision::Accept => {
            let due = session.extend(token.generation, token.expires_at, &deps.lifetimes, now);
            let Some(idle_expires_at) = due else { return Ok(Renewed::Unchanged) };
            if !deps.store.extend_session(&session, idle_expires_at, now).await? {
                return Ok(Renewed::Unchanged);
            }
            let session = Session { idle_expires_at, used_at: now, ..session };
            let (access, expires_in) =
                deps.keys.issue_access(&user, &session, &deps.lifetimes, &token.issuer, now).await?;
            Ok(Renewed::Extended { access, expires_in, idle_expires_at: idle_expires_at.unix() })
        }
        AccessDecision::Reuse => {
            let notice = OutboxItem::session_reused(&user, &session, now);
            if !deps.store.end_reused_session(session.reference(), Some(session.generation), &[notice]).await? {
                return Ok(Renewed::Unchanged);
            }
            let (session, kind) = (session.reference(), session.kind);
            SecurityEvent::TokenReused { session, kind, credential: Credential::Access }.log();
            Ok(Renewed::Ended)
        }
        AccessDecision::AcceptStale | AccessDecision::Expired | AccessDecision::Ended => Ok(Renewed::Unchanged),
    }
}
