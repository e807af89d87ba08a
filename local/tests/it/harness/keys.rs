//! The table of keys, read as nobody outside may: so that forged tokens carry genuine signatures.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::Value;

use super::Stack;
use super::tables::{Item, items, text};

/// A signing key of the stack.
pub(crate) struct StolenKey {
    pub(crate) kid: String,
    pub(crate) encoding: EncodingKey,
    /// The public half as it is published.
    pub(crate) public: Value,
}

impl StolenKey {
    /// Reads the key that signs, from the database of `stack`.
    pub(crate) async fn of(stack: &Stack) -> Self {
        let rings = items(stack, "KeysTable").await;
        let newest = |partition: &str| {
            let ring = rings.iter().find(|ring| text(ring, "pk") == partition).expect("a ring");
            ring_slots(ring).into_iter().max_by_key(|(slot, _)| *slot).expect("a key").1
        };
        let (private, public) = (newest("SIGNING#PRIVATE"), newest("SIGNING#PUBLIC"));
        let pkcs8 = BASE64_URL_SAFE_NO_PAD.decode(text(private, "pkcs8")).expect("base64url");
        Self {
            kid: text(private, "kid").to_owned(),
            encoding: EncodingKey::from_ec_der(&pkcs8),
            public: serde_json::from_str(text(public, "jwk")).expect("a JWK"),
        }
    }

    /// Signs `header` and `claims`, whatever they say, with ES256.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, jsonwebtoken::Algorithm::ES256);
        format!("{message}.{}", signature.expect("a signature"))
    }
}

/// The keys of a ring, by the numbers of their slots.
pub(crate) fn ring_slots(ring: &Item) -> Vec<(u32, &Item)> {
    let slots = ring.iter().filter(|(name, _)| !matches!(name.as_str(), "pk" | "sk"));
    slots.map(|(name, key)| (name.parse().expect("a number"), key.as_m().expect("a key"))).collect()
}
