//! `GET /password/reset` and `POST /password/reset`: whoever reads the account's mail sets a new password, and nobody else.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::tables::{find, overwrite, text};
use crate::harness::{Answer, Client, Mail, Person, Stack, at_once};

const NEW: &str = "nine loud otters";

/// A code that is not `code`.
pub(crate) fn wrong(code: &str, by: u32) -> String {
    let number: u32 = code.parse().expect("digits");
    format!("{:08}", (number + by) % 100_000_000)
}

/// What an app gets that forgot a password, and the mail.
pub(crate) async fn forgotten(stack: &Stack, person: &Person) -> (String, Mail) {
    let body = json!({"email": person.email, "client": "app"});
    let answer = stack.client().post("/password/forgot").json(body).send().await.expect(202);
    let reset_id = answer.json()["reset_id"].as_str().expect("a reset_id").to_owned();
    (reset_id, stack.secrets_to(&person.email).await)
}

async fn reset(stack: &Stack, body: Value) -> Answer {
    stack.client().post("/password/reset").json(body).send().await
}

fn by_link(token: &str, password: &str) -> Value {
    json!({"token": token, "password": password})
}

fn by_code(reset_id: &str, code: &str, password: &str) -> Value {
    json!({"reset_id": reset_id, "code": code, "password": password})
}

