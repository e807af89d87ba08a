//! What a request brings to show who it is from.

use lambda_http::Request;
use lambda_http::http::{HeaderMap, HeaderValue};

use super::context::HttpContext;
use super::cookies::{self, CookieKind};
use super::json::MAX_BODY;
use super::origin::ApiUrl;
use super::source::Source;
use super::{Code, Problem};
use crate::clock::Timestamp;
use crate::session::SessionRef;
use crate::token::{AccessError, DeviceTokens, KeyError, KeyRing};

/// Where a request came to, and what it brought; nothing of it verified.
#[derive(Clone)]
pub struct Inbound {
    /// The API's own URL.
    pub api_url: ApiUrl,
    /// Where it came from, as limits count it.
    pub source: Source,
    /// The cookie `access`.
    pub access_cookie: Option<String>,
    /// The cookie `refresh`.
    pub refresh_cookie: Option<String>,
    /// The cookie `signup`.
    pub signup_cookie: Option<String>,
    /// The cookie `reset`.
    pub reset_cookie: Option<String>,
    /// The cookie `device`.
    pub device_cookie: Option<String>,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The `User-Agent`.
    pub device: String,
    /// The length of its body in bytes: as it is, or as it is said to be where the body itself did not come along.
    pub body_length: usize,
    /// Whether a browser sent it on behalf of a page of another site: a link that was followed, for instance.
    pub is_cross_site: bool,
}

impl Inbound {
    /// Reads a request's credentials.
    pub fn of_request(context: &HttpContext, request: &Request) -> Result<Self, Problem> {
        let api_url = ApiUrl::of_request(context.api.url.as_ref(), request)
            .ok_or_else(|| Problem::new(Code::Internal).caused_by("the event names no domain"))?;
        let body: &[u8] = request.body();
        let source = context.source_of(request);
        Ok(Self { body_length: body.len(), ..Self::new(api_url, source, request.headers()) })
    }

    /// Reads the credentials of a request from `source` to `api_url` with these headers.
    pub fn new(api_url: ApiUrl, source: Source, headers: &HeaderMap) -> Self {
        let cookie = |kind| cookies::find(headers, &api_url, kind);
        let bytes = |name: &str| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        Self {
            access_cookie: cookie(CookieKind::Access),
            refresh_cookie: cookie(CookieKind::Refresh),
            signup_cookie: cookie(CookieKind::Signup),
            reset_cookie: cookie(CookieKind::Reset),
            device_cookie: cookie(CookieKind::Device),
            bearer: std::str::from_utf8(bytes("authorization")).ok().and_then(bearer).map(str::to_owned),
            device: String::from_utf8_lossy(bytes("user-agent")).into_owned(),
            body_length: std::str::from_utf8(bytes("content-length")).ok().and_then(|n| n.parse().ok()).unwrap_or(0),
            is_cross_site: bytes("sec-fetch-site") == b"cross-site",
            api_url,
            source,
        }
    }

    /// Whether any cookie of ours came with it, so that a browser may have sent it on its own.
    pub const fn has_cookies(&self) -> bool {
        self.access_cookie.is_some()
            || self.refresh_cookie.is_some()
            || self.signup_cookie.is_some()
            || self.reset_cookie.is_some()
            || self.device_cookie.is_some()
    }

    /// The tokens of the devices that it comes from: the one that an app gives in its body, else those of the cookie.
    pub fn devices(&self, given: Option<&str>) -> DeviceTokens {
        given.or(self.device_cookie.as_deref()).map(DeviceTokens::parse).unwrap_or_default()
    }

    /// The access token, from header or cookie; an error when both are there and differ, as nobody can say then whom
    /// the request is from.
    pub fn access_token(&self) -> Result<Option<&str>, AccessError> {
        match (self.bearer.as_deref(), self.access_cookie.as_deref()) {
            (Some(bearer), Some(cookie)) if bearer != cookie => Err(AccessError::Invalid),
            (bearer, cookie) => Ok(bearer.or(cookie)),
        }
    }

    /// Whether its body is so large that the request may have been under way for long.
    pub const fn may_be_slow(&self) -> bool {
        self.body_length > MAX_BODY
    }

    /// The sessions that the request came with, expired or not: those that a new session on this device replaces.
    /// What is not genuine names no session.
    pub async fn sessions(&self, keys: &KeyRing, now: Timestamp) -> Result<Vec<SessionRef>, KeyError> {
        let mut sessions = Vec::new();
        if let Some(token) = &self.refresh_cookie
            && let Some(claims) = keys.verify_refresh(token, now).await?
        {
            sessions.push(claims.session());
        }
        for token in [&self.access_cookie, &self.bearer].into_iter().flatten() {
            match keys.verify_access(token, &self.api_url, now).await {
                Ok(claims) if !sessions.contains(&claims.session()) => sessions.push(claims.session()),
                Err(AccessError::Keys(error)) => return Err(error),
                Ok(_) | Err(AccessError::Invalid | AccessError::Expired) => {}
            }
        }
        Ok(sessions)
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inbound").field("api_url", &self.api_url).finish_non_exhaustive()
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
