//! Sliding renewal: every call of a protected function keeps a `browser` session alive.
//!
//! It extends and never rotates: a rotation here would collide with the client's own refresh in flight.

use super::Response;
use super::caller::Caller;
use super::credentials::Inbound;
use super::session_response::Issuer;
use crate::clock::Timestamp;
use crate::session::Session;
use crate::store::Store;
use crate::token::KeyError;

/// A session that was extended, and its new access token.
pub struct Renewal {
    /// The session.
    pub session: Session,
    access: String,
    expires_in: u64,
}

impl Issuer {
    /// Extends the caller's session when its access token is past half of its life; `None` when nothing was due. A
    /// failing database costs the renewal, not the answer: the next call tries again.
    pub async fn slide(
        &self,
        caller: &Caller,
        inbound: &Inbound,
        store: &Store,
        now: Timestamp,
    ) -> Result<Option<Renewal>, KeyError> {
        let Caller { user, session, token } = caller;
        let due = session.extend(token.generation, token.expires_at, &self.lifetimes, now);
        // A link on another site that was followed is no sign that anybody is there.
        let may_extend = inbound.access_cookie.is_some() && !inbound.is_cross_site;
        let Some(idle_expires_at) = due.filter(|_| may_extend) else { return Ok(None) };
        match store.extend_session(session, idle_expires_at, now).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                tracing::warn!(%error, "sliding renewal skipped");
                return Ok(None);
            }
        }
        let session = Session { idle_expires_at, used_at: now, ..session.clone() };
        let (access, expires_in) =
            self.keys.issue_access(user, &session, &self.lifetimes, &inbound.api_url, now).await?;
        Ok(Some(Renewal { session, access, expires_in }))
    }

    /// Puts a renewal's token into the answer's cookies.
    pub fn set_renewal(
        &self,
        response: &mut Response,
        renewal: &Renewal,
        caller: &Caller,
        inbound: &Inbound,
        now: Timestamp,
    ) {
        let Renewal { session, access, expires_in } = renewal;
        self.set_access(response, &caller.user, session, inbound, (access, *expires_in), now);
    }
}
