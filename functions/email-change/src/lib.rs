//! `POST /email/change` — begins a change of address, of who has just proved who they are.
//!
//! A link and a code go to the new address, a notice to the present one. Nothing changes before the new address is confirmed
//! (`/email/confirm`). The same whether or not the new address has an owner: then the mail there says so, and nothing
//! confirms the change. So is one that is kept for whoever had it before (`/email/undo`).
//!
//! Success: `202 {change_id, expires_in}`.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_email`, `token_missing`, `token_invalid`,
//! `token_expired`, `token_reused`, `session_ended` (each 401 with `WWW-Authenticate: Bearer`), `reauthentication_required`,
//! `rate_limited` (too many from one source), `csrf_rejected`, `unavailable`.
//!
//! So many such mails go to one address; what is beyond that is answered alike, and not mailed there.
//!
//! Round trips: 3; 3 RRU, 7 WRU (1 more for what is counted of its source).

use lambda_http::tower::Layer;
use shared::account::{EmailAddress, EmailChange, LINK_LIFETIME, MailedProof, ProofSubject, Purpose};
use shared::http::SessionLayer;
use shared::http::caller::Caller;
use shared::limits::{self, Limit, MailLimit};
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::store::is_within;
use shared::token::KeyRing;

/// What it needs, beside what the layer around it does.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    source_changes: Limit,
    mails: MailLimit,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Outbox, KeyUse::Limit])?,
        source_changes: platform.environment.limit(&limits::SOURCE_CHANGES)?,
        mails: platform.environment.mail_limit(&limits::CHANGE_MAILS)?,
        clock: platform.clock.clone(),
    };
    Ok(Endpoint::new(SessionLayer::new(platform)?.fresh()?.layer(platform.endpoint(deps, handle)?)))
}

/// The address to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmailChangeRequest {
    #[cfg_attr(feature = "openapi", schema(example = "ann@example.org"))]
    email: String,
}

/// A change that waits for its proof.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmailChangeResponse {
    /// The secret of the device that asked, which goes with the mailed code.
    change_id: String,
    /// Seconds that the mailed link works.
    #[cfg_attr(feature = "openapi", schema(example = 86400))]
    expires_in: u64,
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let Caller { user, .. } = Caller::of_request(&request)?;
    let EmailChangeRequest { email } = json::parse(&request)?;
    let new_email = EmailAddress::parse(&email)?;
    let now = deps.clock.now();

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_changes.of_source(inbound.source, &limit_key, now);
    let mails = deps.mails.of_address(&new_email, &limit_key, now);
    let count = deps.store.both(deps.store.count(source.as_ref(), now), deps.store.count(mails.as_ref(), now));
    let (holder, (from_source, to_address)) =
        deps.store.both(deps.store.find_email_holder(&new_email, now), count).await;
    if let Err(error) = from_source {
        deps.store.give_back(mails.as_ref().filter(|_| to_address.is_ok())).await;
        return Err(error.into());
    }
    let (holder, may_mail) = (holder?, is_within(to_address)?);
    let key = deps.keys.mac_key(now).await?;
    let sealing_key = deps.keys.outbox_key(now).await?;
    let (proof, change_id, secrets) = MailedProof::start(Purpose::Change, &key, now);
    let username = user.username.as_str().to_owned();
    let to_new = |letter| QueuedMail::new(new_email.clone(), user.locale, letter, now).from_device(&inbound.device);
    let (proof, mail) = if !may_mail {
        (proof.without_mail(), OutboxItem::nothing(now))
    } else if holder.is_none_or(|holder| holder == user.id) {
        let mail = to_new(Letter::EmailChange { username: username.clone() });
        let mail = mail.with_proof(&proof, &secrets, &sealing_key, inbound.api_url.as_str())?;
        (proof, OutboxItem::mail(mail, now))
    } else {
        (proof.without_mail(), OutboxItem::mail(to_new(Letter::EmailTaken), now))
    };
    let letter = Letter::EmailChangeRequested { username, new_email: new_email.as_str().to_owned() };
    let notice = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device);
    let change = EmailChange { proof, subject: ProofSubject::of(user), new_email, completion: None };
    let outbox = [mail, OutboxItem::mail(notice, now)];
    deps.store.create_email_change(&change, &outbox).await?;

    let body = EmailChangeResponse { change_id: change_id.expose(), expires_in: LINK_LIFETIME };
    Ok(json::response(StatusCode::ACCEPTED, &body))
}
