//! Tokens and the keys behind them.
//!
//! - [`access`]: JWTs, signed; anyone verifies them with the public key set.
//! - [`refresh`]: opaque, under a MAC key that is never published, so that no JWT verifier takes one for an access token.
//! - [`keys`]: the ring of keys, made on first use; [`rotation`]: when others follow them.
//!
//! A token of one type is never read as another: their forms differ, and so do their keys.

pub mod access;
mod algorithm;
pub mod device;
mod jws;
pub mod keys;
mod mac;
pub mod refresh;
pub mod rotation;
mod seal;

pub use access::{AccessClaims, AccessError};
pub use algorithm::SigningAlgorithm;
pub use device::{DeviceEpoch, DeviceToken, DeviceTokens};
pub use keys::{KeyError, KeyRing, KeyUse};
pub use mac::{Mac, MacKey, MacKeyId};
pub use refresh::RefreshClaims;
pub use seal::{SealError, Sealed, SealingKey};
