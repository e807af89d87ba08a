//! Mailed proofs: attributes of the items of what they prove, alike in all of them.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::item::{Item, Key};
use super::users::is_condition_failure;
use super::{Store, StoreError, call_mark, is_of_call, number, once, string};
use crate::account::{EmailAddress, Epoch, MailedProof, ProofId, ProofSubject, Purpose, REPEAT_WINDOW, UserId};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::token::Mac;

/// The attribute that counts the guesses of a code left.
pub(super) const CODE_ATTEMPTS: &str = "code_attempts";

/// The partition of what a proof is part of, by which the outbox knows whether its mail is still worth sending.
pub fn partition_of(proof: &MailedProof) -> String {
    Key::proof(proof.purpose, proof.id).pk
}

/// When a right guess is given back that its own transaction did not give back with its other writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBack {
    /// In any case: nothing was done.
    Always,
    /// Unless what the guess proved is completed: whether that was done is not known.
    UnlessCompleted,
}

impl GiveBack {
    /// After a transaction that failed, or of which nobody knows whether it did.
    pub const fn after(is_unknown: bool) -> Self {
        if is_unknown { Self::UnlessCompleted } else { Self::Always }
    }
}

impl Store {
    /// Stores a new item that a proof is part of, together with what is to be mailed. Without a condition, as its identifier
    /// is new.
    pub(super) async fn put_proved(&self, item: Item, outbox: &[OutboxItem]) -> Result<(), StoreError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item.into_attributes())).build()?;
        self.transact(vec![TransactWriteItem::builder().put(put).build()], outbox).await?;
        Ok(())
    }

    /// Changes an item under a condition, together with what is to be told; if that fails, what is stored comes back as an
    /// error, and nothing is told.
    pub(super) async fn update_and_tell(
        &self,
        key: &Key,
        update: UpdateBuilder,
        outbox: &[OutboxItem],
    ) -> Result<Result<(), Option<Item>>, StoreError> {
        let update = update
            .table_name(&self.table)
            .set_key(Some(key.to_attributes()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        let update = TransactWriteItem::builder().update(update).build();
        let items = [vec![update], self.outbox_puts(outbox)?].concat();
        let Err(error) = self.client.transact_write_items().set_transact_items(Some(items)).send().await else {
            return Ok(Ok(()));
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
            && let Some(reason) = cancelled.cancellation_reasons().first()
            && reason.code() == Some("ConditionalCheckFailed")
        {
            return Ok(Err(Item::of(key, reason.item().cloned())?));
        }
        Err(error.into())
    }

    /// What a proof is part of.
    pub(super) async fn find_proved(&self, purpose: Purpose, id: ProofId) -> Result<Option<Item>, StoreError> {
        self.get(&Key::proof(purpose, id), None).await
    }

    /// Spends one guess of a proof's code, before anything is compared, and returns what it is part of; `None` when it has
    /// ended, no guess is left, the code is too old (unless it was accepted a moment ago), or `id_mac` is not its own (that
    /// spends nothing).
    pub(super) async fn spend_code_attempt(
        &self,
        purpose: Purpose,
        id: ProofId,
        id_mac: Mac,
        now: Timestamp,
    ) -> Result<Option<Item>, StoreError> {
        let key = Key::proof(purpose, id);
        let update = self
            .update(&key)
            .condition_expression(
                "id_mac = :mac AND code_attempts > :zero AND expires_at > :now \
                 AND (code_expires_at > :now OR completed_at >= :repeatable)",
            )
            .update_expression("SET code_attempts = code_attempts - :one")
            .expression_attribute_values(":mac", string(id_mac.to_text()))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":repeatable", number(now.unix().saturating_sub(REPEAT_WINDOW)));
        spend(&key, update).await
    }

    /// Gives a guess back to whoever guessed right, so that the same request may be repeated if its answer was lost.
    /// Wrong guesses are never given back. `attempts` is the attribute that counts them.
    pub(super) async fn restore_attempt_of(
        &self,
        purpose: Purpose,
        id: ProofId,
        attempts: &str,
        give_back: GiveBack,
    ) -> Result<(), StoreError> {
        let condition = match give_back {
            GiveBack::Always => "attribute_exists(pk)",
            GiveBack::UnlessCompleted => "attribute_exists(pk) AND attribute_not_exists(completed)",
        };
        let update = self
            .update(&Key::proof(purpose, id))
            .condition_expression(condition)
            .update_expression(format!("SET {attempts} = {attempts} + :one"))
            .expression_attribute_values(":one", number(1_u32));
        // What has ended meanwhile has no guesses any more.
        match once(update, &call_mark()).send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn update(&self, key: &Key) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key.to_attributes()))
    }
}

/// Sends an update that spends a guess under a condition, once; the item as it is now, or `None` if the condition failed.
pub(super) async fn spend(key: &Key, update: UpdateItemFluentBuilder) -> Result<Option<Item>, StoreError> {
    let call = call_mark();
    match once(update, &call).return_values(ReturnValue::AllNew).send().await {
        Ok(answer) => Item::of(key, answer.attributes),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Item::of(key, failed.item().cloned())?.filter(|item| is_of_call(item, &call)))
            }
            _ => Err(error.into()),
        },
    }
}

/// The item that holds a proof and ends with it.
pub(super) fn to_item(proof: &MailedProof) -> Item {
    Item::new(&Key::proof(proof.purpose, proof.id))
        .with_text("id_mac", proof.id_mac.to_text())
        .with_text("token_mac", proof.token_mac.to_text())
        .with_text("code_mac", proof.code_mac.to_text())
        .with_time("code_expires_at", proof.code_expires_at)
        .with_number(CODE_ATTEMPTS, proof.code_attempts)
        .with_time("expires_at", proof.expires_at)
        .with_time("ttl", proof.expires_at)
}

/// The proof that an item holds.
pub(super) fn from_item(item: &Item, purpose: Purpose) -> Result<MailedProof, StoreError> {
    Ok(MailedProof {
        purpose,
        id: item.parsed("pk", |pk| ProofId::parse(pk.strip_prefix(Key::proofs_of(purpose))?))?,
        id_mac: item.parsed("id_mac", Mac::from_text)?,
        token_mac: item.parsed("token_mac", Mac::from_text)?,
        code_mac: item.parsed("code_mac", Mac::from_text)?,
        code_expires_at: item.time("code_expires_at")?,
        code_attempts: item.number(CODE_ATTEMPTS)?,
        expires_at: item.time("expires_at")?,
    })
}

/// Adds to an item whose account its proof is about, and as of when.
pub(super) fn with_subject(item: Item, subject: &ProofSubject) -> Item {
    item.with_text("user_id", subject.user_id.to_string())
        .with_number("epoch", subject.epoch.number())
        .with_text("email", subject.email.as_str())
}

/// Whose account the proof of an item is about.
pub(super) fn subject_of(item: &Item) -> Result<ProofSubject, StoreError> {
    Ok(ProofSubject {
        user_id: item.parsed("user_id", UserId::parse)?,
        epoch: item.number("epoch").map(Epoch::from_number)?,
        email: item.parsed("email", |text| EmailAddress::parse(text).ok())?,
    })
}
