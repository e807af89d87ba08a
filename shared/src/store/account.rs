//! Changes of an account as a whole: its user together with the items that make its name and address unique.
//!
//! Each is one transaction on the condition that the user is as it was read, with what is to be told of it. Whoever
//! meets another one reads again, and decides anew.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};

use super::item::{Item, Key};
use super::outbox::Leased;
use super::{Store, StoreError, failed_condition, number, string, users};
use crate::account::{Status, User, UserId};
use crate::outbox::{Content, OutboxItem};
use crate::token::Mac;

/// What became of a change of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// It is done.
    Done,
    /// Nothing was written: the name has an owner.
    UsernameTaken,
    /// Nothing was written: the user is not as it was read.
    Stale,
}

impl Store {
    /// Changes a user's name and language from what `before` says to what `after` says. A name under which another
    /// uniqueness item lies moves that item; one that is only written in another way changes the user alone.
    pub async fn update_user(
        &self,
        before: &User,
        after: &User,
        told: &[OutboxItem],
    ) -> Result<UserChange, StoreError> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(before.id).to_attributes()))
            .update_expression("SET username = :name, locale = :locale");
        let AsRead { condition, names, mut values } = AsRead::of(before);
        values.extend([
            (":name".to_owned(), string(after.username.as_str())),
            (":locale".to_owned(), string(after.locale.as_str())),
        ]);
        update = update.condition_expression(condition).set_expression_attribute_names(Some(names));
        let update = update.set_expression_attribute_values(Some(values)).build()?;
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];

        let (old, new) = (Key::username(&before.username), Key::username(&after.username));
        if old != new {
            let put = Put::builder()
                .table_name(&self.table)
                .set_item(Some(owner_item(&new, before.id).into_attributes()))
                .condition_expression("attribute_not_exists(pk)")
                .build()?;
            writes.push(TransactWriteItem::builder().put(put).build());
            writes.push(self.delete_of_owner(&old, before.id)?);
        }
        match self.transact(writes, told).await? {
            None => Ok(UserChange::Done),
            Some(0) => Ok(UserChange::Stale),
            Some(1) => Ok(UserChange::UsernameTaken),
            Some(_) => Err(NOT_ITS_OWNER),
        }
    }

    /// Deletes a user who is as `user` says, with the items of the name and the address: both are free at once, and
    /// no session of the user's is good any more. `false`, and nothing is done, when the user is another by now.
    ///
    /// What lies under other keys is for whoever does what the item of the outbox says, but for the wrong passwords that are
    /// counted under `failures`, the MACs of name and address.
    pub async fn delete_account(&self, user: &User, failures: &[Mac], told: &[OutboxItem]) -> Result<bool, StoreError> {
        let mut writes = self.deletes_of(user)?;
        for subject in failures {
            writes.push(self.forgetting(*subject)?);
        }
        self.transact(writes, told).await?.map_or(Ok(true), not_deleted)
    }

    /// Deletes a user who has waited for it, and leaves `content` in the item of the outbox that says so, in one transaction:
    /// whoever takes that up again knows that it was this item which deleted the account. `false`, and nothing is done, when
    /// the user is another by now, or somebody else has the item.
    pub async fn delete_waiting_account(
        &self,
        user: &User,
        leased: &Leased,
        content: &Content,
    ) -> Result<bool, StoreError> {
        let mut writes = self.deletes_of(user)?;
        writes.push(self.content_update(leased, content)?);
        match self.transact(writes, &[]).await? {
            Some(ITEM_AFTER_DELETES) => Ok(false),
            failed => failed.map_or(Ok(true), not_deleted),
        }
    }

    /// The writes that delete a user with the items of the name and the address.
    fn deletes_of(&self, user: &User) -> Result<Vec<TransactWriteItem>, StoreError> {
        let AsRead { condition, names, values } = AsRead::of(user);
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(user.id).to_attributes()))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        Ok(vec![
            TransactWriteItem::builder().delete(delete).build(),
            self.delete_of_owner(&Key::email(&user.email), user.id)?,
            self.delete_of_owner(&Key::username(&user.username), user.id)?,
        ])
    }

    /// Marks a user who is as `user` says as `deleting`, and ends all sessions: while an undo is open, whoever reads
    /// the address before may still take the account back. The wrong passwords that are counted under `failures` go.
    /// `false`, and nothing is done, when the user is another by now.
    pub async fn mark_deleting(&self, user: &User, failures: &[Mac], told: &[OutboxItem]) -> Result<bool, StoreError> {
        let AsRead { condition, names, mut values } = AsRead::of(user);
        values.extend([
            (":deleting".to_owned(), string(Status::Deleting.as_str())),
            (":next".to_owned(), number(user.epoch.next().number())),
        ]);
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(user.id).to_attributes()))
            .condition_expression(condition)
            .update_expression("SET #status = :deleting, epoch = :next")
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        let mut writes = vec![TransactWriteItem::builder().update(update).build()];
        for subject in failures {
            writes.push(self.forgetting(*subject)?);
        }
        Ok(self.transact(writes, told).await?.is_none())
    }

    /// A write that deletes the uniqueness item of a name or address if it is this user's.
    pub(super) fn delete_of_owner(&self, key: &Key, owner: UserId) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key.to_attributes()))
            .condition_expression("user_id = :owner")
            .expression_attribute_values(":owner", string(owner.to_string()))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Writes all, with what is to be told of it, or nothing: `None`, or the place of the first write whose condition
    /// failed.
    pub(super) async fn transact(
        &self,
        mut writes: Vec<TransactWriteItem>,
        told: &[OutboxItem],
    ) -> Result<Option<usize>, StoreError> {
        writes.extend(self.outbox_puts(told)?);
        let sent = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        let Err(error) = sent else { return Ok(None) };
        failed_condition(error.as_service_error()).map_or_else(|| Err(error.into()), |place| Ok(Some(place)))
    }
}

/// The place of the outbox's item behind the writes of [`Store::deletes_of`].
const ITEM_AFTER_DELETES: usize = 3;

/// That nothing was deleted, as the write at this place failed: `false` for the user, who is another by now.
fn not_deleted(place: usize) -> Result<bool, StoreError> {
    if place == 0 { Ok(false) } else { Err(NOT_ITS_OWNER) }
}

/// A name's or address's item belongs to somebody else than the user who bears it: the table was tampered with.
const NOT_ITS_OWNER: StoreError = StoreError::Corrupt { attribute: "user_id" };

/// That a user is as it was read, as a condition.
pub(super) struct AsRead {
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl AsRead {
    pub(super) fn of(user: &User) -> Self {
        let undos = users::stored_undos(user);
        let same_undos = if undos.is_some() { "undos = :undos" } else { "attribute_not_exists(undos)" };
        let values = [
            (":username", Some(string(user.username.as_str()))),
            (":email", Some(string(user.email.as_str()))),
            (":status", Some(string(user.status.as_str()))),
            (":epoch", Some(number(user.epoch.number()))),
            (":undos", undos),
        ];
        Self {
            condition: format!(
                "username = :username AND email = :email AND #status = :status AND epoch = :epoch AND {same_undos}"
            ),
            // A reserved word.
            names: HashMap::from([("#status".to_owned(), "status".to_owned())]),
            values: values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        }
    }
}

pub(super) fn owner_item(key: &Key, owner: UserId) -> Item {
    Item::new(key).with_text("user_id", owner.to_string())
}
