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

impl Issuer<'_> {
    /// Extends the caller's session when its access token is past half of its life, and adds the new cookie to the
    /// answer. A failing database costs the renewal, not the answer: the next call tries again.
    pub async fn slide(
        &self,
        response: &mut Response,
        caller: &Caller,
        inbound: &Inbound,
        store: &Store,
        now: Timestamp,
    ) -> Result<(), KeyError> {
        let Caller { user, session, token } = caller;
        let due = session.extend(token.generation, token.expires_at, &self.config.lifetimes, now);
        let Some(idle_expires_at) = due.filter(|_| inbound.access_cookie.is_some()) else { return Ok(()) };
        match store.extend_session(session, idle_expires_at, now).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "sliding renewal skipped");
                return Ok(());
            }
        }
        let extended = Session { idle_expires_at, ..session.clone() };
        let lifetimes = &self.config.lifetimes;
        let (access, expires_in) = self.keys.issue_access(user, &extended, lifetimes, &inbound.api_url, now).await?;
        self.set_access(response, user, &extended, inbound, (&access, expires_in), now);
        Ok(())
    }
}
