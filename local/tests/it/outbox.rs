//! The outbox: what was written with what it tells of is told once, whatever fails.

use serde_json::{Value, json};
use shared::account::{EmailAddress, UserId};
use shared::clock::Timestamp;
use shared::concurrency::Concurrency;
use shared::config::Tables;
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, MailedSecrets, OutboxItem, OutboxRef, QueuedMail};
use shared::store::{Lease, Store};
use shared::token::{MacKey, SealingKey};

use crate::harness::Stack;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

fn store(stack: &Stack) -> Store {
    let tables = Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() };
    Store::new(stack.aws().dynamodb(), tables, Concurrency::Many)
}

fn notice(name: &str, now: Timestamp) -> QueuedMail {
    let to = EmailAddress::parse(&format!("{name}@example.test")).expect("an address");
    QueuedMail::new(to, Locale::En, Letter::PasswordChanged { username: name.to_owned() }, now)
}

fn user() -> UserId {
    UserId::from_bytes([7; 16])
}

/// Who was mailed, oldest mail first.
async fn mailed(stack: &Stack) -> Vec<String> {
    stack.mails().await.into_iter().map(|mail| mail.to.split('@').next().unwrap_or_default().to_owned()).collect()
}

async fn events(stack: &Stack) -> Vec<Value> {
    let answer = stack.client().get("/_local/events.json").send().await.expect(200).json();
    answer.as_array().expect("events").clone()
}

/// What the stream brings of an item.
fn records(items: &[OutboxRef]) -> Value {
    let record = |item: &OutboxRef| {
        let (pk, sk) = item.to_keys();
        json!({"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": sk}}}})
    };
    json!({"Records": items.iter().map(record).collect::<Vec<_>>()})
}

async fn deliver(stack: &Stack, items: &[OutboxRef]) -> Value {
    stack.local.functions().invoke("outbox", records(items)).await.expect("an answer")
}

async fn sweep(stack: &Stack) -> Value {
    stack.local.functions().invoke("sweep", json!({})).await.expect("an answer")
}

