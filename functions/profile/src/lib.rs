//! `PATCH /me` — changes the user's name, the language of their mails, or both.
//!
//! Another name is for who has just proved who they are. It moves the item that makes it unique; one that is only written in
//! another way (`ann`, `Ann`) does not, and may be reserved. The name before is free at once. Nobody compares the name
//! with the password here, as sign-up and verification do: that would take the password's hash, which this function cannot
//! read, and whoever chooses a name has just typed the password.
//!
//! Of another name the owner is told by a mail, and of any change by the event `user.updated`.
//!
//! Success: `200 {user, session}`. A browser's cookie `username` is renewed; access tokens have the name before until the
//! session is next refreshed or extended. The same request again is answered the same, and writes nothing.
//!
//! Errors: `invalid_request` (also a language that we do not write), `unsupported_media_type`, `body_too_large`,
//! `invalid_username` (also a reserved one), `username_taken`, `token_missing`, `token_invalid`, `token_expired`,
//! `session_ended` (each 401 with `WWW-Authenticate: Bearer`), `reauthentication_required` (another name alone),
//! `csrf_rejected`, `unavailable`.
//!
//! Round trips: 2; 2 RRU, 8 WRU for another name, else 4 (and the outbox's).

use lambda_http::tower::Layer;
use shared::account::{ReservedUsernames, User, Username};
use shared::config::Api;
use shared::http::SessionLayer;
use shared::http::caller::Caller;
use shared::http::cookies::{CookieKind, Cookies};
use shared::http::session_response::{SessionView, UserView};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::session::{Kind, Session};
use shared::store::UserChange;

/// How often a change is decided anew that met another one.
const ATTEMPTS: usize = 3;

/// What it needs, beside what the layer around it does.
pub struct Deps {
    store: Arc<Store>,
    reserved_usernames: ReservedUsernames,
    api: Api,
    /// Seconds.
    fresh_authentication: u64,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps {
        store: platform.store(),
        reserved_usernames: platform.environment.reserved_usernames()?,
        api: platform.environment.api()?,
        fresh_authentication: platform.environment.fresh_authentication()?,
        clock: platform.clock.clone(),
    };
    Ok(Endpoint::new(SessionLayer::new(platform)?.layer(platform.endpoint(deps, handle)?)))
}

/// What is to change.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProfileRequest {
    /// As at sign-up.
    #[cfg_attr(feature = "openapi", schema(example = "ann"))]
    username: Option<String>,
    /// The language of mails, as a BCP 47 tag: `en` or `ko`, with whatever region.
    #[cfg_attr(feature = "openapi", schema(example = "en"))]
    locale: Option<String>,
}

/// The user as they are now.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProfileResponse<'a> {
    user: UserView<'a>,
    session: SessionView,
}

/// Why nothing has changed.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// We write no mails in that language.
    #[error("locale: mails are in en or ko")]
    UnknownLocale,
    /// The name speaks for the service.
    #[error("the user name is reserved")]
    UsernameReserved,
    /// The name has an owner.
    #[error("the user name is taken")]
    UsernameTaken,
    /// Other changes came between, time and again.
    #[error("the user is being changed elsewhere")]
    Contended,
}

impl From<ProfileError> for Problem {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::UnknownLocale => Self::new(Code::InvalidRequest).with_detail(error),
            ProfileError::UsernameReserved => Self::new(Code::InvalidUsername).with_detail(error),
            ProfileError::UsernameTaken => Self::new(Code::UsernameTaken),
            ProfileError::Contended => Self::new(Code::Unavailable).caused_by(error),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let caller = Caller::of_request(&request)?;
    let ProfileRequest { username, locale } = json::parse_or_default(&request)?;
    let username = username.as_deref().map(Username::parse).transpose()?;
    let locale = locale.map(|tag| Locale::parse(&tag).ok_or(ProfileError::UnknownLocale)).transpose()?;

    let renews_cookie = username.is_some();
    let user = change(&deps, caller, username, locale).await?;
    let body = ProfileResponse { user: UserView::new(&user), session: SessionView::new(&caller.session) };
    let mut response = json::response(StatusCode::OK, &body);
    if renews_cookie {
        set_name(&deps, &mut response, &user, &caller.session, &inbound);
    }
    Ok(response)
}

/// The user, changed. Who met another change reads the user again and decides anew.
async fn change(
    deps: &Deps,
    caller: &Caller,
    username: Option<Username>,
    locale: Option<Locale>,
) -> Result<User, Problem> {
    let mut user = caller.user.clone();
    for _ in 0..ATTEMPTS {
        let now = deps.clock.now();
        let wished = User {
            username: username.clone().unwrap_or_else(|| user.username.clone()),
            locale: locale.unwrap_or(user.locale),
            ..user.clone()
        };
        if wished == user {
            return Ok(user);
        }
        if wished.username != user.username {
            caller.require_fresh(deps.fresh_authentication, now)?;
        }
        let is_written_anew = wished.username.normalised() == user.username.normalised();
        if !is_written_anew && deps.reserved_usernames.contains(&wished.username) {
            return Err(ProfileError::UsernameReserved.into());
        }
        match deps.store.update_user(&user, &wished, &[told(&user, &wished, &caller.session.device, now)]).await? {
            UserChange::Done => return Ok(wished),
            UserChange::UsernameTaken => return Err(ProfileError::UsernameTaken.into()),
            UserChange::Stale => user = caller.read_user_again(&deps.store, now).await?,
        }
    }
    Err(ProfileError::Contended.into())
}

/// What is told of a change: an event, and of another name a notice to the owner.
fn told(before: &User, after: &User, device: &str, now: Timestamp) -> OutboxItem {
    let item = if before.username == after.username {
        OutboxItem::nothing(now)
    } else {
        let (username, former) = (after.username.to_string(), before.username.to_string());
        let letter = Letter::UsernameChanged { username, former };
        OutboxItem::mail(QueuedMail::new(after.email.clone(), after.locale, letter, now).from_device(device), now)
    };
    item.with_event(EventType::UserUpdated, after.id)
}

/// Renews the readable cookie of a browser, which lives as long as the session does unused.
fn set_name(deps: &Deps, response: &mut Response, user: &User, session: &Session, inbound: &Inbound) {
    if session.kind != Kind::App && inbound.access_cookie.is_some() {
        let left = session.idle_expires_at.seconds_since(deps.clock.now());
        let cookies = Cookies::new(&deps.api, &inbound.api_url);
        cookies.set(response, CookieKind::Username, user.username.as_str(), left);
    }
}
