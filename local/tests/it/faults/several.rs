//! What fails for several requests, or while the clock goes on: outages that no single request shows.

use serde_json::{Value, json};

use super::table::{Tables, records};
use crate::harness::{Answer, Call, CallFault, Extent, Injection, Person, Stack};
use crate::password_reset::{forgotten, wrong};

const NEW: &str = "nine loud otters";

/// No request waits for SES: what could not be mailed is mailed by the next sweep.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_depends_on_mail() {
    let stack = Stack::start().await;
    let client = stack.client();
    let alice = Person::named("alice");
    // More often than a call is tried.
    stack.local.mailbox().fail_next(1000);
    let answer = client.post("/signup").json(alice.signup("app")).send().await.expect(202);
    let signup_id = answer.json()["signup_id"].clone();
    assert_eq!(stack.mails().await.len(), 0);
    stack.clock.advance(60);
    client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    client.post("/password/forgot").json(json!({"email": "nobody@example.test"})).send().await.expect(202);
    assert_eq!(stack.mails().await.len(), 0);
    stack.local.mailbox().fail_next(0);
    stack.clock.advance(300);
    stack.local.functions().invoke("sweep", json!({})).await.expect("a sweep");
    // The first mail of the sign-up is left out: its link died with the resend.
    assert_eq!(stack.mails().await.len(), 2);
    let mail = stack.mail_to(&alice.email).await;
    stack.verify(json!({"signup_id": signup_id, "token": mail.token(), "client": "app"})).await.expect(201);
}

/// However often it fails, a right guess is none.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_spends_no_right_code() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    let (reset_id, mail) = forgotten(&stack, &alice).await;
    let body = json!({"reset_id": reset_id, "code": mail.code(), "password": NEW});
    for _ in 0..6 {
        stack.proxy().throttle(&["TransactWriteItems", "GetItem"]);
        stack.client().post("/password/reset").json(body.clone()).send().await.expect_problem(503, "unavailable");
        stack.proxy().heal();
    }
    stack.client().post("/password/reset").json(body).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_wrong_password() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let call = || stack.client().post("/reauthenticate").bearer(&app.access).json(json!({"password": alice.password}));
    stack.proxy().throttle(&["TransactWriteItems"]);
    for _ in 0..12 {
        call().send().await.expect_problem(503, "unavailable");
    }
    stack.proxy().heal();
    call().send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_keys_that_honours_retry_after_stays_signed_in() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        browser.post("/refresh").send().await.expect(200);
        // The rotation happens, and cannot be answered; there is no key by which to know the repetition.
        stack.proxy().throttle(&["GetItem"]);
        let refused = browser.post("/refresh").send().await.expect_problem(503, "unavailable");
        stack.proxy().heal();
        let wait = refused.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds");
        stack.clock.advance(wait);
        browser.post("/refresh").send().await.expect(200);
        browser.get("/me").send().await.expect(200);
    }
}

/// Sends a request, the answer of whose first call of `operation` is cut off. It is repeated, and done once.
async fn cut_off(stack: &Stack, operation: &str, call: impl Fn() -> Call) -> Answer {
    // Where that is, and with everything in memory that there is to read.
    for _ in 0..2 {
        stack.calls().begin(&[]);
        call().send().await;
    }
    let (calls, _) = stack.calls().end();
    let at = calls.iter().position(|call| call.operation == operation).expect("such a call");
    stack.calls().begin(&[Injection { at, fault: CallFault::CutOff, extent: Extent::Once }]);
    let answer = call().send().await;
    let (_, met) = stack.calls().end();
    assert_eq!(met.len(), 1);
    answer
}

