//! The table of keys: one partition for each kind, one slot for each key.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use zeroize::Zeroizing;

use super::item::{Item, Key};
use super::{Store, StoreError, string};
use crate::base64url;
use crate::clock::Timestamp;
use crate::token::keys::{Jwk, PrivateKey, Slotted};
use crate::token::{MacKey, MacKeyId, SigningAlgorithm};

const MAC: &str = "MAC";
const PRIVATE: &str = "SIGNING#PRIVATE";
const PUBLIC: &str = "SIGNING#PUBLIC";
/// What tells when a key signs, and nothing of the key itself.
const TIMES: [&str; 4] = ["pk", "sk", "active_from", "alg"];
const SLOT_IS_FREE: &str = "attribute_not_exists(pk)";

/// Where a key lies and when it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// The number of its slot.
    pub slot: u32,
    /// From when it signs.
    pub active_from: Timestamp,
    /// How it signs; a MAC key has no algorithm to choose.
    pub algorithm: Option<SigningAlgorithm>,
}

impl Store {
    /// When each MAC key is for use.
    pub async fn find_mac_key_slots(&self) -> Result<Vec<KeySlot>, StoreError> {
        self.find_slots(MAC).await
    }

    /// When each signing key is for use.
    pub async fn find_signing_key_slots(&self) -> Result<Vec<KeySlot>, StoreError> {
        self.find_slots(PUBLIC).await
    }

    /// All MAC keys.
    pub async fn find_mac_keys(&self) -> Result<Vec<Slotted<MacKey>>, StoreError> {
        self.find_keys(MAC, &[], |item| {
            let id = item.parsed("key_id", base64url::decode_array).map(MacKeyId::from_bytes)?;
            let secret = Zeroizing::new(item.parsed("secret", base64url::decode_array)?);
            Ok(MacKey::from_secret(id, secret))
        })
        .await
    }

    /// All private halves of signing keys.
    pub async fn find_signing_keys(&self) -> Result<Vec<Slotted<PrivateKey>>, StoreError> {
        self.find_keys(PRIVATE, &[], |item| {
            Ok(PrivateKey {
                kid: item.text("kid")?.to_owned(),
                algorithm: item.parsed("alg", SigningAlgorithm::parse)?,
                pkcs8: Zeroizing::new(item.parsed("pkcs8", base64url::decode)?),
            })
        })
        .await
    }

    /// All public halves of signing keys.
    pub async fn find_public_keys(&self) -> Result<Vec<Slotted<Jwk>>, StoreError> {
        self.find_keys(PUBLIC, &[], |item| item.parsed("jwk", |text| serde_json::from_str(text).ok())).await
    }

    /// Puts a MAC key into its slot, unless somebody else did so first: then nothing happens, and that one counts.
    pub async fn create_mac_key(&self, key: &Slotted<MacKey>) -> Result<(), StoreError> {
        let item = slot(MAC, key)
            .with_text("key_id", base64url::encode(key.key.id().as_bytes()))
            .with_text("secret", base64url::encode(key.key.secret()));
        let put = self
            .client
            .put_item()
            .table_name(&self.keys_table)
            .set_item(Some(item.into_attributes()))
            .condition_expression(SLOT_IS_FREE);
        match put.send().await {
            Err(error) if error.code() != Some("ConditionalCheckFailedException") => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Puts both halves of a signing key into their slots, unless somebody else did so first.
    pub async fn create_signing_key(&self, private: &Slotted<PrivateKey>, public: &Jwk) -> Result<(), StoreError> {
        let jwk = serde_json::to_string(public).map_err(|error| StoreError::Unavailable(error.into()))?;
        let halves = [
            slot(PUBLIC, private).with_text("kid", &public.kid).with_text("alg", &public.alg).with_text("jwk", jwk),
            slot(PRIVATE, private)
                .with_text("kid", &private.key.kid)
                .with_text("alg", private.key.algorithm.as_str())
                .with_text("pkcs8", base64url::encode(&*private.key.pkcs8)),
        ];
        let mut transaction = self.client.transact_write_items();
        for half in halves {
            let put = Put::builder()
                .table_name(&self.keys_table)
                .set_item(Some(half.into_attributes()))
                .condition_expression(SLOT_IS_FREE)
                .build()?;
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        match transaction.send().await {
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(())
                }
                _ => Err(error.into()),
            },
            Ok(_) => Ok(()),
        }
    }

    /// Deletes a MAC key, if it is there.
    pub async fn delete_mac_key(&self, slot: u32) -> Result<(), StoreError> {
        let key = Key::ring(MAC, slot).to_attributes();
        self.client.delete_item().table_name(&self.keys_table).set_key(Some(key)).send().await?;
        Ok(())
    }

    /// Deletes both halves of a signing key at once, if they are there.
    pub async fn delete_signing_key(&self, slot: u32) -> Result<(), StoreError> {
        let mut transaction = self.client.transact_write_items();
        for half in [PUBLIC, PRIVATE] {
            let delete = Delete::builder()
                .table_name(&self.keys_table)
                .set_key(Some(Key::ring(half, slot).to_attributes()))
                .build()?;
            transaction = transaction.transact_items(TransactWriteItem::builder().delete(delete).build());
        }
        transaction.send().await?;
        Ok(())
    }

    async fn find_slots(&self, partition: &str) -> Result<Vec<KeySlot>, StoreError> {
        let read = |item: &Item| match item.find_text("alg") {
            Some(_) => item.parsed("alg", SigningAlgorithm::parse).map(Some),
            None => Ok(None),
        };
        let slots = self.find_keys(partition, &TIMES, read).await?.into_iter();
        Ok(slots.map(|Slotted { slot, active_from, key }| KeySlot { slot, active_from, algorithm: key }).collect())
    }

    /// All keys of a partition, or some attributes of them.
    async fn find_keys<K>(
        &self,
        partition: &str,
        attributes: &[&str],
        read: impl Fn(&Item) -> Result<K, StoreError>,
    ) -> Result<Vec<Slotted<K>>, StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.keys_table)
            .consistent_read(true)
            .key_condition_expression("pk = :partition")
            .expression_attribute_values(":partition", string(partition));
        if !attributes.is_empty() {
            query = query.projection_expression(attributes.join(","));
        }
        let answer = query.send().await?;
        let items = answer.items.unwrap_or_default().into_iter().map(Item::from_attributes);
        items
            .map(|item| {
                let slot = item.text("sk")?.parse().map_err(|_| StoreError::Corrupt { attribute: "sk" })?;
                Ok(Slotted { slot, active_from: item.time("active_from")?, key: read(&item)? })
            })
            .collect()
    }
}

fn slot<K>(partition: &str, key: &Slotted<K>) -> Item {
    Item::new(&Key::ring(partition, key.slot)).with_time("active_from", key.active_from)
}
