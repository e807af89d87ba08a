//! `POST /email/change`, `/email/confirm` and `/email/undo`: another address, once it has proved itself, and the way back.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};

use crate::deletion::events;
use crate::harness::tables::{find, items, overwrite, text};
use crate::harness::{Answer, AppSession, Client, Mail, Person, Stack, at_once};
use crate::password_reset::wrong;

const B: &str = "bee@example.test";
const C: &str = "sea@example.test";
const WEEK: u64 = 604_800;
const OTHER_PASSWORD: &str = "nine loud otters";

async fn ask(stack: &Stack, access: &str, email: &str) -> Answer {
    stack.client().post("/email/change").bearer(access).json(json!({"email": email})).send().await
}

/// Asks for another address. The `change_id`, and the mail to that address.
pub(crate) async fn asked(stack: &Stack, access: &str, email: &str) -> (String, Mail) {
    let answer = ask(stack, access, email).await.expect(202);
    let change_id = answer.json()["change_id"].as_str().expect("a change_id").to_owned();
    (change_id, mail_for(stack, email, "/email/confirm").await)
}

/// The newest mail to an address with a link to this page.
async fn mail_for(stack: &Stack, email: &str, path: &str) -> Mail {
    let mut mails = stack.mails().await;
    mails.retain(|mail| mail.to == email && mail.text.contains(&format!("{path}?token=")));
    mails.pop().unwrap_or_else(|| panic!("no link to {path} for {email}"))
}

/// The token of the newest mail to an address that undoes a change.
pub(crate) async fn undo_token(stack: &Stack, email: &str) -> String {
    mail_for(stack, email, "/email/undo").await.token()
}

async fn confirm(stack: &Stack, access: &str, body: Value) -> Answer {
    stack.client().post("/email/confirm").bearer(access).json(body).send().await
}

fn by_link(mail: &Mail) -> Value {
    json!({"token": mail.token()})
}

fn by_code(change_id: &str, code: &str) -> Value {
    json!({"change_id": change_id, "code": code})
}

/// Gives the account this address.
pub(crate) async fn moved(stack: &Stack, access: &str, email: &str) {
    let (_, mail) = asked(stack, access, email).await;
    confirm(stack, access, by_link(&mail)).await.expect(204);
}

async fn undo(stack: &Stack, token: &str) -> Answer {
    stack.client().post("/email/undo").json(json!({"token": token})).send().await
}

/// The account's address, as its owner sees it.
async fn address(stack: &Stack, access: &str) -> String {
    stack.me(access).await.expect(200).json()["user"]["email"].as_str().expect("an address").to_owned()
}

/// The status of a sign-in.
async fn login(stack: &Stack, email: &str, password: &str) -> u16 {
    let body = json!({"email": email, "password": password, "client": "app"});
    stack.client().post("/login").json(body).send().await.status
}

/// Asks for a new password for whoever has this address. Whether a link went out.
async fn forgot(stack: &Stack, email: &str) -> Option<Mail> {
    let seen = stack.mails().await.len();
    stack.client().post("/password/forgot").json(json!({"email": email, "client": "app"})).send().await.expect(202);
    stack.mails().await.split_off(seen).into_iter().find(|mail| mail.to == email && mail.has_secrets())
}

async fn reset(stack: &Stack, token: &str) -> Answer {
    let body = json!({"token": token, "password": OTHER_PASSWORD});
    stack.client().post("/password/reset").json(body).send().await
}

/// Resets the password by the mail that follows an undo, and signs in.
async fn restored(stack: &Stack, email: &str) -> AppSession {
    reset(stack, &mail_for(stack, email, "/password/reset").await.token()).await.expect(204);
    let body = json!({"email": email, "password": OTHER_PASSWORD, "client": "app"});
    AppSession::of(&stack.client().post("/login").json(body).send().await.expect(200))
}

/// The status of a verification by somebody who signs up with this address; 0 where the mail has nothing to verify with.
async fn sign_up_and_verify(stack: &Stack, username: &str, email: &str) -> u16 {
    let person = Person { email: email.to_owned(), ..Person::named(username) };
    let seen = stack.mails().await.len();
    let answer = stack.client().post("/signup").json(person.signup("app")).send().await.expect(202);
    let signup_id = answer.json()["signup_id"].clone();
    let mails = stack.mails().await.split_off(seen);
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(mail.to, email);
    if !mail.has_secrets() {
        return 0;
    }
    let answer = stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await;
    if answer.status == 201 {
        return 201;
    }
    answer.expect_problem(409, "email_taken").status
}

/// Who has which address, by the items that make addresses unique; `reserved` where one only may return.
async fn addresses(stack: &Stack) -> BTreeMap<String, String> {
    let items = items(stack, "UsersTable").await;
    let unique = items.iter().filter(|item| text(item, "sk") == "EMAIL");
    let owner = |item| if text(item, "user_id").is_empty() { "reserved" } else { text(item, "user_id") };
    unique.map(|item| (text(item, "pk")["EMAIL#".len()..].to_owned(), owner(item).to_owned())).collect()
}

async fn status(stack: &Stack) -> String {
    text(&find(stack, "USER#").await, "status").to_owned()
}

async fn changes_told(stack: &Stack) -> usize {
    events(stack).await.iter().filter(|(kind, _)| kind == "email.changed").count()
}

