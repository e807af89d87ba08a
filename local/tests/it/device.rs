//! Known devices: what a sign-in hands out, and who is told of a device that was not seen before.

use serde_json::json;

use crate::harness::{Person, Stack};

const SUBJECT: &str = "A new device signed in to Latchkey";
const DAY: u64 = 86_400;

/// How often somebody was told of a new device.
async fn notices(stack: &Stack, person: &Person) -> usize {
    stack.mails().await.iter().filter(|mail| mail.to == person.email && mail.subject == SUBJECT).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_sends_its_token_is_known() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let device = stack.verify(proof).await.expect(201).json()["device"].as_str().expect("a token").to_owned();
    let mut login = alice.login("app");
    login["device"] = json!(device);
    let answer = stack.client().post("/login").json(login.clone()).send().await.expect(200).json();
    assert_eq!(answer["device"], device, "the same goes on");
    assert_eq!(notices(&stack, &alice).await, 0);

    // Without it, with nonsense, or with somebody else's, it is a new one, and so is the token.
    let bob = Person::named("bob");
    let (signup_id, mail) = stack.sign_up(&bob).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let of_bob = stack.verify(proof).await.expect(201).json()["device"].clone();
    for (count, other) in [json!(null), json!("nonsense"), of_bob, json!("a".repeat(200))].into_iter().enumerate() {
        login["device"] = other;
        let answer = stack.client().post("/login").json(login.clone()).send().await.expect(200).json();
        assert!(answer["device"].is_string() && answer["device"] != device, "{answer}");
        assert_eq!(notices(&stack, &alice).await, count + 1);
    }
    let notice = stack.mail_to(&alice.email).await;
    assert!(notice.text.contains("User name: alice") && notice.text.contains("UTC"), "{}", notice.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_known_for_years_and_after_logouts() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    let answer = browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    let cookie = answer.cookie("device").expect("the cookie");
    assert_eq!(cookie.attributes, ["HttpOnly", "Max-Age=34560000", "Path=/", "SameSite=Lax"], "400 days");
    assert!(answer.json()["device"].is_null(), "no script sees it");
    assert_eq!(notices(&stack, &alice).await, 1);

    let answer = browser.post("/logout").send().await.expect(204);
    assert!(answer.cookie("device").is_none(), "a logout leaves it");
    stack.clock.advance(30 * DAY);
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    assert_eq!(notices(&stack, &alice).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_share_a_browser_are_all_known() {
    let stack = Stack::start().await;
    let browser = stack.browser();
    let mut people = Vec::new();
    for name in ["alice", "bob", "carol"] {
        people.push(stack.person(name).await);
    }
    for _ in 0..2 {
        for person in &people {
            browser.post("/login").json(person.login("browser")).send().await.expect(200);
        }
    }
    for person in &people {
        assert_eq!(notices(&stack, person).await, 1, "{}", person.username);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_tells_nobody_and_hands_out_nothing() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let wrong = json!({"username": "alice", "password": "not the password", "client": "app"});
    let answer = stack.client().post("/login").json(wrong).send().await.expect(401);
    assert!(answer.json()["device"].is_null() && answer.cookie("device").is_none());
    assert_eq!(notices(&stack, &alice).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_may_tell_nobody() {
    let stack = Stack::with(&[("NewDeviceNotice", "false")]).await;
    let alice = stack.person("alice").await;
    stack.app(&alice).await;
    assert_eq!(notices(&stack, &alice).await, 0);
}

/// The cookie opens nothing: it is no session, and a page elsewhere cannot use it.
#[tokio::test(flavor = "multi_thread")]
async fn it_opens_nothing_by_itself() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    browser.post("/logout").send().await.expect(204);
    browser.get("/me").send().await.expect_problem(401, "token_missing");
    browser.post("/refresh").send().await.expect_problem(401, "token_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_makes_all_devices_unknown() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let device =
        stack.client().post("/login").json(alice.login("app")).send().await.expect(200).json()["device"].clone();
    let before = notices(&stack, &alice).await;
    stack.client().post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let token = stack.mail_to(&alice.email).await.token();
    let reset = json!({"token": token, "password": "nine loud otters of mine"});
    stack.client().post("/password/reset").json(reset).send().await.expect(204);
    let again = json!({
        "username": "alice", "password": "nine loud otters of mine", "client": "app", "device": device,
    });
    let answer = stack.client().post("/login").json(again).send().await.expect(200);
    assert_ne!(answer.json()["device"], device);
    assert_eq!(notices(&stack, &alice).await, before + 1);
}
