//! What every `main.rs` calls, and what surrounds every handler.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lambda_http::{LambdaEvent, Request, Service, lambda_runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::aws::Aws;
use crate::breach::BreachCheck;
use crate::clock::Clock;
use crate::concurrency::Concurrency;
use crate::config::{ConfigError, Environment};
use crate::function::Function;
use crate::http::context::{HttpContext, request_id};
use crate::http::credentials::Inbound;
use crate::http::session_response::Issuer;
use crate::http::{Problem, Response};
use crate::mail::Mailer;
use crate::outbox::Publisher;
use crate::password_hasher::PasswordHasher;
use crate::store::Store;
use crate::telemetry;
use crate::token::{KeyRing, KeyUse};

/// What a deployment offers; each function takes from it only the capabilities that it uses, when it is composed.
#[derive(Clone)]
pub struct Platform {
    /// The settings.
    pub environment: Environment,
    /// The time.
    pub clock: Clock,
    /// AWS.
    pub aws: Aws,
    /// How many requests this process answers at a time.
    pub concurrency: Concurrency,
    store: Arc<Store>,
    /// Key rings, and the uses whose keys [`Platform::prewarm`] loads.
    rings: Arc<Mutex<Vec<Prewarmed>>>,
}

impl Platform {
    /// The platform of these parts.
    pub fn new(
        environment: Environment,
        clock: Clock,
        aws: Aws,
        concurrency: Concurrency,
    ) -> Result<Self, ConfigError> {
        let store = Arc::new(Store::new(aws.dynamodb(), environment.tables()?, concurrency));
        Ok(Self { environment, clock, aws, concurrency, store, rings: Arc::default() })
    }

    /// The platform that the Lambda service describes in the environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        let environment = Environment::of_process();
        let aws = Aws::new(environment.aws()?);
        Self::new(environment, Clock::system(), aws, Concurrency::One)
    }

    /// The database: one for all that a function is made of.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The keys, for whoever only verifies; those of `uses` are loaded before the first request.
    pub fn keys(&self, uses: &'static [KeyUse]) -> Arc<KeyRing> {
        self.prewarmed(KeyRing::new(self.store(), None, None), uses)
    }

    /// The keys, for whoever signs or makes MACs, and so may be the first to need a key.
    pub fn signing_keys(&self, uses: &'static [KeyUse]) -> Result<Arc<KeyRing>, ConfigError> {
        let signs = uses.contains(&KeyUse::Signing);
        let algorithm = signs.then(|| self.environment.signing_algorithm()).transpose()?;
        let rotate_keys = self.function(self.environment.rotate_keys_function()?);
        Ok(self.prewarmed(KeyRing::new(self.store(), algorithm, Some(rotate_keys)), uses))
    }

    fn prewarmed(&self, ring: KeyRing, uses: &'static [KeyUse]) -> Arc<KeyRing> {
        let ring = Arc::new(ring);
        self.rings().push((Arc::clone(&ring), uses));
        ring
    }

    /// Loads those keys, and so opens the connection to the database, while the Lambda service starts the function and
    /// nobody waits for an answer. What fails here is tried again by whichever request needs it.
    pub async fn prewarm(&self) {
        let rings = std::mem::take(&mut *self.rings());
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

    fn rings(&self) -> MutexGuard<'_, Vec<Prewarmed>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What answers sign-ins and refreshes, with `keys`.
    pub fn issuer(&self, keys: &Arc<KeyRing>) -> Result<Issuer, ConfigError> {
        Ok(Issuer {
            keys: Arc::clone(keys),
            lifetimes: self.environment.lifetimes()?,
            api: Arc::new(self.environment.api()?),
        })
    }

    /// The function of this name.
    pub fn function(&self, name: String) -> Function {
        Function::new(self.aws.lambda(), name)
    }

    /// The sender of mails.
    pub fn mailer(&self) -> Result<Mailer, ConfigError> {
        Ok(Mailer::new(self.aws.ses(), self.environment.mail()?))
    }

    /// What publishes events.
    pub fn publisher(&self) -> Result<Publisher, ConfigError> {
        Ok(Publisher::new(self.aws.eventbridge(), self.environment.event_bus_name()?))
    }

    /// What asks whether a new password is known from a leak.
    pub fn breach_check(&self) -> Result<BreachCheck, ConfigError> {
        Ok(BreachCheck::new(self.environment.breach_check()?))
    }

    /// The hasher of passwords.
    pub fn hasher(&self) -> PasswordHasher {
        PasswordHasher::new(self.concurrency)
    }

    /// Surrounds a handler with what all endpoints share: before it what the request brought and the checks of its way and
    /// its origin, after it errors as problems, failures in the log, and the headers of every answer.
    pub fn endpoint<D, H, F>(&self, deps: D, handle: H) -> Result<Endpoint, ConfigError>
    where
        D: Send + Sync + 'static,
        H: Fn(Arc<D>, Request, Inbound) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let context = Arc::new(HttpContext::from_env(&self.environment)?);
        let (deps, handle) = (Arc::new(deps), Arc::new(handle));
        Ok(Endpoint(Arc::new(move |mut request| {
            let (context, deps, handle) = (Arc::clone(&context), Arc::clone(&deps), Arc::clone(&handle));
            let span = context.span(&request);
            let answer = async move {
                let id = request_id(&request);
                let inbound = match Inbound::of_request(&context, &request) {
                    Ok(inbound) => inbound,
                    Err(problem) => return context.problem_response(problem, None, &id),
                };
                let answer = match context.admit(&mut request, &inbound) {
                    Ok(()) => context.within_timeout(handle(deps, request, inbound.clone())).await,
                    Err(problem) => Err(problem),
                };
                let mut response =
                    answer.unwrap_or_else(|problem| context.problem_response(problem, Some(&inbound), &id));
                context.complete(&mut response, inbound.api_url.is_https());
                response
            };
            Box::pin(answer.instrument(span))
        })))
    }
}

