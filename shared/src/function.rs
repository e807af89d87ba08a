//! Other functions of the same deployment, invoked synchronously: what needs a permission of its own is a function of its
//! own, and whoever needs it done asks for it here.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A function did not do what was asked.
#[derive(Debug, Error)]
pub enum InvokeError {
    /// The Lambda service refused: too many requests, no such function, no permission.
    #[error("function {function} was not invoked: {code}")]
    Refused {
        /// Its name.
        function: String,
        /// The name of the error.
        code: String,
    },
    /// The Lambda service did not answer. Whether the function ran is not known.
    #[error("function {function} did not answer")]
    Unavailable {
        /// Its name.
        function: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It failed, or answered what cannot be read. Its own log says why.
    #[error("function {function} failed")]
    Failed {
        /// Its name.
        function: String,
    },
}

/// A function that can be invoked.
#[derive(Clone, Debug)]
pub struct Function {
    client: Client,
    name: String,
}

impl Function {
    /// The function of this name.
    pub const fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// What it answers to an event.
    pub async fn invoke<A: DeserializeOwned>(&self, event: &impl Serialize) -> Result<A, InvokeError> {
        let function = || self.name.clone();
        let payload = serde_json::to_vec(event).map_err(|_| InvokeError::Failed { function: function() })?;
        let answer = self.client.invoke().function_name(&self.name).payload(Blob::new(payload)).send().await;
        let answer = answer.map_err(|error| match error.as_service_error() {
            Some(refused) => {
                InvokeError::Refused { function: function(), code: refused.code().unwrap_or("no code").to_owned() }
            }
            None => InvokeError::Unavailable { function: function(), source: error.into() },
        })?;
        let payload = answer.payload.filter(|_| answer.function_error.is_none()).map(Blob::into_inner);
        payload
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .ok_or_else(|| InvokeError::Failed { function: function() })
    }
}
