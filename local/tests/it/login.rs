//! `POST /login`.

use serde_json::json;

use crate::harness::{AppSession, Person, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_both_tokens() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    stack.clock.advance(3600);
    let answer = stack.client().post("/login").json(alice.login("app")).send().await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {
        ".user.id" => "[id]",
        ".session.id" => "[id]",
        ".token.access" => "[access]",
        ".token.refresh" => "[refresh]",
        ".device" => "[device]",
    }, @r#"
    {
      "device": "[device]",
      "session": {
        "created_at": "2100-01-01T01:00:00Z",
        "expires_at": "2100-06-30T01:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-31T01:00:00Z",
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_cookies_and_no_token() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let without_client = json!({"username": alice.username, "password": alice.password});
    for body in [alice.login("browser"), without_client] {
        let browser = stack.browser();
        let answer = browser.post("/login").json(body).send().await.expect(200);
        let answer = answer.expect_cookies(&["access", "username"], &["refresh", "signup"]);
        assert_eq!(answer.json()["token"], json!({"expires_in": 1800}));
        assert_eq!(answer.json()["session"]["kind"], "browser");
        browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser_gets_a_refresh_cookie() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    let answer = browser.post("/login").json(alice.remembered()).send().await.expect(200);
    let answer = answer.expect_cookies(&["access", "refresh", "username"], &["signup"]);
    assert_eq!(answer.json()["token"], json!({"expires_in": 900}));
    assert_eq!(answer.json()["session"]["kind"], "remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_an_address_in_any_case() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for who in [
        json!({"username": "alice"}),
        json!({"username": "ALICE"}),
        json!({"username": "\u{ff41}lice"}),
        json!({"email": "alice@example.test"}),
        json!({"email": "Alice@EXAMPLE.test"}),
    ] {
        let mut body = who.clone();
        body["password"] = json!(alice.password);
        body["client"] = json!("app");
        let answer = stack.client().post("/login").json(body).send().await;
        assert_eq!(answer.status, 200, "{who}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_person_look_the_same() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    // A sign-up that nobody has answered is no account.
    let pending = Person::named("pending");
    stack.sign_up(&pending).await;
    let wrong = json!({"username": "alice", "password": "not the password", "client": "app"});
    let first = stack.client().post("/login").json(wrong).send().await.expect_problem(401, "invalid_credentials");
    let first = first.expect_no_cookies();
    for other in [
        json!({"username": "nobody", "password": alice.password, "client": "app"}),
        json!({"email": "nobody@example.test", "password": alice.password, "client": "app"}),
        json!({"email": "alice@example.test", "password": "not the password", "client": "app"}),
        pending.login("app"),
        // What can be nobody's name or address is nobody's.
        json!({"username": "no body", "password": alice.password, "client": "app"}),
        json!({"email": "nobody", "password": alice.password, "client": "app"}),
        json!({"username": "alice", "password": "", "client": "app"}),
        json!({"username": "alice", "password": "x".repeat(200), "client": "app"}),
    ] {
        let answer = stack.client().post("/login").json(other.clone()).send().await;
        assert_eq!((answer.status, answer.text()), (first.status, first.text()), "{other}");
    }
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_leaves_the_browser_s_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let wrong = json!({"username": "alice", "password": "not the password"});
    let answer = browser.post("/login").json(wrong).send().await.expect_problem(401, "invalid_credentials");
    answer.expect_no_cookies();
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_and_one_password() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for body in [
        json!({"password": alice.password}),
        json!({"username": "alice"}),
        json!({"username": "alice", "email": "alice@example.test", "password": alice.password}),
        json!({"username": "alice", "password": alice.password, "client": "toaster"}),
        json!({"username": "alice", "password": alice.password, "remember": "yes"}),
        json!({"username": ["alice"], "password": alice.password}),
        json!([]),
        // serde alone would take this for an object.
        json!(["alice", null, alice.password]),
        json!("alice"),
        json!(null),
    ] {
        stack.client().post("/login").json(body).send().await.expect_problem(400, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_person_are_independent() {
    let stack = Stack::start().await;
    let (alice, first) = stack.person_with_session("alice").await;
    let second = stack.app(&alice).await;
    let browser = stack.signed_in(&alice).await;
    stack.client().post("/logout").json(json!({"refresh": first.refresh})).send().await.expect(204);
    stack.me(&first.access).await.expect_problem(401, "session_ended");
    stack.me(&second.access).await.expect(200);
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_the_session_that_it_came_with() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let before = browser.copy();
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    before.get("/me").send().await.expect_problem(401, "session_ended");

    let before = browser.copy();
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    before.post("/refresh").send().await.expect_problem(401, "session_ended");
    assert_eq!(browser.cookie("refresh"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_session_response_clears_the_cookies_that_the_request_brought() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.remembered(&alice).await;
    let before = browser.copy();
    let answer = browser.post("/login").json(alice.login("app")).send().await.expect(200);
    let answer = answer.expect_cookies(&[], &["access", "refresh", "signup", "username"]);
    before.get("/me").send().await.expect_problem(401, "session_ended");
    stack.me(&AppSession::of(&answer).access).await.expect(200);
}
