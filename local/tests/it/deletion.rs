//! `DELETE /me`: the account goes at once and whole, and leaves nothing behind.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::account::{EmailAddress, UserId, Username};
use shared::concurrency::Concurrency;
use shared::config::Tables;
use shared::store::{Store, Undeliverable};

use crate::harness::tables::{Item, find, items, overwrite, text};
use crate::harness::{Answer, AppSession, Mail, Person, Stack, at_once, retry_key};

impl Stack {
    /// Deletes the account of whoever holds this token.
    pub(crate) async fn delete_account(&self, access: &str) -> Answer {
        self.client().delete("/me").bearer(access).send().await
    }

    /// Gives the only user an open undo: an address before, and when it lapses.
    pub(crate) async fn open_undo(&self, email: &str, until: u64) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let undo = HashMap::from([
            ("id".to_owned(), text(&UserId::random().to_string())),
            ("changed_at".to_owned(), AttributeValue::N(self.clock.now().unix().to_string())),
            ("email".to_owned(), text(email)),
            ("until".to_owned(), AttributeValue::N(until.to_string())),
        ]);
        overwrite(self, "USER#", "undos", AttributeValue::L(vec![AttributeValue::M(undo)])).await;
    }
}

/// The store, as `outbox` has it.
fn store(stack: &Stack) -> Store {
    let tables = Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() };
    Store::new(stack.aws().dynamodb(), tables, Concurrency::One)
}

/// The receipts that came.
async fn receipts(stack: &Stack) -> Vec<Mail> {
    let mut mails = stack.mails().await;
    mails.retain(|mail| mail.subject.contains("deleted") || mail.subject.contains("삭제"));
    mails
}

/// What was told other systems, by type.
pub(crate) async fn events(stack: &Stack) -> Vec<(String, String)> {
    let answer = stack.client().get("/_local/events.json").send().await.expect(200).json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let event = |event: &Value| (text(&event["detail-type"]), text(&event["detail"]["user_id"]));
    answer.as_array().expect("events").iter().map(event).collect()
}

/// Whose deletion other systems were told.
async fn deleted(stack: &Stack) -> Vec<String> {
    let events = events(stack).await.into_iter().filter(|(event_type, _)| event_type == "user.deleted");
    events.map(|(_, user_id)| user_id).collect()
}

