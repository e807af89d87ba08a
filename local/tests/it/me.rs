//! `GET /me`: the sample of a protected function, and sliding renewal.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::harness::tables::overwrite;
use crate::harness::{AppSession, Stack, claims, generation};

#[tokio::test(flavor = "multi_thread")]
async fn returns_the_user_and_the_session() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let answer = stack.me(&session.access).await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {".user.id" => "[id]", ".session.id" => "[id]"}, @r#"
    {
      "session": {
        "created_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-06-30T00:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-31T00:00:00Z",
        "kind": "app"
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
    assert_eq!(answer.json()["user"]["id"], json!(session.user_id));
    assert_eq!(answer.json()["session"]["id"], json!(session.session_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_shown_where_there_are_some() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    assert!(claims(&app.access).get("roles").is_none());
    overwrite(&stack, "USER#", "roles", AttributeValue::S("author editor".to_owned())).await;
    assert_eq!(stack.me(&app.access).await.expect(200).json()["user"]["roles"], json!(["author", "editor"]));
    // A refresh takes them into the token.
    let answer = stack.refresh(&app.refresh, None).await.expect(200);
    assert_eq!(answer.json()["user"]["roles"], json!(["author", "editor"]));
    assert_eq!(claims(&AppSession::of(&answer).access)["roles"], json!(["author", "editor"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_the_cookie_too() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        browser.get("/me").send().await.expect(200).expect_no_cookies();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let bearer = |answer: crate::harness::Answer| {
        let header = answer.header("www-authenticate").unwrap_or_default().to_owned();
        assert!(header.starts_with("Bearer"), "{header}");
    };
    bearer(stack.client().get("/me").send().await.expect_problem(401, "token_missing").expect_no_cookies());
    bearer(stack.me("nonsense").await.expect_problem(401, "token_invalid"));
    bearer(stack.me(&session.refresh).await.expect_problem(401, "token_invalid"));
    for header in ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", &format!("Bearer {} x", session.access)] {
        let answer = stack.client().get("/me").header("authorization", header).send().await.expect(401);
        assert!(matches!(answer.code().as_str(), "token_missing" | "token_invalid"), "{header}: {}", answer.text());
        bearer(answer);
    }
    // RFC 7235 §2.1: the scheme's name is in any case.
    let call = stack.client().get("/me").header("authorization", &format!("bearer {}", session.access));
    call.send().await.expect(200);
    stack.clock.advance(900);
    bearer(stack.me(&session.access).await.expect_problem(401, "token_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_different_credentials_are_refused() {
    let stack = Stack::start().await;
    let (alice, session) = stack.person_with_session("alice").await;
    let browser = stack.signed_in(&alice).await;
    browser.get("/me").bearer(&session.access).send().await.expect_problem(401, "token_invalid");
    let access = browser.cookie("access").expect("a cookie");
    browser.get("/me").bearer(&access).send().await.expect(200);
    let twice = stack.client().get("/me").bearer(&session.access).bearer(&access).send().await;
    twice.expect_problem(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_browser_stays_signed_in() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let first = browser.cookie("access").expect("a cookie");
    stack.clock.advance(600);
    browser.get("/me").send().await.expect(200).expect_no_cookies();
    stack.clock.advance(600);
    let answer = browser.get("/me").send().await.expect(200);
    assert_eq!(answer.json()["session"]["idle_expires_at"], "2100-01-01T00:50:00Z");
    let access = answer.cookie("access").expect("a renewed cookie");
    assert_eq!(access.max_age(), Some(1800));
    // Extended, not rotated.
    assert_eq!(generation(&access.value), generation(&first));
    assert_eq!(claims(&access.value)["exp"].as_u64().expect("a time"), stack.clock.now().unix() + 1800);
    // The refresh that the page may have had in flight still works, and then everything goes on.
    let in_flight = stack.browser();
    in_flight.put_cookie("access", &first);
    in_flight.post("/refresh").send().await.expect(200);
    browser.put_cookie("access", &in_flight.cookie("access").expect("a cookie"));

    for _ in 0..40 {
        stack.clock.advance(1000);
        browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_ends_with_the_session() {
    let stack = Stack::with(&[("BrowserSessionLifetime", "4000")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    for _ in 0..3 {
        stack.clock.advance(1000);
        browser.get("/me").send().await.expect(200);
    }
    let access = browser.cookie("access").expect("a cookie");
    assert_eq!(claims(&access)["exp"].as_u64().expect("a time"), stack.clock.now().unix() + 1000);
    stack.clock.advance(999);
    browser.get("/me").send().await.expect(200);
    stack.clock.advance(1);
    let late = stack.browser().get("/me").cookies(&format!("access={access}")).send().await;
    late.expect_problem(401, "token_expired");
    assert_eq!(browser.cookie("access"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_and_remembered_browsers_do_not_slide() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.remembered(&alice).await;
    stack.clock.advance(880);
    for answer in [stack.me(&app.access).await, browser.get("/me").send().await] {
        let answer = answer.expect(200).expect_no_cookies();
        assert_eq!(answer.json()["session"]["idle_expires_at"], "2100-01-31T00:00:00Z");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_of_a_browser_session_gets_no_cookie() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let access = browser.cookie("access").expect("a cookie");
    stack.clock.advance(1200);
    stack.me(&access).await.expect(200).expect_no_cookies();
}

/// A link on another site that was followed is no sign that anybody is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_from_another_site_extends_nothing() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    stack.clock.advance(1200);
    browser.get("/me").fetch_site(Some("cross-site")).send().await.expect(200).expect_no_cookies();
    for site in ["same-site", "same-origin", "none"] {
        let answer = browser.copy().get("/me").fetch_site(Some(site)).send().await.expect(200);
        assert!(answer.cookie("access").is_some(), "{site}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_headers_of_safe_answers() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    for answer in [
        stack.me(&app.access).await.expect(200),
        stack.me("nonsense").await.expect(401),
        stack.client().post("/login").json(serde_json::json!({})).send().await.expect(400),
        stack.client().post("/login").origin(Some("https://evil.test")).send().await.expect(403),
        stack.client().get("/.well-known/jwks.json").send().await.expect(200),
        stack.client().get("/verify?token=nothing").send().await.expect(400),
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{}", answer.text());
        assert!(answer.header("referrer-policy").is_some(), "{}", answer.text());
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}
