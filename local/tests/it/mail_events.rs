//! Bounces and complaints: an address that sends mail back is not mailed again for a while, and nobody can tell.

use serde_json::{Value, json};

use crate::harness::{Person, Stack};

const DAY: u64 = 86_400;

/// The documented payload of an event of SES, in SNS's envelope.
fn notification(message: &Value) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": message.to_string()}}]})
}

pub(crate) fn bounce(kind: &str, address: &str) -> Value {
    notification(&json!({
        "eventType": "Bounce",
        "bounce": {
            "bounceType": kind,
            "bounceSubType": "General",
            "bouncedRecipients": [{"emailAddress": address, "action": "failed", "status": "5.1.1"}],
            "timestamp": "2026-11-23T10:00:04.000Z",
            "feedbackId": "EXAMPLE",
        },
        "mail": {"messageId": "EXAMPLE", "destination": [address]},
    }))
}

fn complaint(kind: Option<&str>, address: &str) -> Value {
    // SES's feedback notifications, which came before its event publishing, call the type by another name.
    notification(&json!({
        "notificationType": "Complaint",
        "complaint": {
            "complainedRecipients": [{"emailAddress": format!("Somebody <{address}>")}],
            "complaintFeedbackType": kind,
            "timestamp": "2026-11-23T10:00:04.000Z",
            "feedbackId": "EXAMPLE",
        },
        "mail": {"messageId": "EXAMPLE", "destination": [address]},
    }))
}

pub(crate) async fn marked(stack: &Stack, event: Value) -> u64 {
    let answer = stack.local.functions().invoke("mail-events", event).await.expect("an answer");
    answer["marked"].as_u64().expect("a count")
}

