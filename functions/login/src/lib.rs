//! `POST /login` — signs in with a password.
//!
//! Success: `200`, a session response, which hands out what this device is known by from now on (the cookie `device`, or
//! `device` in an app's answer). The owner is told of a device that was not known (`NewDeviceNotice`). The session that the request came with is ended, and so is the oldest of the user's
//! that is one too many (`MaxSessions`).
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_credentials`, `csrf_rejected`,
//! `unavailable`.
//!
//! A user of any status but `enabled` gets the answer of a wrong password: why nobody is signed in is told by mail alone.
//! A user that there is not costs the same time and the same round trips as a wrong password.
//!
//! Round trips: 3; 1 WRU, 3 RRU (1 more for each further 4 KB of sessions, some eight; a session that is ended with it
//! adds 3 WRU, and so does the notice of a new device).

use shared::account::{CandidatePassword, Password, PasswordHash, Status, User};
use shared::http::session_response::Issuer;
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::password_hasher::{PasswordHasher, Verdict};
use shared::prelude::*;
use shared::session::{AuthenticationMethods, Client, Kind, Session, evicted};
use shared::store::{Account, Identifier};
use shared::telemetry::{SecurityEvent, SignInMethod};
use shared::token::{DeviceTokens, KeyRing};

/// What a login needs.
pub struct Deps {
    store: Arc<Store>,
    hasher: PasswordHasher,
    issuer: Issuer,
    keys: Arc<KeyRing>,
    max_sessions: usize,
    new_device_notice: bool,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let keys = platform.signing_keys(&[KeyUse::Mac, KeyUse::Signing, KeyUse::Device])?;
    let deps = Deps {
        store: platform.store(),
        hasher: platform.hasher(),
        issuer: platform.issuer(&keys)?,
        keys,
        max_sessions: platform.environment.max_sessions()?,
        new_device_notice: platform.environment.new_device_notice()?,
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
    /// What an app was given when it signed in before; a browser has it in its cookie.
    device: Option<String>,
}

/// Why nobody is signed in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// Both a name and an address, or neither.
    #[error("either username or email is required")]
    Identifier,
    /// There is no such user, the password is another, or the user is banned, being deleted or has to reset it.
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
    let LoginRequest { username, email, password, client, remember, device } = json::parse(&request)?;
    let identifier = Identifier::given(username.as_deref(), email.as_deref()).ok_or(LoginError::Identifier)?;
    let password = password.to_compare().ok_or(LoginError::InvalidCredentials)?;
    let now = deps.clock.now();

    let Account { user, password_hash, sessions, devices } = deps.store.find_account(&identifier).await?;
    let user = verify(&deps, user, password, password_hash).await?;
    let (kind, methods) = (Kind::chosen(client, remember), AuthenticationMethods::PASSWORD);
    let session = Session::start(&user, kind, methods, &inbound.device, deps.issuer.lifetimes(), now);
    let mut replaced = deps.issuer.sessions(&inbound, now).await?;
    replaced.extend(evicted(&user, sessions, &replaced, deps.max_sessions, now));

    let held = device.as_deref().or(inbound.device_cookie.as_deref()).map(DeviceTokens::parse).unwrap_or_default();
    let known = deps.keys.known_device(&held, user.id, devices, now).await?;
    let notice = (known.is_none() && deps.new_device_notice).then(|| new_device(&user, &inbound, now));
    let device = match known {
        Some(device) => device,
        None => deps.keys.issue_device(user.id, devices, now).await?,
    };
    deps.store.create_session(&session, &replaced, notice.as_slice()).await?;

    SecurityEvent::signed_in(&session, SignInMethod::Password).log();
    Ok(deps.issuer.sign_in_response(StatusCode::OK, &user, &session, device, &inbound, now).await?)
}

/// The notice of a sign-in on a device that this account was not seen on before.
fn new_device(user: &User, inbound: &Inbound, now: Timestamp) -> OutboxItem {
    let letter = Letter::NewDevice { username: user.username.as_str().to_owned() };
    let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device);
    OutboxItem::mail(mail, now)
}

/// The user, if the password is theirs and they are enabled. A hash with outdated parameters is replaced.
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
