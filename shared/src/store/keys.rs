//! The table of keys: one item for each kind of key, with an attribute for each slot of its ring. So an instance reads
//! the rings that it uses in one call, and IAM tells kinds apart by their partition keys
//! (`docs/decisions/0012-rings-in-one-item.md`).

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use zeroize::Zeroizing;

use super::item::{Item, Key};
use super::{Store, StoreError};
use crate::base64url;
use crate::telemetry::SecurityEvent;
use crate::token::keys::{Jwk, KeyUse, PrivateKey, SecretRing, Slotted};
use crate::token::{MacKey, MacKeyId, SealingKey, SigningAlgorithm};

const MAC: &str = "MAC";
/// When MAC keys are for use, and nothing of the keys: for whoever rotates them. Public halves say that of signing keys.
const MAC_TIMES: &str = "MAC#TIMES";
const DEVICE: &str = "DEVICE";
const DEVICE_TIMES: &str = "DEVICE#TIMES";
const LIMIT: &str = "LIMIT";
const LIMIT_TIMES: &str = "LIMIT#TIMES";
const OUTBOX: &str = "OUTBOX";
const OUTBOX_TIMES: &str = "OUTBOX#TIMES";
const PRIVATE: &str = "SIGNING#PRIVATE";
const PUBLIC: &str = "SIGNING#PUBLIC";

/// The rings of some uses; those that were not asked for are empty.
#[derive(Debug, Default)]
pub struct Rings {
    /// All MAC keys.
    pub macs: Vec<Slotted<MacKey>>,
    /// All keys of device tokens.
    pub devices: Vec<Slotted<MacKey>>,
    /// All keys of what is counted.
    pub limits: Vec<Slotted<MacKey>>,
    /// All keys of the outbox.
    pub outbox: Vec<Slotted<SealingKey>>,
    /// All private halves of signing keys.
    pub signing: Vec<Slotted<PrivateKey>>,
    /// All public halves of signing keys.
    pub public: Vec<Slotted<Jwk>>,
}

/// When the keys of a deployment are for use.
#[derive(Debug, Default)]
pub struct KeyTimes {
    macs: Vec<Slotted<()>>,
    devices: Vec<Slotted<()>>,
    limits: Vec<Slotted<()>>,
    outbox: Vec<Slotted<()>>,
    /// Of each signing key, with its algorithm.
    pub signing: Vec<Slotted<SigningAlgorithm>>,
}

impl KeyTimes {
    /// Of each secret of a ring.
    pub fn secrets(&self, ring: SecretRing) -> &[Slotted<()>] {
        match ring {
            SecretRing::Mac => &self.macs,
            SecretRing::Device => &self.devices,
            SecretRing::Limit => &self.limits,
            SecretRing::Outbox => &self.outbox,
        }
    }
}

/// The partitions of a ring of secrets: of when they are for use, and of the secrets themselves.
const fn partitions(ring: SecretRing) -> [&'static str; 2] {
    match ring {
        SecretRing::Mac => [MAC_TIMES, MAC],
        SecretRing::Device => [DEVICE_TIMES, DEVICE],
        SecretRing::Limit => [LIMIT_TIMES, LIMIT],
        SecretRing::Outbox => [OUTBOX_TIMES, OUTBOX],
    }
}

impl Store {
    /// The rings of these uses, in one round trip.
    pub async fn find_rings(&self, uses: &[KeyUse]) -> Result<Rings, StoreError> {
        let partitions = uses.iter().map(|usage| match usage {
            KeyUse::Mac => MAC,
            KeyUse::Device => DEVICE,
            KeyUse::Limit => LIMIT,
            KeyUse::Outbox => OUTBOX,
            KeyUse::Signing => PRIVATE,
            KeyUse::Public => PUBLIC,
        });
        let mut rings = Rings::default();
        for item in self.find_ring_items(partitions).await? {
            match item.text("pk")? {
                MAC => rings.macs = slots(item, read_mac_key),
                DEVICE => rings.devices = slots(item, read_mac_key),
                LIMIT => rings.limits = slots(item, read_mac_key),
                OUTBOX => {
                    rings.outbox =
                        slots(item, |item| read_secret(item).map(|(id, secret)| SealingKey::from_secret(id, secret)));
                }
                PRIVATE => rings.signing = slots(item, read_private_key),
                _ => rings.public = slots(item, read_jwk),
            }
        }
        Ok(rings)
    }

