//! `POST /logout`.

use serde_json::json;

use crate::harness::{AppSession, SetCookie, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_logs_out_with_its_refresh_token() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let body = json!({"refresh": session.refresh});
    let answer = stack.client().post("/logout").json(body.clone()).send().await.expect(204).expect_no_cookies();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.body, b"");
    stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
    stack.me(&session.access).await.expect_problem(401, "session_ended");
    stack.client().post("/logout").json(body).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_logs_out_with_its_access_token_even_an_expired_one() {
    let stack = Stack::start().await;
    let (alice, session) = stack.person_with_session("alice").await;
    stack.client().post("/logout").bearer(&session.access).send().await.expect(204);
    stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");

    let session = stack.app(&alice).await;
    stack.clock.advance(100_000);
    stack.client().post("/logout").bearer(&session.access).send().await.expect(204);
    stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_out_and_loses_its_cookies() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for remembered in [false, true] {
        let browser = if remembered { stack.remembered(&alice).await } else { stack.signed_in(&alice).await };
        let thief = browser.copy();
        let answer = browser.post("/logout").send().await.expect(204);
        assert!(answer.cookies().iter().all(SetCookie::is_cleared));
        assert_eq!(browser.cookie_names(), [] as [&str; 0]);
        thief.get("/me").send().await.expect_problem(401, "session_ended");
        thief.post("/refresh").send().await.expect_problem(401, "session_ended");
        // Again, with the old cookies and with none.
        thief.post("/logout").send().await.expect(204);
        browser.post("/logout").send().await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser_logs_out_with_the_refresh_cookie_alone() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.remembered(&alice).await;
    let thief = browser.copy();
    browser.drop_cookie("access");
    browser.post("/logout").send().await.expect(204);
    thief.get("/me").send().await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_generation_logs_out_too() {
    let stack = Stack::start().await;
    let (_, old) = stack.person_with_session("alice").await;
    let new = AppSession::of(&stack.refresh(&old.refresh, None).await.expect(200));
    stack.client().post("/logout").json(json!({"refresh": old.refresh})).send().await.expect(204);
    stack.me(&new.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn everywhere_means_every_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    for with in ["refresh", "bearer", "browser", "remembered"] {
        let app = stack.app(&alice).await;
        let other = stack.app(&alice).await;
        let browser = stack.signed_in(&alice).await;
        let remembered = stack.remembered(&alice).await;
        let stranger = stack.app(&bob).await;
        let everywhere = json!({"everywhere": true});
        let answer = match with {
            "refresh" => {
                let body = json!({"everywhere": true, "refresh": app.refresh});
                stack.client().post("/logout").json(body).send().await
            }
            "bearer" => stack.client().post("/logout").bearer(&app.access).json(everywhere).send().await,
            "browser" => browser.post("/logout").json(everywhere).send().await,
            _ => remembered.post("/logout").json(everywhere).send().await,
        };
        assert_eq!(answer.status, 204, "{with}: {}", answer.text());
        for session in [&app, &other] {
            stack.me(&session.access).await.expect_problem(401, "session_ended");
            stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
        }
        if with != "browser" {
            browser.get("/me").send().await.expect_problem(401, "session_ended");
            browser.post("/refresh").send().await.expect_problem(401, "session_ended");
        }
        if with != "remembered" {
            remembered.get("/me").send().await.expect_problem(401, "session_ended");
            remembered.post("/refresh").send().await.expect_problem(401, "session_ended");
        }
        stack.me(&stranger.access).await.expect(200);
        // And the person can sign in again.
        let again = stack.app(&alice).await;
        stack.me(&again.access).await.expect(200);
        stack.refresh(&again.refresh, None).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everywhere_again() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let everywhere = || stack.client().post("/logout").bearer(&app.access).json(json!({"everywhere": true}));
    everywhere().send().await.expect(204);
    everywhere().send().await.expect(204);
    // But a dead session ends no newer one.
    let newer = stack.app(&alice).await;
    everywhere().send().await;
    stack.me(&newer.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn everywhere_is_not_for_whoever_found_an_old_refresh_token() {
    let stack = Stack::start().await;
    let (alice, old) = stack.person_with_session("alice").await;
    let new = AppSession::of(&stack.refresh(&old.refresh, None).await.expect(200));
    let other = stack.app(&alice).await;
    let body = json!({"refresh": old.refresh, "everywhere": true});
    stack.client().post("/logout").json(body).send().await.expect_problem(401, "session_ended");
    stack.me(&other.access).await.expect(200);
    let body = json!({"refresh": new.refresh, "everywhere": true});
    stack.client().post("/logout").json(body).send().await.expect(204);
    stack.me(&other.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn everywhere_needs_a_live_credential() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let other = stack.app(&alice).await;
    stack.clock.advance(900);
    let expired = stack.client().post("/logout").bearer(&app.access).json(json!({"everywhere": true})).send().await;
    expired.expect_problem(401, "token_expired");
    // Nor may a session that has ended end the others.
    stack.client().post("/logout").json(json!({"refresh": app.refresh})).send().await.expect(204);
    let body = json!({"everywhere": true, "refresh": app.refresh});
    let ended = stack.client().post("/logout").json(body).send().await;
    assert!(matches!(ended.status, 204 | 401), "{}", ended.text());
    stack.refresh(&other.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_gets_an_error_and_invalid_cookies_are_cleared() {
    let stack = Stack::start().await;
    let (alice, session) = stack.person_with_session("alice").await;
    let forged = format!("{}A", session.access);
    stack.client().post("/logout").bearer(&forged).send().await.expect_problem(401, "token_invalid");
    stack
        .client()
        .post("/logout")
        .json(json!({"refresh": "rt_nothing"}))
        .send()
        .await
        .expect_problem(401, "token_invalid");
    stack
        .client()
        .post("/logout")
        .json(json!({"refresh": session.access}))
        .send()
        .await
        .expect_problem(401, "token_invalid");
    stack.client().post("/logout").send().await.expect(204);
    stack.client().post("/logout").json(json!({})).send().await.expect(204);
    stack.me(&session.access).await.expect(200);

    let browser = stack.signed_in(&alice).await;
    browser.put_cookie("access", "nonsense");
    browser.post("/logout").send().await.expect(204);
    assert_eq!(browser.cookie("access"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_cookie_does_not_keep_the_good_one_alive() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.remembered(&alice).await;
    let thief = browser.copy();
    browser.put_cookie("access", "nonsense");
    browser.post("/logout").send().await.expect(204);
    thief.get("/me").send().await.expect_problem(401, "session_ended");
}
