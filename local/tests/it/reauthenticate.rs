//! `POST /reauthenticate`: the password again, and the session that follows.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::authorizer::with_ping;
use crate::harness::tables::{items, overwrite, text};
use crate::harness::{Answer, AppSession, Call, Client, Person, Stack, at_once, claims, generation, retry_key};

/// Somebody's device, of any kind.
pub(crate) struct Device {
    pub(crate) client: Client,
    /// What an app presents; browsers have cookies.
    bearer: Option<String>,
    pub(crate) kind: &'static str,
}

impl Device {
    pub(crate) const KINDS: [&str; 3] = ["app", "browser", "remembered"];

    /// A device that signs in for a session of this kind.
    pub(crate) async fn sign_in(stack: &Stack, person: &Person, kind: &'static str) -> Self {
        match kind {
            "app" => Self { client: stack.client(), bearer: Some(stack.app(person).await.access), kind },
            "browser" => Self { client: stack.signed_in(person).await, bearer: None, kind },
            _ => Self { client: stack.remembered(person).await, bearer: None, kind },
        }
    }

    /// The same, as it is now: a thief's copy, or what a page still knew when an answer was lost.
    pub(crate) fn copy(&self) -> Self {
        Self { client: self.client.copy(), bearer: self.bearer.clone(), kind: self.kind }
    }

    fn with_bearer(&self, call: Call) -> Call {
        match &self.bearer {
            Some(bearer) => call.bearer(bearer),
            None => call,
        }
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        self.with_bearer(self.client.post(path)).json(body)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.with_bearer(self.client.get(path))
    }

    /// Takes in a session response.
    pub(crate) fn store(&mut self, answer: &Answer) {
        if self.bearer.is_some() {
            self.bearer = Some(AppSession::of(answer).access);
        }
    }

    /// The access token.
    pub(crate) fn access(&self) -> String {
        self.bearer.clone().unwrap_or_else(|| self.client.cookie("access").expect("a cookie"))
    }

    /// Refreshes as its kind does; an app with the token of the session response that it has.
    pub(crate) async fn refresh(&self, last: &Answer) -> Answer {
        let body = match &self.bearer {
            Some(_) => json!({"refresh": last.json()["token"]["refresh"]}),
            None => json!({}),
        };
        self.client.post("/refresh").json(body).send().await
    }
}

