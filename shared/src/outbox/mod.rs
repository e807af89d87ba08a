//! The outbox: what has to be told, written with what it tells of (DESIGN.md section 9).
//!
//! A transaction that changes something puts an [`OutboxItem`] beside the change, in every branch of a request alike, so
//! that no request waits for SES and none is told apart by what it sends. The table's stream wakes the function `outbox`,
//! which mails, publishes and deletes the item; `sweep` takes up whatever is left. Nothing is lost, and a mail comes twice
//! only after a crash between the mail and the item's end.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{Event, EventType, PublishError, Publisher};

use crate::account::{EmailAddress, Epoch, LinkAndCode, MailedProof, User, UserId, random_id};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::mail::Letter;
use crate::random;
use crate::session::Session;
use crate::store::partition_of;
use crate::telemetry::OperatorAct;
use crate::token::{Mac, SealError, Sealed, SealingKey};

/// Partitions of an hour: no partition has to take more than a share of all writes (DynamoDB takes 1,000 a second in one).
pub const SHARDS: u32 = 16;
/// Seconds for which whoever took an item up has it for itself.
pub const LEASE: u64 = 60;
/// Seconds after which what still fails is given up: marked dead, and rung for. A deletion never is.
pub const DEAD_AFTER: u64 = 24 * 60 * 60;
/// The longest that anybody opens what an item seals, in seconds: keys stay as long.
pub const MAX_DELAY: u64 = DEAD_AFTER + MAX_PAUSE;
/// Seconds for which a dead item stays, for whoever looks into it.
pub const DEAD_KEPT: u64 = 30 * 24 * 60 * 60;
/// Seconds after a deletion at which it looks once more for what a request in flight has written meanwhile.
pub const SECOND_PASS: u64 = 60;
/// The longest pause between two attempts, in seconds.
const MAX_PAUSE: u64 = 60 * 60;

random_id! {
    /// Names an item of the outbox, and the event that it publishes: who gets an event twice knows it by this.
    OutboxId
}

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutboxRef {
    /// Hours since 1970 at which it is due.
    pub hour: u64,
    /// Which of the hour's partitions, below [`SHARDS`].
    pub shard: u64,
    /// Which item.
    pub id: OutboxId,
}

impl OutboxRef {
    /// Reads the keys of an item; `None` for those of anything else.
    pub fn parse(pk: &str, sk: &str) -> Option<Self> {
        let (hour, shard) = pk.strip_prefix("OUTBOX#")?.split_once('#')?;
        let reference = Self { hour: hour.parse().ok()?, shard: shard.parse().ok()?, id: OutboxId::parse(sk)? };
        // Numbers can be written in other ways (`+7`, `07`), which are no item's.
        (partition(reference.hour, reference.shard) == pk).then_some(reference)
    }

    /// The item's keys, `pk` and `sk`.
    pub fn to_keys(self) -> (String, String) {
        (partition(self.hour, self.shard), self.id.to_string())
    }
}

/// A partition of the outbox.
pub(crate) fn partition(hour: u64, shard: u64) -> String {
    format!("OUTBOX#{hour}#{shard}")
}

/// What is to be done once a transaction holds.
#[derive(Clone, Debug)]
pub struct OutboxItem {
    /// Where it lies.
    pub reference: OutboxRef,
    /// When it was written.
    pub created_at: Timestamp,
    /// Not to be done before.
    pub not_before: Timestamp,
    /// What is to be done.
    pub content: Content,
}

/// What is to be done; nothing at all where a branch of a request has nothing to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What remains of a deleted account is to be deleted, before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// What an operator did is to be logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<OperatorAct>,
    /// A mail is to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<QueuedMail>,
    /// An event is to be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

/// A deleted account, of which all is to go that lies under its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// The account.
    pub user_id: UserId,
    /// The epoch of an account that waits to be deleted until its undos have lapsed; `None` once it is gone. By it an account
    /// that was taken back, and perhaps deleted again, is told from one that still waits for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Epoch>,
    /// Whether this is the second pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub second_pass: bool,
}

/// A mail that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMail {
    /// To whom.
    pub to: EmailAddress,
    /// In which language.
    pub locale: Locale,
    /// What it tells.
    #[serde(flatten)]
    pub letter: Letter,
    /// When what it tells of happened, in seconds since 1970.
    pub at: Timestamp,
    /// From which device, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What it lets its reader prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<QueuedProof>,
}

/// The secrets of a mail, and what they belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedProof {
    /// The partition of what is proven. It has the attribute `token_mac` while this is its newest proof.
    pub item: String,
    /// The MAC of the token, by which a proof is known to be current.
    pub token_mac: String,
    /// When the code ends.
    pub code_expires_at: Timestamp,
    /// The API's URL, to which the link leads.
    pub api_url: String,
    /// [`MailedSecrets`], sealed.
    sealed: String,
}

