//! Message authentication: HMAC-SHA256 (RFC 2104) over labelled, length-prefixed parts.

use std::fmt;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{base64url, random};

/// Names a key of MACs or of sealing: 64 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacKeyId([u8; 8]);

impl MacKeyId {
    /// The identifier with these bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// A MAC. Compared in constant time only.
#[derive(Clone, Copy)]
pub struct Mac([u8; 32]);

impl Mac {
    /// The MAC with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in constant time.
    pub fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
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

impl fmt::Debug for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mac(hidden)")
    }
}

/// A MAC key of 256 bits. Never published, never shown, and its secret wiped.
#[derive(Clone)]
pub struct MacKey {
    id: MacKeyId,
    hmac: hmac::Key,
}

impl MacKey {
    /// A new key.
    pub fn random() -> Self {
        Self::from_secret(MacKeyId(random::bytes()), &Zeroizing::new(random::bytes()))
    }

    /// The key with this secret.
    pub(crate) fn from_secret(id: MacKeyId, secret: &Zeroizing<[u8; 32]>) -> Self {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &**secret);
        Self { id, hmac }
    }

    /// Its identifier.
    pub const fn id(&self) -> MacKeyId {
        self.id
    }

    /// The MAC of `parts` for one `purpose`. Every part is prefixed with its length, so that no two lists of parts
    /// are the same message, and a MAC of one purpose never serves another.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(&self.hmac);
        for part in [purpose.as_bytes()].iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        Mac(mac)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MacKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_part_boundaries_matter() {
        let key = MacKey::random();
        let mac = key.mac("a", &[b"bc", b"d"]);
        assert!(mac.equals(&key.mac("a", &[b"bc", b"d"])));
        for other in [key.mac("a", &[b"b", b"cd"]), key.mac("ab", &[b"c", b"d"]), key.mac("a", &[b"bcd"])] {
            assert!(!mac.equals(&other));
        }
        assert!(!mac.equals(&MacKey::random().mac("a", &[b"bc", b"d"])));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let key = MacKey::from_secret(MacKeyId([7; 8]), &Zeroizing::new([42; 32]));
        assert!(!format!("{key:?}").contains("42"));
    }
}
