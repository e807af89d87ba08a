//! The functions, called in-process with the very events that the Lambda service would bring.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, LambdaEvent, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::aws::Aws;
use shared::clock::Clock;
use shared::concurrency::Concurrency;
use shared::config::{ConfigError, Environment};
use shared::runtime::{Endpoint, Platform};
use thiserror::Error;

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A function that is no crate of this workspace: an event in, an answer out. Tests add routes with such ones.
pub type ExtraFunction = Arc<dyn Fn(Value) -> Answering<Value> + Send + Sync>;

type EventFunction = Arc<dyn Fn(Value) -> Answering<Result<Value, String>> + Send + Sync>;

/// A function cannot be started.
#[derive(Debug, Error)]
pub enum FunctionError {
    /// Its environment is not what it needs.
    #[error("function {folder}: {source}")]
    Config {
        /// Its folder.
        folder: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// The template names a folder that nothing here runs.
    #[error("functions/{0} is in the template, but the local stack does not know it (local/src/functions.rs)")]
    Unknown(String),
}

/// A function that did not answer: API Gateway says 500 then.
#[derive(Debug, Error)]
#[error("function {folder} failed: {problem}")]
pub struct InvocationError {
    folder: String,
    problem: String,
}

enum Function {
    Http(Endpoint),
    /// One that API Gateway does not call as a route.
    Event(EventFunction),
    Extra(ExtraFunction),
}

/// All functions of a stack, by folder.
#[derive(Clone)]
pub struct Functions(Arc<All>);

/// The same, as long as somebody else keeps them.
#[derive(Clone, Debug)]
pub(crate) struct WeakFunctions(Weak<All>);

impl WeakFunctions {
    pub(crate) fn upgrade(&self) -> Option<Functions> {
        self.0.upgrade().map(Functions)
    }
}

struct All {
    functions: BTreeMap<String, Function>,
    unread: Vec<String>,
}

impl Functions {
    pub(crate) fn downgrade(&self) -> WeakFunctions {
        WeakFunctions(Arc::downgrade(&self.0))
    }

    /// Starts each function of the template with its own environment.
    pub(crate) fn start(
        environments: &BTreeMap<String, BTreeMap<String, String>>,
        extra: Vec<(String, ExtraFunction)>,
        clock: &Clock,
        aws: &Aws,
    ) -> Result<Self, FunctionError> {
        let extra: BTreeMap<_, _> = extra.into_iter().collect();
        let mut functions = BTreeMap::new();
        let mut unread = Vec::new();
        for (folder, environment) in environments {
            let function = match extra.get(folder) {
                Some(function) => Function::Extra(Arc::clone(function)),
                None => {
                    let variables = environment.clone();
                    let read = Arc::new(Mutex::new(BTreeSet::new()));
                    let reads = Arc::clone(&read);
                    let environment = Environment::new(move |name| {
                        reads.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
                        variables.get(name).cloned()
                    });
                    // As roles do in the cloud, credentials tell who asks.
                    let aws = aws.clone().with_access_key_id(folder);
                    let composed = Platform::new(environment, clock.clone(), aws, Concurrency::Many)
                        .and_then(|platform| compose(folder, &platform));
                    let composed =
                        composed.map_err(|source| FunctionError::Config { folder: folder.clone(), source })?;
                    let composed = composed.ok_or_else(|| FunctionError::Unknown(folder.clone()))?;
                    let read = read.lock().unwrap_or_else(PoisonError::into_inner);
                    // The SDK's endpoints are read with the process's own settings, which are not the function's here.
                    let is_unread = |name: &&String| !read.contains(*name) && !name.starts_with("AWS_");
                    let names = variables_of(folder, environments).filter(is_unread);
                    unread.extend(names.map(|name| format!("{folder}: {name}")));
                    composed
                }
            };
            functions.insert(folder.clone(), function);
        }
        Ok(Self(Arc::new(All { functions, unread })))
    }

    /// The variables that a function is given and does not read, each behind its folder.
    pub fn unread_variables(&self) -> &[String] {
        &self.0.unread
    }

