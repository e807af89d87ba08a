//! When keys are made and when they are deleted.
//!
//! A new key is published [`PUBLISHED_AHEAD`] before it signs, so that every verifier knows it by then. Its predecessor
//! stays until nothing that it made can be in use any more, and then goes with its private half. `plan` decides, from
//! the times that lie beside the keys alone; it never sees a secret.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::algorithm::SigningAlgorithm;
use super::keys::{CLOCK_SKEW, KeyError, KeyRing, KeyUse, SecretRing, Slotted};
use crate::account::UNDO_LIFETIME;
use crate::clock::Timestamp;
use crate::outbox::MAX_DELAY;
use crate::session::Lifetimes;

/// Seconds between a key's publication and its first signature. Our own verifiers look every five minutes, and so do
/// clients of the key set; API Gateway's JWT authorizer keeps a key set for two hours.
pub const PUBLISHED_AHEAD: u64 = 3 * 3600;
/// Seconds that keys of device tokens and of limits stay after others have followed: a year.
const DEVICE_KEYS_KEPT: u64 = 365 * 86_400;
/// Seconds that a key stays beyond the life of what it made, for a deployment that shortened that life meanwhile.
const KEPT_LONGER: u64 = 86_400;

/// What decides when keys are due and when they are spent.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Seconds after which new keys take over.
    pub rotation: u64,
    /// How long what keys make may live.
    pub lifetimes: Lifetimes,
    /// How access tokens are signed.
    pub signing_algorithm: SigningAlgorithm,
}

/// What the function that makes keys is asked for; its schedule's own event asks for nothing special.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RotateRequest {
    /// New keys now, however old the newest is.
    #[serde(default)]
    pub at_once: bool,
    /// Only keys where there is none to sign with: what a function asks for that is the first to need one.
    #[serde(default)]
    pub fill: bool,
    /// The end of one key, at once: what an operator asks for whose key was stolen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<KeyName>,
}

/// Names a key: a signing key by its `kid`, as in tokens' headers; any other, which nobody ever sees, by its ring and slot
/// (`mac/2`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum KeyName {
    /// The `kid` of a signing key.
    Signing(String),
    /// A secret's ring and slot.
    Secret(SecretRing, u32),
}

/// A text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is named by the kid of a signing key, or as mac/2, device/2 or outbox/2")]
pub struct InvalidKeyName;

impl TryFrom<String> for KeyName {
    type Error = InvalidKeyName;

    fn try_from(text: String) -> Result<Self, InvalidKeyName> {
        match text.split_once('/') {
            None if text.is_empty() => Err(InvalidKeyName),
            None => Ok(Self::Signing(text)),
            Some((ring, slot)) => {
                let ring = SecretRing::ALL.into_iter().find(|one| one.as_str() == ring).ok_or(InvalidKeyName)?;
                Ok(Self::Secret(ring, slot.parse().map_err(|_| InvalidKeyName)?))
            }
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing(kid) => formatter.write_str(kid),
            Self::Secret(ring, slot) => write!(formatter, "{}/{slot}", ring.as_str()),
        }
    }
}

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// How many keys were made.
    pub created: usize,
    /// How many were deleted.
    pub deleted: usize,
}

/// What to do with the keys of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    /// The slot of a new key, and from when it signs.
    create: Option<(u32, Timestamp)>,
    /// The slots of those to delete.
    delete: Vec<u32>,
}

/// Decides for keys of one kind. `of_use` tells those that can sign at all: keys of another algorithm than the
/// configured one only verify. `kept` is how many seconds what they made may live.
///
/// The very first key is not made here, but when somebody first needs one ([`KeyRing::fill`]).
fn plan<K>(
    keys: &[Slotted<K>],
    of_use: impl Fn(&K) -> bool,
    rotation: u64,
    kept: u64,
    at_once: bool,
    now: Timestamp,
) -> Plan {
    let signers: Vec<&Slotted<K>> = keys.iter().filter(|slotted| of_use(&slotted.key)).collect();
    let Some(newest) = signers.iter().max_by_key(|key| key.slot) else { return Plan::default() };
    let is_due = at_once || now.seconds_since(newest.active_from) >= rotation;
    let create = (newest.active_from <= now && is_due).then(|| {
        let last = keys.iter().map(|key| key.slot).max().unwrap_or(newest.slot);
        (last.saturating_add(1), now.plus(PUBLISHED_AHEAD))
    });
    // A key has had its day once a later one signs.
    let superseded_at =
        |key: &Slotted<K>| signers.iter().filter(|other| other.slot > key.slot).map(|other| other.active_from).min();
    let is_spent = |key: &&Slotted<K>| {
        superseded_at(key).is_some_and(|at| now >= at && now.seconds_since(at) >= kept.saturating_add(KEPT_LONGER))
    };
    Plan { create, delete: keys.iter().filter(is_spent).map(|key| key.slot).collect() }
}

