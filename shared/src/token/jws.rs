//! JSON Web Signatures in compact form (RFC 7515 §7.1), as strictly as our own issuer writes them.
//!
//! The header may hold `alg`, `typ` and `kid` and nothing else, so `jku`, `jwk`, `x5u`, `x5c` and `crit` are refused
//! with every other extension. The key decides the algorithm; the header has to agree.

use jsonwebtoken::crypto;
use serde::Deserialize;

use super::keys::PublicKey;
use crate::base64url;

/// No token of ours is longer; longer texts are not looked at.
const MAX_LENGTH: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A token in its three parts, nothing verified.
pub(super) struct Compact<'a> {
    header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token apart; `None` when it does not have our form.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = serde_json::from_slice(&base64url::decode(header)?).ok()?;
        Some(Self { header, signed, payload, signature })
    }

    /// The key that the token says it was signed with.
    pub(super) fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The payload, if `key` signed it as a token of type `typ`.
    pub(super) fn verify(&self, key: &PublicKey, typ: &str) -> Option<Vec<u8>> {
        let expected =
            self.header.alg == key.algorithm.as_str() && self.header.typ == typ && self.header.kid == key.kid;
        // Spelled in one way only; AWS-LC checks the length and range of what it spells.
        base64url::decode(self.signature)?;
        let algorithm = key.algorithm.of_jsonwebtoken();
        let genuine = crypto::verify(self.signature, self.signed.as_bytes(), &key.decoding, algorithm).unwrap_or(false);
        if expected && genuine { base64url::decode(self.payload) } else { None }
    }
}
