//! Changes of address, and the undos that take them back.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};

use super::account::{AsRead, owner_item};
use super::item::{Item, Key};
use super::{GiveBack, Store, StoreError, number, proofs, resets, string, users};
use crate::account::{
    EmailAddress, EmailChange, PasswordReset, Proof, ProofId, Purpose, REPEAT_WINDOW, Undo, UndoId, UndoLink, User,
    UserId,
};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::token::Mac;

/// What became of a change of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailChanged {
    /// It is done.
    Done,
    /// Nothing was written: this change, or this undo, was completed before.
    AlreadyCompleted,
    /// Nothing was written: the address has an owner, or is kept for somebody.
    Taken,
    /// Nothing was written: the user is not as it was read.
    Stale,
}

impl Store {
    /// Whose an address is: its owner's, or for a while the account's that had it before.
    pub async fn find_email_holder(&self, email: &EmailAddress, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        let item = self.get(&Key::email(email), None).await?;
        item.map_or(Ok(None), |item| holder(&item, now))
    }

    /// Stores a new change together with what is to be mailed.
    pub async fn create_email_change(&self, change: &EmailChange, outbox: &[OutboxItem]) -> Result<(), StoreError> {
        let item = proofs::with_subject(proofs::to_item(&change.proof), &change.subject)
            .with_text("new_email", change.new_email.as_str());
        self.put_proved(item, outbox).await
    }

    /// A change that has not ended.
    pub async fn find_email_change(&self, id: ProofId, now: Timestamp) -> Result<Option<EmailChange>, StoreError> {
        let item = self.find_proved(Purpose::Change, id).await?;
        let change = item.as_ref().map(change_from_item).transpose()?;
        Ok(change.filter(|change| now < change.proof.expires_at))
    }

    /// Spends one guess of a change's code, before anything is compared, and returns the change; `None` when it has ended,
    /// no guess is left, the code is too old, or `change_id_mac` is not its own (that spends nothing).
    pub async fn spend_change_code_attempt(
        &self,
        id: ProofId,
        change_id_mac: Mac,
        now: Timestamp,
    ) -> Result<Option<EmailChange>, StoreError> {
        let item = self.spend_code_attempt(Purpose::Change, id, change_id_mac, now).await?;
        item.as_ref().map(change_from_item).transpose()
    }

    /// Gives a guess back to whoever guessed right.
    pub async fn restore_change_code_attempt(&self, id: ProofId, give_back: GiveBack) -> Result<(), StoreError> {
        self.restore_attempt_of(Purpose::Change, id, proofs::CODE_ATTEMPTS, give_back).await
    }

