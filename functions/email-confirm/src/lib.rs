//! `GET /email/confirm?token=` — the page that a mailed link opens: which address of which account it is about, and a button
//! that posts. It changes nothing, as mail scanners fetch links. `HEAD /email/confirm` answers likewise, without the page.
//!
//! `POST /email/confirm` — gives an account the address that was asked for: by the link's `token`, or by `change_id` and the
//! mailed `code`. The caller is signed in to the account that asked, so that nobody ends up with a stranger's account by a
//! click, and no address with one.
//!
//! Address and account change in one transaction, while the account has the address and the epoch that it had when the change
//! was asked for. The address before is told, with a link that undoes the change for 7 days; until then it is kept for the
//! account, and finds nobody. The very same proof again within 10 minutes gets the same answer, as the first may have been
//! lost.
//!
//! Success: `204`; for the page's form `303` to `AppUrl`.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_verification` (also of another account),
//! `email_taken` (the address has got an owner since), `rate_limited` (10 changes may still be undone), `token_missing`,
//! `token_invalid`, `token_expired`, `token_reused`, `session_ended`, `csrf_rejected`, `unavailable`; for the form they come
//! as a page.
//!
//! Wrong codes are counted by change and by session, so that no session has more guesses than one change has.
//!
//! Round trips: 3; 12 WRU, 3 RRU. By code: 4; 15 WRU, as a guess is spent first, of change and session, 2 RRU. The page: 2;
//! 2 RRU.

pub mod page;

use shared::account::{
    EmailChange, MAX_UNDOS, MailedProof, Proof, ProofSecret, Purpose, Status, UNDO_LIFETIME, UndoLink, User,
    VerificationCode,
};
use shared::http::caller::Caller;
use shared::http::json::BodyError;
use shared::http::renewal::Renewer;
use shared::http::{csrf, empty, header, page as pages};
use shared::limits::{self, Counter, Limit};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::store::{EmailChanged, GiveBack, is_within};
use shared::telemetry::SecurityEvent;
use shared::token::KeyRing;
use url::Url;

use page::{Page, PageProblem, PageState};

/// How often a change is decided anew that met another one of the user.
const ATTEMPTS: usize = 3;

/// What a confirmation needs.
pub struct Deps {
    store: Arc<Store>,
    /// Those that verify callers.
    public_keys: Arc<KeyRing>,
    keys: Arc<KeyRing>,
    renewer: Renewer,
    app_url: Url,
    service_name: String,
    session_codes: Limit,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let deps = Deps {
        store: platform.store(),
        public_keys: platform.keys(&[KeyUse::Public]),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Outbox, KeyUse::Limit])?,
        renewer: Renewer::new(platform)?,
        app_url: environment.app_url()?,
        service_name: environment.service_name()?,
        session_codes: environment.limit(&limits::SESSION_CODES)?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// What proves a change: `token`, or `change_id` and `code`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmailConfirmRequest {
    /// The token of the mailed link.
    token: Option<String>,
    /// The mailed code of 8 digits.
    #[cfg_attr(feature = "openapi", schema(example = "12345678"))]
    code: Option<String>,
    /// What `/email/change` was answered with.
    change_id: Option<String>,
}

/// Why the address is as it was.
#[derive(Debug, Error)]
pub enum EmailConfirmError {
    /// Both a code and a token, or neither, or a code without `change_id`.
    #[error("either change_id and code, or a token, are required")]
    Proof,
    /// The form was posted by another page than ours.
    #[error("the form comes from another page")]
    ForeignForm,
    /// A wrong, old or spent link or code, no guess left, another account, or one that has changed since.
    #[error("the link or code is not valid")]
    Invalid,
    /// The address has got an owner since.
    #[error("the address has an account")]
    Taken,
    /// So many changes may still be undone; the first of them for so many seconds.
    #[error("another change may be made in {0} s")]
    TooMany(u64),
    /// Other changes came between, time and again.
    #[error("the user is being changed elsewhere")]
    Contended,
}