/// What an answer looks like from outside: everything but the characters of the identifier.
fn shape(answer: &Answer) -> Value {
    let mut body = answer.json();
    body["change_id"] = json!(body["change_id"].as_str().map(str::len));
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    json!({"status": answer.status, "body": body, "headers": headers, "length": answer.body.len()})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_proves_itself_takes_the_place_of_the_one_before() {
    for by_its_code in [false, true] {
        let stack = Stack::with_database(&[]).await;
        let (alice, app) = stack.person_with_session("alice").await;
        let other = stack.app(&alice).await;
        let seen = stack.mails().await.len();
        let answer = ask(&stack, &app.access, B).await.expect(202).expect_no_cookies();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        let change_id = body["change_id"].as_str().expect("a change_id");
        assert_eq!(body, json!({"change_id": change_id, "expires_in": 86400}));

        let mails = stack.mails().await.split_off(seen);
        assert_eq!(mails.len(), 2, "{mails:?}");
        let mail = mails.iter().find(|mail| mail.to == B).expect("a mail to the new address");
        assert!(mail.subject.contains("Confirm your new address"), "{}", mail.subject);
        assert!(mail.link().starts_with(&format!("{}/email/confirm?token=", stack.url())), "{}", mail.link());
        assert!(mail.html.contains(&mail.code()) && mail.html.contains(&mail.token()), "{}", mail.html);
        assert!(mail.text.contains("alice") && !mail.text.contains(change_id), "{}", mail.text);
        let notice = mails.iter().find(|mail| mail.to == alice.email).expect("a notice to the present address");
        assert!(!notice.has_secrets() && notice.text.contains(B), "{}", notice.text);

        // Nothing has changed yet.
        assert_eq!(address(&stack, &app.access).await, alice.email);
        assert_eq!(login(&stack, &alice.email, &alice.password).await, 200);
        assert_eq!(login(&stack, B, &alice.password).await, 401);
        assert_eq!(changes_told(&stack).await, 0);

        let typed = format!(" {} {}\n", &mail.code()[..4], &mail.code()[4..]);
        let proof = if by_its_code { by_code(change_id, &typed) } else { by_link(mail) };
        let seen = stack.mails().await.len();
        let answer = confirm(&stack, &app.access, proof).await.expect(204).expect_no_cookies();
        assert_eq!((answer.text().as_str(), answer.header("cache-control")), ("", Some("no-store")));
        // Who is signed in stays so.
        for session in [&app, &other] {
            assert_eq!(address(&stack, &session.access).await, B);
        }
        stack.refresh(&other.refresh, None).await.expect(200);
        assert_eq!(login(&stack, B, &alice.password).await, 200);
        assert_eq!(login(&stack, &alice.email, &alice.password).await, 401);

        let mails = stack.mails().await.split_off(seen);
        let told: Vec<&Mail> = mails.iter().filter(|mail| mail.to == alice.email).collect();
        let [told] = told[..] else { panic!("{mails:?}") };
        assert!(told.link().starts_with(&format!("{}/email/undo?token=", stack.url())), "{}", told.link());
        assert!(told.text.contains(B) && told.text.contains("7 days"), "{}", told.text);
        assert!(mails.iter().all(|mail| mail.to == alice.email || !mail.has_secrets()), "{mails:?}");
        assert_eq!(changes_told(&stack).await, 1);
        let expected = [(B.to_owned(), app.user_id.clone()), (alice.email.clone(), "reserved".to_owned())];
        assert_eq!(addresses(&stack).await, BTreeMap::from(expected));
        let reserved = find(&stack, &format!("EMAIL#{}", alice.email)).await;
        assert_eq!(text(&reserved, "reserved_for"), app.user_id);
        let until = (stack.clock.now().unix() + WEEK).to_string();
        assert_eq!(reserved["reserved_until"], AttributeValue::N(until));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_new_address_there_is_one_answer() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let (bob, bobs) = stack.person_with_session("bob").await;
    let carol = stack.person("carol").await;
    moved(&stack, &bobs.access, B).await;
    let mut seen = stack.mails().await.len();
    let mut answers = Vec::new();
    // Nobody's, nobody's again, somebody's, one that only its former owner may have, and in other letters.
    for email in ["nobody@example.test", C, &carol.email, &bob.email, "CAROL@example.test"] {
        stack.proxy().reset();
        let answer = ask(&stack, &app.access, email).await.expect(202);
        let cost = stack.proxy().cost();
        let cost = (cost.operations, cost.round_trips, cost.read_units.to_string(), cost.write_units.to_string());
        answers.push((email, shape(&answer), cost));
        let mails = stack.mails().await.split_off(seen);
        seen += mails.len();
        assert_eq!(mails.len(), 2, "{email}: {mails:?}");
        assert!(mails.iter().any(|mail| mail.to == "alice@example.test" && !mail.has_secrets()), "{email}: {mails:?}");
    }
    for (email, shape, cost) in &answers[1..] {
        assert_eq!((shape, cost), (&answers[0].1, &answers[0].2), "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_address_is_told_and_nothing_confirms_it() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let bob = stack.person("bob").await;
    let answer = ask(&stack, &app.access, &bob.email).await.expect(202);
    let change_id = answer.json()["change_id"].as_str().expect("a change_id").to_owned();
    let mail = stack.mail_to(&bob.email).await;
    assert!(mail.subject.starts_with("You already have an account") && !mail.has_secrets(), "{mail:?}");
    assert!(!mail.text.contains("alice") && !mail.html.contains("alice"), "{}", mail.text);
    for code in ["00000000", "12345678", &change_id] {
        confirm(&stack, &app.access, by_code(&change_id, code)).await.expect_problem(400, "invalid_verification");
    }
    confirm(&stack, &app.access, json!({"token": change_id})).await.expect_problem(400, "invalid_verification");
    assert_eq!(address(&stack, &app.access).await, alice.email);
    assert_eq!(login(&stack, &bob.email, &bob.password).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_that_comes_too_late_is_told_so() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let bella = Person { email: B.to_owned(), ..Person::named("bella") };
    let (signup_id, mail) = stack.sign_up(&bella).await;
    moved(&stack, &app.access, B).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code()});
    stack.verify(proof).await.expect_problem(409, "email_taken");
    assert_eq!(login(&stack, B, &alice.password).await, 200);
}

/// To who proved the address it may be said.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_taken_meanwhile_is_the_other_s() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    assert_eq!(sign_up_and_verify(&stack, "bella", B).await, 201);
    for proof in [by_link(&mail), by_code(&change_id, &mail.code())] {
        confirm(&stack, &app.access, proof).await.expect_problem(409, "email_taken");
    }
    assert_eq!(address(&stack, &app.access).await, alice.email);
    assert_eq!(login(&stack, B, &Person::named("bella").password).await, 200);
    assert_eq!(login(&stack, &alice.email, &alice.password).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_just_proved_who_they_are_asks() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let body = json!({"email": B});
    stack.client().post("/email/change").json(body.clone()).send().await.expect_problem(401, "token_missing");
    ask(&stack, "nonsense", B).await.expect_problem(401, "token_invalid");
    ask(&stack, &app.refresh, B).await.expect_problem(401, "token_invalid");
    for remembered in [false, true] {
        let browser = if remembered { stack.remembered(&alice).await } else { stack.signed_in(&alice).await };
        let call = || browser.post("/email/change").json(body.clone());
        call().origin(Some("https://evil.test")).send().await.expect_problem(403, "csrf_rejected");
        stack.clock.advance(300);
        call().send().await.expect(202).expect_no_cookies();
        stack.clock.advance(1);
        call().send().await.expect_problem(403, "reauthentication_required").expect_no_cookies();
        browser.get("/me").send().await.expect(200);
        browser.post("/reauthenticate").json(json!({"password": alice.password})).send().await.expect(200);
        call().send().await.expect(202);
    }
    ask(&stack, &app.access, B).await.expect_problem(403, "reauthentication_required");
    let fresh = stack.app(&alice).await;
    let (_, mail) = asked(&stack, &fresh.access, B).await;
    // To confirm, any session of the account will do.
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let before = items(&stack, "UsersTable").await.len();
    let post =
        async |path: &str, body: &Value| stack.client().post(path).bearer(&app.access).json(body.clone()).send().await;
    for email in ["", "bee", "bee@", "bee@example..test", "bee@example.test, sea@example.test", "비@example.test"] {
        post("/email/change", &json!({"email": email})).await.expect_problem(422, "invalid_email");
    }
    for body in [json!({}), json!({"email": null}), json!({"email": 7}), json!({"email": B, "locale": "en"})] {
        post("/email/change", &body).await.expect_problem(400, "invalid_request");
    }
    assert_eq!(items(&stack, "UsersTable").await.len(), before);
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    for body in [
        json!({}),
        json!({"change_id": change_id}),
        json!({"code": mail.code()}),
        json!({"token": null}),
        json!({"token": ["a"]}),
        json!({"token": mail.token(), "change_id": change_id, "code": mail.code()}),
        json!({"token": mail.token(), "email": B}),
    ] {
        let answer = post("/email/confirm", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{body}: {}", answer.text());
    }
    for body in [json!({}), json!({"token": 7}), json!({"token": "a", "code": "b"})] {
        post("/email/undo", &body).await.expect_problem(400, "invalid_request");
    }
    for path in ["/email/change", "/email/confirm", "/email/undo"] {
        let call = stack.client().post(path).bearer(&app.access).header("content-type", "text/plain").body("token=a");
        call.send().await.expect_problem(415, "unsupported_media_type");
    }
    confirm(&stack, &app.access, by_code(&change_id, &mail.code())).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_account_that_asked_confirms() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (bob, bobs) = stack.person_with_session("bob").await;
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    let (others, others_mail) = asked(&stack, &bobs.access, C).await;
    for body in [by_link(&mail), by_code(&change_id, &mail.code())] {
        let nobody = stack.client().post("/email/confirm").json(body.clone()).send().await;
        nobody.expect_problem(401, "token_missing");
        confirm(&stack, &bobs.access, body).await.expect_problem(400, "invalid_verification");
    }
    for body in [
        by_code(&others, &mail.code()),
        by_code(&change_id, &others_mail.code()),
        // A secret in the other's place, and what is none.
        by_code(&mail.token(), &mail.code()),
        json!({"token": change_id}),
        json!({"token": ""}),
        json!({"token": "nothing"}),
        by_code("nothing", &mail.code()),
    ] {
        confirm(&stack, &app.access, body).await.expect_problem(400, "invalid_verification");
    }
    assert_eq!(address(&stack, &app.access).await, alice.email);
    assert_eq!(address(&stack, &bobs.access).await, bob.email);
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    confirm(&stack, &bobs.access, by_link(&others_mail)).await.expect(204);
}

/// Somebody wants this address for an account of theirs, and its owner presses the button in the mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_click_on_a_stranger_s_change_does_nothing() {
    let stack = Stack::start().await;
    let (mallory, thief) = stack.person_with_session("mallory").await;
    let bob = stack.person("bob").await;
    let (_, mail) = asked(&stack, &thief.access, "bobs.other@example.test").await;
    let token = mail.token();
    let press = async |browser: &Client| browser.post("/email/confirm").form(&[("token", &token)]).send().await;
    let html = press(&stack.browser()).await.expect(401).text();
    assert!(html.contains("role=\"alert\""), "{html}");
    for browser in [stack.signed_in(&bob).await, stack.remembered(&bob).await] {
        let html = press(&browser).await.expect(400).text();
        assert!(html.contains("role=\"alert\""), "{html}");
        let me = browser.get("/me").send().await.expect(200).json();
        assert_eq!((&me["user"]["username"], &me["user"]["email"]), (&json!("bob"), &json!(bob.email)));
    }
    assert_eq!(address(&stack, &thief.access).await, mallory.email);
    assert_eq!(login(&stack, "bobs.other@example.test", &mallory.password).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_other_mails_change_nothing_and_these_open_nothing_else() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (signup_id, signup) = stack.sign_up(&Person::named("bob")).await;
    let asked_reset = stack.client().post("/password/forgot").json(json!({"email": alice.email, "client": "app"}));
    let reset_id = asked_reset.send().await.expect(202).json()["reset_id"].as_str().expect("a reset_id").to_owned();
    let reset_mail = mail_for(&stack, &alice.email, "/password/reset").await;
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    for body in [
        by_link(&signup),
        by_code(&signup_id, &signup.code()),
        by_link(&reset_mail),
        by_code(&reset_id, &reset_mail.code()),
    ] {
        confirm(&stack, &app.access, body).await.expect_problem(400, "invalid_verification");
    }
    reset(&stack, &mail.token()).await.expect_problem(400, "invalid_verification");
    let by_code_of_change = json!({"reset_id": change_id, "code": mail.code(), "password": OTHER_PASSWORD});
    let answer = stack.client().post("/password/reset").json(by_code_of_change).send().await;
    answer.expect_problem(400, "invalid_verification");
    stack
        .verify(json!({"signup_id": change_id, "code": mail.code()}))
        .await
        .expect_problem(400, "invalid_verification");
    for token in [mail.token(), reset_mail.token(), signup.token(), change_id.clone(), app.user_id.clone()] {
        undo(&stack, &token).await.expect_problem(400, "invalid_verification");
    }
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    let token = undo_token(&stack, &alice.email).await;
    confirm(&stack, &app.access, json!({"token": token})).await.expect_problem(400, "invalid_verification");
    reset(&stack, &token).await.expect_problem(400, "invalid_verification");
    // Nor does one letter of it go.
    let changed = format!("{}{}", &token[..token.len() - 2], if token.ends_with("AA") { "BB" } else { "AA" });
    undo(&stack, &changed).await.expect_problem(400, "invalid_verification");
    assert_eq!(address(&stack, &app.access).await, B);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_may_be_guessed_five_times_and_the_link_lives_on() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    for by in 1..=5 {
        let answer = confirm(&stack, &app.access, by_code(&change_id, &wrong(&mail.code(), by))).await;
        answer.expect_problem(400, "invalid_verification");
    }
    let answer = confirm(&stack, &app.access, by_code(&change_id, &mail.code())).await;
    answer.expect_problem(400, "invalid_verification");
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    assert_eq!(address(&stack, &app.access).await, B);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_are_never_compared_more_than_five_times() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    let (change_id, mail) = asked(&stack, &app.access, B).await;
    let guesses = at_once((1..=12).map(|by| {
        let (stack, access, body) =
            (Arc::clone(&stack), app.access.clone(), by_code(&change_id, &wrong(&mail.code(), by)));
        async move { confirm(&stack, &access, body).await.status }
    }));
    assert_eq!(guesses.await, [400; 12]);
    let answer = confirm(&stack, &app.access, by_code(&change_id, &mail.code())).await;
    answer.expect_problem(400, "invalid_verification");
    assert_eq!(address(&stack, &app.access).await, alice.email);
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
        let (person, app) = stack.person_with_session(name).await;
        let (change_id, mail) = asked(&stack, &app.access, &format!("new.{name}@example.test")).await;
        stack.clock.advance(wait);
        let later = stack.app(&person).await;
        let proof = if by_its_code { by_code(&change_id, &mail.code()) } else { by_link(&mail) };
        confirm(&stack, &later.access, proof).await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again() {
    for by_its_code in [false, true] {
        let stack = Stack::with_database(&[]).await;
        let (alice, app) = stack.person_with_session("alice").await;
        let (change_id, mail) = asked(&stack, &app.access, B).await;
        let proof = if by_its_code { by_code(&change_id, &mail.code()) } else { by_link(&mail) };
        confirm(&stack, &app.access, proof.clone()).await.expect(204);
        let mails = stack.mails().await.len();
        for wait in [0, 300, 300] {
            stack.clock.advance(wait);
            confirm(&stack, &app.access, proof.clone()).await.expect(204).expect_no_cookies();
        }
        // Nothing of it is done again.
        assert_eq!((stack.mails().await.len(), changes_told(&stack).await), (mails, 1));
        let bobs = stack.person_with_session("bob").await.1;
        confirm(&stack, &bobs.access, proof.clone()).await.expect_problem(400, "invalid_verification");
        stack.clock.advance(1);
        let app = stack.app(&alice).await;
        confirm(&stack, &app.access, proof).await.expect_problem(400, "invalid_verification");
        assert_eq!(address(&stack, &app.access).await, B);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proof_used_at_once_changes_the_address_once() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, mail) = asked(&stack, &app.access, B).await;
    let same = at_once((0..6).map(|_| {
        let (stack, access, body) = (Arc::clone(&stack), app.access.clone(), by_link(&mail));
        async move { confirm(&stack, &access, body).await.status }
    }));
    assert_eq!(same.await, [204; 6]);
    assert_eq!(changes_told(&stack).await, 1);
    let undos = stack.mails().await.into_iter().filter(|mail| mail.text.contains("/email/undo?token=")).count();
    assert_eq!(undos, 1);
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_want_an_address_one_gets_it() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let mut proofs = Vec::new();
    for name in ["alice", "bob"] {
        let app = stack.person_with_session(name).await.1;
        let (_, mail) = asked(&stack, &app.access, B).await;
        proofs.push((app.access, by_link(&mail)));
    }
    let mut statuses = at_once(proofs.into_iter().map(|(access, proof)| {
        let stack = Arc::clone(&stack);
        async move { confirm(&stack, &access, proof).await.status }
    }))
    .await;
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    let owned = addresses(&stack).await;
    let owned: Vec<&String> = owned.values().filter(|owner| *owner != "reserved").collect();
    assert!(owned.len() == 2 && owned[0] != owned[1], "{owned:?}");
    assert_eq!(changes_told(&stack).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_account_meanwhile_voids_an_open_change() {
    for what in ["password change", "logout everywhere", "reset", "other change"] {
        let stack = Stack::start().await;
        let (alice, app) = stack.person_with_session("alice").await;
        let (change_id, mail) = asked(&stack, &app.access, B).await;
        let expected = if what == "other change" { C } else { &alice.email };
        let app = match what {
            "password change" => {
                let body = json!({"password": alice.password, "new_password": OTHER_PASSWORD});
                let call = stack.client().post("/password/change").bearer(&app.access).json(body);
                AppSession::of(&call.send().await.expect(200))
            }
            "logout everywhere" => {
                let call = stack.client().post("/logout").bearer(&app.access).json(json!({"everywhere": true}));
                call.send().await.expect(204);
                stack.app(&alice).await
            }
            "reset" => {
                let link = forgot(&stack, &alice.email).await.expect("a link");
                reset(&stack, &link.token()).await.expect(204);
                stack.app(&Person { password: OTHER_PASSWORD.to_owned(), ..alice.clone() }).await
            }
            _ => {
                moved(&stack, &app.access, C).await;
                app
            }
        };
        for proof in [by_link(&mail), by_code(&change_id, &mail.code())] {
            let answer = confirm(&stack, &app.access, proof).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_verification"), "{what}");
        }
        let page = stack.client().get(&format!("/email/confirm?token={}", mail.token())).send().await.expect(400);
        assert!(!page.text().contains("<form"), "{what}: {}", page.text());
        assert_eq!(address(&stack, &app.access).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_or_language_voids_nothing() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, mail) = asked(&stack, &app.access, B).await;
    stack.change(&app.access, json!({"username": "alicia", "locale": "ko"})).await.expect(200);
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    assert_eq!(address(&stack, &app.access).await, B);
    let told = mail_for(&stack, &alice.email, "/email/undo").await;
    assert!(told.subject.contains("주소가 변경") && told.text.contains("alicia"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_open_changes_do_not_touch_each_other() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let (old_id, old) = asked(&stack, &app.access, B).await;
    let (new_id, new) = asked(&stack, &app.access, B).await;
    for by in 1..=3 {
        confirm(&stack, &app.access, by_code(&new_id, &wrong(&new.code(), by))).await.expect(400);
    }
    confirm(&stack, &app.access, by_code(&old_id, &old.code())).await.expect(204);
    confirm(&stack, &app.access, by_link(&new)).await.expect_problem(400, "invalid_verification");
    assert_eq!(address(&stack, &app.access).await, B);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_written_in_another_way_is_one_update() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let before = addresses(&stack).await;
    let written = "Alice@Example.test";
    let answer = ask(&stack, &app.access, written).await.expect(202);
    assert_eq!(answer.json()["expires_in"], 86400);
    let mut mails = stack.mails().await;
    mails.retain(|mail| mail.to.eq_ignore_ascii_case(written) && mail.text.contains("/email/confirm?token="));
    confirm(&stack, &app.access, by_link(&mails.pop().expect("a link"))).await.expect(204);
    assert!(address(&stack, &app.access).await.starts_with("Alice@"));
    assert_eq!(addresses(&stack).await, before, "one item, the one before");
    for email in [alice.email.as_str(), written] {
        assert_eq!(login(&stack, email, &alice.password).await, 200);
    }
    // The address may be left and returned to as any other.
    moved(&stack, &app.access, B).await;
    assert_eq!(login(&stack, written, &alice.password).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_before_is_nobody_s_for_seven_days() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    // Whoever asks is told what everybody is told.
    let free = Person::named("dora").signup("app");
    let reserved = Person { email: alice.email.clone(), ..Person::named("emil") }.signup("app");
    let mut seen = Vec::new();
    for body in [free, reserved] {
        let answer = stack.client().post("/signup").json(body).send().await.expect(202);
        let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        seen.push((headers, answer.json()["expires_in"].clone(), answer.body.len()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(sign_up_and_verify(&stack, "fritz", &alice.email).await, 201);
    // Login and forgot see nobody there.
    assert_eq!(login(&stack, &alice.email, &alice.password).await, 401);
    assert!(forgot(&stack, &alice.email).await.is_none());
    assert!(stack.mail_to(&alice.email).await.subject.starts_with("There is no account"));
    // Nor does another account get it.
    let (bob, bobs) = stack.person_with_session("bob").await;
    let answer = ask(&stack, &bobs.access, &alice.email).await.expect(202);
    let mail = stack.secrets_to(&alice.email).await;
    if mail.text.contains("/email/confirm") {
        confirm(&stack, &bobs.access, by_link(&mail)).await.expect_problem(409, "email_taken");
    }
    let change_id = answer.json()["change_id"].as_str().expect("a change_id").to_owned();
    assert_ne!(confirm(&stack, &bobs.access, by_code(&change_id, "00000000")).await.status, 204);
    assert_eq!(address(&stack, &bobs.access).await, bob.email);

    stack.clock.advance(WEEK - 1);
    assert_ne!(sign_up_and_verify(&stack, "gina", &alice.email).await, 201);
    stack.clock.advance(1);
    assert_eq!(sign_up_and_verify(&stack, "hanna", &alice.email).await, 201);
    assert_eq!(login(&stack, &alice.email, &Person::named("hanna").password).await, 200);
    assert_eq!(login(&stack, B, &alice.password).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_seven_days_another_account_may_change_to_it() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let bob = stack.person("bob").await;
    moved(&stack, &app.access, B).await;
    stack.clock.advance(WEEK);
    moved(&stack, &stack.app(&bob).await.access, &alice.email).await;
    assert_eq!(login(&stack, &alice.email, &bob.password).await, 200);
    assert_eq!(login(&stack, B, &alice.password).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_may_return_to_it() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    moved(&stack, &app.access, &alice.email).await;
    assert_eq!(address(&stack, &app.access).await, alice.email);
    assert_eq!(login(&stack, &alice.email, &alice.password).await, 200);
    assert_eq!(login(&stack, B, &alice.password).await, 401);
    assert_eq!(addresses(&stack).await[&alice.email], app.user_id);
    // The change to B may still be undone, and then B may not: it was later.
    let later = undo_token(&stack, B).await;
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    undo(&stack, &later).await.expect_problem(400, "invalid_verification");
    let app = restored(&stack, &alice.email).await;
    assert_eq!(address(&stack, &app.access).await, alice.email);
}

/// What every page of these flows owes to who opens it, a mail scanner included.
async fn page(stack: &Stack, path: &str, token: &str) -> String {
    let url = format!("{path}?token={token}");
    let head = stack.client().request(Method::HEAD, &url).send().await.expect(200).expect_no_cookies();
    assert_eq!(head.text(), "");
    let answer = stack.client().get(&url).send().await.expect(200).expect_no_cookies();
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/html")));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("form-action 'self' https://app.example.test"), "{policy}");
    let html = answer.text();
    assert!(!html.contains("<script") && html.matches("<form").count() == 1, "{html}");
    assert!(html.contains("method=\"post\"") && html.contains(token), "{html}");
    let korean = stack.client().get(&url).header("accept-language", "ko").send().await.expect(200).text();
    assert!(korean.contains("lang=\"ko\"") && korean.contains("주소"), "{korean}");
    for token in ["", "nothing", &token[1..]] {
        let html = stack.client().get(&format!("{path}?token={token}")).send().await.expect(400).text();
        assert!(html.contains("role=\"alert\"") && !html.contains("<form"), "{html}");
        stack.client().request(Method::HEAD, &format!("{path}?token={token}")).send().await.expect(400);
    }
    stack.client().get(path).send().await.expect(400);
    html
}

/// The text of a page, without what breaks up words that look like links.
fn words(html: &str) -> String {
    let mut words = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => words.push(character),
            _ => {}
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_address_and_account_and_changes_nothing() {
    let stack = Stack::with(&[("AppUrl", "https://app.example.test/")]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, mail) = asked(&stack, &app.access, B).await;
    for _ in 0..2 {
        let words = words(&page(&stack, "/email/confirm", &mail.token()).await);
        assert!(words.contains(B) && words.contains("alice"), "{words}");
    }
    // Nor for the account's own browser.
    let browser = stack.signed_in(&alice).await;
    browser.get(&format!("/email/confirm?token={}", mail.token())).send().await.expect(200);
    assert_eq!(address(&stack, &app.access).await, alice.email);
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    assert_eq!(address(&stack, &app.access).await, B);
    // Once it is done there is nothing more to press.
    let html = stack.client().get(&format!("/email/confirm?token={}", mail.token())).send().await.text();
    assert!(!html.contains("<form"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_button_works_in_every_browser_that_is_signed_in() {
    let parameters = [("AppUrl", "https://app.example.test/"), ("AllowedOrigins", "https://app.example.test")];
    let stack = Stack::with(&parameters).await;
    for (name, remembered) in [("alice", false), ("bob", true)] {
        let person = stack.person(name).await;
        let browser = if remembered { stack.remembered(&person).await } else { stack.signed_in(&person).await };
        let new = format!("new.{name}@example.test");
        let answer = browser.post("/email/change").json(json!({"email": new})).send().await.expect(202);
        let answer = answer.expect_no_cookies();
        assert!(answer.json()["change_id"].is_string(), "{}", answer.text());
        let mail = mail_for(&stack, &new, "/email/confirm").await;
        let token = mail.token();
        let press = || browser.post("/email/confirm").form(&[("token", &token)]);
        for origin in ["https://evil.test", "https://app.example.test", "null"] {
            press().origin(Some(origin)).send().await.expect(403).expect_no_cookies();
        }
        for site in [None, Some("cross-site"), Some("same-site"), Some("none")] {
            press().origin(None).fetch_site(site).send().await.expect(403).expect_no_cookies();
        }
        browser.post("/email/confirm").form(&[("token", token.as_str()), ("token", "b")]).send().await.expect(400);
        for fields in [&[][..], &[("token", "nothing")][..]] {
            let html = browser.post("/email/confirm").form(fields).send().await.expect(400).text();
            assert!(html.contains("role=\"alert\"") && !html.contains("<form"), "{html}");
        }
        let me = async || browser.get("/me").send().await.expect(200).json()["user"]["email"].clone();
        assert_eq!(me().await, json!(person.email));
        for _ in 0..2 {
            let answer = press().send().await.expect(303).expect_no_cookies();
            let location = answer.header("location");
            assert_eq!((location, answer.text().as_str()), (Some("https://app.example.test/"), ""));
        }
        assert_eq!(me().await, json!(new));
        browser.post("/refresh").send().await.expect(200);
        // The way back, from a browser that knows nobody.
        let token = undo_token(&stack, &person.email).await;
        let press = || stack.browser().post("/email/undo").form(&[("token", &token)]);
        for origin in ["https://evil.test", "https://app.example.test", "null"] {
            press().origin(Some(origin)).send().await.expect(403);
        }
        let html = stack.browser().post("/email/undo").form(&[("token", "nothing")]).send().await.expect(400).text();
        assert!(html.contains("role=\"alert\"") && !html.contains("<form"), "{html}");
        assert_eq!(me().await, json!(new));
        for _ in 0..2 {
            let answer = press().send().await.expect(303);
            assert_eq!(answer.header("location"), Some("https://app.example.test/"));
        }
        browser.get("/me").send().await.expect_problem(401, "session_ended");
        browser.post("/refresh").send().await.expect_problem(401, "session_ended");
        restored(&stack, &person.email).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_brings_the_address_back_and_nobody_else_in() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.remembered(&alice).await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    stack.clock.advance(400);
    let seen = stack.mails().await.len();
    let answer = undo(&stack, &token).await.expect(204).expect_no_cookies();
    assert_eq!((answer.text().as_str(), answer.header("cache-control")), ("", Some("no-store")));

    stack.me(&app.access).await.expect_problem(401, "session_ended");
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    browser.post("/refresh").send().await.expect_problem(401, "session_ended");
    assert_eq!(status(&stack).await, "reset_required");
    for email in [alice.email.as_str(), B] {
        assert_eq!(login(&stack, email, &alice.password).await, 401);
    }
    let login = stack.client().post("/login").json(alice.login("app")).send().await;
    login.expect_problem(401, "invalid_credentials");
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email.clone(), app.user_id.clone())]));
    assert_eq!(text(&find(&stack, "USER#").await, "email"), alice.email);

    // The owner is told, and led on; whoever has the other address gets nothing to use.
    let mails = stack.mails().await.split_off(seen);
    assert!(mails.iter().any(|mail| mail.to == alice.email && mail.subject.starts_with("This is again")), "{mails:?}");
    let links: Vec<&Mail> = mails.iter().filter(|mail| mail.has_secrets()).collect();
    let [link] = links[..] else { panic!("{mails:?}") };
    assert_eq!(link.to, alice.email);
    assert!(link.link().starts_with(&format!("{}/password/reset?token=", stack.url())), "{}", link.link());
    assert_eq!(changes_told(&stack).await, 2);

    stack.clock.advance(24 * 3600 - 1);
    let app = restored(&stack, &alice.email).await;
    assert_eq!(address(&stack, &app.access).await, alice.email);
    assert_eq!(status(&stack).await, "enabled");
    // The other one is anyone's.
    assert_eq!(sign_up_and_verify(&stack, "bella", B).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_the_mail_of_an_undo_asks_for_another() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    stack.clock.advance(2 * 24 * 3600);
    assert!(forgot(&stack, B).await.is_none());
    let link = forgot(&stack, &alice.email).await.expect("a link");
    reset(&stack, &link.token()).await.expect(204);
    assert_eq!(login(&stack, &alice.email, OTHER_PASSWORD).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_undo_changes_nothing() {
    let stack = Stack::with(&[("AppUrl", "https://app.example.test/")]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    for _ in 0..2 {
        let words = words(&page(&stack, "/email/undo", &token).await);
        assert!(words.contains("alice"), "{words}");
    }
    assert_eq!(address(&stack, &app.access).await, B);
    undo(&stack, &token).await.expect(204);
    let html = stack.client().get(&format!("/email/undo?token={token}")).send().await.text();
    assert!(!html.contains("<form"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_answered_again_for_ten_minutes_and_done_once() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    undo(&stack, &token).await.expect(204);
    let app = restored(&stack, &alice.email).await;
    let mails = stack.mails().await.len();
    for wait in [0, 300, 300] {
        stack.clock.advance(wait);
        undo(&stack, &token).await.expect(204);
    }
    assert_eq!((stack.mails().await.len(), changes_told(&stack).await), (mails, 2));
    stack.me(&app.access).await.expect(200);
    assert_eq!(status(&stack).await, "enabled");
    stack.clock.advance(1);
    undo(&stack, &token).await.expect_problem(400, "invalid_verification");
    // Of a change made since it is no undo either.
    moved(&stack, &stack.app(&Person { password: OTHER_PASSWORD.to_owned(), ..alice }).await.access, C).await;
    undo(&stack, &token).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_undo_at_once_is_done_once() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    let same = at_once((0..6).map(|_| {
        let (stack, token) = (Arc::clone(&stack), token.clone());
        async move { undo(&stack, &token).await.status }
    }));
    assert_eq!(same.await, [204; 6]);
    assert_eq!(changes_told(&stack).await, 2);
    let is_reset = |mail: &Mail| mail.to == alice.email && mail.text.contains("/password/reset?token=");
    assert_eq!(stack.mails().await.iter().filter(|mail| is_reset(mail)).count(), 1);
    restored(&stack, &alice.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_holds_for_seven_days() {
    for (wait, status) in [(WEEK - 1, 204), (WEEK, 400)] {
        let stack = Stack::with_database(&[]).await;
        let (alice, app) = stack.person_with_session("alice").await;
        moved(&stack, &app.access, B).await;
        let token = undo_token(&stack, &alice.email).await;
        stack.clock.advance(wait);
        let page = stack.client().get(&format!("/email/undo?token={token}")).send().await;
        assert_eq!(page.status, if status == 204 { 200 } else { 400 });
        undo(&stack, &token).await.expect(status);
        if status == 204 {
            // Its answer may have been lost.
            stack.clock.advance(600);
            undo(&stack, &token).await.expect(204);
            restored(&stack, &alice.email).await;
        } else {
            assert_eq!(login(&stack, B, &alice.password).await, 200);
        }
    }
}

/// Whatever a thief does at the new address: the address before wins.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_holds_whatever_happened_since() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    // Another password, by the new address; another name; all sessions ended; an open change.
    let link = forgot(&stack, B).await.expect("a link");
    reset(&stack, &link.token()).await.expect(204);
    let thief = stack.app(&Person { password: OTHER_PASSWORD.to_owned(), ..alice.clone() }).await;
    stack.change(&thief.access, json!({"username": "mallory"})).await.expect(200);
    let (change_id, open) = asked(&stack, &thief.access, C).await;
    undo(&stack, &token).await.expect(204);
    stack.me(&thief.access).await.expect_problem(401, "session_ended");
    stack.refresh(&thief.refresh, None).await.expect_problem(401, "session_ended");
    let app = restored(&stack, &alice.email).await;
    assert_eq!(address(&stack, &app.access).await, alice.email);
    for proof in [by_link(&open), by_code(&change_id, &open.code())] {
        confirm(&stack, &app.access, proof).await.expect_problem(400, "invalid_verification");
    }
    assert_eq!(address(&stack, &app.access).await, alice.email);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_s_spare_resets_are_void_after_an_undo() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let mut spare = Vec::new();
    for who in [json!({"email": B}), json!({"username": alice.username}), json!({"email": B})] {
        let mut body = who;
        body["client"] = json!("app");
        let answer = stack.client().post("/password/forgot").json(body).send().await.expect(202);
        let mail = mail_for(&stack, B, "/password/reset").await;
        spare.push((answer.json()["reset_id"].clone(), mail));
    }
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    // Neither before the owner's reset nor after it.
    let refused = async || {
        for (reset_id, mail) in &spare {
            reset(&stack, &mail.token()).await.expect_problem(400, "invalid_verification");
            let body = json!({"reset_id": reset_id, "code": mail.code(), "password": OTHER_PASSWORD});
            let answer = stack.client().post("/password/reset").json(body).send().await;
            answer.expect_problem(400, "invalid_verification");
        }
    };
    refused().await;
    let app = restored(&stack, &alice.email).await;
    refused().await;
    stack.me(&app.access).await.expect(200);
}

/// A thief with a copy of the owner's cookies asks for an address of their own, and has the owner press the button.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_thief_began_and_the_owner_confirmed_is_taken_back() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.remembered(&alice).await;
    let thief = browser.copy();
    // Of the sign-in before.
    stack.local.settled().await;
    thief.post("/email/change").json(json!({"email": C})).send().await.expect(202);
    let notice = stack.mail_to(&alice.email).await;
    assert!(notice.text.contains(C) && !notice.has_secrets(), "{}", notice.text);
    let token = mail_for(&stack, C, "/email/confirm").await.token();
    let words = words(&browser.get(&format!("/email/confirm?token={token}")).send().await.expect(200).text());
    assert!(words.contains("alice") && words.contains(C), "the page says to whom the account would go: {words}");
    browser.post("/email/confirm").form(&[("token", &token)]).send().await.expect(303);
    assert_eq!(address(&stack, &app.access).await, C);
    // The mailbox is the thief's, and so is the password then, and a spare reset.
    reset(&stack, &forgot(&stack, C).await.expect("a link").token()).await.expect(204);
    let spare = forgot(&stack, C).await.expect("a link");
    let session = stack.app(&Person { password: OTHER_PASSWORD.to_owned(), ..alice.clone() }).await;

    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    stack.me(&session.access).await.expect_problem(401, "session_ended");
    stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
    thief.post("/refresh").send().await.expect_problem(401, "session_ended");
    assert_eq!(login(&stack, &alice.email, OTHER_PASSWORD).await, 401);
    assert!(forgot(&stack, C).await.is_none());
    reset(&stack, &spare.token()).await.expect_problem(400, "invalid_verification");
    let link = mail_for(&stack, &alice.email, "/password/reset").await;
    let body = json!({"token": link.token(), "password": "eleven calm badgers"});
    stack.client().post("/password/reset").json(body).send().await.expect(204);
    assert_eq!(login(&stack, &alice.email, OTHER_PASSWORD).await, 401);
    assert_eq!(login(&stack, &alice.email, "eleven calm badgers").await, 200);
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email, app.user_id)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_mailed_before_a_change_is_void_after_it() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let link = forgot(&stack, &alice.email).await.expect("a link");
    moved(&stack, &app.access, B).await;
    reset(&stack, &link.token()).await.expect_problem(400, "invalid_verification");
    assert_eq!(login(&stack, B, &alice.password).await, 200);
    // By name it is the new address that gets the mail.
    let body = json!({"username": alice.username, "client": "app"});
    stack.client().post("/password/forgot").json(body).send().await.expect(202);
    reset(&stack, &mail_for(&stack, B, "/password/reset").await.token()).await.expect(204);
}

/// A to B to C. The account, with both undos.
async fn twice_moved(stack: &Stack) -> (Person, AppSession, String, String) {
    let (alice, app) = stack.person_with_session("alice").await;
    moved(stack, &app.access, B).await;
    stack.clock.advance(60);
    moved(stack, &app.access, C).await;
    let (first, second) = (undo_token(stack, &alice.email).await, undo_token(stack, B).await);
    (alice, app, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_undo_voids_the_later_one() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app, first, second) = twice_moved(&stack).await;
    undo(&stack, &first).await.expect(204);
    undo(&stack, &second).await.expect_problem(400, "invalid_verification");
    stack.client().get(&format!("/email/undo?token={second}")).send().await.expect(400);
    let restored = restored(&stack, &alice.email).await;
    assert_eq!((restored.user_id.as_str(), address(&stack, &restored.access).await), (&*app.user_id, alice.email));
    undo(&stack, &second).await.expect_problem(400, "invalid_verification");
    // What the account no longer has is anyone's.
    assert_eq!(sign_up_and_verify(&stack, "carol", C).await, 201);
    assert_eq!(sign_up_and_verify(&stack, "bella", B).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_undo_nothing_of_changes_outlives_the_account_by_more_than_a_day() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app, first, _) = twice_moved(&stack).await;
    undo(&stack, &first).await.expect(204);
    let restored = restored(&stack, &alice.email).await;
    stack.delete_account(&restored.access).await.expect(204);
    stack.local.settled().await;
    stack.clock.advance(60);
    stack.local.settled().await;
    let now = stack.clock.now().unix();
    for item in items(&stack, "UsersTable").await {
        let whole = format!("{item:?}");
        let tells = [app.user_id.as_str(), alice.email.as_str(), B, C].iter().any(|needle| whole.contains(needle));
        let ttl = item.get("ttl").map(|ttl| ttl.as_n().expect("a number").parse::<u64>().expect("a time"));
        assert!(!tells || ttl.is_some_and(|ttl| ttl <= now + 86_400), "{item:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_undo_leaves_the_first_one() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app, first, second) = twice_moved(&stack).await;
    undo(&stack, &second).await.expect(204);
    let reserved = (alice.email.clone(), "reserved".to_owned());
    assert_eq!(addresses(&stack).await, BTreeMap::from([(B.to_owned(), app.user_id.clone()), reserved]));
    let thiefs = mail_for(&stack, B, "/password/reset").await;
    undo(&stack, &first).await.expect(204);
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email.clone(), app.user_id.clone())]));
    // The reset that followed the other undo is void.
    reset(&stack, &thiefs.token()).await.expect_problem(400, "invalid_verification");
    let restored = restored(&stack, &alice.email).await;
    assert_eq!(address(&stack, &restored.access).await, alice.email);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_works_after_the_later_one_s_account_lived_on() {
    let stack = Stack::with_database(&[]).await;
    let (alice, _, first, second) = twice_moved(&stack).await;
    undo(&stack, &second).await.expect(204);
    let thief = restored(&stack, B).await;
    undo(&stack, &first).await.expect(204);
    stack.me(&thief.access).await.expect_problem(401, "session_ended");
    let link = mail_for(&stack, &alice.email, "/password/reset").await;
    let body = json!({"token": link.token(), "password": "eleven calm badgers"});
    stack.client().post("/password/reset").json(body).send().await.expect(204);
    assert_eq!(login(&stack, &alice.email, "eleven calm badgers").await, 200);
    assert_eq!(login(&stack, B, OTHER_PASSWORD).await, 401);
}

/// What happens between the reads of an undo and its transaction counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_races_an_undo_is_void_by_it() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    let (_, open) = asked(&stack, &app.access, C).await;
    let (racing, access) = (Arc::clone(&stack), app.access.clone());
    stack.proxy().before("email-undo", "TransactWriteItems", async move {
        confirm(&racing, &access, by_link(&open)).await.expect(204);
    });
    undo(&stack, &token).await.expect(204);
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email.clone(), app.user_id.clone())]));
    // The way back to B, which was not mailed yet, is not mailed any more.
    let mails = stack.mails().await;
    assert!(mails.iter().all(|mail| mail.to != B || !mail.text.contains("/email/undo?token=")), "{mails:?}");
    restored(&stack, &alice.email).await;
}

/// And of a confirmation.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_before_a_confirmation_is_written_counts() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    // Another name: the address changes all the same, and the name stays.
    let (_, mail) = asked(&stack, &app.access, B).await;
    let (racing, access) = (Arc::clone(&stack), app.access.clone());
    stack.proxy().before("email-confirm", "TransactWriteItems", async move {
        racing.change(&access, json!({"username": "alicia"})).await.expect(200);
    });
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    let me = stack.me(&app.access).await.expect(200).json()["user"].clone();
    assert_eq!((&me["username"], &me["email"]), (&json!("alicia"), &json!(B)));
    assert_eq!(changes_told(&stack).await, 1);
    // All sessions end, by an undo: nothing changes any more.
    let (_, mail) = asked(&stack, &app.access, C).await;
    let (racing, token) = (Arc::clone(&stack), undo_token(&stack, &alice.email).await);
    stack.proxy().before("email-confirm", "TransactWriteItems", async move {
        undo(&racing, &token).await.expect(204);
    });
    let late = confirm(&stack, &app.access, by_link(&mail)).await;
    assert!(matches!(late.status, 400 | 401), "{}", late.text());
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email.clone(), app.user_id.clone())]));
    assert_eq!(text(&find(&stack, "USER#").await, "email"), alice.email);
}

/// Somebody signed in to the account cannot push the owner's undo off the list.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_leave_the_first_undo() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let mut refused = 0;
    for number in 0..12 {
        let (_, mail) = asked(&stack, &app.access, &format!("away{number}@example.test")).await;
        let answer = confirm(&stack, &app.access, by_link(&mail)).await;
        if answer.status == 429 {
            answer.expect_problem(429, "rate_limited");
            refused += 1;
        } else {
            answer.expect(204);
        }
    }
    assert_eq!(refused, 2, "ten may be undone");
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    assert_eq!(addresses(&stack).await, BTreeMap::from([(alice.email.clone(), app.user_id)]));
    restored(&stack, &alice.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_undos_outlast_short_sessions() {
    let parameters = [("AppIdleTimeout", "3600"), ("AppSessionLifetime", "7200"), ("BrowserSessionLifetime", "7200")];
    let stack = Stack::with_database(&parameters).await;
    let scheduled = async || {
        let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        stack.local.functions().invoke("rotate-keys", event).await.expect("an answer")
    };
    // A day before the keys' first month is over.
    stack.person("bob").await;
    stack.clock.advance(29 * 86_400);
    scheduled().await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    let mut created = 0;
    for _ in 0..13 {
        stack.clock.advance(WEEK / 14);
        created += scheduled().await["created"].as_u64().expect("a count");
    }
    assert!(created > 0, "the keys were rotated");
    undo(&stack, &token).await.expect(204);
    restored(&stack, &alice.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_never_enables_who_was_banned() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    overwrite(&stack, "USER#", "status", AttributeValue::S("disabled".to_owned())).await;
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    assert_eq!(status(&stack).await, "disabled");
    assert_eq!(text(&find(&stack, "USER#").await, "email"), alice.email);
    let mails = stack.mails().await;
    for mail in mails.iter().filter(|mail| mail.text.contains("/password/reset?token=")) {
        reset(&stack, &mail.token()).await.expect_problem(400, "invalid_verification");
    }
    assert_eq!(status(&stack).await, "disabled");
    for password in [alice.password.as_str(), OTHER_PASSWORD] {
        assert_eq!(login(&stack, &alice.email, password).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_a_thief_deleted_is_taken_back() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    stack.delete_account(&app.access).await.expect(204);
    assert_eq!(status(&stack).await, "deleting");
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    assert_eq!(login(&stack, B, &alice.password).await, 401);
    assert_ne!(sign_up_and_verify(&stack, "carol", &alice.email).await, 201);
    stack.clock.advance(WEEK - 1);
    undo(&stack, &token).await.expect(204);
    assert_eq!(status(&stack).await, "reset_required");
    let restored = restored(&stack, &alice.email).await;
    assert_eq!((restored.user_id.as_str(), address(&stack, &restored.access).await), (&*app.user_id, alice.email));
    // The deletion, whose hour comes, finds nothing to do.
    for _ in 0..3 {
        stack.clock.advance(3600);
        stack.local.functions().invoke("sweep", json!({})).await.expect("an answer");
    }
    assert_eq!(status(&stack).await, "enabled");
    stack.refresh(&restored.refresh, None).await.expect(200);
}

/// Who was told of a deletion, and how often other systems were, in the weeks to come.
async fn told_of_deletion(stack: &Stack) -> (Vec<String>, usize) {
    for _ in 0..3 {
        stack.clock.advance(WEEK);
        for _ in 0..2 {
            stack.local.functions().invoke("sweep", json!({})).await.expect("an answer");
            stack.clock.advance(60);
        }
    }
    let mails = stack.mails().await.into_iter();
    let receipts = mails.filter(|mail| mail.subject.ends_with("was deleted")).map(|mail| mail.to).collect();
    let events = events(stack).await.into_iter().filter(|(kind, _)| kind == "user.deleted").count();
    let left = items(stack, "UsersTable").await;
    assert!(
        left.iter().all(|item| !["OUTBOX#", "USER#", "SESSIONS#"].iter().any(|of| text(item, "pk").starts_with(of)))
    );
    (receipts, events)
}

/// Of the thief's deletion, whose hour comes, nothing is done or told any more: it would be to the thief.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_taken_back_and_deleted_by_its_owner_is_told_of_once() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    stack.delete_account(&app.access).await.expect(204);
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    let owner = restored(&stack, &alice.email).await;
    stack.delete_account(&owner.access).await.expect(204);
    assert_eq!(told_of_deletion(&stack).await, (vec![alice.email], 1));
}

/// Two deletions wait: the first was voided by the later of two undos, the other was not.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_deletions_that_wait_the_one_that_holds_is_told_of() {
    let stack = Stack::with_database(&[]).await;
    let (_, app, _, second) = twice_moved(&stack).await;
    stack.delete_account(&app.access).await.expect(204);
    undo(&stack, &second).await.expect(204);
    let owner = restored(&stack, B).await;
    stack.delete_account(&owner.access).await.expect(204);
    assert_eq!(status(&stack).await, "deleting", "the first undo is open");
    assert_eq!(told_of_deletion(&stack).await, (vec![B.to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_undo_a_deleted_account_is_gone_after_seven_days() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    moved(&stack, &app.access, B).await;
    let token = undo_token(&stack, &alice.email).await;
    stack.delete_account(&app.access).await.expect(204);
    let sweep = async || stack.local.functions().invoke("sweep", json!({})).await.expect("an answer");
    stack.clock.advance(WEEK - 1);
    sweep().await;
    assert_eq!(status(&stack).await, "deleting");
    stack.clock.advance(1);
    undo(&stack, &token).await.expect_problem(400, "invalid_verification");
    sweep().await;
    // The second pass, which finds what a request in flight wrote.
    stack.clock.advance(60);
    sweep().await;
    assert!(events(&stack).await.contains(&("user.deleted".to_owned(), app.user_id.clone())));
    assert_eq!(stack.mail_to(B).await.subject, "Your account with Latchkey was deleted");
    let now = stack.clock.now().unix();
    for item in items(&stack, "UsersTable").await {
        let whole = format!("{item:?}");
        let tells = [app.user_id.as_str(), alice.email.as_str(), B].iter().any(|needle| whole.contains(needle));
        // DynamoDB deletes what is over when it likes; what is not must be nobody's.
        let ttl = item.get("ttl").map(|ttl| ttl.as_n().expect("a number").parse::<u64>().expect("a time"));
        assert!(!tells || ttl.is_some_and(|ttl| ttl <= now), "{item:?}");
    }
    undo(&stack, &token).await.expect_problem(400, "invalid_verification");
    assert_eq!(sign_up_and_verify(&stack, "anna", &alice.email).await, 201);
    assert_eq!(sign_up_and_verify(&stack, "bella", B).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_every_change_and_of_no_address() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let changed = ("email.changed".to_owned(), app.user_id.clone());
    let told = events(&stack).await;
    let (_, mail) = asked(&stack, &app.access, B).await;
    assert_eq!(events(&stack).await, told, "to ask is no change");
    confirm(&stack, &app.access, by_link(&mail)).await.expect(204);
    assert_eq!(events(&stack).await[told.len()..], vec![changed.clone(); 1]);
    undo(&stack, &undo_token(&stack, &alice.email).await).await.expect(204);
    assert_eq!(events(&stack).await[told.len()..], vec![changed; 2]);
    let whole = stack.client().get("/_local/events.json").send().await.expect(200).text();
    assert!(!whole.contains('@') && !whole.contains("alice"), "{whole}");
}
