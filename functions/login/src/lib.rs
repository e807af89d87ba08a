//! `POST /login` — signs in with a password.
//!
//! Success: `200`, a session response. The session that the request came with is ended, and so is the oldest of the user's
//! that is one too many (`MaxSessions`).
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_credentials`, `csrf_rejected`,
//! `unavailable`.
//!
//! A user that there is not costs the same time and the same round trips as a wrong password.
//!
//! Round trips: 3; 1 WRU, 3 RRU (1 more for each further 4 KB of sessions, some eight; a session that is ended with it
//! adds 3 WRU).

use std::sync::Arc;

use lambda_http::Request;
use lambda_http::http::StatusCode;
use serde::Deserialize;
use shared::account::{CandidatePassword, EmailAddress, Password, PasswordHash, Status, User, UserId, Username};
use shared::clock::Clock;
use shared::config::Config;
use shared::http::credentials::Inbound;
use shared::http::json::{self, BodyError};
use shared::http::session_response::Issuer;
use shared::http::{Code, Problem, Response};
use shared::password_hasher::{HashError, PasswordHasher, Verdict};
use shared::runtime::{self, Endpoint, Platform};
use shared::session::{Client, Kind, Session, crowded_out};
use shared::store::{Identifier, Store, StoreError};
use shared::token::{KeyError, KeyRing, KeyUse};
use thiserror::Error;

/// What a login needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    hasher: PasswordHasher,
    config: Arc<Config>,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Self {
        let store = platform.store();
        Self {
            keys: platform.keys(&store, &[KeyUse::Mac, KeyUse::Signing]),
            store,
            hasher: platform.hasher(),
            config: Arc::clone(&platform.config),
            clock: platform.clock.clone(),
        }
    }
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Endpoint {
    runtime::endpoint(platform, Deps::new(platform), handle)
}

/// Who signs in: a user name or an address, with the password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginRequest {
    /// The user name, as typed.
    #[cfg_attr(feature = "openapi", schema(example = "ann"))]
    username: Option<String>,
    /// The address, as typed.
    #[cfg_attr(feature = "openapi", schema(example = "ann@example.com"))]
    email: Option<String>,
    #[cfg_attr(feature = "openapi", schema(example = "correct horse battery"))]
    password: CandidatePassword,
    #[serde(default)]
    client: Client,
    /// A browser session of 30 days rather than 30 minutes. Apps need not say so.
    #[serde(default)]
    remember: bool,
}

/// Why nobody is signed in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The body is not what the endpoint takes.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Both a name and an address, or neither.
    #[error("either username or email is required")]
    Identifier,
    /// There is no such user, the password is another, or the user is banned.
    #[error("wrong name, address or password")]
    InvalidCredentials,
    /// The password could not be compared.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Body(error) => error.into(),
            LoginError::Identifier => Self::new(Code::InvalidRequest).with_detail(error),
            LoginError::InvalidCredentials => Self::new(Code::InvalidCredentials),
            LoginError::Hash(error) => error.into(),
            LoginError::Store(error) => error.into(),
            LoginError::Keys(error) => error.into(),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, LoginError> {
    let LoginRequest { username, email, password, client, remember } = json::parse(&request)?;
    let identifier = identifier(username.as_deref(), email.as_deref())?;
    let password = password.to_compare().ok_or(LoginError::InvalidCredentials)?;
    let now = deps.clock.now();

    let Found { user, stored, sessions } = find_user(&deps.store, &identifier).await?;
    let user = authenticate(&deps, user, password, stored).await?;
    let session = Session::start(&user, Kind::chosen(client, remember), &inbound.device, &deps.config.lifetimes, now);
    let mut replaced = inbound.sessions(&deps.keys, now).await?;
    replaced.extend(crowded_out(&user, sessions, &replaced, deps.config.max_sessions, now));
    deps.store.create_session(&session, &replaced).await?;

    let issuer = Issuer { keys: &deps.keys, config: &deps.config };
    Ok(issuer.session_response(StatusCode::OK, &user, &session, &inbound, now).await?)
}

/// Whom the request names. What cannot be a name or an address is nobody's.
fn identifier(username: Option<&str>, email: Option<&str>) -> Result<Identifier, LoginError> {
    match (username, email) {
        (Some(username), None) => Ok(Username::parse(username).map_or(Identifier::Nobody, Identifier::Username)),
        (None, Some(email)) => Ok(EmailAddress::parse(email).map_or(Identifier::Nobody, Identifier::Email)),
        _ => Err(LoginError::Identifier),
    }
}

/// Whoever the request names; nothing where there is nobody.
struct Found {
    user: Option<User>,
    stored: Option<PasswordHash>,
    sessions: Vec<Session>,
}

/// The user, the stored password and the sessions, in two round trips whether or not there is one.
async fn find_user(store: &Store, identifier: &Identifier) -> Result<Found, StoreError> {
    let user_id = store.find_user_id(identifier).await?.unwrap_or_else(UserId::random);
    let (found, sessions) = store.both(store.find_user_with_password(user_id), store.find_sessions(user_id)).await;
    let (user, stored) = found?.unzip();
    Ok(Found { user, stored, sessions: sessions? })
}

/// The user, if the password is theirs and they are not banned. A hash with outdated parameters is replaced.
async fn authenticate(
    deps: &Deps,
    user: Option<User>,
    password: Password,
    stored: Option<PasswordHash>,
) -> Result<User, LoginError> {
    let (verdict, password) = deps.hasher.verify(password, stored.clone()).await?;
    let (Verdict::Right { outdated }, Some(user), Some(stored)) = (verdict, user, stored) else {
        return Err(LoginError::InvalidCredentials);
    };
    if user.status != Status::Enabled {
        return Err(LoginError::InvalidCredentials);
    }
    if outdated {
        let renewed = deps.hasher.hash(password).await?;
        deps.store.rehash_password(user.id, &stored, &renewed).await?;
    }
    Ok(user)
}
