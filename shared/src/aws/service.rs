//! Calls of AWS by the SDK's operations, without the SDK's clients.
//!
//! A client reads a table of all regions of AWS when it is made, and takes each call through steps that tell AWS about the
//! SDK and about itself, which took an instance more CPU than a call (docs/decisions/0013-calls-without-clients.md).
//! Operations are the SDK's, and so is what carries them: retries, timeouts, signatures, connections.

use std::fmt::Debug;

use aws_smithy_runtime::client::orchestrator;
use aws_smithy_runtime_api::client::interceptors::context::{Error, Input};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_plugin::{RuntimePlugin, RuntimePlugins};
use aws_smithy_types::error::operation::BuildError;

/// Why a call brought no output.
pub type CallError<E> = SdkError<E, HttpResponse>;

/// A service of AWS: what all calls of it have in common.
#[derive(Clone, Debug)]
pub struct Service {
    name: &'static str,
    plugins: RuntimePlugins,
}

impl Service {
    pub(super) const fn new(name: &'static str, plugins: RuntimePlugins) -> Self {
        Self { name, plugins }
    }

    /// Calls an operation.
    async fn call<R: Request>(self, request: R) -> Result<R::Output, CallError<R::Error>> {
        let input = Input::erase(request.into_input().map_err(CallError::construction_failure)?);
        let plugins = self.plugins.with_operation_plugin(R::Operation::default());
        let typed =
            |error: CallError<Error>| error.map_service_error(|error| error.downcast().expect("the operation's error"));
        let output = orchestrator::invoke(self.name, R::NAME, input, &plugins).await.map_err(typed)?;
        Ok(output.downcast().expect("the operation's output"))
    }
}

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
        service.clone().call(self)
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
