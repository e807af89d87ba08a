//! Renewal of browser sessions by those who only read them: protected functions, anyone's, and the authorizer.
//!
//! They can neither sign nor write. When an access cookie is past half of its life, or shows that it was copied, they
//! invoke the function `renew`, which verifies the cookie itself. The request's own answer does not depend on it: what
//! fails here is logged, and the next request tries again.
//!
//! It extends and never rotates: a rotation here would collide with the client's own refresh in flight.

use serde::{Deserialize, Serialize};

use super::caller::{Caller, CallerError};
use super::credentials::Inbound;
use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::function::Function;
use crate::runtime::Platform;
use crate::session::Generation;
use crate::store::Store;
use crate::token::KeyRing;

/// What `renew` is asked.
#[derive(Serialize, Deserialize)]
pub struct RenewRequest {
    /// The access token that was presented.
    pub access: String,
    /// The generation of its session that the caller read.
    pub generation: u32,
}

/// What `renew` did.
#[derive(Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Renewed {
    /// The session was extended.
    Extended {
        /// The new access token.
        access: String,
        /// Seconds that it lives.
        expires_in: u64,
        /// When the session ends unless it is used before, in seconds since 1970.
        idle_expires_at: u64,
    },
    /// The session was ended: its token was used elsewhere.
    Ended,
    /// Nothing was due, or the session has changed since the caller read it.
    Unchanged,
}

/// Whoever may invoke `renew`.
#[derive(Clone, Debug)]
pub struct Renewer(Function);

/// A session that was extended, and its new access token.
pub(crate) struct Extension {
    pub(crate) access: String,
    pub(crate) expires_in: u64,
    pub(crate) idle_expires_at: Timestamp,
}

impl Renewer {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        Ok(Self(Function::new(platform.aws.lambda(), platform.environment.renew_function()?)))
    }

    /// Has the session of a token extended, whose generation was read as `generation`.
    pub(crate) async fn extend(&self, access: &str, generation: Generation) -> Option<Extension> {
        match self.renew(access, generation).await? {
            Renewed::Extended { access, expires_in, idle_expires_at } => {
                let idle_expires_at = Timestamp::from_unix(idle_expires_at);
                Some(Extension { access, expires_in, idle_expires_at })
            }
            Renewed::Ended | Renewed::Unchanged => None,
        }
    }

    /// Whom a request is from, as [`Caller::authenticate`] says. A session whose token was used elsewhere is ended by the
    /// way.
    pub async fn authenticate(
        &self,
        inbound: &Inbound,
        keys: &KeyRing,
        store: &Store,
        now: Timestamp,
    ) -> Result<Caller, CallerError> {
        let authenticated = Caller::authenticate(inbound, keys, store, now).await;
        if let (Err(CallerError::Reused(generation)), Ok(Some(token))) = (&authenticated, inbound.access_token()) {
            self.renew(token, *generation).await;
        }
        authenticated
    }

    async fn renew(&self, access: &str, generation: Generation) -> Option<Renewed> {
        let request = RenewRequest { access: access.to_owned(), generation: generation.number() };
        match self.0.invoke(&request).await {
            Ok(renewed) => Some(renewed),
            Err(error) => {
                tracing::warn!(%error, "a session was not renewed");
                None
            }
        }
    }
}
