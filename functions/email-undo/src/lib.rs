//! `GET /email/undo?token=` — the page that the link in the mail to an account's address before opens: whose account it is, and
//! a button that posts. It changes nothing, as mail scanners fetch links. `HEAD /email/undo` answers likewise, without the
//! page.
//!
//! `POST /email/undo` — gives an account its address before back, for whoever reads the mail there, within 7 days of the
//! change. It voids that change and all later ones, their undos, every reset and whatever else was mailed, ends all sessions
//! and makes all devices unknown (the epoch is raised), and only a reset leads back in, whose mail goes to the restored address
//! at once. An account that waits to be deleted is taken back by it; one that an operator disabled stays so.
//!
//! An undo holds while the account lists it, whatever epoch and address: using one drops it and all later ones. The very same
//! link again within 10 minutes gets the same answer.
//!
//! Success: `204`; for the page's form `303` to `AppUrl`.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_verification`, `csrf_rejected`,
//! `unavailable`; for the form they come as a page.
//!
//! Round trips: 3; 16 WRU, 4 more for each later undo, 2 RRU. The page: 2; 2 RRU.

pub mod page;

use shared::account::{
    MailedProof, PasswordReset, ProofSecret, ProofSubject, Purpose, Status, Undo, UndoId, UndoLink, User,
};
use shared::http::json::BodyError;
use shared::http::{csrf, empty, header, page as pages};
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::prelude::*;
use shared::store::EmailChanged;
use shared::telemetry::SecurityEvent;
use shared::token::KeyRing;
use url::Url;

use page::{Page, PageProblem, PageState};

/// How often an undo is decided anew that met another change of the user.
const ATTEMPTS: usize = 3;

/// What an undo needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    app_url: Url,
    service_name: String,
    clock: Clock,
}

