//! `POST /refresh`: what answers look like. What becomes of the session is in [`super::sessions`].

use serde_json::json;

use crate::harness::{AppSession, Stack, claims, generation, jwt_part, retry_key};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_both_tokens_of_the_next_generation() {
    let stack = Stack::start().await;
    let (_, first) = stack.person_with_session("alice").await;
    stack.clock.advance(800);
    let answer = stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {
        ".user.id" => "[id]",
        ".session.id" => "[id]",
        ".token.access" => "[access]",
        ".token.refresh" => "[refresh]",
    }, @r#"
    {
      "session": {
        "created_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-06-30T00:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-31T00:13:20Z",
        "kind": "app"
      },
      "token": {
        "access": "[access]",
        "expires_in": 900,
        "refresh": "[refresh]"
      },
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "id": "[id]",
        "locale": "en",
        "username": "alice"
      }
    }
    "#);
    let second = AppSession::of(&answer);
    assert_eq!((second.user_id.clone(), second.session_id.clone()), (first.user_id.clone(), first.session_id.clone()));
    assert_eq!(second.generation(), first.generation() + 1);
    assert_ne!(first.refresh, second.refresh);
    stack.me(&second.access).await.expect(200);
    // The access token of the generation before lives on until it expires.
    stack.me(&first.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_new_access_cookie() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let first = browser.cookie("access").expect("a cookie");
    stack.clock.advance(1200);
    let answer = browser.post("/refresh").send().await.expect(200);
    let answer = answer.expect_cookies(&["access", "username"], &["refresh", "signup"]);
    assert_eq!(answer.json()["token"], json!({"expires_in": 1800}));
    assert_eq!(answer.json()["session"]["idle_expires_at"], "2100-01-01T00:50:00Z");
    let second = browser.cookie("access").expect("a cookie");
    assert_eq!(generation(&second), generation(&first) + 1);
    assert_eq!(claims(&second)["sid"], claims(&first)["sid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser_gets_both_cookies() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.remembered(&alice).await;
    let first = browser.cookie("refresh").expect("a cookie");
    // The access cookie has long expired, and is gone from the browser.
    stack.clock.advance(20 * 24 * 3600);
    assert_eq!(browser.cookie("access"), None);
    let answer = browser.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
    let answer = answer.expect_cookies(&["access", "refresh", "username"], &["signup"]);
    assert_eq!(answer.json()["token"], json!({"expires_in": 900}));
    assert_ne!(browser.cookie("refresh").expect("a cookie"), first);
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_browsers_may_be_empty() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    browser.post("/refresh").send().await.expect(200);
    browser.post("/refresh").json(json!({})).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_without_a_credential() {
    let stack = Stack::start().await;
    stack.client().post("/refresh").send().await.expect_problem(401, "token_missing").expect_no_cookies();
    stack.client().post("/refresh").json(json!({})).send().await.expect_problem(401, "token_missing");
    stack.browser().post("/refresh").send().await.expect_problem(401, "token_missing").expect_no_cookies();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_session_refreshes_only_while_its_token_lives() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let access = browser.cookie("access").expect("a cookie");
    stack.clock.advance(1799);
    browser.copy().post("/refresh").send().await.expect(200);
    let late = stack.signed_in(&alice).await;
    let access_of_late = late.cookie("access").expect("a cookie");
    stack.clock.advance(1800);
    for access in [access, access_of_late] {
        let answer = stack.browser().post("/refresh").cookies(&format!("access={access}")).send().await;
        answer.expect_problem(401, "token_expired");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_128_bits_at_least() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    for short in ["1", "0123456789abcdefABCDE", &"k".repeat(256)] {
        let answer = stack.refresh(&session.refresh, Some(short)).await;
        answer.expect_problem(400, "invalid_request").expect_no_cookies();
    }
    // Nothing was rotated.
    let next = AppSession::of(&stack.refresh(&session.refresh, Some("0123456789abcdefABCDEF")).await.expect(200));
    assert_eq!(next.generation(), session.generation() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_most() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let call = stack.client().post("/refresh").json(json!({"refresh": session.refresh}));
    let answer = call.retry_key(&retry_key()).retry_key(&retry_key()).send().await;
    answer.expect_problem(400, "invalid_request");
    stack.refresh(&session.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_say_what_the_contract_says() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let header = jwt_part(&session.access, 0);
    let mut names: Vec<&String> = header.as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(names, ["alg", "kid", "typ"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    let claims = claims(&session.access);
    insta::assert_json_snapshot!(claims, {
        ".iss" => "[api]", ".aud" => "[api]", ".sid" => "[id]", ".sub" => "[id]",
    }, @r#"
    {
      "amr": [
        "mca"
      ],
      "aud": "[api]",
      "auth_time": 4102444800,
      "exp": 4102445700,
      "gen": 1,
      "iat": 4102444800,
      "iss": "[api]",
      "kind": "app",
      "sid": "[id]",
      "sub": "[id]",
      "username": "alice"
    }
    "#);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(stack.url()), &json!(stack.url())));
    assert!(!session.refresh[3..].contains('.'), "a refresh token is opaque, no JWT");
}
