//! The table of keys, read as nobody outside may: so that forged tokens carry genuine signatures.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::Value;
use shared::aws::Aws;

use super::Stack;

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
        let private = items(stack, "SIGNING#PRIVATE").await.pop().expect("a private key");
        let public = items(stack, "SIGNING#PUBLIC").await.pop().expect("a public key");
        let text = |item: &HashMap<String, AttributeValue>, name: &str| {
            item.get(name).and_then(|value| value.as_s().ok()).expect("a text").clone()
        };
        let pkcs8 = BASE64_URL_SAFE_NO_PAD.decode(text(&private, "pkcs8")).expect("base64url");
        Self {
            kid: text(&private, "kid"),
            encoding: EncodingKey::from_ec_der(&pkcs8),
            public: serde_json::from_str(&text(&public, "jwk")).expect("a JWK"),
        }
    }

    /// Signs `header` and `claims`, whatever they say, with ES256.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, jsonwebtoken::Algorithm::ES256);
        format!("{message}.{}", signature.expect("a signature"))
    }
}

async fn items(stack: &Stack, partition: &str) -> Vec<HashMap<String, AttributeValue>> {
    let answer = Aws::local(stack.database(), stack.database())
        .dynamodb()
        .query()
        .table_name("KeysTable")
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()))
        .send()
        .await
        .expect("keys");
    answer.items.unwrap_or_default()
}
