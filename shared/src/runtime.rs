//! What every `main.rs` calls, and what surrounds every handler.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lambda_http::http::header::{CACHE_CONTROL, HeaderValue};
use lambda_http::request::RequestContext;
use lambda_http::{LambdaEvent, Request, RequestExt, Service, lambda_runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::LocalOptions;
use tracing::Instrument;

use crate::aws::Aws;
use crate::clock::Clock;
use crate::concurrency::Concurrency;
use crate::config::{AwsEnvironment, Config, ConfigError};
use crate::http::cookies::Cookies;
use crate::http::credentials::Inbound;
use crate::http::{Code, Finished, Problem, Response, csrf};
use crate::mail::Mailer;
use crate::password_hasher::PasswordHasher;
use crate::store::Store;
use crate::telemetry;
use crate::token::{KeyRing, KeyUse};

/// What a deployment offers; each function takes from it only the capabilities that it uses.
#[derive(Clone)]
pub struct Platform {
    /// The settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// AWS.
    pub aws: Aws,
    /// How many requests this process answers at a time.
    pub concurrency: Concurrency,
    store: Arc<Store>,
    /// Key rings, and the uses whose keys [`Platform::prime`] loads.
    prewarm: Arc<Mutex<Vec<(Arc<KeyRing>, &'static [KeyUse])>>>,
}

impl Platform {
    /// The platform of these parts.
    pub fn new(config: Config, clock: Clock, aws: Aws, concurrency: Concurrency) -> Self {
        let Config { table_name, keys_table_name, .. } = &config;
        let store = Store::new(aws.dynamodb(), table_name.clone(), keys_table_name.clone(), concurrency);
        Self { config: Arc::new(config), clock, aws, concurrency, store: Arc::new(store), prewarm: Arc::default() }
    }

    /// The platform that the Lambda service describes in the environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        let aws = Aws::new(AwsEnvironment::from_env()?);
        Ok(Self::new(Config::from_env()?, Clock::system(), aws, Concurrency::One))
    }

    /// The database: one for all that a function is made of.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The keys that lie in `store`, with those that nearly every request needs.
    pub fn keys(&self, store: &Arc<Store>, uses: &'static [KeyUse]) -> Arc<KeyRing> {
        let ring = Arc::new(KeyRing::new(Arc::clone(store), self.config.signing_algorithm));
        self.prewarm().push((Arc::clone(&ring), uses));
        ring
    }

    /// Loads those keys, and so opens the connection to the database, while the Lambda service starts the function and
    /// nobody waits for an answer. What fails here is tried again by whichever request needs it.
    pub async fn prime(&self) {
        let rings = std::mem::take(&mut *self.prewarm());
        let load = async {
            for (ring, uses) in rings {
                if let Err(error) = ring.load(uses, self.clock.now()).await {
                    return tracing::warn!(%error, "keys were not prewarmed");
                }
            }
        };
        if tokio::time::timeout(PREWARM_TIMEOUT, load).await.is_err() {
            tracing::warn!("keys were not prewarmed: the database did not answer in time");
        }
    }

    fn prewarm(&self) -> MutexGuard<'_, Vec<(Arc<KeyRing>, &'static [KeyUse])>> {
        self.prewarm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sender of mails.
    pub fn mailer(&self) -> Mailer {
        let Config { mail_from, mail_configuration_set, service_name, .. } = &*self.config;
        Mailer::new(self.aws.ses(), mail_from.clone(), mail_configuration_set.clone(), service_name.clone())
    }

    /// The hasher of passwords.
    pub fn hasher(&self) -> PasswordHasher {
        PasswordHasher::new(self.concurrency)
    }
}

/// An init phase is ended by the Lambda service after ten seconds.
const PREWARM_TIMEOUT: Duration = Duration::from_secs(3);

type Handling<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function with its dependencies, ready to answer requests.
#[derive(Clone)]
pub struct Endpoint(Arc<dyn Fn(Request) -> Handling<Finished> + Send + Sync>);

impl Endpoint {
    /// A service, whatever its type.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request, Response = Finished, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                match service.call(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                }
            })
        }))
    }
}

