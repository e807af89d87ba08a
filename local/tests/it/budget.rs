//! Section 4's budget: sequential round trips, and capacity as the database reports it.
//!
//! Each flow is measured once its keys are loaded. A failed condition bills too, but does not report.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::authorizer::with_ping;
use crate::harness::tables::overwrite;
use crate::harness::{AppSession, Call, Person, Stack, retry_key};
use crate::mail_events::{bounce, marked};
use crate::reauthenticate::Device;

/// What a flow may cost.
struct Budget {
    round_trips: usize,
    write_units: f64,
    read_units: f64,
}

impl Stack {
    /// Asserts that what `call` costs is within `budget`, and gives its answer.
    async fn within(&self, what: &str, budget: &Budget, status: u16, call: Call) -> crate::harness::Answer {
        self.proxy().reset();
        let answer = call.send().await.expect(status);
        let cost = self.proxy().cost();
        assert!(cost.round_trips <= budget.round_trips, "{what}: {cost:?}");
        assert!(cost.write_units <= budget.write_units, "{what}: {cost:?}");
        assert!(cost.read_units <= budget.read_units, "{what}: {cost:?}");
        answer
    }
}

/// The sign-up and its mail in one transaction.
const SIGNUP: Budget = Budget { round_trips: 2, write_units: 5.0, read_units: 2.0 };
const RESEND: Budget = Budget { round_trips: 3, write_units: 5.0, read_units: 1.0 };
/// What was counted is given back.
const RESEND_TOO_EARLY: Budget = Budget { round_trips: 4, write_units: 2.0, read_units: 1.0 };
/// By code: a guess is spent before it is compared (docs/decisions/0004-verification.md).
const VERIFY_BY_CODE: Budget = Budget { round_trips: 2, write_units: 13.0, read_units: 1.0 };
/// With the event that tells of the account.
const VERIFY: Budget = Budget { round_trips: 2, write_units: 12.0, read_units: 1.0 };
/// The mail is counted beside reading the user.
const FORGOT: Budget = Budget { round_trips: 3, write_units: 5.0, read_units: 2.0 };
/// With the two counters of the account that it deletes.
const RESET: Budget = Budget { round_trips: 3, write_units: 10.0, read_units: 2.0 };
const RESET_BY_CODE: Budget = Budget { round_trips: 3, write_units: 11.0, read_units: 1.0 };
/// A guess is counted beside reading the user, and forgotten beside the session.
const LOGIN: Budget = Budget { round_trips: 3, write_units: 3.0, read_units: 4.0 };
/// The session and the notice are one transaction.
const LOGIN_ON_A_NEW_DEVICE: Budget = Budget { round_trips: 3, write_units: 6.0, read_units: 4.0 };
const REFRESH: Budget = Budget { round_trips: 1, write_units: 1.0, read_units: 1.0 };
const LOGOUT: Budget = Budget { round_trips: 1, write_units: 1.0, read_units: 0.0 };
const REAUTHENTICATE: Budget = Budget { round_trips: 2, write_units: 5.0, read_units: 1.0 };
const CHANGE_PASSWORD: Budget = Budget { round_trips: 2, write_units: 9.0, read_units: 1.0 };
const WRONG_PASSWORD: Budget = Budget { round_trips: 1, write_units: 1.0, read_units: 1.0 };
const ME: Budget = Budget { round_trips: 1, write_units: 0.0, read_units: 2.0 };
const NOTHING: Budget = Budget { round_trips: 0, write_units: 0.0, read_units: 0.0 };