impl From<EmailConfirmError> for Problem {
    fn from(error: EmailConfirmError) -> Self {
        match error {
            EmailConfirmError::Proof => Self::new(Code::InvalidRequest).with_detail(error),
            EmailConfirmError::ForeignForm => Self::new(Code::CsrfRejected),
            EmailConfirmError::Invalid => Self::new(Code::InvalidVerification),
            EmailConfirmError::Taken => Self::new(Code::EmailTaken),
            EmailConfirmError::TooMany(seconds) => Self::new(Code::RateLimited).with_retry_after(seconds),
            EmailConfirmError::Contended => Self::new(Code::Unavailable).caused_by(error),
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
    confirm(&deps, json::parse(&request)?, &inbound).await?;
    Ok(empty(StatusCode::NO_CONTENT))
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
        confirm(deps, body, inbound).await
    } else {
        Err(EmailConfirmError::ForeignForm.into())
    };
    match outcome {
        Ok(()) => Ok(pages::see_app(&deps.app_url)),
        Err(problem) => {
            // If it cannot be read now, the page goes without it.
            let found = find_by_link(deps, &token).await.unwrap_or_default();
            let page = page(deps, request, &token, found.as_ref(), Some(page_problem(&problem)));
            Err(problem.shown_as(page))
        }
    }
}

fn parse_form(request: &Request) -> Result<EmailConfirmRequest, BodyError> {
    let [token] = pages::parse_form(request, ["token"])?;
    Ok(EmailConfirmRequest { token, code: None, change_id: None })
}

/// The change of a link that still holds, and the account; a completed one without.
async fn find_by_link(deps: &Deps, token: &str) -> Result<Option<(EmailChange, Option<User>)>, Problem> {
    let now = deps.clock.now();
    let Some(change) = change_of_token(deps, token, now).await? else { return Ok(None) };
    if change.completion.is_some() {
        return Ok(Some((change, None)));
    }
    let user = deps.store.find_user(change.subject.user_id).await?;
    let user = user.filter(|user| change.subject.is_still(user) && user.status == Status::Enabled);
    Ok(user.map(|user| (change, Some(user))))
}

async fn change_of_token(deps: &Deps, token: &str, now: Timestamp) -> Result<Option<EmailChange>, Problem> {
    let Some(token) = ProofSecret::parse(token) else { return Ok(None) };
    let Some(key) = deps.keys.mac_key_with_id(token.key_id, now).await? else { return Ok(None) };
    let change = deps.store.find_email_change(token.proof_id, now).await?;
    Ok(change.filter(|change| change.proof.has_token(&token, &key)))
}

/// What the page says of a problem.
const fn page_problem(problem: &Problem) -> PageProblem {
    match problem.code() {
        Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired | Code::TokenReused | Code::SessionEnded => {
            PageProblem::NotSignedIn
        }
        Code::EmailTaken => PageProblem::Taken,
        Code::CsrfRejected => PageProblem::Refused,
        Code::Unavailable | Code::Internal | Code::RateLimited => PageProblem::TryLater,
        _ => PageProblem::InvalidLink,
    }
}

fn page(
    deps: &Deps,
    request: &Request,
    token: &str,
    found: Option<&(EmailChange, Option<User>)>,
    problem: Option<PageProblem>,
) -> Response {
    let is_completed = found.is_some_and(|(change, _)| change.completion.is_some());
    let html = page::render(&Page {
        locale: Locale::choose(None, header(request, "accept-language")),
        service_name: &deps.service_name,
        app_url: deps.app_url.as_str(),
        username: found.and_then(|(_, user)| user.as_ref()).map(|user| user.username.as_str()),
        new_email: found.map(|(change, _)| change.new_email.as_str()),
        token,
        state: match problem {
            Some(problem) => PageState::Problem(problem),
            None if is_completed => PageState::Done,
            None => PageState::Asking,
        },
    });
    pages::response(html, &deps.app_url)
}

async fn confirm(deps: &Deps, body: EmailConfirmRequest, inbound: &Inbound) -> Result<(), Problem> {
    let EmailConfirmRequest { token, code, change_id } = body;
    let now = deps.clock.now();
    let caller = deps.renewer.authenticate(inbound, &deps.public_keys, &deps.store, now).await?;

    let session_id = caller.session.id.to_string();
    let limit_key = deps.keys.limit_key(now).await?;
    let codes = deps.session_codes.of(limit_key.mac("session", &[session_id.as_bytes()]), now);
    let proved = match (code, token, change_id) {
        (Some(code), None, Some(change_id)) => {
            let proved = prove_by_code(deps, &change_id, &code, codes.as_ref(), now).await;
            proved.map(|change| (change, Proof::Code))
        }
        (None, Some(token), None) => match change_of_token(deps, &token, now).await? {
            Some(change) => Ok((change, Proof::Link)),
            None => Err(EmailConfirmError::Invalid.into()),
        },
        _ => return Err(EmailConfirmError::Proof.into()),
    };
    let (change, proof) = proved.inspect_err(log_failure)?;
    let was_guess = codes.as_ref().filter(|_| proof == Proof::Code);
    let change_address = change_address(deps, &caller, &change, proof, inbound, now);
    let (changed, ()) = deps.store.both(change_address, deps.store.give_back(was_guess)).await;
    // A right guess is not spent, so that the same request may be repeated. The transaction gives it back with its own
    // writes.
    if proof == Proof::Code && !matches!(changed, Ok(Changed::Now)) {
        let is_unknown =
            change.completion.is_none() && changed.as_ref().is_err_and(|problem| problem.code() == Code::Unavailable);
        deps.store.restore_change_code_attempt(change.proof.id, GiveBack::after(is_unknown)).await?;
    }
    changed.inspect_err(log_failure).map(drop)
}

fn log_failure(problem: &Problem) {
    if problem.code() == Code::InvalidVerification {
        SecurityEvent::VerificationFailed.log();
    }
}

/// The mail's code was read. The guess is spent before it is compared, first of the session's.
async fn prove_by_code(
    deps: &Deps,
    change_id: &str,
    code: &str,
    codes: Option<&Counter>,
    now: Timestamp,
) -> Result<EmailChange, Problem> {
    let change_id = ProofSecret::parse(change_id).ok_or(EmailConfirmError::Invalid)?;
    let code = VerificationCode::parse(code).ok_or(EmailConfirmError::Invalid)?;
    let key = deps.keys.mac_key_with_id(change_id.key_id, now).await?.ok_or(EmailConfirmError::Invalid)?;
    let own = change_id.id_mac(Purpose::Change, &key);
    if !is_within(deps.store.count(codes, now).await)? {
        return Err(EmailConfirmError::Invalid.into());
    }
    let change = deps.store.spend_change_code_attempt(change_id.proof_id, own, now).await?;
    Ok(change.filter(|change| change.proof.has_code(&code, &key)).ok_or(EmailConfirmError::Invalid)?)
}

/// When an address was changed.
enum Changed {
    /// By this request.
    Now,
    /// By an earlier one, which this one repeats.
    Before,
}

async fn change_address(
    deps: &Deps,
    caller: &Caller,
    change: &EmailChange,
    proof: Proof,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<Changed, Problem> {
    if change.subject.user_id != caller.user.id {
        return Err(EmailConfirmError::Invalid.into());
    }
    if change.completion.is_some() {
        let is_repeated = change.may_be_repeated(proof, now);
        return if is_repeated { Ok(Changed::Before) } else { Err(EmailConfirmError::Invalid.into()) };
    }
    let mut user = caller.user.clone();
    for _ in 0..ATTEMPTS {
        if !change.subject.is_still(&user) {
            return Err(EmailConfirmError::Invalid.into());
        }
        let open = user.undos.iter().filter(|undo| now < undo.until);
        if open.clone().count() >= MAX_UNDOS {
            let first = open.map(|undo| undo.until.seconds_since(now)).min().unwrap_or_default();
            return Err(EmailConfirmError::TooMany(first).into());
        }
        let (undo, outbox) = undo(deps, &user, change, inbound, now).await?;
        match deps.store.change_email(&user, change, proof, &undo, &[outbox], now).await? {
            EmailChanged::Done => return Ok(Changed::Now),
            EmailChanged::AlreadyCompleted => {
                // The same request was sent twice at once.
                let found = deps.store.find_email_change(change.proof.id, now).await?;
                let is_repeated = found.is_some_and(|found| found.may_be_repeated(proof, now));
                return if is_repeated { Ok(Changed::Before) } else { Err(EmailConfirmError::Invalid.into()) };
            }
            EmailChanged::Taken => return Err(EmailConfirmError::Taken.into()),
            EmailChanged::Stale => user = caller.read_user_again(&deps.store, now).await?,
        }
    }
    Err(EmailConfirmError::Contended.into())
}

/// The undo that the address before is mailed, and that mail, with the event.
async fn undo(
    deps: &Deps,
    user: &User,
    change: &EmailChange,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<(UndoLink, OutboxItem), Problem> {
    let key = deps.keys.mac_key(now).await?;
    let sealing_key = deps.keys.outbox_key(now).await?;
    let (proof, secrets) = MailedProof::link(Purpose::Undo, &key, UNDO_LIFETIME, now);
    let letter = Letter::EmailChanged {
        username: user.username.as_str().to_owned(),
        new_email: change.new_email.as_str().to_owned(),
    };
    let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device).with_proof(
        &proof,
        &secrets,
        &sealing_key,
        inbound.api_url.as_str(),
    )?;
    let undo = UndoLink { proof, user_id: user.id, completed_at: None };
    Ok((undo, OutboxItem::mail(mail, now).with_event(EventType::EmailChanged, user.id)))
}
