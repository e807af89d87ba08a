//! A `tower` layer for functions whose callers are signed in, this project's own and anyone's in the same stack.
//!
//! It checks the request's way (past the CDN, if there is one, it is refused) and its origin, verifies the caller, and hands the handler a [`Caller`] with user and session among
//! the request's extensions. Past half of a browser's access token it extends the session, and the answer carries the
//! new cookie: every call keeps the session alive. Whoever is not signed in never reaches the handler, whose errors are
//! answered as problems.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lambda_http::tower::Layer;
use lambda_http::{IntoResponse, Request, Service};
use tracing::Instrument;

use super::caller::{Caller, CallerError};
use super::context::{HttpContext, request_id};
use super::cookies::{CookieKind, Cookies};
use super::credentials::Inbound;
use super::renewal::{Extension, Renewer};
use super::{Problem, Response};
use crate::clock::{Clock, Timestamp};
use crate::config::{ConfigError, Environment};
use crate::runtime::Platform;
use crate::session::Kind;
use crate::store::Store;
use crate::token::{KeyRing, KeyUse};

/// Lets signed-in callers alone through to the service that it wraps.
///
/// The wrapped function needs what `MeFunction` has in `template.yaml`: its policies and environment, and
/// `Authorizer: NONE` at its routes.
#[derive(Clone)]
pub struct SessionLayer {
    authenticator: Arc<Authenticator>,
    environment: Environment,
    admission: Admission,
}

/// What is asked of a caller beside being signed in.
#[derive(Clone, Debug, Default)]
struct Admission {
    /// Roles, all of them.
    roles: Vec<&'static str>,
    /// That they proved who they are so many seconds ago at most.
    fresh_within: Option<u64>,
}

impl Admission {
    /// Whether a caller may pass. Who has not the role is asked for no password.
    fn check(&self, caller: &Caller, now: Timestamp) -> Result<(), CallerError> {
        self.roles.iter().try_for_each(|role| caller.require_role(role))?;
        self.fresh_within.map_or(Ok(()), |window| caller.require_fresh(window, now))
    }
}

impl SessionLayer {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        let authenticator = Authenticator {
            context: HttpContext::from_env(&platform.environment)?,
            keys: platform.keys(&[KeyUse::Public]),
            store: platform.store(),
            renewer: Renewer::new(platform)?,
            clock: platform.clock.clone(),
        };
        let environment = platform.environment.clone();
        Ok(Self { authenticator: Arc::new(authenticator), environment, admission: Admission::default() })
    }

    /// Lets through only who proved lately who they are: within `FRESH_AUTHENTICATION` seconds, which the function's
    /// environment has to hold. Anyone else who is signed in is answered `403 reauthentication_required`, and asks
    /// `POST /reauthenticate` for a session that is fresh.
    pub fn fresh(mut self) -> Result<Self, ConfigError> {
        self.admission.fresh_within = Some(self.environment.fresh_authentication()?);
        Ok(self)
    }

    /// Lets through only who has this role, as it is stored now; if it is called again, who has both. Anyone else who is
    /// signed in is answered `403 role_required`. What cannot be a role ([`Role`](crate::account::Role)) nobody has.
    #[must_use]
    pub fn require_role(mut self, role: &'static str) -> Self {
        self.admission.roles.push(role);
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { authenticator: Arc::clone(&self.authenticator), admission: self.admission.clone(), inner }
    }
}

/// A service behind a [`SessionLayer`].
#[derive(Clone)]
pub struct SessionService<S> {
    authenticator: Arc<Authenticator>,
    admission: Admission,
    inner: S,
}

impl<S> Service<Request> for SessionService<S>
where
    S: Service<Request, Response: IntoResponse + Send, Error: Into<Problem> + Send, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let mut inner = self.inner.clone();
        let authenticator = Arc::clone(&self.authenticator);
        let admission = self.admission.clone();
        let span = authenticator.context.span(&request);
        let answer = async move {
            let Authenticator { context, clock, .. } = &*authenticator;
            let (now, id) = (clock.now(), request_id(&request));
            let inbound = match Inbound::of_request(context, &request) {
                Ok(inbound) => inbound,
                Err(problem) => return Ok(context.problem_response(problem, None, &id)),
            };
            let authenticated = match context.admit(&mut request, &inbound) {
                Ok(()) => context.within_timeout(authenticator.authenticate(&inbound, now)).await,
                Err(problem) => Err(problem),
            };
            let mut response = match authenticated {
                Ok((caller, extension)) => {
                    request.extensions_mut().insert(caller.clone());
                    let answer = match admission.check(&caller, now) {
                        Ok(()) => call(&mut inner, request).await,
                        Err(error) => Err(error.into()),
                    };
                    let mut response = match answer {
                        Ok(answer) => answer.into_response().await,
                        Err(problem) => context.problem_response(problem, Some(&inbound), &id),
                    };
                    if let Some(extension) = extension {
                        authenticator.set_cookies(&mut response, &caller, &extension, &inbound);
                    }
                    response
                }
                Err(problem) => context.problem_response(problem, None, &id),
            };
            // What one user's answer holds is for nobody else, unless the handler says otherwise.
            context.complete(&mut response, inbound.api_url.is_https());
            Ok(response)
        };
        Box::pin(answer.instrument(span))
    }
}

async fn call<S>(service: &mut S, request: Request) -> Result<S::Response, Problem>
where
    S: Service<Request, Error: Into<Problem>>,
{
    poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
    service.call(request).await.map_err(Into::into)
}

struct Authenticator {
    context: HttpContext,
    keys: Arc<KeyRing>,
    store: Arc<Store>,
    renewer: Renewer,
    clock: Clock,
}

impl Authenticator {
    /// Whom a request is from, and the extension of the session, if one was due.
    async fn authenticate(&self, inbound: &Inbound, now: Timestamp) -> Result<(Caller, Option<Extension>), Problem> {
        let mut caller = self.renewer.authenticate(inbound, &self.keys, &self.store, now).await?;
        let extension = self.extend(&caller, inbound, now).await;
        if let Some(extension) = &extension {
            caller.session.idle_expires_at = extension.idle_expires_at;
            caller.session.used_at = now;
        }
        Ok((caller, extension))
    }

    /// Has a `browser` session extended whose access cookie is past half of its life.
    async fn extend(&self, caller: &Caller, inbound: &Inbound, now: Timestamp) -> Option<Extension> {
        let Caller { session, token, .. } = caller;
        let is_due = session.kind == Kind::Browser && session.is_at(token.generation) && token.is_half_spent(now);
        // A link on another site that was followed is no sign that anybody is there.
        let cookie = inbound.access_cookie.as_deref().filter(|_| is_due && !inbound.is_cross_site)?;
        self.renewer.extend(cookie, session.generation).await
    }

    /// Puts the new access token into the answer's cookies, unless the handler has written that cookie itself, as one
    /// does that ends the session.
    fn set_cookies(&self, response: &mut Response, caller: &Caller, extension: &Extension, inbound: &Inbound) {
        let cookies = Cookies::new(&self.context.api, &inbound.api_url);
        if !cookies.is_set(response, CookieKind::Access) {
            cookies.set(response, CookieKind::Access, &extension.access, extension.expires_in);
            // A handler that changed the name has written it.
            if !cookies.is_set(response, CookieKind::Username) {
                cookies.set(response, CookieKind::Username, caller.user.username.as_str(), extension.expires_in);
            }
        }
    }
}
