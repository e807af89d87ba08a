//! `GET /.well-known/jwks.json` — the public keys that verify access tokens (RFC 7517).
//!
//! Success: `200 {keys}`, cacheable for five minutes. Before the first sign-in there are none.
//!
//! Errors: `unavailable`.

use std::sync::Arc;

use lambda_http::Request;
use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use shared::clock::Clock;
use shared::http::credentials::Inbound;
use shared::http::{Problem, Response, json};
use shared::runtime::{self, Endpoint, Platform};
use shared::token::keys::Jwk;
use shared::token::{KeyError, KeyRing};
use thiserror::Error;

/// What it needs.
pub struct Deps {
    keys: KeyRing,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Self {
        Self { keys: platform.keys(&platform.store()), clock: platform.clock.clone() }
    }
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Endpoint {
    runtime::endpoint(platform, Deps::new(platform), handle)
}

#[derive(Serialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// Why there is no key set.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct JwksError(#[from] KeyError);

impl From<JwksError> for Problem {
    fn from(JwksError(error): JwksError) -> Self {
        error.into()
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, _request: Request, _inbound: Inbound) -> Result<Response, JwksError> {
    let keys = deps.keys.published_keys(deps.clock.now()).await?;
    // Nobody may keep it that there are no keys yet: the first sign-in makes one.
    let cache = if keys.is_empty() { "no-store" } else { "public, max-age=300" };
    let mut response = json::response(StatusCode::OK, &KeySet { keys });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}
