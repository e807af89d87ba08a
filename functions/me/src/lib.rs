//! `GET /me` — who is signed in: the sample of a protected function.
//!
//! Success: `200 {user, session}`. A `browser` session past half of its access token's life is extended, and the
//! answer carries the new cookie.
//!
//! Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended` (each with `WWW-Authenticate: Bearer`),
//! `unavailable`.
//!
//! Round trips: 1; 2 RRU (an extension adds 1 round trip and 1 WRU).

use lambda_http::tower::Layer;
use shared::http::SessionLayer;
use shared::http::caller::Caller;
use shared::http::session_response::{SessionView, UserView};
use shared::prelude::*;

/// The function, ready to answer. The layer verifies the caller and extends the session; the function itself needs
/// nothing.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    Ok(Endpoint::new(SessionLayer::new(platform)?.layer(platform.endpoint((), handle)?)))
}

/// Who is signed in.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MeResponse<'a> {
    user: UserView<'a>,
    session: SessionView,
}

/// Answers a request.
pub async fn handle(_deps: Arc<()>, request: Request, _inbound: Inbound) -> Result<Response, Problem> {
    let Caller { user, session, .. } = Caller::of_request(&request)?;
    let body = MeResponse { user: UserView::new(user), session: SessionView::new(session) };
    Ok(json::response(StatusCode::OK, &body))
}
