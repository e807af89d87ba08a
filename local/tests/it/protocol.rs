//! Section 5 of the contract, rule by rule, through HTTP: what becomes of a session at a refresh.

use std::sync::Arc;

use serde_json::json;

use crate::harness::{AppSession, Client, Person, SetCookie, Stack, at_once, claims, generation, retry_key};

/// An app that has refreshed `rotations` times: all its sessions in order, and the keys it used.
async fn rotated(stack: &Stack, person: &Person, rotations: usize) -> (Vec<AppSession>, Vec<String>) {
    let mut sessions = vec![stack.app(person).await];
    let mut keys = Vec::new();
    for _ in 0..rotations {
        let key = retry_key();
        let last = sessions.last().expect("a session");
        sessions.push(AppSession::of(&stack.refresh(&last.refresh, Some(&key)).await.expect(200)));
        keys.push(key);
    }
    (sessions, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_repeated_however_late() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (sessions, keys) = rotated(&stack, &alice, 1).await;
    for wait in [0, 11, 61, 29 * 24 * 3600] {
        stack.clock.advance(wait);
        let again = AppSession::of(&stack.refresh(&sessions[0].refresh, Some(&keys[0])).await.expect(200));
        assert_eq!(again.generation(), sessions[1].generation());
        assert_eq!(again.session_id, sessions[1].session_id);
    }
    // What the repetition brought is as good as the first answer.
    let again = AppSession::of(&stack.refresh(&sessions[0].refresh, Some(&keys[0])).await.expect(200));
    stack.refresh(&again.refresh, Some(&retry_key())).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_repeated_to_browsers_too() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        let before = browser.copy();
        let key = retry_key();
        browser.post("/refresh").retry_key(&key).send().await.expect(200);
        stack.clock.advance(61);
        before.post("/refresh").retry_key(&key).send().await.expect(200);
        let (one, other) = (browser.cookie("access").expect("one"), before.cookie("access").expect("one"));
        assert_eq!(generation(&one), generation(&other));
        browser.get("/me").send().await.expect(200);
        before.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_or_none_is_reuse_and_ends_the_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for key in [None, Some(retry_key())] {
        let (sessions, _) = rotated(&stack, &alice, 1).await;
        stack.refresh(&sessions[0].refresh, key.as_deref()).await.expect_problem(401, "token_reused");
        stack.me(&sessions[1].access).await.expect_problem(401, "session_ended");
        stack.refresh(&sessions[1].refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
        stack.refresh(&sessions[0].refresh, None).await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_no_grace() {
    let stack = Stack::start().await;
    let (_, first) = stack.person_with_session("alice").await;
    let second = AppSession::of(&stack.refresh(&first.refresh, None).await.expect(200));
    stack.refresh(&first.refresh, None).await.expect_problem(401, "token_reused").expect_no_cookies();
    stack.refresh(&second.refresh, None).await.expect_problem(401, "session_ended");
}

/// Both kinds of browser, signed in.
async fn browsers(stack: &Stack, person: &Person) -> [Client; 2] {
    [stack.signed_in(person).await, stack.remembered(person).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_tabs_both_go_on() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in browsers(&stack, &alice).await {
        let tab = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        stack.clock.advance(10);
        tab.post("/refresh").send().await.expect(200);
        let (one, other) = (browser.cookie("access").expect("one"), tab.cookie("access").expect("one"));
        assert_eq!(generation(&one), generation(&other));
        for tab in [&browser, &tab] {
            tab.get("/me").send().await.expect(200);
        }
        tab.post("/refresh").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_it_is_reuse() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in browsers(&stack, &alice).await {
        let thief = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        stack.clock.advance(11);
        let answer = thief.post("/refresh").send().await.expect_problem(401, "token_reused");
        let cleared: Vec<String> = answer.cookies().into_iter().map(|cookie| cookie.name).collect();
        for name in ["access", "refresh", "username"] {
            assert!(cleared.iter().any(|cleared| cleared == name), "{name} is cleared: {cleared:?}");
        }
        assert!(answer.cookies().iter().all(SetCookie::is_cleared));
        let answer = browser.post("/refresh").send().await.expect_problem(401, "session_ended");
        // A late answer must not wipe a newer login.
        answer.expect_no_cookies();
        browser.get("/me").send().await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_is_a_parameter() {
    let stack = Stack::with(&[("RefreshGrace", "0")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let tab = browser.copy();
    browser.post("/refresh").send().await.expect(200);
    stack.clock.advance(1);
    tab.post("/refresh").send().await.expect_problem(401, "token_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_is_for_those_without_keys_alone() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for (first, second) in [(Some(retry_key()), None), (None, Some(retry_key()))] {
        for browser in browsers(&stack, &alice).await {
            let tab = browser.copy();
            let answer = match &first {
                Some(key) => browser.post("/refresh").retry_key(key).send().await,
                None => browser.post("/refresh").send().await,
            };
            answer.expect(200);
            let answer = match &second {
                Some(key) => tab.post("/refresh").retry_key(key).send().await,
                None => tab.post("/refresh").send().await,
            };
            answer.expect_problem(401, "token_reused");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_reaches_one_generation_back() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in browsers(&stack, &alice).await {
        let old = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        browser.post("/refresh").send().await.expect(200);
        old.post("/refresh").send().await.expect_problem(401, "token_reused");
        browser.get("/me").send().await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_duplicate_gets_duplicate_request_for_a_minute() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (sessions, keys) = rotated(&stack, &alice, 4).await;
    // Generations 2 and 3 of 5, whose rotations are among the last three.
    for index in [1, 2] {
        stack.clock.advance(25);
        let answer = stack.refresh(&sessions[index].refresh, Some(&keys[index])).await;
        answer.expect_problem(409, "duplicate_request").expect_no_cookies();
        stack.me(&sessions[4].access).await.expect(200);
    }
    stack.clock.advance(10);
    stack.refresh(&sessions[2].refresh, Some(&keys[2])).await.expect_problem(409, "duplicate_request");
    stack.clock.advance(1);
    stack.refresh(&sessions[2].refresh, Some(&keys[2])).await.expect_problem(401, "token_reused");
    stack.me(&sessions[4].access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_key_back_is_forgotten() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (sessions, keys) = rotated(&stack, &alice, 4).await;
    stack.refresh(&sessions[0].refresh, Some(&keys[0])).await.expect_problem(401, "token_reused");
    stack.me(&sessions[4].access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_without_a_key_matches_nothing() {
    let stack = Stack::start().await;
    let (_, first) = stack.person_with_session("alice").await;
    let second = AppSession::of(&stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200));
    let third = AppSession::of(&stack.refresh(&second.refresh, None).await.expect(200));
    // Two back, without a key: an absent key is among the remembered ones, and still never equals.
    let fourth = AppSession::of(&stack.refresh(&third.refresh, Some(&retry_key())).await.expect(200));
    stack.refresh(&second.refresh, None).await.expect_problem(401, "token_reused");
    stack.me(&fourth.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_key_is_refused() {
    let stack = Stack::start().await;
    let (_, first) = stack.person_with_session("alice").await;
    let key = retry_key();
    let second = AppSession::of(&stack.refresh(&first.refresh, Some(&key)).await.expect(200));
    stack.refresh(&second.refresh, Some(&key)).await.expect_problem(400, "invalid_request").expect_no_cookies();
    stack.me(&second.access).await.expect(200);
    let third = AppSession::of(&stack.refresh(&second.refresh, Some(&retry_key())).await.expect(200));
    assert_eq!(third.generation(), second.generation() + 1);
    // An older one may return: it is not the client that never changes its key.
    stack.refresh(&third.refresh, Some(&key)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_idle() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (app, other) = (stack.app(&alice).await, stack.app(&alice).await);
    let remembered = stack.remembered(&alice).await;
    stack.clock.advance(2_592_000 - 1);
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    stack.clock.advance(1);
    stack.refresh(&other.refresh, None).await.expect_problem(401, "session_ended");
    let refresh = remembered.cookie("refresh");
    assert_eq!(refresh, None, "the browser has dropped the cookie by itself");
    stack.refresh(&app.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_absolutely() {
    let stack = Stack::with(&[("AppSessionLifetime", "3000"), ("AppIdleTimeout", "1000")]).await;
    let alice = stack.person("alice").await;
    let mut app = stack.app(&alice).await;
    let browser = stack.remembered(&alice).await;
    for _ in 0..3 {
        stack.clock.advance(900);
        let answer = stack.refresh(&app.refresh, None).await.expect(200);
        assert_eq!(answer.json()["session"]["expires_at"], "2100-01-01T00:50:00Z");
        app = AppSession::of(&answer);
        browser.post("/refresh").send().await.expect(200);
    }
    // 2700 s: neither the token nor the idle expiry passes the end.
    assert_eq!(claims(&app.access)["exp"].as_u64().expect("a time"), stack.clock.now().unix() + 300);
    stack.clock.advance(299);
    let answer = stack.refresh(&app.refresh, None).await.expect(200);
    assert_eq!(answer.json()["token"]["expires_in"], 1);
    assert_eq!(answer.json()["session"]["idle_expires_at"], "2100-01-01T00:50:00Z");
    let app = AppSession::of(&answer);
    let refresh = browser.cookie("refresh").expect("a cookie");
    stack.clock.advance(1);
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    assert_eq!(browser.cookie("refresh"), None);
    let late = stack.browser().post("/refresh").cookies(&format!("refresh={refresh}")).send().await;
    late.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_never_outlives_an_idle_session() {
    let stack = Stack::with(&[("AppAccessTokenLifetime", "900"), ("AppIdleTimeout", "600")]).await;
    let (_, session) = stack.person_with_session("alice").await;
    let claims = claims(&session.access);
    assert_eq!(claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time"), 600);
    stack.clock.advance(599);
    stack.me(&session.access).await.expect(200);
    stack.clock.advance(1);
    stack.me(&session.access).await.expect_problem(401, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_refreshes_with_one_key_are_one_rotation() {
    let stack = Arc::new(Stack::start().await);
    let (_, first) = stack.person_with_session("alice").await;
    let mut session = first;
    for _ in 0..5 {
        let key = retry_key();
        let answers = at_once((0..16).map(|_| {
            let (stack, refresh, key) = (Arc::clone(&stack), session.refresh.clone(), key.clone());
            async move { AppSession::of(&stack.refresh(&refresh, Some(&key)).await.expect(200)) }
        }))
        .await;
        assert!(answers.iter().all(|answer| answer.generation() == session.generation() + 1));
        session = answers.into_iter().next().expect("an answer");
        stack.me(&session.access).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_tabs_without_keys_are_one_rotation() {
    let stack = Arc::new(Stack::start().await);
    let alice = stack.person("alice").await;
    for browser in browsers(&stack, &alice).await {
        let before = generation(&browser.cookie("access").expect("a cookie"));
        let tabs: Vec<Client> = (0..16).map(|_| browser.copy()).collect();
        let generations = at_once(tabs.into_iter().map(|tab| async move {
            tab.post("/refresh").send().await.expect(200);
            generation(&tab.cookie("access").expect("a cookie"))
        }))
        .await;
        assert_eq!(generations, [before + 1; 16]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_of_an_app_with_different_keys_end_the_session() {
    let stack = Arc::new(Stack::start().await);
    let (_, session) = stack.person_with_session("alice").await;
    let answers = at_once((0..8).map(|_| {
        let (stack, refresh) = (Arc::clone(&stack), session.refresh.clone());
        async move { stack.refresh(&refresh, Some(&retry_key())).await }
    }))
    .await;
    let codes: Vec<String> = answers.iter().map(crate::harness::Answer::code).collect();
    // A refresh that decides first may lose its session to the reuse that follows before its tokens leave.
    assert!(codes.iter().filter(|code| code.is_empty()).count() <= 1, "{codes:?}");
    assert!(codes.iter().any(|code| code == "token_reused"), "{codes:?}");
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        stack.me(&AppSession::of(answer).access).await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_beats_a_refresh_at_the_same_time() {
    let stack = Arc::new(Stack::start().await);
    let alice = stack.person("alice").await;
    for everywhere in [false, true] {
        for _ in 0..6 {
            let session = stack.app(&alice).await;
            let logout = {
                let (stack, access) = (Arc::clone(&stack), session.access.clone());
                async move {
                    let body = json!({"everywhere": everywhere});
                    stack.client().post("/logout").bearer(&access).json(body).send().await
                }
            };
            let refresh = {
                let (stack, refresh) = (Arc::clone(&stack), session.refresh.clone());
                async move { stack.refresh(&refresh, Some(&retry_key())).await }
            };
            let (logout, refresh) = tokio::join!(tokio::spawn(logout), tokio::spawn(refresh));
            let (logout, refresh) = (logout.expect("an answer").expect(204), refresh.expect("an answer"));
            assert!(matches!(refresh.status, 200 | 401), "{}", refresh.text());
            drop(logout);
            // Whichever came first: nothing that was handed out lives on.
            if refresh.status == 200 {
                let revived = AppSession::of(&refresh);
                stack.me(&revived.access).await.expect_problem(401, "session_ended");
                stack.refresh(&revived.refresh, None).await.expect_problem(401, "session_ended");
            }
            stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_everywhere_beats_refreshes_at_the_same_time() {
    let stack = Arc::new(Stack::start().await);
    let alice = stack.person("alice").await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(stack.app(&alice).await);
    }
    let refreshes = sessions.iter().cloned().map(|session| {
        let stack = Arc::clone(&stack);
        async move { stack.refresh(&session.refresh, Some(&retry_key())).await }
    });
    let logout = {
        let (stack, access) = (Arc::clone(&stack), sessions[0].access.clone());
        async move { stack.client().post("/logout").bearer(&access).json(json!({"everywhere": true})).send().await }
    };
    let (answers, logout) = tokio::join!(at_once(refreshes), tokio::spawn(logout));
    logout.expect("an answer").expect(204);
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        let session = AppSession::of(answer);
        stack.me(&session.access).await.expect_problem(401, "session_ended");
        stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_credential_refreshes_a_session_of_another() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let browser = stack.signed_in(&alice).await;
    let remembered = stack.remembered(&alice).await;
    let browser_access = browser.cookie("access").expect("a cookie");
    let remembered_access = remembered.cookie("access").expect("a cookie");
    let remembered_refresh = remembered.cookie("refresh").expect("a cookie");

    // Access tokens of the other kinds, in the access cookie.
    for access in [&app.access, &remembered_access] {
        let answer = stack.browser().post("/refresh").cookies(&format!("access={access}")).send().await;
        assert!(matches!(answer.code().as_str(), "token_invalid" | "token_missing"), "{}", answer.text());
    }
    // Any access token where a refresh token belongs.
    for access in [&app.access, &remembered_access, &browser_access] {
        stack.refresh(access, None).await.expect_problem(401, "token_invalid");
        let answer = stack.browser().post("/refresh").cookies(&format!("refresh={access}")).send().await;
        answer.expect_problem(401, "token_invalid");
    }
    // The app's refresh token in a cookie, the browser's in a body: of another kind.
    let answer = stack.browser().post("/refresh").cookies(&format!("refresh={}", app.refresh)).send().await;
    answer.expect_problem(401, "token_invalid");
    stack.refresh(&remembered_refresh, None).await.expect_problem(401, "token_invalid");
    // A refresh token in the access cookie, and each token as a bearer.
    for refresh in [&app.refresh, &remembered_refresh] {
        let answer = stack.browser().post("/refresh").cookies(&format!("access={refresh}")).send().await;
        answer.expect_problem(401, "token_invalid");
        stack.me(refresh).await.expect_problem(401, "token_invalid");
        let answer = stack.browser().get("/me").cookies(&format!("access={refresh}")).send().await;
        answer.expect_problem(401, "token_invalid");
    }
    // None of it hurt anybody.
    stack.refresh(&app.refresh, None).await.expect(200);
    browser.post("/refresh").send().await.expect(200);
    remembered.post("/refresh").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_as_a_bearer_does_not_refresh_an_app() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let answer = stack.client().post("/refresh").bearer(&app.access).send().await.expect(401);
    assert!(matches!(answer.code().as_str(), "token_missing" | "token_invalid"), "{}", answer.text());
    stack.refresh(&app.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn thief_and_owner_with_keys_are_both_out_once_both_have_refreshed() {
    let stack = Stack::start().await;
    let (_, owner) = stack.person_with_session("alice").await;
    let thief = owner.clone();
    let owner = AppSession::of(&stack.refresh(&owner.refresh, Some(&retry_key())).await.expect(200));
    stack.refresh(&thief.refresh, Some(&retry_key())).await.expect_problem(401, "token_reused");
    stack.refresh(&owner.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generation_before_reads_for_a_minute_and_is_never_renewed() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        let old = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        stack.clock.advance(60);
        old.get("/me").send().await.expect(200).expect_no_cookies();
        stack.clock.advance(1);
        old.get("/me").send().await.expect_problem(401, "token_expired").expect_no_cookies();
        browser.get("/me").send().await.expect(200);
    }
}

/// A cookie that was copied does not live beside its owner's: two generations behind it ends the session, wherever it is
/// shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_cookie_two_generations_behind_ends_the_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for path in ["/me", "/sessions", "/refresh"] {
        let browser = stack.signed_in(&alice).await;
        let copied = browser.copy();
        for _ in 0..2 {
            browser.post("/refresh").send().await.expect(200);
        }
        let answer = if path == "/refresh" {
            // Past its end it refreshes nothing, and tells all the same.
            let copied = format!("access={}", copied.cookie("access").expect("a cookie"));
            stack.clock.advance(1700);
            browser.get("/me").send().await.expect(200);
            stack.clock.advance(101);
            stack.browser().post(path).cookies(&copied).send().await
        } else {
            copied.get(path).send().await
        };
        answer.expect_problem(401, "token_reused");
        browser.get("/me").send().await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_may_have_been_under_way_ends_nothing() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let slow = browser.copy();
    for _ in 0..2 {
        browser.post("/refresh").send().await.expect(200);
    }
    let upload = json!({"file": "a".repeat(20_000)});
    let answer = slow.request(reqwest::Method::DELETE, "/sessions/AAAAAAAAAAAAAAAAAAAAAA").json(upload).send().await;
    answer.expect_problem(401, "token_expired");
    browser.get("/me").send().await.expect(200);
}

/// Queues of apps keep requests: an older access token is told of in the log, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_s_older_access_token_goes_on() {
    let stack = Stack::start().await;
    let (_, first) = stack.person_with_session("alice").await;
    let second = AppSession::of(&stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200));
    let third = AppSession::of(&stack.refresh(&second.refresh, Some(&retry_key())).await.expect(200));
    stack.clock.advance(61);
    for session in [&first, &second, &third] {
        stack.me(&session.access).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_no_bearer() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let browser = stack.remembered(&alice).await;
    for token in [&app.refresh, &browser.cookie("refresh").expect("a cookie")] {
        for path in ["/refresh", "/logout"] {
            let answer = stack.client().post(path).bearer(token).send().await;
            answer.expect_problem(401, "token_invalid").expect_no_cookies();
        }
    }
    stack.refresh(&app.refresh, None).await.expect(200);
    browser.post("/refresh").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_s_refresh_in_a_browser_leaves_no_other_session_there() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    let app = stack.app(&alice).await;
    let browser = stack.remembered(&bob).await;
    let of_bob = browser.copy();
    let answer = browser.post("/refresh").json(json!({"refresh": app.refresh})).send().await.expect(200);
    let answer = answer.expect_cookies(&[], &["access", "refresh", "signup", "username"]);
    stack.me(&AppSession::of(&answer).access).await.expect(200);
    of_bob.post("/refresh").send().await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_does_not_carry_a_browser_past_its_session() {
    let stack = Stack::with(&[("BrowserIdleTimeout", "1000"), ("BrowserSessionLifetime", "2500")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    for (wait, left) in [(900, 1000), (900, 700), (699, 1)] {
        stack.clock.advance(wait);
        let answer = browser.post("/refresh").send().await.expect(200);
        assert_eq!(answer.json()["token"]["expires_in"], left);
        assert_eq!(answer.json()["session"]["expires_at"], "2100-01-01T00:41:40Z");
        assert_eq!(answer.cookie("access").expect("a cookie").max_age(), Some(left));
    }
    let access = browser.cookie("access").expect("a cookie");
    stack.clock.advance(1);
    let late = stack.browser().post("/refresh").cookies(&format!("access={access}")).send().await;
    late.expect_problem(401, "token_expired");
}
