//! The `Idempotency-Key` of a refresh.

use aws_lc_rs::digest;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::SessionId;
use crate::base64url;

/// The header's value cannot be a key of at least 128 random bits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("an Idempotency-Key has 22 to 255 printable ASCII characters without commas, at least 128 random bits")]
pub struct InvalidRetryKey;

/// The hash of one refresh's `Idempotency-Key`, bound to the session: SHA-256, so that the table holds no key.
#[derive(Clone, Copy, Debug, Eq)]
pub struct RetryKey([u8; 32]);

impl RetryKey {
    /// Takes a header's value for a refresh of this session.
    pub fn parse(text: &str, session_id: SessionId) -> Result<Self, InvalidRetryKey> {
        Self::hash(text, session_id, "")
    }

    /// Takes a header's value for a request to `route` that replaces this session. A key of one route is none of another.
    pub fn for_route(text: &str, session_id: SessionId, route: &str) -> Result<Self, InvalidRetryKey> {
        Self::hash(text, session_id, &format!(" {route}"))
    }

    /// 22 characters of base64url are the shortest text that can hold 128 bits. No key has a space in it, so that it and
    /// what comes `after` it are told apart.
    fn hash(text: &str, session_id: SessionId, after: &str) -> Result<Self, InvalidRetryKey> {
        // API Gateway joins two headers of one name with a comma: no key has one.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !(22..=255).contains(&text.len()) || !is_plain {
            return Err(InvalidRetryKey);
        }
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(session_id.as_bytes());
        context.update(text.as_bytes());
        context.update(after.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Ok(Self(hash))
    }

    /// The key with this hash, for the model checker and tests.
    pub const fn from_hash(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// As it is stored.
    pub(crate) fn to_text(self) -> String {
        base64url::encode(self.0)
    }

    /// Reads what `to_text` writes.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        base64url::decode_array(text).map(Self)
    }
}

impl PartialEq for RetryKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_128_bits() {
        let session = SessionId::random();
        assert!(RetryKey::parse("0123456789abcdefABCDEF", session).is_ok());
        assert!(RetryKey::parse("6f1f3f0a-6a0b-4c1e-8d7f-2b9c5e4d3a21", session).is_ok());
        for short in [
            "",
            "1",
            "0123456789abcdefABCDE",
            "0123456789abcdef ABCDEF",
            "0123456789abcdef,ABCDEF",
            "0123456789abcdefABCDE\u{e9}",
        ] {
            assert_eq!(RetryKey::parse(short, session), Err(InvalidRetryKey), "{short}");
        }
        assert_eq!(RetryKey::parse(&"k".repeat(256), session), Err(InvalidRetryKey));
    }

    #[test]
    fn belongs_to_one_session_and_one_route() {
        let (text, session) = ("0123456789abcdefABCDEF", SessionId::random());
        assert_ne!(RetryKey::parse(text, session), RetryKey::parse(text, SessionId::random()));
        let [one, other] = ["/one", "/other"].map(|route| RetryKey::for_route(text, session, route).expect("a key"));
        assert_eq!(Ok(one), RetryKey::for_route(text, session, "/one"));
        assert!(one != other && Ok(one) != RetryKey::parse(text, session));
    }
}
