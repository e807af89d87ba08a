//! `GET /password/reset?token=` — the page that a mailed link opens: whose password it is about, and one field for the new
//! one; once the reset is completed, the way to the app. It changes nothing, as mail scanners fetch links.
//! `HEAD /password/reset` answers likewise, without the page.
//!
//! `POST /password/reset` — sets a new password, for whoever reads the account's mail: by the link's `token`, on whatever
//! device, or by the mailed `code` on the device that asked (`reset_id`, or the cookie `reset`).
//!
//! Sets the password, raises the epoch (which ends all sessions and voids every other proof made for the account), makes all
//! devices unknown, enables who had to reset, and tells the owner, all in one transaction. It signs nobody in.
//!
//! What can be said of the password alone is said first, then the proof is looked at: a guess of a code is spent before it
//! is compared, and given back if it was right. Only then, as it tells whose account it is, is the password compared with
//! the account's own name and address; and looked for in leaks (`BreachCheck`), as no stranger is to have that asked. So a
//! weak password spends nothing. The very same proof with the same password again
//! within 10 minutes, 10 times at most, gets the same answer, as the first may have been lost: the password is compared with
//! the one that this reset set, whatever the account's is by then.
//!
//! Whoever has read the account's mail is no stranger to it: the answer hands out what this device is known by from now on,
//! and the wrong passwords that were counted for name and address are forgotten. So an owner gets in, however busy somebody
//! is who guesses.
//!
//! Success: `204` with the cookie `device`, or `200 {device}` for an app; for the page's form `303` to `AppUrl`. The cookie
//! `reset` is removed if it is of this reset.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `weak_password`, `invalid_verification` (also where
//! the account has another address, epoch or status than when the mail was sent), `rate_limited` (too many wrong codes and
//! passwords from one source), `csrf_rejected`, `unavailable`; for the form they come as a page.
//!
//! Round trips: 3; 10 WRU (1 more by code, as a guess is spent first; 2 more for what is counted of its source), 2 RRU (1 by
//! code). The page: 2; 2 RRU.

pub mod page;

use shared::account::{
    CandidatePassword, PasswordReset, Proof, ProofId, ProofSecret, Purpose, ResetCompletion, User, VerificationCode,
    WeakPassword,
};
use shared::breach::BreachCheck;
use shared::config::Api;
use shared::http::cookies::{CookieKind, Cookies};
use shared::http::json::BodyError;
use shared::http::session_response::remember_device;
use shared::http::{csrf, empty, header, page as pages};
use shared::limits::{self, Counter, Limit};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::password_hasher::{PasswordHasher, Verdict};
use shared::prelude::*;
use shared::session::Client;
use shared::store::{GiveBack, Identifier, NewPassword, ResetRefusal};
use shared::telemetry::SecurityEvent;
use shared::token::{DeviceEpoch, DeviceToken, KeyRing, MacKey};
use url::Url;

use page::{Page, PageProblem, PageState};

/// What a reset needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    hasher: PasswordHasher,
    breach_check: BreachCheck,
    api: Api,
    app_url: Url,
    service_name: String,
    password_min_length: usize,
    source_failures: Limit,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Device, KeyUse::Limit])?,
        hasher: platform.hasher(),
        breach_check: platform.breach_check()?,
        api: environment.api()?,
        app_url: environment.app_url()?,
        service_name: environment.service_name()?,
        password_min_length: environment.password_min_length()?,
        source_failures: environment.limit(&limits::SOURCE_FAILURES)?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// What proves a reset, `token` or `reset_id` and `code`, and the new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResetRequest {
    /// The token of the mailed link.
    token: Option<String>,
    /// The mailed code of 8 digits.
    #[cfg_attr(feature = "openapi", schema(example = "12345678"))]
    code: Option<String>,
    /// What `/password/forgot` was answered with; a browser has it in its cookie.
    reset_id: Option<String>,
    /// The new password.
    #[cfg_attr(feature = "openapi", schema(example = "correct horse battery"))]
    password: CandidatePassword,
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    client: Client,
}

/// What an app is answered.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResetResponse {
    /// What the app sends along when it signs in, so that this device is known. A browser has it in its cookie.
    device: String,
}

