//! Counters of limits ([`crate::limits`]), each an item `LIMIT#<scope>#<MAC of whom>`.
//!
//! A counter is spent by one conditional write, and a call whose answer was lost is repeated without being counted twice: the
//! item holds the mark of the call that wrote it last.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use thiserror::Error;

use super::item::{Item, Key};
use super::users::is_condition_failure;
use super::{Identifier, Store, StoreError, call_mark, is_of_call, number, string, users};
use crate::account::{User, UserId};
use crate::clock::Timestamp;
use crate::http::Problem;
use crate::limits::{Counter, FailureLimit, Failures, PASSWORDS, TooMany};
use crate::outbox::OutboxItem;
use crate::telemetry::SecurityEvent;
use crate::token::{Mac, MacKey};

/// How often a guess is decided anew that others came before.
const ATTEMPTS: usize = 5;
/// The sort key of a row of failures, which knows no windows.
const ROW: &str = "ROW";

/// Whose a name or an address is, and what is counted of it.
#[derive(Debug)]
pub struct Lookup {
    /// The owner.
    pub user_id: Option<UserId>,
    /// Wrong passwords in a row.
    pub failures: Option<Failures>,
}

/// It was not counted.
#[derive(Debug, Error)]
pub enum LimitError {
    /// It would be too many.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LimitError> for Problem {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::TooMany(too_many) => too_many.into(),
            LimitError::Store(error) => error.into(),
        }
    }
}

/// A guess that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargedGuess {
    before: Option<Failures>,
    after: Failures,
}

impl Identifier {
    /// What its wrong passwords are counted under.
    pub fn subject(&self, key: &MacKey) -> Mac {
        let (kind, text) = match self {
            Self::Email(email) => ("email", email.normalised()),
            Self::Username(username) => ("username", username.normalised()),
            Self::Nobody(text) => ("nobody", text.clone()),
        };
        key.mac("identifier", &[kind.as_bytes(), text.as_bytes()])
    }

    /// What the wrong passwords of an account are counted under: its name and its address.
    pub fn all_of(user: &User, key: &MacKey) -> [Mac; 2] {
        [Self::Email(user.email.clone()), Self::Username(user.username.clone())].map(|own| own.subject(key))
    }
}

