//! Sessions, each an item of its user's partition `SESSIONS#<user id>`.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::item::{Item, Key};
use super::replacements::is_mark;
use super::{Store, StoreError, call_mark, is_of_call, number, string};
use crate::account::{Epoch, UserId};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::session::{
    AuthenticationMethods, Generation, Kind, Lifetimes, Presented, RetryKey, Session, SessionId, SessionRef,
};

/// What became of an attempt to rotate.
#[derive(Debug)]
pub enum Rotation {
    /// The session is now this one.
    Rotated(Session),
    /// Nothing was written; the session is this one, and [`Session::refresh`] says what that means.
    Refused(Session),
    /// There is no such session.
    Missing,
}

impl Store {
    /// All sessions of a user, ended ones too as long as TTL has not swept them, but not the marks of those that were
    /// replaced. There are few: a sign-in deletes what is over `MaxSessions`.
    pub async fn find_sessions(&self, user_id: UserId) -> Result<Vec<Session>, StoreError> {
        let partition = Key::sessions_of(user_id);
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :partition")
            .expression_attribute_values(":partition", string(&partition))
            .send()
            .await?;
        let mut sessions = Vec::new();
        for item in answer.items.unwrap_or_default() {
            match from_item(&Item::from_attributes(item).in_partition(&partition)?) {
                Ok(session) => sessions.extend(session),
                // One that cannot be read opens nothing, and hides none of the others.
                Err(error) => tracing::error!(%error, "a session cannot be read"),
            }
        }
        Ok(sessions)
    }

    /// Stores a new session, and in the same transaction deletes those that it replaces and tells of it.
    pub async fn create_session(
        &self,
        session: &Session,
        replaced: &[SessionRef],
        outbox: &[OutboxItem],
    ) -> Result<(), StoreError> {
        let item = to_item(session).into_attributes();
        if replaced.is_empty() && outbox.is_empty() {
            self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await?;
            return Ok(());
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build()?;
        let mut writes = vec![TransactWriteItem::builder().put(put).build()];
        for old in replaced {
            let delete =
                Delete::builder().table_name(&self.table).set_key(Some(Key::session(*old).to_attributes())).build()?;
            writes.push(TransactWriteItem::builder().delete(delete).build());
        }
        self.transact(writes, outbox).await?;
        Ok(())
    }

    /// Rotates a session if what is presented is its current generation: [`Session::refresh`]'s decision to rotate,
    /// as one conditional update. What was stored comes back when the condition fails.
    pub async fn rotate_session(
        &self,
        session: SessionRef,
        presented: Presented,
        key: Option<RetryKey>,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let fresh_key = if key.is_some() { " AND key_1 <> :key" } else { "" };
        let call = call_mark();
        let item_key = Key::session(session);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key.to_attributes()))
            .condition_expression(format!(
                "generation = :presented AND kind = :kind AND idle_expires_at > :now AND expires_at > :now{fresh_key}"
            ))
            .update_expression(
                "SET generation = :next, rotated_at = :now, used_at = :now, idle_expires_at = :idle, \
                 key_3 = key_2, key_2 = key_1, key_1 = :key, written_by = :call",
            )
            .expression_attribute_values(":presented", number(presented.generation.number()))
            .expression_attribute_values(":next", number(presented.generation.next().number()))
            .expression_attribute_values(":kind", string(presented.kind.as_str()))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":idle", number(now.plus(lifetimes.of(presented.kind).idle).unix()))
            .expression_attribute_values(":key", string(key_text(key)))
            .expression_attribute_values(":call", string(&call))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(answer) => {
                let item = Item::of(&item_key, answer.attributes)?.unwrap_or_default();
                Ok(from_item(&item)?.map_or(Rotation::Missing, Rotation::Rotated))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(item) = Item::of(&item_key, failed.item().cloned())? else { return Ok(Rotation::Missing) };
                    let Some(session) = from_item(&item)? else { return Ok(Rotation::Missing) };
                    let is_own = is_of_call(&item, &call);
                    Ok(if is_own { Rotation::Rotated(session) } else { Rotation::Refused(session) })
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Moves the idle expiry of a session that is still at `generation`; `false` when it no longer is.
    pub async fn extend_session(
        &self,
        session: &Session,
        idle_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::session(session.reference()).to_attributes()))
            .condition_expression("generation = :generation AND idle_expires_at > :now AND expires_at > :now")
            .update_expression("SET idle_expires_at = :idle, used_at = :now")
            .expression_attribute_values(":generation", number(session.generation.number()))
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":idle", number(idle_expires_at.unix()));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(error.into()),
            },
        }
    }

    /// Ends a session because a credential was used twice, and tells of it; if `only_at` is given, while the session is
    /// still at that generation. `false` when it is not, or is not there any more: then nothing happens.
    pub async fn end_reused_session(
        &self,
        session: SessionRef,
        only_at: Option<Generation>,
        outbox: &[OutboxItem],
    ) -> Result<bool, StoreError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(Key::session(session).to_attributes()));
        let delete = match only_at {
            Some(generation) => delete
                .condition_expression("generation = :generation")
                .expression_attribute_values(":generation", number(generation.number())),
            None => delete.condition_expression("attribute_exists(generation)"),
        };
        let writes = vec![TransactWriteItem::builder().delete(delete.build()?).build()];
        Ok(self.transact(writes, outbox).await?.is_none())
    }

    /// Deletes all sessions of an account that is gone. It may be repeated, and stop anywhere.
    pub async fn delete_sessions_of(&self, user_id: UserId) -> Result<(), StoreError> {
        let partition = Key::sessions_of(user_id);
        let mut start = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :partition")
                .projection_expression("pk, sk")
                .expression_attribute_values(":partition", string(&partition))
                .set_exclusive_start_key(start)
                .send()
                .await?;
            for item in answer.items.unwrap_or_default() {
                let item = Item::from_attributes(item).in_partition(&partition)?;
                let key = Key::in_partition(&partition, item.text("sk")?);
                self.client.delete_item().table_name(&self.table).set_key(Some(key.to_attributes())).send().await?;
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// Deletes a session, whether or not it is there.
    pub async fn delete_session(&self, session: SessionRef) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(Key::session(session).to_attributes()))
            .send()
            .await?;
        Ok(())
    }
}

