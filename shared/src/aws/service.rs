//! Calls of AWS by the SDK's operations, without the SDK's clients and what carries their calls.
//!
//! An operation of the SDK knows how to write what it is asked and to read what comes back. What is between the two is
//! here: signatures, attempts, timeouts, connections. The SDK's orchestrator carries a call through nineteen hooks and
//! settings that are merged anew each time, which took an instance more CPU than the call itself
//! (docs/decisions/0016-calls-of-our-own.md).

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input, Output};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{
    DeserializeResponse as _, SerializeRequest as _, SharedRequestSerializer, SharedResponseDeserializer,
};
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::error::operation::BuildError;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use lambda_http::http;
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep, timeout_at};

use super::connections::{Connections, Origin, addressed, is_trouble};
use super::retries::{self, Pause, Retries};
use super::signer::Signer;

/// How long one attempt may take, the opening of a connection with it.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long a call may take, with all its attempts and the pauses between them.
const CALL: Duration = Duration::from_secs(6);

/// What calls name as their sender, for whoever reads the logs of AWS.
pub(super) const SENDER: &str = concat!("latchkey/", env!("CARGO_PKG_VERSION"));

/// By which AWS follows a request from service to service, for X-Ray and to stop what calls itself for ever.
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// For how many milliseconds a service wants no further attempt.
const RETRY_AFTER: &str = "x-amz-retry-after";

/// Why a call brought no output.
#[derive(Debug, ThisError)]
pub enum CallError<E> {
    /// It could not be made: a field is missing, or holds what a header cannot.
    #[error("the call could not be made")]
    Unmade(#[source] BoxError),
    /// Nothing came back, not in time, or nothing that can be read. Whether it was done is not known.
    #[error("there was no answer")]
    Unanswered(#[source] BoxError),
    /// The service refused.
    #[error("the service refused")]
    Refused(#[source] E),
}

impl<E> CallError<E> {
    /// What the service refused with, if it did.
    pub const fn as_refusal(&self) -> Option<&E> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Unmade(_) | Self::Unanswered(_) => None,
        }
    }

    fn map<F>(self, map: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Unmade(error) => CallError::Unmade(error),
            Self::Unanswered(error) => CallError::Unanswered(error),
            Self::Refused(error) => CallError::Refused(map(error)),
        }
    }
}

/// A service of AWS, and what all calls of it have in common. Clones share it.
#[derive(Clone, Debug)]
pub struct Service(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) signer: Signer,
    pub(super) origin: Origin,
    pub(super) connections: Connections,
    pub(super) retries: Retries,
    /// The trace that a call belongs to, if any.
    pub(super) trace_id: fn() -> Option<String>,
}

impl Service {
    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The service's name, as calls are signed for it.
    pub fn name(&self) -> &'static str {
        self.0.signer.service()
    }

    /// Opens a connection for a call to come.
    pub async fn open_ahead(&self) -> Result<(), BoxError> {
        self.0.connections.open_ahead(&self.0.origin).await
    }

    /// Calls an operation. What is under way lies on the heap, as it is large, and whoever waits for it would be too.
    fn call(&self, operation: Operation, input: Input) -> Call {
        let service = Arc::clone(&self.0);
        Box::pin(async move { service.call(&operation, input).await })
    }
}

/// A call under way.
type Call = Pin<Box<dyn Future<Output = Result<Output, CallError<Error>>> + Send>>;

/// An operation, whichever it is.
struct Operation {
    /// What the SDK knows of it.
    settings: FrozenLayer,
    /// Reads what it refuses with.
    refusal: fn(&Error) -> Refusal<'_>,
}

/// What an operation refuses with, whichever it is.
struct Refusal<'a> {
    code: Option<&'a str>,
    may_pass: bool,
}

/// What came of one attempt that brought no output.
struct Failure {
    error: CallError<Error>,
    /// Whether the next attempt may bring one.
    may_pass: bool,
    /// How long the service wants to be left alone.
    retry_after: Option<Duration>,
}

impl Failure {
    /// Of an attempt that got no answer.
    const fn unanswered(error: BoxError, may_pass: bool) -> Self {
        Self { error: CallError::Unanswered(error), may_pass, retry_after: None }
    }

    /// Of an attempt that cannot be made.
    const fn unmade(error: BoxError) -> Self {
        Self { error: CallError::Unmade(error), may_pass: false, retry_after: None }
    }
}

/// A request, ready to be signed for each attempt.
struct Unsigned {
    request: http::Request<Bytes>,
    /// What the operation noted when it wrote the request, for when it reads the answer.
    settings: ConfigBag,
}

