//! `GET /me` — who is signed in: the sample of a protected function that verifies its caller itself.
//!
//! Success: `200 {user, session}`. A `browser` session past half of its access token's life is extended, and the
//! answer carries the new cookie.
//!
//! Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended` (each with `WWW-Authenticate: Bearer`),
//! `unavailable`.
//!
//! Round trips: 1; 2 RRU (an extension adds 1 round trip and 1 WRU).

use std::sync::Arc;

use lambda_http::Request;
use lambda_http::http::StatusCode;
use serde::Serialize;
use shared::clock::Clock;
use shared::config::Config;
use shared::http::caller::{Caller, CallerError};
use shared::http::credentials::Inbound;
use shared::http::session_response::{Issuer, SessionView, UserView};
use shared::http::{Problem, Response, json};
use shared::runtime::{self, Endpoint, Platform};
use shared::store::Store;
use shared::token::{KeyError, KeyRing};
use thiserror::Error;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    keys: KeyRing,
    config: Arc<Config>,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Self {
        let store = platform.store();
        Self { keys: platform.keys(&store), store, config: Arc::clone(&platform.config), clock: platform.clock.clone() }
    }
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Endpoint {
    runtime::endpoint(platform, Deps::new(platform), handle)
}

#[derive(Serialize)]
struct MeResponse<'a> {
    user: UserView<'a>,
    session: SessionView,
}

/// Why nobody is shown.
#[derive(Debug, Error)]
pub enum MeError {
    /// Nobody is signed in.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// No key.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl From<MeError> for Problem {
    fn from(error: MeError) -> Self {
        match error {
            MeError::Caller(error) => error.into(),
            MeError::Keys(error) => error.into(),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, _request: Request, inbound: Inbound) -> Result<Response, MeError> {
    let now = deps.clock.now();
    let caller = Caller::authenticate(&inbound, &deps.keys, &deps.store, now).await?;

    let issuer = Issuer { keys: &deps.keys, config: &deps.config };
    let renewal = issuer.slide(&caller, &inbound, &deps.store, now).await?;
    let session = renewal.as_ref().map_or(&caller.session, |renewal| &renewal.session);
    let body = MeResponse { user: UserView::new(&caller.user), session: SessionView::new(session) };
    let mut response = json::response(StatusCode::OK, &body);
    if let Some(renewal) = &renewal {
        issuer.set_renewal(&mut response, renewal, &caller, &inbound, now);
    }
    Ok(response)
}
