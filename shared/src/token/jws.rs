//! JSON Web Signatures in compact form (RFC 7515 §7.1), as strictly as our own issuer writes them.
//!
//! The header may hold `alg`, `typ` and `kid` and nothing else, so `jku`, `jwk`, `x5u`, `x5c` and `crit` are refused
//! with every other extension. The key decides the algorithm; the header has to agree.

use jsonwebtoken::crypto;
use serde::{Deserialize, Serialize};

use super::keys::{KeyError, PublicKey, SigningKey};
use crate::base64url;

/// No token of ours is longer; longer texts are not looked at.
const MAX_LENGTH: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: String,
}

/// A token of type `typ` that says `claims`, signed with `key`.
pub(super) fn sign(key: &SigningKey, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
    let header =
        Header { alg: key.algorithm().as_str().to_owned(), typ: Some(typ.to_owned()), kid: key.kid().to_owned() };
    let signed = [encoded(&header)?, encoded(claims)?].join(".");
    let signature = base64url::encode(key.sign(signed.as_bytes())?);
    Ok([signed, signature].join("."))
}

fn encoded(part: &impl Serialize) -> Result<String, KeyError> {
    serde_json::to_vec(part).map(base64url::encode).map_err(|_| KeyError::Signature)
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
    pub(super) fn verify(&self, key: &PublicKey, typ: Option<&str>) -> Option<Vec<u8>> {
        let header = &self.header;
        let expected = header.alg == key.algorithm.as_str() && header.typ.as_deref() == typ && header.kid == key.kid;
        // Spelled in one way only; AWS-LC checks the length and range of what it spells.
        base64url::decode(self.signature)?;
        let algorithm = key.algorithm.of_jsonwebtoken();
        let genuine = crypto::verify(self.signature, self.signed.as_bytes(), &key.decoding, algorithm).unwrap_or(false);
        if expected && genuine { base64url::decode(self.payload) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::super::keys::Jwk;
    use super::*;

    /// Project Wycheproof's cases for JSON Web Signatures, in the folder that `LATCHKEY_VECTORS` names. Every case whose
    /// key is of one of our algorithms is verified as a token of ours would be, but that their headers have no `typ`.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "where the vectors lie is the tests' own setting, not the product's")]
    fn wycheproof_signatures() {
        let Ok(folder) = std::env::var("LATCHKEY_VECTORS") else {
            println!("LATCHKEY_VECTORS is not set: the outside vectors were not looked at");
            return;
        };
        let (mut accepted, mut refused, mut strict) = (0, 0, 0);
        let mut foreign = std::collections::BTreeMap::<String, usize>::new();
        for file in ["json_web_signature_test.json", "json_web_key_test.json"] {
            let text = std::fs::read_to_string(Path::new(&folder).join(file)).expect("a readable file of vectors");
            let vectors: Value = serde_json::from_str(&text).expect("JSON");
            for group in vectors["testGroups"].as_array().expect("groups") {
                let tests = group["tests"].as_array().expect("tests");
                let key = match our_key(group) {
                    Ok(key) => key,
                    Err(reason) => {
                        *foreign.entry(reason).or_default() += tests.len();
                        continue;
                    }
                };
                for test in tests {
                    let token = test["jws"].as_str().expect("a token");
                    let payload = Compact::parse(token).and_then(|compact| compact.verify(&key, None));
                    match (payload.is_some(), test["result"] == "valid") {
                        (true, true) => accepted += 1,
                        (false, false) => refused += 1,
                        (false, true) => strict += 1,
                        (true, false) => panic!("{file} case {} is invalid and was accepted: {test}", test["tcId"]),
                    }
                }
            }
        }
        println!(
            "Wycheproof: {accepted} valid accepted, {refused} invalid refused, {strict} valid refused as not our form"
        );
        println!("not applicable: {foreign:?}");
        assert!(accepted >= 2 && refused >= 100, "{accepted} accepted, {refused} refused: were the files read?");
    }

    /// The group's key as our ring would hold it, or why it would not.
    fn our_key(group: &Value) -> Result<PublicKey, String> {
        let jwk = &group["public"];
        let algorithm = jwk["alg"].as_str().unwrap_or("a key without an algorithm, or a set of keys");
        let mut jwk = match algorithm {
            "ES256" | "RS256" => jwk.clone(),
            other => return Err(other.to_owned()),
        };
        jwk["use"] = "sig".into();
        let jwk: Jwk = serde_json::from_value(jwk).map_err(|error| error.to_string())?;
        PublicKey::from_jwk(jwk).map_err(|error| error.to_string())
    }
}