/// Asserts that a person signs in with this password and with no other.
async fn signs_in_with(stack: &Stack, person: &Person, password: &str) {
    for candidate in [person.password.as_str(), NEW, "eleven calm badgers"] {
        let body = json!({"email": person.email, "password": candidate, "client": "app"});
        let status = if candidate == password { 200 } else { 401 };
        stack.client().post("/login").json(body).send().await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_sets_a_new_password_on_any_device_and_ends_every_session() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (bob, bobs) = stack.person_with_session("bob").await;
    let browser = stack.remembered(&alice).await;
    let (_, mail) = forgotten(&stack, &alice).await;
    let answer = stack.browser().post("/password/reset").json(by_link(&mail.token(), NEW)).send().await.expect(204);
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("", None));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // Nobody is signed in by it, but whoever reads the account's mail is no stranger.
    assert!(answer.cookie("device").is_some());
    answer.expect_cookies(&[], &[]);
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    browser.post("/refresh").send().await.expect_problem(401, "session_ended");
    signs_in_with(&stack, &alice, NEW).await;
    stack.me(&bobs.access).await.expect(200);
    stack.app(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_sets_a_new_password_on_the_device_that_asked() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    // As people type it.
    let typed = format!(" {} {}\n", &mail.code()[..4], &mail.code()[4..]);
    reset(&stack, by_code(&reset_id, &typed, NEW)).await.expect(204).expect_cookies(&[], &[]);
    signs_in_with(&stack, &alice, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_stands_for_the_reset_id_and_goes_with_it() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    let browser = stack.browser();
    browser.post("/password/forgot").json(json!({"username": "alice"})).send().await.expect(202);
    let code = stack.secrets_to(&alice.email).await.code();
    // A reset of somebody else's leaves it.
    let (_, bobs) = forgotten(&stack, &bob).await;
    let other = browser.post("/password/reset").json(by_link(&bobs.token(), "eleven calm badgers"));
    other.send().await.expect(204).expect_cookies(&[], &[]);
    let answer = browser.post("/password/reset").json(json!({"code": code, "password": NEW})).send().await.expect(204);
    answer.expect_cookies(&[], &["reset"]);
    assert_eq!(browser.cookie_names(), Vec::<String>::new());
    signs_in_with(&stack, &alice, NEW).await;
    signs_in_with(&stack, &bob, "eleven calm badgers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_nothing_on_another_device() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let (others, others_mail) = forgotten(&stack, &bob).await;
    reset(&stack, json!({"code": mail.code(), "password": NEW})).await.expect_problem(400, "invalid_request");
    let browser = stack.browser();
    browser.post("/password/forgot").json(json!({"email": bob.email})).send().await.expect(202);
    let call = browser.post("/password/reset").json(json!({"code": mail.code(), "password": NEW}));
    call.send().await.expect_problem(400, "invalid_verification");
    for body in [
        by_code(&others, &mail.code(), NEW),
        by_code(&reset_id, &others_mail.code(), NEW),
        // A secret in the other's place.
        by_code(&mail.token(), &mail.code(), NEW),
        by_link(&reset_id, NEW),
        by_code("nothing", &mail.code(), NEW),
        by_code(&reset_id, "", NEW),
    ] {
        reset(&stack, body).await.expect_problem(400, "invalid_verification");
    }
    signs_in_with(&stack, &alice, &alice.password).await;
    reset(&stack, by_code(&reset_id, &mail.code(), NEW)).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_proof_or_a_password_is_none() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let (token, code) = (mail.token(), mail.code());
    for body in [
        json!({}),
        json!({"password": NEW}),
        json!({"reset_id": reset_id, "password": NEW}),
        json!({"token": token}),
        json!({"token": token, "password": null}),
        json!({"token": token, "password": ["a"]}),
        json!({"token": token, "code": code, "reset_id": reset_id, "password": NEW}),
        json!({"token": token, "password": NEW, "client": "toaster"}),
        json!({"token": token, "password": NEW, "username": "alice"}),
    ] {
        let answer = reset(&stack, body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{body}: {}", answer.text());
    }
    signs_in_with(&stack, &alice, &alice.password).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_sign_up_reset_nothing_and_those_of_a_reset_verify_nothing() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (signup_id, signup) = stack.sign_up(&Person::named("bob")).await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    for body in [by_link(&signup.token(), NEW), by_code(&signup_id, &signup.code(), NEW)] {
        reset(&stack, body).await.expect_problem(400, "invalid_verification");
    }
    for body in [
        json!({"signup_id": reset_id, "code": mail.code()}),
        json!({"signup_id": reset_id, "token": mail.token()}),
        json!({"token": mail.token(), "password": alice.password}),
    ] {
        stack.verify(body).await.expect_problem(400, "invalid_verification");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_may_be_guessed_five_times_and_the_link_lives_on() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    for by in 1..=4 {
        let answer = reset(&stack, by_code(&reset_id, &wrong(&mail.code(), by), NEW)).await;
        answer.expect_problem(400, "invalid_verification");
    }
    // A right guess is none: neither a weak password nor a repetition uses it up.
    reset(&stack, by_code(&reset_id, &mail.code(), &alice.email)).await.expect_problem(422, "weak_password");
    reset(&stack, by_code(&reset_id, &wrong(&mail.code(), 5), NEW)).await.expect_problem(400, "invalid_verification");
    reset(&stack, by_code(&reset_id, &mail.code(), NEW)).await.expect_problem(400, "invalid_verification");
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
    signs_in_with(&stack, &alice, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_are_never_compared_more_than_five_times() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let unknown = json!({"email": "nobody@example.test", "client": "app"});
    let answer = stack.client().post("/password/forgot").json(unknown).send().await.expect(202);
    let nobodys = answer.json()["reset_id"].as_str().expect("a reset_id").to_owned();
    // Where nothing was mailed guesses are counted all the same.
    for reset_id in [&reset_id, &nobodys] {
        reset(&stack, by_link("nothing", NEW)).await.expect(400);
        stack.proxy().reset();
        let guesses = at_once((1..=24).map(|by| {
            let (stack, body) = (Arc::clone(&stack), by_code(reset_id, &wrong(&mail.code(), by), NEW));
            async move { reset(&stack, body).await.status }
        }));
        assert_eq!(guesses.await, [400; 24]);
        let cost = stack.proxy().cost();
        assert!((cost.write_units - 5.0).abs() < 0.1, "{cost:?}");
    }
    reset(&stack, by_code(&reset_id, &mail.code(), NEW)).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_for_ten_minutes_and_a_link_for_a_day() {
    let stack = Stack::start().await;
    for (name, wait, by_its_code, status) in [
        ("alice", 599, true, 204),
        ("bob", 600, true, 400),
        ("carol", 24 * 3600 - 1, false, 204),
        ("dave", 24 * 3600, false, 400),
    ] {
        let person = stack.person(name).await;
        let (reset_id, mail) = forgotten(&stack, &person).await;
        stack.clock.advance(wait);
        let body = if by_its_code { by_code(&reset_id, &mail.code(), NEW) } else { by_link(&mail.token(), NEW) };
        reset(&stack, body).await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_password_spends_nothing() {
    let stack = Stack::with(&[("PasswordMinLength", "12")]).await;
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let weak = ["short", "qzx4-wkv7-r", "password12345", "alice@example.test", "alice-example!", "Latchkey 2026"];
    for password in weak.into_iter().chain([&*"x".repeat(129)]) {
        reset(&stack, by_link(&mail.token(), password)).await.expect_problem(422, "weak_password");
        reset(&stack, by_code(&reset_id, &mail.code(), password)).await.expect_problem(422, "weak_password");
    }
    // What is weak whoever has it is told before a guess is looked at.
    for by in 1..=6 {
        let body = by_code(&reset_id, &wrong(&mail.code(), by), "short");
        reset(&stack, body).await.expect_problem(422, "weak_password");
    }
    signs_in_with(&stack, &alice, &alice.password).await;
    reset(&stack, by_code(&reset_id, &mail.code(), NEW)).await.expect(204);
    signs_in_with(&stack, &alice, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again_ten_times_within_ten_minutes() {
    for by_its_code in [false, true] {
        let stack = Stack::start().await;
        let alice = stack.person("alice").await;
        let (reset_id, mail) = forgotten(&stack, &alice).await;
        let with = |password: &str| {
            if by_its_code { by_code(&reset_id, &mail.code(), password) } else { by_link(&mail.token(), password) }
        };
        // A code's own ten minutes may end meanwhile.
        stack.clock.advance(300);
        reset(&stack, with(NEW)).await.expect(204);
        let session = stack.app(&Person { password: NEW.to_owned(), ..alice.clone() }).await;
        // The other proof of the same mail is none any more.
        let other = if by_its_code { by_link(&mail.token(), NEW) } else { by_code(&reset_id, &mail.code(), NEW) };
        reset(&stack, other).await.expect_problem(400, "invalid_verification");
        for wait in [0, 0, 0, 0, 300, 300] {
            stack.clock.advance(wait);
            reset(&stack, with(NEW)).await.expect(204).expect_cookies(&[], &[]);
        }
        // Another password is not set, and uses a repetition up.
        for _ in 0..2 {
            reset(&stack, with("eleven calm badgers")).await.expect_problem(400, "invalid_verification");
        }
        for _ in 0..2 {
            reset(&stack, with(NEW)).await.expect(204);
        }
        reset(&stack, with(NEW)).await.expect_problem(400, "invalid_verification");
        // Nothing of that was done again.
        stack.me(&session.access).await.expect(200);
        let notices = stack.mails().await.into_iter().filter(|mail| mail.subject.contains("was reset")).count();
        assert_eq!(notices, 1);
        signs_in_with(&stack, &alice, NEW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_ends_after_ten_minutes() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
    stack.clock.advance(601);
    reset(&stack, by_link(&mail.token(), NEW)).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_compared_with_what_its_own_reset_set() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (_, first) = forgotten(&stack, &alice).await;
    reset(&stack, by_link(&first.token(), NEW)).await.expect(204);
    let (_, second) = forgotten(&stack, &alice).await;
    reset(&stack, by_link(&second.token(), "eleven calm badgers")).await.expect(204);
    reset(&stack, by_link(&first.token(), NEW)).await.expect(204);
    reset(&stack, by_link(&first.token(), "eleven calm badgers")).await.expect_problem(400, "invalid_verification");
    signs_in_with(&stack, &alice, "eleven calm badgers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_resets_do_not_touch_each_other_until_one_is_completed() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (old_id, old) = forgotten(&stack, &alice).await;
    let (new_id, new) = forgotten(&stack, &alice).await;
    for by in 1..=5 {
        reset(&stack, by_code(&new_id, &wrong(&new.code(), by), NEW)).await.expect(400);
    }
    // The older mail's link and code work on, and the newer's end with them.
    stack.client().get(&format!("/password/reset?token={}", new.token())).send().await.expect(200);
    reset(&stack, by_code(&old_id, &old.code(), NEW)).await.expect(204);
    reset(&stack, by_link(&new.token(), "eleven calm badgers")).await.expect_problem(400, "invalid_verification");
    stack.client().get(&format!("/password/reset?token={}", new.token())).send().await.expect(400);
    signs_in_with(&stack, &alice, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_holds_for_the_account_as_it_was() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    // All sessions were ended since.
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let everywhere = json!({"everywhere": true});
    stack.client().post("/logout").bearer(&app.access).json(everywhere).send().await.expect(204);
    for body in [by_link(&mail.token(), NEW), by_code(&reset_id, &mail.code(), NEW)] {
        reset(&stack, body).await.expect_problem(400, "invalid_verification");
    }
    // The address is another one since.
    let (_, mail) = forgotten(&stack, &alice).await;
    overwrite(&stack, "USER#", "email", AttributeValue::S("elsewhere@example.test".to_owned())).await;
    reset(&stack, by_link(&mail.token(), NEW)).await.expect_problem(400, "invalid_verification");
    overwrite(&stack, "USER#", "email", AttributeValue::S(alice.email.clone())).await;
    signs_in_with(&stack, &alice, &alice.password).await;
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_enables_whoever_had_to_reset_and_nobody_else() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let set = async |status: &str| overwrite(&stack, "USER#", "status", AttributeValue::S(status.to_owned())).await;
    for status in ["disabled", "deleting"] {
        let (reset_id, mail) = forgotten(&stack, &alice).await;
        set(status).await;
        for body in [by_link(&mail.token(), NEW), by_code(&reset_id, &mail.code(), NEW)] {
            reset(&stack, body).await.expect_problem(400, "invalid_verification");
        }
        stack.client().get(&format!("/password/reset?token={}", mail.token())).send().await.expect(400);
        assert_eq!(text(&find(&stack, "USER#").await, "status"), status);
        set("enabled").await;
        signs_in_with(&stack, &alice, &alice.password).await;
    }
    set("reset_required").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
    assert_eq!(text(&find(&stack, "USER#").await, "status"), "enabled");
    signs_in_with(&stack, &alice, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_told() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    let before = stack.mails().await.len();
    reset(&stack, by_link(&mail.token(), "short")).await.expect(422);
    assert_eq!(stack.mails().await.len(), before);
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
    assert_eq!(stack.mails().await.len(), before + 1);
    let notice = stack.mail_to(&alice.email).await;
    assert!(!notice.has_secrets() && notice.text.contains("alice"), "{}", notice.text);
    let events = stack.client().get("/_local/events.json").send().await.expect(200).text();
    assert_eq!(events.matches("password.changed").count(), 1, "{events}");
    assert!(!events.contains(&alice.email), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proof_used_at_once_sets_one_password() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let alice = stack.person("alice").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    let epoch = |item: crate::harness::tables::Item| item["epoch"].as_n().expect("a number").parse::<u64>();
    let before = epoch(find(&stack, "USER#").await).expect("digits");
    let same = at_once((0..6).map(|_| {
        let (stack, body) = (Arc::clone(&stack), by_link(&mail.token(), NEW));
        async move { reset(&stack, body).await.status }
    }));
    assert_eq!(same.await, [204; 6]);
    assert_eq!(epoch(find(&stack, "USER#").await), Ok(before + 1));
    // Of different passwords one is set.
    let (_, mail) = forgotten(&stack, &alice).await;
    let answers = at_once([NEW, "eleven calm badgers"].map(|password| {
        let (stack, body) = (Arc::clone(&stack), by_link(&mail.token(), password));
        async move { (reset(&stack, body).await.status, password) }
    }));
    let answers = answers.await;
    let set: Vec<&str> = answers.iter().filter(|(status, _)| *status == 204).map(|(_, password)| *password).collect();
    assert_eq!(set.len(), 1, "{answers:?}");
    signs_in_with(&stack, &alice, set[0]).await;
}

/// The same request, sent twice: the other one is answered between what this one reads of the reset and of the account.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_own_copy_overtakes_is_answered_likewise() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let alice = stack.person("alice").await;
    for (password, same) in [(NEW, true), ("eleven calm badgers", false)] {
        let (reset_id, mail) = forgotten(&stack, &alice).await;
        let body = by_code(&reset_id, &mail.code(), password);
        let (racing, copy) = (Arc::clone(&stack), body.clone());
        stack.proxy().before("password-reset", "GetItem", async move {
            reset(&racing, copy).await.expect(204);
        });
        if same {
            reset(&stack, body).await.expect(204);
        } else {
            // Another password is another request.
            let other = by_code(&reset_id, &mail.code(), "twelve shy herons");
            reset(&stack, other).await.expect_problem(400, "invalid_verification");
        }
        signs_in_with(&stack, &alice, password).await;
    }
}

async fn page_of(client: &Client, token: &str) -> Answer {
    client.get(&format!("/password/reset?token={token}")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_for_a_new_password_and_changes_nothing() {
    let stack = Stack::with(&[("AppUrl", "https://app.example.test/")]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    // As a mail scanner does, on another device and without cookies.
    for _ in 0..3 {
        let answer = page_of(&stack.client(), &mail.token()).await.expect(200).expect_no_cookies();
        let html = answer.text();
        assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/html")));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("form-action 'self' https://app.example.test"), "{policy}");
        assert!(!html.contains("<script") && html.contains("<strong>alice</strong>"), "{html}");
        assert_eq!(html.matches("type=\"password\"").count(), 1, "{html}");
        assert!(!html.contains(&alice.email), "{html}");
    }
    let path = format!("/password/reset?token={}", mail.token());
    let head = stack.client().request(Method::HEAD, &path).send().await.expect(200);
    assert_eq!(head.text(), "");
    stack.client().request(Method::HEAD, "/password/reset?token=nothing").send().await.expect(400);
    let korean = stack.client().get(&path).header("accept-language", "ko").send().await.expect(200).text();
    assert!(korean.contains("lang=\"ko\"") && korean.contains("비밀번호"), "{korean}");
    for token in ["", "nothing", &mail.token()[1..]] {
        let html = page_of(&stack.client(), token).await.expect(400).text();
        assert!(html.contains("role=\"alert\"") && !html.contains("<form"), "{html}");
    }
    stack.me(&app.access).await.expect(200);
    // Once it is completed, the way to the app.
    reset(&stack, by_link(&mail.token(), NEW)).await.expect(204);
    let html = page_of(&stack.client(), &mail.token()).await.expect(200).text();
    assert!(!html.contains("<form") && html.contains("href=\"https://app.example.test/\""), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_form_sets_the_password_and_leads_to_the_app() {
    let stack = Stack::with(&[("AppUrl", "https://app.example.test/")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    browser.post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let token = stack.secrets_to(&alice.email).await.token();
    for (fields, status) in [
        (vec![("token", token.as_str())], 422),
        (vec![("token", token.as_str()), ("password", "")], 422),
        (vec![("token", token.as_str()), ("password", "short")], 422),
        (vec![("token", token.as_str()), ("password", "alice@example.test")], 422),
    ] {
        let answer = browser.post("/password/reset").form(&fields).send().await.expect(status).expect_no_cookies();
        let html = answer.text();
        assert!(html.contains("role=\"alert\"") && html.contains("<form") && html.contains(&token), "{html}");
    }
    for (fields, status) in [(vec![("token", "nothing"), ("password", NEW)], 400), (vec![("password", NEW)], 400)] {
        let html = browser.post("/password/reset").form(&fields).send().await.expect(status).text();
        assert!(html.contains("role=\"alert\"") && !html.contains("<form") && !html.contains(NEW), "{html}");
    }
    for fields in [&[("token", token.as_str()), ("token", "b")][..], &[("token", token.as_str()), ("code", "1")][..]] {
        browser.post("/password/reset").form(fields).send().await.expect(400);
    }
    let form = browser.post("/password/reset").form(&[("token", token.as_str()), ("password", NEW)]);
    let answer = form.send().await.expect(303);
    assert_eq!((answer.header("location"), answer.text().as_str()), (Some("https://app.example.test/"), ""));
    answer.expect_cookies(&[], &["reset"]);
    browser.get("/me").send().await.expect_problem(401, "token_missing");
    signs_in_with(&stack, &alice, NEW).await;
    // A second press of the button.
    let form = browser.post("/password/reset").form(&[("token", token.as_str()), ("password", NEW)]);
    form.send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_taken_from_the_api_s_own_origin_alone() {
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test")]).await;
    let alice = stack.person("alice").await;
    let (_, mail) = forgotten(&stack, &alice).await;
    let token = mail.token();
    let browser = stack.browser();
    let form = || browser.post("/password/reset").form(&[("token", token.as_str()), ("password", NEW)]);
    for origin in ["https://evil.test", "https://app.example.test", "null"] {
        form().origin(Some(origin)).send().await.expect(403).expect_no_cookies();
    }
    for site in [None, Some("cross-site"), Some("same-site"), Some("none")] {
        form().origin(None).fetch_site(site).send().await.expect(403).expect_no_cookies();
    }
    signs_in_with(&stack, &alice, &alice.password).await;
    form().send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_and_a_cookie_are_not_taken_from_a_foreign_page() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    browser.post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let code = stack.secrets_to(&alice.email).await.code();
    let call = || browser.post("/password/reset").json(json!({"code": code, "password": NEW}));
    call().origin(Some("https://evil.test")).send().await.expect_problem(403, "csrf_rejected");
    // The cookie alone is a reason to ask where a request without an origin comes from.
    call().origin(None).fetch_site(None).send().await.expect_problem(403, "csrf_rejected");
    call().send().await.expect(204);
}
