//! The function behind the daily schedule: makes new keys and deletes spent ones.
//!
//! Once the newest key is `KeyRotationDays` old, another is published, and signs from three hours later; its predecessor
//! stays until the last token that it made has expired, and a day longer, and is then deleted with its private half. So
//! nobody is signed out by it. It may run as often as it likes: what is not due is left alone.
//!
//! `aws lambda invoke --payload '{"at_once": true}'` has new keys follow at once (in three hours), whatever their age.
//!
//! `{"fill": true}` is what a function asks for that finds no key to sign with: the very first ones are made so. Nothing
//! else writes keys.
//!
//! `{"revoke": "<kid>"}` ends a signing key at once, `{"revoke": "mac/2"}` another one by its ring and slot: what it made is void
//! within five minutes. Where none is left to sign with, another is made, which signs at once.
//!
//! Success: `{created, deleted}`, counts of keys. It never reads a secret.

use std::sync::Arc;

use serde::Serialize;
use shared::clock::Clock;
use shared::config::ConfigError;
use shared::runtime::Platform;
use shared::token::rotation::{RotateRequest, Rotated, Schedule};
use shared::token::{KeyError, KeyRing};

/// What it needs.
pub struct Deps {
    keys: Arc<KeyRing>,
    schedule: Schedule,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        let environment = &platform.environment;
        let signing_algorithm = environment.signing_algorithm()?;
        let schedule =
            Schedule { rotation: environment.key_rotation()?, lifetimes: environment.lifetimes()?, signing_algorithm };
        let keys = Arc::new(KeyRing::new(platform.store(), Some(signing_algorithm), None));
        Ok(Self { keys, schedule, clock: platform.clock.clone() })
    }
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct RotateResponse {
    created: usize,
    deleted: usize,
}

/// Answers an invocation.
pub async fn rotate(deps: Arc<Deps>, request: RotateRequest) -> Result<RotateResponse, KeyError> {
    let now = deps.clock.now();
    let rotated = match request {
        RotateRequest { revoke: Some(name), .. } => deps.keys.revoke(&name, &deps.schedule, now).await,
        RotateRequest { fill: true, .. } => deps.keys.fill(&deps.schedule, now).await,
        RotateRequest { at_once, .. } => deps.keys.rotate(&deps.schedule, at_once, now).await,
    };
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
