//! `GET /me/export`: everything that is held about a person, and no secret.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::clock::Timestamp;

use crate::deletion::{Life, whole_life};
use crate::harness::tables::{Item, find, items, text};
use crate::harness::{Answer, Stack};

impl Stack {
    /// Everything that is held about whoever holds this token.
    pub(crate) async fn export(&self, access: &str) -> Answer {
        self.client().get("/me/export").bearer(access).send().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_about_an_account_as_it_is_new() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let answer = stack.export(&app.access).await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"account.json\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {".user.id" => "[id]", ".sessions[].id" => "[id]"}, @r#"
    {
      "address": {
        "email": "alice@example.test",
        "undeliverable": null
      },
      "exported_at": "2100-01-01T00:00:00Z",
      "sessions": [
        {
          "authenticated_at": "2100-01-01T00:00:00Z",
          "created_at": "2100-01-01T00:00:00Z",
          "device": "",
          "epoch": 1,
          "expires_at": "2100-06-30T00:00:00Z",
          "generation": 1,
          "id": "[id]",
          "idle_expires_at": "2100-01-31T00:00:00Z",
          "kind": "app",
          "last_used_at": "2100-01-01T00:00:00Z",
          "methods": [
            "mca"
          ],
          "refreshed_at": "2100-01-01T00:00:00Z"
        }
      ],
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "epoch": 1,
        "id": "[id]",
        "locale": "en",
        "roles": [],
        "status": "enabled",
        "undos": [],
        "username": "alice"
      }
    }
    "#);
    assert_eq!(answer.json()["user"]["id"], json!(app.user_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_just_proved_who_they_are_and_only_their_own() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let bob = stack.person("bob").await;
    stack.client().get("/me/export").send().await.expect_problem(401, "token_missing");
    stack.export("nonsense").await.expect_problem(401, "token_invalid");
    let browsers = [stack.signed_in(&alice).await, stack.remembered(&alice).await];
    for browser in &browsers {
        let export = browser.get("/me/export").send().await.expect(200);
        assert!(export.text().contains(&alice.email) && !export.text().contains(&bob.email));
    }
    stack.clock.advance(301);
    for browser in &browsers {
        browser.get("/me/export").send().await.expect_problem(403, "reauthentication_required");
    }
    stack.export(&app.access).await.expect_problem(403, "reauthentication_required");
}

/// Where an attribute is in the export, or why it is not.
enum Place {
    /// At this pointer (RFC 6901), from the user, the address or the session on.
    At(&'static str),
    /// Left out, for this reason.
    LeftOut(&'static str),
}
use Place::{At, LeftOut};

/// Of each kind of item every attribute that there may be.
const USER: [(&str, Place); 12] = [
    ("devices", LeftOut("a count by which tokens of devices are made void; it tells of nobody")),
    ("pk", At("/id")),
    ("sk", LeftOut("what kind of item it is")),
    ("username", At("/username")),
    ("email", At("/email")),
    ("password_hash", LeftOut("a secret")),
    ("status", At("/status")),
    ("epoch", At("/epoch")),
    ("locale", At("/locale")),
    ("created_at", At("/created_at")),
    ("roles", At("/roles")),
    ("undos", At("/undos")),
];
const SESSION: [(&str, Place); 18] = [
    ("pk", LeftOut("whose it is: the user's")),
    ("sk", At("/id")),
    ("kind", At("/kind")),
    ("generation", At("/generation")),
    ("epoch", At("/epoch")),
    ("created_at", At("/created_at")),
    ("authenticated_at", At("/authenticated_at")),
    ("methods", At("/methods")),
    ("rotated_at", At("/refreshed_at")),
    ("used_at", At("/last_used_at")),
    ("idle_expires_at", At("/idle_expires_at")),
    ("expires_at", At("/expires_at")),
    ("key_1", LeftOut("the hash of a secret")),
    ("key_2", LeftOut("the hash of a secret")),
    ("key_3", LeftOut("the hash of a secret")),
    ("device", At("/device")),
    ("ttl", LeftOut("expires_at again")),
    ("written_by", LeftOut("a random mark of one write, by which a repetition knows it")),
];
const EMAIL: [(&str, Place); 5] = [
    ("pk", At("/email")),
    ("sk", LeftOut("what kind of item it is")),
    ("user_id", LeftOut("whose it is: the user's")),
    ("undeliverable_until", At("/undeliverable/until")),
    ("undeliverable_reason", At("/undeliverable/reason")),
];
/// Items that tell of a person and are left out as a whole.
const LEFT_OUT: [(&str, &str); 4] = [
    ("RESET#", "under a random identifier: no key of the user's finds it; it ends with its ttl, a day"),
    ("OUTBOX#", "a mail that waits, under the hour when it is due: no key of the user's finds it; it goes in seconds"),
    ("USERNAME#", "says who has a name, which the user says too; its key is a form of the name for comparing"),
    ("SIGNUP#", "under a random identifier: no key of the user's finds it; it ends with its ttl, a day"),
];

/// A value of the table as the export may write it.
fn spellings(value: &AttributeValue) -> Vec<Value> {
    match value {
        AttributeValue::S(text) => {
            let words: Vec<&str> = text.split(' ').collect();
            let bare = text.split_once('#').map_or(text.as_str(), |(_, id)| id);
            vec![json!(text), json!(words), json!(bare)]
        }
        AttributeValue::N(digits) => {
            let number: u64 = digits.parse().expect("a number");
            vec![json!(number), json!(Timestamp::from_unix(number).to_string())]
        }
        AttributeValue::L(elements) => vec![elements.iter().map(|element| spellings(element).remove(0)).collect()],
        AttributeValue::M(members) => {
            let member = |(name, value): (&String, &AttributeValue)| {
                // Numbers in there are times.
                let spelling = spellings(value).into_iter().find(Value::is_string).expect("a spelling");
                (name.clone(), spelling)
            };
            vec![Value::Object(members.iter().map(member).collect())]
        }
        other => panic!("{other:?}"),
    }
}

fn assert_exported(item: &Item, places: &[(&str, Place)], part: &Value) {
    for (name, value) in item {
        let key = text(item, "pk");
        let place = places.iter().find(|(listed, _)| listed == name).map(|(_, place)| place);
        match place.unwrap_or_else(|| panic!("{key}: {name} is neither exported nor left out for a reason")) {
            At(pointer) => {
                let exported = part.pointer(pointer).unwrap_or_else(|| panic!("{key}: {name}: no {pointer} in {part}"));
                assert!(spellings(value).contains(exported), "{key}: {name} is {value:?}, exported as {exported}");
            }
            LeftOut(reason) => assert!(!reason.is_empty()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_table_is_in_it_or_left_out_for_a_reason() {
    let stack = Stack::with_database(&[]).await;
    stack.person("bob").await;
    let Life { app, needles, secrets } = whole_life(&stack).await;
    let answer = stack.export(&app.access).await.expect(200);
    let export = answer.json();
    let sessions = export["sessions"].as_array().expect("sessions");
    let mut seen = (0, 0, 0);
    for item in items(&stack, "UsersTable").await {
        let tells = needles.iter().any(|needle| format!("{item:?}").contains(needle));
        let key = text(&item, "pk");
        // The mark of a session that was replaced: hashes, and the identifier of the new one, for ten minutes.
        if item.contains_key("replaced_by") {
            continue;
        }
        if !tells || LEFT_OUT.iter().any(|(start, _)| key.starts_with(start)) {
            continue;
        }
        match key.split('#').next() {
            Some("USER") => {
                assert_exported(&item, &USER, &export["user"]);
                seen.0 += 1;
            }
            Some("SESSIONS") => {
                let session = sessions.iter().find(|session| session["id"] == text(&item, "sk"));
                assert_exported(&item, &SESSION, session.expect("an exported session"));
                seen.1 += 1;
            }
            Some("EMAIL") => {
                assert_exported(&item, &EMAIL, &export["address"]);
                seen.2 += 1;
            }
            _ => panic!("{key} is neither exported nor left out for a reason"),
        }
    }
    assert_eq!(seen, (1, 8, 1));
    assert_eq!(sessions.len(), 8, "nobody else's");

    let user = find(&stack, &format!("USER#{}", app.user_id)).await;
    let mut hidden = vec![text(&user, "password_hash").to_owned()];
    for item in items(&stack, "UsersTable").await.iter().filter(|item| text(item, "pk").starts_with("SESSIONS#")) {
        let keys = ["key_1", "key_2", "key_3"].map(|name| text(item, name).to_owned());
        hidden.extend(keys.into_iter().filter(|key| !key.is_empty()));
    }
    assert!(hidden.len() > 2, "{hidden:?}");
    for secret in hidden.iter().chain(&secrets) {
        assert!(!answer.text().contains(secret), "{secret}");
    }
}
