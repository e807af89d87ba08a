//! The operator's command line, as a library: what whoever runs a deployment does to it (DESIGN.md section 11).
//!
//! A [`Deployment`] is found by [`connect`]; [`users`], [`keys`], [`limits`] and [`mail`] act on it, and [`doctor`] looks at
//! it. Each act is one transaction of `shared::store`, with what is to be told of it and with a security event that names the
//! operator, so that whoever is interrupted repeats the command. [`cli`] is what `main.rs` runs.
//!
//! It is no function: it reads what AWS's own tools read (`aws-config`), here and only here.

pub mod cli;
pub mod connect;
pub mod doctor;
pub mod keys;
pub mod limits;
pub mod mail;
mod output;
pub mod users;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_config::SdkConfig;
use shared::account::{InvalidEmail, InvalidRole, InvalidUsername, UserId, WeakPassword};
use shared::clock::Clock;
use shared::config::ConfigError;
use shared::function::{Function, InvokeError};
use shared::outbox::OutboxItem;
use shared::password_hasher::HashError;
use shared::store::{AccountError, Store, StoreError};
use shared::telemetry::{Act, OperatorAct};
use shared::token::{KeyError, KeyRing, SealError};
use thiserror::Error;

/// A deployment that an operator has found, and who that is.
#[derive(Clone)]
pub struct Deployment {
    /// Its tables.
    pub store: Arc<Store>,
    /// Its keys.
    pub keys: Arc<KeyRing>,
    /// The function that makes and ends keys; `None` where only the tables are known.
    pub rotate_keys: Option<Function>,
    /// Its settings, as far as they are known.
    pub settings: Settings,
    /// The operator's ARN; `local` on a machine of one's own.
    pub operator: String,
    /// AWS; `None` for a local stack.
    pub aws: Option<SdkConfig>,
    /// The time.
    pub clock: Clock,
}

/// The parameters of a deployment by their names in `template.yaml`, and its outputs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
    /// Outputs of the stack.
    pub outputs: BTreeMap<String, String>,
}

impl Settings {
    /// A parameter that is known and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where the API is.
    pub fn api_url(&self) -> Result<&str, AdminError> {
        let url = self.parameter("ApiUrl").or_else(|| self.outputs.get("ApiUrl").map(String::as_str));
        url.ok_or_else(|| AdminError::Usage("mails lead to the API: say where it is with --api-url".to_owned()))
    }
}

impl Deployment {
    /// The item of the outbox that has an act logged.
    fn act(&self, act: Act, user_id: Option<UserId>) -> OutboxItem {
        OutboxItem::act(OperatorAct { operator: self.operator.clone(), act, user_id, key: None }, self.clock.now())
    }
}

/// Why something was not done.
#[derive(Debug, Error)]
pub enum AdminError {
    /// There is no such user, key or stack.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things are: a name is taken, a status does not allow it.
    #[error("{0}")]
    Refused(String),
    /// The command is not one that can be carried out.
    #[error("{0}")]
    Usage(String),
    /// It destroys or costs something, and nobody has confirmed it.
    #[error("{0}")]
    Unconfirmed(String),
    /// Something did not answer, or not as expected. The same command may be repeated.
    #[error("{0}")]
    Failed(String),
}

impl AdminError {
    /// Its name in JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Refused(_) => "refused",
            Self::Usage(_) => "usage",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Failed(_) => "failed",
        }
    }

    /// What a shell is told.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unconfirmed(_) => 5,
        }
    }

    /// A failure, with all that led to it.
    pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            // Many errors quote their cause.
            if !text.ends_with(&words) {
                text = format!("{text}: {words}");
            }
            next = cause.source();
        }
        Self::Failed(text)
    }
}

/// Declares what fails for reasons that are not the operator's.
macro_rules! failures {
    ($($error:ty),*) => {
        $(impl From<$error> for AdminError {
            fn from(error: $error) -> Self {
                Self::failed(&error)
            }
        })*
    };
}

failures!(StoreError, KeyError, InvokeError, SealError, HashError, ConfigError);

/// Declares what cannot be what the operator typed.
macro_rules! usages {
    ($($error:ty),*) => {
        $(impl From<$error> for AdminError {
            fn from(error: $error) -> Self {
                Self::Usage(error.to_string())
            }
        })*
    };
}

usages!(InvalidEmail, InvalidRole, InvalidUsername, WeakPassword);

impl From<AccountError> for AdminError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => error.into(),
            other => Self::Refused(other.to_string()),
        }
    }
}