    /// When each key is for use, in one round trip that reads no secret.
    pub async fn find_key_times(&self) -> Result<KeyTimes, StoreError> {
        let mut times = KeyTimes::default();
        for item in
            self.find_ring_items([MAC_TIMES, DEVICE_TIMES, LIMIT_TIMES, OUTBOX_TIMES, PUBLIC].into_iter()).await?
        {
            match item.text("pk")? {
                MAC_TIMES => times.macs = slots(item, |_| Ok(())),
                DEVICE_TIMES => times.devices = slots(item, |_| Ok(())),
                LIMIT_TIMES => times.limits = slots(item, |_| Ok(())),
                OUTBOX_TIMES => times.outbox = slots(item, |_| Ok(())),
                _ => times.signing = slots(item, read_algorithm),
            }
        }
        Ok(times)
    }

    async fn find_ring_items(&self, partitions: impl Iterator<Item = &str>) -> Result<Vec<Item>, StoreError> {
        self.batch_get(&self.keys_table, partitions.map(Key::ring).collect(), &[]).await
    }

    /// Puts a secret into its slot, unless that is taken, or there is a key in one of the slots `unless`; whether it was
    /// put there.
    pub async fn create_secret(
        &self,
        ring: SecretRing,
        secret: &Slotted<(MacKeyId, Zeroizing<[u8; 32]>)>,
        unless: &[u32],
    ) -> Result<bool, StoreError> {
        let (id, bytes) = &secret.key;
        let half = active_from(secret)
            .with_text("key_id", base64url::encode(id.as_bytes()))
            .with_text("secret", base64url::encode(**bytes));
        let [times, secrets] = partitions(ring);
        self.fill_slots(secret.slot, (times, active_from(secret)), (secrets, half), unless).await
    }

    /// Puts both halves of a signing key into their slots, unless one is taken, or there is a private half in one of the
    /// slots `unless`; whether they were put there.
    pub async fn create_signing_key(
        &self,
        private: &Slotted<PrivateKey>,
        public: &Jwk,
        unless: &[u32],
    ) -> Result<bool, StoreError> {
        let jwk = serde_json::to_string(public).map_err(|error| StoreError::Unavailable(error.into()))?;
        let public =
            active_from(private).with_text("kid", &public.kid).with_text("alg", &public.alg).with_text("jwk", jwk);
        let secret = active_from(private)
            .with_text("kid", &private.key.kid)
            .with_text("alg", private.key.algorithm.as_str())
            .with_text("pkcs8", base64url::encode(&*private.key.pkcs8));
        self.fill_slots(private.slot, (PUBLIC, public), (PRIVATE, secret), unless).await
    }

    /// Deletes a secret, if it is there.
    pub async fn delete_secret(&self, ring: SecretRing, slot: u32) -> Result<(), StoreError> {
        self.empty_slots(slot, partitions(ring)).await
    }

    /// Deletes both halves of a signing key at once, if they are there.
    pub async fn delete_signing_key(&self, slot: u32) -> Result<(), StoreError> {
        self.empty_slots(slot, [PUBLIC, PRIVATE]).await
    }