/// The slot of a key to make at once should there be none to sign with, and the slots in which such keys would lie.
fn to_fill<K>(keys: &[Slotted<K>], of_use: impl Fn(&K) -> bool, now: Timestamp) -> (u32, Vec<u32>) {
    let next = keys.iter().map(|key| key.slot).max().map_or(1, |slot| slot.saturating_add(1));
    let is_active = |key: &&Slotted<K>| key.active_from <= now.plus(CLOCK_SKEW) && of_use(&key.key);
    let active = keys.iter().filter(is_active).map(|key| key.slot);
    (next, active.collect())
}

impl KeyRing {
    /// Makes keys where there is none to sign with, and nothing else. Run by several at the same moment, one key comes to
    /// be: a slot is filled once. Private halves that were lost count as none.
    pub async fn fill(&self, schedule: &Schedule, now: Timestamp) -> Result<Rotated, KeyError> {
        let mut rotated = Rotated::default();
        let times = self.store.find_key_times().await?;
        for ring in SecretRing::ALL {
            let (slot, active) = to_fill(times.secrets(ring), |()| true, now);
            rotated.created += usize::from(self.create_secret(ring, slot, now, &active).await?);
        }
        let algorithm = schedule.signing_algorithm;
        let (slot, active) = to_fill(&times.signing, |of| *of == algorithm, now);
        rotated.created += usize::from(self.create_signing_key(slot, now, algorithm, &active).await?);
        Ok(rotated)
    }

    /// Makes new keys where the newest is old enough, or `at_once`, and deletes those that are spent. Run twice, it does
    /// nothing more: a new key's slot is decided by what lies in the table, and only one can be put there.
    pub async fn rotate(&self, schedule: &Schedule, at_once: bool, now: Timestamp) -> Result<Rotated, KeyError> {
        let mut rotated = Rotated::default();
        let Schedule { rotation, lifetimes, signing_algorithm } = schedule;
        let times = self.store.find_key_times().await?;

        let access = lifetimes.browser.access.max(lifetimes.app.access);
        let signs = |algorithm: &SigningAlgorithm| algorithm == signing_algorithm;
        let signing = plan(&times.signing, signs, *rotation, access, at_once, now);
        if let Some((slot, active_from)) = signing.create {
            let created = self.create_signing_key(slot, active_from, *signing_algorithm, &[]).await?;
            rotated.created += usize::from(created);
        }
        for slot in signing.delete {
            self.store.delete_signing_key(slot).await?;
            rotated.deleted += 1;
        }

        for ring in SecretRing::ALL {
            let kept = match ring {
                // A refresh token is of no use once its session has ended in any case; until then it may tell of a theft.
                SecretRing::Mac => lifetimes.app.absolute.max(UNDO_LIFETIME),
                SecretRing::Device | SecretRing::Limit => DEVICE_KEYS_KEPT,
                SecretRing::Outbox => MAX_DELAY,
            };
            let secrets = plan(times.secrets(ring), |()| true, *rotation, kept, at_once, now);
            if let Some((slot, active_from)) = secrets.create {
                rotated.created += usize::from(self.create_secret(ring, slot, active_from, &[]).await?);
            }
            for slot in secrets.delete {
                self.store.delete_secret(ring, slot).await?;
                rotated.deleted += 1;
            }
        }
        Ok(rotated)
    }

