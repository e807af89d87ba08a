//! `POST /password/forgot` — mails a link and a code that let whoever reads them set a new password.
//!
//! Success: `202` with `reset_id` (the secret of the device that asked) and `expires_in` (seconds that the link works);
//! browsers get the cookie `reset` instead of `reset_id`. The answer, its headers, the calls and the writes are the same for
//! whatever name or address. An address with an account gets the link and the code, one without gets a mail that says so. A
//! name that there is not gets nothing, and neither does an account that no reset may change (it is banned, or on its way
//! out): their resets have neither code nor token, and only count guesses. Whether mail to the address comes back is looked
//! at when it is sent.
//!
//! Strangers can cause so many such mails to one account or address, and a device that the account knows some of its own,
//! whatever they do; what is beyond that is answered alike, and not mailed.
//!
//! The mail speaks the language that the request names, else the account's own; where there is no account, what
//! `Accept-Language` says.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_email`, `invalid_username` (what nobody
//! can be called), `rate_limited` (too many from one source), `csrf_rejected`, `unavailable`.
//!
//! Round trips: 3 (1 more where a device is no longer known); 5 WRU (1 more for what is counted of its source), 2 RRU.

use shared::account::{
    EmailAddress, LINK_LIFETIME, MailedProof, PasswordReset, ProofSubject, Purpose, User, UserId, Username,
};
use shared::config::Api;
use shared::http::cookies::{CookieKind, Cookies};
use shared::http::header;
use shared::limits::{self, Limit, MailLimit};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::session::Client;
use shared::store::{Identifier, is_within};
use shared::token::{DeviceToken, KeyRing, MacKey};

/// What a forgotten password needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    api: Api,
    source_forgots: Limit,
    mails: MailLimit,
    device_mails: Limit,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Outbox, KeyUse::Device, KeyUse::Limit])?,
        api: environment.api()?,
        source_forgots: environment.limit(&limits::SOURCE_FORGOTS)?,
        mails: environment.mail_limit(&limits::RESET_MAILS)?,
        device_mails: environment.limit(&limits::DEVICE_MAILS)?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// Whose password is forgotten: a user name or an address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForgotRequest {
    /// The user name, as typed.
    #[cfg_attr(feature = "openapi", schema(example = "ann"))]
    username: Option<String>,
    /// The address, as typed.
    #[cfg_attr(feature = "openapi", schema(example = "ann@example.com"))]
    email: Option<String>,
    /// The mail's language, as a BCP 47 tag; else it is the account's.
    #[cfg_attr(feature = "openapi", schema(example = "en"))]
    locale: Option<String>,
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    client: Client,
    /// What an app was given at an earlier sign-in or reset, by which the account knows the device.
    device: Option<String>,
}

/// A reset that waits for its proof.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForgotResponse {
    /// The secret of the device that asked. A browser has it in its cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_id: Option<String>,
    /// Seconds that the mailed link works.
    #[cfg_attr(feature = "openapi", schema(example = 86400))]
    expires_in: u64,
}

/// Why there is no reset.
#[derive(Debug, Error)]
pub enum ForgotError {
    /// Both a name and an address, or neither.
    #[error("either username or email is required")]
    Identifier,
}

impl From<ForgotError> for Problem {
    fn from(error: ForgotError) -> Self {
        match error {
            ForgotError::Identifier => Self::new(Code::InvalidRequest).with_detail(error),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    let ForgotRequest { username, email, locale, client, device } = json::parse(&request)?;
    let identifier = match (username, email) {
        (Some(username), None) => Identifier::Username(Username::parse(&username)?),
        (None, Some(email)) => Identifier::Email(EmailAddress::parse(&email)?),
        _ => return Err(ForgotError::Identifier.into()),
    };
    let now = deps.clock.now();

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_forgots.of_source(inbound.source, &limit_key, now);
    let (user_id, counted) =
        deps.store.both(deps.store.find_user_id(&identifier), deps.store.count(source.as_ref(), now)).await;
    counted?;
    let user_id = user_id?;
    let device = deps.keys.device_of(&inbound.devices(device.as_deref()), user_id, now).await?;
    let (user, may_mail) = find_user(&deps, &identifier, user_id, device, &limit_key, now).await?;
    let key = deps.keys.mac_key(now).await?;
    let sealing_key = deps.keys.outbox_key(now).await?;
    let (proof, reset_id, secrets) = MailedProof::start(Purpose::Reset, &key, now);
    let asked_for = locale.as_deref().and_then(Locale::parse);
    let (reset, outbox) = match (user, identifier) {
        (Some(user), _) if may_mail && user.status.may_reset() => {
            let letter = Letter::PasswordReset { username: user.username.as_str().to_owned() };
            let mail = QueuedMail::new(user.email.clone(), asked_for.unwrap_or(user.locale), letter, now)
                .from_device(&inbound.device)
                .with_proof(&proof, &secrets, &sealing_key, inbound.api_url.as_str())?;
            let subject = Some(ProofSubject::of(&user));
            (PasswordReset { proof, subject, completion: None }, OutboxItem::mail(mail, now))
        }
        (None, Identifier::Email(email)) if may_mail && user_id.is_none() => {
            let locale = Locale::choose(locale.as_deref(), header(&request, "accept-language"));
            let mail = QueuedMail::new(email, locale, Letter::NoAccount, now).from_device(&inbound.device);
            (without_mail(proof), OutboxItem::mail(mail, now))
        }
        _ => (without_mail(proof), OutboxItem::nothing(now)),
    };
    deps.store.create_reset(&reset, &[outbox]).await?;

    let reset_id = reset_id.expose();
    let for_app = (client == Client::App).then(|| reset_id.clone());
    let body = ForgotResponse { reset_id: for_app, expires_in: LINK_LIFETIME };
    let mut response = json::response(StatusCode::ACCEPTED, &body);
    if client == Client::Browser {
        let cookies = Cookies::new(&deps.api, &inbound.api_url);
        cookies.set(&mut response, CookieKind::Reset, &reset_id, LINK_LIFETIME);
    }
    Ok(response)
}

/// Reads the user, nobody as somebody, and counts a mail beside it: as one of a device that the account knows, while it has
/// some left, else as one of strangers. Whether it may be sent.
async fn find_user(
    deps: &Deps,
    identifier: &Identifier,
    user_id: Option<UserId>,
    device: Option<DeviceToken>,
    limit_key: &MacKey,
    now: Timestamp,
) -> Result<(Option<User>, bool), Problem> {
    // An account has one counter, by whichever of its identifiers it is asked for.
    let recipient = match user_id {
        Some(user_id) => limit_key.mac("account", &[user_id.as_bytes()]),
        None => identifier.subject(limit_key),
    };
    let strangers = deps.mails.of(recipient, now);
    let find = deps.store.find_user(user_id.unwrap_or_else(UserId::random));
    let Some(device) = device else {
        let (user, counted) = deps.store.both(find, deps.store.count(strangers.as_ref(), now)).await;
        return Ok((user?, is_within(counted)?));
    };
    let own = deps.device_mails.of_device(&device, limit_key, now);
    let (user, counted) = deps.store.both(find, deps.store.count(own.as_ref(), now)).await;
    let user = user?;
    if is_within(counted)? && user.as_ref().is_some_and(|user| device.is_of(user.devices)) {
        return Ok((user, true));
    }
    Ok((user, is_within(deps.store.count(strangers.as_ref(), now).await)?))
}

/// A reset that nothing proves.
fn without_mail(proof: MailedProof) -> PasswordReset {
    PasswordReset { proof: proof.without_mail(), subject: None, completion: None }
}
