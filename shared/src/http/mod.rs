//! What every endpoint does with HTTP, in one place each.
//!
//! - [`json`]: bodies in and out; [`problem`]: errors out (RFC 9457);
//! - [`origin`]: where the API is, and who may call it; [`csrf`]: the check of every unsafe request; [`edge`]: the CDN in front;
//! - [`context`]: what every request meets before and after its handler;
//! - [`cookies`], [`credentials`]: what a request brings; [`caller`]: whom it comes from; [`source`]: where from;
//! - [`reauthentication`]: the password of who is signed in, asked again;
//! - [`session_layer`]: what surrounds a protected function, ours or anyone's;
//! - [`source`]: where a request comes from, as limits count it;
//! - [`page`]: what a mailed link opens; [`session_response`]: what a sign-in answers; [`renewal`]: what keeps a browser session alive.

pub mod caller;
pub mod context;
pub mod cookies;
pub mod credentials;
pub mod csrf;
pub mod edge;
pub mod json;
pub mod origin;
pub mod page;
pub mod problem;
pub mod reauthentication;
pub mod renewal;
pub mod session_layer;
pub mod session_response;
pub mod source;

pub use problem::{Code, Problem};
pub use session_layer::SessionLayer;

use lambda_http::http;

use crate::session::InvalidRetryKey;

/// An answer.
pub type Response = http::Response<lambda_http::Body>;

/// An answer without a body.
pub fn empty(status: http::StatusCode) -> Response {
    let mut response = Response::new(lambda_http::Body::Empty);
    *response.status_mut() = status;
    response
}

/// A header's value as text; `None` when it is missing or not ASCII.
pub fn header<'a>(request: &'a lambda_http::Request, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The `Idempotency-Key` of a request, as it was sent; `None` when there is none.
pub fn idempotency_key(request: &lambda_http::Request) -> Result<Option<&str>, InvalidRetryKey> {
    let sent = request.headers().get("idempotency-key");
    sent.map(|value| value.to_str().map_err(|_| InvalidRetryKey)).transpose()
}
