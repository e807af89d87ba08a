//! A dependency that fails gives 503, nothing half done, and the same request sent again succeeds.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{AppSession, Client, Fault, Person, Stack, retry_key};

const EVERYTHING: [&str; 7] =
    ["BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"];

/// Asserts that a request fails while `operations` do, and that the same one then gives `status`.
async fn fails_and_recovers(
    stack: &Stack,
    operations: &[&str],
    fault: Fault,
    request: &Request<'_>,
    status: u16,
) -> Value {
    stack.proxy().fail_all(operations, fault);
    let answer = request.send().await;
    assert_eq!(answer.status, 503, "{} while {operations:?} fail: {}", request.path, answer.text());
    answer.expect_problem(503, "unavailable").expect_no_cookies();
    stack.proxy().heal();
    let answer = request.send().await;
    assert_eq!(answer.status, status, "{} again, after {operations:?} failed: {}", request.path, answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// A request that can be sent again.
struct Request<'a> {
    client: &'a Client,
    /// Else `POST` where there is a body, and `GET`.
    method: Option<Method>,
    path: &'a str,
    body: Option<Value>,
    bearer: Option<String>,
    key: Option<String>,
}

impl<'a> Request<'a> {
    fn new(client: &'a Client, path: &'a str, body: Value) -> Self {
        Self { client, method: None, path, body: Some(body), bearer: None, key: None }
    }

    async fn send(&self) -> crate::harness::Answer {
        let method = self.method.clone().unwrap_or(if self.body.is_some() { Method::POST } else { Method::GET });
        let mut call = self.client.request(method, self.path);
        if let Some(body) = &self.body {
            call = call.json(body.clone());
        }
        if let Some(bearer) = &self.bearer {
            call = call.bearer(bearer);
        }
        if let Some(key) = &self.key {
            call = call.retry_key(key);
        }
        call.send().await
    }
}

/// Ways in which the whole database fails at once.
const OUTAGES: [Fault; 3] = [Fault::Throttling, Fault::ThroughputExceeded, Fault::ServerError];

#[tokio::test(flavor = "multi_thread")]
async fn signup() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    stack.person("warm").await;
    let mut cases: Vec<(Vec<&str>, Fault)> = OUTAGES.map(|fault| (EVERYTHING.to_vec(), fault)).into();
    cases.push((vec!["TransactWriteItems"], Fault::Throttling));
    cases.push((vec!["BatchGetItem"], Fault::UnprocessedKeys));
    for (index, (operations, fault)) in cases.into_iter().enumerate() {
        let person = Person::named(&format!("alice{index}"));
        let request = Request::new(&client, "/signup", person.signup("app"));
        let body = fails_and_recovers(&stack, &operations, fault, &request, 202).await;
        let mails: Vec<_> = stack.mails().await.into_iter().filter(|mail| mail.to == person.email).collect();
        assert_eq!(mails.len(), 1, "no mail for what was not stored");
        let proof = json!({"signup_id": body["signup_id"], "code": mails[0].code(), "client": "app"});
        stack.verify(proof).await.expect(201);
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn one_server_error_of_ses_is_retried() {
    let stack = Stack::start().await;
    stack.local.mailbox().fail_next(1);
    stack.sign_up(&Person::named("alice")).await;
    assert_eq!(stack.mails().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgot_and_reset() {
    let stack = Stack::with_proxy(&[("AddressMailsHourly", "0"), ("AddressMailsDaily", "0")]).await;
    let client = stack.client();
    let alice = stack.person("alice").await;
    let body = json!({"token": "A".repeat(54), "password": "nine loud otters"});
    client.post("/password/reset").json(body).send().await.expect(400);
    let cases: Vec<(Vec<&str>, Fault)> = OUTAGES
        .map(|fault| (EVERYTHING.to_vec(), fault))
        .into_iter()
        .chain([(vec!["TransactWriteItems"], Fault::Throttling)])
        .collect();
    for (operations, fault) in &cases {
        let body = json!({"email": alice.email, "client": "app"});
        let request = Request::new(&client, "/password/forgot", body);
        let before = stack.mails().await.len();
        let answer = fails_and_recovers(&stack, operations, *fault, &request, 202).await;
        assert_eq!(stack.mails().await.len(), before + 1, "no mail for what was not stored");
        let mail = stack.secrets_to(&alice.email).await;
        assert!(answer["reset_id"].is_string(), "{answer}");
        let proof = json!({"token": mail.token(), "password": "nine loud otters"});
        let request = Request::new(&client, "/password/reset", proof);
        fails_and_recovers(&stack, operations, *fault, &request, 204).await;
    }
    // However often it fails, a right guess is none.
    let body = json!({"email": alice.email, "client": "app"});
    let answer = client.post("/password/forgot").json(body).send().await.expect(202);
    let code = stack.secrets_to(&alice.email).await.code();
    let body = json!({"reset_id": answer.json()["reset_id"], "code": code, "password": "nine loud otters"});
    for _ in 0..6 {
        stack.proxy().fail_all(&["TransactWriteItems", "GetItem"], Fault::Throttling);
        client.post("/password/reset").json(body.clone()).send().await.expect_problem(503, "unavailable");
        stack.proxy().heal();
    }
    client.post("/password/reset").json(body).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_reset() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    let body = json!({"email": alice.email, "client": "app"});
    let forgot = || stack.client().post("/password/forgot").json(body.clone());
    forgot().send().await.expect(202);
    stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
    forgot().send().await.expect(202);
    assert_eq!(stack.proxy().heal(), 0);
    let mail = stack.mail_to(&alice.email).await;
    let proof = json!({"token": mail.token(), "password": "nine loud otters"});
    stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
    stack.client().post("/password/reset").json(proof).send().await.expect(204);
    assert_eq!(stack.proxy().heal(), 0);
    stack.app(&Person { password: "nine loud otters".to_owned(), ..alice }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resend() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let alice = Person::named("alice");
    let (signup_id, _) = stack.sign_up(&alice).await;
    stack.clock.advance(60);
    let request = Request::new(&client, "/signup/resend", json!({"signup_id": signup_id}));
    fails_and_recovers(&stack, &EVERYTHING, Fault::Throttling, &request, 202).await;
    let mail = stack.mail_to(&alice.email).await;
    stack.verify(json!({"signup_id": signup_id, "token": mail.token(), "client": "app"})).await.expect(201);
    let unknown = Request::new(&client, "/signup/resend", json!({"signup_id": "nothing"}));
    fails_and_recovers(&stack, &EVERYTHING, Fault::Throttling, &unknown, 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    stack.person("warm").await;
    let cases = [
        (&EVERYTHING[..], Fault::Throttling),
        (&EVERYTHING[..], Fault::ServerError),
        (&["TransactWriteItems"][..], Fault::Throttling),
        (&["TransactWriteItems"][..], Fault::Conflict),
        (&["GetItem", "BatchGetItem"][..], Fault::Throttling),
    ];
    for (index, (operations, fault)) in cases.into_iter().enumerate() {
        let person = Person::named(&format!("alice{index}"));
        let (signup_id, mail) = stack.sign_up(&person).await;
        let proof = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
        let request = Request::new(&client, "/verify", proof);
        fails_and_recovers(&stack, operations, fault, &request, 201).await;
        stack.app(&person).await;
    }
    // By code: the attempts that the outage spent are spent, and one is left.
    let person = Person::named("bob");
    let (signup_id, mail) = stack.sign_up(&person).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let request = Request::new(&client, "/verify", proof);
    fails_and_recovers(&stack, &["TransactWriteItems"], Fault::Throttling, &request, 201).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn login() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let alice = stack.person("alice").await;
    stack.app(&alice).await;
    for (operations, fault) in [
        (&EVERYTHING[..], Fault::Throttling),
        (&EVERYTHING[..], Fault::ServerError),
        (&["GetItem"][..], Fault::Throttling),
        (&["PutItem", "TransactWriteItems"][..], Fault::Throttling),
    ] {
        let request = Request::new(&client, "/login", alice.login("app"));
        fails_and_recovers(&stack, operations, fault, &request, 200).await;
    }
    // A browser keeps the session that it had.
    let browser = stack.signed_in(&alice).await;
    let request = Request::new(&browser, "/login", alice.remembered());
    stack.proxy().fail_all(&["PutItem", "TransactWriteItems"], Fault::Throttling);
    request.send().await.expect_problem(503, "unavailable").expect_no_cookies();
    stack.proxy().heal();
    browser.get("/me").send().await.expect(200);
    // Neither an outage nor a failure tells who exists.
    stack.proxy().fail_all(&EVERYTHING, Fault::Throttling);
    let nobody = Request::new(&client, "/login", Person::named("nobody").login("app"));
    nobody.send().await.expect_problem(503, "unavailable");
    stack.proxy().heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let (_, mut app) = stack.person_with_session("alice").await;
    app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    for (operations, fault) in [
        (&EVERYTHING[..], Fault::Throttling),
        (&EVERYTHING[..], Fault::ServerError),
        (&["UpdateItem"][..], Fault::Throttling),
        // The rotation has happened, and its answer cannot be given: the same key gets it.
        (&["GetItem"][..], Fault::Throttling),
    ] {
        let body = json!({"refresh": app.refresh});
        let request = Request { key: Some(retry_key()), ..Request::new(&client, "/refresh", body) };
        fails_and_recovers(&stack, operations, fault, &request, 200).await;
        app = AppSession::of(&request.send().await.expect(200));
        stack.me(&app.access).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_of_browsers_without_keys() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        browser.post("/refresh").send().await.expect(200);
        for operations in [&EVERYTHING[..], &["UpdateItem"], &["GetItem"]] {
            let request = Request::new(&browser, "/refresh", json!({}));
            fails_and_recovers(&stack, operations, Fault::Throttling, &request, 200).await;
            browser.get("/me").send().await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reuse_that_cannot_be_recorded_is_not_declared() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, first) = stack.person_with_session("alice").await;
    let second = AppSession::of(&stack.refresh(&first.refresh, None).await.expect(200));
    stack.proxy().fail_all(&["TransactWriteItems"], Fault::Throttling);
    stack.refresh(&first.refresh, None).await.expect_problem(503, "unavailable");
    stack.proxy().heal();
    stack.refresh(&first.refresh, None).await.expect_problem(401, "token_reused");
    stack.me(&second.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn logout() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let (alice, app) = stack.person_with_session("alice").await;
    stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
    for everywhere in [false, true] {
        for operations in [&EVERYTHING[..], &["DeleteItem", "UpdateItem", "TransactWriteItems"]] {
            let app = stack.app(&alice).await;
            let body = json!({"everywhere": everywhere});
            let bearer = Some(app.access.clone());
            let request = Request { bearer, ..Request::new(&client, "/logout", body) };
            fails_and_recovers(&stack, operations, Fault::Throttling, &request, 204).await;
            stack.me(&app.access).await.expect_problem(401, "session_ended");
        }
    }
    // A browser keeps its cookies, so that it can try again.
    let browser = stack.signed_in(&alice).await;
    stack.proxy().fail_all(&EVERYTHING, Fault::Throttling);
    browser.post("/logout").send().await.expect_problem(503, "unavailable").expect_no_cookies();
    stack.proxy().heal();
    browser.post("/logout").send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn me() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let (_, app) = stack.person_with_session("alice").await;
    stack.me(&app.access).await.expect(200);
    for fault in [Fault::Throttling, Fault::ServerError, Fault::UnprocessedKeys] {
        let bearer = Some(app.access.clone());
        let request = Request { client: &client, method: None, path: "/me", body: None, bearer, key: None };
        fails_and_recovers(&stack, &["BatchGetItem"], fault, &request, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn profile() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let (_, app) = stack.person_with_session("alice").await;
    stack.change(&app.access, json!({"locale": "en"})).await.expect(200);
    for (index, (operations, fault)) in [
        (&EVERYTHING[..], Fault::Throttling),
        (&["TransactWriteItems"], Fault::ServerError),
        (&["TransactWriteItems"], Fault::Conflict),
    ]
    .into_iter()
    .enumerate()
    {
        let (method, bearer) = (Some(Method::PATCH), Some(app.access.clone()));
        let body = json!({"username": format!("alice{index}"), "locale": "ko"});
        let request = Request { method, bearer, ..Request::new(&client, "/me", body) };
        let body = fails_and_recovers(&stack, operations, fault, &request, 200).await;
        assert_eq!(body["user"]["username"], format!("alice{index}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_and_export() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    for (operations, fault) in [
        (&EVERYTHING[..], Fault::Throttling),
        (&["TransactWriteItems"], Fault::ServerError),
        (&["TransactWriteItems"], Fault::Conflict),
    ] {
        let (alice, app) = stack.person_with_session("alice").await;
        let browser = stack.signed_in(&alice).await;
        let bearer = || Some(app.access.clone());
        let export =
            Request { client: &client, method: None, path: "/me/export", body: None, bearer: bearer(), key: None };
        for operations in [&["Query"][..], &["GetItem"], &["BatchGetItem"]] {
            fails_and_recovers(&stack, operations, fault, &export, 200).await;
        }
        // A browser keeps its cookies, so that it can try again.
        stack.proxy().fail_all(operations, fault);
        browser.delete("/me").send().await.expect_problem(503, "unavailable").expect_no_cookies();
        stack.proxy().heal();
        browser.get("/me").send().await.expect(200);
        let deletion = Request { method: Some(Method::DELETE), path: "/me", ..export };
        fails_and_recovers(&stack, operations, fault, &deletion, 204).await;
        browser.get("/me").send().await.expect_problem(401, "session_ended");
        // The receipt comes before the next sign-up's mail.
        stack.local.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_does_not_fail_the_request_wrongly() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    stack.clock.advance(1200);
    stack.proxy().fail_all(&["UpdateItem"], Fault::Throttling);
    let answer = browser.get("/me").send().await;
    // Either is honest: the answer without a new cookie, or a 503; never a cookie that the table does not know of.
    assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
    answer.expect_no_cookies();
    stack.proxy().heal();
    let answer = browser.get("/me").send().await.expect(200);
    assert!(answer.cookie("access").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_loaded() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    // Nothing is warm: the very first keys are made during an outage.
    stack.proxy().fail_all(&["BatchGetItem", "TransactWriteItems"], Fault::Throttling);
    let alice = Person::named("alice");
    client.post("/signup").json(alice.signup("app")).send().await.expect_problem(503, "unavailable");
    client.get("/.well-known/jwks.json").send().await.expect(503);
    stack.proxy().heal();
    let (_, app) = stack.person_with_session("alice").await;
    stack.proxy().fail_all(&["BatchGetItem"], Fault::Throttling);
    stack.refresh(&app.refresh, None).await.expect_problem(503, "unavailable");
    stack.proxy().heal();
    stack.refresh(&app.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_database_errors_are_retried() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = Person::named("alice");
    let once = |fault: Fault| {
        stack.proxy().heal();
        for operation in EVERYTHING {
            stack.proxy().fail(operation, fault, 1);
        }
    };
    for fault in OUTAGES {
        let person = Person::named(&format!("{}{fault:?}", alice.username));
        let (signup_id, mail) = {
            once(fault);
            stack.sign_up(&person).await
        };
        once(fault);
        let proof = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
        stack.verify(proof).await.expect(201);
        once(fault);
        let app = stack.app(&person).await;
        once(fault);
        let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
        once(fault);
        stack.me(&app.access).await.expect(200);
        once(fault);
        stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
        stack.proxy().heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_conflicts_are_retried() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    // The keys are made in a transaction too: let that one pass.
    stack.person("warm").await;
    stack.proxy().fail("TransactWriteItems", Fault::Conflict, 2);
    let proof = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
    stack.verify(proof).await.expect(201);
    assert_eq!(stack.proxy().heal(), 0, "both conflicts were met");
    // A login that replaces a session is a transaction.
    let browser = stack.signed_in(&alice).await;
    stack.proxy().fail("TransactWriteItems", Fault::Conflict, 2);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    assert_eq!(stack.proxy().heal(), 0, "both conflicts were met");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_of_single_writes_are_retried() {
    // What DynamoDB says to a plain write whose item a transaction holds.
    let stack = Stack::with_proxy(&[("NewDeviceNotice", "false")]).await;
    let alice = stack.person("alice").await;
    let mut app = stack.app(&alice).await;
    let met = || assert_eq!(stack.proxy().heal(), 0, "both conflicts were met");
    stack.proxy().fail("PutItem", Fault::Conflict, 2);
    stack.app(&alice).await;
    met();
    for key in [Some(retry_key()), None] {
        stack.proxy().fail("UpdateItem", Fault::Conflict, 2);
        let before = app.generation();
        app = AppSession::of(&stack.refresh(&app.refresh, key.as_deref()).await.expect(200));
        assert_eq!(app.generation(), before + 1);
        met();
    }
    stack.proxy().fail("DeleteItem", Fault::Conflict, 2);
    stack.client().post("/logout").json(json!({"refresh": app.refresh})).send().await.expect(204);
    met();
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    let (signup_id, mail) = stack.sign_up(&Person::named("bob")).await;
    stack.proxy().fail("UpdateItem", Fault::Conflict, 2);
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    met();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_keys_that_honours_retry_after_stays_signed_in() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        browser.post("/refresh").send().await.expect(200);
        // The rotation happens, and cannot be answered; there is no key by which to know the repetition.
        stack.proxy().fail_all(&["GetItem"], Fault::Throttling);
        let refused = browser.post("/refresh").send().await.expect_problem(503, "unavailable");
        stack.proxy().heal();
        let wait = refused.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds");
        stack.clock.advance(wait);
        browser.post("/refresh").send().await.expect(200);
        browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unprocessed_keys_are_retried() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.proxy().fail("BatchGetItem", Fault::UnprocessedKeys, 2);
    let answer = stack.me(&app.access).await.expect(200);
    assert_eq!(answer.json()["user"]["username"], "alice");
    assert_eq!(stack.proxy().heal(), 0);
    stack.proxy().fail("BatchGetItem", Fault::UnprocessedKeys, 1);
    let taken = Person { username: "alice".to_owned(), ..Person::named("bob") };
    stack.client().post("/signup").json(taken.signup("app")).send().await.expect_problem(409, "username_taken");
    assert_eq!(stack.proxy().heal(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_sign_up() {
    let stack = Stack::with_proxy(&[]).await;
    stack.person("warm").await;
    let alice = Person::named("alice");
    stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
    let (signup_id, mail) = stack.sign_up(&alice).await;
    assert_eq!(stack.proxy().heal(), 0);
    let mails = stack.mails().await.into_iter().filter(|mail| mail.to == alice.email).count();
    assert_eq!(mails, 1);
    stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
    let proof = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
    let app = AppSession::of(&stack.verify(proof).await.expect(201));
    assert_eq!(stack.proxy().heal(), 0);
    stack.me(&app.access).await.expect(200);
    // One lost answer costs a code attempt at most.
    let bob = Person::named("bob");
    let (signup_id, mail) = stack.sign_up(&bob).await;
    stack.proxy().fail("UpdateItem", Fault::LostAnswer, 1);
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    stack.verify(proof).await.expect(201);
    stack.proxy().heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_resend() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, _) = stack.sign_up(&alice).await;
    stack.clock.advance(60);
    for id in [signup_id.as_str(), "nothing"] {
        stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
        stack.client().post("/signup/resend").json(json!({"signup_id": id})).send().await.expect(202);
        assert_eq!(stack.proxy().heal(), 0);
    }
    let mail = stack.mail_to(&alice.email).await;
    stack.verify(json!({"signup_id": signup_id, "token": mail.token(), "client": "app"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_login() {
    let stack = Stack::with_proxy(&[("NewDeviceNotice", "false")]).await;
    let alice = stack.person("alice").await;
    stack.app(&alice).await;
    stack.proxy().fail("PutItem", Fault::LostAnswer, 1);
    let app = stack.app(&alice).await;
    assert_eq!(stack.proxy().heal(), 0);
    stack.me(&app.access).await.expect(200);
    let browser = stack.signed_in(&alice).await;
    stack.proxy().fail("TransactWriteItems", Fault::LostAnswer, 1);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    assert_eq!(stack.proxy().heal(), 0);
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_refresh() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, first) = stack.person_with_session("alice").await;
    // With a key: the call's own retry meets the rotation that it made.
    let key = retry_key();
    stack.proxy().fail("UpdateItem", Fault::LostAnswer, 1);
    let second = AppSession::of(&stack.refresh(&first.refresh, Some(&key)).await.expect(200));
    assert_eq!(stack.proxy().heal(), 0);
    assert_eq!(second.generation(), first.generation() + 1);
    stack.me(&second.access).await.expect(200);
    // Without one: an app that sent one request must not be taken for two.
    stack.proxy().fail("UpdateItem", Fault::LostAnswer, 1);
    let third = AppSession::of(&stack.refresh(&second.refresh, None).await.expect(200));
    assert_eq!(stack.proxy().heal(), 0);
    assert_eq!(third.generation(), second.generation() + 1);
    stack.me(&third.access).await.expect(200);
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        stack.proxy().fail("UpdateItem", Fault::LostAnswer, 1);
        browser.post("/refresh").send().await.expect(200);
        assert_eq!(stack.proxy().heal(), 0);
        browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_logout() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
    for everywhere in [false, true] {
        let app = stack.app(&alice).await;
        for operation in ["DeleteItem", "UpdateItem", "TransactWriteItems"] {
            stack.proxy().fail(operation, Fault::LostAnswer, 1);
        }
        let body = json!({"everywhere": everywhere});
        stack.client().post("/logout").bearer(&app.access).json(body).send().await.expect(204);
        stack.proxy().heal();
        stack.me(&app.access).await.expect_problem(401, "session_ended");
        let again = stack.app(&alice).await;
        stack.me(&again.access).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_the_password_again() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let (mut alice, mut app) = stack.person_with_session("alice").await;
    for (operations, fault) in [
        (&EVERYTHING[..], Fault::Throttling),
        (&EVERYTHING[..], Fault::ServerError),
        (&["UpdateItem"][..], Fault::Throttling),
        (&["GetItem"][..], Fault::Throttling),
        (&["TransactWriteItems"][..], Fault::Throttling),
        (&["TransactWriteItems"][..], Fault::Conflict),
        // The session is replaced, and its answer cannot be given: the same key gets it.
        (&["TransactWriteItems"][..], Fault::LostAnswer),
    ] {
        let new_password = format!("{}!", alice.password);
        for (path, body) in [
            ("/reauthenticate", json!({"password": alice.password})),
            ("/password/change", json!({"password": alice.password, "new_password": new_password})),
        ] {
            let request = Request {
                key: Some(retry_key()),
                bearer: Some(app.access.clone()),
                ..Request::new(&client, path, body)
            };
            let first = fails_and_recovers(&stack, operations, fault, &request, 200).await;
            app = AppSession::of(&request.send().await.expect(200));
            assert_eq!(first["session"]["id"], app.session_id.as_str());
            stack.me(&app.access).await.expect(200);
        }
        alice.password = new_password;
    }
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_wrong_password() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let call = || stack.client().post("/reauthenticate").bearer(&app.access).json(json!({"password": alice.password}));
    stack.proxy().fail_all(&["TransactWriteItems"], Fault::ServerError);
    for _ in 0..12 {
        call().send().await.expect_problem(503, "unavailable");
    }
    stack.proxy().heal();
    call().send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_a_password_given_again() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, mut app) = stack.person_with_session("alice").await;
    for path in ["/reauthenticate", "/password/change"] {
        for operation in ["UpdateItem", "TransactWriteItems"] {
            stack.proxy().fail(operation, Fault::LostAnswer, 1);
            let mut body = json!({"password": alice.password});
            if path == "/password/change" {
                body["new_password"] = json!(alice.password);
            }
            // Without a key: the call repeats itself, and meets what it wrote.
            let call = stack.client().post(path).bearer(&app.access).json(body);
            app = AppSession::of(&call.send().await.expect(200));
            assert_eq!(stack.proxy().heal(), 0, "{path}, {operation}");
            stack.me(&app.access).await.expect(200);
        }
    }
}
