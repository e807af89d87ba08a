//! Pending sign-ups, and the transaction that makes one an account.

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::account::owner_item;
use super::item::{Item, Key};
use super::{GiveBack, Store, StoreError, call_mark, emails, is_of_call, number, proofs, sessions, string, users};
use crate::account::{
    Completion, EmailAddress, Guess, LINK_LIFETIME, MAX_MAILS, MailedProof, PasswordHash, PendingSignup, Proof,
    ProofId, Purpose, RESEND_COOLDOWN, User, UserId, Username,
};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::outbox::OutboxItem;
use crate::session::{Kind, Session, SessionId};
use crate::token::Mac;

/// What becomes of a wish for another mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Another mail is due, and waits in the outbox.
    Due,
    /// Too early, or once too often: not before that many seconds have passed.
    NotYet(u64),
    /// There is no such sign-up, or it is completed.
    Unknown,
}

/// An account that is about to be.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// The user.
    pub user: &'a User,
    /// The password's hash.
    pub password_hash: &'a PasswordHash,
    /// The first session.
    pub session: &'a Session,
}

/// Why no account was made.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The address has got an owner since the sign-up.
    #[error("the address has an account")]
    EmailTaken,
    /// The name has got an owner since the sign-up.
    #[error("the name has an account")]
    UsernameTaken,
    /// This sign-up became an account already.
    #[error("the sign-up is completed")]
    AlreadyCompleted(Completion),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Stores a new sign-up together with what is to be mailed.
    pub async fn create_signup(&self, pending: &PendingSignup, outbox: &[OutboxItem]) -> Result<(), StoreError> {
        self.put_proved(to_item(pending), outbox).await
    }

    /// A sign-up that has not ended.
    pub async fn find_signup(&self, id: ProofId, now: Timestamp) -> Result<Option<PendingSignup>, StoreError> {
        let item = self.find_proved(Purpose::Signup, id).await?;
        let pending = item.as_ref().map(from_item).transpose()?;
        Ok(pending.filter(|pending| now < pending.proof.expires_at))
    }

    /// Spends one guess of a sign-up's code, before anything is compared, and returns the sign-up; `None` when it has
    /// ended, no guess is left, the code is too old, or `signup_id_mac` is not its own (that spends nothing).
    pub async fn spend_signup_code_attempt(
        &self,
        id: ProofId,
        signup_id_mac: Mac,
        now: Timestamp,
    ) -> Result<Option<PendingSignup>, StoreError> {
        let item = self.spend_code_attempt(Purpose::Signup, id, signup_id_mac, now).await?;
        item.as_ref().map(from_item).transpose()
    }

    /// Spends one guess of a sign-up's password, before anything is compared, and returns the sign-up; `None` when it
    /// has ended, no guess is left, or `token_mac` is not its newest link's (that spends nothing).
    pub async fn spend_password_attempt(
        &self,
        id: ProofId,
        token_mac: Mac,
        now: Timestamp,
    ) -> Result<Option<PendingSignup>, StoreError> {
        let key = Key::proof(Purpose::Signup, id);
        let update = self
            .update(&key)
            .condition_expression("token_mac = :mac AND password_attempts > :zero AND expires_at > :now")
            .update_expression("SET password_attempts = password_attempts - :one")
            .expression_attribute_values(":mac", string(token_mac.to_text()))
            .expression_attribute_values(":zero", number(0_u32))
            .expression_attribute_values(":one", number(1_u32))
            .expression_attribute_values(":now", number(now.unix()));
        proofs::spend(&key, update).await?.as_ref().map(from_item).transpose()
    }

    /// Gives a guess back to whoever guessed right, so that the same request may be repeated if its answer was lost.
    /// Wrong guesses are never given back.
    pub async fn restore_signup_attempt(
        &self,
        id: ProofId,
        guess: Guess,
        give_back: GiveBack,
    ) -> Result<(), StoreError> {
        self.restore_attempt_of(Purpose::Signup, id, attempts(guess), give_back).await
    }

    /// Replaces the mailed secrets of a sign-up by those of `renewed`, which may be the same, and counts the mail, together with
    /// that mail; unless the last one was sent less than [`RESEND_COOLDOWN`] ago or [`MAX_MAILS`] were.
    pub async fn renew_signup(
        &self,
        renewed: &MailedProof,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<Resend, StoreError> {
        let key = Key::proof(Purpose::Signup, renewed.id);
        let call = call_mark();
        let update = Update::builder()
            .condition_expression(format!(
                "id_mac = :mac AND attribute_not_exists(completed) AND expires_at > :now AND {MAIL_IS_DUE}"
            ))
            .update_expression(
                "SET token_mac = :token, code_mac = :code, code_expires_at = :code_end, \
                 mails = mails + :one, mailed_at = :now, written_by = :call",
            )
            .expression_attribute_values(":call", string(&call))
            .expression_attribute_values(":mac", string(renewed.id_mac.to_text()))
            .expression_attribute_values(":token", string(renewed.token_mac.to_text()))
            .expression_attribute_values(":code", string(renewed.code_mac.to_text()))
            .expression_attribute_values(":code_end", number(renewed.code_expires_at.unix()))
            .expression_attribute_values(":one", number(1_u32))
            .expression_attribute_values(":max", number(MAX_MAILS))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":cooled", number(now.unix().saturating_sub(RESEND_COOLDOWN)));
        let Err(stored) = self.update_and_tell(&key, update, outbox).await? else { return Ok(Resend::Due) };
        let Some(item) = stored else { return Ok(Resend::Unknown) };
        // A transaction whose answer was lost is repeated, and meets what it wrote itself.
        if is_of_call(&item, &call) {
            return Ok(Resend::Due);
        }
        let pending = from_item(&item)?;
        let is_open = now < pending.proof.expires_at && pending.completion.is_none();
        Ok(match pending {
            pending if is_open => Resend::NotYet(wait(pending.mails, pending.mailed_at, pending.proof.expires_at, now)),
            _ => Resend::Unknown,
        })
    }

    /// Counts a wish for another mail of a sign-up that there is not, so that it is answered as one of a sign-up that
    /// there is.
    pub async fn count_unknown_resend(
        &self,
        subject: Mac,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<Resend, StoreError> {
        let day = now.unix() / LINK_LIFETIME;
        let key = Key::limit("resend", subject, &day.to_string());
        let call = call_mark();
        let update = Update::builder()
            .condition_expression(format!("attribute_not_exists(pk) OR ({MAIL_IS_DUE})"))
            // A first mail is taken to have been sent before, as with a sign-up.
            .update_expression(
                "SET mails = if_not_exists(mails, :one) + :one, mailed_at = :now, written_by = :call, \
                 expires_at = if_not_exists(expires_at, :end), #ttl = if_not_exists(#ttl, :end)",
            )
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":call", string(&call))
            .expression_attribute_values(":one", number(1_u32))
            .expression_attribute_values(":max", number(MAX_MAILS))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":end", number(now.plus(LINK_LIFETIME).unix()))
            .expression_attribute_values(":cooled", number(now.unix().saturating_sub(RESEND_COOLDOWN)));
        let Err(stored) = self.update_and_tell(&key, update, outbox).await? else { return Ok(Resend::Due) };
        let item = stored.unwrap_or_default();
        if is_of_call(&item, &call) {
            return Ok(Resend::Due);
        }
        Ok(Resend::NotYet(wait(item.number("mails")?, item.time("mailed_at")?, item.time("expires_at")?, now)))
    }

    /// Makes a sign-up an account: user, address, name, the sign-up's completion and what is to be told in one transaction,
    /// which fails as a whole if the address or the name has an owner by now. The first session is one of its items, as the
    /// completion names it: what is completed has a session until somebody ends that.
    ///
    /// The guess that `proof` was, which was right, is given back.
    pub async fn create_account(
        &self,
        account: &NewAccount<'_>,
        pending: &PendingSignup,
        proof: Proof,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<(), AccountError> {
        let NewAccount { user, password_hash, session } = account;
        let puts = [
            // An address may have an item without an owner, which says that mail came back. It did not, this time. One that
            // is kept for who had it before is not to be had.
            (owner_item(&Key::email(&user.email), user.id), emails::NOBODYS),
            (owner_item(&Key::username(&user.username), user.id), "attribute_not_exists(pk)"),
            (users::to_item(user, password_hash), "attribute_not_exists(pk)"),
            (sessions::to_item(session), "attribute_not_exists(pk)"),
        ];
        let mut complete = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::proof(Purpose::Signup, pending.proof.id).to_attributes()))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(completed)")
            .update_expression(COMPLETE)
            .expression_attribute_values(":user", string(user.id.to_string()))
            .expression_attribute_values(":session", string(session.id.to_string()))
            .expression_attribute_values(":kind", string(session.kind.as_str()))
            .expression_attribute_values(":proof", string(proof.as_str()))
            .expression_attribute_values(":now", number(now.unix()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(attempts) = proof.guess().map(attempts) {
            complete = complete
                .update_expression(format!("{COMPLETE}, {attempts} = {attempts} + :one"))
                .expression_attribute_values(":one", number(1_u32));
        }
        let complete = complete.build().map_err(StoreError::from)?;
        let mut transaction =
            self.client.transact_write_items().transact_items(TransactWriteItem::builder().update(complete).build());
        for (item, condition) in puts {
            let mut put = Put::builder()
                .table_name(&self.table)
                .set_item(Some(item.into_attributes()))
                .condition_expression(condition);
            if condition == emails::NOBODYS {
                put = put.expression_attribute_values(":now", number(now.unix()));
            }
            let put = put.build().map_err(StoreError::from)?;
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        for put in self.outbox_puts(outbox)? {
            transaction = transaction.transact_items(put);
        }
        let Err(error) = transaction.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                Err(refusal(cancelled.cancellation_reasons())?.unwrap_or_else(|| StoreError::from(error).into()))
            }
            _ => Err(StoreError::from(error).into()),
        }
    }
}