/// What a mail carries that lets its reader prove something.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailedSecrets {
    /// The token of the link.
    pub token: String,
    /// The code, where one may still be guessed.
    pub code: Option<String>,
}

impl std::fmt::Debug for MailedSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MailedSecrets(hidden)")
    }
}

impl OutboxItem {
    /// An item that does this, as soon as it is written.
    pub fn new(content: Content, now: Timestamp) -> Self {
        let shard = u64::from(random::below(SHARDS));
        let reference = OutboxRef { hour: hour_of(now), shard, id: OutboxId::random() };
        Self { reference, created_at: now, not_before: now, content }
    }

    /// An item that does nothing, for branches of a request that have nothing to tell.
    pub fn nothing(now: Timestamp) -> Self {
        Self::new(Content::default(), now)
    }

    /// An item that sends a mail.
    pub fn mail(mail: QueuedMail, now: Timestamp) -> Self {
        Self::new(Content { mail: Some(mail), ..Content::default() }, now)
    }

    /// An item that publishes an event.
    pub fn event(event_type: EventType, user_id: UserId, now: Timestamp) -> Self {
        Self::new(Content::default(), now).with_event(event_type, user_id)
    }

    /// An item that logs what an operator did. It does nothing else, so that nothing else can have it logged again.
    pub fn act(act: OperatorAct, now: Timestamp) -> Self {
        Self::new(Content { act: Some(act), ..Content::default() }, now)
    }

    /// The notice to a user that a session was ended because a credential was used twice, and its event. The device is the
    /// one that the session began on.
    pub fn session_reused(user: &User, session: &Session, now: Timestamp) -> Self {
        let letter = Letter::SessionReused { username: user.username.as_str().to_owned() };
        let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now).from_device(&session.device);
        Self::mail(mail, now).with_event(EventType::SessionReused, user.id)
    }

    /// The same, which publishes an event as well.
    #[must_use]
    pub fn with_event(mut self, event_type: EventType, user_id: UserId) -> Self {
        self.content.event = Some(Event { event_type, user_id, at: self.created_at });
        self
    }

    /// The same, which deletes what remains of an account first.
    #[must_use]
    pub fn with_deletion(mut self, user_id: UserId) -> Self {
        self.content.deletion = Some(Deletion { user_id, waiting: None, second_pass: false });
        self
    }

    /// The same, which deletes an account that waits in this epoch until its undos have lapsed, and not before `at`.
    #[must_use]
    pub fn with_waiting_deletion(mut self, user_id: UserId, epoch: Epoch, at: Timestamp) -> Self {
        self.content.deletion = Some(Deletion { user_id, waiting: Some(epoch), second_pass: false });
        self.not_before(at)
    }

    /// The same, to be done later: it lies in the hour when it is due.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.reference.hour = hour_of(at);
        self.not_before = at;
        self
    }

    /// Whether what still fails now is given up.
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.content.deletion.is_none() && now.seconds_since(self.created_at) >= DEAD_AFTER
    }
}

impl QueuedMail {
    /// A mail of what happens now.
    pub fn new(to: EmailAddress, locale: Locale, letter: Letter, now: Timestamp) -> Self {
        Self { to, locale, letter, at: now, device: None, proof: None }
    }

    /// The same, which names the device by its `User-Agent`.
    #[must_use]
    pub fn from_device(mut self, user_agent: &str) -> Self {
        self.device = Some(crate::device::words(user_agent));
        self
    }

    /// The same with secrets, which are sealed until they are mailed. `item` is the partition of what they prove.
    pub fn with_secrets(
        mut self,
        secrets: &MailedSecrets,
        key: &SealingKey,
        item: String,
        token_mac: Mac,
        code_expires_at: Timestamp,
        api_url: &str,
    ) -> Result<Self, SealError> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(secrets).map_err(|_| SealError)?);
        let sealed = key.seal(item.as_bytes(), &plain)?.to_text();
        let (token_mac, api_url) = (token_mac.to_text(), api_url.to_owned());
        self.proof = Some(QueuedProof { item, token_mac, code_expires_at, api_url, sealed });
        Ok(self)
    }
}

impl QueuedMail {
    /// The same with what lets its reader prove something. Without guesses left a code would only disappoint.
    pub fn with_proof(
        self,
        proof: &MailedProof,
        mailed: &LinkAndCode,
        key: &SealingKey,
        api_url: &str,
    ) -> Result<Self, SealError> {
        let code = (proof.code_attempts > 0).then(|| mailed.code.as_str().to_owned());
        let secrets = MailedSecrets { token: mailed.token.expose(), code };
        self.with_secrets(&secrets, key, partition_of(proof), proof.token_mac, proof.code_expires_at, api_url)
    }
}

