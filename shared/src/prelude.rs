//! What nearly every endpoint names: `use shared::prelude::*;`.

pub use std::sync::Arc;

pub use lambda_http::Request;
pub use lambda_http::http::StatusCode;
pub use serde::{Deserialize, Serialize};
pub use thiserror::Error;

pub use crate::clock::{Clock, Timestamp};
pub use crate::config::ConfigError;
pub use crate::http::credentials::Inbound;
pub use crate::http::{Code, Problem, Response, json};
pub use crate::runtime::{Endpoint, Platform};
pub use crate::store::Store;
pub use crate::token::KeyUse;
