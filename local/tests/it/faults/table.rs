//! The tables, read whole: what has to hold in them whatever failed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::account::{EmailAddress, Username};

use crate::harness::{Calls, Stack};

/// The most items that one write of a batch takes.
const BATCH: usize = 25;
const TABLES: [&str; 2] = ["UsersTable", "KeysTable"];

/// All items of both tables.
#[derive(Clone)]
pub(super) struct Tables(BTreeMap<&'static str, Vec<Value>>);

/// A text attribute; empty where it is missing.
pub(super) fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap_or_default()
}

/// A numeric attribute.
pub(super) fn number(item: &Value, name: &str) -> Option<u64> {
    item[name]["N"].as_str().map(|digits| digits.parse().expect("a number"))
}

impl Tables {
    pub(super) async fn read(calls: &Calls) -> Self {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let answer = calls.database("Scan", &json!({"TableName": table})).await;
            tables.insert(table, answer["Items"].as_array().expect("items").clone());
        }
        Self(tables)
    }

    /// Puts the tables back as they were read.
    pub(super) async fn restore(&self, calls: &Calls) {
        let present = Self::read(calls).await;
        for table in TABLES {
            let (wanted, present) = (&self.0[table], &present.0[table]);
            let key = |item: &Value| json!({"pk": item["pk"], "sk": item["sk"]});
            let is_gone = |item: &&Value| wanted.iter().all(|wanted| key(wanted) != key(item));
            let deletes = present.iter().filter(is_gone).map(|item| json!({"DeleteRequest": {"Key": key(item)}}));
            let puts = wanted.iter().filter(|item| !present.contains(item));
            let puts = puts.map(|item| json!({"PutRequest": {"Item": item}}));
            let writes: Vec<Value> = deletes.chain(puts).collect();
            for batch in writes.chunks(BATCH) {
                calls.database("BatchWriteItem", &json!({"RequestItems": {table: batch}})).await;
            }
        }
    }

    pub(super) fn users(&self) -> &[Value] {
        &self.0["UsersTable"]
    }

    /// Items whose partition begins so.
    pub(super) fn with(&self, start: &str) -> impl Iterator<Item = &Value> {
        self.users().iter().filter(move |item| text(item, "pk").starts_with(start))
    }

    fn has(&self, partition: &str) -> Option<&Value> {
        self.users().iter().find(|item| text(item, "pk") == partition)
    }

    /// Sessions that are none but marks aside.
    pub(super) fn sessions(&self) -> usize {
        self.with("SESSIONS#").filter(|item| item.get("replaced_by").is_none()).count()
    }

    /// Asserts what holds at any time: users, names and addresses agree, and nothing belongs to nobody. `before` is how the
    /// tables were when all was well.
    pub(super) fn assert_whole(&self, before: &Self, now: u64) {
        let email = |item: &Value| {
            format!("EMAIL#{}", EmailAddress::parse(text(item, "email")).expect("an address").normalised())
        };
        let username = |item: &Value| {
            format!("USERNAME#{}", Username::parse(text(item, "username")).expect("a name").normalised())
        };
        for user in self.with("USER#") {
            let id = &text(user, "pk")["USER#".len()..];
            for key in [email(user), username(user)] {
                let item = self.has(&key).unwrap_or_else(|| panic!("{key} of {id} is missing"));
                assert_eq!(text(item, "user_id"), id, "{key}");
            }
            for undo in user["undos"]["L"].as_array().into_iter().flatten() {
                let (id, before) = (text(&undo["M"], "id"), text(&undo["M"], "email"));
                assert!(self.has(&format!("UNDO#{id}")).is_some(), "the undo {id} has no link");
                let address = self.has(&format!("EMAIL#{before}")).expect("an address that is kept");
                let owner = [text(address, "reserved_for"), text(address, "user_id")];
                assert!(owner.contains(&&text(user, "pk")["USER#".len()..]), "{before} is kept for its owner");
            }
        }
        let user_of = |id: &str| self.has(&format!("USER#{id}"));
        for item in self.with("EMAIL#").filter(|item| item.get("user_id").is_some()) {
            let user = user_of(text(item, "user_id")).unwrap_or_else(|| panic!("nobody has {}", text(item, "pk")));
            assert_eq!(email(user), text(item, "pk"));
        }
        // One whose time is over is anybody's, and waits for the TTL.
        for item in self.with("EMAIL#").filter(|item| number(item, "reserved_until").is_some_and(|until| now < until)) {
            let user = user_of(text(item, "reserved_for")).unwrap_or_else(|| panic!("{item} is kept for nobody"));
            let undos = user["undos"].to_string();
            assert!(undos.contains(&text(item, "pk")["EMAIL#".len()..]), "{item} is kept for no undo");
        }
        for item in self.with("USERNAME#") {
            let user = user_of(text(item, "user_id")).unwrap_or_else(|| panic!("nobody has {}", text(item, "pk")));
            assert_eq!(username(user), text(item, "pk"));
        }
        for session in self.with("SESSIONS#").filter(|item| item.get("replaced_by").is_none()) {
            let user = user_of(&text(session, "pk")["SESSIONS#".len()..]);
            let user = user.unwrap_or_else(|| panic!("{session} is nobody's"));
            assert!(number(session, "epoch") <= number(user, "epoch"), "{session} is of an epoch to come");
        }
        let is_open = |item: &&Value| number(item, "expires_at").is_some_and(|until| now < until);
        for undo in self.with("UNDO#").filter(|item| item.get("completed").is_none()).filter(is_open) {
            let user = user_of(text(undo, "user_id")).unwrap_or_else(|| panic!("{undo} is nobody's"));
            let id = &text(undo, "pk")["UNDO#".len()..];
            assert!(user["undos"].to_string().contains(id), "the link {id} undoes nothing");
        }
        let is_new = |item: &&Value| item.get("completed").is_some() && !before.users().contains(item);
        for signup in self.with("SIGNUP#").filter(is_new) {
            assert!(user_of(text(signup, "completed")).is_some(), "{signup} made nobody");
        }
        let rings = &self.0["KeysTable"];
        let slots = |partition: &str| {
            let ring = rings.iter().find(|ring| text(ring, "pk") == partition)?;
            let names = ring.as_object()?.keys().filter(|name| !matches!(name.as_str(), "pk" | "sk"));
            Some(names.cloned().collect::<Vec<String>>())
        };
        assert_eq!(slots("SIGNING#PRIVATE"), slots("SIGNING#PUBLIC"), "halves of signing keys");
    }

    /// What each counter has spent since `before`, by its item and its name.
    pub(super) fn spent_since(&self, before: &Self) -> Vec<(String, i64)> {
        let mut spent = Vec::new();
        for item in self.users() {
            let key = text(item, "pk");
            let old = before.users().iter().find(|old| text(old, "pk") == key && text(old, "sk") == text(item, "sk"));
            for (name, counts_down, fresh) in COUNTERS {
                let Some(value) = number(item, name) else { continue };
                let value = i64::try_from(value).expect("a small number");
                let start = old.map_or(fresh, |old| {
                    number(old, name).map_or(fresh, |value| i64::try_from(value).expect("a small number"))
                });
                // A new item has what it begins with.
                if old.is_none() && !key.starts_with("LIMIT#") {
                    continue;
                }
                let delta = if counts_down { start - value } else { value - start };
                spent.push((format!("{name} of {key}"), delta));
            }
        }
        spent
    }

    /// The outbox's items: keys, and when each may be taken up.
    pub(super) fn outbox(&self) -> Vec<(String, String, u64)> {
        let due = |item: &Value| {
            number(item, "not_before").unwrap_or_default().max(number(item, "leased_until").unwrap_or_default())
        };
        let items = self.with("OUTBOX#");
        items.map(|item| (text(item, "pk").to_owned(), text(item, "sk").to_owned(), due(item))).collect()
    }
}

