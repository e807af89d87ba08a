//! Calls of AWS by the SDK's operations, without the SDK's clients.
//!
//! A client reads a table of all regions of AWS when it is made, and takes each call through steps that tell AWS about
//! the SDK and about itself, which took an instance more CPU than a call
//! (docs/decisions/0013-calls-without-clients.md).
//! Operations are the SDK's, and so is what carries them: retries, timeouts, signatures, connections.

use std::fmt::Debug;
use std::pin::Pin;

use aws_smithy_runtime::client::orchestrator;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input, Output};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_plugin::{RuntimePlugin, RuntimePlugins};
use aws_smithy_types::error::operation::BuildError;

use super::connections::Connections;

/// Why a call brought no output.
pub type CallError<E> = SdkError<E, HttpResponse>;

/// A service of AWS: what all calls of it have in common.
#[derive(Clone, Debug)]
pub struct Service {
    name: &'static str,
    plugins: RuntimePlugins,
    connections: Connections,
    endpoint: String,
}

impl Service {
    pub(super) const fn new(
        name: &'static str,
        plugins: RuntimePlugins,
        connections: Connections,
        endpoint: String,
    ) -> Self {
        Self { name, plugins, connections, endpoint }
    }

    /// The service's name, as calls are signed for it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Opens a connection for a call to come.
    pub async fn open_ahead(&self) -> Result<(), BoxError> {
        self.connections.open_ahead(&self.endpoint).await
    }

    /// Calls an operation. What is under way lies on the heap, as it is large, and whoever waits for it would be too.
    fn call(&self, operation: &'static str, plugin: impl RuntimePlugin + 'static, input: Input) -> Call {
        let (name, plugins) = (self.name, self.plugins.clone().with_operation_plugin(plugin));
        Box::pin(async move { orchestrator::invoke(name, operation, input, &plugins).await })
    }
}

/// A call under way.
type Call = Pin<Box<dyn Future<Output = Result<Output, CallError<Error>>> + Send>>;

/// What an operation is asked, in the making, as a builder of the SDK makes it.
pub trait Request: Sized + Send {
    /// The operation's name.
    const NAME: &'static str;
    /// The operation, as the SDK knows it.
    type Operation: RuntimePlugin + Default + 'static;
    /// What it is asked.
    type Input: Debug + Send + Sync + 'static;
    /// What it answers.
    type Output: Debug + Send + Sync + 'static;
    /// What it refuses with.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What was made.
    fn into_input(self) -> Result<Self::Input, BuildError>;

    /// Asks `service`.
    fn send_by(self, service: &Service) -> impl Future<Output = Result<Self::Output, CallError<Self::Error>>> + Send {
        let input = self.into_input().map_err(CallError::construction_failure);
        let call = input.map(|input| service.call(Self::NAME, Self::Operation::default(), Input::erase(input)));
        async {
            let typed = |error: CallError<Error>| {
                error.map_service_error(|error| error.downcast().expect("the operation's error"))
            };
            let output = call?.await.map_err(typed)?;
            Ok(output.downcast().expect("the operation's output"))
        }
    }
}

/// Makes builders of the SDK [`Request`]s: for each the operation, what it is asked, answers, and refuses with.
macro_rules! requests {
    ($($operation:ident: $builder:ty => $input:ty, $output:ty, $error:ty;)*) => {$(
        impl $crate::aws::Request for $builder {
            const NAME: &'static str = stringify!($operation);
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