/// How a sign-up is marked as completed.
const COMPLETE: &str = "SET completed = :user, completed_session = :session, completed_kind = :kind, \
                        completed_proof = :proof, completed_at = :now";

/// The attribute that counts what is left.
const fn attempts(guess: Guess) -> &'static str {
    match guess {
        Guess::Code => proofs::CODE_ATTEMPTS,
        Guess::Password => "password_attempts",
    }
}

/// Another mail may be sent: fewer than `:max` were, the last one not after `:cooled`.
const MAIL_IS_DUE: &str = "mails < :max AND mailed_at <= :cooled";

/// Seconds until another mail may be sent.
fn wait(mails: u32, mailed_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> u64 {
    let next = if mails < MAX_MAILS { mailed_at.plus(RESEND_COOLDOWN) } else { expires_at };
    next.seconds_since(now).max(1)
}

/// Reads why the transaction of [`Store::create_account`] was cancelled: a reason for each of its items, in order.
/// A completed sign-up counts before the address and name, which its own account took.
fn refusal(reasons: &[CancellationReason]) -> Result<Option<AccountError>, StoreError> {
    let failed = |index: usize| reasons.get(index).filter(|reason| reason.code() == Some("ConditionalCheckFailed"));
    if let Some(completed) = failed(0) {
        let item = Item::from_attributes(completed.item().cloned().unwrap_or_default());
        let completion = completion(&item)?.ok_or(StoreError::Corrupt { attribute: "completed" })?;
        return Ok(Some(AccountError::AlreadyCompleted(completion)));
    }
    if failed(1).is_some() {
        return Ok(Some(AccountError::EmailTaken));
    }
    Ok(failed(2).is_some().then_some(AccountError::UsernameTaken))
}

fn to_item(pending: &PendingSignup) -> Item {
    proofs::to_item(&pending.proof)
        .with_text("email", pending.email.as_str())
        .with_text("username", pending.username.as_str())
        .with_text("password_hash", pending.password_hash.as_phc())
        .with_text("locale", pending.locale.as_str())
        .with_number("password_attempts", pending.password_attempts)
        .with_number("mails", pending.mails)
        .with_time("mailed_at", pending.mailed_at)
        .with_number("decoy", u32::from(pending.decoy))
}

fn from_item(item: &Item) -> Result<PendingSignup, StoreError> {
    Ok(PendingSignup {
        proof: proofs::from_item(item, Purpose::Signup)?,
        email: item.parsed("email", |text| EmailAddress::parse(text).ok())?,
        username: item.parsed("username", |text| Username::parse(text).ok())?,
        password_hash: PasswordHash::from_phc(item.text("password_hash")?.to_owned()),
        locale: item.parsed("locale", Locale::parse)?,
        password_attempts: item.number("password_attempts")?,
        mails: item.number("mails")?,
        mailed_at: item.time("mailed_at")?,
        decoy: item.number::<u32>("decoy")? != 0,
        completion: completion(item)?,
    })
}

fn completion(item: &Item) -> Result<Option<Completion>, StoreError> {
    if item.find_text("completed").is_none() {
        return Ok(None);
    }
    Ok(Some(Completion {
        user_id: item.parsed("completed", UserId::parse)?,
        session_id: item.parsed("completed_session", SessionId::parse)?,
        kind: item.parsed("completed_kind", Kind::parse)?,
        proof: item.parsed("completed_proof", Proof::parse)?,
        at: item.time("completed_at")?,
    }))
}
