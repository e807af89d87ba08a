//! The function behind the table's stream: does what waits in the outbox.
//!
//! It takes the stream's records of new items of the outbox, and `sweep`'s list of items, which has the same form. Each item
//! is taken up by a conditional write, for 60 s, so that two instances with the same record do it once. Then, in this order:
//! what an operator did is logged; what remains of a deleted account goes; the mail is sent; the event is published; the item is
//! deleted.
//!
//! - An account that waits to be deleted until its undos have lapsed is deleted now, and one that was taken back meanwhile
//!   is left alone: then the item says nothing more, also if another request has had the account deleted since.
//! - A mail whose proof is no longer current is left out, and so is one to an address that sent mail back not long ago. A
//!   code that has ended is left out of its mail.
//! - Of the mails that tell an address that it has no account so many go out in an hour (`StrangerMailRate`); what is beyond
//!   that is left out, and rings: strangers are not to make SES suspend the sender.
//! - What fails is left for `sweep`, with growing pauses. A mail or event that still fails after a day is given up: marked
//!   dead, and logged as an error, which rings. A deletion is never given up.
//! - An item that cannot be read is given up at once. No item keeps another one waiting.
//! - A mail comes twice only after a crash between the mail and the write that notes it, an event also when its answer was
//!   lost: its id is the same then.
//!
//! It always succeeds, so that the stream goes on: whatever happens to an item is in the item. Success:
//! `{done, deferred, dead, skipped}`, counts of items.
//!
//! An item costs 3 WRU (written, taken up, deleted), beside 1 RRU where it mails, and 1 where it deletes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::account::Status;
use shared::clock::{Clock, Timestamp};
use shared::config::ConfigError;
use shared::limits::{self, Limit};
use shared::mail::{Letter, Letterhead, MailError, Mailer};
use shared::outbox::{
    Content, Deletion, MailedSecrets, OutboxRef, PublishError, Publisher, QueuedMail, QueuedProof, SECOND_PASS,
    pause_after,
};
use shared::runtime::Platform;
use shared::store::{Lease, Leased, Store, StoreError, is_within};
use shared::token::{KeyError, KeyRing, KeyUse, Mac};
use thiserror::Error;
use tokio::task::JoinSet;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    mailer: Mailer,
    publisher: Publisher,
    stranger_mails: Limit,
    service_name: String,
    app_url: String,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        let environment = &platform.environment;
        Ok(Self {
            store: platform.store(),
            keys: platform.keys(&[KeyUse::Outbox]),
            mailer: platform.mailer()?,
            publisher: platform.publisher()?,
            stranger_mails: environment.limit(&limits::STRANGER_MAILS)?,
            service_name: environment.service_name()?,
            app_url: environment.app_url()?.into(),
            clock: platform.clock.clone(),
        })
    }
}

/// What DynamoDB Streams bring, as far as it matters: the keys of new items.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamEvent {
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    keys: Keys,
}

#[derive(Debug, Deserialize)]
struct Keys {
    pk: Text,
    sk: Text,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

/// What became of the items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutboxResponse {
    /// Done, and gone.
    done: usize,
    /// Left for later.
    deferred: usize,
    /// Given up.
    dead: usize,
    /// Done already, in somebody else's hands, or not due.
    skipped: usize,
}

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Deferred,
    Dead,
    Skipped,
}

/// Why an item is not done.
#[derive(Debug, Error)]
enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the secrets of a mail cannot be opened")]
    Sealed,
    #[error("the account changed while it was deleted")]
    Changed,
}

/// Answers an invocation.
pub async fn deliver(deps: Arc<Deps>, event: StreamEvent) -> Result<OutboxResponse, std::convert::Infallible> {
    let mut items = JoinSet::new();
    for record in event.records {
        let Keys { pk, sk } = record.dynamodb.keys;
        // Whatever else the stream brings is none of its business.
        let Some(reference) = OutboxRef::parse(&pk.text, &sk.text) else { continue };
        let deps = Arc::clone(&deps);
        items.spawn(async move { deliver_item(&deps, reference).await });
    }
    let mut response = OutboxResponse::default();
    while let Some(outcome) = items.join_next().await {
        match outcome {
            Ok(Outcome::Done) => response.done += 1,
            Ok(Outcome::Dead) => response.dead += 1,
            Ok(Outcome::Skipped) => response.skipped += 1,
            // A task that panicked leaves its item to the sweep, as a crash does.
            Ok(Outcome::Deferred) | Err(_) => response.deferred += 1,
        }
    }
    Ok(response)
}

async fn deliver_item(deps: &Deps, reference: OutboxRef) -> Outcome {
    let now = deps.clock.now();
    match deps.store.lease_outbox(reference, now).await {
        Ok(Lease::Taken(leased)) => settle(deps, *leased, now).await,
        Ok(Lease::NotDue) => Outcome::Skipped,
        Ok(Lease::Unreadable) => give_up(deps, reference, now).await,
        Err(error) => left(&error),
    }
}