impl Shared {
    /// Makes a call, with as many attempts as it takes and there may be.
    async fn call(&self, operation: &Operation, input: Input) -> Result<Output, CallError<Error>> {
        let request = self.request(operation, input)?;
        let deadline = Instant::now() + CALL;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let attempt = self.attempt(operation, &request);
            let outcome = timeout_at(deadline.min(Instant::now() + ATTEMPT), attempt).await;
            let failure = match outcome.unwrap_or_else(|late| Err(Failure::unanswered(late.into(), true))) {
                Ok(output) => {
                    self.retries.reward(attempts);
                    return Ok(output);
                }
                Err(failure) => failure,
            };
            if failure.may_pass
                && Instant::now() < deadline
                && let Some(pause) = self.retries.another(attempts, failure.retry_after).map(Pause::draw)
                && Instant::now() + pause < deadline
            {
                sleep(pause).await;
            } else {
                return Err(failure.error);
            }
        }
    }

    /// Has the operation write what it is asked, and adds whom it is from, and on whose behalf.
    fn request(&self, operation: &Operation, input: Input) -> Result<Unsigned, CallError<Error>> {
        let mut settings = ConfigBag::base();
        let serializer = operation.settings.load::<SharedRequestSerializer>().expect("the operation writes its input");
        let request = serializer.serialize_input(input, &mut settings).map_err(CallError::Unmade)?;
        let mut request = addressed(request, &self.origin).map_err(CallError::Unmade)?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(SENDER));
        let trace_id = (self.trace_id)().filter(|text| text.is_ascii());
        if let Some(trace_id) = trace_id.and_then(|text| HeaderValue::from_str(&text).ok()) {
            request.headers_mut().insert(TRACE, trace_id);
        }
        Ok(Unsigned { request, settings })
    }

    /// Makes one attempt, and has the operation read what comes back.
    async fn attempt(&self, operation: &Operation, unsigned: &Unsigned) -> Result<Output, Failure> {
        let mut request = unsigned.request.clone();
        let signed_at = self.signer.sign(&mut request, unsigned.request.body()).map_err(Failure::unmade)?;
        let response = self.connections.send(&self.origin, request).await;
        let response = response.map_err(|error| Failure::unanswered(error.source, error.may_pass))?;

        let status = response.status();
        let response = Response::try_from(response.map(SdkBody::from));
        let response = response.map_err(|error| Failure::unanswered(error.into(), false))?;
        let deserializer =
            operation.settings.load::<SharedResponseDeserializer>().expect("the operation reads its output");
        deserializer.deserialize_nonstreaming_with_config(&response, &unsigned.settings).map_err(|error| {
            let mut refused = None;
            drop(error.map_operation_error(|error| refused = Some(error)));
            // An output that cannot be read is an error of the operation's too, but no refusal. Its words may quote items.
            let Some(error) = refused.filter(|_| !status.is_success()) else {
                return Failure::unanswered("it cannot be read".into(), false);
            };
            let Refusal { code, may_pass } = (operation.refusal)(&error);
            let header = |name| response.headers().get(name);
            let was_mistimed = || header("date").is_some_and(|date| self.signer.learn_time(code, date, signed_at));
            let may_pass = is_trouble(status) || may_pass || was_mistimed();
            let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_millis);
            Failure { error: CallError::Refused(error), may_pass, retry_after }
        })
    }
}

/// What an operation is asked, in the making, as a builder of the SDK makes it.
pub trait Request: Sized + Send {
    /// The operation, as the SDK knows it.
    type Operation: RuntimePlugin + Default + 'static;
    /// What it is asked.
    type Input: Debug + Send + Sync + 'static;
    /// What it answers.
    type Output: Debug + Send + Sync + 'static;
    /// What it refuses with.
    type Error: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static;

    /// What was made.
    fn into_input(self) -> Result<Self::Input, BuildError>;

    /// Whether the same may be granted a moment later, though the refusal's code alone does not say so.
    fn was_stopped_by_others(_: &Self::Error) -> bool {
        false
    }

    /// Asks `service`.
    fn send_by(self, service: &Service) -> impl Future<Output = Result<Self::Output, CallError<Self::Error>>> + Send {
        let settings = Self::Operation::default().config().expect("an operation has settings");
        let input = self.into_input().map_err(|error| CallError::Unmade(error.into()));
        let operation = Operation { settings, refusal: refusal::<Self> };
        let call = input.map(|input| service.call(operation, Input::erase(input)));
        async {
            let output =
                call?.await.map_err(|error| error.map(|error| error.downcast().expect("the operation's error")));
            Ok(output?.downcast().expect("the operation's output"))
        }
    }
}

fn refusal<R: Request>(error: &Error) -> Refusal<'_> {
    let error = error.downcast_ref::<R::Error>().expect("the operation's error");
    let code = error.code();
    Refusal { code, may_pass: code.is_some_and(retries::may_pass) || R::was_stopped_by_others(error) }
}

/// Makes builders of the SDK [`Request`]s: for each the operation, what it is asked, answers, and refuses with.
macro_rules! requests {
    ($($operation:ident: $builder:ty => $input:ty, $output:ty, $error:ty;)*) => {$(
        impl $crate::aws::Request for $builder {
            type Operation = $operation;
            type Input = $input;
            type Output = $output;
            type Error = $error;

            fn into_input(self) -> Result<Self::Input, aws_smithy_types::error::operation::BuildError> {
                self.build()
            }
        }
    )*};
}
pub(crate) use requests;

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::get_item::GetItem;
    use aws_sdk_dynamodb::operation::get_item::builders::GetItemInputBuilder;

    use super::super::tests::{get_item, serve};
    use super::*;

    #[tokio::test]
    async fn a_service_s_wish_for_a_pause_is_read() {
        const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\nx-amz-retry-after: 120\r\ncontent-length: 32\r\n\
                       connection: close\r\n\r\n{\"__type\":\"ThrottlingException\"}";
        let (aws, heads) = serve(&[THROTTLED]);
        let service = aws.dynamodb().0;
        let settings = GetItem::new().config().expect("settings");
        let operation = Operation { settings, refusal: refusal::<GetItemInputBuilder> };
        let input = Input::erase(get_item().build().expect("an input"));
        let request = service.request(&operation, input).expect("a request");
        let failure = service.attempt(&operation, &request).await.expect_err("a refusal");
        assert_eq!(failure.retry_after, Some(Duration::from_millis(120)));
        assert!(failure.may_pass);
        heads.join().expect("an attempt");
    }
}