/// The attributes that count guesses and mails: name, whether it counts down, and what it is where it is missing.
const COUNTERS: [(&str, bool, i64); 7] = [
    ("code_attempts", true, 5),
    ("password_attempts", true, 5),
    ("repeats", true, 10),
    ("wrong_passwords", false, 0),
    // A first mail is taken to have been sent before.
    ("mails", false, 1),
    // Of limits, whose items begin with the first that is counted.
    ("counted", false, 0),
    ("failures", false, 0),
];

/// What the table's stream brings of items of the outbox.
pub(super) fn records(items: &[(String, String, u64)]) -> Value {
    let record =
        |(pk, sk, _): &(String, String, u64)| json!({"dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": sk}}}});
    json!({"Records": items.iter().map(record).collect::<Vec<_>>()})
}

/// Has everything told that waits in the outbox, moving the clock to whatever is due within `horizon` seconds. How many
/// items wait for later.
pub(super) async fn drain(stack: &Stack, horizon: u64) -> usize {
    let end = stack.clock.now().unix() + horizon;
    for _ in 0..40 {
        let items = Tables::read(stack.calls()).await.outbox();
        let now = stack.clock.now().unix();
        let due: Vec<_> = items.iter().filter(|(_, _, at)| *at <= now).cloned().collect();
        if !due.is_empty() {
            stack.local.functions().invoke("outbox", records(&due)).await.expect("it always succeeds");
            continue;
        }
        match items.iter().map(|(_, _, at)| *at).min() {
            Some(at) if at <= end => stack.clock.advance(at - now),
            _ => return items.len(),
        }
    }
    panic!("the outbox is never empty");
}
