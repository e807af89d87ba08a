//! `GET /verify?token=` — the page that a mailed link opens: whose account it is about, a button that posts, and a password
//! field where the cookie `signup` is missing; once the sign-up is completed, the way to the app. It changes nothing, as
//! mail scanners fetch links. `HEAD /verify` answers likewise, without the page.
//!
//! `POST /verify` — makes a sign-up an account and signs in.
//!
//! A sign-up is verified by `signup_id` (body or cookie) and `code`; by `signup_id` and `token`; or by `token` and
//! `password`. `username` asks for another name than at sign-up, should that be taken by now. A proof is good for one
//! session. The very same request within 10 minutes is answered with tokens of the session that it made, as its answer may
//! have been lost, while that session lives and has never been refreshed; any other proof of a completed sign-up is
//! `invalid_verification`.
//!
//! Success: `201`, a session response; for the page's form `303` to `AppUrl`, with cookies.
//!
//! Errors: `invalid_request`, `unsupported_media_type`, `body_too_large`, `invalid_username` (also a reserved one),
//! `weak_password` (it would be the other name), `invalid_verification`, `confirmation_required` (a token alone),
//! `invalid_credentials` (a token with another password), `email_taken`, `username_taken`, `rate_limited` (too many wrong
//! codes and passwords from one source), `csrf_rejected`, `unavailable`; for the form they come as a page.
//!
//! Round trips: 2; 12 WRU (13 by code, as a guess is spent first), 1 RRU. The page: 1; 1 RRU. Another name may cost two
//! hashes.

pub mod page;

use lambda_http::Body;
use lambda_http::http::header::CONTENT_TYPE;
use shared::account::{
    CandidatePassword, Completion, Epoch, Guess, Password, PendingSignup, Proof, ProofSecret, Purpose,
    ReservedUsernames, Roles, Status, User, UserId, Username, VerificationCode, WeakPassword,
};
use shared::http::json::BodyError;
use shared::http::session_response::Issuer;
use shared::http::{csrf, header, page as pages};
use shared::limits::{self, Counter, Limit};
use shared::locale::Locale;
use shared::outbox::{EventType, OutboxItem};
use shared::password_hasher::{HashError, PasswordHasher, Verdict};
use shared::prelude::*;
use shared::session::{AuthenticationMethod, AuthenticationMethods, Client, Generation, Kind, Session, SessionRef};
use shared::store::{AccountError, GiveBack, NewAccount, StoreError};
use shared::telemetry::{SecurityEvent, SignInMethod};
use shared::token::{DeviceEpoch, KeyRing};
use url::Url;

use page::{Page, PageProblem, PageState};

/// What a verification needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    hasher: PasswordHasher,
    issuer: Issuer,
    app_url: Url,
    service_name: String,
    reserved_usernames: ReservedUsernames,
    source_failures: Limit,
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
        app_url: environment.app_url()?,
        service_name: environment.service_name()?,
        reserved_usernames: environment.reserved_usernames()?,
        source_failures: environment.limit(&limits::SOURCE_FAILURES)?,
        clock: platform.clock.clone(),
    };
    platform.endpoint(deps, handle)
}

/// What proves a sign-up: `signup_id` and `code`, `signup_id` and `token`, or `token` and `password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifyRequest {
    /// The token of the mailed link.
    token: Option<String>,
    /// The mailed code of 8 digits.
    #[cfg_attr(feature = "openapi", schema(example = "12345678"))]
    code: Option<String>,
    /// What the sign-up was answered with; a browser has it in its cookie.
    signup_id: Option<String>,
    /// The password of the sign-up, where the link was opened elsewhere.
    password: Option<CandidatePassword>,
    /// Another name than at sign-up, should that be taken by now.
    username: Option<String>,
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    client: Client,
    /// A browser session of 30 days rather than 30 minutes. Apps need not say so.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(nullable))]
    remember: bool,
}

