//! The outbox: items that say what is to be told, in partitions by the hour (`OUTBOX#<hour>#<shard>`).

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use super::item::{Item, Key};
use super::users::is_condition_failure;
use super::{Store, StoreError, call_mark, number, string};
use crate::clock::Timestamp;
use crate::outbox::{self, Content, DEAD_KEPT, LEASE, OutboxId, OutboxItem, OutboxRef};

/// An item that somebody has taken up, for [`LEASE`] seconds.
#[derive(Debug)]
pub struct Leased {
    /// The item.
    pub item: OutboxItem,
    /// How often it was tried before.
    pub attempts: u32,
    /// Its mail went out, and something after it failed.
    pub is_mailed: bool,
    /// Who has it.
    lease: String,
}

/// What came of an attempt to take an item up.
#[derive(Debug)]
pub enum Lease {
    /// It is taken up.
    Taken(Box<Leased>),
    /// It is done, somebody else has it, it is not due yet, or it was given up.
    NotDue,
    /// It cannot be read: nobody ever will.
    Unreadable,
}

/// An item of the outbox, as whoever sweeps sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Where it lies.
    pub reference: OutboxRef,
    /// When it was written.
    pub created_at: Timestamp,
    /// Whether it may be taken up now.
    pub is_due: bool,
}