/// The function, ready to answer.
pub fn service(platform: &Platform) -> Result<Endpoint, ConfigError> {
    let environment = &platform.environment;
    let deps = Deps {
        store: platform.store(),
        keys: platform.signing_keys(&[KeyUse::Mac, KeyUse::Outbox])?,
        app_url: environment.app_url()?,
        service_name: environment.service_name()?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// What takes a change back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmailUndoRequest {
    /// The token of the mailed link.
    token: String,
}

/// Why nothing was undone.
#[derive(Debug, Error)]
pub enum EmailUndoError {
    /// The form was posted by another page than ours.
    #[error("the form comes from another page")]
    ForeignForm,
    /// A wrong, old or spent link, or one that an earlier undo has voided.
    #[error("the link is not valid")]
    Invalid,
    /// Other changes came between, time and again.
    #[error("the user is being changed elsewhere")]
    Contended,
}

impl From<EmailUndoError> for Problem {
    fn from(error: EmailUndoError) -> Self {
        match error {
            EmailUndoError::ForeignForm => Self::new(Code::CsrfRejected),
            EmailUndoError::Invalid => Self::new(Code::InvalidVerification),
            EmailUndoError::Contended => Self::new(Code::Unavailable).caused_by(error),
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
    let EmailUndoRequest { token } = json::parse(&request)?;
    undo(&deps, &token, &inbound).await?;
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
    let token = parse_form(request)?.unwrap_or_default();
    let outcome = if csrf::is_own(request.headers(), inbound.api_url.origin()) {
        undo(deps, &token, inbound).await
    } else {
        Err(EmailUndoError::ForeignForm.into())
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

fn parse_form(request: &Request) -> Result<Option<String>, BodyError> {
    let [token] = pages::parse_form(request, ["token"])?;
    Ok(token)
}

/// What a link undoes.
struct Found {
    link: UndoLink,
    /// The account, and its change; none once the link was used.
    account: Option<(User, Undo)>,
}

/// What a link that still holds undoes.
async fn find_by_link(deps: &Deps, token: &str) -> Result<Option<Found>, Problem> {
    let now = deps.clock.now();
    let Some(link) = undo_of_token(deps, token, now).await? else { return Ok(None) };
    if link.completed_at.is_some() {
        return Ok(Some(Found { link, account: None }));
    }
    let user = deps.store.find_user(link.user_id).await?;
    let account = user.and_then(|user| listed(&user, &link, now).map(|undo| (user, undo)));
    Ok(account.map(|account| Found { link, account: Some(account) }))
}

async fn undo_of_token(deps: &Deps, token: &str, now: Timestamp) -> Result<Option<UndoLink>, Problem> {
    let Some(token) = ProofSecret::parse(token) else { return Ok(None) };
    let Some(key) = deps.keys.mac_key_with_id(token.key_id, now).await? else { return Ok(None) };
    let undo = deps.store.find_undo(token.proof_id, now).await?;
    Ok(undo.filter(|undo| undo.proof.has_token(&token, &key)))
}

/// The undo of this link, as the account lists it.
fn listed(user: &User, link: &UndoLink, now: Timestamp) -> Option<Undo> {
    let id = UndoId::from_bytes(*link.proof.id.as_bytes());
    user.undos.iter().find(|undo| undo.id == id && now < undo.until).cloned()
}

/// What the page says of a problem.
const fn page_problem(problem: &Problem) -> PageProblem {
    match problem.code() {
        Code::CsrfRejected => PageProblem::Refused,
        Code::Unavailable | Code::Internal => PageProblem::TryLater,
        _ => PageProblem::InvalidLink,
    }
}

fn page(deps: &Deps, request: &Request, token: &str, found: Option<&Found>, problem: Option<PageProblem>) -> Response {
    let account = found.and_then(|found| found.account.as_ref());
    let is_completed = found.is_some_and(|found| found.link.completed_at.is_some());
    let html = page::render(&Page {
        locale: Locale::choose(None, header(request, "accept-language")),
        service_name: &deps.service_name,
        app_url: deps.app_url.as_str(),
        username: account.map(|(user, _)| user.username.as_str()),
        email: account.map(|(_, undo)| undo.email.as_str()),
        token,
        state: match problem {
            Some(problem) => PageState::Problem(problem),
            None if is_completed => PageState::Done,
            None => PageState::Asking,
        },
    });
    pages::response(html, &deps.app_url)
}

async fn undo(deps: &Deps, token: &str, inbound: &Inbound) -> Result<(), Problem> {
    let now = deps.clock.now();
    let undone = undo_change(deps, token, inbound, now).await;
    if undone.as_ref().is_err_and(|problem| problem.code() == Code::InvalidVerification) {
        SecurityEvent::VerificationFailed.log();
    }
    undone
}

async fn undo_change(deps: &Deps, token: &str, inbound: &Inbound, now: Timestamp) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        let link = undo_of_token(deps, token, now).await?.ok_or(EmailUndoError::Invalid)?;
        if link.completed_at.is_some() {
            return if link.may_be_repeated(now) { Ok(()) } else { Err(EmailUndoError::Invalid.into()) };
        }
        let user = deps.store.find_user(link.user_id).await?.ok_or(EmailUndoError::Invalid)?;
        let Some(undo) = listed(&user, &link, now) else {
            // Unless the same request was sent twice at once, and the other one got there between the two reads.
            let link = undo_of_token(deps, token, now).await?;
            let is_repeated = link.is_some_and(|link| link.may_be_repeated(now));
            return if is_repeated { Ok(()) } else { Err(EmailUndoError::Invalid.into()) };
        };
        let restored = restored(&user, &undo);
        let (reset, outbox) = told(deps, &restored, inbound, now).await?;
        match deps.store.undo_email_change(&user, &restored, &link, reset.as_ref(), &outbox, now).await? {
            EmailChanged::Done => return Ok(()),
            // Decided anew, from what is there now.
            EmailChanged::AlreadyCompleted | EmailChanged::Stale | EmailChanged::Taken => {}
        }
    }
    Err(EmailUndoError::Contended.into())
}

/// The account with its address before that change, and the undos of earlier ones.
fn restored(user: &User, undo: &Undo) -> User {
    let earlier = user.undos.iter().take_while(|other| other.id != undo.id).cloned().collect();
    let status = match user.status {
        Status::Disabled => Status::Disabled,
        Status::Enabled | Status::ResetRequired | Status::Deleting => Status::ResetRequired,
    };
    User { email: undo.email.clone(), epoch: user.epoch.next(), status, undos: earlier, ..user.clone() }
}

/// The reset that leads back in, and what is mailed and published.
async fn told(
    deps: &Deps,
    user: &User,
    inbound: &Inbound,
    now: Timestamp,
) -> Result<(Option<PasswordReset>, Vec<OutboxItem>), Problem> {
    let username = || user.username.as_str().to_owned();
    let mail = |letter| QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&inbound.device);
    let notice = OutboxItem::mail(mail(Letter::EmailChangeUndone { username: username() }), now);
    let notice = notice.with_event(EventType::EmailChanged, user.id);
    if !user.status.may_reset() {
        return Ok((None, vec![notice]));
    }
    let key = deps.keys.mac_key(now).await?;
    let sealing_key = deps.keys.outbox_key(now).await?;
    let (proof, _, secrets) = MailedProof::start(Purpose::Reset, &key, now);
    // No device asked for it: the link is the way.
    let proof = MailedProof { code_attempts: 0, ..proof };
    let mail = mail(Letter::PasswordReset { username: username() });
    let mail = mail.with_proof(&proof, &secrets, &sealing_key, inbound.api_url.as_str())?;
    let reset = PasswordReset { proof, subject: Some(ProofSubject::of(user)), completion: None };
    Ok((Some(reset), vec![notice, OutboxItem::mail(mail, now)]))
}
