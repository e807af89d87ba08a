//! Resets of passwords, and the transaction that sets a new one.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use super::item::{Item, Key};
use super::{GiveBack, Store, StoreError, number, proofs, string};
use crate::account::{
    PasswordHash, PasswordReset, Proof, ProofId, ProofSubject, Purpose, REPEAT_WINDOW, RESET_REPEATS, ResetCompletion,
    Status,
};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::token::{DeviceEpoch, Mac};

/// What a reset sets.
#[derive(Clone, Copy, Debug)]
pub struct NewPassword<'a> {
    /// The password's hash.
    pub hash: &'a PasswordHash,
    /// What the reset is proved by.
    pub proof: Proof,
    /// How often the account has made its devices unknown then.
    pub devices: DeviceEpoch,
    /// What the wrong passwords of the account's name and address are counted under.
    pub failures: [Mac; 2],
}

/// Why no password was reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetRefusal {
    /// This reset was completed already.
    #[error("the reset is completed")]
    AlreadyCompleted(ResetCompletion),
    /// The account is no longer as it was when the mail was sent, or no reset may change it.
    #[error("the account has changed since the reset was asked for")]
    NotCurrent,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Stores a new reset together with what is to be mailed.
    pub async fn create_reset(&self, reset: &PasswordReset, outbox: &[OutboxItem]) -> Result<(), StoreError> {
        self.put_proved(to_item(reset), outbox).await
    }

    /// A reset that has not ended.
    pub async fn find_reset(&self, id: ProofId, now: Timestamp) -> Result<Option<PasswordReset>, StoreError> {
        let item = self.find_proved(Purpose::Reset, id).await?;
        let reset = item.as_ref().map(from_item).transpose()?;
        Ok(reset.filter(|reset| now < reset.proof.expires_at))
    }

    /// Spends one guess of a reset's code, before anything is compared, and returns the reset; `None` when it has ended, no
    /// guess is left, the code is too old, or `reset_id_mac` is not its own (that spends nothing).
    pub async fn spend_reset_code_attempt(
        &self,
        id: ProofId,
        reset_id_mac: Mac,
        now: Timestamp,
    ) -> Result<Option<PasswordReset>, StoreError> {
        let item = self.spend_code_attempt(Purpose::Reset, id, reset_id_mac, now).await?;
        item.as_ref().map(from_item).transpose()
    }

    /// Gives a guess back to whoever guessed right.
    pub async fn restore_reset_code_attempt(&self, id: ProofId, give_back: GiveBack) -> Result<(), StoreError> {
        self.restore_attempt_of(Purpose::Reset, id, proofs::CODE_ATTEMPTS, give_back).await
    }

    /// Spends one repetition of the request that completed a reset, before its password is compared; `false` when none is
    /// left.
    pub async fn spend_reset_repeat(&self, id: ProofId, now: Timestamp) -> Result<bool, StoreError> {
        let key = Key::proof(Purpose::Reset, id);
        let update = self
            .update(&key)
            .condition_expression("completed_at >= :repeatable AND repeats > :zero")
            .update_expression("SET repeats = repeats - :one")
            .expression_attribute_values(":repeatable", number(now.unix().saturating_sub(REPEAT_WINDOW)))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32));
        Ok(proofs::spend(&key, update).await?.is_some())
    }

    /// Sets a new password and raises the epoch, so that all sessions, and all other proofs made for the account, are dead, and
    /// all devices unknown, and forgets the wrong passwords of the account's identifiers: in one transaction with the
    /// reset's completion and what is to be told. Whoever had to reset is enabled by it; nobody else's status changes. A
    /// guess that was right is given back.
    pub async fn reset_password(
        &self,
        reset: ProofId,
        subject: &ProofSubject,
        change: &NewPassword<'_>,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<(), ResetRefusal> {
        let NewPassword { hash: password_hash, proof, devices, failures } = *change;
        let guess = if proof == Proof::Code { ", code_attempts = code_attempts + :one" } else { "" };
        // The hash of the password is kept no longer than it is compared with; TTL may lag.
        let mut complete = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::proof(Purpose::Reset, reset).to_attributes()))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(completed)")
            .update_expression(format!(
                "SET completed = :proof, completed_at = :now, completed_hash = :hash, \
                 completed_devices = :devices, repeats = :repeats, #ttl = :end{guess}"
            ))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":proof", string(proof.as_str()))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":hash", string(password_hash.as_phc()))
            .expression_attribute_values(":devices", number(devices.number()))
            .expression_attribute_values(":repeats", number(RESET_REPEATS))
            .expression_attribute_values(":end", number(now.plus(REPEAT_WINDOW).unix()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if proof == Proof::Code {
            complete = complete.expression_attribute_values(":one", number(1_u32));
        }
        let change = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(subject.user_id).to_attributes()))
            .condition_expression("epoch = :epoch AND email = :email AND #status IN (:enabled, :reset_required)")
            .update_expression(
                "SET password_hash = :hash, epoch = epoch + :one, #status = :enabled, devices = :devices",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":epoch", number(subject.epoch.number()))
            .expression_attribute_values(":email", string(subject.email.as_str()))
            .expression_attribute_values(":enabled", string(Status::Enabled.as_str()))
            .expression_attribute_values(":reset_required", string(Status::ResetRequired.as_str()))
            .expression_attribute_values(":hash", string(password_hash.as_phc()))
            .expression_attribute_values(":devices", number(devices.number()))
            .expression_attribute_values(":one", number(1_u32));
        let updates = [complete.build().map_err(StoreError::from)?, change.build().map_err(StoreError::from)?];
        let updates = updates.map(|update| TransactWriteItem::builder().update(update).build());
        let forgotten = failures.map(|subject| self.forgetting(subject));
        let forgotten = forgotten.into_iter().collect::<Result<Vec<_>, _>>()?;
        let items = [updates.to_vec(), self.outbox_puts(outbox)?, forgotten].concat();
        let Err(error) = self.client.transact_write_items().set_transact_items(Some(items)).send().await else {
            return Ok(());
        };
        let refusal = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                refusal(cancelled.cancellation_reasons())?
            }
            _ => None,
        };
        match refusal {
            // A transaction whose answer was lost is repeated, and meets what it wrote itself.
            Some(ResetRefusal::AlreadyCompleted(completion)) if completion.password_hash == *password_hash => Ok(()),
            Some(refusal) => Err(refusal),
            None => Err(StoreError::from(error).into()),
        }
    }
}