    /// Gives a user, who is as `user` says, another address: in one transaction with the change's completion, the undo, and
    /// what is to be told. The address before is kept for the account until `undo` lapses, and finds nobody meanwhile.
    pub async fn change_email(
        &self,
        user: &User,
        change: &EmailChange,
        proof: Proof,
        undo: &UndoLink,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<EmailChanged, StoreError> {
        let until = undo.proof.expires_at;
        let listed = Undo {
            id: UndoId::from_bytes(*undo.proof.id.as_bytes()),
            changed_at: now,
            email: user.email.clone(),
            until,
        };
        let mut undos: Vec<Undo> = user.undos.iter().filter(|undo| now < undo.until).cloned().collect();
        undos.push(listed);
        let after = User { email: change.new_email.clone(), undos, ..user.clone() };
        let completion = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::proof(Purpose::Change, change.proof.id).to_attributes()))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(completed)")
            .expression_attribute_values(":proof", string(proof.as_str()))
            .expression_attribute_values(":now", number(now.unix()));
        // A guess that was right is given back.
        let completion = match proof {
            Proof::Code => completion
                .update_expression("SET completed = :proof, completed_at = :now, code_attempts = code_attempts + :one")
                .expression_attribute_values(":one", number(1_u32)),
            Proof::Link | Proof::LinkAndPassword => {
                completion.update_expression("SET completed = :proof, completed_at = :now")
            }
        };
        let mut writes = vec![
            update_write(completion)?,
            update_write(self.email_update(user, &after))?,
            self.put_write(undo_to_item(undo))?,
        ];
        let (old, new) = (Key::email(&user.email), Key::email(&change.new_email));
        if old != new {
            writes.push(self.claim(&new, user.id, now)?);
            writes.push(self.keep_for(&old, user.id, until)?);
        }
        Ok(outcome(self.transact(writes, outbox).await?))
    }

    /// Gives a user, who is as `before` says, the address that `after` says, and with it epoch, status and undos, on an
    /// operator's word: in one transaction with the undo that the address before is mailed, or a reset that leads back in, and
    /// what is to be told. Without an undo the address before is anyone's; of undos that `after` no longer lists nothing is
    /// left.
    pub async fn set_email(
        &self,
        before: &User,
        after: &User,
        undo: Option<&UndoLink>,
        reset: Option<&PasswordReset>,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<EmailChanged, StoreError> {
        let mut writes = vec![update_write(self.email_update(before, after))?];
        if let Some(undo) = undo {
            writes.push(self.put_write(undo_to_item(undo))?);
        }
        if let Some(reset) = reset {
            writes.push(self.put_write(resets::to_item(reset))?);
        }
        let (old, new) = (Key::email(&before.email), Key::email(&after.email));
        if old != new {
            writes.push(self.claim(&new, before.id, now)?);
            writes.push(match undo {
                Some(undo) => self.keep_for(&old, before.id, undo.proof.expires_at)?,
                None => self.delete_of_owner(&old, before.id)?,
            });
        }
        writes.extend(self.void_undos(before, after, None, [old, new], now)?);
        Ok(match self.transact(writes, outbox).await? {
            None => EmailChanged::Done,
            Some(0) => EmailChanged::Stale,
            Some(_) => EmailChanged::Taken,
        })
    }

    /// The undo of an id, also one that was used.
    pub async fn find_undo(&self, id: ProofId, now: Timestamp) -> Result<Option<UndoLink>, StoreError> {
        let Some(item) = self.find_proved(Purpose::Undo, id).await? else { return Ok(None) };
        let undo = UndoLink {
            proof: proofs::from_item(&item, Purpose::Undo)?,
            user_id: item.parsed("user_id", UserId::parse)?,
            completed_at: item.find_time("completed_at")?,
        };
        // One that was used in its last minutes may be repeated after them.
        Ok(Some(undo).filter(|undo| now < undo.proof.expires_at || undo.completed_at.is_some()))
    }

    /// Gives a user, who is as `before` says, the address that `after` says, and with it epoch, status and the undos that are
    /// left: in one transaction with the undo's end, a reset that leads back in, if there is one, and what is to be told. All
    /// sessions, other proofs and known devices are void by it. Of later undos nothing is left, and the addresses that were
    /// kept for them are anyone's.
    pub async fn undo_email_change(
        &self,
        before: &User,
        after: &User,
        undo: &UndoLink,
        reset: Option<&PasswordReset>,
        outbox: &[OutboxItem],
        now: Timestamp,
    ) -> Result<EmailChanged, StoreError> {
        let completion = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::proof(Purpose::Undo, undo.proof.id).to_attributes()))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(completed)")
            // It is of no use any more once it cannot be repeated, and holds whose it was.
            .update_expression("SET completed = :proof, completed_at = :now, #ttl = :end")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":proof", string(Proof::Link.as_str()))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":end", number(now.plus(REPEAT_WINDOW).unix()));
        let mut writes = vec![update_write(completion)?, update_write(self.email_update(before, after))?];
        if let Some(reset) = reset {
            writes.push(self.put_write(resets::to_item(reset))?);
        }
        let (current, restored) = (Key::email(&before.email), Key::email(&after.email));
        if current != restored {
            writes.push(self.delete_of_owner(&current, before.id)?);
            writes.push(self.claim(&restored, before.id, now)?);
        }
        let used = UndoId::from_bytes(*undo.proof.id.as_bytes());
        writes.extend(self.void_undos(before, after, Some(used), [current, restored], now)?);
        Ok(outcome(self.transact(writes, outbox).await?))
    }

    /// The writes that leave nothing of the undos that `before` lists and `after` does not, but of the `used` one: their links
    /// go, and the addresses that were kept for them, unless an undo that stays or the transaction itself (`touched`) needs
    /// those.
    fn void_undos(
        &self,
        before: &User,
        after: &User,
        used: Option<UndoId>,
        touched: [Key; 2],
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut writes = Vec::new();
        let delete = |key: &Key| Delete::builder().table_name(&self.table).set_key(Some(key.to_attributes()));
        let mut kept: Vec<Key> = after.undos.iter().map(|earlier| Key::email(&earlier.email)).collect();
        kept.extend(touched);
        for later in before.undos.iter().filter(|other| Some(other.id) != used && !after.undos.contains(other)) {
            let link = Key::proof(Purpose::Undo, ProofId::from_bytes(*later.id.as_bytes()));
            writes.push(delete_write(delete(&link).build()?));
            let address = Key::email(&later.email);
            // Once an undo has lapsed, its address may be somebody else's.
            if now < later.until && !kept.contains(&address) {
                let delete = delete(&address)
                    .condition_expression("attribute_not_exists(pk) OR reserved_for = :owner")
                    .expression_attribute_values(":owner", string(before.id.to_string()));
                writes.push(delete_write(delete.build()?));
                kept.push(address);
            }
        }
        Ok(writes)
    }

    /// Keeps an address that was a user's for the same user, until an undo lapses: it finds nobody meanwhile.
    fn keep_for(&self, key: &Key, owner: UserId, until: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let kept = Item::new(key)
            .with_text("reserved_for", owner.to_string())
            .with_time("reserved_until", until)
            .with_time("ttl", until);
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(kept.into_attributes()))
            .condition_expression("user_id = :owner")
            .expression_attribute_values(":owner", string(owner.to_string()))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The update of a user's own item, which is as `before` says: address, undos, epoch and status. A higher epoch takes the
    /// known devices along.
    fn email_update(&self, before: &User, after: &User) -> UpdateBuilder {
        let AsRead { condition, names, mut values } = AsRead::of(before);
        let mut sets = vec!["email = :new_email", "epoch = :new_epoch", "#status = :new_status"];
        values.extend([
            (":new_email".to_owned(), string(after.email.as_str())),
            (":new_epoch".to_owned(), number(after.epoch.number())),
            (":new_status".to_owned(), string(after.status.as_str())),
        ]);
        let mut removed = "";
        match users::stored_undos(after) {
            Some(undos) => {
                sets.push("undos = :new_undos");
                values.insert(":new_undos".to_owned(), undos);
            }
            None => removed = " REMOVE undos",
        }
        if after.epoch != before.epoch {
            sets.push("devices = if_not_exists(devices, :none) + :one");
            values.extend([(":none".to_owned(), number(0_u32)), (":one".to_owned(), number(1_u32))]);
        }
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(before.id).to_attributes()))
            .condition_expression(condition)
            .update_expression(format!("SET {}{removed}", sets.join(", ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
    }

    /// Makes an address a user's, if it is nobody's, or is kept for the same user.
    fn claim(&self, key: &Key, owner: UserId, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(owner_item(key, owner).into_attributes()))
            .condition_expression(format!("{NOBODYS} OR reserved_for = :owner"))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":owner", string(owner.to_string()))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn put_write(&self, item: Item) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item.into_attributes())).build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// That an address has no owner and is kept for nobody, at `:now`.