fn key_text(key: Option<RetryKey>) -> String {
    key.map(RetryKey::to_text).unwrap_or_default()
}

pub(super) fn to_item(session: &Session) -> Item {
    let [newest, middle, oldest] = session.recent_keys.map(key_text);
    Item::new(&Key::session(session.reference()))
        .with_text("kind", session.kind.as_str())
        .with_number("generation", session.generation.number())
        .with_number("epoch", session.epoch.number())
        .with_time("created_at", session.created_at)
        .with_time("authenticated_at", session.authenticated_at)
        .with_text("methods", session.methods.to_text())
        .with_time("rotated_at", session.rotated_at)
        .with_time("used_at", session.used_at)
        .with_time("idle_expires_at", session.idle_expires_at)
        .with_time("expires_at", session.expires_at)
        .with_text("key_1", newest)
        .with_text("key_2", middle)
        .with_text("key_3", oldest)
        .with_text("device", &session.device)
        .with_time("ttl", session.expires_at)
}

/// Reads a session; `None` for the mark of one that was replaced, which opens nothing. The idle expiry in the table may lie
/// past the absolute one, since an update cannot compare the two; in the program it never does. Sessions of before there was
/// fresh authentication began with a password.
pub(super) fn from_item(item: &Item) -> Result<Option<Session>, StoreError> {
    if is_mark(item) {
        return Ok(None);
    }
    let key = |name| item.text(name).map(RetryKey::from_text);
    let expires_at = item.time("expires_at")?;
    let created_at = item.time("created_at")?;
    let methods = item.find_text("methods").map(|_| item.parsed("methods", AuthenticationMethods::parse));
    Ok(Some(Session {
        id: item.parsed("sk", SessionId::parse)?,
        user_id: item.parsed("pk", |pk| UserId::parse(pk.strip_prefix("SESSIONS#")?))?,
        kind: item.parsed("kind", Kind::parse)?,
        generation: item.number("generation").map(Generation::from_number)?,
        epoch: item.number("epoch").map(Epoch::from_number)?,
        created_at,
        authenticated_at: item.find_time("authenticated_at")?.unwrap_or(created_at),
        methods: methods.transpose()?.unwrap_or(AuthenticationMethods::PASSWORD),
        rotated_at: item.time("rotated_at")?,
        used_at: item.time("used_at")?,
        idle_expires_at: item.time("idle_expires_at")?.min(expires_at),
        expires_at,
        recent_keys: [key("key_1")?, key("key_2")?, key("key_3")?],
        device: item.text("device")?.to_owned(),
    }))
}