/// A stack all of whose functions have loaded their keys, and somebody on it.
async fn warm(parameters: &[(&str, &str)]) -> (Stack, Person) {
    let stack = Stack::with_proxy(parameters).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    stack.me(&app.access).await.expect(200);
    stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
    let app = stack.app(&alice).await;
    stack.client().post("/logout").json(json!({"refresh": app.refresh})).send().await.expect(204);
    let browser = stack.remembered(&alice).await;
    browser.post("/refresh").send().await.expect(200);
    browser.post("/logout").send().await.expect(204);
    let app = stack.app(&alice).await;
    stack.client().get("/sessions").bearer(&app.access).send().await.expect(200);
    stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
    stack.client().get("/.well-known/jwks.json").send().await.expect(200);
    (stack, alice)
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_and_verifying() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    for (name, by_code) in [("bob", false), ("carol", true)] {
        let person = Person::named(name);
        let call = client.post("/signup").json(person.signup("app"));
        let answer = stack.within("signup", &SIGNUP, 202, call).await;
        let mail = stack.mail_to(&person.email).await;
        let signup_id = answer.json()["signup_id"].clone();
        let budget = if by_code { &VERIFY_BY_CODE } else { &VERIFY };
        let proof = if by_code {
            json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})
        } else {
            json!({"signup_id": signup_id, "token": mail.token(), "client": "app"})
        };
        let call = client.post("/verify").json(proof);
        stack.within(if by_code { "verify by code" } else { "verify by link" }, budget, 201, call).await;
    }
    let taken = Person { username: "mallory".to_owned(), ..alice };
    let call = client.post("/signup").json(taken.signup("app"));
    stack.within("signup of a taken address", &SIGNUP, 202, call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_costs_what_a_free_one_costs() {
    let (stack, alice) = warm(&[]).await;
    let mut costs = Vec::new();
    for person in [Person::named("bob"), Person { username: "mallory".to_owned(), ..alice.clone() }] {
        stack.proxy().reset();
        stack.client().post("/signup").json(person.signup("app")).send().await.expect(202);
        costs.push(stack.proxy().cost());
    }
    assert_eq!(costs[0].operations, costs[1].operations);
    assert_eq!(costs[0].round_trips, costs[1].round_trips);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_sign_up_costs_what_a_known_one_costs() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    let (known, _) = stack.sign_up(&Person::named("bob")).await;
    let (taken, _) = stack.sign_up(&Person { username: "mallory".to_owned(), ..alice }).await;
    let mut unknown = known.clone().into_bytes();
    let last = unknown.len() - 2;
    unknown[last] = if unknown[last] == b'A' { b'B' } else { b'A' };
    let unknown = String::from_utf8(unknown).expect("ASCII");
    stack.clock.advance(60);
    let mut costs = Vec::new();
    for signup_id in [known.as_str(), &taken, &unknown, "nothing"] {
        let again = || client.post("/signup/resend").json(json!({"signup_id": signup_id}));
        stack.within("resend", &RESEND, 202, again()).await;
        let resent = stack.proxy().cost();
        stack.within("resend, too early", &RESEND_TOO_EARLY, 429, again()).await;
        let refused = stack.proxy().cost();
        costs.push((resent.operations, resent.write_units, resent.round_trips, refused.operations));
    }
    for cost in &costs {
        assert_eq!(cost, &costs[0]);
    }
}

/// Whoever forgot a password, and whoever only asks: one cost, whether or not there is anybody to mail.
#[tokio::test(flavor = "multi_thread")]
async fn forgetting_a_password() {
    let (stack, alice) = warm(&[]).await;
    let banned = stack.person("banned").await;
    let bounced = stack.person("bounced").await;
    let user_id = stack.app(&banned).await.user_id;
    let key = format!("USER#{user_id}");
    overwrite(&stack, &key, "status", AttributeValue::S("disabled".to_owned())).await;
    marked(&stack, bounce("Permanent", &bounced.email)).await;
    let client = stack.client();
    let ask = |who: Value| client.post("/password/forgot").json(who);
    ask(json!({"email": alice.email})).send().await.expect(202);
    let mut costs = Vec::new();
    for (what, who) in [
        ("an address", json!({"email": alice.email})),
        ("a name", json!({"username": alice.username})),
        ("an unknown address", json!({"email": "nobody@example.test"})),
        ("an unknown name", json!({"username": "nobody"})),
        ("a banned account's address", json!({"email": banned.email})),
        ("a banned account's name", json!({"username": banned.username})),
        ("an address that bounced", json!({"email": bounced.email})),
    ] {
        stack.within(what, &FORGOT, 202, ask(who)).await;
        let cost = stack.proxy().cost();
        assert!((cost.write_units, cost.read_units) == (FORGOT.write_units, FORGOT.read_units), "{what}: {cost:?}");
        costs.push((what, cost.operations, cost.round_trips));
    }
    for (what, operations, round_trips) in &costs {
        assert_eq!((operations, round_trips), (&costs[0].1, &costs[0].2), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resetting_a_password() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    stack.client().post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let token = stack.secrets_to(&alice.email).await.token();
    let first = json!({"token": token, "password": "nine loud otters"});
    client.post("/password/reset").json(first).send().await.expect(204);
    for by_code in [false, true] {
        let body = json!({"email": alice.email, "client": "app"});
        let answer = client.post("/password/forgot").json(body).send().await.expect(202);
        let mail = stack.secrets_to(&alice.email).await;
        let page = Budget { round_trips: 2, write_units: 0.0, read_units: 2.0 };
        let path = format!("/password/reset?token={}", mail.token());
        stack.within("the page", &page, 200, client.get(&path)).await;
        let (budget, proof) = if by_code {
            let reset_id = answer.json()["reset_id"].clone();
            (&RESET_BY_CODE, json!({"reset_id": reset_id, "code": mail.code(), "password": "nine loud otters"}))
        } else {
            (&RESET, json!({"token": mail.token(), "password": "nine loud otters"}))
        };
        stack.within("reset", budget, 204, client.post("/password/reset").json(proof)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in() {
    let (stack, alice) = warm(&[("NewDeviceNotice", "false")]).await;
    let client = stack.client();
    let by_address = json!({"email": alice.email, "password": alice.password, "client": "app"});
    for body in [alice.login("app"), alice.login("browser"), alice.remembered(), by_address] {
        stack.within("login", &LOGIN, 200, client.post("/login").json(body)).await;
    }
    // Beside some sessions too.
    for _ in 0..3 {
        stack.app(&alice).await;
    }
    stack.within("login", &LOGIN, 200, client.post("/login").json(alice.login("app"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in_on_a_device_not_seen_before() {
    let (stack, alice) = warm(&[]).await;
    let call = stack.client().post("/login").json(alice.login("app"));
    let device = stack.within("login", &LOGIN_ON_A_NEW_DEVICE, 200, call).await.json()["device"].clone();
    let mut known = alice.login("app");
    known["device"] = device;
    stack.within("login", &LOGIN, 200, stack.client().post("/login").json(known)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_person_costs_what_a_wrong_password_costs() {
    let (stack, alice) = warm(&[]).await;
    let mut costs = Vec::new();
    let wrong = |who: Value| {
        let mut body = who;
        body["password"] = json!("not the password");
        body
    };
    for who in [
        json!({"username": alice.username}),
        json!({"username": "nobody"}),
        json!({"email": alice.email}),
        json!({"email": "nobody@example.test"}),
    ] {
        stack.proxy().reset();
        let call = stack.client().post("/login").json(wrong(who));
        call.send().await.expect_problem(401, "invalid_credentials");
        let cost = stack.proxy().cost();
        costs.push((cost.operations, cost.round_trips));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[2], costs[3]);
    assert!(costs[0].1 > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    let app = stack.app(&alice).await;
    let key = retry_key();
    let call = client.post("/refresh").json(json!({"refresh": app.refresh})).retry_key(&key);
    stack.within("refresh", &REFRESH, 200, call).await;
    // A repeated answer costs no more round trips; its failed condition bills, but does not report.
    let call = client.post("/refresh").json(json!({"refresh": app.refresh})).retry_key(&key);
    stack.within("a repeated refresh", &REFRESH, 200, call).await;
    let operations = stack.proxy().cost().operations;
    assert_eq!(operations.iter().filter(|operation| *operation == "UpdateItem").count(), 1, "{operations:?}");
    assert_eq!(operations.iter().filter(|operation| *operation == "GetItem").count(), 1, "{operations:?}");
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        stack.within("a browser's refresh", &REFRESH, 200, browser.post("/refresh")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_the_password_again() {
    let (stack, mut alice) = warm(&[]).await;
    let app = stack.app(&alice).await;
    let first = stack.client().post("/reauthenticate").bearer(&app.access).json(json!({"password": alice.password}));
    first.send().await.expect(200);
    for kind in Device::KINDS {
        let mut device = Device::sign_in(&stack, &alice, kind).await;
        let wrong = device.post("/reauthenticate", json!({"password": "not the password"}));
        stack.within(&format!("a wrong password, {kind}"), &WRONG_PASSWORD, 403, wrong).await;
        let (before, key) = (device.copy(), retry_key());
        let again = json!({"password": alice.password});
        let call = device.post("/reauthenticate", again.clone()).retry_key(&key);
        let answer = stack.within(&format!("reauthentication, {kind}"), &REAUTHENTICATE, 200, call).await;
        device.store(&answer);
        // A repeated one reads the session that followed, and writes its guess alone.
        let repeated = Budget { round_trips: 2, write_units: 1.0, read_units: 3.0 };
        let call = before.post("/reauthenticate", again).retry_key(&key);
        stack.within(&format!("a repeated reauthentication, {kind}"), &repeated, 200, call).await;

        let new_password = format!("nine grey geese and a {kind}");
        let body = json!({"password": alice.password, "new_password": new_password});
        let call = device.post("/password/change", body);
        stack.within(&format!("change of password, {kind}"), &CHANGE_PASSWORD, 200, call).await;
        alice.password = new_password;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    let app = stack.app(&alice).await;
    let body = json!({"refresh": app.refresh});
    stack.within("logout", &LOGOUT, 204, client.post("/logout").json(body)).await;
    let app = stack.app(&alice).await;
    stack.within("logout by bearer", &LOGOUT, 204, client.post("/logout").bearer(&app.access)).await;
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        stack.within("a browser's logout", &LOGOUT, 204, browser.post("/logout")).await;
    }
    stack.within("logout of nobody", &NOTHING, 204, client.post("/logout")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_functions_of_ours() {
    let (stack, alice) = warm(&[]).await;
    let app = stack.app(&alice).await;
    stack.within("me", &ME, 200, stack.client().get("/me").bearer(&app.access)).await;
    assert_eq!(stack.proxy().cost().operations, ["BatchGetItem"]);
    let list = Budget { round_trips: 2, write_units: 0.0, read_units: 3.0 };
    stack.within("sessions", &list, 200, stack.client().get("/sessions").bearer(&app.access)).await;
    let path = format!("/sessions/{}", stack.app(&alice).await.session_id);
    let end = Budget { round_trips: 2, write_units: 1.0, read_units: 2.0 };
    let call = stack.client().request(reqwest::Method::DELETE, &path).bearer(&app.access);
    stack.within("ending a session", &end, 204, call).await;
    stack.within("jwks", &NOTHING, 200, stack.client().get("/.well-known/jwks.json")).await;
    stack.within("the page", &NOTHING, 400, stack.client().get("/verify?token=nothing")).await;
}

/// With the item that says what is to be told, whose own costs come later.
#[tokio::test(flavor = "multi_thread")]
async fn the_account() {
    let (stack, alice) = warm(&[]).await;
    let client = stack.client();
    let app = stack.app(&alice).await;
    client.patch("/me").bearer(&app.access).send().await.expect(200);
    client.get("/me/export").bearer(&app.access).send().await.expect(200);
    let (_, bob) = stack.person_with_session("bob").await;
    client.delete("/me").bearer(&bob.access).send().await.expect(204);

    let budget = |write_units| Budget { round_trips: 2, write_units, read_units: 2.0 };
    let patch = |body: Value| client.patch("/me").bearer(&app.access).json(body);
    stack.within("another name", &budget(8.0), 200, patch(json!({"username": "alicia", "locale": "ko"}))).await;
    assert_eq!(stack.proxy().cost().operations, ["BatchGetItem", "TransactWriteItems"]);
    stack.within("a name written anew", &budget(4.0), 200, patch(json!({"username": "Alicia"}))).await;
    stack.within("a language", &budget(4.0), 200, patch(json!({"locale": "en"}))).await;
    stack.within("no change", &ME, 200, patch(json!({"locale": "en"}))).await;

    let export = Budget { round_trips: 2, write_units: 0.0, read_units: 4.0 };
    stack.within("export", &export, 200, client.get("/me/export").bearer(&app.access)).await;
    stack.within("deletion", &budget(12.0), 204, client.delete("/me").bearer(&app.access)).await;
    assert_eq!(stack.proxy().cost().operations, ["BatchGetItem", "TransactWriteItems"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorizer() {
    for (check, budget) in [("token", NOTHING), ("session", ME)] {
        let stack = Stack::with_proxy_and_options(with_ping(&[("RevocationCheck", check)])).await;
        let (_, app) = stack.person_with_session("alice").await;
        let client = stack.client();
        client.get("/ping").bearer(&app.access).send().await.expect(200);
        stack.within(check, &budget, 200, client.get("/ping").bearer(&app.access)).await;
    }
}

/// Everything that anybody does, once.
async fn everything(stack: &Stack, alice: &Person) {
    let client = stack.client();
    let person = Person::named("everybody");
    let (signup_id, _) = stack.sign_up(&person).await;
    stack.clock.advance(60);
    client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    client.post("/signup/resend").json(json!({"signup_id": "nothing"})).send().await.expect(202);
    let mail = stack.mail_to(&person.email).await;
    client.get(&format!("/verify?token={}", mail.token())).send().await.expect(200);
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    let again = json!({"token": mail.token(), "password": person.password, "client": "app"});
    stack.verify(again).await.expect_problem(400, "invalid_verification");
    client.post("/password/forgot").json(json!({"username": "nobody"})).send().await.expect(202);
    client.post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let mail = stack.secrets_to(&alice.email).await;
    client.get(&format!("/password/reset?token={}", mail.token())).send().await.expect(200);
    let body = json!({"token": mail.token(), "password": alice.password});
    client.post("/password/reset").json(body).send().await.expect(204);
    let app = stack.app(alice).await;
    let next = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    stack.refresh(&app.refresh, None).await.expect(401);
    stack.me(&next.access).await.expect(401);
    let browser = stack.signed_in(alice).await;
    stack.clock.advance(1200);
    browser.get("/me").send().await.expect(200);
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    browser.post("/refresh").send().await.expect(200);
    browser.post("/logout").json(json!({"everywhere": true})).send().await.expect(204);
    client.get("/.well-known/jwks.json").send().await.expect(200);
    let app = stack.app(alice).await;
    client.get("/sessions").bearer(&app.access).send().await.expect(200);
    let call = client.post("/reauthenticate").bearer(&app.access).json(json!({"password": alice.password}));
    let app = AppSession::of(&call.send().await.expect(200));
    let body = json!({"password": alice.password, "new_password": "nine grey geese fly south"});
    let call = client.post("/password/change").bearer(&app.access).json(body);
    let app = AppSession::of(&call.send().await.expect(200));
    client.get("/me/export").bearer(&app.access).send().await.expect(200);
    client.patch("/me").bearer(&app.access).json(json!({"username": "alicia"})).send().await.expect(200);
    client.delete("/me").bearer(&app.access).send().await.expect(204);
    stack.local.functions().invoke("rotate-keys", json!({"at_once": true})).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_scan_and_no_index() {
    let (stack, alice) = warm(&[]).await;
    stack.proxy().reset();
    everything(&stack, &alice).await;
    let calls = stack.proxy().calls();
    assert!(calls.len() > 20, "{}", calls.len());
    for call in calls {
        assert_ne!(call.operation, "Scan");
        assert!(call.request["IndexName"].is_null(), "{}", call.request);
        // The sessions of a user lie in a partition of a few items, and so does what waits of an hour in the outbox; nothing
        // else is ever searched.
        let values = &call.request["ExpressionAttributeValues"];
        let partition = values[":partition"]["S"].as_str().unwrap_or_default();
        let is_small = ["SESSIONS#", "OUTBOX#"].iter().any(|start| partition.starts_with(start));
        assert!(call.operation != "Query" || is_small, "{}", call.request);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_decide_about_a_session_are_strong() {
    let (stack, alice) = warm(&[]).await;
    let app = stack.app(&alice).await;
    stack.proxy().reset();
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    let calls = stack.proxy().calls();
    let read = calls.iter().find(|call| call.operation == "GetItem").expect("the user is read");
    assert_eq!(read.request["ConsistentRead"], true, "{}", read.request);
    stack.proxy().reset();
    stack.me(&app.access).await.expect(200);
    let calls = stack.proxy().calls();
    let batch = &calls.iter().find(|call| call.operation == "BatchGetItem").expect("a batch").request["RequestItems"];
    let tables: Vec<&Value> = batch.as_object().expect("tables").values().collect();
    assert!(!tables.is_empty() && tables.iter().all(|table| table["ConsistentRead"] == true), "{batch}");
}