/// How many items the outbox holds, those that were given up too.
async fn items(stack: &Stack) -> Vec<Value> {
    let table = stack.aws().dynamodb().scan().table_name("UsersTable").send().await.expect("the table");
    let items = table.items.unwrap_or_default().into_iter();
    items
        .filter(|item| item["pk"].as_s().is_ok_and(|pk| pk.starts_with("OUTBOX#")))
        .map(|item| json!({"dead": item.contains_key("dead"), "ttl": item.contains_key("ttl")}))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_wakes_the_function_and_the_item_goes() {
    let stack = Stack::start().await;
    let store = Store::new(
        stack.local.secret().aws(stack.local.endpoints()).dynamodb(),
        Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() },
        Concurrency::Many,
    );
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now).with_event(EventType::PasswordChanged, user());
    store.put_outbox(&item).await.expect("written");
    assert_eq!(mailed(&stack).await, ["ann"]);
    let events = events(&stack).await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["source"], &events[0]["detail-type"]), (&json!("latchkey"), &json!("password.changed")));
    let expected = json!({"id": item.reference.id.to_string(), "user_id": user().to_string(), "at": now.to_string()});
    assert_eq!(events[0]["detail"], expected);
    assert!(matches!(store.lease_outbox(item.reference, now).await, Ok(Lease::NotDue)), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_repeats_and_two_instances_with_one_record_mail_once() {
    let stack = Stack::with_database(&[]).await;
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now);
    store(&stack).put_outbox(&item).await.expect("written");
    let both = [item.reference, item.reference];
    let answers = tokio::join!(deliver(&stack, &both), deliver(&stack, &both), deliver(&stack, &both));
    let done: u64 = [answers.0, answers.1, answers.2].iter().filter_map(|answer| answer["done"].as_u64()).sum();
    assert_eq!(done, 1);
    assert_eq!(deliver(&stack, &both).await, json!({"done": 0, "deferred": 0, "dead": 0, "skipped": 2}));
    assert_eq!(mailed(&stack).await, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_loses_the_sweep_finds() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    sweep(&stack).await;
    let now = stack.clock.now();
    for name in ["ann", "bob", "carol"] {
        store.put_outbox(&OutboxItem::mail(notice(name, now), now)).await.expect("written");
    }
    // Hours later, too: the sweep goes on from the oldest hour that may hold something.
    stack.clock.advance(3 * HOUR);
    let answer = sweep(&stack).await;
    assert_eq!((&answer["waiting"], &answer["handed_on"]), (&json!(3), &json!(3)));
    assert_eq!(answer["oldest_seconds"], 3 * HOUR);
    let mut mailed = mailed(&stack).await;
    mailed.sort();
    assert_eq!(mailed, ["ann", "bob", "carol"]);
    assert_eq!(items(&stack).await, [] as [Value; 0]);
    let answer = sweep(&stack).await;
    assert_eq!(answer, json!({"hours": 2, "waiting": 0, "handed_on": 0, "oldest_seconds": 0}));
}

/// A crash before the mail leaves a lease that ends; one after it, a mail that comes twice. Nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now).with_event(EventType::PasswordChanged, user());
    store.put_outbox(&item).await.expect("written");
    // Somebody took it up and was never heard of again.
    assert!(matches!(store.lease_outbox(item.reference, now).await, Ok(Lease::Taken(_))));
    assert_eq!(deliver(&stack, &[item.reference]).await["skipped"], 1);
    stack.clock.advance(59);
    assert_eq!(deliver(&stack, &[item.reference]).await["skipped"], 1);
    stack.clock.advance(1);
    assert_eq!(deliver(&stack, &[item.reference]).await["done"], 1);
    assert_eq!((mailed(&stack).await, events(&stack).await.len()), (vec!["ann".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_ses_is_down_mails_wait_with_growing_pauses() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    sweep(&stack).await;
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now);
    store.put_outbox(&item).await.expect("written");
    stack.local.mailbox().refuse(Some("TooManyRequestsException"));
    assert_eq!(deliver(&stack, &[item.reference]).await["deferred"], 1);
    let mut attempts = Vec::new();
    for minute in 1..=75_u64 {
        stack.clock.advance(MINUTE);
        if deliver(&stack, &[item.reference]).await["deferred"] == 1 {
            attempts.push(minute);
        }
    }
    assert_eq!(attempts, [5, 15, 35, 75]);
    // An hour and more later SES is back, and the next sweep brings the mail.
    stack.local.mailbox().refuse(None);
    stack.clock.advance(HOUR);
    sweep(&stack).await;
    assert_eq!(mailed(&stack).await, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_a_mail_is_given_up_and_rings() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    sweep(&stack).await;
    let now = stack.clock.now();
    store.put_outbox(&OutboxItem::mail(notice("ann", now), now)).await.expect("written");
    store.put_outbox(&OutboxItem::new(deletion(), now)).await.expect("written");
    stack.local.mailbox().refuse(Some("MessageRejected"));
    // Two days without SES.
    for _ in 0..48 {
        sweep(&stack).await;
        stack.clock.advance(HOUR);
    }
    sweep(&stack).await;
    let mut left = items(&stack).await;
    left.sort_by_key(|item| item["dead"] == true);
    let (deletion, mail) = (json!({"dead": false, "ttl": false}), json!({"dead": true, "ttl": true}));
    assert_eq!(left, [deletion, mail]);
    stack.local.mailbox().refuse(None);
    stack.clock.advance(2 * HOUR);
    sweep(&stack).await;
    assert_eq!(mailed(&stack).await, ["bob"], "a deletion is never given up, a dead mail never taken up");
}

/// The deletion of an account whose owner is told.
fn deletion() -> shared::outbox::Content {
    let now = Timestamp::from_unix(4_102_444_800);
    let mail = QueuedMail { letter: Letter::AccountDeleted { username: "bob".to_owned() }, ..notice("bob", now) };
    OutboxItem::mail(mail, now).with_deletion(user()).content
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_item_keeps_no_other_waiting() {
    let stack = Stack::with_database(&[]).await;
    let store = store(&stack);
    let now = stack.clock.now();
    let names = ["ann", "bob", "carol", "dora"];
    let items: Vec<OutboxItem> = names.iter().map(|name| OutboxItem::mail(notice(name, now), now)).collect();
    for item in &items {
        store.put_outbox(item).await.expect("written");
    }
    let (pk, sk) = items[1].reference.to_keys();
    let key = [("pk", pk), ("sk", sk)];
    let mut update = stack.aws().dynamodb().update_item().table_name("UsersTable");
    for (name, value) in key {
        update = update.key(name, aws_sdk_dynamodb::types::AttributeValue::S(value));
    }
    let poison = aws_sdk_dynamodb::types::AttributeValue::S("{\"mail\":7}".to_owned());
    update
        .update_expression("SET content = :poison")
        .expression_attribute_values(":poison", poison)
        .send()
        .await
        .expect("poisoned");
    let references: Vec<OutboxRef> = items.iter().map(|item| item.reference).collect();
    let answer = deliver(&stack, &references).await;
    assert_eq!(answer, json!({"done": 3, "deferred": 0, "dead": 1, "skipped": 0}));
    let mut mailed = mailed(&stack).await;
    mailed.sort();
    assert_eq!(mailed, ["ann", "carol", "dora"]);
    let answer = sweep(&stack).await;
    assert_eq!((&answer["waiting"], &answer["oldest_seconds"]), (&json!(0), &json!(0)), "it holds nothing back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_does_not_send_its_mail_again() {
    let stack = Stack::with_database(&[]).await;
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now).with_event(EventType::EmailChanged, user());
    store(&stack).put_outbox(&item).await.expect("written");
    stack.local.event_bus().fail_next(1);
    assert_eq!(deliver(&stack, &[item.reference]).await["deferred"], 1);
    assert_eq!(mailed(&stack).await, ["ann"]);
    stack.clock.advance(5 * MINUTE);
    assert_eq!(deliver(&stack, &[item.reference]).await["done"], 1);
    assert_eq!((mailed(&stack).await.len(), events(&stack).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bus_nothing_is_published() {
    let stack = Stack::with_database(&[("EventBusName", "")]).await;
    let now = stack.clock.now();
    let item = OutboxItem::event(EventType::UserCreated, user(), now);
    store(&stack).put_outbox(&item).await.expect("written");
    assert_eq!(deliver(&stack, &[item.reference]).await["done"], 1);
    assert_eq!(events(&stack).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_proof_is_not_current_is_left_out() {
    let stack = Stack::with_database(&[]).await;
    let now = stack.clock.now();
    let secrets = MailedSecrets { token: "TOKEN".to_owned(), code: None };
    // Sealed by a key that nobody has: what is left out is not even opened.
    let (key, mac) = (SealingKey::random(), MacKey::random().mac("test", &[]));
    let mail = notice("ann", now)
        .with_secrets(&secrets, &key, "SIGNUP#none".to_owned(), mac, now, "https://api.example.test")
        .expect("sealed");
    let item = OutboxItem::mail(mail, now);
    store(&stack).put_outbox(&item).await.expect("written");
    assert_eq!(deliver(&stack, &[item.reference]).await["done"], 1);
    assert_eq!(mailed(&stack).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_later_waits() {
    let stack = Stack::with_database(&[]).await;
    sweep(&stack).await;
    let now = stack.clock.now();
    let item = OutboxItem::mail(notice("ann", now), now).not_before(now.plus(5 * HOUR));
    store(&stack).put_outbox(&item).await.expect("written");
    assert_eq!(deliver(&stack, &[item.reference]).await["skipped"], 1);
    stack.clock.advance(5 * HOUR - 1);
    sweep(&stack).await;
    assert_eq!(mailed(&stack).await.len(), 0);
    stack.clock.advance(1);
    assert_eq!(sweep(&stack).await["oldest_seconds"], 0);
    assert_eq!(mailed(&stack).await, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_other_items_are_passed_over() {
    let stack = Stack::with_database(&[]).await;
    let event = json!({"Records": [{"dynamodb": {"Keys": {"pk": {"S": "USER#x"}, "sk": {"S": "USER"}}}}]});
    let answer = stack.local.functions().invoke("outbox", event).await.expect("an answer");
    assert_eq!(answer, json!({"done": 0, "deferred": 0, "dead": 0, "skipped": 0}));
}