impl QueuedProof {
    /// What is sealed; `None` for what cannot be read.
    pub fn sealed(&self) -> Option<Sealed> {
        Sealed::parse(&self.sealed)
    }

    /// Opens it. A code that has ended meanwhile is left out, as it would only disappoint.
    pub fn open(&self, key: &SealingKey, now: Timestamp) -> Option<MailedSecrets> {
        let plain = key.open(self.item.as_bytes(), &self.sealed()?)?;
        let secrets: MailedSecrets = serde_json::from_slice(&plain).ok()?;
        Some(MailedSecrets { code: secrets.code.filter(|_| now < self.code_expires_at), ..secrets })
    }
}

/// The hour that a time is in, counted from 1970.
pub const fn hour_of(time: Timestamp) -> u64 {
    time.unix() / 3600
}

/// Seconds to wait after so many failed attempts: 5 minutes, doubled with each, an hour at most.
pub fn pause_after(attempts: u32) -> u64 {
    let doublings = attempts.saturating_sub(1).min(4);
    (300 << doublings).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(now: Timestamp) -> QueuedMail {
        let to = EmailAddress::parse("ann@example.com").expect("an address");
        let letter = Letter::Verification { username: "ann".to_owned() };
        QueuedMail::new(to, Locale::Ko, letter, now).from_device("ExampleApp/1.0 (iPhone; iOS 20.1)")
    }

    #[test]
    fn content_is_read_back_and_holds_no_secret() {
        let now = Timestamp::from_unix(1_000_000);
        let secrets = MailedSecrets { token: "TOKEN".to_owned(), code: Some("12345678".to_owned()) };
        let (key, mac) = (SealingKey::random(), Mac::from_bytes([7; 32]));
        let code_end = now.plus(600);
        let mail = mail(now)
            .with_secrets(&secrets, &key, "SIGNUP#x".to_owned(), mac, code_end, "https://api.example.test")
            .expect("sealed");
        let item = OutboxItem::mail(mail, now).with_event(EventType::UserCreated, UserId::from_bytes([7; 16]));
        let text = serde_json::to_string(&item.content).expect("JSON");
        assert!(!text.contains("TOKEN") && !text.contains("12345678"), "{text}");
        let read: Content = serde_json::from_str(&text).expect("our own");
        assert_eq!(read, item.content);
        let proof = read.mail.and_then(|mail| mail.proof).expect("a proof");
        assert_eq!(proof.open(&key, now), Some(secrets.clone()));
        assert_eq!(proof.open(&key, code_end), Some(MailedSecrets { code: None, ..secrets }));
        assert_eq!(proof.open(&SealingKey::random(), now), None);
        let moved = QueuedProof { item: "SIGNUP#y".to_owned(), ..proof };
        assert_eq!(moved.open(&key, now), None, "secrets of one item in another");
    }

    #[test]
    fn an_item_s_keys_have_one_spelling() {
        let reference = OutboxItem::nothing(Timestamp::from_unix(1_000_000)).reference;
        let (pk, sk) = reference.to_keys();
        assert_eq!(OutboxRef::parse(&pk, &sk), Some(reference));
        for other in
            [pk.replace("OUTBOX#", "OUTBOX#+"), pk.replace("OUTBOX#", "OUTBOX#0"), format!("{pk}#"), pk[1..].to_owned()]
        {
            assert_eq!(OutboxRef::parse(&other, &sk), None, "{other}");
        }
    }

    #[test]
    fn what_is_due_later_lies_in_the_hour_when_it_is() {
        let now = Timestamp::from_unix(7200);
        let item = OutboxItem::nothing(now);
        assert_eq!((item.reference.hour, item.not_before), (2, now));
        let later = item.not_before(now.plus(3600));
        assert_eq!((later.reference.hour, later.not_before, later.created_at), (3, now.plus(3600), now));
    }

    #[test]
    fn pauses_grow_to_an_hour() {
        assert_eq!([1, 2, 3, 4, 5, 6, 1000].map(pause_after), [300, 600, 1200, 2400, 3600, 3600, 3600]);
    }

    #[test]
    fn a_mail_is_given_up_after_a_day_and_a_deletion_never() {
        let now = Timestamp::from_unix(1_000_000);
        let item = OutboxItem::mail(mail(now), now);
        assert!(!item.is_given_up(now.plus(DEAD_AFTER - 1)) && item.is_given_up(now.plus(DEAD_AFTER)));
        let deletion = item.with_deletion(UserId::from_bytes([7; 16]));
        assert!(!deletion.is_given_up(now.plus(100 * DEAD_AFTER)));
    }
}
