//! `GET /.well-known/jwks.json`: anyone can verify our access tokens with what is published, and nobody sign.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::harness::{AppSession, Stack, jwt_part};

fn verify(stack: &Stack, set: &Value, session: &AppSession, algorithm: Algorithm) {
    let set: JwkSet = serde_json::from_value(set.clone()).expect("a key set");
    let header = jsonwebtoken::decode_header(&session.access).expect("a header");
    let jwk = set.find(&header.kid.expect("a kid")).expect("the key that signed");
    let mut validation = Validation::new(algorithm);
    // The test's clock is not the machine's.
    validation.validate_exp = false;
    validation.set_issuer(&[stack.url()]);
    validation.set_audience(&[stack.url()]);
    let key = DecodingKey::from_jwk(jwk).expect("a public key");
    let claims = jsonwebtoken::decode::<Value>(&session.access, &key, &validation).expect("a genuine token").claims;
    assert_eq!(claims["sid"], session.session_id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_the_public_key_alone() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let answer = stack.client().get("/.well-known/jwks.json").send().await.expect(200).expect_no_cookies();
    assert!(answer.header("content-type").is_some_and(|value| value.contains("json")));
    let cache = answer.header("cache-control").expect("cacheable");
    assert!(cache.contains("max-age=") && !cache.contains("no-store"), "{cache}");
    let set = answer.json();
    insta::assert_json_snapshot!(set, {".keys[].kid" => "[kid]", ".keys[].x" => "[x]", ".keys[].y" => "[y]"}, @r#"
    {
      "keys": [
        {
          "alg": "ES256",
          "crv": "P-256",
          "kid": "[kid]",
          "kty": "EC",
          "use": "sig",
          "x": "[x]",
          "y": "[y]"
        }
      ]
    }
    "#);
    assert_eq!(set["keys"][0]["kid"], jwt_part(&session.access, 0)["kid"]);
    verify(&stack, &set, &session, Algorithm::ES256);
}

#[tokio::test(flavor = "multi_thread")]
async fn rs256_for_the_gateway_s_own_authorizer() {
    let stack = Stack::with(&[("SigningAlgorithm", "RS256")]).await;
    let (_, session) = stack.person_with_session("alice").await;
    assert_eq!(jwt_part(&session.access, 0)["alg"], "RS256");
    let set = stack.client().get("/.well-known/jwks.json").send().await.expect(200).json();
    assert_eq!(set["keys"].as_array().map(Vec::len), Some(1));
    let key = set["keys"][0].as_object().expect("a key");
    let mut names: Vec<&String> = key.keys().collect();
    names.sort();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    verify(&stack, &set, &session, Algorithm::RS256);
    stack.me(&session.access).await.expect(200);
    stack.refresh(&session.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_set_before_the_first_token() {
    let stack = Stack::start().await;
    let answer = stack.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert!(answer.json()["keys"].is_array(), "{}", answer.text());
    // And nobody waits long for the first key.
    let (_, session) = stack.person_with_session("alice").await;
    stack.clock.advance(600);
    let set = stack.client().get("/.well-known/jwks.json").send().await.expect(200).json();
    assert_eq!(set["keys"][0]["kid"], jwt_part(&session.access, 0)["kid"]);
}
