//! The function behind the daily schedule: makes new keys and deletes spent ones.
//!
//! Once the newest key is `KeyRotationDays` old, another is published, and signs from three hours later; its predecessor
//! stays until the last token that it made has expired, and a day longer, and is then deleted with its private half. So
//! nobody is signed out by it. It may run as often as it likes: what is not due is left alone.
//!
//! `aws lambda invoke --payload '{"at_once": true}'` has new keys follow at once (in three hours), whatever their age.
//!
//! Success: `{created, deleted}`, counts of keys. It never reads a secret.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::config::Config;
use shared::runtime::Platform;
use shared::token::rotation::Rotated;
use shared::token::{KeyError, KeyRing};

/// What it needs.
pub struct Deps {
    keys: Arc<KeyRing>,
    config: Arc<Config>,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Self {
        Self {
            keys: platform.keys(&platform.store(), &[]),
            config: Arc::clone(&platform.config),
            clock: platform.clock.clone(),
        }
    }
}

/// What is asked for; the schedule's own event asks for nothing special.
#[derive(Debug, Default, Deserialize)]
pub struct RotateRequest {
    /// New keys now, however old the newest is.
    #[serde(default)]
    at_once: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct RotateResponse {
    created: usize,
    deleted: usize,
}

/// Answers an invocation.
pub async fn rotate(deps: Arc<Deps>, request: RotateRequest) -> Result<RotateResponse, KeyError> {
    let rotated = deps.keys.rotate(&deps.config, request.at_once, deps.clock.now()).await;
    match rotated {
        Ok(Rotated { created, deleted }) => {
            tracing::info!(created, deleted, "keys rotated");
            Ok(RotateResponse { created, deleted })
        }
        Err(error) => {
            tracing::error!(%error, "keys not rotated");
            Err(error)
        }
    }
}
