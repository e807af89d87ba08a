//! `POST /signup` — begins a sign-up and mails a link and a code.
//!
//! Success: `202` with `signup_id` (the secret of the device that signed up) and `expires_in` (seconds that the link
//! works); browsers get the cookie `signup` instead of `signup_id`. The same whether or not the address has an account: then the mail
//! says so, and the sign-up never verifies.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_username` (also a reserved one),
//! `invalid_email`, `weak_password` (with `BreachCheck` also one that leaked, for any address alike), `username_taken`
//! (names are public), `rate_limited` (too many from one source), `csrf_rejected`, `unavailable`.
//!
//! `POST /signup/resend` — mails a new code and link; the old ones die. Guesses of the code are not refilled.
//!
//! Success: `202`, also for a `signup_id` that there is not, with the same calls and writes.
//!
//! No answer waits for a mail: that lies in the outbox, with what it tells of. Sign-ups and resends cause so many mails to one
//! address; what is beyond that is answered alike, and not mailed.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `rate_limited` (within 60 s of the last mail,
//! after 5, or too many from one source), `csrf_rejected`, `unavailable`.
//!
//! Round trips: 2; 5 WRU, 2 RRU. A resend: 3; 5 WRU, 1 RRU. Each 1 WRU more for what is counted of its source.

use shared::account::{
    CandidatePassword, EmailAddress, LINK_LIFETIME, LinkAndCode, MailedProof, PendingSignup, ProofId, ProofSecret,
    ReservedUsernames, Username,
};
use shared::breach::BreachCheck;
use shared::config::Api;
use shared::http::cookies::{CookieKind, Cookies};
use shared::http::header;
use shared::limits::{self, Limit, MailLimit};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::password_hasher::PasswordHasher;
use shared::prelude::*;
use shared::session::Client;
use shared::store::{Resend, is_within};
use shared::token::{KeyRing, MacKey};

/// What a sign-up needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    hasher: PasswordHasher,
    breach_check: BreachCheck,
    api: Api,
    service_name: String,
    reserved_usernames: ReservedUsernames,
    password_min_length: usize,
    source_signups: Limit,
    source_resends: Limit,
    mails: MailLimit,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Outbox, KeyUse::Limit])?,
        hasher: platform.hasher(),
        breach_check: platform.breach_check()?,
        api: environment.api()?,
        service_name: environment.service_name()?,
        reserved_usernames: environment.reserved_usernames()?,
        password_min_length: environment.password_min_length()?,
        source_signups: environment.limit(&limits::SOURCE_SIGNUPS)?,
        source_resends: environment.limit(&limits::SOURCE_RESENDS)?,
        mails: environment.mail_limit(&limits::SIGNUP_MAILS)?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// Who signs up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignupRequest {
    /// 3 to 32 letters and digits of one script, `_`, `.` and `-`. It is public.
    #[cfg_attr(feature = "openapi", schema(example = "ann"))]
    username: String,
    #[cfg_attr(feature = "openapi", schema(example = "ann@example.com"))]
    email: String,
    #[cfg_attr(feature = "openapi", schema(example = "correct horse battery"))]
    password: CandidatePassword,
    /// The mail's language, as a BCP 47 tag; else `Accept-Language` says.
    #[cfg_attr(feature = "openapi", schema(example = "en"))]
    locale: Option<String>,
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    client: Client,
}

/// Whom to mail again.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResendRequest {
    /// What the sign-up was answered with; a browser has it in its cookie.
    signup_id: Option<String>,
}

/// A sign-up that waits for its proof.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignupResponse {
    /// The secret of the device that signed up. A browser has it in its cookie alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    signup_id: Option<String>,
    /// Seconds that the mailed link works.
    #[cfg_attr(feature = "openapi", schema(example = 86400))]
    expires_in: u64,
}