    /// Calls a function with an event. A panic is an error, and the next call works.
    pub async fn invoke(&self, folder: &str, event: Value) -> Result<Value, InvocationError> {
        let failed = |problem: String| InvocationError { folder: folder.to_owned(), problem };
        let call = match self.0.functions.get(folder) {
            Some(Function::Http(endpoint)) => invoke_http(endpoint.clone(), event),
            Some(Function::Event(function)) => function(event),
            Some(Function::Extra(function)) => {
                let answer = function(event);
                Box::pin(async move { Ok(answer.await) })
            }
            None => return Err(failed("there is no such function".to_owned())),
        };
        // A task of its own: a caller who goes away does not stop a function halfway, as in the Lambda service.
        match tokio::spawn(call).await {
            Ok(answer) => answer.map_err(failed),
            Err(panic) => Err(failed(panic.to_string())),
        }
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.functions.keys()).finish()
    }
}

/// The names of a function's variables.
fn variables_of<'a>(
    folder: &str,
    environments: &'a BTreeMap<String, BTreeMap<String, String>>,
) -> impl Iterator<Item = &'a String> {
    environments.get(folder).into_iter().flat_map(BTreeMap::keys)
}

/// The function of a folder. A new crate in `functions/` gets its line here.
fn compose(folder: &str, platform: &Platform) -> Result<Option<Function>, ConfigError> {
    let function = match folder {
        "authorizer" => event_function(authorizer::Deps::new(platform)?, authorizer::authorize),
        "deletion" => Function::Http(deletion::service(platform)?),
        "email-change" => Function::Http(email_change::service(platform)?),
        "email-confirm" => Function::Http(email_confirm::service(platform)?),
        "email-undo" => Function::Http(email_undo::service(platform)?),
        "export" => Function::Http(export::service(platform)?),
        "jwks" => Function::Http(jwks::service(platform)?),
        "login" => Function::Http(login::service(platform)?),
        "logout" => Function::Http(logout::service(platform)?),
        "mail-events" => event_function(mail_events::Deps::new(platform)?, mail_events::receive),
        "me" => Function::Http(me::service(platform)?),
        "outbox" => event_function(outbox::Deps::new(platform)?, outbox::deliver),
        "password-forgot" => Function::Http(password_forgot::service(platform)?),
        "password-reset" => Function::Http(password_reset::service(platform)?),
        "reauthenticate" => Function::Http(reauthenticate::service(platform)?),
        "profile" => Function::Http(profile::service(platform)?),
        "refresh" => Function::Http(refresh::service(platform)?),
        "renew" => event_function(renew::Deps::new(platform)?, renew::renew),
        "rotate-keys" => event_function(rotate_keys::Deps::new(platform)?, rotate_keys::rotate),
        "sessions" => Function::Http(sessions::service(platform)?),
        "signup" => Function::Http(signup::service(platform)?),
        "sweep" => event_function(sweep::Deps::new(platform)?, sweep::sweep),
        "verify" => Function::Http(verify::service(platform)?),
        _ => return Ok(None),
    };
    Ok(Some(function))
}

fn invoke_http(endpoint: Endpoint, event: Value) -> Answering<Result<Value, String>> {
    Box::pin(async move {
        let mut context = Context::default();
        context.request_id = event["requestContext"]["requestId"].as_str().unwrap_or_default().to_owned();
        let request: LambdaRequest = serde_json::from_value(event).map_err(|error| error.to_string())?;
        let answer = Adapter::from(endpoint).call(LambdaEvent::new(request, context)).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        serde_json::to_value(answer).map_err(|error| error.to_string())
    })
}

/// A function that takes an event and gives an answer as they are.
fn event_function<D, E, F, A, X>(deps: D, handle: fn(Arc<D>, E) -> F) -> Function
where
    D: Send + Sync + 'static,
    E: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<A, X>> + Send + 'static,
    A: Serialize,
    X: fmt::Display,
{
    let deps = Arc::new(deps);
    Function::Event(Arc::new(move |event| {
        let deps = Arc::clone(&deps);
        Box::pin(async move {
            let event = serde_json::from_value(event).map_err(|error| error.to_string())?;
            let answer = handle(deps, event).await.map_err(|error| error.to_string())?;
            serde_json::to_value(answer).map_err(|error| error.to_string())
        })
    }))
}
