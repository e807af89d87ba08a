//! Passwords asked again of who is signed in: guesses at them are counted in the session's item; the right one replaces the
//! session by another, in a transaction with whatever else it is asked for.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::item::{Item, Key};
use super::{Store, StoreError, call_mark, is_of_call, number, once, sessions, string, users};
use crate::account::{Epoch, PasswordHash, Status, User};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::session::{MAX_WRONG_PASSWORDS, Replaced, RetryKey, Session, SessionId, SessionRef};

/// What a guess was charged to, before it is compared.
#[derive(Debug)]
pub enum Charged {
    /// To this session, as so many in a row, this one among them.
    Session(Session, u32),
    /// To the mark of a session that this very request has replaced already.
    Replaced(Replaced),
    /// To nothing, as no guess is left: the session has to end.
    Exhausted,
    /// To nothing: the session has ended, or another request has replaced it.
    Ended,
}

/// A password that takes another's place.
#[derive(Debug)]
pub struct PasswordChange<'a> {
    /// Whose it is, as they were read.
    pub user: &'a User,
    /// The hash of the one before, as it was read.
    pub old: &'a PasswordHash,
    /// The hash of the new one.
    pub new: &'a PasswordHash,
    /// The epoch of the sessions that begin with it; all before end.
    pub epoch: Epoch,
    /// What is told of it.
    pub told: &'a OutboxItem,
}

/// Why a session was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The same request has replaced it meanwhile.
    #[error("the same request has replaced the session")]
    Repeated(Replaced),
    /// It has ended meanwhile.
    #[error("the session has ended")]
    Ended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Charges a guess at the password to a session that lives, or, for a request that is repeated with its `key`, to the
    /// mark that it left: one atomic write, so that no number of guesses at once gets past the limit. With
    /// `token_has_expired` only to such a mark.
    pub async fn charge_password(
        &self,
        session: SessionRef,
        key: Option<RetryKey>,
        token_has_expired: bool,
        now: Timestamp,
    ) -> Result<Charged, StoreError> {
        let item_key = Key::session(session);
        // AND binds before OR; DynamoDB refuses parentheses that say nothing.
        let lives = (!token_has_expired).then_some("attribute_exists(generation) AND idle_expires_at > :now");
        let repeats = key.map(|_| "replacement_key = :key");
        let either: Vec<&str> = lives.into_iter().chain(repeats).collect();
        if either.is_empty() {
            return Ok(Charged::Ended);
        }
        let call = call_mark();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key.to_attributes()))
            .condition_expression(format!(
                "expires_at > :now AND ({}) AND (attribute_not_exists(wrong_passwords) OR wrong_passwords < :most)",
                either.join(" OR ")
            ))
            .update_expression("SET wrong_passwords = if_not_exists(wrong_passwords, :zero) + :one")
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":most", number(MAX_WRONG_PASSWORDS))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32))
            .return_values(ReturnValue::AllNew);
        if let Some(key) = key {
            update = update.expression_attribute_values(":key", string(key.to_text()));
        }
        let charged = |item: &Item| match sessions::from_item(item)? {
            Some(session) => Ok(Charged::Session(session, item.number("wrong_passwords")?)),
            None => Ok(Charged::Replaced(read_mark(session, item)?)),
        };
        match once(update, &call).send().await {
            Ok(answer) => charged(&Item::of(&item_key, answer.attributes)?.unwrap_or_default()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(item) = Item::of(&item_key, failed.item().cloned())? else { return Ok(Charged::Ended) };
                    if is_of_call(&item, &call) {
                        return charged(&item);
                    }
                    let lives = sessions::from_item(&item)?.is_some_and(|session| !session.is_expired(now));
                    Ok(if lives && !token_has_expired { Charged::Exhausted } else { Charged::Ended })
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Forgets the guesses of a session, as a right one ended their row. Nothing happens if the session has ended.
    pub async fn forgive_passwords(&self, session: SessionRef) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::session(session).to_attributes()))
            .condition_expression("attribute_exists(generation)")
            .update_expression("REMOVE wrong_passwords");
        match update.send().await {
            Err(error) if !users::is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Replaces a session by a new one and leaves `mark` in its place, with the change of password that goes with it, in one
    /// transaction: while the old one is still there, and the user's password, epoch and status are as they were read.
    pub async fn replace_session(
        &self,
        mark: &Replaced,
        new: &Session,
        change: Option<&PasswordChange<'_>>,
        now: Timestamp,
    ) -> Result<(), ReplaceError> {
        let leave = Put::builder()
            .table_name(&self.table)
            .set_item(Some(to_item(mark).into_attributes()))
            .condition_expression("attribute_exists(generation)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::from)?;
        let begin = Put::builder()
            .table_name(&self.table)
            .set_item(Some(sessions::to_item(new).into_attributes()))
            .build()
            .map_err(StoreError::from)?;
        let mut transaction = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(leave).build())
            .transact_items(TransactWriteItem::builder().put(begin).build());
        if let Some(change) = change {
            let update = self.change_password(change)?;
            transaction = transaction.transact_items(TransactWriteItem::builder().update(update).build());
            for put in self.outbox_puts(std::slice::from_ref(change.told))? {
                transaction = transaction.transact_items(put);
            }
        }
        let Err(error) = transaction.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let refused = refusal(mark, change, cancelled.cancellation_reasons(), now)?;
                Err(refused.unwrap_or_else(|| StoreError::from(error).into()))
            }
            _ => Err(StoreError::from(error).into()),
        }
    }

    fn change_password(&self, change: &PasswordChange<'_>) -> Result<Update, StoreError> {
        let PasswordChange { user, old, new, epoch, told: _ } = change;
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(user.id).to_attributes()))
            .condition_expression("password_hash = :old AND epoch = :before AND #status = :enabled")
            .update_expression("SET password_hash = :new, epoch = :epoch")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":old", string(old.as_phc()))
            .expression_attribute_values(":before", number(user.epoch.number()))
            .expression_attribute_values(":enabled", string(Status::Enabled.as_str()))
            .expression_attribute_values(":new", string(new.as_phc()))
            .expression_attribute_values(":epoch", number(epoch.number()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(update.build()?)
    }
}