/// A mail that was sent again.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResendResponse {
    /// Seconds that the mailed link works.
    #[cfg_attr(feature = "openapi", schema(example = 86400))]
    expires_in: u64,
}

/// Why there is no sign-up, or no mail.
#[derive(Debug, Error)]
pub enum SignupError {
    /// The name speaks for the service.
    #[error("the user name is reserved")]
    UsernameReserved,
    /// The name has an owner.
    #[error("the user name is taken")]
    UsernameTaken,
    /// Another mail is not due before that many seconds.
    #[error("another mail may be sent in {0} s")]
    NotYet(u64),
    /// Neither body nor cookie names a sign-up.
    #[error("signup_id is missing")]
    NoSignupId,
}

impl From<SignupError> for Problem {
    fn from(error: SignupError) -> Self {
        match error {
            SignupError::UsernameReserved => Self::new(Code::InvalidUsername).with_detail(error),
            SignupError::UsernameTaken => Self::new(Code::UsernameTaken),
            SignupError::NotYet(seconds) => Self::new(Code::RateLimited).with_retry_after(seconds),
            SignupError::NoSignupId => Self::new(Code::InvalidRequest).with_detail(error),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    if request.uri().path().ends_with("/resend") {
        resend(&deps, &request, &inbound).await
    } else {
        signup(&deps, &request, &inbound).await
    }
}

async fn signup(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let SignupRequest { username, email, password, locale, client } = json::parse(request)?;
    let username = Username::parse(&username)?;
    if deps.reserved_usernames.contains(&username) {
        return Err(SignupError::UsernameReserved.into());
    }
    let email = EmailAddress::parse(&email)?;
    let password = password.to_store(deps.password_min_length, &username, &email, &deps.service_name)?;
    // Before anything is known of the address, so that it tells nothing of that.
    deps.breach_check.check(&password, None).await?;
    let locale = Locale::choose(locale.as_deref(), header(request, "accept-language"));
    let now = deps.clock.now();

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_signups.of_source(inbound.source, &limit_key, now);
    let mails = deps.mails.of_address(&email, &limit_key, now);
    let count = deps.store.both(deps.store.count(source.as_ref(), now), deps.store.count(mails.as_ref(), now));
    let (taken, (from_source, to_address)) =
        deps.store.both(deps.store.find_taken(&email, &username, now), count).await;
    let admitted = match (from_source, taken) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), Err(error)) => Err(error.into()),
        (Ok(()), Ok(taken)) if taken.username => Err(SignupError::UsernameTaken.into()),
        (Ok(()), Ok(taken)) => Ok(taken),
    };
    let taken = match admitted {
        Ok(taken) => taken,
        Err(problem) => {
            // No mail comes of it.
            deps.store.give_back(mails.as_ref().filter(|_| to_address.is_ok())).await;
            return Err(problem);
        }
    };
    let may_mail = is_within(to_address)?;
    // A taken address costs the same work from here on: nobody learns of it but whoever reads the mail.
    let password_hash = deps.hasher.hash(password).await?;
    let key = deps.keys.mac_key(now).await?;
    let (mut pending, signup_id, secrets) =
        PendingSignup::start(email, username, password_hash, locale, taken.email, &key, now);
    let mail = if may_mail {
        mail(deps, &pending, &pending.proof, &secrets, inbound, now).await?
    } else {
        pending.proof = pending.proof.without_mail();
        OutboxItem::nothing(now)
    };
    deps.store.create_signup(&pending, &[mail]).await?;

    let signup_id = signup_id.expose();
    let for_app = (client == Client::App).then(|| signup_id.clone());
    let body = SignupResponse { signup_id: for_app, expires_in: LINK_LIFETIME };
    let mut response = json::response(StatusCode::ACCEPTED, &body);
    if client == Client::Browser {
        let cookies = Cookies::new(&deps.api, &inbound.api_url);
        cookies.set(&mut response, CookieKind::Signup, &signup_id, LINK_LIFETIME);
    }
    Ok(response)
}