/// Why no password was set.
#[derive(Debug, Error)]
pub enum ResetError {
    /// Both a code and a token, or neither, or a code without `reset_id`.
    #[error("either reset_id and code, or a token, are required")]
    Proof,
    /// The form was posted by another page than ours.
    #[error("the form comes from another page")]
    ForeignForm,
    /// A wrong, old or spent link or code, no guess left, or an account that has changed since.
    #[error("the link or code is not valid")]
    Invalid,
}

impl From<ResetError> for Problem {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::Proof => Self::new(Code::InvalidRequest).with_detail(error),
            ResetError::ForeignForm => Self::new(Code::CsrfRejected),
            ResetError::Invalid => Self::new(Code::InvalidVerification),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    if pages::is_wanted(&request) {
        return show(&deps, &request).await;
    }
    if pages::is_form(&request) {
        return submit(&deps, &request, &inbound).await;
    }
    let body: ResetRequest = json::parse(&request)?;
    let client = body.client;
    let done = reset(&deps, body, &inbound).await?;
    Ok(match client {
        Client::App => {
            let answer = json::response(StatusCode::OK, &ResetResponse { device: done.device.expose() });
            without_cookie(&deps, &inbound, done.id, answer)
        }
        Client::Browser => for_browser(&deps, &inbound, done, empty(StatusCode::NO_CONTENT)),
    })
}

async fn show(deps: &Deps, request: &Request) -> Result<Response, Problem> {
    let token = pages::token(request);
    let found = find_by_link(deps, token).await?;
    let (status, problem) = match found {
        Some(_) => (StatusCode::OK, None),
        None => (StatusCode::BAD_REQUEST, Some(PageProblem::InvalidLink)),
    };
    Ok(pages::shown(request, status, page(deps, request, token, found.as_ref(), problem)))
}

/// The page's form. Only our own page posts it.
async fn submit(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let body = parse_form(request)?;
    let token = body.token.clone().unwrap_or_default();
    let outcome = if csrf::is_own(request.headers(), inbound.api_url.origin()) {
        reset(deps, body, inbound).await
    } else {
        Err(ResetError::ForeignForm.into())
    };
    match outcome {
        Ok(done) => Ok(for_browser(deps, inbound, done, pages::see_app(&deps.app_url))),
        Err(problem) => {
            // If it cannot be read now, the page goes without it.
            let found = find_by_link(deps, &token).await.unwrap_or_default();
            let page = page(deps, request, &token, found.as_ref(), Some(page_problem(&problem)));
            Err(problem.shown_as(page))
        }
    }
}

fn parse_form(request: &Request) -> Result<ResetRequest, BodyError> {
    let [token, password] = pages::parse_form(request, ["token", "password"])?;
    let password = CandidatePassword::new(password.unwrap_or_default());
    Ok(ResetRequest { token, code: None, reset_id: None, password, client: Client::Browser })
}

/// The reset of a link that still holds, and the account; a completed one without.
async fn find_by_link(deps: &Deps, token: &str) -> Result<Option<(PasswordReset, Option<User>)>, Problem> {
    let now = deps.clock.now();
    let Some(token) = ProofSecret::parse(token) else { return Ok(None) };
    let Some(key) = deps.keys.mac_key_with_id(token.key_id, now).await? else { return Ok(None) };
    let reset = deps.store.find_reset(token.proof_id, now).await?;
    let Some(reset) = reset.filter(|reset| reset.proof.has_token(&token, &key)) else { return Ok(None) };
    if reset.completion.is_some() {
        return Ok(Some((reset, None)));
    }
    Ok(find_subject(deps, &reset).await?.map(|user| (reset, Some(user))))
}

/// The account that a reset is about, if it is as it was when the mail was sent.
async fn find_subject(deps: &Deps, reset: &PasswordReset) -> Result<Option<User>, Problem> {
    let Some(subject) = &reset.subject else { return Ok(None) };
    let user = deps.store.find_user(subject.user_id).await?;
    Ok(user.filter(|user| subject.is_still(user) && user.status.may_reset()))
}

/// What the page says of a problem.
fn page_problem(problem: &Problem) -> PageProblem {
    match problem.code() {
        Code::WeakPassword => match problem.weak_password() {
            Some(WeakPassword::Breached) => PageProblem::BreachedPassword,
            _ => PageProblem::WeakPassword,
        },
        Code::CsrfRejected => PageProblem::Refused,
        Code::Unavailable | Code::Internal | Code::RateLimited => PageProblem::TryLater,
        _ => PageProblem::InvalidLink,
    }
}

