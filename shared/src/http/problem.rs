//! Errors as clients see them: `application/problem+json` (RFC 9457) with a `code` of a closed set.
//!
//! [`Problem`] is what any endpoint fails by: database, keys, hashes, bodies and mails become one here, and an endpoint's
//! own enum of refusals does beside its handler.

use std::convert::Infallible;
use std::fmt;

use lambda_http::Body;
use lambda_http::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::Response;
use crate::account::{InvalidEmail, InvalidUsername, WeakPassword};
use crate::function::InvokeError;
use crate::mail::MailError;
use crate::password_hasher::HashError;
use crate::store::{AccountError, StoreError};
use crate::telemetry;
use crate::token::{AccessError, KeyError, SealError};

/// Declares the closed set: variant, name on the wire, status and title.
macro_rules! codes {
    ($($(#[$docs:meta])* $variant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        /// The closed set of error codes. A client may match on them for good.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$docs])* $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status it comes with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    InvalidRequest = "invalid_request", BAD_REQUEST, "The request is not valid";
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be application/json";
    /// The body is over 16 KiB.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The new password is too short, too long, too easy to guess, or known from a leak.
    WeakPassword = "weak_password", UNPROCESSABLE_ENTITY, "The password is not strong enough";
    /// No address that can be mailed.
    InvalidEmail = "invalid_email", UNPROCESSABLE_ENTITY, "The e-mail address is not valid";
    /// No name that can be had.
    InvalidUsername = "invalid_username", UNPROCESSABLE_ENTITY, "The user name is not valid";
    /// The name has an owner.
    UsernameTaken = "username_taken", CONFLICT, "The user name is taken";
    /// The address has an owner. Only answered to who proved the address.
    EmailTaken = "email_taken", CONFLICT, "The e-mail address has an account";
    /// A late copy of an earlier refresh.
    DuplicateRequest = "duplicate_request", CONFLICT, "A later refresh has happened already";
    /// Wrong name, address or password.
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "The credentials are not valid";
    /// A link alone: the device that signed up, or the password, is needed too.
    ConfirmationRequired = "confirmation_required", UNAUTHORIZED, "The link alone does not verify a sign-up";
    /// No credential.
    TokenMissing = "token_missing", UNAUTHORIZED, "A token is required";
    /// A credential that is not genuine, or not of this use.
    TokenInvalid = "token_invalid", UNAUTHORIZED, "The token is not valid";
    /// An access token past its end.
    TokenExpired = "token_expired", UNAUTHORIZED, "The token has expired";
    /// A refresh credential that was used elsewhere; the session has been ended.
    TokenReused = "token_reused", UNAUTHORIZED, "The token was used before; the session has been ended";
    /// The session is over.
    SessionEnded = "session_ended", UNAUTHORIZED, "The session has ended";
    /// A link or code that is wrong, used up or too old.
    InvalidVerification = "invalid_verification", BAD_REQUEST, "The link or code is not valid";
    /// The user proved who they are too long ago for this: they have to prove it again (`POST /reauthenticate`).
    ReauthenticationRequired = "reauthentication_required", FORBIDDEN, "Who signed in has to prove again who they are";
    /// The user is signed in, and has not the role that the route asks for.
    RoleRequired = "role_required", FORBIDDEN, "The user does not have the role that this needs";
    /// The password that was asked again of who is signed in is another. Never a 401, which clients answer by refreshing.
    WrongPassword = "wrong_password", FORBIDDEN, "The password is not the right one";
    /// A request from a page that may not make it.
    CsrfRejected = "csrf_rejected", FORBIDDEN, "The request's origin is not allowed";
    /// A request that did not come through the CDN that stands in front.
    OriginRequired = "origin_required", FORBIDDEN, "The request has to come through the service's own address";
    /// Too many, too soon.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// Something that is needed did not answer. The same request may be sent again.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The service is temporarily unavailable";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong";
}

/// Seconds after which a client may try again what was unavailable.
const RETRY_UNAVAILABLE_AFTER: u64 = 1;

/// An error on its way to the client. What caused it stays here, for the log.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    retry_after: Option<u64>,
    bearer_challenge: bool,
    clear_cookies: bool,
    page: Option<Box<Response>>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    /// The problem with this code.
    pub const fn new(code: Code) -> Self {
        let retry_after = match code {
            Code::Unavailable => Some(RETRY_UNAVAILABLE_AFTER),
            _ => None,
        };
        Self { code, detail: None, retry_after, bearer_challenge: false, clear_cookies: false, page: None, cause: None }
    }

    /// Says more, to the client.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Says when to try again, in seconds.
    #[must_use]
    pub const fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says how to authenticate (RFC 6750 §3), as protected routes do.
    #[must_use]
    pub const fn with_bearer_challenge(mut self) -> Self {
        self.bearer_challenge = true;
        self
    }

    /// Has the cookies cleared with it, if any came.
    #[must_use]
    pub const fn clearing_cookies(mut self) -> Self {
        self.clear_cookies = true;
        self
    }

    /// Keeps the cause, for the log and for pages.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Shows a person this page instead of JSON; the status is the problem's.
    #[must_use]
    pub fn shown_as(mut self, page: Response) -> Self {
        self.page = Some(Box::new(page));
        self
    }

    /// Its code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Seconds after which to try again.
    pub const fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// Whether the cookies that came are to be cleared with it.
    pub const fn clears_cookies(&self) -> bool {
        self.clear_cookies
    }

    /// What happened, with all that led to it, for the log alone.
    pub fn causes(&self) -> String {
        self.cause.as_deref().map(|cause| telemetry::causes(cause)).unwrap_or_default()
    }

    /// Why a new password was refused, where that is what it says: pages have words for it.
    pub fn weak_password(&self) -> Option<&WeakPassword> {
        self.cause.as_deref()?.downcast_ref()
    }

    /// The answer. A 5xx names the request, so that its cause can be found in the log.
    pub fn into_response(self, request_id: &str) -> Response {
        let status = self.code.status();
        let has_page = self.page.is_some();
        let members = Members {
            r#type: format!("urn:latchkey:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail,
            request_id: status.is_server_error().then_some(request_id),
        };
        let json = || Response::new(Body::Text(serde_json::to_string(&members).unwrap_or_default()));
        let mut response = self.page.map_or_else(json, |page| *page);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if !has_page {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.bearer_challenge {
            headers.insert(WWW_AUTHENTICATE, challenge(self.code));
        }
        response
    }
}

/// What an error says (RFC 9457).
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Problem))]
pub struct Members<'a> {
    /// `urn:latchkey:problem:` and the code.
    r#type: String,
    /// What the code means, for developers.
    title: &'a str,
    /// The status again.
    status: u16,
    /// One of a closed set.
    code: &'a str,
    /// What this request lacks, for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Names a 5xx in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// RFC 6750 §3.1: no error where no token was sent, `invalid_token` where one failed.
