//! The tables, read and written as an operator may and nobody else.

use std::collections::HashMap;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use local::database;

use super::{Person, Stack};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A client of the database, of nobody.
pub(crate) fn client(stack: &Stack) -> Client {
    database::client(stack.database().endpoint(), stack.database().secret())
}

/// All items of a table.
pub(crate) async fn items(stack: &Stack, table: &str) -> Vec<Item> {
    client(stack).scan().table_name(table).send().await.expect("items").items.unwrap_or_default()
}

/// An attribute; nothing when it is missing or no text.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

/// The first item whose partition key begins so.
pub(crate) async fn find(stack: &Stack, start: &str) -> Item {
    let mut items = items(stack, "UsersTable").await;
    items.retain(|item| text(item, "pk").starts_with(start));
    items.pop().unwrap_or_else(|| panic!("no item {start}"))
}

/// Overwrites one attribute of that item.
pub(crate) async fn overwrite(stack: &Stack, start: &str, name: &str, value: AttributeValue) {
    let mut item = find(stack, start).await;
    item.insert(name.to_owned(), value);
    client(stack).put_item().table_name("UsersTable").set_item(Some(item)).send().await.expect("a written item");
}

impl Stack {
    /// Gives somebody's password a hash of old parameters, and says which.
    pub(crate) async fn outdate_password(&self, person: &Person) -> String {
        let params = Params::new(64, 1, 1, Some(32)).expect("parameters");
        let (salt, mut hash) = (b"a salt of old times", [0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(person.password.as_bytes(), salt, &mut hash).expect("a hash");
        let encode = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
        let outdated = format!("$argon2id$v=19$m=64,t=1,p=1${}${}", encode(salt), encode(&hash));
        overwrite(self, "USER#", "password_hash", AttributeValue::S(outdated.clone())).await;
        outdated
    }

    /// Empties the table of keys.
    pub(crate) async fn lose_keys(&self) {
        self.delete_keys(|_| true).await;
    }

    /// Deletes the private halves of signing keys alone.
    pub(crate) async fn lose_private_keys(&self) {
        self.delete_keys(|partition| partition == "SIGNING#PRIVATE").await;
    }

    async fn delete_keys(&self, lost: impl Fn(&str) -> bool) {
        for item in items(self, "KeysTable").await {
            if lost(text(&item, "pk")) {
                let delete = client(self).delete_item().table_name("KeysTable");
                let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
                delete.send().await.expect("a deleted item");
            }
        }
    }
}
