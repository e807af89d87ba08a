//! Whom a request to a protected function is from.
//!
//! Our own functions ask this themselves: API Gateway answers a refused authorizer with a bare 403, and one
//! invocation is cheaper than two. Session and user are read strongly, so that a logout holds at once.

use lambda_http::Request;
use thiserror::Error;

use super::credentials::Inbound;
use super::{Code, Problem};
use crate::account::User;
use crate::clock::Timestamp;
use crate::session::{AccessDecision, Generation, Session};
use crate::store::{Store, StoreError};
use crate::telemetry::{Credential, SecurityEvent};
use crate::token::{AccessClaims, AccessError, KeyRing};

/// A signed-in user, as of this request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// The session.
    pub session: Session,
    /// What the access token says.
    pub token: AccessClaims,
}

/// Why nobody is signed in.
#[derive(Debug, Error)]
pub enum CallerError {
    /// No token came.
    #[error("no access token")]
    Missing,
    /// The token is not acceptable.
    #[error(transparent)]
    Token(#[from] AccessError),
    /// The session, or the user, is gone, expired, of an older epoch or banned.
    #[error("the session has ended")]
    SessionEnded,
    /// The token is an older one of a browser's session: it was used elsewhere. The session, which was read at this
    /// generation, is to be ended.
    #[error("the access token was used elsewhere")]
    Reused(Generation),
    /// The user is signed in, and proved who they are too long ago for this.
    #[error("the authentication is not fresh")]
    ReauthenticationRequired,
    /// The user is signed in, and has not the role that this asks for.
    #[error("the user has not the role")]
    RoleRequired,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CallerError> for Problem {
    fn from(error: CallerError) -> Self {
        let code = match error {
            CallerError::Missing => Code::TokenMissing,
            CallerError::SessionEnded => Code::SessionEnded,
            CallerError::Reused(_) => Code::TokenReused,
            CallerError::Token(AccessError::Keys(error)) => return error.into(),
            CallerError::Token(error) => return Self::from(error).with_bearer_challenge(),
            // No 401, which clients answer by refreshing.
            CallerError::ReauthenticationRequired => return Self::new(Code::ReauthenticationRequired),
            CallerError::RoleRequired => return Self::new(Code::RoleRequired),
            CallerError::Store(error) => return error.into(),
        };
        Self::new(code).with_bearer_challenge()
    }
}

impl Caller {
    /// Whom a request is from that came through a [`SessionLayer`](super::SessionLayer); without one, nobody.
    pub fn of_request(request: &Request) -> Result<&Self, CallerError> {
        request.extensions().get().ok_or(CallerError::Missing)
    }

    /// Lets through who proved who they are not longer than `window` seconds ago, for routes of which only some requests
    /// want that; the others have [`SessionLayer::fresh`](super::SessionLayer::fresh).
    pub const fn require_fresh(&self, window: u64, now: Timestamp) -> Result<(), CallerError> {
        if self.session.is_fresh(window, now) { Ok(()) } else { Err(CallerError::ReauthenticationRequired) }
    }

    /// Lets through who has a role now, whatever the token says, for routes of which only some requests want that; the
    /// others have [`SessionLayer::require_role`](super::SessionLayer::require_role).
    pub fn require_role(&self, role: &str) -> Result<(), CallerError> {
        if self.user.roles.contains(role) { Ok(()) } else { Err(CallerError::RoleRequired) }
    }

    /// Verifies the access token of a request, and that its session lives and is not past it: one round trip.
    pub async fn authenticate(
        inbound: &Inbound,
        keys: &KeyRing,
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, CallerError> {
        let token = inbound.access_token()?.ok_or(CallerError::Missing)?;
        let token = keys.verify_access(token, &inbound.api_url, now).await?.unexpired(now)?;
        let (session, user) = store.find_session_and_user(token.session()).await?;
        Self::admit(token, session.zip(user), inbound.may_be_slow(), now)
    }

    /// Whom a genuine, unexpired token brings, whose session and user were read.
    pub(crate) fn admit(
        token: AccessClaims,
        found: Option<(Session, User)>,
        may_be_slow: bool,
        now: Timestamp,
    ) -> Result<Self, CallerError> {
        let found = found.filter(|(session, user)| session.belongs_to(user));
        let decision = found
            .as_ref()
            .map_or(AccessDecision::Ended, |(session, _)| session.access(token.presented(), may_be_slow, now));
        match (decision, found) {
            (AccessDecision::Accept, Some((session, user))) => Ok(Self { user, session, token }),
            (AccessDecision::AcceptStale, Some((session, user))) => {
                SecurityEvent::StaleTokenUsed { session: token.session() }.log();
                Ok(Self { user, session, token })
            }
            (AccessDecision::Expired, _) => Err(AccessError::Expired.into()),
            (AccessDecision::Reuse, Some((session, _))) => Err(CallerError::Reused(session.generation)),
            (AccessDecision::Ended, _) | (_, None) => {
                SecurityEvent::EndedSessionUsed { session: token.session(), credential: Credential::Access }.log();
                Err(CallerError::SessionEnded)
            }
        }
    }

    /// The user as they are by now, for a write that met another user than this request began with; no one if the session
    /// has ended meanwhile.
    pub async fn read_user_again(&self, store: &Store, now: Timestamp) -> Result<User, CallerError> {
        let (session, user) = store.find_session_and_user(self.session.reference()).await?;
        let is_alive = session.is_some_and(|session| session.is_alive(user.as_ref(), now));
        user.filter(|_| is_alive).ok_or(CallerError::SessionEnded)
    }
}
