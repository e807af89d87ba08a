//! `GET /sessions`, `DELETE /sessions/{id}`, and how many sessions a user may have.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::session::SessionId;

use crate::harness::{Answer, AppSession, Client, Person, Stack, tables};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Safari/537.36";

/// The sessions that the holder of a bearer token sees.
async fn sessions(stack: &Stack, access: &str) -> Vec<Value> {
    let answer = stack.client().get("/sessions").bearer(access).send().await.expect(200).expect_no_cookies();
    listed(&answer)
}

fn listed(answer: &Answer) -> Vec<Value> {
    answer.json()["sessions"].as_array().expect("a list").clone()
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions.iter().map(|session| session["id"].as_str().expect("an id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_the_users_sessions() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.clock.advance(60);
    let browser = stack.browser();
    browser.post("/login").header("user-agent", CHROME).json(alice.remembered()).send().await.expect(200);
    stack.clock.advance(60);
    let phone = stack.client().post("/login").header("user-agent", "ExampleApp/1.0 (iPhone; iOS 26.0)");
    phone.json(alice.login("app")).send().await.expect(200);
    stack.clock.advance(60);
    stack.refresh(&app.refresh, None).await.expect(200);
    let answer = browser.get("/sessions").send().await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {".sessions[].id" => "[id]"}, @r#"
    {
      "sessions": [
        {
          "created_at": "2100-01-01T00:00:00Z",
          "current": false,
          "device": "Unknown device",
          "expires_at": "2100-06-30T00:00:00Z",
          "id": "[id]",
          "kind": "app",
          "last_used_at": "2100-01-01T00:03:00Z"
        },
        {
          "created_at": "2100-01-01T00:02:00Z",
          "current": false,
          "device": "ExampleApp on iPhone",
          "expires_at": "2100-06-30T00:02:00Z",
          "id": "[id]",
          "kind": "app",
          "last_used_at": "2100-01-01T00:02:00Z"
        },
        {
          "created_at": "2100-01-01T00:01:00Z",
          "current": true,
          "device": "Chrome on Windows",
          "expires_at": "2100-06-30T00:01:00Z",
          "id": "[id]",
          "kind": "remembered",
          "last_used_at": "2100-01-01T00:01:00Z"
        }
      ]
    }
    "#);
    assert_eq!(listed(&answer)[0]["id"], json!(app.session_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_living_are_shown_and_only_one_s_own() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, stranger) = stack.person_with_session("bob").await;
    stack.signed_in(&alice).await;
    assert_eq!(sessions(&stack, &app.access).await.len(), 2);
    assert_eq!(ids(&sessions(&stack, &stranger.access).await), [stranger.session_id.as_str()]);
    // The browser's 30 idle minutes are over.
    stack.clock.advance(1800);
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    assert_eq!(ids(&sessions(&stack, &app.access).await), [app.session_id.as_str()]);
    // Those before a logout everywhere are dead, and not shown.
    stack.client().post("/logout").bearer(&app.access).json(json!({"everywhere": true})).send().await.expect(204);
    let again = stack.app(&alice).await;
    assert_eq!(ids(&sessions(&stack, &again.access).await), [again.session_id.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_s_use_is_its_extension_too() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    stack.clock.advance(1000);
    let answer = browser.get("/sessions").send().await.expect(200);
    assert!(answer.cookie("access").is_some_and(|cookie| !cookie.is_cleared()));
    let own = listed(&answer).into_iter().find(|session| session["current"] == true).expect("the own one");
    assert_eq!(own["last_used_at"], "2100-01-01T00:16:40Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_is_ended_by_another() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.remembered(&alice).await;
    let own = listed(&browser.get("/sessions").send().await.expect(200));
    let id = own.iter().find(|session| session["current"] == true).expect("the own one")["id"].clone();
    let path = format!("/sessions/{}", id.as_str().expect("an id"));
    for _ in 0..2 {
        let answer = stack.client().request(reqwest::Method::DELETE, &path).bearer(&app.access).send().await;
        answer.expect(204).expect_no_cookies();
    }
    browser.get("/me").send().await.expect_problem(401, "session_ended");
    browser.post("/refresh").send().await.expect_problem(401, "session_ended");
    stack.me(&app.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_the_own_session_is_a_logout() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    // Past half of the token's life, when the layer would renew the cookie.
    stack.clock.advance(1000);
    let own = listed(&browser.get("/sessions").send().await.expect(200));
    let own = own.into_iter().find(|session| session["current"] == true).expect("the own one");
    stack.clock.advance(1000);
    let path = format!("/sessions/{}", own["id"].as_str().expect("an id"));
    let answer = browser.request(reqwest::Method::DELETE, &path).send().await.expect(204);
    answer.expect_cookies(&[], &["access", "refresh", "signup", "username"]);
    assert_eq!(browser.cookie_names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_user_cannot_be_ended() {
    let stack = Stack::start().await;
    let (_, alice) = stack.person_with_session("alice").await;
    let (_, mallory) = stack.person_with_session("mallory").await;
    let delete = |path: String| stack.client().request(reqwest::Method::DELETE, &path);
    for id in [alice.session_id.as_str(), "nothing", "AAAAAAAAAAAAAAAAAAAAAA", "a%23b"] {
        delete(format!("/sessions/{id}")).bearer(&mallory.access).send().await.expect(204);
    }
    stack.me(&alice.access).await.expect(200);
    stack.me(&mallory.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let path = format!("/sessions/{}", app.session_id);
    for (method, path) in [(reqwest::Method::GET, "/sessions"), (reqwest::Method::DELETE, path.as_str())] {
        let call = || stack.client().request(method.clone(), path);
        let answer = call().send().await.expect_problem(401, "token_missing");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        call().bearer(&app.refresh).send().await.expect_problem(401, "token_invalid");
    }
    // A page elsewhere ends nothing.
    let browser = stack.signed_in(&alice).await;
    let call = browser.request(reqwest::Method::DELETE, &path).origin(Some("https://evil.test"));
    call.send().await.expect_problem(403, "csrf_rejected");
    let call = browser.request(reqwest::Method::DELETE, &path).origin(None).fetch_site(Some("cross-site"));
    call.send().await.expect_problem(403, "csrf_rejected");
    stack.me(&app.access).await.expect(200);
    stack.clock.advance(900);
    stack.client().get("/sessions").bearer(&app.access).send().await.expect_problem(401, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_makes_room() {
    let stack = Stack::with(&[("MaxSessions", "3")]).await;
    let (alice, first) = stack.person_with_session("alice").await;
    let mut apps = vec![first];
    for _ in 0..4 {
        stack.clock.advance(1);
        apps.push(stack.app(&alice).await);
    }
    for gone in &apps[..2] {
        stack.me(&gone.access).await.expect_problem(401, "session_ended");
        stack.refresh(&gone.refresh, None).await.expect_problem(401, "session_ended");
    }
    let newest_first: Vec<&str> = apps[2..].iter().rev().map(|app| app.session_id.as_str()).collect();
    assert_eq!(ids(&sessions(&stack, &apps[4].access).await), newest_first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_makes_room_first() {
    let stack = Stack::with(&[("MaxSessions", "2")]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.clock.advance(1);
    stack.signed_in(&alice).await;
    stack.clock.advance(1800);
    // The browser's has ended, so that the older app's stays.
    let other = stack.app(&alice).await;
    stack.refresh(&app.refresh, None).await.expect(200);
    stack.me(&other.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_session_a_sign_in_elsewhere_ends_the_one_here() {
    let stack = Stack::with(&[("MaxSessions", "1")]).await;
    let alice = stack.person("alice").await;
    let here = stack.remembered(&alice).await;
    let there = stack.signed_in(&alice).await;
    here.get("/me").send().await.expect_problem(401, "session_ended");
    here.post("/refresh").send().await.expect_problem(401, "session_ended");
    there.get("/me").send().await.expect(200);
    // Signing in again on one device is no second session.
    there.post("/login").json(alice.login("browser")).send().await.expect(200);
    there.get("/me").send().await.expect(200);
    assert_eq!(listed(&there.get("/sessions").send().await.expect(200)).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sessions_than_a_transaction_takes_do_not_prevent_login() {
    let stack = Stack::with_database(&[("MaxSessions", "20")]).await;
    let (alice, _) = stack.person_with_session("alice").await;
    // As many sign-ins at the same moment would: none sees another's session.
    for _ in 0..150 {
        let session = AttributeValue::S(SessionId::random().to_string());
        tables::overwrite(&stack, "SESSIONS#", "sk", session).await;
    }
    stack.clock.advance(1);
    let first = stack.app(&alice).await;
    assert_eq!(sessions(&stack, &first.access).await.len(), 62);
    let second = stack.app(&alice).await;
    assert_eq!(sessions(&stack, &second.access).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_nothing() {
    let stack = Stack::with(&[("MaxSessions", "1")]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let wrong = Person { password: "not the password".to_owned(), ..alice };
    stack.client().post("/login").json(wrong.login("app")).send().await.expect_problem(401, "invalid_credentials");
    stack.me(&app.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_no_limit_is_refused() {
    for value in ["0", "51", "many"] {
        let mut options = crate::harness::options(&[("MaxSessions", value)]);
        options.port = 0;
        let error = local::LocalStack::start(options).await.expect_err(value);
        assert!(error.to_string().contains("MaxSessions"), "{error}");
    }
}

/// One more login than the limit at the same moment never leaves nobody signed in, and the next one sets it right.
#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_at_once_keep_to_the_limit_by_the_next_one() {
    let stack = std::sync::Arc::new(
        Stack::with(&[("MaxSessions", "2"), ("PasswordFailuresAtOnce", "0"), ("PasswordFailures", "0")]).await,
    );
    let alice = stack.person("alice").await;
    let logins = (0..6).map(|_| {
        let (stack, alice) = (std::sync::Arc::clone(&stack), alice.clone());
        async move { stack.app(&alice).await }
    });
    crate::harness::at_once(logins).await;
    let last = stack.app(&alice).await;
    let left = sessions(&stack, &last.access).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(ids(&left).contains(&last.session_id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_see_only_their_own_on_one_browser() {
    let stack = Stack::start().await;
    let (alice, _) = stack.person_with_session("alice").await;
    let (bob, _) = stack.person_with_session("bob").await;
    let browser: Client = stack.signed_in(&alice).await;
    browser.post("/login").json(bob.login("browser")).send().await.expect(200);
    let seen = listed(&browser.get("/sessions").send().await.expect(200));
    assert_eq!(seen.len(), 2, "bob's app and this browser: {seen:?}");
    let me = browser.get("/me").send().await.expect(200).json();
    assert_eq!(me["user"]["username"], "bob");
}
