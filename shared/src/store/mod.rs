//! The only module that knows DynamoDB.
//!
//! One method per access pattern, each one atomic call (or one transaction), named as a domain verb. No index, no
//! scan. Reads are strong wherever a decision follows. TTL deletion lags by days, so every read and condition checks
//! the time itself. A write that was computed from a read is conditional on what was read.
//!
//! Throttling and conflicts are retried by the SDK ([`crate::aws`]), unprocessed batch keys here; what still fails is
//! [`StoreError::Unavailable`], and nothing fails open.

mod item;
mod keys;
mod sessions;
mod signups;
mod users;

pub use keys::KeySlot;
pub use sessions::Rotation;
pub use signups::{Account, AccountError, Resend};
pub use users::{Identifier, Taken, Undeliverable};

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use thiserror::Error;

use item::{Item, Key};

use crate::{base64url, random};

/// The database did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It did not answer, or not in time, or refused: nothing is known to be done, and the request may be repeated.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An item lacks an attribute, or holds one that cannot be read.
    #[error("attribute {attribute} of an item cannot be read")]
    Corrupt {
        /// The attribute's name.
        attribute: &'static str,
    },
}

/// Wraps whatever the SDK reports.
fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable(error.into())
}

/// The two tables.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
    keys_table: String,
}

impl Store {
    /// The tables of these names, through `client`.
    pub const fn new(client: Client, table: String, keys_table: String) -> Self {
        Self { client, table, keys_table }
    }

    /// Reads several items of the main table strongly, in one round trip. Attributes other than `attributes` stay
    /// away, if any are named. Items come in no particular order.
    async fn batch_get(&self, keys: Vec<Key>, attributes: &[&str]) -> Result<Vec<Item>, StoreError> {
        // The names go through placeholders: `status`, say, is reserved.
        let names = attributes.iter().map(|name| (format!("#{name}"), (*name).to_owned()));
        let projection: Vec<String> = attributes.iter().map(|name| format!("#{name}")).collect();
        let mut request = KeysAndAttributes::builder()
            .consistent_read(true)
            .set_keys(Some(keys.iter().map(Key::to_attributes).collect()));
        if !attributes.is_empty() {
            request = request
                .projection_expression(projection.join(","))
                .set_expression_attribute_names(Some(names.collect()));
        }
        let mut pending = HashMap::from([(self.table.clone(), request.build().map_err(unavailable)?)]);
        let mut items = Vec::with_capacity(keys.len());
        for attempt in 0..BATCH_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(BATCH_BACKOFF * 2_u32.pow(attempt)).await;
            }
            let answer =
                self.client.batch_get_item().set_request_items(Some(pending)).send().await.map_err(unavailable)?;
            let found = answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
            items.extend(found.into_iter().map(Item::from_attributes));
            pending = answer.unprocessed_keys.unwrap_or_default();
            if pending.is_empty() {
                return Ok(items);
            }
        }
        Err(unavailable("keys of a batch stayed unprocessed"))
    }
}

/// How often a batch is asked for the keys that it left out.
const BATCH_ATTEMPTS: u32 = 4;
/// The wait before the first repetition, doubled with each.
const BATCH_BACKOFF: Duration = Duration::from_millis(25);

/// The attribute that holds the mark of the call that last wrote an item.
const WRITTEN_BY: &str = "written_by";

/// The mark of one call. The SDK repeats a call whose answer was lost; a repetition whose condition fails knows by the
/// mark that it met what it wrote itself.
fn call_mark() -> String {
    base64url::encode(random::bytes::<12>())
}

/// `S`, the type of nearly every attribute.
fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// `N`.
fn number(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}
