//! What operators do and nobody else: accounts on their word, bans, roles, and reading all users.
//!
//! As everywhere, a write that was computed from a read is conditional on it, and what is to be told goes with it.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};

use super::account::{AsRead, owner_item};
use super::item::{Item, Key};
use super::signups::AccountError;
use super::{NOT_THERE, Store, StoreError, emails, number, resets, string, users};
use crate::account::{EmailAddress, PasswordHash, PasswordReset, Status, User};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;

/// How large the table of users is, as DynamoDB counted it in the last six hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Items of all kinds.
    pub items: u64,
    /// Bytes of all items.
    pub bytes: u64,
}

/// Where a scan has come to.
#[derive(Clone, Debug)]
pub struct ScanPosition(HashMap<String, AttributeValue>);

/// Some of all users.
#[derive(Debug)]
pub struct Page {
    /// These, in no particular order.
    pub users: Vec<User>,
    /// How many users there could not be read.
    pub unreadable: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<ScanPosition>,
}

/// Some of all users, with the hashes of their passwords.
#[derive(Debug)]
pub struct AccountPage {
    /// These, in no particular order.
    pub accounts: Vec<(User, PasswordHash)>,
    /// How many users there could not be read.
    pub unreadable: usize,
    /// Where to go on; `None` at the end.
    pub next: Option<ScanPosition>,
}

