//! The function behind a schedule of five minutes: takes up what the stream of the outbox lost or left.
//!
//! It looks through the outbox's partitions from the oldest hour that may hold something to the present one, and hands what
//! is due to `outbox`, ten items at a time. Then it stores the oldest hour that still holds something. Items that were given
//! up hold nothing back.
//!
//! Success: `{hours, waiting, handed_on, oldest_seconds}`: hours looked at, items found, those that were due, and the age of
//! the oldest (of a deletion that was set for later: since it is due). An alarm watches that age.
//!
//! 16 queries an hour looked at, two hours at least: 16 RRU a run where nothing waits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::config::ConfigError;
use shared::function::Function;
use shared::outbox::{OutboxRef, SHARDS, hour_of};
use shared::runtime::Platform;
use shared::store::{Store, StoreError, Waiting};
use tokio::task::JoinSet;

/// Hours before the present one that are looked at in any case: clocks differ, and writes take their time.
const OVERLAP: u64 = 1;
/// Hours that the very first sweep looks back.
const FIRST_HOURS: u64 = 24;
/// The most items that are taken from one partition in one run.
const PARTITION_LIMIT: usize = 100;
/// The most items that one run hands on.
const RUN_LIMIT: usize = 1000;
/// Items that `outbox` is given at once, as the stream does.
const BATCH: usize = 10;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    outbox: Function,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        let outbox = platform.function(platform.environment.outbox_function()?);
        Ok(Self { store: platform.store(), outbox, clock: platform.clock.clone() })
    }
}

/// The schedule's event, of which nothing matters.
#[derive(Debug, Deserialize)]
pub struct SweepRequest {}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SweepResponse {
    hours: u64,
    waiting: usize,
    handed_on: usize,
    oldest_seconds: u64,
}

/// Answers an invocation.
pub async fn sweep(deps: Arc<Deps>, _: SweepRequest) -> Result<SweepResponse, StoreError> {
    let now = deps.clock.now();
    let present = hour_of(now);
    let settled = present.saturating_sub(OVERLAP);
    let stored = deps.store.find_oldest_outbox_hour().await?;
    let first = stored.unwrap_or_else(|| present.saturating_sub(FIRST_HOURS)).min(settled);
    let mut response = SweepResponse::default();
    let mut oldest_hour = settled;
    for hour in first..=present {
        let waiting = find_hour(&deps, hour).await?;
        response.hours += 1;
        response.waiting += waiting.len();
        if !waiting.is_empty() {
            oldest_hour = oldest_hour.min(hour);
        }
        let due: Vec<&Waiting> = waiting.iter().filter(|waiting| waiting.is_due).collect();
        // A deletion that was set for later is not old; it lies in the hour when it is due.
        let ages = waiting.iter().map(|waiting| now.seconds_since(waiting.created_at).min(now.unix() - hour * 3600));
        response.oldest_seconds = ages.max().unwrap_or_default().max(response.oldest_seconds);
        let room = RUN_LIMIT.saturating_sub(response.handed_on);
        for batch in due[..due.len().min(room)].chunks(BATCH) {
            hand_on(&deps, batch).await;
            response.handed_on += batch.len();
        }
    }
    deps.store.set_oldest_outbox_hour(oldest_hour).await?;
    let SweepResponse { hours, waiting, handed_on, oldest_seconds } = response;
    // Where nothing waits there is no line, and so no metric that would cost all month.
    if waiting > 0 {
        tracing::info!(hours, waiting, handed_on, outbox_oldest_seconds = oldest_seconds, "outbox swept");
    }
    Ok(response)
}

/// What waits in an hour's partitions.
async fn find_hour(deps: &Arc<Deps>, hour: u64) -> Result<Vec<Waiting>, StoreError> {
    let mut partitions = JoinSet::new();
    for shard in 0..u64::from(SHARDS) {
        let deps = Arc::clone(deps);
        partitions.spawn(async move { deps.store.find_outbox((hour, shard), PARTITION_LIMIT, deps.clock.now()).await });
    }
    let mut waiting = Vec::new();
    while let Some(partition) = partitions.join_next().await {
        waiting.extend(partition.map_err(|error| StoreError::Unavailable(error.into()))??);
    }
    waiting.sort_by_key(|waiting| waiting.created_at);
    Ok(waiting)
}

/// What `outbox` is given: the form of the stream's event.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamEvent {
    records: Vec<serde_json::Value>,
}

/// Has `outbox` do these. What it does not do is found again by the next run.
async fn hand_on(deps: &Deps, batch: &[&Waiting]) {
    let records = batch.iter().map(|waiting| record(waiting.reference)).collect();
    let outcome = deps.outbox.invoke::<serde::de::IgnoredAny>(&StreamEvent { records }).await;
    if let Err(error) = outcome {
        tracing::warn!(%error, "items of the outbox were not done");
    }
}

fn record(reference: OutboxRef) -> serde_json::Value {
    let (pk, sk) = reference.to_keys();
    serde_json::json!({ "dynamodb": { "Keys": { "pk": { "S": pk }, "sk": { "S": sk } } } })
}