impl Store {
    /// Writes an item that belongs to no other write.
    pub async fn put_outbox(&self, item: &OutboxItem) -> Result<(), StoreError> {
        let item = to_item(item)?.into_attributes();
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// The writes of items, for the transaction that they belong to. Their ids are new, so there is no condition.
    pub(super) fn outbox_puts(&self, items: &[OutboxItem]) -> Result<Vec<TransactWriteItem>, StoreError> {
        let put = |item| {
            let put =
                Put::builder().table_name(&self.table).set_item(Some(to_item(item)?.into_attributes())).build()?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        items.iter().map(put).collect()
    }

    /// Takes an item up that is due and that nobody else has.
    pub async fn lease_outbox(&self, reference: OutboxRef, now: Timestamp) -> Result<Lease, StoreError> {
        let key = Key::outbox(reference);
        let lease = call_mark();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.to_attributes()))
            .condition_expression(
                "attribute_exists(pk) AND not_before <= :now AND attribute_not_exists(dead) \
                 AND (attribute_not_exists(leased_until) OR leased_until <= :now)",
            )
            .update_expression("SET leased_until = :until, leased_by = :lease, attempts = attempts + :one")
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":until", number(now.plus(LEASE).unix()))
            .expression_attribute_values(":lease", string(&lease))
            .expression_attribute_values(":one", number(1_u32))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let attributes = match update.send().await {
            Ok(answer) => answer.attributes,
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => failed.item().cloned(),
                _ => return Err(error.into()),
            },
        };
        let item = Item::of(&key, attributes)?.unwrap_or_default();
        // A call whose answer was lost is repeated, and meets its own lease.
        if item.find_text("leased_by") != Some(&lease) {
            return Ok(Lease::NotDue);
        }
        let read = |item: &Item| {
            Ok::<_, StoreError>(Leased {
                item: from_item(reference, item)?,
                attempts: item.number::<u32>("attempts")?.saturating_sub(1),
                is_mailed: item.find_time("mailed_at")?.is_some(),
                lease,
            })
        };
        match read(&item) {
            Ok(leased) => Ok(Lease::Taken(Box::new(leased))),
            Err(error) => {
                tracing::error!(%error, item = %reference.id, "an item of the outbox cannot be read");
                Ok(Lease::Unreadable)
            }
        }
    }

    /// Deletes an item that is done, unless somebody else has it by now.
    pub async fn complete_outbox(&self, leased: &Leased) -> Result<(), StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(Key::outbox(leased.item.reference).to_attributes()))
            .condition_expression("leased_by = :lease")
            .expression_attribute_values(":lease", string(&leased.lease));
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    /// The write that says anew what is left to do of an item, unless somebody else has it by now.
    pub(super) fn content_update(&self, leased: &Leased, content: &Content) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::outbox(leased.item.reference).to_attributes()))
            .condition_expression("leased_by = :lease")
            .update_expression("SET content = :content")
            .expression_attribute_values(":lease", string(&leased.lease))
            .expression_attribute_values(":content", string(content_text(content)?))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Leaves an item for later, unless somebody else has it by now: what of it is left to do, `None` for what there was, and
    /// from when on.
    pub async fn defer_outbox(
        &self,
        leased: &Leased,
        content: Option<&Content>,
        mailed_at: Option<Timestamp>,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut sets = "SET not_before = :at".to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::outbox(leased.item.reference).to_attributes()))
            .condition_expression("leased_by = :lease")
            .expression_attribute_values(":lease", string(&leased.lease))
            .expression_attribute_values(":at", number(not_before.unix()));
        if let Some(content) = content {
            sets.push_str(", content = :content");
            update = update.expression_attribute_values(":content", string(content_text(content)?));
        }
        if let Some(at) = mailed_at {
            sets.push_str(", mailed_at = :mailed");
            update = update.expression_attribute_values(":mailed", number(at.unix()));
        }
        match update.update_expression(sets + " REMOVE leased_by, leased_until").send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Gives an item up: nobody takes it up again, and it stays for a while for whoever looks into it.
    pub async fn give_up_outbox(&self, reference: OutboxRef, now: Timestamp) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::outbox(reference).to_attributes()))
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET dead = :now, #ttl = :end")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", number(now.unix()))
            .expression_attribute_values(":end", number(now.plus(DEAD_KEPT).unix()));
        match update.send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The items of one partition that were not given up, oldest partition keys first; `limit` at most.
    pub async fn find_outbox(
        &self,
        (hour, shard): (u64, u64),
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Waiting>, StoreError> {
        let partition = outbox::partition(hour, shard);
        let mut waiting = Vec::new();
        let mut start = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :partition")
                .filter_expression("attribute_not_exists(dead)")
                .projection_expression("pk, sk, created_at, not_before, leased_until")
                .expression_attribute_values(":partition", string(&partition))
                .set_exclusive_start_key(start)
                .send()
                .await?;
            for item in answer.items.unwrap_or_default() {
                let item = Item::from_attributes(item).in_partition(&partition)?;
                let is_free = item.find_time("leased_until")?.is_none_or(|until| until <= now);
                waiting.push(Waiting {
                    reference: OutboxRef { hour, shard, id: item.parsed("sk", OutboxId::parse)? },
                    created_at: item.time("created_at")?,
                    is_due: is_free && item.time("not_before")? <= now,
                });
            }
            start = answer.last_evaluated_key;
            if start.is_none() || waiting.len() >= limit {
                waiting.truncate(limit);
                return Ok(waiting);
            }
        }
    }

    /// The oldest hour that may hold items of the outbox; `None` before the first sweep.
    pub async fn find_oldest_outbox_hour(&self) -> Result<Option<u64>, StoreError> {
        let item = self.get(&Key::sweep(), None).await?;
        item.map(|item| item.number("hour")).transpose()
    }

    /// Says that no hour before `hour` holds items of the outbox any more. It never goes back.
    pub async fn set_oldest_outbox_hour(&self, hour: u64) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::sweep().to_attributes()))
            .condition_expression("attribute_not_exists(pk) OR #hour < :hour")
            .update_expression("SET #hour = :hour")
            .expression_attribute_names("#hour", "hour")
            .expression_attribute_values(":hour", number(hour));
        match update.send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether the token with this MAC is the newest of what it proves: it was not replaced, used or taken back.
    pub async fn is_current_proof(&self, partition: &str, token_mac: &str) -> Result<bool, StoreError> {
        let item = self.get(&Key::of_proof(partition), Some(&["pk", "sk", "token_mac", "completed"])).await?;
        Ok(item.is_some_and(|item| {
            item.find_text("completed").is_none() && item.find_text("token_mac").is_some_and(|mac| mac == token_mac)
        }))
    }
}

fn content_text(content: &Content) -> Result<String, StoreError> {
    serde_json::to_string(content).map_err(|error| StoreError::Unavailable(error.into()))
}

fn to_item(item: &OutboxItem) -> Result<Item, StoreError> {
    Ok(Item::new(&Key::outbox(item.reference))
        .with_time("created_at", item.created_at)
        .with_time("not_before", item.not_before)
        .with_number("attempts", 0_u32)
        .with_text("content", content_text(&item.content)?))
}

fn from_item(reference: OutboxRef, item: &Item) -> Result<OutboxItem, StoreError> {
    Ok(OutboxItem {
        reference,
        created_at: item.time("created_at")?,
        not_before: item.time("not_before")?,
        content: item.parsed("content", |text| serde_json::from_str(text).ok())?,
    })
}