/// A ring, and the uses whose keys are loaded before the first request.
type Prewarmed = (Arc<KeyRing>, &'static [KeyUse]);

/// An init phase is ended by the Lambda service after ten seconds.
const PREWARM_TIMEOUT: Duration = Duration::from_secs(3);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function with its dependencies, ready to answer requests.
#[derive(Clone)]
pub struct Endpoint(Arc<dyn Fn(Request) -> BoxFuture<Response> + Send + Sync>);

impl Endpoint {
    /// A service, whatever its type.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
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
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// Runs a function until the Lambda service ends it: on one thread, since an instance serves one request at a time.
pub fn run(compose: impl FnOnce(&Platform) -> Result<Endpoint, ConfigError>) -> Result<(), lambda_http::Error> {
    run_with(|platform| compose(platform).map(lambda_http::run))
}

/// As [`run`], for a function that API Gateway does not call as a route: an event in, an answer out.
pub fn run_event<D, E, F, A, X>(
    compose: impl FnOnce(&Platform) -> Result<D, ConfigError>,
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
        let deps = Arc::new(compose(platform)?);
        Ok(lambda_runtime::run(service_fn(move |event: LambdaEvent<E>| {
            let answer = handle(Arc::clone(&deps), event.payload);
            async move { answer.await.map_err(Into::into) }
        })))
    })
}

/// As [`run`], for whatever else the Lambda runtime can serve.
pub fn run_with<F>(serve: impl FnOnce(&Platform) -> Result<F, ConfigError>) -> Result<(), lambda_http::Error>
where
    F: Future<Output = Result<(), lambda_http::Error>> + 'static,
{
    telemetry::init();
    let composed = Platform::from_env().and_then(|platform| Ok((serve(&platform)?, platform)));
    let (serving, platform) = composed.inspect_err(|error| tracing::error!(%error, "init failed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        platform.prewarm().await;
        serving.await
    })
}