    /// Fills a slot of two rings at once, unless it is taken in one of them, or one of the slots `unless` is in the ring of
    /// secrets: then nothing happens. Whoever fills it learns of the secrets no more than that.
    async fn fill_slots(
        &self,
        slot: u32,
        (ring, half): (&str, Item),
        (secrets, secret): (&str, Item),
        unless: &[u32],
    ) -> Result<bool, StoreError> {
        let fill = |partition, half: Item| {
            self.change_of_slot(partition, slot)
                .update_expression("SET #slot = :key")
                .condition_expression("attribute_not_exists(#slot)")
                .expression_attribute_values(":key", AttributeValue::M(half.into_attributes()))
        };
        let mut conditions = vec!["attribute_not_exists(#slot)".to_owned()];
        let mut fill_secret = fill(secrets, secret);
        for (index, other) in unless.iter().enumerate() {
            conditions.push(format!("attribute_not_exists(#other{index})"));
            fill_secret = fill_secret.expression_attribute_names(format!("#other{index}"), other.to_string());
        }
        let changes = [fill(ring, half), fill_secret.condition_expression(conditions.join(" AND "))];
        match self.at_once(changes)?.send().await {
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(false)
                }
                _ => Err(error.into()),
            },
            Ok(_) => Ok(true),
        }
    }

    /// Empties a slot of two rings at once.
    async fn empty_slots(&self, slot: u32, partitions: [&str; 2]) -> Result<(), StoreError> {
        let empty = |partition| self.change_of_slot(partition, slot).update_expression("REMOVE #slot");
        self.at_once(partitions.map(empty))?.send().await?;
        Ok(())
    }

    fn change_of_slot(&self, partition: &str, slot: u32) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.keys_table)
            .set_key(Some(Key::ring(partition).to_attributes()))
            .expression_attribute_names("#slot", slot.to_string())
    }

    fn at_once(&self, changes: [UpdateBuilder; 2]) -> Result<TransactWriteItemsFluentBuilder, StoreError> {
        let mut transaction = self.client.transact_write_items();
        for change in changes {
            transaction = transaction.transact_items(TransactWriteItem::builder().update(change.build()?).build());
        }
        Ok(transaction)
    }
}

fn active_from<K>(key: &Slotted<K>) -> Item {
    Item::default().with_time("active_from", key.active_from)
}

/// What lies in the slots of a ring, in their order. One that cannot be read is reported and hides none of the others.
fn slots<K>(item: Item, read: impl Fn(&Item) -> Result<K, StoreError>) -> Vec<Slotted<K>> {
    let read_slot = |name: &str, value| {
        let (Ok(slot), AttributeValue::M(half)) = (name.parse(), value) else {
            return Err(StoreError::Corrupt { attribute: "slot" });
        };
        let half = Item::from_attributes(half);
        Ok(Slotted { slot, active_from: half.time("active_from")?, key: read(&half)? })
    };
    let attributes = item.into_attributes().into_iter().filter(|(name, _)| !matches!(name.as_str(), "pk" | "sk"));
    let mut slots: Vec<Slotted<K>> = attributes
        .filter_map(|(name, value)| read_slot(&name, value).inspect_err(|_| SecurityEvent::KeyFailed.log()).ok())
        .collect();
    slots.sort_unstable_by_key(|slotted| slotted.slot);
    slots
}

fn read_mac_key(item: &Item) -> Result<MacKey, StoreError> {
    read_secret(item).map(|(id, secret)| MacKey::from_secret(id, &secret))
}

fn read_secret(item: &Item) -> Result<(MacKeyId, Zeroizing<[u8; 32]>), StoreError> {
    let id = item.parsed("key_id", base64url::decode_array).map(MacKeyId::from_bytes)?;
    Ok((id, Zeroizing::new(item.parsed("secret", base64url::decode_array)?)))
}

fn read_private_key(item: &Item) -> Result<PrivateKey, StoreError> {
    Ok(PrivateKey {
        kid: item.text("kid")?.to_owned(),
        algorithm: read_algorithm(item)?,
        pkcs8: Zeroizing::new(item.parsed("pkcs8", base64url::decode)?),
    })
}

fn read_algorithm(item: &Item) -> Result<SigningAlgorithm, StoreError> {
    item.parsed("alg", SigningAlgorithm::parse)
}

fn read_jwk(item: &Item) -> Result<Jwk, StoreError> {
    item.parsed("jwk", |text| serde_json::from_str(text).ok())
}
