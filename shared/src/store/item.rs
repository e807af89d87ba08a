//! Items as DynamoDB has them, and the one place where their keys are spelled.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{StoreError, number, string};
use crate::account::{EmailAddress, ProofId, Purpose, UserId, Username};
use crate::clock::Timestamp;
use crate::outbox::OutboxRef;
use crate::session::SessionRef;
use crate::token::Mac;

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    /// An item of a partition.
    pub(super) fn in_partition(partition: &str, sk: &str) -> Self {
        Self::new(partition, sk)
    }

    /// What a mailed proof is part of.
    pub(super) fn proof(purpose: Purpose, id: ProofId) -> Self {
        let start = Self::proofs_of(purpose);
        Self::new(format!("{start}{id}"), start.trim_end_matches('#'))
    }

    /// What the partitions of proofs begin with.
    pub(super) const fn proofs_of(purpose: Purpose) -> &'static str {
        match purpose {
            Purpose::Signup => "SIGNUP#",
            Purpose::Reset => "RESET#",
            Purpose::Change => "CHANGE#",
            Purpose::Undo => "UNDO#",
        }
    }

    pub(super) fn user(id: UserId) -> Self {
        Self::new(format!("USER#{id}"), "USER")
    }

    pub(super) fn session(session: SessionRef) -> Self {
        Self::new(Self::sessions_of(session.user_id), session.session_id.to_string())
    }

    /// The partition of a user's sessions.
    pub(super) fn sessions_of(user_id: UserId) -> String {
        format!("SESSIONS#{user_id}")
    }

    pub(super) fn email(email: &EmailAddress) -> Self {
        Self::new(format!("EMAIL#{}", email.normalised()), "EMAIL")
    }

    pub(super) fn username(username: &Username) -> Self {
        Self::new(format!("USERNAME#{}", username.normalised()), "USERNAME")
    }

    /// A name that no one can have.
    pub(super) fn nobody() -> Self {
        Self::new("USERNAME#", "USERNAME")
    }

    /// A counter of `scope` for whatever `subject` is the MAC of.
    pub(super) fn limit(scope: &str, subject: Mac, window: &str) -> Self {
        Self::new(format!("LIMIT#{scope}#{}", subject.to_text()), window)
    }

    pub(super) fn outbox(reference: OutboxRef) -> Self {
        let (pk, sk) = reference.to_keys();
        Self::new(pk, sk)
    }

    /// How far the sweep of the outbox has come.
    pub(super) fn sweep() -> Self {
        Self::new("SWEEP", "OUTBOX")
    }

    /// What ids of imported users are made with.
    pub(super) fn import_salt() -> Self {
        Self::new("IMPORT", "SALT")
    }

    /// What is proven by mail, by its partition: the sort key is the partition's first word.
    pub(super) fn of_proof(partition: &str) -> Self {
        Self::new(partition, partition.split('#').next().unwrap_or_default())
    }

    /// The ring of one kind of key, in the table of keys.
    pub(super) fn ring(partition: &str) -> Self {
        Self::new(partition, "RING")
    }

    pub(super) fn to_attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([("pk".to_owned(), string(&self.pk)), ("sk".to_owned(), string(&self.sk))])
    }
}

/// An item's attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Item(HashMap<String, AttributeValue>);

impl Item {
    /// An item with nothing but its key.
    pub(super) fn new(key: &Key) -> Self {
        Self(key.to_attributes())
    }

    pub(super) const fn from_attributes(attributes: HashMap<String, AttributeValue>) -> Self {
        Self(attributes)
    }

    /// The item that an answer holds, which has to be the one that was asked for: a read or write is never taken for
    /// another's, whatever comes back.
    pub(super) fn of(
        key: &Key,
        attributes: Option<HashMap<String, AttributeValue>>,
    ) -> Result<Option<Self>, StoreError> {
        let item = attributes.map(Self);
        match item {
            Some(item) if !item.has_key(key) => Err(StoreError::Unavailable("the answer holds another item".into())),
            item => Ok(item),
        }
    }

    pub(super) fn into_attributes(self) -> HashMap<String, AttributeValue> {
        self.0
    }

    pub(super) fn has_key(&self, key: &Key) -> bool {
        self.find_text("pk") == Some(&key.pk) && self.find_text("sk") == Some(&key.sk)
    }

    /// The item if it lies in this partition.
    pub(super) fn in_partition(self, partition: &str) -> Result<Self, StoreError> {
        let lies_there = self.find_text("pk").is_some_and(|pk| pk == partition);
        lies_there.then_some(self).ok_or(StoreError::Unavailable("the answer holds another item".into()))
    }

    #[must_use]
    pub(super) fn with_text(mut self, name: &str, text: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), string(text));
        self
    }

    #[must_use]
    pub(super) fn with_number(mut self, name: &str, value: impl Into<u64>) -> Self {
        self.0.insert(name.to_owned(), number(value));
        self
    }

    #[must_use]
    pub(super) fn with_time(self, name: &str, time: Timestamp) -> Self {
        self.with_number(name, time.unix())
    }

    /// A list of what have no keys of their own; nothing where it is empty.
    #[must_use]
    pub(super) fn with_items(mut self, name: &str, items: impl Iterator<Item = Self>) -> Self {
        let items: Vec<AttributeValue> = items.map(|item| AttributeValue::M(item.0)).collect();
        if !items.is_empty() {
            self.0.insert(name.to_owned(), AttributeValue::L(items));
        }
        self
    }

    pub(super) fn find_text(&self, name: &str) -> Option<&String> {
        self.0.get(name)?.as_s().ok()
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&str, StoreError> {
        self.find_text(name).map(String::as_str).ok_or(StoreError::Corrupt { attribute: name })
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: &'static str) -> Result<N, StoreError> {
        let value = self.0.get(name).and_then(|value| value.as_n().ok());
        value.and_then(|digits| digits.parse().ok()).ok_or(StoreError::Corrupt { attribute: name })
    }

    /// A number that may be missing.
    pub(super) fn find_number<N: std::str::FromStr>(&self, name: &'static str) -> Result<Option<N>, StoreError> {
        self.0.contains_key(name).then(|| self.number(name)).transpose()
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Timestamp, StoreError> {
        self.number(name).map(Timestamp::from_unix)
    }

    /// A time that may be missing.
    pub(super) fn find_time(&self, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.0.contains_key(name).then(|| self.time(name)).transpose()
    }

    /// What [`Item::with_items`] wrote.
    pub(super) fn items(&self, name: &'static str) -> Result<Vec<Self>, StoreError> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let maps = value.as_l().ok().map(|list| list.iter().map(|element| element.as_m().ok().cloned().map(Self)));
        maps.and_then(Iterator::collect).ok_or(StoreError::Corrupt { attribute: name })
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(&self, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        parse(self.text(name)?).ok_or(StoreError::Corrupt { attribute: name })
    }
}