fn page(
    deps: &Deps,
    request: &Request,
    token: &str,
    found: Option<&(PasswordReset, Option<User>)>,
    problem: Option<PageProblem>,
) -> Response {
    let is_completed = found.is_some_and(|(reset, _)| reset.completion.is_some());
    let html = page::render(&Page {
        locale: Locale::choose(None, header(request, "accept-language")),
        service_name: &deps.service_name,
        app_url: deps.app_url.as_str(),
        username: found.and_then(|(_, user)| user.as_ref()).map(|user| user.username.as_str()),
        token,
        minimum: deps.password_min_length,
        state: match problem {
            Some(problem) => PageState::Problem(problem),
            None if is_completed => PageState::Done,
            None => PageState::Asking,
        },
    });
    pages::response(html, &deps.app_url)
}

/// The answer to a browser, with what it is known by from now on.
fn for_browser(deps: &Deps, inbound: &Inbound, done: Done, mut response: Response) -> Response {
    remember_device(&deps.api, inbound, done.device, &mut response);
    without_cookie(deps, inbound, done.id, response)
}

/// The answer, with which a browser forgets the reset that it asked for, if it was this one.
fn without_cookie(deps: &Deps, inbound: &Inbound, id: ProofId, mut response: Response) -> Response {
    let cookie = inbound.reset_cookie.as_deref().and_then(ProofSecret::parse);
    if cookie.is_some_and(|cookie| cookie.proof_id == id) {
        Cookies::new(&deps.api, &inbound.api_url).clear(&mut response, CookieKind::Reset);
    }
    response
}

/// A reset that is completed.
struct Done {
    id: ProofId,
    device: DeviceToken,
}

/// Sets a new password.
async fn reset(deps: &Deps, body: ResetRequest, inbound: &Inbound) -> Result<Done, Problem> {
    let ResetRequest { token, code, reset_id, password, .. } = body;
    let now = deps.clock.now();
    let reset_id = reset_id.as_deref().or(inbound.reset_cookie.as_deref());
    password.check(deps.password_min_length, &deps.service_name)?;

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_failures.of_source(inbound.source, &limit_key, now);
    let proved = match (code, token, reset_id) {
        (Some(code), None, Some(reset_id)) => {
            let proved = prove_by_code(deps, reset_id, &code, source.as_ref(), now).await;
            proved.map(|reset| (reset, Proof::Code))
        }
        (None, Some(token), _) => prove_by_token(deps, &token, now).await.map(|reset| (reset, Proof::Link)),
        _ => return Err(ResetError::Proof.into()),
    };
    let (reset, proof) = proved.inspect_err(log_failure)?;
    let set = set_password(deps, &reset, proof, &password, inbound, &limit_key, now);
    let was_guess = source.as_ref().filter(|_| proof == Proof::Code);
    let (set, ()) = deps.store.both(set, deps.store.give_back(was_guess)).await;
    // A right guess is not spent, so that the same request may be repeated. The transaction gives it back with its own
    // writes.
    if proof == Proof::Code && !matches!(set, Ok(Set::Now(_))) {
        let is_unknown =
            reset.completion.is_none() && set.as_ref().is_err_and(|problem| problem.code() == Code::Unavailable);
        deps.store.restore_reset_code_attempt(reset.proof.id, GiveBack::after(is_unknown)).await?;
    }
    let (Set::Now(devices) | Set::Before(devices)) = set.inspect_err(log_failure)?;
    let subject = reset.subject.as_ref().ok_or(ResetError::Invalid)?;
    let device = deps.keys.issue_device(subject.user_id, devices, now).await?;
    Ok(Done { id: reset.proof.id, device })
}

fn log_failure(problem: &Problem) {
    if problem.code() == Code::InvalidVerification {
        SecurityEvent::VerificationFailed.log();
    }
}

