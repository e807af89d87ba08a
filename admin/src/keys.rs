//! Keys: which there are, new ones, and the end of one that was stolen.
//!
//! The function `rotate-keys` alone writes keys; an operator asks it, as everyone does.

use serde::Deserialize;
use shared::clock::Timestamp;
use shared::outbox::OutboxItem;
use shared::telemetry::{Act, OperatorAct};
use shared::token::keys::{RELOAD_AFTER, SecretRing, Slotted};
use shared::token::rotation::{KeyName, RotateRequest};
use shared::token::{KeyUse, SigningAlgorithm};

use crate::{AdminError, Deployment};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Access tokens.
    Signing(SigningAlgorithm),
    /// One of the rings of secrets.
    Secret(SecretRing),
}

impl KeyPurpose {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signing(_) => "signing",
            Self::Secret(ring) => ring.as_str(),
        }
    }

    /// What ends with the key, before somebody confirms that it is to end.
    pub const fn cost(self) -> &'static str {
        match self {
            Self::Signing(_) => {
                "every access token that it signed is void: browser sessions end and sign in again; apps and remembered \
                 browsers refresh and go on"
            }
            Self::Secret(SecretRing::Mac) => {
                "every refresh token, mailed link and code, and pending sign-up that it made is void: apps and remembered \
                 browsers sign in again, and undos of that time are lost"
            }
            Self::Secret(SecretRing::Device) => "devices that it made known are unknown again",
            Self::Secret(SecretRing::Limit) => "what is counted of guesses, mails and sources begins anew",
            Self::Secret(SecretRing::Outbox) => "links and codes of mails that still wait can never be sent",
        }
    }
}

/// What a key does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is published, and signs later.
    Published,
    /// New tokens and secrets are made with it.
    InUse,
    /// It only verifies what it made before.
    Former,
}

impl KeyState {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::InUse => "in_use",
            Self::Former => "former",
        }
    }
}

/// A key, as operators see it: no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// What it is called.
    pub name: KeyName,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// What it does.
    pub state: KeyState,
    /// From when it signs.
    pub active_from: Timestamp,
}

/// What `rotate-keys` did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Rotation {
    /// Keys that were made.
    pub created: usize,
    /// Keys that were deleted.
    pub deleted: usize,
}

/// Seconds after which no instance knows a key any more that was ended.
pub const HOLDS_AFTER: u64 = RELOAD_AFTER;

impl Deployment {
    /// All keys, without their secrets.
    pub async fn list_keys(&self) -> Result<Vec<KeyView>, AdminError> {
        let now = self.clock.now();
        let mut keys = Vec::new();
        let public = self.store.find_rings(&[KeyUse::Public]).await?.public;
        let times = self.store.find_key_times().await?;
        let signing: Vec<Slotted<(String, SigningAlgorithm)>> = public
            .into_iter()
            .filter_map(|slotted| {
                let algorithm = SigningAlgorithm::parse(&slotted.key.alg)?;
                let Slotted { slot, active_from, key } = slotted;
                Some(Slotted { slot, active_from, key: (key.kid, algorithm) })
            })
            .collect();
        let of_signing = states(&signing, |(_, algorithm)| *algorithm, now);
        for (Slotted { active_from, key: (kid, algorithm), .. }, state) in signing.into_iter().zip(of_signing) {
            let (name, purpose) = (KeyName::Signing(kid), KeyPurpose::Signing(algorithm));
            keys.push(KeyView { name, purpose, state, active_from });
        }
        for ring in SecretRing::ALL {
            let secrets = times.secrets(ring);
            for (slotted, state) in secrets.iter().zip(states(secrets, |()| (), now)) {
                let (name, purpose) = (KeyName::Secret(ring, slotted.slot), KeyPurpose::Secret(ring));
                keys.push(KeyView { name, purpose, state, active_from: slotted.active_from });
            }
        }
        Ok(keys)
    }

    /// The key of a name.
    pub async fn find_key(&self, name: &KeyName) -> Result<KeyView, AdminError> {
        let key = self.list_keys().await?.into_iter().find(|key| key.name == *name);
        key.ok_or_else(|| AdminError::NotFound(format!("there is no key {name}; see keys list")))
    }

    /// Has new keys follow, which sign after three hours, whatever the age of those that there are.
    pub async fn rotate_keys(&self) -> Result<Rotation, AdminError> {
        self.ask_for_keys(Act::KeysRotate, RotateRequest { at_once: true, ..RotateRequest::default() }).await
    }

    /// Ends a key at once. It is void everywhere after [`HOLDS_AFTER`] seconds, and for verifiers of one's own once their
    /// cache of the key set has ended.
    pub async fn revoke_key(&self, name: &KeyName) -> Result<Rotation, AdminError> {
        self.find_key(name).await?;
        let request = RotateRequest { revoke: Some(name.clone()), ..RotateRequest::default() };
        let rotation = self.ask_for_keys(Act::KeysRevoke, request).await?;
        if rotation.deleted == 0 {
            return Err(AdminError::Failed(format!("the key {name} was not ended; is rotate-keys an older version?")));
        }
        Ok(rotation)
    }

    /// The event is written first: whoever asks and is interrupted has asked.
    async fn ask_for_keys(&self, act: Act, request: RotateRequest) -> Result<Rotation, AdminError> {
        let unknown =
            || AdminError::Usage("the function rotate-keys is known from --stack or --local alone".to_owned());
        let rotate_keys = self.rotate_keys.as_ref().ok_or_else(unknown)?;
        let key = request.revoke.as_ref().map(ToString::to_string);
        let act = OperatorAct { operator: self.operator.clone(), act, user_id: None, key };
        self.store.put_outbox(&OutboxItem::act(act, self.clock.now())).await?;
        Ok(rotate_keys.invoke(&request).await?)
    }
}

/// What the keys of a ring do, in their order. Of each kind, the newest active one signs.
fn states<K, T: PartialEq>(keys: &[Slotted<K>], kind: impl Fn(&K) -> T, now: Timestamp) -> Vec<KeyState> {
    let follows = |key: &Slotted<K>, other: &Slotted<K>| {
        other.slot > key.slot && other.active_from <= now && kind(&other.key) == kind(&key.key)
    };
    let state = |key: &Slotted<K>| {
        if key.active_from > now {
            KeyState::Published
        } else if keys.iter().any(|other| follows(key, other)) {
            KeyState::Former
        } else {
            KeyState::InUse
        }
    };
    keys.iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::KeyState::{Former, InUse, Published};
    use super::*;

    #[test]
    fn the_newest_active_key_of_a_kind_is_in_use() {
        let key = |slot, active_from, kind| Slotted { slot, active_from: Timestamp::from_unix(active_from), key: kind };
        let keys = [key(1, 0, 'a'), key(2, 5, 'b'), key(3, 10, 'a'), key(4, 20, 'a')];
        let at = |now| states(&keys, |kind| *kind, Timestamp::from_unix(now));
        assert_eq!(at(9), [InUse, InUse, Published, Published]);
        assert_eq!(at(10), [Former, InUse, InUse, Published]);
        assert_eq!(at(20), [Former, InUse, Former, InUse]);
    }
}
