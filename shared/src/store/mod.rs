//! The only module that knows DynamoDB.
//!
//! One method per access pattern, each one atomic call (or one transaction), named as a domain verb. No index, and no
//! scan but an operator's. Reads are strong wherever a decision follows. TTL deletion lags by days, so every read and condition checks
//! the time itself. A write that was computed from a read is conditional on what was read.
//!
//! Throttling and conflicts are retried by the SDK ([`crate::aws`]), unprocessed batch keys here; what still fails is
//! [`StoreError::Unavailable`], and nothing fails open.

mod account;
mod emails;
mod imports;
mod item;
mod keys;
mod limits;
mod operators;
mod outbox;
mod proofs;
mod replacements;
mod resets;
mod sessions;
mod signups;
mod users;

pub use account::UserChange;
pub use emails::EmailChanged;
pub use imports::{ImportSalt, Imported, MAX_IMPORTED};
pub use keys::{KeyTimes, Rings};
pub use limits::{ChargedGuess, LimitError, Lookup, is_within};
pub use operators::{AccountPage, Page, ScanPosition, TableSize};
pub use outbox::{Lease, Leased, Waiting};
pub use proofs::{GiveBack, partition_of};
pub use replacements::{Charged, PasswordChange, ReplaceError};
pub use resets::{NewPassword, ResetRefusal};
pub use sessions::Rotation;
pub use signups::{AccountError, NewAccount, Resend};
pub use users::{Account, Identifier, Taken, Undeliverable};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use thiserror::Error;

use item::{Item, Key};

use crate::concurrency::Concurrency;
use crate::config::Tables;
use crate::{base64url, random};

/// The database did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It did not answer, or not in time: nothing is known to be done, and the request may be repeated.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused, for now or for good. What it says of it is not kept, as its words may quote whole items.
    #[error("the database refused: {code}, request {request_id}")]
    Refused {
        /// The name of the error.
        code: String,
        /// What AWS's support asks for.
        request_id: String,
    },
    /// An item lacks an attribute, or holds one that cannot be read.
    #[error("attribute {attribute} of an item cannot be read")]
    Corrupt {
        /// The attribute's name.
        attribute: &'static str,
    },
}

impl<E> From<SdkError<E>> for StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        match &error {
            // To the SDK an output that cannot be read is an error of the operation too. Its words may quote items.
            SdkError::ServiceError(unread) if unread.raw().status().is_success() => {
                Self::Unavailable("the answer cannot be read".into())
            }
            SdkError::ServiceError(refused) => Self::Refused {
                code: refused.err().code().unwrap_or("no code").to_owned(),
                request_id: refused.err().meta().request_id().unwrap_or_default().to_owned(),
            },
            _ => Self::Unavailable(error.into()),
        }
    }
}

impl From<BuildError> for StoreError {
    fn from(error: BuildError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The two tables.
#[derive(Debug)]
pub struct Store {
    client: Client,
    table: String,
    keys_table: String,
    /// Whether the next pair of calls may take two connections.
    pairs_run_together: AtomicBool,
}

impl Store {
    /// These tables.
    pub fn new(client: Client, tables: Tables, concurrency: Concurrency) -> Self {
        let Tables { users: table, keys: keys_table } = tables;
        let pairs_run_together = AtomicBool::new(matches!(concurrency, Concurrency::Many));
        Self { client, table, keys_table, pairs_run_together }
    }

    /// What two calls answer that do not depend on each other: together, except for the first such pair of an
    /// instance. That has one open connection, from loading its keys; a second one costs two round trips and a
    /// handshake before it carries anything, and the second call over the first connection one round trip
    /// (`docs/decisions/0010-first-pair.md`).
    pub fn both<A, B>(
        &self,
        first: impl Future<Output = A>,
        second: impl Future<Output = B>,
    ) -> impl Future<Output = (A, B)> {
        // Futures of calls are large, and would lie here twice.
        let (first, second) = (Box::pin(first), Box::pin(second));
        async {
            if self.pairs_run_together.load(Ordering::Relaxed) {
                return tokio::join!(first, second);
            }
            let answers = (first.await, second.await);
            self.pairs_run_together.store(true, Ordering::Relaxed);
            answers
        }
    }

    /// Reads several items of a table strongly, in one round trip. Attributes other than `attributes` stay away, if any
    /// are named. Items come in no particular order.
    async fn batch_get(&self, table: &str, keys: Vec<Key>, attributes: &[&str]) -> Result<Vec<Item>, StoreError> {
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
        let mut pending = HashMap::from([(table.to_owned(), request.build()?)]);
        let mut items = Vec::with_capacity(keys.len());
        for attempt in 0..BATCH_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(BATCH_BACKOFF * 2_u32.pow(attempt)).await;
            }
            let answer = self.client.batch_get_item().set_request_items(Some(pending)).send().await?;
            let found = answer.responses.unwrap_or_default().remove(table).unwrap_or_default();
            items.extend(found.into_iter().map(Item::from_attributes));
            pending = answer.unprocessed_keys.unwrap_or_default();
            if pending.is_empty() {
                return Ok(items);
            }
        }
        Err(StoreError::Unavailable("keys of a batch stayed unprocessed".into()))
    }
}

/// How often a batch is asked for the keys that it left out.
const BATCH_ATTEMPTS: u32 = 4;
/// The wait before the first repetition, doubled with each.
const BATCH_BACKOFF: Duration = Duration::from_millis(25);

