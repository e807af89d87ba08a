//! `GET /.well-known/jwks.json` — the public keys that verify access tokens (RFC 7517).
//! `GET /.well-known/openid-configuration` — where they are and who issues (`OpenID` Connect Discovery 1.0 §4), as far as a
//! verifier of tokens needs: API Gateway's own JWT authorizer, say, which takes RS256 alone.
//!
//! Success: `200 {keys}`, cacheable for five minutes; before the first sign-in there are none. `200 {issuer, jwks_uri, …}`,
//! cacheable likewise.
//!
//! Errors: `unavailable`.

use lambda_http::http::header::{CACHE_CONTROL, HeaderValue};
use shared::http::origin::ApiUrl;
use shared::prelude::*;
use shared::token::keys::Jwk;
use shared::token::{KeyRing, SigningAlgorithm};

/// What it needs.
pub struct Deps {
    keys: Arc<KeyRing>,
    signing_algorithm: SigningAlgorithm,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps {
        keys: platform.keys(&[KeyUse::Public]),
        signing_algorithm: platform.environment.signing_algorithm()?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// As long as our own verifiers keep keys.
const CACHEABLE: &str = "public, max-age=300";

/// A JSON Web Key Set (RFC 7517 §5).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeySet {
    keys: Vec<Jwk>,
}

/// The members that Discovery requires and that mean something here. There is no authorization endpoint: nobody signs in
/// through a redirect.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: String,
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    response_types_supported: [&'a str; 0],
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    subject_types_supported: [&'a str; 1],
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    id_token_signing_alg_values_supported: [&'a str; 1],
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    claims_supported: [&'a str; 11],
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    if request.uri().path().ends_with("/openid-configuration") {
        Ok(configuration(deps.signing_algorithm, &inbound.api_url))
    } else {
        key_set(&deps).await
    }
}

fn configuration(signing_algorithm: SigningAlgorithm, api_url: &ApiUrl) -> Response {
    let issuer = api_url.as_str();
    let body = Configuration {
        issuer,
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        response_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [signing_algorithm.as_str()],
        claims_supported: ["iss", "aud", "sub", "sid", "gen", "kind", "iat", "exp", "auth_time", "amr", "username"],
    };
    let mut response = json::response(StatusCode::OK, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHEABLE));
    response
}

async fn key_set(deps: &Deps) -> Result<Response, Problem> {
    let keys = deps.keys.published_keys(deps.clock.now()).await?;
    // Nobody may keep it that there are no keys yet: the first sign-in makes one.
    let cache = if keys.is_empty() { "no-store" } else { CACHEABLE };
    let mut response = json::response(StatusCode::OK, &KeySet { keys });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}