/// The mail's code was read, by the device that asked. The guess is spent before it is compared, and counted under its source.
async fn prove_by_code(
    deps: &Deps,
    reset_id: &str,
    code: &str,
    source: Option<&Counter>,
    now: Timestamp,
) -> Result<PasswordReset, Problem> {
    let reset_id = ProofSecret::parse(reset_id).ok_or(ResetError::Invalid)?;
    let code = VerificationCode::parse(code).ok_or(ResetError::Invalid)?;
    let key = deps.keys.mac_key_with_id(reset_id.key_id, now).await?.ok_or(ResetError::Invalid)?;
    let own = reset_id.id_mac(Purpose::Reset, &key);
    let spend = deps.store.spend_reset_code_attempt(reset_id.proof_id, own, now);
    let (reset, counted) = deps.store.both(spend, deps.store.count(source, now)).await;
    let reset = reset?;
    if let Err(error) = counted {
        if reset.is_some() {
            deps.store.restore_reset_code_attempt(reset_id.proof_id, GiveBack::Always).await?;
        }
        return Err(error.into());
    }
    Ok(reset.filter(|reset| reset.proof.has_code(&code, &key)).ok_or(ResetError::Invalid)?)
}

/// The mail's link was opened, on whatever device.
async fn prove_by_token(deps: &Deps, token: &str, now: Timestamp) -> Result<PasswordReset, Problem> {
    let token = ProofSecret::parse(token).ok_or(ResetError::Invalid)?;
    let key = deps.keys.mac_key_with_id(token.key_id, now).await?.ok_or(ResetError::Invalid)?;
    let reset = deps.store.find_reset(token.proof_id, now).await?;
    Ok(reset.filter(|reset| reset.proof.has_token(&token, &key)).ok_or(ResetError::Invalid)?)
}

/// When a password was set, and how often the account had made its devices unknown then.
enum Set {
    /// By this request.
    Now(DeviceEpoch),
    /// By an earlier one, which this one repeats.
    Before(DeviceEpoch),
}

async fn set_password(
    deps: &Deps,
    reset: &PasswordReset,
    proof: Proof,
    password: &CandidatePassword,
    inbound: &Inbound,
    limit_key: &MacKey,
    now: Timestamp,
) -> Result<Set, Problem> {
    if let Some(completion) = &reset.completion {
        return repeat(deps, reset.proof.id, completion, proof, password, now).await;
    }
    let subject = reset.subject.as_ref().ok_or(ResetError::Invalid)?;
    let Some(user) = find_subject(deps, reset).await? else {
        // Unless the same request was sent twice at once, and the other one got there between the two reads.
        let found = deps.store.find_reset(reset.proof.id, now).await?;
        let completion = found.and_then(|reset| reset.completion).ok_or(ResetError::Invalid)?;
        return repeat(deps, reset.proof.id, &completion, proof, password, now).await;
    };
    let new = password.to_store(deps.password_min_length, &user.username, &user.email, &deps.service_name)?;
    deps.breach_check.check(&new, Some(user.id)).await?;
    let hash = deps.hasher.hash(new).await?;
    let letter = Letter::PasswordWasReset { username: user.username.as_str().to_owned() };
    let notice = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device);
    let outbox = OutboxItem::mail(notice, now).with_event(EventType::PasswordChanged, user.id);
    let devices = user.devices.next();
    let change = NewPassword { hash: &hash, proof, devices, failures: Identifier::all_of(&user, limit_key) };
    match deps.store.reset_password(reset.proof.id, subject, &change, &[outbox], now).await {
        Ok(()) => {
            SecurityEvent::PasswordReset { user_id: user.id }.log();
            Ok(Set::Now(devices))
        }
        // The same request was sent twice at once.
        Err(ResetRefusal::AlreadyCompleted(completion)) => {
            repeat(deps, reset.proof.id, &completion, proof, password, now).await
        }
        Err(ResetRefusal::NotCurrent) => Err(ResetError::Invalid.into()),
        Err(ResetRefusal::Store(error)) => Err(error.into()),
    }
}

/// The request that completed a reset has come again: the same proof, with the same password. A repetition is spent before
/// that is compared.
async fn repeat(
    deps: &Deps,
    id: ProofId,
    completion: &ResetCompletion,
    proof: Proof,
    password: &CandidatePassword,
    now: Timestamp,
) -> Result<Set, Problem> {
    let may_be_repeated = completion.may_be_repeated(proof, now) && deps.store.spend_reset_repeat(id, now).await?;
    if !may_be_repeated {
        return Err(ResetError::Invalid.into());
    }
    let password = password.to_compare().ok_or(WeakPassword::TooLong)?;
    match deps.hasher.verify(password, Some(completion.password_hash.clone())).await? {
        (Verdict::Right { .. }, _) => Ok(Set::Before(completion.devices)),
        (Verdict::Wrong, _) => Err(ResetError::Invalid.into()),
    }
}