const fn challenge(code: Code) -> HeaderValue {
    match code {
        Code::TokenMissing => HeaderValue::from_static("Bearer"),
        _ => HeaderValue::from_static("Bearer error=\"invalid_token\""),
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A failure of a function that has no errors of its own; its cause is for the log.
impl From<lambda_http::Error> for Problem {
    fn from(error: lambda_http::Error) -> Self {
        Self::new(Code::Internal).caused_by(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable(_) | StoreError::Refused { .. } => Code::Unavailable,
            StoreError::Corrupt { .. } => Code::Internal,
        };
        Self::new(code).caused_by(error)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Invoke(error) => error.into(),
            KeyError::Malformed | KeyError::Signature | KeyError::Generation | KeyError::Missing => {
                Self::new(Code::Internal).caused_by(error)
            }
        }
    }
}

impl From<InvalidUsername> for Problem {
    fn from(error: InvalidUsername) -> Self {
        Self::new(Code::InvalidUsername).with_detail(error)
    }
}

impl From<InvalidEmail> for Problem {
    fn from(error: InvalidEmail) -> Self {
        Self::new(Code::InvalidEmail).with_detail(error)
    }
}

impl From<WeakPassword> for Problem {
    fn from(error: WeakPassword) -> Self {
        Self::new(Code::WeakPassword).with_detail(&error).caused_by(error)
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::EmailTaken => Self::new(Code::EmailTaken),
            AccountError::UsernameTaken => Self::new(Code::UsernameTaken),
            AccountError::AlreadyCompleted(_) => Self::new(Code::InvalidVerification),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<MailError> for Problem {
    fn from(error: MailError) -> Self {
        // What is refused for good would be refused again: no client is asked to retry.
        let code = match error {
            MailError::Throttled { .. } | MailError::Unavailable(_) => Code::Unavailable,
            MailError::Refused { .. } => Code::Internal,
        };
        Self::new(code).caused_by(error)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Invalid => Self::new(Code::TokenInvalid),
            AccessError::Expired => Self::new(Code::TokenExpired),
            AccessError::Keys(error) => error.into(),
        }
    }
}

impl From<InvokeError> for Problem {
    fn from(error: InvokeError) -> Self {
        Self::new(Code::Unavailable).caused_by(error)
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        Self::new(Code::Internal).caused_by(error)
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        Self::new(Code::Internal).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(response: &Response) -> serde_json::Value {
        serde_json::from_slice(response.body()).expect("JSON")
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let response = Problem::new(Code::WeakPassword).with_detail("at least 8").into_response("id");
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(
            body(&response),
            serde_json::json!({
                "type": "urn:latchkey:problem:weak_password", "title": "The password is not strong enough",
                "status": 422, "code": "weak_password", "detail": "at least 8",
            })
        );
    }

    #[test]
    fn a_5xx_carries_the_request_and_no_cause() {
        let error = StoreError::Unavailable("table users in eu-central-1".into());
        let problem = Problem::from(error);
        assert!(problem.causes().contains("eu-central-1"));
        let response = problem.into_response("request-7");
        assert_eq!(response.headers()["retry-after"], "1");
        let body = body(&response);
        assert_eq!(body["request_id"], "request-7");
        assert!(!body.to_string().contains("eu-central-1"));
    }

    #[test]
    fn every_code_is_spelled_once() {
        let names: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), 25);
    }
}