impl Store {
    /// Counts one more, unless that would be too many.
    pub async fn count(&self, counter: Option<&Counter>, now: Timestamp) -> Result<(), LimitError> {
        let Some(counter) = counter else { return Ok(()) };
        let key = key_of(counter);
        let call = call_mark();
        let (part_condition, part_update) = match counter.part {
            Some(_) => (
                " AND (attribute_not_exists(#part) OR #part < :part_most)",
                ", #part = if_not_exists(#part, :zero) + :one",
            ),
            None => ("", ""),
        };
        let mut update = self
            .update(&key)
            .condition_expression(format!(
                "(attribute_not_exists(written_by) OR written_by <> :call) \
                 AND (attribute_not_exists(counted) OR counted < :most){part_condition}"
            ))
            .update_expression(format!(
                "SET counted = if_not_exists(counted, :zero) + :one, written_by = :call, #ttl = :end{part_update}"
            ))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":call", string(&call))
            .expression_attribute_values(":most", number(counter.most))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32))
            .expression_attribute_values(":end", number(counter.ends_at.unix()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some((name, most)) = &counter.part {
            update = update
                .expression_attribute_names("#part", name)
                .expression_attribute_values(":part_most", number(*most));
        }
        let Err(error) = update.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let stored = Item::of(&key, failed.item().cloned())?;
                let is_own = stored.is_some_and(|item| is_of_call(&item, &call));
                if is_own { Ok(()) } else { Err(counter.too_many(now).into()) }
            }
            _ => Err(StoreError::from(error).into()),
        }
    }

    /// Gives back what was counted of something that was no failure, or was not done after all. If that cannot be done now,
    /// it stays counted, which only makes somebody wait.
    pub async fn give_back(&self, counter: Option<&Counter>) {
        let Some(counter) = counter else { return };
        let (part_condition, part_update) = match counter.part {
            Some(_) => (" AND #part > :zero", ", #part = #part - :one"),
            None => ("", ""),
        };
        let mut update = self
            .update(&key_of(counter))
            .condition_expression(format!(
                "counted > :zero AND (attribute_not_exists(given_back_by) OR given_back_by <> :call){part_condition}"
            ))
            .update_expression(format!("SET counted = counted - :one, given_back_by = :call{part_update}"))
            .expression_attribute_values(":call", string(call_mark()))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32));
        if let Some((name, _)) = &counter.part {
            update = update.expression_attribute_names("#part", name);
        }
        match update.send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => log_still_counted(&error.into()),
            _ => {}
        }
    }

    /// Forgets what was counted, as far as that can be done now.
    pub async fn forget(&self, counter: Option<&Counter>) {
        if let Some(counter) = counter {
            self.forget_item(&key_of(counter)).await;
        }
    }

    /// Whose a name or an address is, together with its wrong passwords, in one round trip whether or not there are any.
    pub async fn look_up(&self, identifier: &Identifier, subject: Mac) -> Result<Lookup, StoreError> {
        let (owner, row) = (identifier.key(), row_of(subject));
        let items = self.batch_get(&self.table, vec![owner.clone(), row.clone()], &[]).await?;
        let find = |key: &Key| items.iter().find(|item| item.has_key(key));
        let user_id = find(&owner).filter(|item| users::has_owner(item));
        Ok(Lookup {
            user_id: user_id.map(|item| item.parsed("user_id", UserId::parse)).transpose()?,
            failures: find(&row).map(failures_of).transpose()?,
        })
    }

    /// Counts a guess of a password, which has not been compared yet, on top of what was read. Where others came in between it
    /// is decided anew, a few times.
    pub async fn charge_failure(
        &self,
        subject: Mac,
        limit: FailureLimit,
        read: Option<Failures>,
        now: Timestamp,
    ) -> Result<Option<ChargedGuess>, LimitError> {
        if !limit.is_any() {
            return Ok(None);
        }
        let key = row_of(subject);
        let mut before = read;
        for _ in 0..ATTEMPTS {
            let after = limit.next(before, now)?;
            match self.replace_failures(&key, before, after).await? {
                None => return Ok(Some(ChargedGuess { before, after })),
                Some(stored) => before = stored,
            }
        }
        Err(TooMany { scope: PASSWORDS.scope, retry_after: 1 }.into())
    }

    /// Puts a row in place of the one that was read; what is stored instead if it is another by now.
    async fn replace_failures(
        &self,
        key: &Key,
        before: Option<Failures>,
        after: Failures,
    ) -> Result<Option<Option<Failures>>, StoreError> {
        let call = call_mark();
        let condition = match before {
            Some(_) => "failures = :before AND open_at = :before_open_at AND #ttl = :before_end",
            None => "attribute_not_exists(pk)",
        };
        let mut update = self
            .update(key)
            .condition_expression(condition)
            .update_expression("SET failures = :after, open_at = :open_at, #ttl = :end, written_by = :call")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":after", number(after.count))
            .expression_attribute_values(":open_at", number(after.open_at.unix()))
            .expression_attribute_values(":end", number(after.ends_at.unix()))
            .expression_attribute_values(":call", string(&call))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(before) = before {
            update = update
                .expression_attribute_values(":before", number(before.count))
                .expression_attribute_values(":before_open_at", number(before.open_at.unix()))
                .expression_attribute_values(":before_end", number(before.ends_at.unix()));
        }
        let Err(error) = update.send().await else { return Ok(None) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let stored = Item::of(key, failed.item().cloned())?;
                // A call whose answer was lost is repeated, and meets what it wrote itself.
                if stored.as_ref().is_some_and(|item| is_of_call(item, &call)) {
                    return Ok(None);
                }
                // Nothing is stored where it was deleted meanwhile: whoever it is of has signed in.
                stored.as_ref().map(failures_of).transpose().map(Some)
            }
            _ => Err(error.into()),
        }
    }

    /// Takes a guess back that was not compared after all, unless another one came on top of it.
    pub async fn take_back_guess(&self, subject: Mac, charged: Option<ChargedGuess>) {
        let Some(ChargedGuess { before, after }) = charged else { return };
        let before = before.unwrap_or(Failures { count: 0, open_at: Timestamp::from_unix(0), ..after });
        if let Err(error) = self.replace_failures(&row_of(subject), Some(after), before).await {
            log_still_counted(&error);
        }
    }

    /// Forgets the wrong passwords of an identifier, as far as that can be done now.
    pub async fn forget_failures(&self, subject: Mac) {
        self.forget_item(&row_of(subject)).await;
    }

    /// The same, as a write of a transaction.
    pub(super) fn forgetting(&self, subject: Mac) -> Result<TransactWriteItem, StoreError> {
        self.delete_of(&row_of(subject))
    }

    /// How much a counter has counted, and how much of it of its part.
    pub async fn find_counted(&self, counter: &Counter) -> Result<(u32, u32), StoreError> {
        let Some(item) = self.get(&key_of(counter), None).await? else { return Ok((0, 0)) };
        let whole = item.number("counted")?;
        let attributes = item.into_attributes();
        let part = counter.part.as_ref().and_then(|(name, _)| attributes.get(name)?.as_n().ok()?.parse().ok());
        Ok((whole, part.unwrap_or_default()))
    }

    /// Forgets rows of wrong passwords and counters, together with what is to be told of it.
    pub async fn clear_limits(
        &self,
        failures: &[Mac],
        counters: &[Counter],
        told: &[OutboxItem],
    ) -> Result<(), StoreError> {
        let rows = failures.iter().map(|subject| row_of(*subject));
        let keys = rows.chain(counters.iter().map(key_of));
        let writes: Result<Vec<_>, _> = keys.map(|key| self.delete_of(&key)).collect();
        self.transact(writes?, told).await.map(drop)
    }

    fn delete_of(&self, key: &Key) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key.to_attributes())).build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    async fn forget_item(&self, key: &Key) {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key.to_attributes()));
        if let Err(error) = delete.send().await {
            log_still_counted(&error.into());
        }
    }
}

/// Whether something may be done of which too much is left out, rather than refused.
pub fn is_within(counted: Result<(), LimitError>) -> Result<bool, StoreError> {
    match counted {
        Ok(()) => Ok(true),
        Err(LimitError::TooMany(TooMany { scope, .. })) => {
            SecurityEvent::RateLimited { scope }.log();
            Ok(false)
        }
        Err(LimitError::Store(error)) => Err(error),
    }
}

fn log_still_counted(error: &StoreError) {
    tracing::warn!(%error, "what was counted could not be given back");
}

fn key_of(counter: &Counter) -> Key {
    Key::limit(counter.rule.scope, counter.subject, &counter.window.to_string())
}

/// The key of a row of failures.
fn row_of(subject: Mac) -> Key {
    Key::limit(PASSWORDS.scope, subject, ROW)
}

fn failures_of(item: &Item) -> Result<Failures, StoreError> {
    Ok(Failures { count: item.number("failures")?, open_at: item.time("open_at")?, ends_at: item.time("ttl")? })
}
