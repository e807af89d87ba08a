//! `POST /reauthenticate` — who is signed in gives their password again, for what wants that to be recent.
//!
//! `POST /password/change` — who is signed in gives their password, and a new one.
//!
//! Success: `200`, a session response: a new session of the same kind and absolute end replaces the one that asked, so that
//! a copy of its tokens is neither fresh nor good any more. With a new password all other sessions of the user end too, and
//! the user is told by mail, other systems by the event `password.changed`.
//!
//! With `Idempotency-Key` the same request may be repeated for ten minutes if its answer was lost: it is answered with
//! tokens of the new session, while that has never been refreshed. Without a key the old session is over.
//!
//! Errors: `invalid_request` (also: a key that is too short), `unsupported_media_type`, `body_too_large`, `token_missing`,
//! `token_invalid`, `token_expired`, `token_reused`, `session_ended` (those of tokens with `WWW-Authenticate: Bearer`),
//! `wrong_password` (the tenth in a row ends the session), `weak_password` (the new one, by the rules of sign-up; the old one
//! stays, and no guess is spent), `csrf_rejected`, `unavailable`.
//!
//! Round trips: 2; 5 WRU (9 with a new password), 1 RRU. A wrong password: 1; 1 WRU, 1 RRU.

use shared::account::{CandidatePassword, Password, User, WeakPassword};
use shared::breach::BreachCheck;
use shared::http::reauthentication::{Authenticated, PasswordRequest, Reauthenticator, Successor};
use shared::http::session_response::Issuer;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::password_hasher::PasswordHasher;
use shared::prelude::*;
use shared::session::{AuthenticationMethods, Session};
use shared::store::PasswordChange;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    reauthenticator: Reauthenticator,
    hasher: PasswordHasher,
    breach_check: BreachCheck,
    issuer: Issuer,
    password_min_length: usize,
    service_name: String,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let keys = platform.signing_keys(&[KeyUse::Mac, KeyUse::Signing])?;
    let deps = Deps {
        store: platform.store(),
        hasher: platform.hasher(),
        breach_check: platform.breach_check()?,
        issuer: platform.issuer(&keys)?,
        password_min_length: platform.environment.password_min_length()?,
        service_name: platform.environment.service_name()?,
        reauthenticator: Reauthenticator::new(platform.store(), keys, platform.hasher()),
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// The password again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReauthenticateRequest {
    #[cfg_attr(feature = "openapi", schema(example = "correct horse battery"))]
    password: CandidatePassword,
}

/// The password, and the one to come.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordChangeRequest {
    #[cfg_attr(feature = "openapi", schema(example = "correct horse battery"))]
    password: CandidatePassword,
    #[cfg_attr(feature = "openapi", schema(example = "seven quiet llamas"))]
    new_password: CandidatePassword,
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    if request.uri().path().ends_with("/password/change") {
        change(&deps, &request, &inbound).await
    } else {
        reauthenticate(&deps, &request, &inbound).await
    }
}

async fn reauthenticate(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let ReauthenticateRequest { password } = json::parse(request)?;
    let now = deps.clock.now();
    let asked = PasswordRequest { route: "/reauthenticate", password: &password, password_afterwards: &password };
    let proof = match deps.reauthenticator.authenticate(request, inbound, asked, now).await? {
        Authenticated::Before(first) => return answer(deps, inbound, &first, now).await,
        Authenticated::Now(proof) => proof,
    };
    let new = successor(deps, &proof.caller.session, &proof.caller.user, inbound, now);
    answer(deps, inbound, &deps.reauthenticator.replace(&proof, new, None, now).await?, now).await
}

async fn change(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let PasswordChangeRequest { password, new_password } = json::parse(request)?;
    let now = deps.clock.now();
    let asked = PasswordRequest { route: "/password/change", password: &password, password_afterwards: &new_password };
    let proof = match deps.reauthenticator.authenticate(request, inbound, asked, now).await? {
        Authenticated::Before(first) => return answer(deps, inbound, &first, now).await,
        Authenticated::Now(proof) => proof,
    };
    let user = &proof.caller.user;
    let new_password = match to_store(deps, &new_password, user).await {
        Ok(password) => deps.hasher.hash(password).await?,
        Err(weak) => {
            deps.reauthenticator.forgive(&proof).await?;
            return Err(weak.into());
        }
    };
    let next = User { epoch: user.epoch.next(), ..user.clone() };
    let new = successor(deps, &proof.caller.session, &next, inbound, now);
    let letter = Letter::PasswordChanged { username: user.username.as_str().to_owned() };
    let notice = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device);
    let told = OutboxItem::mail(notice, now).with_event(EventType::PasswordChanged, user.id);
    let change = PasswordChange { user, old: &proof.password_hash, new: &new_password, epoch: next.epoch, told: &told };
    answer(deps, inbound, &deps.reauthenticator.replace(&proof, new, Some(&change), now).await?, now).await
}

/// The new password, if it may be this user's.
async fn to_store(deps: &Deps, password: &CandidatePassword, user: &User) -> Result<Password, WeakPassword> {
    let password = password.to_store(deps.password_min_length, &user.username, &user.email, &deps.service_name)?;
    deps.breach_check.check(&password, Some(user.id)).await?;
    Ok(password)
}

fn successor(deps: &Deps, old: &Session, user: &User, inbound: &Inbound, now: Timestamp) -> Session {
    old.successor(user, AuthenticationMethods::PASSWORD, &inbound.device, deps.issuer.lifetimes(), now)
}

/// The answer with the new session. Whatever else the request came with ends, but for the mark of the session that it
/// replaced.
async fn answer(deps: &Deps, inbound: &Inbound, successor: &Successor, now: Timestamp) -> Result<Response, Problem> {
    let Successor { user, session, old } = successor;
    for other in deps.issuer.sessions(inbound, now).await? {
        if other != *old && other != session.reference() {
            deps.store.delete_session(other).await?;
        }
    }
    Ok(deps.issuer.session_response(StatusCode::OK, user, session, inbound, now).await?)
}