pub(super) const NOBODYS: &str =
    "attribute_not_exists(user_id) AND (attribute_not_exists(reserved_until) OR reserved_until <= :now)";

/// Whose an address's item says that it is.
pub(super) fn holder(item: &Item, now: Timestamp) -> Result<Option<UserId>, StoreError> {
    if item.find_text("user_id").is_some() {
        return item.parsed("user_id", UserId::parse).map(Some);
    }
    let is_kept = item.find_time("reserved_until")?.is_some_and(|until| now < until);
    is_kept.then(|| item.parsed("reserved_for", UserId::parse)).transpose()
}

/// What a transaction came to, by the place of the first write whose condition failed: the completion, the user, then the
/// addresses.
const fn outcome(failed: Option<usize>) -> EmailChanged {
    match failed {
        None => EmailChanged::Done,
        Some(0) => EmailChanged::AlreadyCompleted,
        Some(1) => EmailChanged::Stale,
        Some(_) => EmailChanged::Taken,
    }
}

fn delete_write(delete: Delete) -> TransactWriteItem {
    TransactWriteItem::builder().delete(delete).build()
}

fn update_write(update: UpdateBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().update(update.build()?).build())
}

fn undo_to_item(undo: &UndoLink) -> Item {
    proofs::to_item(&undo.proof).with_text("user_id", undo.user_id.to_string())
}

fn change_from_item(item: &Item) -> Result<EmailChange, StoreError> {
    let completed = || Ok::<_, StoreError>((item.parsed("completed", Proof::parse)?, item.time("completed_at")?));
    Ok(EmailChange {
        proof: proofs::from_item(item, Purpose::Change)?,
        subject: proofs::subject_of(item)?,
        new_email: item.parsed("new_email", |text| EmailAddress::parse(text).ok())?,
        completion: item.find_text("completed").is_some().then(completed).transpose()?,
    })
}