async fn resend(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let ResendRequest { signup_id } = json::parse_or_default(request)?;
    let signup_id = signup_id.or(inbound.signup_cookie.clone()).ok_or(SignupError::NoSignupId)?;
    let now = deps.clock.now();

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_resends.of_source(inbound.source, &limit_key, now);
    let (own, counted) = deps.store.both(find_own(deps, &signup_id, now), deps.store.count(source.as_ref(), now)).await;
    counted?;
    let own = own?;
    // What is asked for of a sign-up that there is not is counted as well.
    let mails = match &own {
        Some((pending, _)) => deps.mails.of_address(&pending.email, &limit_key, now),
        None => deps.mails.of(limit_key.mac("signup", &[signup_id.as_bytes()]), now),
    };
    let counted = deps.store.count(mails.as_ref(), now).await;
    let was_counted = counted.is_ok();
    let may_mail = is_within(counted)?;
    let resent = match own {
        Some((pending, key)) if may_mail => {
            let (renewed, secrets) = pending.proof.renewed(&key, now);
            let mail = mail(deps, &pending, &renewed, &secrets, inbound, now).await?;
            deps.store.renew_signup(&renewed, &[mail], now).await?
        }
        // The link and the code that were mailed last stay.
        Some((pending, _)) => deps.store.renew_signup(&pending.proof, &[OutboxItem::nothing(now)], now).await?,
        None => Resend::Unknown,
    };
    let resent = if resent == Resend::Unknown {
        let subject = deps.keys.mac_key(now).await?.mac("resend-limit", &[signup_id.as_bytes()]);
        deps.store.count_unknown_resend(subject, &[OutboxItem::nothing(now)], now).await?
    } else {
        resent
    };
    if let Resend::NotYet(seconds) = resent {
        deps.store.give_back(mails.as_ref().filter(|_| was_counted)).await;
        return Err(SignupError::NotYet(seconds).into());
    }
    Ok(json::response(StatusCode::ACCEPTED, &ResendResponse { expires_in: LINK_LIFETIME }))
}

/// The sign-up of the device that has this `signup_id`, unless it is completed. Whatever is no such secret is looked for
/// as one is.
async fn find_own(
    deps: &Deps,
    signup_id: &str,
    now: Timestamp,
) -> Result<Option<(PendingSignup, Arc<MacKey>)>, Problem> {
    let signup_id = ProofSecret::parse(signup_id);
    let key = match &signup_id {
        Some(signup_id) => deps.keys.mac_key_with_id(signup_id.key_id, now).await?,
        None => None,
    };
    let id = signup_id.as_ref().map_or_else(ProofId::random, |signup_id| signup_id.proof_id);
    let pending = deps.store.find_signup(id, now).await?;
    let (Some(pending), Some(signup_id), Some(key)) = (pending, signup_id, key) else { return Ok(None) };
    let is_own = pending.completion.is_none() && pending.proof.is_of_device(&signup_id, &key);
    Ok(is_own.then_some((pending, key)))
}

/// The mail that a sign-up calls for. The link leads to the API's own URL, never to one that a client named. That the address
/// has an account is told without link and code.
async fn mail(
    deps: &Deps,
    pending: &PendingSignup,
    proof: &MailedProof,
    secrets: &LinkAndCode,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<OutboxItem, Problem> {
    let key = deps.keys.outbox_key(now).await?;
    let mail =
        |letter| QueuedMail::new(pending.email.clone(), pending.locale, letter, now).from_device(&inbound.device);
    let mail = if pending.decoy {
        mail(Letter::AlreadyRegistered)
    } else {
        let letter = Letter::Verification { username: pending.username.as_str().to_owned() };
        mail(letter).with_proof(proof, secrets, &key, inbound.api_url.as_str())?
    };
    Ok(OutboxItem::mail(mail, now))
}