/// Does what an item says, and ends it or leaves it for later.
async fn settle(deps: &Deps, mut leased: Leased, now: Timestamp) -> Outcome {
    let mut is_mailed = leased.is_mailed;
    let performed = perform(deps, &mut leased, &mut is_mailed, now).await;
    let (leased, item) = (&leased, &leased.item);
    let error = match performed {
        Ok(Progress::Done) => {
            let ended = match second_pass(&item.content) {
                Some(content) => deps.store.defer_outbox(leased, Some(&content), None, now.plus(SECOND_PASS)).await,
                None => deps.store.complete_outbox(leased).await,
            };
            return ended.map_or_else(|error| left(&error), |()| Outcome::Done);
        }
        Ok(Progress::Void) => {
            return deps.store.complete_outbox(leased).await.map_or_else(|error| left(&error), |()| Outcome::Done);
        }
        Ok(Progress::NotBefore(at)) => {
            let ended = deps.store.defer_outbox(leased, None, None, at).await;
            return ended.map_or_else(|error| left(&error), |()| Outcome::Deferred);
        }
        Err(error) => error,
    };
    tracing::warn!(%error, item = %item.reference.id, attempts = leased.attempts + 1, "an item of the outbox failed");
    if item.is_given_up(now) {
        return give_up(deps, item.reference, now).await;
    }
    let mailed_at = is_mailed.then_some(now);
    let not_before = now.plus(pause_after(leased.attempts + 1));
    match deps.store.defer_outbox(leased, None, mailed_at, not_before).await {
        Ok(()) => Outcome::Deferred,
        Err(error) => left(&error),
    }
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// All is done that it says.
    Done,
    /// It has nothing to say any more: the account that it was to delete was taken back, and may have been deleted by
    /// another request since.
    Void,
    /// Its time has not come.
    NotBefore(Timestamp),
}

async fn perform(
    deps: &Deps,
    leased: &mut Leased,
    is_mailed: &mut bool,
    now: Timestamp,
) -> Result<Progress, DeliveryError> {
    if let Some(act) = &leased.item.content.act {
        act.log(leased.item.reference.id);
    }
    if let Some(deletion) = leased.item.content.deletion.clone() {
        match delete_account(deps, leased, &deletion, now).await? {
            Progress::Done => deps.store.delete_sessions_of(deletion.user_id).await?,
            other => return Ok(other),
        }
    }
    let content = &leased.item.content;
    if let Some(mail) = content.mail.as_ref().filter(|_| !*is_mailed) {
        send(deps, mail, now).await?;
        *is_mailed = true;
    }
    if let Some(event) = &content.event {
        deps.publisher.publish(leased.item.reference.id, event).await?;
    }
    Ok(Progress::Done)
}

/// Deletes an account that waited until its undos had lapsed, and notes that in the item; most are gone already. One that
/// lives, or waits for another deletion, is never touched.
async fn delete_account(
    deps: &Deps,
    leased: &mut Leased,
    deletion: &Deletion,
    now: Timestamp,
) -> Result<Progress, DeliveryError> {
    let Some(user) = deps.store.find_user(deletion.user_id).await? else {
        return Ok(if deletion.waiting.is_none() { Progress::Done } else { Progress::Void });
    };
    if user.status != Status::Deleting || deletion.waiting != Some(user.epoch) {
        return Ok(Progress::Void);
    }
    if let Some(lapses_at) = user.undo_open_until(now) {
        return Ok(Progress::NotBefore(lapses_at));
    }
    let gone = Deletion { waiting: None, ..deletion.clone() };
    let content = Content { deletion: Some(gone), ..leased.item.content.clone() };
    if !deps.store.delete_waiting_account(&user, leased, &content).await? {
        return Err(DeliveryError::Changed);
    }
    leased.item.content = content;
    Ok(Progress::Done)
}

/// Sends a mail, unless it would be of no use.
async fn send(deps: &Deps, mail: &QueuedMail, now: Timestamp) -> Result<(), DeliveryError> {
    if deps.store.find_undeliverable(&mail.to, now).await? {
        return Ok(());
    }
    let secrets = match &mail.proof {
        None => None,
        Some(proof) if !deps.store.is_current_proof(&proof.item, &proof.token_mac).await? => return Ok(()),
        Some(proof) => Some((open(deps, proof, now).await?, proof.api_url.as_str())),
    };
    let secrets = secrets.as_ref().map(|(secrets, api_url)| (secrets, *api_url));
    let head = Letterhead { service: &deps.service_name, app_url: &deps.app_url };
    // All of them are one subject.
    let counter = deps.stranger_mails.of(Mac::from_bytes([0; 32]), now).filter(|_| mail.letter == Letter::NoAccount);
    if !is_within(deps.store.count(counter.as_ref(), now).await)? {
        return Ok(());
    }
    let sent = deps.mailer.send(&mail.to, mail.render(head, secrets)).await;
    if sent.is_err() {
        deps.store.give_back(counter.as_ref()).await;
    }
    Ok(sent?)
}

/// The secrets of a mail.
async fn open(deps: &Deps, proof: &QueuedProof, now: Timestamp) -> Result<MailedSecrets, DeliveryError> {
    let sealed = proof.sealed().ok_or(DeliveryError::Sealed)?;
    let key = deps.keys.outbox_key_with_id(sealed.key_id(), now).await?.ok_or(DeliveryError::Sealed)?;
    proof.open(&key, now).ok_or(DeliveryError::Sealed)
}

/// What is left to do for a deleted account after the first pass.
fn second_pass(content: &Content) -> Option<Content> {
    let deletion = content.deletion.clone().filter(|deletion| !deletion.second_pass)?;
    Some(Content { deletion: Some(Deletion { second_pass: true, ..deletion }), ..Content::default() })
}

async fn give_up(deps: &Deps, reference: OutboxRef, now: Timestamp) -> Outcome {
    tracing::error!(outbox_dead = true, item = %reference.id, "an item of the outbox was given up");
    deps.store.give_up_outbox(reference, now).await.map_or_else(|error| left(&error), |()| Outcome::Dead)
}

/// The database failed: the item is left as it is, and taken up again when its lease is over.
fn left(error: &StoreError) -> Outcome {
    tracing::warn!(%error, "an item of the outbox was left");
    Outcome::Deferred
}