/// The items of a table that hold any of these texts, in whatever attribute.
async fn items_with(stack: &Stack, needles: &[String]) -> Vec<Item> {
    let mut items = items(stack, "UsersTable").await;
    items.retain(|item| needles.iter().any(|needle| format!("{item:?}").contains(needle)));
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_gone_for_every_kind_of_session() {
    let stack = Stack::with_database(&[]).await;
    for kind in ["app", "browser", "remembered"] {
        let (alice, app) = stack.person_with_session("alice").await;
        let browser = match kind {
            "browser" => stack.signed_in(&alice).await,
            _ => stack.remembered(&alice).await,
        };
        let copy = browser.copy();
        if kind == "app" {
            let answer = stack.delete_account(&app.access).await.expect(204).expect_no_cookies();
            assert_eq!((answer.text().as_str(), answer.header("cache-control")), ("", Some("no-store")));
        } else {
            let answer = browser.delete("/me").send().await.expect(204);
            answer.expect_cookies(&[], &["access", "refresh", "signup", "username"]);
            assert_eq!(browser.cookie_names(), Vec::<String>::new());
            browser.delete("/me").send().await.expect_problem(401, "token_missing");
        }
        // Every session is over, and nobody can sign in.
        stack.me(&app.access).await.expect_problem(401, "session_ended");
        stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
        copy.get("/me").send().await.expect_problem(401, "session_ended");
        copy.post("/refresh").send().await.expect_problem(401, "session_ended");
        for identifier in [json!({"username": alice.username}), json!({"email": alice.email})] {
            let mut body = identifier;
            body["password"] = json!(alice.password);
            stack.client().post("/login").json(body).send().await.expect_problem(401, "invalid_credentials");
        }
        assert!(items(&stack, "UsersTable").await.iter().all(|item| !text(item, "pk").starts_with("USER")));
        // Name and address are free at once: the next round signs up under them.
        stack.local.settled().await;
    }
    let (_, app) = stack.person_with_session("alice").await;
    stack.me(&app.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_and_other_systems_are_told() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.change(&app.access, json!({"locale": "ko"})).await.expect(200);
    let phone = stack.client().post("/login").header("user-agent", "ExampleApp/1.0 (iPhone; iOS 26.0)");
    let app = AppSession::of(&phone.json(alice.login("app")).send().await.expect(200));
    stack.delete_account(&app.access).await.expect(204);
    let receipts = receipts(&stack).await;
    let [receipt] = &receipts[..] else { panic!("{receipts:?}") };
    assert_eq!(receipt.to, alice.email);
    assert!(receipt.subject.contains("삭제"), "{}", receipt.subject);
    assert!(receipt.text.contains("alice") && receipt.text.contains("ExampleApp on iPhone"), "{}", receipt.text);
    let events = events(&stack).await;
    assert_eq!(events.last(), Some(&("user.deleted".to_owned(), app.user_id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_it_says_that_the_session_has_ended() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.signed_in(&alice).await;
    let lost = browser.copy();
    browser.delete("/me").send().await.expect(204);
    lost.delete("/me").send().await.expect_problem(401, "session_ended").expect_no_cookies();
    stack.delete_account(&app.access).await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_just_proved_who_they_are() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.client().delete("/me").send().await.expect_problem(401, "token_missing");
    stack.delete_account("nonsense").await.expect_problem(401, "token_invalid");
    stack.delete_account(&app.refresh).await.expect_problem(401, "token_invalid");
    let browser = stack.signed_in(&alice).await;
    browser.delete("/me").origin(Some("https://evil.test")).send().await.expect_problem(403, "csrf_rejected");
    stack.clock.advance(301);
    for answer in [stack.delete_account(&app.access).await, browser.delete("/me").send().await] {
        answer.expect_problem(403, "reauthentication_required").expect_no_cookies();
    }
    browser.get("/me").send().await.expect(200);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    browser.delete("/me").send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_deletions_at_once_one_finds_the_account() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let (alice, first) = stack.person_with_session("alice").await;
    let second = stack.app(&alice).await;
    stack.me(&first.access).await.expect(200);
    let deletions = [first.access, second.access].map(|access| {
        let stack = Arc::clone(&stack);
        async move { stack.delete_account(&access).await.status }
    });
    let mut statuses = at_once(deletions).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401]);
    assert!(items_with(&stack, &["EMAIL#".to_owned(), "USERNAME#".to_owned()]).await.is_empty());
}

/// The login has read the user and compared the password; the session that it then writes is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_races_it_opens_nothing() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    stack.app(&alice).await;
    let (token, racing) = (app.access.clone(), Arc::clone(&stack));
    stack.proxy().before("login", "TransactWriteItems", async move {
        racing.delete_account(&token).await.expect(204);
        racing.local.settled().await;
    });
    let late = AppSession::of(&stack.client().post("/login").json(alice.login("app")).send().await.expect(200));
    stack.me(&late.access).await.expect_problem(401, "session_ended");
    stack.refresh(&late.refresh, None).await.expect_problem(401, "session_ended");
    stack.delete_account(&late.access).await.expect_problem(401, "session_ended");
    stack.change(&late.access, json!({"username": "revenant"})).await.expect_problem(401, "session_ended");
    // The second pass, a minute later, finds what it wrote.
    stack.local.settled().await;
    assert_eq!(
        items_with(&stack, std::slice::from_ref(&late.user_id)).await.iter().filter(|item| is_session(item)).count(),
        1
    );
    stack.clock.advance(60);
    stack.local.settled().await;
    assert_eq!(items_with(&stack, &[late.user_id]).await.iter().filter(|item| is_session(item)).count(), 0);
}

fn is_session(item: &Item) -> bool {
    text(item, "pk").starts_with("SESSIONS#")
}

/// The user was read under another name than the one under which it goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_races_it_leaves_no_name_behind() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (_, app) = stack.person_with_session("alice").await;
    let (token, racing) = (app.access.clone(), Arc::clone(&stack));
    stack.proxy().before("deletion", "TransactWriteItems", async move {
        racing.change(&token, json!({"username": "alicia"})).await.expect(200);
    });
    stack.delete_account(&app.access).await.expect(204);
    assert!(items_with(&stack, &["USERNAME#".to_owned(), "EMAIL#".to_owned(), "USER#".to_owned()]).await.is_empty());
    // And a change that comes too late changes nothing.
    let (_, app) = stack.person_with_session("carol").await;
    let (token, racing) = (app.access.clone(), Arc::clone(&stack));
    stack.proxy().before("profile", "TransactWriteItems", async move {
        racing.delete_account(&token).await.expect(204);
    });
    stack.change(&app.access, json!({"username": "caroline"})).await.expect_problem(401, "session_ended");
    assert!(items_with(&stack, &["USERNAME#".to_owned(), "EMAIL#".to_owned(), "USER#".to_owned()]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remains_is_deleted_however_often_it_is_cut_off() {
    let stack = Stack::with_proxy(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (_, bob) = stack.person_with_session("bob").await;
    for _ in 0..8 {
        stack.app(&alice).await;
    }
    stack.delete_account(&app.access).await.expect(204);
    let left = async || {
        items_with(&stack, std::slice::from_ref(&app.user_id)).await.iter().filter(|item| is_session(item)).count()
    };
    assert_eq!(left().await, 9);
    let mut rounds = 0;
    while left().await > 0 {
        let deletions = AtomicUsize::new(0);
        stack.proxy().guard(Arc::new(move |_, operation, request| {
            let is_of_session = request["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("SESSIONS#"));
            operation != "DeleteItem" || !is_of_session || deletions.fetch_add(1, Ordering::Relaxed) < 2
        }));
        stack.local.settled().await;
        assert_eq!(receipts(&stack).await.is_empty(), left().await > 0, "not before it is so");
        rounds += 1;
        stack.clock.advance(3600);
    }
    assert_eq!(rounds, 5, "two of nine each time");
    assert_eq!(receipts(&stack).await.len(), 1);
    stack.local.settled().await;
    assert_eq!(receipts(&stack).await.len(), 1);
    let bob = AppSession::of(&stack.refresh(&bob.refresh, None).await.expect(200));
    stack.me(&bob.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_undo_is_open_the_account_waits_and_nobody_gets_in() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let other = stack.app(&alice).await;
    let lapses_at = stack.clock.now().plus(604_800);
    stack.open_undo("before@example.test", lapses_at.unix()).await;
    let before = find(&stack, "USER#").await;
    stack.delete_account(&app.access).await.expect(204);

    let user = find(&stack, "USER#").await;
    assert_eq!(text(&user, "status"), "deleting");
    assert_eq!(user["undos"], before["undos"]);
    let epoch = |item: &Item| item["epoch"].as_n().expect("a number").parse::<u64>().expect("a number");
    assert_eq!(epoch(&user), epoch(&before) + 1);
    for session in [&app, &other] {
        stack.me(&session.access).await.expect_problem(401, "session_ended");
        stack.refresh(&session.refresh, None).await.expect_problem(401, "session_ended");
    }
    stack.client().post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    // Name and address are still the account's, should it be taken back.
    let taken = Person { username: "Alice".to_owned(), ..Person::named("carol") };
    stack.client().post("/signup").json(taken.signup("app")).send().await.expect_problem(409, "username_taken");
    let taken = Person { email: alice.email, ..Person::named("carol") };
    let (_, mail) = stack.sign_up(&taken).await;
    assert!(!mail.has_secrets(), "the address has an account");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_goes_when_the_undo_has_lapsed() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    stack.open_undo("before@example.test", stack.clock.now().unix() + 604_800).await;
    stack.delete_account(&app.access).await.expect(204);
    stack.clock.advance(604_799);
    stack.local.settled().await;
    assert_eq!(text(&find(&stack, "USER#").await, "status"), "deleting");
    assert!(receipts(&stack).await.is_empty() && deleted(&stack).await.is_empty());
    stack.clock.advance(1);
    stack.local.settled().await;
    let needles = ["USER#", "EMAIL#", "USERNAME#", "SESSIONS#"].map(str::to_owned);
    assert!(items_with(&stack, &needles).await.is_empty());
    let receipts = receipts(&stack).await;
    assert_eq!((receipts.len(), receipts[0].to.as_str()), (1, alice.email.as_str()));
    assert_eq!(deleted(&stack).await, [app.user_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_taken_back_is_left_alone() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.open_undo("before@example.test", stack.clock.now().unix() + 604_800).await;
    stack.delete_account(&app.access).await.expect(204);
    // As an undo leaves it.
    for status in ["reset_required", "enabled", "disabled"] {
        overwrite(&stack, "USER#", "status", AttributeValue::S(status.to_owned())).await;
        stack.clock.advance(604_800);
        stack.local.settled().await;
        stack.clock.advance(3600);
        stack.local.settled().await;
        assert_eq!(text(&find(&stack, "USER#").await, "status"), status);
        assert_eq!(items_with(&stack, &["EMAIL#".to_owned(), "USERNAME#".to_owned()]).await.len(), 2);
    }
    assert!(receipts(&stack).await.is_empty() && deleted(&stack).await.is_empty());
}

/// A crash between the deletion and the receipt: whoever takes the item up again goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_deletion_that_is_cut_off_is_completed() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.open_undo("before@example.test", stack.clock.now().unix() + 60).await;
    stack.delete_account(&app.access).await.expect(204);
    stack.clock.advance(60);
    stack.proxy().guard(Arc::new(|caller, operation, _| caller != "outbox" || operation != "Query"));
    stack.local.settled().await;
    assert!(items_with(&stack, &["USER#".to_owned(), "EMAIL#".to_owned()]).await.is_empty());
    assert!(receipts(&stack).await.is_empty());
    stack.proxy().guard(Arc::new(|_, _, _| true));
    stack.clock.advance(3600);
    stack.local.settled().await;
    assert_eq!(receipts(&stack).await.len(), 1);
    assert_eq!(deleted(&stack).await, [app.user_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_has_lapsed_holds_nothing_up() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.open_undo("before@example.test", stack.clock.now().unix()).await;
    stack.delete_account(&app.access).await.expect(204);
    assert!(items_with(&stack, &["USER#".to_owned(), "EMAIL#".to_owned()]).await.is_empty());
}

/// An undo that was opened after the user was read is not passed over.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_opens_meanwhile_counts() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (_, app) = stack.person_with_session("alice").await;
    let racing = Arc::clone(&stack);
    stack.proxy().before("deletion", "TransactWriteItems", async move {
        racing.open_undo("before@example.test", racing.clock.now().unix() + 60).await;
    });
    stack.delete_account(&app.access).await.expect(204);
    assert_eq!(text(&find(&stack, "USER#").await, "status"), "deleting");
}

/// Somebody who has done everything that there is to do.
pub(crate) struct Life {
    /// A session that is fresh.
    pub(crate) app: AppSession,
    /// What would tell of them: identifiers, names, addresses, as people and the table spell them.
    pub(crate) needles: Vec<String>,
    /// What nobody may read in an export.
    pub(crate) secrets: Vec<String>,
}

/// A whole life: sign-ups, sessions on eight devices, refreshes, other names, a bounce, a change of address long ago.
pub(crate) async fn whole_life(stack: &Stack) -> Life {
    let alice = Person::named("alice");
    let (signup_id, _) = stack.sign_up(&alice).await;
    stack.clock.advance(60);
    let client = stack.client();
    client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    client.post("/signup/resend").json(json!({"signup_id": "nothing"})).send().await.expect(202);
    let mail = stack.mail_to(&alice.email).await;
    // A second sign-up of hers that came to nothing, and one of a stranger with her address.
    stack.sign_up(&Person { username: "alice_too".to_owned(), ..alice.clone() }).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let first = AppSession::of(&stack.verify(proof).await.expect(201));
    stack.sign_up(&Person { username: "mallory".to_owned(), ..alice.clone() }).await;

    let mut secrets = vec![signup_id, alice.password.clone(), retry_key(), first.refresh.clone()];
    let mut app = AppSession::of(&stack.refresh(&first.refresh, Some(&secrets[2])).await.expect(200));
    stack.change(&app.access, json!({"username": "alice.kim", "locale": "ko"})).await.expect(200);
    let alice = Person { username: "alice.kim".to_owned(), ..alice };
    for _ in 0..2 {
        stack.clock.advance(1);
        stack.signed_in(&alice).await;
        let browser = stack.remembered(&alice).await;
        browser.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
        app = stack.app(&alice).await;
        secrets.extend([app.refresh.clone(), app.access.clone()]);
    }
    let again = client.post("/reauthenticate").bearer(&app.access).retry_key(&retry_key());
    app = AppSession::of(&again.json(json!({"password": alice.password})).send().await.expect(200));
    let ended = stack.signed_in(&alice).await;
    ended.post("/logout").send().await.expect(204);
    stack.signed_in(&alice).await;
    client.post("/password/forgot").json(json!({"email": alice.email, "client": "app"})).send().await.expect(202);
    let wrong = json!({"username": alice.username, "password": "not the password"});
    client.post("/login").json(wrong).send().await.expect(401);

    let address = EmailAddress::parse(&alice.email).expect("an address");
    let until = stack.clock.now().plus(86_400);
    store(stack).mark_undeliverable(&address, Undeliverable::Bounce, until).await.expect("a mark");
    let now = stack.clock.now().unix();
    let undo = HashMap::from([
        ("id".to_owned(), AttributeValue::S(UserId::random().to_string())),
        ("changed_at".to_owned(), AttributeValue::N((now - 604_800).to_string())),
        ("email".to_owned(), AttributeValue::S("before@example.test".to_owned())),
        ("until".to_owned(), AttributeValue::N(now.to_string())),
    ]);
    overwrite(stack, &format!("USER#{}", app.user_id), "undos", AttributeValue::L(vec![AttributeValue::M(undo)])).await;
    let roles = AttributeValue::S("author editor".to_owned());
    overwrite(stack, &format!("USER#{}", app.user_id), "roles", roles).await;

    // What was to be told of it is told.
    stack.local.settled().await;
    let names = ["alice", "alice_too", "alice.kim"].map(|name| Username::parse(name).expect("a name"));
    let mut needles: Vec<String> = names.iter().flat_map(|name| [name.to_string(), name.normalised()]).collect();
    needles.extend([alice.email, "before@example.test".to_owned(), app.user_id.clone()]);
    let partition = format!("SESSIONS#{}", app.user_id);
    let sessions = items(stack, "UsersTable").await.into_iter().filter(|item| text(item, "pk") == partition);
    let sessions: Vec<String> = sessions.map(|item| text(&item, "sk").to_owned()).collect();
    assert_eq!(sessions.len(), 9, "eight, and the mark of one that was replaced");
    needles.extend(sessions);
    Life { app, needles, secrets }
}

/// What may tell of somebody after their account is gone: by the start of its key, with the most seconds until it ends.
const MAY_STAY: [(&str, u64); 2] = [
    // Under identifiers that nobody but the device and the mail has: no key finds them.
    ("SIGNUP#", 86_400),
    ("RESET#", 86_400),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_whole_life_but_what_ends_by_itself() {
    let stack = Stack::with_database(&[]).await;
    let (_, bob) = stack.person_with_session("bob").await;
    let Life { app, needles, .. } = whole_life(&stack).await;
    let kinds = |items: &[Item]| -> BTreeSet<String> {
        items.iter().map(|item| text(item, "pk").split('#').next().unwrap_or_default().to_owned()).collect()
    };
    let before = items_with(&stack, &needles).await;
    let all = ["EMAIL", "RESET", "SESSIONS", "SIGNUP", "USER", "USERNAME"].map(str::to_owned);
    assert_eq!(kinds(&before), BTreeSet::from(all), "the walk sees what is there");

    stack.delete_account(&app.access).await.expect(204);
    stack.local.settled().await;
    stack.clock.advance(60);
    stack.local.settled().await;
    let now = stack.clock.now().unix();
    for item in items_with(&stack, &needles).await {
        let key = text(&item, "pk");
        let (_, seconds) = MAY_STAY.iter().find(|(start, _)| key.starts_with(start)).unwrap_or_else(|| panic!("{key}"));
        let ttl: u64 = item["ttl"].as_n().expect("an end").parse().expect("a time");
        assert!(ttl <= now + seconds, "{key} ends at {ttl}");
    }
    // MACs, which tell nobody anything without the key, end too.
    for item in items(&stack, "UsersTable").await.iter().filter(|item| text(item, "pk").starts_with("LIMIT#")) {
        let ttl: u64 = item["ttl"].as_n().expect("an end").parse().expect("a time");
        assert!(ttl <= now + 86_400, "{item:?}");
    }
    let keys = format!("{:?}", items(&stack, "KeysTable").await);
    assert!(needles.iter().all(|needle| !keys.contains(needle)));
    stack.me(&bob.access).await.expect(200);
}