/// Reads why the transaction of [`Store::reset_password`] was cancelled: a reason for each of its items, in order. A
/// completed reset counts before the user, whose epoch it raised.
fn refusal(reasons: &[CancellationReason]) -> Result<Option<ResetRefusal>, StoreError> {
    let failed = |index: usize| reasons.get(index).filter(|reason| reason.code() == Some("ConditionalCheckFailed"));
    if let Some(completed) = failed(0) {
        let item = Item::from_attributes(completed.item().cloned().unwrap_or_default());
        // Without a completion it is gone.
        let refusal = completion(&item)?.map_or(ResetRefusal::NotCurrent, ResetRefusal::AlreadyCompleted);
        return Ok(Some(refusal));
    }
    Ok(failed(1).map(|_| ResetRefusal::NotCurrent))
}

pub(super) fn to_item(reset: &PasswordReset) -> Item {
    let item = proofs::to_item(&reset.proof);
    match &reset.subject {
        Some(subject) => proofs::with_subject(item, subject),
        None => item,
    }
}

fn from_item(item: &Item) -> Result<PasswordReset, StoreError> {
    Ok(PasswordReset {
        proof: proofs::from_item(item, Purpose::Reset)?,
        subject: item.find_text("user_id").map(|_| proofs::subject_of(item)).transpose()?,
        completion: completion(item)?,
    })
}

fn completion(item: &Item) -> Result<Option<ResetCompletion>, StoreError> {
    if item.find_text("completed").is_none() {
        return Ok(None);
    }
    Ok(Some(ResetCompletion {
        proof: item.parsed("completed", Proof::parse)?,
        password_hash: PasswordHash::from_phc(item.text("completed_hash")?.to_owned()),
        at: item.time("completed_at")?,
        devices: DeviceEpoch::from_number(item.number("completed_devices")?),
    }))
}
