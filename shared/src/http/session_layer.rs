//! A `tower` layer for functions whose callers are signed in, this project's own and anyone's in the same stack.
//!
//! It checks the request's origin, verifies the caller, and hands the handler a [`Caller`] with user and session among
//! the request's extensions. Past half of a browser's access token it extends the session, and the answer carries the
//! new cookie: every call keeps the session alive. Whoever is not signed in never reaches the handler, whose errors are
//! answered as problems.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lambda_http::http::header::{CACHE_CONTROL, HeaderValue};
use lambda_http::tower::Layer;
use lambda_http::{IntoResponse, Request, Service};

use super::caller::Caller;
use super::cookies::{CookieKind, Cookies};
use super::credentials::Inbound;
use super::session_response::Issuer;
use super::sliding::Renewal;
use super::{Finished, Problem, Response};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::runtime::{self, Platform};
use crate::store::Store;
use crate::token::{KeyRing, KeyUse};

/// Lets signed-in callers alone through to the service that it wraps.
///
/// The wrapped function needs what `MeFunction` has in `template.yaml`: its statements, and `Authorizer: NONE` at its
/// routes.
#[derive(Clone)]
pub struct SessionLayer(Arc<Gate>);

impl SessionLayer {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Self {
        let store = platform.store();
        Self(Arc::new(Gate {
            keys: platform.keys(&store, &[KeyUse::Public]),
            store,
            config: Arc::clone(&platform.config),
            clock: platform.clock.clone(),
        }))
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { gate: Arc::clone(&self.0), inner }
    }
}

/// A service behind a [`SessionLayer`].
#[derive(Clone)]
pub struct SessionService<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request> for SessionService<S>
where
    S: Service<Request, Response: IntoResponse + Send, Error: Into<Problem> + Send, Future: Send>
        + Clone
        + Send
        + 'static,
{
    type Response = Finished;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Finished, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let mut inner = self.inner.clone();
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let now = gate.clock.now();
            let request_id = runtime::request_id(&request);
            let mut response = match gate.admit(&request, now).await {
                Ok(admitted) => {
                    request.extensions_mut().insert(admitted.caller.clone());
                    let mut response = match answer(&mut inner, request).await {
                        Ok(answer) => answer.into_response().await,
                        Err(problem) => runtime::refuse(problem, Some(&admitted.inbound), &gate.config, &request_id),
                    };
                    gate.renew(&mut response, &admitted, now);
                    response
                }
                Err(problem) => runtime::refuse(problem, None, &gate.config, &request_id),
            };
            // What one user's answer holds is for nobody else, unless the handler says otherwise.
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            Ok(Finished(response))
        })
    }
}

async fn answer<S>(service: &mut S, request: Request) -> Result<S::Response, Problem>
where
    S: Service<Request, Error: Into<Problem>>,
{
    poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
    service.call(request).await.map_err(Into::into)
}

struct Gate {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    config: Arc<Config>,
    clock: Clock,
}

struct Admitted {
    caller: Caller,
    inbound: Inbound,
    renewal: Option<Renewal>,
}

impl Gate {
    async fn admit(&self, request: &Request, now: Timestamp) -> Result<Admitted, Problem> {
        let inbound = runtime::admit(&self.config, request)?;
        let mut caller = Caller::authenticate(&inbound, &self.keys, &self.store, now).await?;
        let renewal = self.issuer().slide(&caller, &inbound, &self.store, now).await?;
        if let Some(renewal) = &renewal {
            caller.session.clone_from(&renewal.session);
        }
        Ok(Admitted { caller, inbound, renewal })
    }

    /// Puts the new access token into the answer's cookies, unless the handler has written that cookie itself, as one
    /// does that ends the session.
    fn renew(&self, response: &mut Response, admitted: &Admitted, now: Timestamp) {
        let Admitted { caller, inbound, renewal: Some(renewal) } = admitted else { return };
        if !Cookies::new(&self.config, &inbound.api_url).is_set(response, CookieKind::Access) {
            self.issuer().set_renewal(response, renewal, caller, inbound, now);
        }
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer { keys: &self.keys, config: &self.config }
    }
}
