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

use shared::account::{CandidatePassword, Password, PasswordHash, Status, User};
use shared::http::session_response::Issuer;
use shared::password_hasher::{PasswordHasher, Verdict};
use shared::prelude::*;
use shared::session::{AuthenticationMethods, Client, Kind, Session, evicted};
use shared::store::{Account, Identifier};
use shared::telemetry::{SecurityEvent, SignInMethod};

/// What a login needs.
pub struct Deps {
    store: Arc<Store>,
    hasher: PasswordHasher,
    issuer: Issuer,
    max_sessions: usize,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let keys = platform.signing_keys(&[KeyUse::Mac, KeyUse::Signing])?;
    let deps = Deps {
        store: platform.store(),
        hasher: platform.hasher(),
        issuer: platform.issuer(&keys)?,
        max_sessions: platform.environment.max_sessions()?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
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
    #[cfg_attr(feature = "openapi", schema(nullable))]
    client: Client,
    /// A browser session of 30 days rather than 30 minutes. Apps need not say so.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    remember: bool,
}

/// Why nobody is signed in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// Both a name and an address, or neither.
    #[error("either username or email is required")]
    Identifier,
    /// There is no such user, the password is another, or the user is banned.
    #[error("wrong name, address or password")]
    InvalidCredentials,
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Identifier => Self::new(Code::InvalidRequest).with_detail(error),
            LoginError::InvalidCredentials => Self::new(Code::InvalidCredentials),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let LoginRequest { username, email, password, client, remember } = json::parse(&request)?;
    let identifier = Identifier::given(username.as_deref(), email.as_deref()).ok_or(LoginError::Identifier)?;
    let password = password.to_compare().ok_or(LoginError::InvalidCredentials)?;
    let now = deps.clock.now();

    let Account { user, password_hash, sessions } = deps.store.find_account(&identifier).await?;
    let user = verify(&deps, user, password, password_hash).await?;
    let (kind, methods) = (Kind::chosen(client, remember), AuthenticationMethods::PASSWORD);
    let session = Session::start(&user, kind, methods, &inbound.device, deps.issuer.lifetimes(), now);
    let mut replaced = deps.issuer.sessions(&inbound, now).await?;
    replaced.extend(evicted(&user, sessions, &replaced, deps.max_sessions, now));
    deps.store.create_session(&session, &replaced).await?;

    SecurityEvent::signed_in(&session, SignInMethod::Password).log();
    Ok(deps.issuer.session_response(StatusCode::OK, &user, &session, &inbound, now).await?)
}

/// The user, if the password is theirs and they are not banned. A hash with outdated parameters is replaced.
async fn verify(deps: &Deps, user: Option<User>, given: Password, hash: Option<PasswordHash>) -> Result<User, Problem> {
    let (verdict, password) = deps.hasher.verify(given, hash.clone()).await?;
    let user_id = user.as_ref().map(|user| user.id);
    let user = user.filter(|user| user.status == Status::Enabled);
    let (Verdict::Right { outdated }, Some(user), Some(hash)) = (verdict, user, hash) else {
        SecurityEvent::SignInFailed { user_id }.log();
        return Err(LoginError::InvalidCredentials.into());
    };
    if outdated {
        let renewed = deps.hasher.hash(password).await?;
        deps.store.rehash_password(user.id, &hash, &renewed).await?;
    }
    Ok(user)
}
