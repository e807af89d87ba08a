//! What Latchkey's functions have in common: nouns, and verbs that two endpoints need.
//!
//! The sequence of steps of an endpoint is its function's own; nothing here knows one. `docs/ARCHITECTURE.md` walks a
//! request through these modules.

pub mod account;
pub mod aws;
mod base64url;
pub mod breach;
pub mod clock;
pub mod concurrency;
pub mod config;
pub mod device;
pub mod function;
pub mod http;
pub mod limits;
pub mod locale;
pub mod mail;
pub mod outbox;
pub mod password_hasher;
pub mod prelude;
mod random;
pub mod runtime;
pub mod session;
pub mod store;
pub mod telemetry;
mod text;
pub mod token;

/// The README's example of a protected function, compiled as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