impl Store {
    /// Makes a user with an address that somebody vouches for, together with a reset that leads in, if there is one, and
    /// what is to be told.
    pub async fn create_user(
        &self,
        user: &User,
        password_hash: &PasswordHash,
        reset: Option<&PasswordReset>,
        told: &[OutboxItem],
        now: Timestamp,
    ) -> Result<(), AccountError> {
        let email = self
            .put_of(owner_item(&Key::email(&user.email), user.id))
            .condition_expression(emails::NOBODYS)
            .expression_attribute_values(":now", number(now.unix()));
        let username = self.put_of(owner_item(&Key::username(&user.username), user.id)).condition_expression(NOT_THERE);
        let user = self.put_of(users::to_item(user, password_hash)).condition_expression(NOT_THERE);
        let reset = reset.map(|reset| self.put_of(resets::to_item(reset)));
        let mut writes = Vec::new();
        for put in [email, username, user].into_iter().chain(reset) {
            let put = put.build().map_err(StoreError::from)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        match self.transact(writes, told).await? {
            None => Ok(()),
            Some(0) => Err(AccountError::EmailTaken),
            Some(_) => Err(AccountError::UsernameTaken),
        }
    }

    /// Gives a user, who is as `before` says, the status, epoch and roles that `after` says. A higher epoch ends all sessions
    /// and takes the known devices along. Of an account that was enabled and is disabled by it, the epoch is kept, so that
    /// [`enable_user`](Self::enable_user) knows whether anything happened to it meanwhile. `false`, and nothing is done, when
    /// the user is another by now.
    pub async fn update_standing(&self, before: &User, after: &User, told: &[OutboxItem]) -> Result<bool, StoreError> {
        let mut sets = vec!["#status = :new_status", "epoch = :new_epoch"];
        let mut removed = Vec::new();
        let AsRead { mut condition, mut names, mut values } = AsRead::of(before);
        // A reserved word too.
        names.insert("#roles".to_owned(), "roles".to_owned());
        let mut value = |name: &str, value| drop(values.insert(name.to_owned(), value));
        value(":new_status", string(after.status.as_str()));
        value(":new_epoch", number(after.epoch.number()));
        condition.push_str(" AND ");
        if before.roles.is_empty() {
            condition.push_str("attribute_not_exists(#roles)");
        } else {
            condition.push_str("#roles = :roles");
            value(":roles", string(before.roles.to_text()));
        }
        if after.roles.is_empty() {
            removed.push("#roles");
        } else {
            sets.push("#roles = :new_roles");
            value(":new_roles", string(after.roles.to_text()));
        }
        if after.epoch != before.epoch {
            sets.push("devices = if_not_exists(devices, :none) + :one");
            value(":none", number(0_u32));
            value(":one", number(1_u32));
        }
        match (before.status, after.status) {
            (Status::Enabled, Status::Disabled) => sets.push("disabled_epoch = :new_epoch"),
            (before, after) if before != after => removed.push("disabled_epoch"),
            _ => {}
        }
        let removed = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(before.id).to_attributes()))
            .condition_expression(condition)
            .update_expression(format!("SET {}{removed}", sets.join(", ")))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()?;
        let writes = vec![TransactWriteItem::builder().update(update).build()];
        Ok(self.transact(writes, told).await?.is_none())
    }

    /// Lifts the ban of a user who is as `user` says. An account that was enabled before and to which nothing has happened
    /// since is enabled; any other has to choose a new password first, as an undo or an earlier owner may be the reason. What
    /// it is now; `None`, and nothing is done, when the user is another by now.
    pub async fn enable_user(&self, user: &User, told: &[OutboxItem]) -> Result<Option<Status>, StoreError> {
        for (status, untouched) in [(Status::Enabled, " AND disabled_epoch = epoch"), (Status::ResetRequired, "")] {
            let AsRead { condition, names, mut values } = AsRead::of(user);
            values.insert(":new_status".to_owned(), string(status.as_str()));
            let update = Update::builder()
                .table_name(&self.table)
                .set_key(Some(Key::user(user.id).to_attributes()))
                .condition_expression(format!("{condition}{untouched}"))
                .update_expression("SET #status = :new_status REMOVE disabled_epoch")
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(Some(values))
                .build()?;
            let writes = vec![TransactWriteItem::builder().update(update).build()];
            if self.transact(writes, told).await?.is_none() {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }

    /// Lets mails go to an address again, together with what is to be told; `false` when nothing kept them.
    pub async fn clear_undeliverable(&self, email: &EmailAddress, told: &[OutboxItem]) -> Result<bool, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::email(email).to_attributes()))
            .condition_expression("attribute_exists(undeliverable_until)")
            .update_expression("REMOVE undeliverable_until, undeliverable_reason")
            .build()?;
        let writes = vec![TransactWriteItem::builder().update(update).build()];
        Ok(self.transact(writes, told).await?.is_none())
    }

    /// How large the table of users is.
    pub async fn find_size(&self) -> Result<TableSize, StoreError> {
        let answer = self.client.describe_table().table_name(&self.table).send().await?;
        let table = answer.table.unwrap_or_else(|| aws_sdk_dynamodb::types::TableDescription::builder().build());
        let count = |count: Option<i64>| u64::try_from(count.unwrap_or_default()).unwrap_or_default();
        Ok(TableSize { items: count(table.item_count), bytes: count(table.table_size_bytes) })
    }

    /// Some of all users, in a scan of the whole table: each page reads up to 1 MB, whatever it holds.
    pub async fn scan_users(&self, from: Option<ScanPosition>) -> Result<Page, StoreError> {
        let (read, unreadable, next) = self.scan(&users::WITHOUT_PASSWORD, from, users::from_item).await?;
        Ok(Page { users: read, unreadable, next })
    }

    /// The same with the hashes of their passwords.
    pub async fn scan_accounts(&self, from: Option<ScanPosition>) -> Result<AccountPage, StoreError> {
        let attributes: Vec<&str> = users::WITHOUT_PASSWORD.into_iter().chain(["password_hash"]).collect();
        let (accounts, unreadable, next) = self.scan(&attributes, from, users::with_password).await?;
        Ok(AccountPage { accounts, unreadable, next })
    }

    async fn scan<T>(
        &self,
        attributes: &[&str],
        from: Option<ScanPosition>,
        read: impl Fn(&Item) -> Result<T, StoreError>,
    ) -> Result<(Vec<T>, usize, Option<ScanPosition>), StoreError> {
        let names = attributes.iter().map(|name| (format!("#{name}"), (*name).to_owned()));
        let projection: Vec<String> = attributes.iter().map(|name| format!("#{name}")).collect();
        let answer: ScanOutput = self
            .client
            .scan()
            .table_name(&self.table)
            .filter_expression("begins_with(#pk, :users)")
            .expression_attribute_values(":users", string("USER#"))
            .projection_expression(projection.join(","))
            .set_expression_attribute_names(Some(names.collect()))
            .set_exclusive_start_key(from.map(|position| position.0))
            .send()
            .await?;
        let (mut found, mut unreadable) = (Vec::new(), 0);
        for item in answer.items.unwrap_or_default() {
            match read(&Item::from_attributes(item)) {
                Ok(one) => found.push(one),
                Err(_) => unreadable += 1,
            }
        }
        Ok((found, unreadable, answer.last_evaluated_key.map(ScanPosition)))
    }

    fn put_of(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item.into_attributes()))
    }
}