async fn mails_to(stack: &Stack, person: &Person) -> usize {
    stack.mails().await.iter().filter(|mail| mail.to == person.email).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounced_is_not_mailed_for_ninety_days() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let first = stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 1);
    assert_eq!(marked(&stack, bounce("Permanent", "ALICE@example.test")).await, 1);

    // The answers are those that anybody gets.
    let second = stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(first.json()["expires_in"], second.json()["expires_in"]);
    stack.clock.advance(60);
    let resend = json!({"signup_id": second.json()["signup_id"]});
    stack.client().post("/signup/resend").json(resend).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 1);

    stack.clock.advance(90 * DAY - 61);
    stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 1);
    stack.clock.advance(1);
    stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_holds_for_a_year() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    assert_eq!(marked(&stack, complaint(Some("abuse"), &alice.email)).await, 1);
    for (wait, mails) in [(0, 0), (365 * DAY - 1, 0), (1, 1)] {
        stack.clock.advance(wait);
        stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
        assert_eq!(mails_to(&stack, &alice).await, mails);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_changes_nothing() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let delivery = notification(&json!({"eventType": "Delivery", "delivery": {}, "mail": {}}));
    for event in [
        bounce("Transient", &alice.email),
        bounce("Undetermined", &alice.email),
        complaint(Some("not-spam"), &alice.email),
        bounce("Permanent", "no address"),
        delivery,
        notification(&json!("Successfully validated SNS topic for Amazon SES event publishing.")),
        json!({"Records": [{"Sns": {"Message": "no JSON {"}}]}),
        json!({"Records": []}),
    ] {
        assert_eq!(marked(&stack, event.clone()).await, 0, "{event}");
    }
    stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_is_no_account() {
    let stack = Stack::with(&[("NewDeviceNotice", "false")]).await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    marked(&stack, bounce("Permanent", &alice.email)).await;
    let login = json!({"email": alice.email, "password": alice.password, "client": "app"});
    stack.client().post("/login").json(login.clone()).send().await.expect_problem(401, "invalid_credentials");

    // Whoever read the mail after all has the address, and it is mailed again.
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    stack.verify(proof).await.expect(201);
    stack.client().post("/login").json(login).send().await.expect(200);
    let again = Person { username: "other".to_owned(), ..alice.clone() };
    stack.client().post("/signup").json(again.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_keeps_its_address_when_a_mail_comes_back() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    marked(&stack, bounce("Permanent", &alice.email)).await;
    let login = json!({"email": alice.email, "password": alice.password, "client": "app"});
    stack.client().post("/login").json(login).send().await.expect(200);
    // And nobody else gets it, nor a mail.
    let before = mails_to(&stack, &alice).await;
    let taken = Person { username: "mallory".to_owned(), ..alice.clone() };
    stack.client().post("/signup").json(taken.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_has_the_event_come_again() {
    let stack = Stack::with_proxy(&[]).await;
    stack.proxy().throttle(&["UpdateItem"]);
    let event = bounce("Permanent", "alice@example.test");
    stack.local.functions().invoke("mail-events", event.clone()).await.expect_err("it has to be repeated");
    stack.proxy().heal();
    assert_eq!(marked(&stack, event).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_sent_with_the_configuration_set_that_publishes_bounces() {
    let stack = Stack::start().await;
    stack.sign_up(&Person::named("alice")).await;
    let sent = stack.local.mailbox().mails().pop().expect("a mail");
    assert_eq!(sent.configuration_set.as_deref(), Some("MailConfigurationSet"));
}

/// A report is written by whoever received the mail, and may name anybody's address.
#[tokio::test(flavor = "multi_thread")]
async fn only_addresses_that_were_mailed_are_marked() {
    let stack = Stack::start().await;
    let (alice, victim) = (Person::named("alice"), Person::named("victim"));
    let report = |kind: &str, member: &str, details: Value, destination: &Value| {
        notification(&json!({"eventType": kind, member: details, "mail": {"destination": destination}}))
    };
    let named = |addresses: &[&str]| {
        json!(addresses.iter().map(|address| json!({"emailAddress": address})).collect::<Vec<_>>())
    };
    let both = named(&[&victim.email, &alice.email, &alice.email]);
    let bounced = json!({"bounceType": "Permanent", "bouncedRecipients": both});
    let complained = json!({"complainedRecipients": both});
    for (destination, count) in [
        (json!([alice.email]), 1),
        (json!([format!("Alice <{}>", alice.email.to_uppercase())]), 1),
        (json!([]), 0),
        (json!(["somebody@example.test"]), 0),
    ] {
        for event in [
            report("Bounce", "bounce", bounced.clone(), &destination),
            report("Complaint", "complaint", complained.clone(), &destination),
        ] {
            assert_eq!(marked(&stack, event).await, count, "{destination}");
        }
    }
    stack.client().post("/signup").json(victim.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &victim).await, 1);
    stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202);
    assert_eq!(mails_to(&stack, &alice).await, 0);
}

/// What is kept of an address that nobody owns ends with its mark; an account never does.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_ends_and_an_account_does_not() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    marked(&stack, bounce("Permanent", &alice.email)).await;
    marked(&stack, bounce("Permanent", "nobody@example.test")).await;
    let items = crate::harness::tables::items(&stack, "UsersTable").await;
    let ttl = |address: &str| {
        let pk = format!("EMAIL#{address}");
        let item = items.iter().find(|item| crate::harness::tables::text(item, "pk") == pk).expect("an item");
        assert!(item.contains_key("undeliverable_until"), "{address}");
        item.get("ttl").and_then(|ttl| ttl.as_n().ok()).cloned()
    };
    assert_eq!(ttl(&alice.email), None);
    let until = stack.clock.now().unix() + 90 * DAY;
    assert_eq!(ttl("nobody@example.test"), Some(until.to_string()));
    // Whoever gets the address has it for good.
    let nobody = Person { email: "nobody@example.test".to_owned(), ..Person::named("norah") };
    stack.clock.advance(90 * DAY);
    let (signup_id, mail) = stack.sign_up(&nobody).await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    let items = crate::harness::tables::items(&stack, "UsersTable").await;
    let owned = items.iter().find(|item| crate::harness::tables::text(item, "pk") == "EMAIL#nobody@example.test");
    assert!(!owned.expect("an item").contains_key("ttl"));
}
