//! `POST /password/change`: a new password, a new session, and the end of all others.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::harness::tables::{find, text};
use crate::harness::{AppSession, Call, Person, Stack, at_once, claims, retry_key};
use crate::reauthenticate::Device;

const NEW: &str = "nine grey geese fly south";

fn change(person: &Person) -> Value {
    json!({"password": person.password, "new_password": NEW})
}

/// Who they are once their password is the new one.
fn changed(person: &Person) -> Person {
    Person { password: NEW.to_owned(), ..person.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_end_and_a_new_one_begins() {
    for kind in Device::KINDS {
        let stack = Stack::with_database(&[]).await;
        let (alice, first) = stack.person_with_session("alice").await;
        let (_, bob) = stack.person_with_session("bob").await;
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let mut others = Vec::new();
        for kind in Device::KINDS {
            others.push(Device::sign_in(&stack, &alice, kind).await);
        }
        let before = device.get("/me").send().await.expect(200).json()["session"].clone();
        stack.clock.advance(400);
        let thief = device.copy();
        let answer = device.post("/password/change", change(&alice)).send().await.expect(200);
        device.store(&answer);

        let after = device.get("/me").send().await.expect(200).json()["session"].clone();
        assert_ne!(after["id"], before["id"], "{kind}");
        assert_eq!((&after["kind"], &after["expires_at"]), (&json!(kind), &before["expires_at"]));
        let token = claims(&device.access());
        assert_eq!((&token["auth_time"], &token["amr"]), (&json!(stack.clock.now().unix()), &json!(["pwd"])));
        for other in others.iter().chain([&thief]) {
            other.get("/me").send().await.expect_problem(401, "session_ended");
            if other.kind != "app" {
                other.client.post("/refresh").send().await.expect_problem(401, "session_ended");
            }
        }
        stack.refresh(&first.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
        stack.me(&bob.access).await.expect(200);
        let refreshed = device.refresh(&answer).await.expect(200);
        device.store(&refreshed);
        device.get("/me").send().await.expect(200);
        let listed = device.get("/sessions").send().await.expect(200).json()["sessions"].clone();
        assert_eq!(listed.as_array().expect("a list").len(), 1, "{kind}: {listed}");

        let old = stack.client().post("/login").json(alice.login("app")).send().await;
        old.expect_problem(401, "invalid_credentials");
        stack.app(&changed(&alice)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_with_the_same_key_is_answered_as_the_first() {
    let stack = Stack::with_database(&[]).await;
    let mut alice = stack.person("alice").await;
    for kind in Device::KINDS {
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let before = device.copy();
        let key = retry_key();
        let body = json!({"password": alice.password, "new_password": format!("{NEW} by {kind}")});
        let first = device.post("/password/change", body.clone()).retry_key(&key).send().await.expect(200);
        device.store(&first);
        let epoch = find(&stack, "USER#").await["epoch"].clone();
        stack.clock.advance(599);
        for _ in 0..2 {
            let mut lost = before.copy();
            let again = lost.post("/password/change", body.clone()).retry_key(&key).send().await.expect(200);
            lost.store(&again);
            assert_eq!(again.json()["session"]["id"], first.json()["session"]["id"], "{kind}");
            lost.get("/me").send().await.expect(200);
        }
        assert_eq!(find(&stack, "USER#").await["epoch"], epoch, "changed once");
        // Whoever copied the old tokens and the key knows no password.
        for wrong in ["not the password", alice.password.as_str()] {
            let body = json!({"password": alice.password, "new_password": wrong});
            let thief = before.copy().post("/password/change", body).retry_key(&key);
            thief.send().await.expect_problem(403, "wrong_password");
        }
        let call = before.copy().post("/password/change", body.clone());
        call.retry_key(&retry_key()).send().await.expect_problem(401, "session_ended");
        before.copy().post("/password/change", body.clone()).send().await.expect_problem(401, "session_ended");
        device.refresh(&first).await.expect(200);
        let late = before.copy().post("/password/change", body.clone()).retry_key(&key);
        late.send().await.expect_problem(401, "session_ended");
        alice.password = body["new_password"].as_str().expect("a password").to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_password_changes_nothing_and_is_no_guess() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let call = |password: &str, new: &str| {
        let body = json!({"password": password, "new_password": new});
        stack.client().post("/password/change").bearer(&app.access).json(body).send()
    };
    for new in
        ["short", "password1", "alice2026!", "alice@example.test", "Latchkey1!", &"ab".repeat(65), "Summer2026", ""]
    {
        call(&alice.password, new).await.expect_problem(422, "weak_password");
    }
    for _ in 0..9 {
        // Whoever does not know the present one learns nothing of the new one.
        call("not the password", "short").await.expect_problem(403, "wrong_password");
    }
    for _ in 0..12 {
        call(&alice.password, "short").await.expect_problem(422, "weak_password");
    }
    stack.me(&app.access).await.expect(200);
    stack.app(&alice).await;
    call(&alice.password, NEW).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_count_together_wherever_they_are_made() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    for _ in 0..5 {
        for (path, body) in [
            ("/reauthenticate", json!({"password": "not the password"})),
            ("/password/change", json!({"password": "not the password", "new_password": NEW})),
        ] {
            let call = stack.client().post(path).bearer(&app.access).json(body);
            call.send().await.expect_problem(403, "wrong_password");
        }
    }
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_happens() {
    let stack = Stack::start().await;
    for round in 0..3 {
        let alice = stack.person(&format!("alice{round}")).await;
        let mut calls = Vec::new();
        for name in ["one", "other"] {
            let app = stack.app(&alice).await;
            let body = json!({"password": alice.password, "new_password": format!("{NEW} {name}")});
            calls.push(stack.client().post("/password/change").bearer(&app.access).json(body));
        }
        let answers = at_once(calls.into_iter().map(Call::send)).await;
        let mut good = 0;
        for answer in answers {
            if answer.status == 200 {
                good += 1;
                stack.me(&AppSession::of(&answer).access).await.expect(200);
            } else {
                answer.expect_problem(401, "session_ended");
            }
        }
        assert_eq!(good, 1);
        let mut accepted = 0;
        for name in ["one", "other"] {
            let person = Person { password: format!("{NEW} {name}"), ..alice.clone() };
            let answer = stack.client().post("/login").json(person.login("app")).send().await;
            accepted += usize::from(answer.status == 200);
        }
        assert_eq!(accepted, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_change_twice_at_once_is_one() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let key = retry_key();
    let call = || stack.client().post("/password/change").bearer(&app.access).json(change(&alice)).retry_key(&key);
    let calls: Vec<Call> = (0..4).map(|_| call()).collect();
    let answers = at_once(calls.into_iter().map(Call::send)).await;
    let ids: Vec<String> = answers.into_iter().map(|answer| AppSession::of(&answer.expect(200)).session_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(find(&stack, "USER#").await["epoch"], AttributeValue::N("2".to_owned()));
    assert_eq!(AppSession::of(&call().send().await.expect(200)).session_id, ids[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_of_old_parameters_is_replaced_too() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    stack.outdate_password(&alice).await;
    let call = stack.client().post("/password/change").bearer(&app.access).json(change(&alice));
    call.send().await.expect(200);
    let user = find(&stack, "USER#").await;
    assert!(text(&user, "password_hash").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{user:?}");
    assert!(!format!("{user:?}").contains(NEW));
    stack.app(&changed(&alice)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_before_opens_nothing_after_a_change() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let key = retry_key();
    let reauthenticate = |password: &str| {
        let call = stack.client().post("/reauthenticate").bearer(&app.access).retry_key(&key);
        call.json(json!({"password": password})).send()
    };
    let second = AppSession::of(&reauthenticate(&alice.password).await.expect(200));
    let call = stack.client().post("/password/change").bearer(&second.access).json(change(&alice));
    let third = AppSession::of(&call.send().await.expect(200));
    // Whatever password comes with it.
    reauthenticate(&alice.password).await.expect_problem(403, "wrong_password");
    reauthenticate(NEW).await.expect_problem(401, "session_ended");
    stack.me(&third.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_and_other_systems_are_told_once() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    let before = stack.mails().await.len();
    let events = async || stack.client().get("/_local/events.json").send().await.expect(200).json();
    let events_before = events().await.as_array().expect("events").len();
    let key = retry_key();
    let call = |password: &str, new: &str| {
        let body = json!({"password": password, "new_password": new});
        let call = stack.client().post("/password/change").header("user-agent", "ExampleApp/1.0 (iPhone; iOS 20.1)");
        call.bearer(&app.access).json(body).retry_key(&key).send()
    };
    call("not the password", NEW).await.expect(403);
    call(&alice.password, "short").await.expect(422);
    assert_eq!(stack.mails().await.len(), before, "nothing happened");
    for _ in 0..2 {
        call(&alice.password, NEW).await.expect(200);
    }
    let mails = stack.mails().await;
    assert_eq!(mails.len(), before + 1);
    let mail = &mails[before];
    assert_eq!(mail.to, alice.email);
    assert!(mail.subject.contains("password") && mail.text.contains("alice"), "{}: {}", mail.subject, mail.text);
    assert!(mail.text.contains("iPhone"), "{}", mail.text);
    assert!(!mail.text.contains(NEW) && !mail.html.contains(NEW));
    let events = events().await;
    let new = &events.as_array().expect("events")[events_before..];
    assert_eq!(new.len(), 1, "{events}");
    assert_eq!((&new[0]["source"], &new[0]["detail-type"]), (&json!("latchkey"), &json!("password.changed")));
    assert_eq!(new[0]["detail"]["user_id"], app.user_id.as_str());
    assert!(!new[0].to_string().contains("alice"), "ids and times alone: {}", new[0]);
}
