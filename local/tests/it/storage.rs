//! What lies in the tables: no secret, the items of the contract, and what a changed item brings.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::harness::keys::ring_slots;
use crate::harness::tables::{client, find, items, overwrite, text};
use crate::harness::{AppSession, Person, Stack, retry_key};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_lies_there() {
    let stack = Stack::with_database(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let session = AppSession::of(&stack.verify(proof).await.expect(201));
    let key = retry_key();
    let rotated = AppSession::of(&stack.refresh(&session.refresh, Some(&key)).await.expect(200));
    let (pending_id, pending_mail) = stack.sign_up(&Person::named("bob")).await;
    stack.client().post("/signup/resend").json(json!({"signup_id": "an-unknown-one"})).send().await.expect(202);

    let stored = format!("{:?}", items(&stack, "UsersTable").await);
    assert!(stored.contains("alice@example.test"), "the scan sees what is there");
    for secret in [
        &signup_id,
        &mail.code(),
        &mail.token(),
        &pending_id,
        &pending_mail.code(),
        &pending_mail.token(),
        &alice.password,
        &session.access,
        &session.refresh,
        &rotated.access,
        &rotated.refresh,
        &key,
        "an-unknown-one",
    ] {
        assert!(!stored.contains(secret), "{secret} is stored");
    }
    let hash = find(&stack, "USER#").await;
    assert!(text(&hash, "password_hash").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash:?}");
    let rings = items(&stack, "KeysTable").await;
    let public = rings.iter().find(|ring| text(ring, "pk") == "SIGNING#PUBLIC").expect("public halves");
    for (_, key) in ring_slots(public) {
        assert!(text(key, "jwk").contains("kid"), "{key:?}");
        assert!(!text(key, "jwk").contains("\"d\""), "a private half beside the public one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_those_of_the_contract() {
    let stack = Stack::with_database(&[]).await;
    let (_, session) = stack.person_with_session("alice").await;
    stack.client().post("/signup/resend").json(json!({"signup_id": "nothing"})).send().await.expect(202);
    stack.client().post("/password/forgot").json(json!({"username": "nobody"})).send().await.expect(202);
    // Until nothing is left in the outbox.
    stack.mails().await;
    let items = items(&stack, "UsersTable").await;
    let mut kinds = BTreeMap::<String, BTreeSet<bool>>::new();
    for item in &items {
        let kind = text(item, "pk").split('#').next().unwrap_or_default().to_owned();
        kinds.entry(kind).or_default().insert(item.contains_key("ttl"));
    }
    let expected = [
        ("EMAIL", false),
        ("LIMIT", true),
        ("RESET", true),
        ("SESSIONS", true),
        ("SIGNUP", true),
        ("SWEEP", false),
        ("USER", false),
        ("USERNAME", false),
    ];
    let expected: BTreeMap<String, BTreeSet<bool>> =
        expected.into_iter().map(|(kind, ttl)| (kind.to_owned(), BTreeSet::from([ttl]))).collect();
    assert_eq!(kinds, expected);
    let keys: BTreeSet<(String, String)> =
        items.iter().map(|item| (text(item, "pk").to_owned(), text(item, "sk").to_owned())).collect();
    for (pk, sk) in [
        (format!("USER#{}", session.user_id), "USER".to_owned()),
        (format!("SESSIONS#{}", session.user_id), session.session_id.clone()),
        ("EMAIL#alice@example.test".to_owned(), "EMAIL".to_owned()),
        // The form that names which look alike have in common.
        ("USERNAME#allce".to_owned(), "USERNAME".to_owned()),
    ] {
        assert!(keys.contains(&(pk.clone(), sk.clone())), "{pk} {sk}: {keys:?}");
    }
    // Under 1 KB each, as the budget takes it.
    for item in &items {
        assert!(format!("{item:?}").len() < 2048, "{item:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_leaves_no_session_behind() {
    let stack = Stack::with_database(&[]).await;
    let (_, session) = stack.person_with_session("alice").await;
    let count = async |start: &str| {
        let items = items(&stack, "UsersTable").await;
        items.into_iter().filter(|item| text(item, "pk").starts_with(start)).count()
    };
    assert_eq!(count("SESSIONS#").await, 1);
    stack.client().post("/logout").json(json!({"refresh": session.refresh})).send().await.expect(204);
    assert_eq!(count("SESSIONS#").await, 0);
    // And a refused sign-up no user, a login that replaces a session none too many.
    let alice = Person::named("alice");
    let browser = stack.signed_in(&alice).await;
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    assert_eq!(count("SESSIONS#").await, 1);
    assert_eq!(count("USER#").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_is_out_at_once() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.signed_in(&alice).await;
    overwrite(&stack, "USER#", "status", AttributeValue::S("disabled".to_owned())).await;
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    browser.get("/me").send().await.expect_problem(401, "session_ended");
    let key = retry_key();
    stack.refresh(&app.refresh, Some(&key)).await.expect_problem(401, "session_ended");
    // Not by a repetition of what has rotated nevertheless.
    stack.refresh(&app.refresh, Some(&key)).await.expect_problem(401, "session_ended");
    browser.post("/refresh").send().await.expect_problem(401, "session_ended");
    // Whoever is banned learns no more than a wrong password does.
    let call = stack.client().post("/login").json(alice.login("app")).send().await;
    call.expect_problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_has_to_reset_or_is_being_deleted_is_out_too() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    for status in ["reset_required", "deleting"] {
        let app = stack.app(&alice).await;
        overwrite(&stack, "USER#", "status", AttributeValue::S(status.to_owned())).await;
        stack.me(&app.access).await.expect_problem(401, "session_ended");
        stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
        let call = stack.client().post("/login").json(alice.login("app")).send().await;
        call.expect_problem(401, "invalid_credentials");
        overwrite(&stack, "USER#", "status", AttributeValue::S("enabled".to_owned())).await;
    }
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_user_is_not_verified_back_in() {
    let stack = Stack::with_database(&[]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let proof = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
    stack.verify(proof.clone()).await.expect(201);
    overwrite(&stack, "USER#", "status", AttributeValue::S("disabled".to_owned())).await;
    let answer = stack.verify(proof).await;
    assert!((400..500).contains(&answer.status), "{}: {}", answer.status, answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_epoch_ends_all_sessions() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let next = AppSession::of(&stack.refresh(&app.refresh, Some(&retry_key())).await.expect(200));
    overwrite(&stack, "USER#", "epoch", AttributeValue::N("7".to_owned())).await;
    stack.me(&next.access).await.expect_problem(401, "session_ended");
    stack.refresh(&next.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
    let again = stack.app(&alice).await;
    stack.me(&again.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_unauthenticated() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    for item in items(&stack, "UsersTable").await {
        if text(&item, "pk").starts_with("USER#") {
            let delete = client(&stack).delete_item().table_name("UsersTable");
            let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            delete.send().await.expect("a deletion");
        }
    }
    stack.me(&app.access).await.expect_problem(401, "session_ended");
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    let call = stack.client().post("/login").json(alice.login("app")).send().await;
    call.expect_problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_read_is_an_internal_error() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    overwrite(&stack, "SESSIONS#", "kind", AttributeValue::S("toaster".to_owned())).await;
    let answer = stack.me(&app.access).await.expect_problem(500, "internal");
    assert!(!answer.text().contains("toaster") && !answer.text().contains("kind"), "{}", answer.text());
    stack.refresh(&app.refresh, None).await.expect_problem(500, "internal").expect_no_cookies();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_table_raises_no_alarm() {
    // The table is an older one than the tokens: generations that it has never reached end the session quietly.
    let stack = Stack::with_database(&[]).await;
    let (_, first) = stack.person_with_session("alice").await;
    let backup = find(&stack, "SESSIONS#").await;
    let second = AppSession::of(&stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200));
    client(&stack).put_item().table_name("UsersTable").set_item(Some(backup)).send().await.expect("a restored item");
    stack.refresh(&second.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
    // Nothing was deleted: what the backup knows goes on.
    stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_hash_is_renewed_at_login() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let outdated = stack.outdate_password(&alice).await;

    let wrong = json!({"username": "alice", "password": "not the password"});
    stack.client().post("/login").json(wrong).send().await.expect_problem(401, "invalid_credentials");
    assert_eq!(text(&find(&stack, "USER#").await, "password_hash"), outdated);
    stack.app(&alice).await;
    let renewed = find(&stack, "USER#").await;
    assert!(text(&renewed, "password_hash").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed:?}");
    stack.app(&alice).await;
    assert_eq!(text(&find(&stack, "USER#").await, "password_hash"), text(&renewed, "password_hash"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_sign_up_is_no_account_and_leaves_none() {
    let stack = Stack::with_database(&[]).await;
    stack.sign_up(&Person::named("alice")).await;
    let starts: BTreeSet<String> = items(&stack, "UsersTable")
        .await
        .iter()
        .map(|item| text(item, "pk").split('#').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(starts, BTreeSet::from(["LIMIT", "SIGNUP", "SWEEP"].map(str::to_owned)));
}