#[tokio::test(start_paused = true)]
async fn a_guess_whose_call_is_repeated_is_one_guess() {
    let stack = Stack::in_process(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let guess = |code: String| stack.verify(json!({"signup_id": signup_id, "code": code, "client": "app"}));
    let body = json!({"signup_id": signup_id, "code": wrong(&mail.code(), 1), "client": "app"});
    let answer = cut_off(&stack, "UpdateItem", || stack.client().post("/verify").json(body.clone())).await;
    answer.expect_problem(400, "invalid_verification");
    // Three of five are spent.
    guess(wrong(&mail.code(), 2)).await.expect_problem(400, "invalid_verification");
    guess(mail.code()).await.expect(201);

    // Ten in a row end a session.
    let app = stack.app(&alice).await;
    let call = || {
        let call = stack.client().post("/reauthenticate").bearer(&app.access);
        call.json(json!({"password": "not the password"}))
    };
    for _ in 0..3 {
        cut_off(&stack, "UpdateItem", call).await.expect_problem(403, "wrong_password");
    }
    let right = stack.client().post("/reauthenticate").bearer(&app.access);
    right.json(json!({"password": alice.password})).send().await.expect(200);
}

/// A right guess is given back once, also where it is not known whether that was done with what it proved.
#[tokio::test(start_paused = true)]
async fn a_guess_that_is_given_back_by_a_call_that_is_repeated_is_one_guess() {
    let stack = Stack::in_process(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let (other, other_mail) = stack.sign_up(&Person { username: "bob".to_owned(), ..alice }).await;
    stack.verify(json!({"signup_id": other, "code": other_mail.code(), "client": "app"})).await.expect(201);
    // Right, and in vain: it is spent, and given back by the request's last call.
    let body = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let call = || stack.client().post("/verify").json(body.clone());
    call().send().await.expect_problem(409, "email_taken");
    stack.calls().begin(&[]);
    call().send().await.expect_problem(409, "email_taken");
    let (calls, _) = stack.calls().end();
    let at = calls.iter().rposition(|call| call.operation == "UpdateItem").expect("it is given back");
    assert_eq!(at, calls.len() - 1);
    for _ in 0..3 {
        stack.calls().begin(&[Injection { at, fault: CallFault::CutOff, extent: Extent::Once }]);
        call().send().await.expect_problem(409, "email_taken");
        stack.calls().end();
    }
    assert_eq!(code_attempts(&stack).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_guess_that_its_transaction_gave_back_is_not_given_back_again() {
    let stack = Stack::in_process(&[]).await;
    stack.person("warm").await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let body = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    // The account is made, and no answer ever says so.
    let lost = Injection { at: 1, fault: CallFault::CutOff, extent: Extent::Always };
    stack.calls().begin(&[lost]);
    stack.verify(body.clone()).await.expect_problem(503, "unavailable");
    let (calls, met) = stack.calls().end();
    assert_eq!((calls[1].operation.as_str(), met.len()), ("TransactWriteItems", 1));
    assert_eq!(code_attempts(&stack).await, 5);
    stack.verify(body).await.expect(201);
}

/// The most guesses that any sign-up has left.
async fn code_attempts(stack: &Stack) -> u64 {
    let tables = Tables::read(stack.calls()).await;
    let left = |item: &Value| item["code_attempts"]["N"].as_str().expect("a number").parse().expect("a number");
    tables.with("SIGNUP#").map(left).max().expect("a sign-up")
}

/// The mail goes out now, and not with the sweep.
#[tokio::test(start_paused = true)]
async fn an_item_whose_lease_is_repeated_is_told_at_once() {
    let stack = Stack::in_process(&[]).await;
    stack.client().post("/signup").json(Person::named("alice").signup("app")).send().await.expect(202);
    let items = Tables::read(stack.calls()).await.outbox();
    stack.calls().begin(&[Injection { at: 0, fault: CallFault::CutOff, extent: Extent::Once }]);
    let answer = stack.local.functions().invoke("outbox", records(&items)).await.expect("an answer");
    let (calls, met) = stack.calls().end();
    assert_eq!((calls[0].operation.as_str(), met.len()), ("UpdateItem", 1));
    assert_eq!((answer["done"].clone(), stack.local.mailbox().mails().len()), (json!(1), 1));
}
