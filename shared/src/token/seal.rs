//! Encryption of what lies in the table for a while and is nobody's to read there: AES-256-GCM (NIST SP 800-38D), by keys
//! of the ring.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use thiserror::Error;
use zeroize::Zeroizing;

use super::mac::MacKeyId;
use crate::{base64url, random};

/// The cryptographic library refused.
#[derive(Debug, Error)]
#[error("sealing failed")]
pub struct SealError;

/// What was sealed, and the name of the key that opens it: as it is stored, base64url of key id (8 bytes), nonce (12),
/// ciphertext, tag (16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Reads what [`to_text`](Self::to_text) writes.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode(text).filter(|bytes| bytes.len() >= 8 + NONCE_LEN).map(Self)
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        base64url::encode(&self.0)
    }

    /// The key that opens it.
    pub fn key_id(&self) -> MacKeyId {
        MacKeyId::from_bytes(std::array::from_fn(|index| self.0.get(index).copied().unwrap_or_default()))
    }
}

/// A key that seals and opens, of 256 bits. Never published, never shown, wiped when dropped.
#[derive(Clone)]
pub struct SealingKey {
    id: MacKeyId,
    secret: Zeroizing<[u8; 32]>,
}

impl SealingKey {
    /// A new key.
    pub fn random() -> Self {
        Self { id: MacKeyId::from_bytes(random::bytes()), secret: Zeroizing::new(random::bytes()) }
    }

    /// The key with this secret.
    pub(crate) const fn from_secret(id: MacKeyId, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { id, secret }
    }

    /// Its identifier.
    pub const fn id(&self) -> MacKeyId {
        self.id
    }

    /// Seals `secret`. It opens in the same `context` alone, so that what lies in one item is of no use in another.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> Result<Sealed, SealError> {
        let mut text = Zeroizing::new(secret.to_vec());
        let nonce = self.cipher()?.seal_in_place_append_tag(Aad::from(context), &mut *text).map_err(|_| SealError)?;
        Ok(Sealed([&self.id.as_bytes()[..], nonce.as_ref(), &text].concat()))
    }

    /// Opens what this key sealed in `context`; `None` for anything else.
    pub fn open(&self, context: &[u8], sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let (id, rest) = sealed.0.split_at_checked(8)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        if id != self.id.as_bytes() {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.cipher().ok()?.open_in_place(nonce, Aad::from(context), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.secret).map_err(|_| SealError)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_key_in_its_context_alone() {
        let key = SealingKey::random();
        let sealed = key.seal(b"one", b"secret").expect("sealed");
        let read = Sealed::parse(&sealed.to_text()).expect("our own");
        assert_eq!((read.key_id(), &read), (key.id(), &sealed));
        assert_eq!(key.open(b"one", &read).as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert!(key.open(b"two", &read).is_none());
        assert!(SealingKey::random().open(b"one", &read).is_none());
        let other = SealingKey::from_secret(key.id(), Zeroizing::new([7; 32]));
        assert!(other.open(b"one", &read).is_none(), "another key that calls itself the same");
        assert!(!sealed.to_text().contains("secret"));
    }

    #[test]
    fn what_was_changed_opens_nothing() {
        let key = SealingKey::random();
        let Sealed(bytes) = key.seal(b"one", b"secret").expect("sealed");
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(key.open(b"one", &Sealed(changed)).is_none(), "byte {index}");
        }
        for length in 0..bytes.len() {
            assert!(key.open(b"one", &Sealed(bytes[..length].to_vec())).is_none(), "length {length}");
        }
    }

    #[test]
    fn the_same_is_sealed_differently_each_time() {
        let key = SealingKey::random();
        assert_ne!(key.seal(b"", b"secret").expect("sealed"), key.seal(b"", b"secret").expect("sealed"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let key = SealingKey::from_secret(MacKeyId::from_bytes([7; 8]), Zeroizing::new([42; 32]));
        assert!(!format!("{key:?}").contains("42"));
    }
}
