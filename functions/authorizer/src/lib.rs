//! The Lambda authorizer of the HTTP API (payload 2.0, simple response): the default for every route that anyone
//! adds, in any language.
//!
//! It allows a request with a genuine, unexpired access token in `Authorization: Bearer` or the access cookie whose
//! `Origin` is allowed and which came through the CDN, where there is one (`OriginSecret`), and hands on `userId`,
//! `username`, `roles` (an array), `sessionId` and `authTime`: when the user last proved who they are, in seconds since 1970,
//! for routes that want that to be recent. Anything else is refused, which API Gateway answers with a bare `403`.
//!
//! With `RevocationCheck=session`, the default, it reads session and user (1 round trip, 2 RRU), so that a logout, ban or
//! password change, and a role that was taken away, holds at once, and a browser's token that was used elsewhere is recognised by its generation: the function
//! `renew` then ends the session. With `token` it makes no database call once its keys are loaded.

use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayV2CustomAuthorizerSimpleResponse, ApiGatewayV2CustomAuthorizerV2Request,
};
use lambda_http::http::header::{COOKIE, HeaderValue};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::{ConfigError, RevocationCheck};
use shared::http::caller::CallerError;
use shared::http::context::{HANDLER_TIMEOUT, HttpContext};
use shared::http::credentials::Inbound;
use shared::http::origin::ApiUrl;
use shared::http::renewal::Renewer;
use shared::runtime::Platform;
use shared::store::{Store, StoreError};
use shared::token::{AccessClaims, AccessError, KeyError, KeyRing, KeyUse};
use thiserror::Error;
use tracing::Instrument;

/// What API Gateway reads.
pub type Answer = ApiGatewayV2CustomAuthorizerSimpleResponse<Value>;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    context: HttpContext,
    revocation_check: RevocationCheck,
    renewer: Renewer,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        Ok(Self {
            store: platform.store(),
            keys: platform.keys(&[KeyUse::Public]),
            context: HttpContext::from_env(&platform.environment)?,
            revocation_check: platform.environment.revocation_check()?,
            renewer: Renewer::new(platform)?,
            clock: platform.clock.clone(),
        })
    }
}

/// The question could not be answered; API Gateway answers `500` then.
#[derive(Debug, Error)]
pub enum AuthorizerError {
    /// No key.
    #[error(transparent)]
    Keys(KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// AWS took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// Answers whether a request may go on to its function.
pub async fn authorize(
    deps: Arc<Deps>,
    event: ApiGatewayV2CustomAuthorizerV2Request,
) -> Result<Answer, AuthorizerError> {
    let context = &event.request_context;
    let user_agent = event.headers.get("user-agent").map(HeaderValue::as_bytes).unwrap_or_default();
    let request_id = context.request_id.as_deref().unwrap_or_default();
    let source = deps.context.source(&event.headers, context.http.source_ip.as_deref());
    let span = deps.context.span_of(request_id, source, user_agent);
    decide(&deps, &event).instrument(span).await
}

async fn decide(deps: &Deps, event: &ApiGatewayV2CustomAuthorizerV2Request) -> Result<Answer, AuthorizerError> {
    let verdict = match inbound(&deps.context, event) {
        Some(inbound) => match tokio::time::timeout(HANDLER_TIMEOUT, verify(deps, &inbound)).await {
            Ok(verdict) => verdict,
            Err(_) => return Err(failed(AuthorizerError::TimedOut)),
        },
        None => Err(CallerError::Missing),
    };
    match verdict {
        Ok(claims) => {
            let mut context = json!({
                "userId": claims.user_id.to_string(),
                "username": claims.username,
                "roles": claims.roles.iter().collect::<Vec<_>>(),
                "sessionId": claims.session_id.to_string(),
            });
            if let Some(authenticated_at) = claims.authenticated_at {
                context["authTime"] = json!(authenticated_at.unix());
            }
            Ok(answer(true, context))
        }
        Err(CallerError::Token(AccessError::Keys(error))) => Err(failed(AuthorizerError::Keys(error))),
        Err(CallerError::Store(error)) => Err(failed(AuthorizerError::Store(error))),
        Err(
            CallerError::Missing
            | CallerError::SessionEnded
            | CallerError::Reused(_)
            | CallerError::ReauthenticationRequired
            | CallerError::RoleRequired
            | CallerError::Token(_),
        ) => Ok(answer(false, json!({}))),
    }
}

/// Where the request came to and what it brought; `None` if it comes by another way than it has to, or not from where it
/// may.
fn inbound(context: &HttpContext, event: &ApiGatewayV2CustomAuthorizerV2Request) -> Option<Inbound> {
    let request = &event.request_context;
    let api_url = match &context.api.url {
        Some(url) => url.clone(),
        None => ApiUrl::from_gateway(request.domain_name.as_deref()?, request.stage.as_deref())?,
    };
    // The cookies are among its headers again.
    let mut headers = event.headers.clone();
    // One that cannot be a header's value is none of ours, and hides none.
    for cookie in event.cookies.iter().filter_map(|cookie| HeaderValue::try_from(cookie).ok()) {
        headers.append(COOKIE, cookie);
    }
    let source = context.source(&headers, request.http.source_ip.as_deref());
    let inbound = Inbound::new(api_url, source, &headers);
    context.check(&request.http.method, &headers, &inbound).is_ok().then_some(inbound)
}

async fn verify(deps: &Deps, inbound: &Inbound) -> Result<AccessClaims, CallerError> {
    let now = deps.clock.now();
    match deps.revocation_check {
        RevocationCheck::Token => {
            let token = inbound.access_token()?.ok_or(CallerError::Missing)?;
            Ok(deps.keys.verify_access(token, &inbound.api_url, now).await?.unexpired(now)?)
        }
        RevocationCheck::Session => {
            let authenticated = deps.renewer.authenticate(inbound, &deps.keys, &deps.store, now).await;
            authenticated.map(|caller| AccessClaims {
                authenticated_at: Some(caller.session.authenticated_at),
                // Those that are stored, whatever the token says.
                roles: caller.user.roles,
                ..caller.token
            })
        }
    }
}

fn answer(is_authorized: bool, context: Value) -> Answer {
    let mut answer = Answer::default();
    answer.is_authorized = is_authorized;
    answer.context = context;
    answer
}

fn failed(error: AuthorizerError) -> AuthorizerError {
    tracing::error!(%error, "authorization failed");
    error
}