    /// Ends one key at once, both halves of a signing key, and makes another where none is left to sign with. What the key made
    /// is void as soon as nobody knows the key any more: instances look again within [`super::keys::RELOAD_AFTER`] seconds.
    /// Nothing is deleted where there is no such key. Run twice, it makes up for what the first run left.
    pub async fn revoke(&self, name: &KeyName, schedule: &Schedule, now: Timestamp) -> Result<Rotated, KeyError> {
        let deleted = match name {
            KeyName::Signing(kid) => {
                let keys = self.store.find_rings(&[KeyUse::Public]).await?.public;
                if let Some(slotted) = keys.iter().find(|slotted| slotted.key.kid == *kid) {
                    self.store.delete_signing_key(slotted.slot).await?;
                    1
                } else {
                    0
                }
            }
            KeyName::Secret(ring, slot) => {
                let times = self.store.find_key_times().await?;
                if times.secrets(*ring).iter().any(|slotted| slotted.slot == *slot) {
                    self.store.delete_secret(*ring, *slot).await?;
                    1
                } else {
                    0
                }
            }
        };
        let filled = self.fill(schedule, now).await?;
        Ok(Rotated { deleted, ..filled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const KEPT: u64 = 1800;

    fn key(slot: u32, active_from: u64, algorithm: SigningAlgorithm) -> Slotted<SigningAlgorithm> {
        Slotted { slot, active_from: Timestamp::from_unix(active_from), key: algorithm }
    }

    fn es256(slot: u32, active_from: u64) -> Slotted<SigningAlgorithm> {
        key(slot, active_from, SigningAlgorithm::Es256)
    }

    fn planned(keys: &[Slotted<SigningAlgorithm>], at_once: bool, now: u64) -> Plan {
        let signs = |algorithm: &SigningAlgorithm| *algorithm == SigningAlgorithm::Es256;
        plan(keys, signs, 30 * DAY, KEPT, at_once, Timestamp::from_unix(now))
    }

    fn create(slot: u32, active_from: u64) -> Plan {
        Plan { create: Some((slot, Timestamp::from_unix(active_from))), delete: Vec::new() }
    }

    #[test]
    fn a_key_is_followed_after_its_time_and_not_before() {
        assert_eq!(planned(&[es256(1, 0)], false, 30 * DAY - 1), Plan::default());
        assert_eq!(planned(&[es256(1, 0)], false, 30 * DAY), create(2, 30 * DAY + PUBLISHED_AHEAD));
        assert_eq!(planned(&[es256(1, 0)], true, 5), create(2, 5 + PUBLISHED_AHEAD));
        // The first one is made by whoever needs it.
        assert_eq!(planned(&[], true, 5), Plan::default());
    }

    #[test]
    fn a_key_s_name_is_read_as_it_is_written() {
        let parse = |text: &str| KeyName::try_from(text.to_owned());
        assert_eq!(parse("Xq3-_9"), Ok(KeyName::Signing("Xq3-_9".to_owned())));
        assert_eq!(parse("mac/2"), Ok(KeyName::Secret(SecretRing::Mac, 2)));
        for name in ["Xq3-_9", "mac/2", "device/0", "outbox/31"] {
            assert_eq!(parse(name).expect(name).to_string(), name);
        }
        for text in ["", "mac/", "mac/x", "signing/1", "/1"] {
            assert_eq!(parse(text), Err(InvalidKeyName), "{text}");
        }
    }

    #[test]
    fn a_ring_is_filled_behind_its_last_slot_unless_an_active_key_is_there() {
        let es256_only = |algorithm: &SigningAlgorithm| *algorithm == SigningAlgorithm::Es256;
        let to_fill = |keys: &[Slotted<SigningAlgorithm>]| to_fill(keys, es256_only, Timestamp::from_unix(5));
        assert_eq!(to_fill(&[]), (1, vec![]));
        assert_eq!(to_fill(&[es256(1, 0), es256(2, 5)]), (3, vec![1, 2]));
        assert_eq!(to_fill(&[es256(3, 5 + CLOCK_SKEW)]), (4, vec![3]));
        assert_eq!(to_fill(&[es256(3, 6 + CLOCK_SKEW)]), (4, vec![]));
        assert_eq!(to_fill(&[key(2, 0, SigningAlgorithm::Rs256)]), (3, vec![]));
    }

    #[test]
    fn one_that_is_not_active_yet_is_not_followed() {
        let keys = [es256(1, 0), es256(2, 30 * DAY + PUBLISHED_AHEAD)];
        for at_once in [false, true] {
            assert_eq!(planned(&keys, at_once, 30 * DAY + PUBLISHED_AHEAD - 1), Plan::default());
        }
    }

    #[test]
    fn a_key_stays_until_nothing_of_it_can_live() {
        let keys = [es256(1, 0), es256(2, 100)];
        let end = 100 + KEPT + KEPT_LONGER;
        assert_eq!(planned(&keys, false, end - 1), Plan::default());
        assert_eq!(planned(&keys, false, end), Plan { create: None, delete: vec![1] });
        assert_eq!(planned(&keys[1..], false, end + DAY), Plan::default());
    }

    #[test]
    fn a_key_of_another_algorithm_neither_follows_nor_is_followed() {
        let rs256 = |slot, active_from| key(slot, active_from, SigningAlgorithm::Rs256);
        // Back to ES256 after a while of RS256: what signs is slot 1, and nothing has superseded it.
        let keys = [es256(1, 0), rs256(2, 10 * DAY)];
        assert_eq!(planned(&keys, false, 20 * DAY), Plan::default());
        assert_eq!(planned(&keys, false, 30 * DAY), create(3, 30 * DAY + PUBLISHED_AHEAD));
        let keys = [es256(1, 0), rs256(2, 10 * DAY), es256(3, 31 * DAY)];
        assert_eq!(planned(&keys, false, 33 * DAY), Plan { create: None, delete: vec![1, 2] });
    }
}