/// Why nothing was verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The other name speaks for the service.
    #[error("the user name is reserved")]
    UsernameReserved,
    /// Both a code and a token, or neither, or a code without `signup_id`.
    #[error("either signup_id and code, or a token, are required")]
    Proof,
    /// The form was posted by another page than ours.
    #[error("the form comes from another page")]
    ForeignForm,
    /// A wrong, old or spent link or code, or no guess left.
    #[error("the link or code is not valid")]
    Invalid,
    /// A token alone.
    #[error("the device that signed up, or the password, is needed too")]
    ConfirmationRequired,
    /// A token with another password than at sign-up.
    #[error("wrong password")]
    WrongPassword,
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::UsernameReserved => Self::new(Code::InvalidUsername).with_detail(error),
            VerifyError::Proof => Self::new(Code::InvalidRequest).with_detail(error),
            VerifyError::ForeignForm => Self::new(Code::CsrfRejected),
            VerifyError::Invalid => Self::new(Code::InvalidVerification),
            VerifyError::ConfirmationRequired => Self::new(Code::ConfirmationRequired).with_detail(error),
            VerifyError::WrongPassword => Self::new(Code::InvalidCredentials),
        }
    }
}

/// Answers a request.
pub async fn handle(deps: Arc<Deps>, request: Request, inbound: Inbound) -> Result<Response, Problem> {
    if pages::is_wanted(&request) {
        return show(&deps, &request, &inbound).await;
    }
    if pages::is_form(&request) {
        return submit(&deps, &request, &inbound).await;
    }
    let body = json::parse(&request)?;
    verify(&deps, body, &inbound, StatusCode::CREATED).await
}

async fn show(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let token = pages::token(request);
    let pending = find_by_link(deps, token).await?;
    let (status, problem) = match pending {
        Some(_) => (StatusCode::OK, None),
        None => (StatusCode::BAD_REQUEST, Some(PageProblem::InvalidLink)),
    };
    Ok(pages::shown(request, status, page(deps, request, inbound, token, pending.as_ref(), problem)))
}

/// The sign-up whose newest link has this token.
async fn find_by_link(deps: &Deps, token: &str) -> Result<Option<PendingSignup>, Problem> {
    let now = deps.clock.now();
    let Some(token) = ProofSecret::parse(token) else { return Ok(None) };
    let Some(key) = deps.keys.mac_key_with_id(token.key_id, now).await? else { return Ok(None) };
    let pending = deps.store.find_signup(token.proof_id, now).await?;
    Ok(pending.filter(|pending| !pending.decoy && pending.proof.has_token(&token, &key)))
}

/// The page's form. Only our own page posts it.
async fn submit(deps: &Deps, request: &Request, inbound: &Inbound) -> Result<Response, Problem> {
    let body = parse_form(request)?;
    let token = body.token.clone().unwrap_or_default();
    let outcome = if csrf::is_own(request.headers(), inbound.api_url.origin()) {
        verify(deps, body, inbound, StatusCode::SEE_OTHER).await
    } else {
        Err(VerifyError::ForeignForm.into())
    };
    match outcome {
        Ok(mut response) => {
            // The app reads its session from `/me`; no token is in the body, as it is a browser's.
            *response.body_mut() = Body::Empty;
            response.headers_mut().remove(CONTENT_TYPE);
            response.headers_mut().extend(pages::see_app(&deps.app_url).headers_mut().drain());
            Ok(response)
        }
        Err(problem) => {
            // If it cannot be read now, the page goes without it.
            let pending = find_by_link(deps, &token).await.unwrap_or_default();
            let page = page(deps, request, inbound, &token, pending.as_ref(), Some(page_problem(&problem)));
            Err(problem.shown_as(page))
        }
    }
}

fn parse_form(request: &Request) -> Result<VerifyRequest, BodyError> {
    let [token, password] = pages::parse_form(request, ["token", "password"])?;
    Ok(VerifyRequest {
        token,
        code: None,
        signup_id: None,
        password: password.map(CandidatePassword::new),
        username: None,
        client: Client::Browser,
        remember: false,
    })
}

