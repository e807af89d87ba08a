//! Refresh tokens: `rt_` and 77 bytes in base64url, opaque to everyone but us.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | identifier of the MAC key |
//! | 16 | user |
//! | 16 | session |
//! | 4 | generation, big-endian |
//! | 32 | HMAC-SHA256 of all before |

use super::keys::{KeyError, KeyRing};
use super::mac::{Mac, MacKeyId};
use crate::account::UserId;
use crate::base64url;
use crate::clock::Timestamp;
use crate::session::{Generation, Session, SessionId, SessionRef};
use crate::telemetry::{Credential, SecurityEvent};

const PREFIX: &str = "rt_";
const VERSION: u8 = 1;
const SIGNED: usize = 1 + 8 + 16 + 16 + 4;

/// What a genuine refresh token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClaims {
    /// Whose it is.
    pub user_id: UserId,
    /// Its session.
    pub session_id: SessionId,
    /// The generation it refreshes.
    pub generation: Generation,
}

impl RefreshClaims {
    /// Where its session lies.
    pub const fn session(&self) -> SessionRef {
        SessionRef { user_id: self.user_id, session_id: self.session_id }
    }
}

impl KeyRing {
    /// Issues the refresh token of `session` at its generation.
    pub async fn issue_refresh(&self, session: &Session, now: Timestamp) -> Result<String, KeyError> {
        let key = self.mac_key(now).await?;
        let mut bytes = Vec::with_capacity(SIGNED + 32);
        bytes.push(VERSION);
        bytes.extend(key.id().as_bytes());
        bytes.extend(session.user_id.as_bytes());
        bytes.extend(session.id.as_bytes());
        bytes.extend(session.generation.number().to_be_bytes());
        bytes.extend(key.mac("refresh-token", &[&bytes]).as_bytes());
        Ok(format!("{PREFIX}{}", base64url::encode(bytes)))
    }

    /// Verifies a refresh token; `None` when it is not genuine. A forged one costs no database call, beyond one look
    /// a minute for keys that this instance may not have seen yet.
    pub async fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<Option<RefreshClaims>, KeyError> {
        let Some(bytes) = token.strip_prefix(PREFIX).and_then(base64url::decode_array::<{ SIGNED + 32 }>) else {
            return Ok(None);
        };
        let Some((key_id, claims, mac)) = split(&bytes) else { return Ok(None) };
        let Some(key) = self.mac_key_with_id(key_id, now).await? else { return Ok(None) };
        let genuine = key.mac("refresh-token", &[&bytes[..SIGNED]]).equals(&mac);
        if !genuine {
            SecurityEvent::TokenForged { credential: Credential::Refresh }.log();
        }
        Ok(genuine.then_some(claims))
    }
}

fn split(bytes: &[u8; SIGNED + 32]) -> Option<(MacKeyId, RefreshClaims, Mac)> {
    let (version, rest) = bytes.split_first()?;
    let (key_id, rest) = rest.split_first_chunk()?;
    let (user_id, rest) = rest.split_first_chunk()?;
    let (session_id, rest) = rest.split_first_chunk()?;
    let (generation, mac) = rest.split_first_chunk()?;
    let claims = RefreshClaims {
        user_id: UserId::from_bytes(*user_id),
        session_id: SessionId::from_bytes(*session_id),
        generation: Generation::from_number(u32::from_be_bytes(*generation)),
    };
    let mac = Mac::from_bytes(mac.try_into().ok()?);
    (*version == VERSION).then_some((MacKeyId::from_bytes(*key_id), claims, mac))
}
