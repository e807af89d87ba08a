//! What a sign-in or refresh answers: the same for all endpoints, and for each kind of session its own way of handing
//! out tokens.

use std::sync::Arc;

use lambda_http::http::StatusCode;
use serde::Serialize;

use super::cookies::{CookieKind, Cookies};
use super::credentials::Inbound;
use super::{Response, json};
use crate::account::User;
use crate::clock::Timestamp;
use crate::config::Api;
use crate::session::{Kind, Lifetimes, Session, SessionRef};
use crate::token::{DeviceToken, KeyError, KeyRing};

/// A user, as answers show it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = User))]
pub struct UserView<'a> {
    id: String,
    #[cfg_attr(feature = "openapi", schema(example = "ann"))]
    username: &'a str,
    #[cfg_attr(feature = "openapi", schema(example = "ann@example.com"))]
    email: &'a str,
    /// The language of mails to them.
    #[cfg_attr(feature = "openapi", schema(example = "en"))]
    locale: &'static str,
    /// What operators made them; not there where that is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(example = json!(["editor"])))]
    roles: Vec<&'a str>,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    created_at: String,
}

impl<'a> UserView<'a> {
    /// The view of `user`.
    pub fn new(user: &'a User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.as_str(),
            email: user.email.as_str(),
            locale: user.locale.as_str(),
            roles: user.roles.iter().collect(),
            created_at: user.created_at.to_string(),
        }
    }
}

/// A session, as answers show it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Session))]
pub struct SessionView {
    id: String,
    #[cfg_attr(feature = "openapi", schema(value_type = Kind))]
    kind: &'static str,
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    created_at: String,
    /// When it ends if it is not used.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    idle_expires_at: String,
    /// When it ends in any case.
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-11-23T10:00:00Z"))]
    expires_at: String,
}

impl SessionView {
    /// The view of `session`.
    pub fn new(session: &Session) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.as_str(),
            created_at: session.created_at.to_string(),
            idle_expires_at: session.idle_expires_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}

/// The tokens of an answer. In browser sessions no script ever sees one.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Token))]
pub struct TokenView {
    /// Seconds that the access token lives.
    #[cfg_attr(feature = "openapi", schema(example = 900))]
    expires_in: u64,
    /// An app's access token: a JWT (RFC 9068).
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<String>,
    /// An app's refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

/// What a sign-in or refresh answers.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionResponse<'a> {
    user: UserView<'a>,
    session: SessionView,
    token: TokenView,
    /// What an app sends along when it signs in again, so that this device is known (not in answers of a refresh).
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

/// Seconds that a browser keeps the cookie `device`: 400 days, the most that browsers allow.
const DEVICE_COOKIE_LIFETIME: u64 = 400 * 86_400;

/// Issues the tokens of a session.
#[derive(Clone)]
pub struct Issuer {
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) api: Arc<Api>,
}

impl Issuer {
    /// The sessions that a request came with: those that a new one replaces.
    pub async fn sessions(&self, inbound: &Inbound, now: Timestamp) -> Result<Vec<SessionRef>, KeyError> {
        inbound.sessions(&self.keys, now).await
    }

    /// How long sessions and tokens live.
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The answer to a sign-in, from a device that is known by `device` from now on.
    pub async fn sign_in_response(
        &self,
        status: StatusCode,
        user: &User,
        session: &Session,
        device: DeviceToken,
        inbound: &Inbound,
        now: Timestamp,
    ) -> Result<Response, KeyError> {
        if session.kind == Kind::App {
            return self.respond(status, user, session, Some(device.expose()), inbound, now).await;
        }
        let mut response = self.session_response(status, user, session, inbound, now).await?;
        remember_device(&self.api, inbound, device, &mut response);
        Ok(response)
    }

    /// The answer to a refresh, or to whatever else goes on with a session. A browser's cookies are all set or cleared, so
    /// that two people on one browser never mix; an app gets no cookies, and is rid of those it brought.
    pub async fn session_response(
        &self,
        status: StatusCode,
        user: &User,
        session: &Session,
        inbound: &Inbound,
        now: Timestamp,
    ) -> Result<Response, KeyError> {
        self.respond(status, user, session, None, inbound, now).await
    }

    async fn respond(
        &self,
        status: StatusCode,
        user: &User,
        session: &Session,
        device: Option<String>,
        inbound: &Inbound,
        now: Timestamp,
    ) -> Result<Response, KeyError> {
        let (access, expires_in) =
            self.keys.issue_access(user, session, &self.lifetimes, inbound.api_url.as_str(), now).await?;
        let refresh = match session.kind {
            Kind::Browser => None,
            Kind::Remembered | Kind::App => Some(self.keys.issue_refresh(session, now).await?),
        };
        let (user_view, session_view) = (UserView::new(user), SessionView::new(session));
        let answer = |token| SessionResponse { user: user_view, session: session_view, token, device };
        let cookies = Cookies::new(&self.api, &inbound.api_url);
        if session.kind == Kind::App {
            let mut response = json::response(status, &answer(TokenView { expires_in, access: Some(access), refresh }));
            if inbound.has_cookies() {
                cookies.clear_all(&mut response);
            }
            return Ok(response);
        }
        let mut response = json::response(status, &answer(TokenView { expires_in, access: None, refresh: None }));
        self.set_access(&mut response, user, session, inbound, (&access, expires_in), now);
        match refresh {
            Some(token) => cookies.set(&mut response, CookieKind::Refresh, &token, idle_left(session, now)),
            None => cookies.clear(&mut response, CookieKind::Refresh),
        }
        cookies.clear(&mut response, CookieKind::Signup);
        Ok(response)
    }

    /// Puts a browser's access token, and the name beside it, into an answer's cookies.
    fn set_access(
        &self,
        response: &mut Response,
        user: &User,
        session: &Session,
        inbound: &Inbound,
        (token, expires_in): (&str, u64),
        now: Timestamp,
    ) {
        let cookies = Cookies::new(&self.api, &inbound.api_url);
        cookies.set(response, CookieKind::Access, token, expires_in);
        let name_lives = if session.kind == Kind::Remembered { idle_left(session, now) } else { expires_in };
        cookies.set(response, CookieKind::Username, user.username.as_str(), name_lives);
    }
}

/// Has a browser keep what an account knows it by, beside what it holds of other people's.
pub fn remember_device(api: &Api, inbound: &Inbound, device: DeviceToken, response: &mut Response) {
    let devices = inbound.devices(None).with(device);
    let cookies = Cookies::new(api, &inbound.api_url);
    cookies.set(response, CookieKind::Device, &devices.expose(), DEVICE_COOKIE_LIFETIME);
}

/// Seconds until a session ends if it is not used.
const fn idle_left(session: &Session, now: Timestamp) -> u64 {
    session.idle_expires_at.seconds_since(now)
}