/// What the page says of a problem.
const fn page_problem(problem: &Problem) -> PageProblem {
    match problem.code() {
        Code::ConfirmationRequired => PageProblem::ConfirmationRequired,
        Code::InvalidCredentials => PageProblem::WrongPassword,
        Code::EmailTaken => PageProblem::EmailTaken,
        Code::UsernameTaken => PageProblem::UsernameTaken,
        Code::CsrfRejected => PageProblem::Refused,
        Code::Unavailable | Code::Internal | Code::RateLimited => PageProblem::TryLater,
        _ => PageProblem::InvalidLink,
    }
}

fn page(
    deps: &Deps,
    request: &Request,
    inbound: &Inbound,
    token: &str,
    pending: Option<&PendingSignup>,
    problem: Option<PageProblem>,
) -> Response {
    let needs_password = inbound.signup_cookie.is_none()
        || matches!(problem, Some(PageProblem::ConfirmationRequired | PageProblem::WrongPassword));
    let is_completed = pending.is_some_and(|pending| pending.completion.is_some());
    let html = page::render(&Page {
        locale: Locale::choose(None, header(request, "accept-language")),
        service_name: &deps.service_name,
        app_url: deps.app_url.as_str(),
        username: pending.map(|pending| pending.username.as_str()),
        token,
        needs_password,
        state: match problem {
            _ if is_completed => PageState::Done,
            Some(problem) => PageState::Problem(problem),
            None => PageState::Asking,
        },
    });
    pages::response(html, &deps.app_url)
}

async fn verify(deps: &Deps, body: VerifyRequest, inbound: &Inbound, status: StatusCode) -> Result<Response, Problem> {
    let VerifyRequest { token, code, signup_id, password, username, client, remember } = body;
    let username = username.as_deref().map(Username::parse).transpose()?;
    if username.as_ref().is_some_and(|username| deps.reserved_usernames.contains(username)) {
        return Err(VerifyError::UsernameReserved.into());
    }
    let kind = Kind::chosen(client, remember);
    let now = deps.clock.now();
    let signup_id = signup_id.as_deref().or(inbound.signup_cookie.as_deref());

    let limit_key = deps.keys.limit_key(now).await?;
    let source = deps.source_failures.of_source(inbound.source, &limit_key, now);
    let source = source.as_ref();

    let proved = match (code, token, signup_id) {
        (Some(code), None, Some(signup_id)) => {
            prove_by_code(deps, signup_id, &code, source, now).await.map(|pending| (pending, Proof::Code))
        }
        (None, Some(token), signup_id) => {
            let proof = LinkProof { token: &token, signup_id, password: password.as_ref() };
            prove_by_token(deps, proof, source, now).await
        }
        _ => return Err(VerifyError::Proof.into()),
    };
    let (pending, proof) = proved.inspect_err(|problem| {
        if matches!(problem.code(), Code::InvalidVerification | Code::InvalidCredentials) {
            SecurityEvent::VerificationFailed.log();
        }
    })?;
    // Only that proof has looked at the password.
    let proved_password = password.as_ref().filter(|_| proof == Proof::LinkAndPassword);
    if let Some(username) = &username
        && pending.completion.is_none()
        && is_password(deps, username, &pending, proved_password).await?
    {
        if let Some(guess) = proof.guess() {
            deps.store.restore_signup_attempt(pending.proof.id, guess, GiveBack::Always).await?;
        }
        return Err(WeakPassword::Guessable.into());
    }
    let create = Box::pin(async {
        match pending.completion.clone() {
            Some(completion) => Err(AccountError::AlreadyCompleted(completion)),
            None => create_account(deps, &pending, username, kind, inbound, proof, now).await,
        }
    });
    let (created, ()) = deps.store.both(create, deps.store.give_back(source.filter(|_| proof.guess().is_some()))).await;
    // A right guess is not spent, so that the same request may be repeated. The account's own transaction gives it
    // back with its other writes.
    if let (Some(guess), Err(error)) = (proof.guess(), &created) {
        let give_back = GiveBack::after(matches!(error, AccountError::Store(_)));
        deps.store.restore_signup_attempt(pending.proof.id, guess, give_back).await?;
    }
    let (user, session) = match created {
        Err(AccountError::AlreadyCompleted(completion)) if completion.may_be_repeated(proof, kind, now) => {
            find_first_session(deps, &completion, now).await?
        }
        created => {
            let (user, session) = created?;
            SecurityEvent::signed_in(&session, SignInMethod::Verification).log();
            (user, session)
        }
    };

    for other in deps.issuer.sessions(inbound, now).await? {
        if other != session.reference() {
            deps.store.delete_session(other).await?;
        }
    }
    let device = deps.keys.issue_device(user.id, user.devices, now).await?;
    Ok(deps.issuer.sign_in_response(status, &user, &session, device, inbound, now).await?)
}