fn password(person: &Person) -> Value {
    json!({"password": person.password})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_of_the_same_kind_and_end_takes_the_old_ones_place() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let alice = stack.person("alice").await;
    for kind in Device::KINDS {
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let before = device.get("/me").send().await.expect(200).json()["session"].clone();
        stack.clock.advance(700);
        let thief = device.copy();
        let answer = device.post("/reauthenticate", password(&alice)).send().await.expect(200);
        device.store(&answer);
        if kind != "app" {
            let body = answer.json();
            assert_eq!(body["token"].as_object().expect("a token").len(), 1, "no script sees a token: {body}");
            let (set, cleared): (&[&str], &[&str]) = match kind {
                "browser" => (&["access", "username"], &["refresh", "signup"]),
                _ => (&["access", "refresh", "username"], &["signup"]),
            };
            answer.expect_cookies(set, cleared);
        }

        let after = device.get("/me").send().await.expect(200).json()["session"].clone();
        assert_ne!(after["id"], before["id"], "{kind}");
        assert_eq!((&after["kind"], &after["expires_at"]), (&json!(kind), &before["expires_at"]));
        assert!(after["idle_expires_at"].as_str() > before["idle_expires_at"].as_str(), "{kind}: {after}");
        let claims = claims(&device.access());
        assert_eq!(claims["auth_time"], stack.clock.now().unix(), "{kind}");
        assert_eq!(claims["amr"], json!(["pwd"]), "{kind}");
        assert_eq!(generation(&device.access()), 1, "{kind}");
        // Fresh for whoever asks the authorizer.
        assert_eq!(device.get("/ping").send().await.expect(200).json()["authTime"], claims["auth_time"]);

        // A copy of what the device held is over everywhere.
        thief.get("/me").send().await.expect_problem(401, "session_ended");
        thief.get("/ping").send().await.expect(403);
        thief.post("/reauthenticate", password(&alice)).send().await.expect_problem(401, "session_ended");
        if kind != "app" {
            thief.client.post("/refresh").send().await.expect_problem(401, "session_ended").expect_no_cookies();
        }
        device.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_session_refreshes_and_the_old_one_does_not() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let first = stack.app(&alice).await;
    let call = stack.client().post("/reauthenticate").bearer(&first.access).json(password(&alice));
    let second = AppSession::of(&call.send().await.expect(200));
    for key in [None, Some(retry_key())] {
        stack.refresh(&first.refresh, key.as_deref()).await.expect_problem(401, "session_ended");
    }
    let third = AppSession::of(&stack.refresh(&second.refresh, Some(&retry_key())).await.expect(200));
    assert_eq!((third.session_id, generation(&third.access)), (second.session_id, 2));
    assert_eq!(claims(&third.access)["auth_time"], claims(&second.access)["auth_time"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_with_the_same_key_is_answered_as_the_first() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for kind in Device::KINDS {
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let before = device.copy();
        let key = retry_key();
        let first = device.post("/reauthenticate", password(&alice)).retry_key(&key).send().await.expect(200);
        device.store(&first);
        stack.clock.advance(599);
        let mut lost = before.copy();
        let again = lost.post("/reauthenticate", password(&alice)).retry_key(&key).send().await.expect(200);
        lost.store(&again);
        assert_eq!(again.json()["session"]["id"], first.json()["session"]["id"], "{kind}");
        // To have proved it then is not to have proved it now.
        assert_eq!(claims(&lost.access())["auth_time"], claims(&device.access())["auth_time"], "{kind}");
        lost.get("/me").send().await.expect(200);
        // Neither another key nor none opens anything, nor does the key elsewhere.
        let other = retry_key();
        let call = || before.copy().post("/reauthenticate", password(&alice));
        call().retry_key(&other).send().await.expect_problem(401, "session_ended");
        call().send().await.expect_problem(401, "session_ended");
        let body = json!({"password": alice.password, "new_password": alice.password});
        let elsewhere = before.copy().post("/password/change", body).retry_key(&key);
        elsewhere.send().await.expect_problem(401, "session_ended");
        // Once the new session was refreshed, somebody has its first answer.
        let refreshed = lost.refresh(&again).await.expect(200);
        let late = before.copy().post("/reauthenticate", password(&alice)).retry_key(&key);
        late.send().await.expect_problem(401, "session_ended").expect_no_cookies();
        lost.store(&refreshed);
        lost.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_lasts_ten_minutes_and_outlives_the_access_token() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for (age, since, code) in
        [(800, 599, None), (0, 599, None), (0, 600, Some("session_ended")), (800, 600, Some("token_expired"))]
    {
        let app = stack.app(&alice).await;
        stack.clock.advance(age);
        let key = retry_key();
        let call = || stack.client().post("/reauthenticate").bearer(&app.access).json(password(&alice));
        call().retry_key(&key).send().await.expect(200);
        stack.clock.advance(since);
        let again = call().retry_key(&key).send().await;
        match code {
            None => drop(again.expect(200)),
            Some(code) => drop(again.expect_problem(401, code)),
        }
    }
    // An expired token opens no session that lives.
    let app = stack.app(&alice).await;
    stack.clock.advance(900);
    for key in [retry_key(), retry_key()] {
        let call = stack.client().post("/reauthenticate").bearer(&app.access).json(password(&alice)).retry_key(&key);
        let answer = call.send().await.expect_problem(401, "token_expired");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    stack.refresh(&app.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_with_the_key_needs_the_password_too() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let key = retry_key();
    let call = |password: &str| {
        let call = stack.client().post("/reauthenticate").bearer(&app.access);
        call.json(json!({"password": password})).retry_key(&key)
    };
    let new = AppSession::of(&call(&alice.password).send().await.expect(200));
    for _ in 0..10 {
        call("not the password").send().await.expect_problem(403, "wrong_password");
    }
    // The mark is worn out, also for the right one, and the new session is none the worse for it.
    call("not the password").send().await.expect_problem(401, "session_ended");
    call(&alice.password).send().await.expect_problem(401, "session_ended");
    stack.me(&new.access).await.expect(200);
    let fresh = stack.client().post("/reauthenticate").bearer(&new.access).json(password(&alice));
    fresh.send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_twice_at_once_makes_one_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for _ in 0..3 {
        let app = stack.app(&alice).await;
        let key = retry_key();
        let call = || stack.client().post("/reauthenticate").bearer(&app.access).json(password(&alice)).retry_key(&key);
        let calls: Vec<Call> = (0..4).map(|_| call()).collect();
        let answers = at_once(calls.into_iter().map(Call::send)).await;
        let ids: Vec<String> =
            answers.into_iter().map(|answer| AppSession::of(&answer.expect(200)).session_id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let calls: Vec<Call> = (0..4).map(|_| call()).collect();
        assert!(at_once(calls.into_iter().map(Call::send)).await.iter().all(|answer| answer.status == 200));
    }
    // Without a key one of them goes on, as nobody can tell that the others are the same.
    let app = stack.app(&alice).await;
    let calls: Vec<Call> =
        (0..4).map(|_| stack.client().post("/reauthenticate").bearer(&app.access).json(password(&alice))).collect();
    let mut statuses: Vec<u16> =
        at_once(calls.into_iter().map(Call::send)).await.iter().map(|one| one.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_passwords_in_a_row_end_the_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bystander = stack.app(&alice).await;
    for kind in Device::KINDS {
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let wrong = ["not the password", "", &"x".repeat(200)];
        for round in 0..2 {
            for guess in 0..9 {
                let body = json!({"password": wrong[guess % 3]});
                let answer = device.post("/reauthenticate", body).send().await.expect_problem(403, "wrong_password");
                answer.expect_no_cookies();
                device.get("/me").send().await.expect(200);
            }
            // The right one ends the row.
            let answer = device.post("/reauthenticate", password(&alice)).send().await;
            assert_eq!(answer.status, 200, "{}, round {round}: {}", device.kind, answer.text());
            device.store(&answer);
        }
        for _ in 0..10 {
            let call = device.post("/reauthenticate", json!({"password": "not the password"}));
            call.send().await.expect_problem(403, "wrong_password");
        }
        device.get("/me").send().await.expect_problem(401, "session_ended");
        device.post("/reauthenticate", password(&alice)).send().await.expect_problem(401, "session_ended");
    }
    // That session alone: nobody is locked out.
    stack.me(&bystander.access).await.expect(200);
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_guesses_at_once_gets_past_ten() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let guess = |number: usize| {
        let body = json!({"password": format!("guess number {number}")});
        stack.client().post("/reauthenticate").bearer(&app.access).json(body).send()
    };
    let guesses: Vec<_> = (0..30).map(guess).collect();
    let answers = at_once(guesses).await;
    let compared = answers.iter().filter(|answer| answer.code() == "wrong_password").count();
    assert!((1..=10).contains(&compared), "{compared}");
    assert_eq!(answers.iter().filter(|answer| answer.code() == "session_ended").count(), 30 - compared);
    stack.me(&app.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_does_not_end_the_row() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let mut app = stack.app(&alice).await;
    for _ in 0..10 {
        let call = stack.client().post("/reauthenticate").bearer(&app.access).json(json!({"password": "not it"}));
        call.send().await.expect_problem(403, "wrong_password");
        let refreshed = stack.refresh(&app.refresh, None).await;
        if refreshed.status == 200 {
            app = AppSession::of(&refreshed);
        }
    }
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_no_sessions() {
    let stack = Stack::with_database(&[("MaxSessions", "2")]).await;
    let alice = stack.person("alice").await;
    // The session of the verification is the oldest, and makes room.
    stack.clock.advance(1);
    let (mut app, browser) = (stack.app(&alice).await, stack.signed_in(&alice).await);
    for _ in 0..5 {
        let call = stack.client().post("/reauthenticate").bearer(&app.access).json(password(&alice));
        app = AppSession::of(&call.retry_key(&retry_key()).send().await.expect(200));
    }
    let listed = browser.get("/sessions").send().await.expect(200).json()["sessions"].clone();
    assert_eq!(listed.as_array().expect("a list").len(), 2, "{listed}");
    let marks: Vec<_> = items(&stack, "UsersTable").await;
    let marks: Vec<_> = marks.iter().filter(|item| item.contains_key("replaced_by")).collect();
    assert_eq!(marks.len(), 5);
    for mark in marks {
        assert_eq!(mark["ttl"], mark["expires_at"]);
        assert!(
            mark.keys().all(|name| !["generation", "key_1", "kind", "device"].contains(&name.as_str())),
            "{mark:?}"
        );
    }
    // Neither does a sign-in take them for sessions, nor end more than one that is too many.
    stack.clock.advance(1);
    let other = stack.app(&alice).await;
    let listed =
        stack.client().get("/sessions").bearer(&other.access).send().await.expect(200).json()["sessions"].clone();
    assert_eq!(listed.as_array().expect("a list").len(), 2, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_that_came_along_ends_and_the_mark_stays() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (browser, other) = (stack.signed_in(&alice).await, stack.remembered(&alice).await);
    browser.put_cookie("refresh", &other.cookie("refresh").expect("a cookie"));
    let before = browser.copy();
    let key = retry_key();
    browser.post("/reauthenticate").json(password(&alice)).retry_key(&key).send().await.expect(200);
    other.get("/me").send().await.expect_problem(401, "session_ended");
    before.post("/reauthenticate").json(password(&alice)).retry_key(&key).send().await.expect(200);
    before.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_banned_or_logged_out_everywhere_is_not_signed_in() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let key = retry_key();
    let call = |access: &str| stack.client().post("/reauthenticate").bearer(access).json(password(&alice));
    let new = AppSession::of(&call(&app.access).retry_key(&key).send().await.expect(200));
    for (name, value) in
        [("status", AttributeValue::S("disabled".to_owned())), ("epoch", AttributeValue::N("9".to_owned()))]
    {
        overwrite(&stack, "USER#", name, value).await;
        call(&new.access).send().await.expect_problem(401, "session_ended");
        call(&app.access).retry_key(&key).send().await.expect_problem(401, "session_ended");
        overwrite(&stack, "USER#", "status", AttributeValue::S("enabled".to_owned())).await;
    }
    let again = stack.app(&alice).await;
    call(&again.access).send().await.expect(200);
    let user = items(&stack, "UsersTable").await.into_iter().find(|item| text(item, "pk").starts_with("USER#"));
    assert_eq!(
        user.expect("a user")["epoch"],
        AttributeValue::N("9".to_owned()),
        "nothing but /password/change raises it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_cookie_two_generations_behind_ends_the_session() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        let copied = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        // One behind is under way for a minute, as anywhere.
        let behind = browser.copy();
        browser.post("/refresh").send().await.expect(200);
        let answer = copied.post("/reauthenticate").json(password(&alice)).send().await;
        answer.expect_problem(401, "token_reused").expect_no_cookies();
        behind.get("/me").send().await.expect_problem(401, "session_ended");
        browser.get("/me").send().await.expect_problem(401, "session_ended");
    }
    let browser = stack.signed_in(&alice).await;
    let behind = browser.copy();
    browser.post("/refresh").send().await.expect(200);
    stack.clock.advance(61);
    behind.post("/reauthenticate").json(password(&alice)).send().await.expect_problem(401, "token_expired");
    browser.post("/reauthenticate").json(password(&alice)).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for (path, body) in [
        ("/reauthenticate", password(&alice)),
        ("/password/change", json!({"password": alice.password, "new_password": "nine grey geese fly"})),
    ] {
        let app = stack.app(&alice).await;
        let call = || stack.client().post(path).json(body.clone());
        let answer = call().send().await.expect_problem(401, "token_missing");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        call().bearer(&app.refresh).send().await.expect_problem(401, "token_invalid");
        call().bearer(&app.access).retry_key("short").send().await.expect_problem(400, "invalid_request");
        let mut unknown = body.clone();
        unknown["remember"] = json!(true);
        let call = stack.client().post(path).bearer(&app.access).json(unknown);
        call.send().await.expect_problem(400, "invalid_request");
        let call = stack.client().post(path).bearer(&app.access).json(json!({}));
        call.send().await.expect_problem(400, "invalid_request");
        let browser = stack.signed_in(&alice).await;
        let call = browser.post(path).json(body.clone()).origin(Some("https://evil.test"));
        call.send().await.expect_problem(403, "csrf_rejected");
        let call = browser.post(path).json(body.clone()).origin(None).fetch_site(Some("cross-site"));
        call.send().await.expect_problem(403, "csrf_rejected");
        browser.get("/me").send().await.expect(200);
        let everywhere = json!({"everywhere": true});
        stack.client().post("/logout").bearer(&app.access).json(everywhere).send().await.expect(204);
        let call = stack.client().post(path).bearer(&app.access).json(body.clone());
        call.send().await.expect_problem(401, "session_ended");
    }
}