/// That there is no such item yet.
const NOT_THERE: &str = "attribute_not_exists(pk)";
/// The attribute that holds the mark of the call that last wrote an item.
const WRITTEN_BY: &str = "written_by";

/// The mark of one call. A call whose answer was lost is repeated; a repetition whose condition fails knows by the
/// mark that it met what it wrote itself.
fn call_mark() -> String {
    base64url::encode(random::bytes::<12>())
}

/// Whether an item is as the call with this mark wrote it.
fn is_of_call(item: &Item, call: &str) -> bool {
    item.find_text(WRITTEN_BY).is_some_and(|mark| mark == call)
}

/// An update that counts, under a condition and with the mark of its call: if it is repeated, as its answer was lost, the
/// condition fails, and the item that comes back has the mark ([`is_of_call`]). Without that a repetition would count twice.
fn once(update: UpdateItemFluentBuilder, call: &str) -> UpdateItemFluentBuilder {
    let condition = update.get_condition_expression().clone().unwrap_or_default();
    let sets = update.get_update_expression().clone().unwrap_or_default();
    update
        .condition_expression(format!("{condition} AND (attribute_not_exists(written_by) OR written_by <> :call)"))
        .update_expression(format!("{sets}, written_by = :call"))
        .expression_attribute_values(":call", string(call))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

/// The place of the first write of a transaction whose condition failed, if that is why it was cancelled.
fn failed_condition(error: Option<&TransactWriteItemsError>) -> Option<usize> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error else { return None };
    cancelled.cancellation_reasons().iter().position(|reason| reason.code() == Some("ConditionalCheckFailed"))
}

/// `S`, the type of nearly every attribute.
fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// `N`.
fn number(number: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::operation::put_item::PutItemError;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::aws::Aws;

    fn tables() -> Tables {
        Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() }
    }

    /// In which order the calls of two pairs, one pair after the other, begin, and end (`.`). Each call waits once.
    fn order(concurrency: Concurrency) -> String {
        let client = Aws::at("http://127.0.0.1:1").dynamodb();
        let store = Store::new(client, tables(), concurrency);
        let order = RefCell::new(String::new());
        let call = async |name: char| {
            order.borrow_mut().push(name);
            tokio::task::yield_now().await;
            order.borrow_mut().push('.');
            name
        };
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async {
            assert_eq!(store.both(call('a'), call('b')).await, ('a', 'b'));
            assert_eq!(store.both(call('c'), call('d')).await, ('c', 'd'));
        });
        order.into_inner()
    }

    #[test]
    fn the_first_pair_of_an_instance_runs_in_turn_and_every_other_together() {
        assert_eq!(order(Concurrency::One), "a.b.cd..");
        assert_eq!(order(Concurrency::Many), "ab..cd..");
    }

    #[test]
    fn error_messages_that_may_quote_items_are_dropped() {
        let words = ErrorMetadata::builder()
            .code("ValidationException")
            .message("Value 'email=ann@example.com' failed to satisfy constraint")
            .custom("aws_request_id", "REQUEST-7")
            .build();
        let answer = |status: u16| HttpResponse::new(status.try_into().expect("a status"), SdkBody::empty());
        let error = StoreError::from(SdkError::service_error(PutItemError::generic(words.clone()), answer(400)));
        assert_eq!(error.to_string(), "the database refused: ValidationException, request REQUEST-7");
        assert!(!format!("{error:?}").contains("ann@"), "{error:?}");
        assert!(std::error::Error::source(&error).is_none());
        let unread = StoreError::from(SdkError::service_error(PutItemError::generic(words), answer(200)));
        assert!(matches!(unread, StoreError::Unavailable(_)), "{unread:?}");
        assert!(!format!("{unread:?}").contains("ann@"), "{unread:?}");
    }

    /// What a store is answered with `body`.
    fn answered(body: &'static [&'static str]) -> Store {
        let (aws, _) = crate::aws::tests::serve(body);
        Store::new(aws.dynamodb(), tables(), Concurrency::One)
    }

    #[tokio::test]
    async fn an_item_with_another_key_is_an_error() {
        const ANOTHER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 188\r\nconnection: close\r\n\r\n\
            {\"Item\":{\"pk\":{\"S\":\"EMAIL#bob@example.com\"},\"sk\":{\"S\":\"EMAIL\"},\"user_id\":{\"S\":\"AQEBAQEBAQEBAQEBAQEBAQ\"}},\
            \"Items\":[{\"pk\":{\"S\":\"SESSIONS#bob\"},\"sk\":{\"S\":\"s\"}}],\"Attributes\":{\"pk\":{\"S\":\"x\"}}}";
        let store = answered(&[ANOTHER, ANOTHER, ANOTHER]);
        let ann = Identifier::Email(crate::account::EmailAddress::parse("ann@example.com").expect("an address"));
        let found = store.find_user_id(&ann).await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
        let user_id = crate::account::UserId::from_bytes([7; 16]);
        let found = store.find_sessions(user_id).await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
        let found = store.spend_signup_code_attempt(
            crate::account::ProofId::from_bytes([7; 16]),
            crate::token::Mac::from_bytes([0; 32]),
            crate::clock::Timestamp::from_unix(1),
        );
        let found = found.await;
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
    }
}