/// The mail's code was read, by the device that signed up. The guess is spent before it is compared, and counted under its
/// source.
async fn prove_by_code(
    deps: &Deps,
    signup_id: &str,
    code: &str,
    source: Option<&Counter>,
    now: Timestamp,
) -> Result<PendingSignup, Problem> {
    let signup_id = ProofSecret::parse(signup_id).ok_or(VerifyError::Invalid)?;
    let code = VerificationCode::parse(code).ok_or(VerifyError::Invalid)?;
    let key = deps.keys.mac_key_with_id(signup_id.key_id, now).await?.ok_or(VerifyError::Invalid)?;
    let own = signup_id.id_mac(Purpose::Signup, &key);
    let spend = Box::pin(deps.store.spend_signup_code_attempt(signup_id.proof_id, own, now));
    let pending = spend_counted(deps, spend, source, Guess::Code, now).await?.ok_or(VerifyError::Invalid)?;
    let right = pending.proof.has_code(&code, &key);
    if right && !pending.decoy { Ok(pending) } else { Err(VerifyError::Invalid.into()) }
}

/// Spends a guess of a sign-up and counts it under its source. Where that has had too many the guess is given back.
async fn spend_counted(
    deps: &Deps,
    spend: impl Future<Output = Result<Option<PendingSignup>, StoreError>>,
    source: Option<&Counter>,
    guess: Guess,
    now: Timestamp,
) -> Result<Option<PendingSignup>, Problem> {
    let (pending, counted) = deps.store.both(spend, deps.store.count(source, now)).await;
    match (pending?, counted) {
        (pending, Ok(())) => Ok(pending),
        (pending, Err(error)) => {
            if let Some(pending) = pending {
                deps.store.restore_signup_attempt(pending.proof.id, guess, GiveBack::Always).await?;
            }
            Err(error.into())
        }
    }
}

/// What comes with a link.
struct LinkProof<'a> {
    token: &'a str,
    signup_id: Option<&'a str>,
    password: Option<&'a CandidatePassword>,
}

