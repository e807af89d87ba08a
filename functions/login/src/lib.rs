//! `POST /login` — signs in with a password.
//!
//! Success: `200`, a session response, which hands out what this device is known by from now on (the cookie `device`, or
//! `device` in an app's answer). The owner is told of a device that was not known (`NewDeviceNotice`). The session that the request came with is ended, and so is the oldest of the user's
//! that is one too many (`MaxSessions`).
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_credentials`, `rate_limited`,
//! `csrf_rejected`, `unavailable`.
//!
//! A user of any status but `enabled` gets the answer of a wrong password: why nobody is signed in is told by mail alone.
//! A user that there is not costs the same time and the same round trips as a wrong password.
//!
//! Each guess is counted before it is compared ([`shared::limits`]): those of strangers under the name or address, anyone's or
//! nobody's, and under their source; those of a device that the account knows under the device alone, so that nobody keeps
//! the owner out. A locked name or address is refused from the look-up, with the right password too: no write, no hash. What
//! was counted is forgotten once the password was right.
//!
//! Round trips: 3 (1 more where a device is no longer known); 3 WRU (2 more from a stranger that is not on this machine),
//! 4 RRU (1 more for each further 4 KB of sessions, some eight; a session that is ended with it adds 3 WRU, and so does the
//! notice of a new device). Locked: 1; 2 RRU.

use shared::account::{CandidatePassword, Password, PasswordHash, Status, User, UserId};
use shared::http::session_response::Issuer;
use shared::limits::{self, Counter, FailureLimit, Failures, Limit};
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::password_hasher::{PasswordHasher, Verdict};
use shared::prelude::*;
use shared::session::{AuthenticationMethods, Client, Kind, Session, evicted};
use shared::store::{Account, ChargedGuess, Identifier, LimitError, Lookup};
use shared::telemetry::{SecurityEvent, SignInMethod};
use shared::token::{DeviceToken, KeyRing, Mac};

/// What a login needs.
pub struct Deps {
    store: Arc<Store>,
    hasher: PasswordHasher,
    issuer: Issuer,
    keys: Arc<KeyRing>,
    failures: FailureLimit,
    device_failures: Limit,
    source_failures: Limit,
    max_sessions: usize,
    new_device_notice: bool,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let keys = platform.signing_keys(&[KeyUse::Mac, KeyUse::Signing, KeyUse::Device, KeyUse::Limit])?;
    let deps = Deps {
        store: platform.store(),
        hasher: platform.hasher(),
        issuer: platform.issuer(&keys)?,
        keys,
        failures: environment.failure_limit()?,
        device_failures: environment.limit(&limits::DEVICE_PASSWORDS)?,
        source_failures: environment.limit(&limits::SOURCE_FAILURES)?,
        max_sessions: environment.max_sessions()?,
        new_device_notice: environment.new_device_notice()?,
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

    let key = deps.keys.limit_key(now).await?;
    let subject = identifier.subject(&key);
    let Lookup { user_id, failures } = deps.store.look_up(&identifier, subject).await?;
    let device = deps.keys.device_of(&inbound.devices(device.as_deref()), user_id, now).await?;
    let source = deps.source_failures.of_source(inbound.source, &key, now);
    let stranger = Stranger { subject, failures, source };
    let device = device.map(|token| Device { counter: deps.device_failures.of_device(&token, &key, now), token });
    let (account, guess) = count(&deps, user_id, stranger, device, now).await?;

    let Account { user, password_hash, sessions } = account;
    let user = verify(&deps, user, password, password_hash).await?;
    let (kind, methods) = (Kind::chosen(client, remember), AuthenticationMethods::PASSWORD);
    let session = Session::start(&user, kind, methods, &inbound.device, deps.issuer.lifetimes(), now);
    let mut replaced = deps.issuer.sessions(&inbound, now).await?;
    replaced.extend(evicted(&user, sessions, &replaced, deps.max_sessions, now));

    let notice = (!guess.is_known() && deps.new_device_notice).then(|| new_device(&user, &inbound, now));
    let created = deps.store.create_session(&session, &replaced, notice.as_slice());
    let (created, ()) = deps.store.both(created, guess.forget(&deps.store)).await;
    created?;

    SecurityEvent::signed_in(&session, SignInMethod::Password).log();
    let device = match guess {
        Guess::Known(device) => device.token,
        Guess::Stranger(..) => deps.keys.issue_device(user.id, user.devices, now).await?,
    };
    Ok(deps.issuer.sign_in_response(StatusCode::OK, &user, &session, device, &inbound, now).await?)
}

/// Whoever guesses on a device that the account does not know.
struct Stranger {
    subject: Mac,
    /// The wrong passwords of the identifier so far.
    failures: Option<Failures>,
    source: Option<Counter>,
}

/// A device with a genuine token of the account.
struct Device {
    token: DeviceToken,
    counter: Option<Counter>,
}

/// A guess that was counted.
enum Guess {
    /// By a device that is known to the account.
    Known(Device),
    /// By whoever else.
    Stranger(Stranger, Option<ChargedGuess>),
}

impl Guess {
    const fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// Forgets what was counted, as the guess was right: all wrong ones of a stranger's identifier, and only the device's own
    /// of a known device.
    async fn forget(&self, store: &Store) {
        match self {
            Self::Known(device) => store.forget(device.counter.as_ref()).await,
            Self::Stranger(stranger, charged) => {
                let forgotten = async {
                    if charged.is_some() {
                        store.forget_failures(stranger.subject).await;
                    }
                };
                store.both(forgotten, store.give_back(stranger.source.as_ref())).await;
            }
        }
    }
}

/// Counts a guess beside reading the account. A device counts by itself while the account knows it and it has guesses of its
/// own left; else it is a stranger.
async fn count(
    deps: &Deps,
    user_id: Option<UserId>,
    stranger: Stranger,
    device: Option<Device>,
    now: Timestamp,
) -> Result<(Account, Guess), Problem> {
    let find = deps.store.find_account(user_id);
    let Some(device) = device else {
        // A locked identifier is refused from what was read.
        deps.failures.check(stranger.failures, now)?;
        let (account, charged) = deps.store.both(find, stranger.charge(deps, now)).await;
        return match (account, charged?) {
            (Ok(account), charged) => Ok((account, Guess::Stranger(stranger, charged))),
            (Err(error), charged) => {
                stranger.take_back(deps, charged).await;
                Err(error.into())
            }
        };
    };
    let (account, counted) = deps.store.both(find, deps.store.count(device.counter.as_ref(), now)).await;
    let account = match account {
        Ok(account) => account,
        Err(error) => {
            if counted.is_ok() {
                deps.store.give_back(device.counter.as_ref()).await;
            }
            return Err(error.into());
        }
    };
    match counted {
        Ok(()) if account.user.as_ref().is_some_and(|user| device.token.is_of(user.devices)) => {
            return Ok((account, Guess::Known(device)));
        }
        Ok(()) | Err(LimitError::TooMany(_)) => {}
        Err(error) => return Err(error.into()),
    }
    deps.failures.check(stranger.failures, now)?;
    let charged = stranger.charge(deps, now).await?;
    Ok((account, Guess::Stranger(stranger, charged)))
}

impl Stranger {
    /// Counts a guess under identifier and source. Where one refuses, the other is as before.
    async fn charge(&self, deps: &Deps, now: Timestamp) -> Result<Option<ChargedGuess>, LimitError> {
        let charge = deps.store.charge_failure(self.subject, deps.failures, self.failures, now);
        match deps.store.both(charge, deps.store.count(self.source.as_ref(), now)).await {
            (Ok(charged), Ok(())) => Ok(charged),
            (Ok(charged), Err(error)) => {
                deps.store.take_back_guess(self.subject, charged).await;
                Err(error)
            }
            (Err(error), Ok(())) => {
                deps.store.give_back(self.source.as_ref()).await;
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Takes back a guess that could not be compared.
    async fn take_back(&self, deps: &Deps, charged: Option<ChargedGuess>) {
        deps.store.take_back_guess(self.subject, charged).await;
        deps.store.give_back(self.source.as_ref()).await;
    }
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