impl Service<Request> for Endpoint {
    type Response = Finished;
    type Error = Infallible;
    type Future = Handling<Result<Finished, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// Surrounds a handler with what all endpoints share: what the request brought and the check of its origin before it,
/// and after it errors as problems, failures in the log, and `Cache-Control: no-store` unless the handler said
/// otherwise.
pub fn endpoint<D, H, F, E>(platform: &Platform, deps: D, handle: H) -> Endpoint
where
    D: Send + Sync + 'static,
    H: Fn(Arc<D>, Request, Inbound) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response, E>> + Send + 'static,
    E: Into<Problem>,
{
    let config = Arc::clone(&platform.config);
    let (deps, handle) = (Arc::new(deps), Arc::new(handle));
    Endpoint(Arc::new(move |request| {
        let (config, deps, handle) = (Arc::clone(&config), Arc::clone(&deps), Arc::clone(&handle));
        let request_id = request_id(&request);
        let span = tracing::info_span!("request", request_id);
        let answer = async move {
            let mut response = match admit(&config, &request) {
                Ok(inbound) => match handle(deps, request, inbound.clone()).await {
                    Ok(response) => response,
                    Err(error) => refuse(error.into(), Some(&inbound), &config, &request_id),
                },
                Err(problem) => refuse(problem, None, &config, &request_id),
            };
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            Finished(response)
        };
        Box::pin(answer.instrument(span))
    }))
}

/// What a request brought, if its origin is allowed.
pub(crate) fn admit(config: &Config, request: &Request) -> Result<Inbound, Problem> {
    let inbound = Inbound::of_request(config, request)?;
    let own = inbound.api_url.origin();
    let (method, headers) = (request.method(), request.headers());
    if csrf::is_allowed(method, headers, inbound.has_cookies(), own, &config.allowed_origins) {
        Ok(inbound)
    } else {
        Err(Problem::new(Code::CsrfRejected))
    }
}

/// The answer to a request that failed. A failure of ours is logged, once, here.
pub(crate) fn refuse(problem: Problem, inbound: Option<&Inbound>, config: &Config, request_id: &str) -> Response {
    if problem.code().status().is_server_error() {
        tracing::error!(request_id, code = problem.code().as_str(), causes = problem.causes(), "request failed");
    }
    let clears_cookies = problem.clears_cookies();
    let mut response = problem.into_response(request_id);
    if let Some(inbound) = inbound.filter(|inbound| clears_cookies && inbound.has_cookies()) {
        Cookies::new(config, &inbound.api_url).clear_all(&mut response);
    }
    response
}

/// API Gateway's identifier of the request, which clients see in 5xx answers.
pub(crate) fn request_id(request: &Request) -> String {
    let from_gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    from_gateway.or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone())).unwrap_or_default()
}

/// Runs a function until the Lambda service ends it: on one thread, since an instance serves one request at a time.
pub fn run(compose: impl FnOnce(&Platform) -> Endpoint) -> Result<(), lambda_http::Error> {
    run_with(|platform| lambda_http::run(compose(platform)))
}

/// As [`run`], for a function that API Gateway does not call as a route: an event in, an answer out.
pub fn run_event<D, E, F, A, X>(
    compose: impl FnOnce(&Platform) -> D,
    handle: fn(Arc<D>, E) -> F,
) -> Result<(), lambda_http::Error>
where
    D: 'static,
    E: DeserializeOwned + 'static,
    F: Future<Output = Result<A, X>> + 'static,
    A: Serialize + 'static,
    X: Into<lambda_http::Error> + 'static,
{
    run_with(|platform| {
        let deps = Arc::new(compose(platform));
        lambda_runtime::run(service_fn(move |event: LambdaEvent<E>| {
            let answer = handle(Arc::clone(&deps), event.payload);
            async move { answer.await.map_err(Into::into) }
        }))
    })
}

/// As [`run`], for whatever else the Lambda runtime can serve.
pub fn run_with<F>(serve: impl FnOnce(&Platform) -> F) -> Result<(), lambda_http::Error>
where
    F: Future<Output = Result<(), lambda_http::Error>> + 'static,
{
    telemetry::init();
    let platform = Platform::from_env().inspect_err(|error| tracing::error!(%error, "init failed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let serving = serve(&platform);
    // As a task, which others wake by a place in a queue; the outermost future would be woken through the kernel.
    runtime.block_on(runtime.spawn_local(async move {
        Box::pin(platform.prime()).await;
        serving.await
    }))?
}