/// The mail's link was opened: by the device that signed up, or by someone who knows the password chosen there. A guess
/// of that is spent before it is compared.
async fn prove_by_token(
    deps: &Deps,
    proof: LinkProof<'_>,
    source: Option<&Counter>,
    now: Timestamp,
) -> Result<(PendingSignup, Proof), Problem> {
    let LinkProof { token, signup_id, password } = proof;
    let token = ProofSecret::parse(token).ok_or(VerifyError::Invalid)?;
    let key = deps.keys.mac_key_with_id(token.key_id, now).await?.ok_or(VerifyError::Invalid)?;
    let signup_id = signup_id
        .and_then(ProofSecret::parse)
        .filter(|signup_id| (signup_id.proof_id, signup_id.key_id) == (token.proof_id, token.key_id));
    if signup_id.is_some() || password.is_none() {
        let pending = deps.store.find_signup(token.proof_id, now).await?.ok_or(VerifyError::Invalid)?;
        if pending.decoy || !pending.proof.has_token(&token, &key) {
            return Err(VerifyError::Invalid.into());
        }
        if signup_id.is_some_and(|signup_id| pending.proof.is_of_device(&signup_id, &key)) {
            return Ok((pending, Proof::Link));
        }
    }
    let password = password.ok_or(VerifyError::ConfirmationRequired)?;
    let password = password.to_compare().ok_or(VerifyError::WrongPassword)?;
    let own = token.token_mac(Purpose::Signup, &key);
    let spend = Box::pin(deps.store.spend_password_attempt(token.proof_id, own, now));
    let pending = spend_counted(deps, spend, source, Guess::Password, now).await?;
    let pending = pending.filter(|pending| !pending.decoy).ok_or(VerifyError::Invalid)?;
    match deps.hasher.verify(password, Some(pending.password_hash.clone())).await? {
        (Verdict::Right { .. }, _) => Ok((pending, Proof::LinkAndPassword)),
        (Verdict::Wrong, _) => Err(VerifyError::WrongPassword.into()),
    }
}

/// Whether the sign-up's password is this name, which came after it. Of a password that is not at hand, the plainest
/// guesses are tried.
async fn is_password(
    deps: &Deps,
    username: &Username,
    pending: &PendingSignup,
    password: Option<&CandidatePassword>,
) -> Result<bool, HashError> {
    if let Some(password) = password {
        return Ok(password.is_made_of(username));
    }
    for guess in Password::guesses_from(username) {
        let (verdict, _) = deps.hasher.verify(guess, Some(pending.password_hash.clone())).await?;
        if matches!(verdict, Verdict::Right { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn create_account(
    deps: &Deps,
    pending: &PendingSignup,
    username: Option<Username>,
    kind: Kind,
    inbound: &Inbound,
    proof: Proof,
    now: Timestamp,
) -> Result<(User, Session), AccountError> {
    let user = User {
        id: UserId::random(),
        username: username.unwrap_or_else(|| pending.username.clone()),
        email: pending.email.clone(),
        status: Status::Enabled,
        epoch: Epoch::FIRST,
        locale: pending.locale,
        created_at: now,
        devices: DeviceEpoch::default(),
        roles: Roles::default(),
        undos: Vec::new(),
    };
    let session = Session::start(&user, kind, methods(proof), &inbound.device, deps.issuer.lifetimes(), now);
    let account = NewAccount { user: &user, password_hash: &pending.password_hash, session: &session };
    let created = OutboxItem::event(EventType::UserCreated, user.id, now);
    deps.store.create_account(&account, pending, proof, &[created], now).await?;
    Ok((user, session))
}

/// What a proof says of how the user was authenticated: the mail is another channel than the request, and the password
/// counts where it was given now, not where it was chosen at sign-up.
const fn methods(proof: Proof) -> AuthenticationMethods {
    match proof {
        Proof::Code | Proof::Link => AuthenticationMethods::MAIL,
        Proof::LinkAndPassword => AuthenticationMethods::MAIL.with(AuthenticationMethod::Password),
    }
}

/// The session that a verification made, and its user, if it is as it was then: not ended, not refreshed.
async fn find_first_session(deps: &Deps, completion: &Completion, now: Timestamp) -> Result<(User, Session), Problem> {
    let Completion { user_id, session_id, .. } = *completion;
    let (session, user) = deps.store.find_session_and_user(SessionRef { user_id, session_id }).await?;
    match (session, user) {
        (Some(session), Some(user))
            if session.is_alive(Some(&user), now) && session.generation == Generation::FIRST =>
        {
            Ok((user, session))
        }
        _ => Err(VerifyError::Invalid.into()),
    }
}