/// Reads why the transaction of [`Store::replace_session`] was cancelled: a reason for each of its items, in order.
fn refusal(
    mark: &Replaced,
    change: Option<&PasswordChange<'_>>,
    reasons: &[CancellationReason],
    now: Timestamp,
) -> Result<Option<ReplaceError>, StoreError> {
    let failed = |index: usize| {
        let reason = reasons.get(index).filter(|reason| reason.code() == Some("ConditionalCheckFailed"))?;
        Some(Item::from_attributes(reason.item().cloned().unwrap_or_default()))
    };
    if let Some(item) = failed(0) {
        let found = is_mark(&item).then(|| read_mark(mark.session, &item)).transpose()?;
        let repeated = found.filter(|found| found.is_repeated_by(mark.key, now));
        return Ok(Some(repeated.map_or(ReplaceError::Ended, ReplaceError::Repeated)));
    }
    let (Some(item), Some(change)) = (failed(2), change) else { return Ok(None) };
    let is_as_read = item.find_text("status").map(String::as_str) == Some(Status::Enabled.as_str())
        && item.number::<u64>("epoch")? == change.user.epoch.number();
    // A login has hashed the same password again: the same request finds that hash.
    let hashed_again = || StoreError::Unavailable("the password was hashed again meanwhile".into());
    Ok(Some(if is_as_read { hashed_again().into() } else { ReplaceError::Ended }))
}

/// Whether an item in a session's place is the mark of one that was replaced.
pub(super) fn is_mark(item: &Item) -> bool {
    item.find_text("replaced_by").is_some()
}

fn to_item(mark: &Replaced) -> Item {
    let item = Item::new(&Key::session(mark.session))
        .with_text("replaced_by", mark.by.to_string())
        .with_time("expires_at", mark.expires_at)
        .with_time("ttl", mark.expires_at);
    match mark.key {
        Some(key) => item.with_text("replacement_key", key.to_text()),
        None => item,
    }
}

fn read_mark(session: SessionRef, item: &Item) -> Result<Replaced, StoreError> {
    let key = item.find_text("replacement_key").map(|_| item.parsed("replacement_key", RetryKey::from_text));
    Ok(Replaced {
        session,
        by: item.parsed("replaced_by", SessionId::parse)?,
        key: key.transpose()?,
        expires_at: item.time("expires_at")?,
    })
}
