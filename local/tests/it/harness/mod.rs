//! What all tests need: a running stack, people, browsers and apps, the mailbox, and a moving clock.
//!
//! It knows the product as a client does, by HTTP alone. The exceptions say so: [`proxy`] stands between the stack and
//! its database, [`calls`] under its clients of AWS, [`keys`] and [`tables`] read and write the tables.

mod calls;
mod cookies;
mod http;
pub(crate) mod keys;
mod mail;
mod people;
mod proxy;
mod stack;
pub(crate) mod tables;

pub(crate) use calls::{CallFault, CallMade, Calls, Extent, Injection};
pub(crate) use cookies::SetCookie;
pub(crate) use http::{Answer, Call, Client};
pub(crate) use mail::Mail;
pub(crate) use people::{AppSession, Person};
pub(crate) use proxy::DynamoProxy;
pub(crate) use stack::{Stack, options};

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

/// A fresh `Idempotency-Key`.
pub(crate) fn retry_key() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("retry-key-{:032x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The header (0) or the claims (1) of a JWT, unverified.
pub(crate) fn jwt_part(token: &str, part: usize) -> Value {
    let part = token.split('.').nth(part).expect("a JWT of three parts");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(token: &str) -> Value {
    jwt_part(token, 1)
}

/// The generation that an access token carries.
pub(crate) fn generation(token: &str) -> u64 {
    claims(token)["gen"].as_u64().expect("a generation")
}

/// Runs the same asynchronous step `count` times at once and gathers the outcomes.
pub(crate) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    steps: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for step in steps {
        tasks.spawn(step);
    }
    tasks.join_all().await
}
