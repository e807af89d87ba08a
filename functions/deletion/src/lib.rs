//! `DELETE /me` — deletes the account, of who has just proved who they are.
//!
//! User, name and address go in one transaction, and with them every session: nothing opens without its user. Name and
//! address are free at once, and the wrong passwords that were counted under them are forgotten. What lies under other keys is deleted soon after by `outbox`, which then mails a receipt and
//! publishes `user.deleted`.
//!
//! While a change of address may still be taken back, the account is not its present owner's alone: nobody can sign in to it
//! any more, and it is deleted when that has lapsed.
//!
//! Success: `204`, and a browser's cookies are removed. Repeated, as its answer was lost, it is `session_ended`: the
//! account is gone.
//!
//! Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended` (each with `WWW-Authenticate: Bearer`),
//! `reauthentication_required`, `csrf_rejected`, `unavailable`.
//!
//! Round trips: 2; 2 RRU, 12 WRU (and the outbox's).

use lambda_http::tower::Layer;
use shared::account::User;
use shared::config::Api;
use shared::http;
use shared::http::SessionLayer;
use shared::http::caller::Caller;
use shared::http::cookies::Cookies;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::store::Identifier;
use shared::token::KeyRing;

/// How often a deletion is decided anew that met a change of the user.
const ATTEMPTS: usize = 3;

/// What it needs, beside what the layer around it does.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    api: Api,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Limit])?,
        api: platform.environment.api()?,
        clock: platform.clock.clone(),
    };
    Ok(Endpoint::new(SessionLayer::new(platform)?.fresh()?.layer(platform.endpoint(deps, handle)?)))
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let caller = Caller::of_request(&request)?;
    delete(&deps, caller).await?;
    let mut response = http::empty(StatusCode::NO_CONTENT);
    if inbound.has_cookies() {
        Cookies::new(&deps.api, &inbound.api_url).clear_all(&mut response);
    }
    Ok(response)
}

/// Deletes the caller's account. Who met a change of the user reads again and decides anew.
async fn delete(deps: &Deps, caller: &Caller) -> Result<(), Problem> {
    let mut user = caller.user.clone();
    for _ in 0..ATTEMPTS {
        let now = deps.clock.now();
        let limit_key = deps.keys.limit_key(now).await?;
        let failures = Identifier::all_of(&user, &limit_key);
        let is_done = match user.undo_open_until(now) {
            None => {
                let told = told(&user, &caller.session.device, now).with_deletion(user.id);
                deps.store.delete_account(&user, &failures, &[told]).await?
            }
            Some(lapses_at) => {
                let told = told(&user, &caller.session.device, now);
                let told = told.with_waiting_deletion(user.id, user.epoch.next(), lapses_at);
                deps.store.mark_deleting(&user, &failures, &[told]).await?
            }
        };
        if is_done {
            return Ok(());
        }
        user = caller.read_user_again(&deps.store, now).await?;
    }
    Err(Problem::new(Code::Unavailable).caused_by("the user is being changed elsewhere"))
}

/// A receipt to the owner, and an event, once the user is gone.
fn told(user: &User, device: &str, now: Timestamp) -> OutboxItem {
    let letter = Letter::AccountDeleted { username: user.username.to_string() };
    let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(device);
    OutboxItem::mail(mail, now).with_event(EventType::UserDeleted, user.id)
}
