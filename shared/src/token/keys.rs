//! The key ring: MAC keys and signing keys, their public halves apart.
//!
//! Keys lie in their own table, in numbered slots. The function `rotate-keys` alone writes there. Whoever finds no key to
//! sign with has it make the first; a conditional put into a slot decides a race. Each instance keeps what it loaded and looks again after
//! [`RELOAD_AFTER`], or at once (but not twice a minute) when a credential names a key that it does not know. The
//! newest key that is active signs; older ones verify for as long as they lie there ([`super::rotation`]).
//!
//! Verifiers need the public halves alone, which have a partition of their own.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPublicKeyUncompressedBin, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::algorithm::SigningAlgorithm;
use super::mac::{MacKey, MacKeyId};
use super::seal::SealingKey;
use crate::clock::Timestamp;
use crate::function::{Function, InvokeError};
use crate::store::{Store, StoreError};
use crate::telemetry::{Credential, SecurityEvent};
use crate::token::rotation::RotateRequest;
use crate::{base64url, random};

/// Seconds after which an instance looks for new and removed keys.
pub const RELOAD_AFTER: u64 = 300;
/// Seconds between two looks for a key that this instance does not know.
pub const UNKNOWN_KEY_COOLDOWN: u64 = 60;

/// Seconds by which the clocks of two instances may differ: a key that was just made, by another one, is active here too.
/// Far less than the time that a key is published before it signs.
pub const CLOCK_SKEW: u64 = 60;

/// Keys could not be had, or not used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that lies in the table cannot be read.
    #[error("a stored key cannot be used")]
    Malformed,
    /// The cryptographic library refused to sign.
    #[error("signing failed")]
    Signature,
    /// The cryptographic library could not make a key.
    #[error("making a key failed")]
    Generation,
    /// There is no key to sign with, and none came to be.
    #[error("there is no key")]
    Missing,
    /// The function that makes keys did not.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
}

/// A key and where it lies.
#[derive(Clone, Debug)]
pub struct Slotted<K> {
    /// The number of its slot; later keys have larger ones.
    pub slot: u32,
    /// From when it signs; before, it is only published.
    pub active_from: Timestamp,
    /// The key.
    pub key: K,
}

/// A private key as it is stored: PKCS #8. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct PrivateKey {
    /// Its name in tokens and in the key set.
    pub kid: String,
    /// The one algorithm it is for.
    pub algorithm: SigningAlgorithm,
    /// PKCS #8 (RFC 5208), DER.
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PrivateKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The public half of a signing key, as a JSON Web Key (RFC 7517 §4) says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// The name of the key.
    pub kid: String,
    /// `sig`.
    pub r#use: String,
    /// `ES256` or `RS256`.
    pub alg: String,
    /// What the key consists of.
    #[serde(flatten)]
    pub material: KeyMaterial,
}

/// The public numbers of a key, in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KeyMaterial {
    /// An elliptic curve point (RFC 7518 §6.2).
    #[serde(rename = "EC")]
    EllipticCurve {
        /// `P-256`.
        crv: String,
        /// The x coordinate.
        x: String,
        /// The y coordinate.
        y: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
}

/// A key that signs. It is read when it first does: reading an elliptic curve's takes longer than a signature, and most
/// keys of a ring sign nothing.
pub(super) struct SigningKey {
    stored: PrivateKey,
    pair: OnceLock<Pair>,
}

/// A private key that was read.
enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl SigningKey {
    pub(super) const fn from_stored(stored: PrivateKey) -> Self {
        Self { stored, pair: OnceLock::new() }
    }

    pub(super) fn kid(&self) -> &str {
        &self.stored.kid
    }

    pub(super) const fn algorithm(&self) -> SigningAlgorithm {
        self.stored.algorithm
    }

    /// The signature of `message`, as a JWS has it (RFC 7518 §3.3 and §3.4).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self.pair()? {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random::source(), message).map_err(|_| KeyError::Signature)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random::source(), message, &mut signature)
                    .map_err(|_| KeyError::Signature)?;
                Ok(signature)
            }
        }
    }

    fn pair(&self) -> Result<&Pair, KeyError> {
        if let Some(pair) = self.pair.get() {
            return Ok(pair);
        }
        let pkcs8 = &self.stored.pkcs8;
        let pair = match self.stored.algorithm {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::Es256)
            }
            SigningAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(pkcs8).map(Pair::Rs256),
        };
        let pair = pair.map_err(|_| KeyError::Malformed)?;
        Ok(self.pair.get_or_init(|| pair))
    }
}

/// A key that verifies.
pub(super) struct PublicKey {
    pub(super) kid: String,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) decoding: DecodingKey,
    jwk: Jwk,
}

impl PublicKey {
    pub(super) fn from_jwk(jwk: Jwk) -> Result<Self, KeyError> {
        let algorithm = SigningAlgorithm::parse(&jwk.alg).ok_or(KeyError::Malformed)?;
        let decoding = match (&jwk.material, algorithm) {
            (KeyMaterial::EllipticCurve { x, y, .. }, SigningAlgorithm::Es256) => DecodingKey::from_ec_components(x, y),
            (KeyMaterial::Rsa { n, e }, SigningAlgorithm::Rs256) => DecodingKey::from_rsa_components(n, e),
            _ => return Err(KeyError::Malformed),
        }
        .map_err(|_| KeyError::Malformed)?;
        Ok(Self { kid: jwk.kid.clone(), algorithm, decoding, jwk })
    }
}

/// Both halves of a new signing key.
fn generate(algorithm: SigningAlgorithm) -> Result<(PrivateKey, Jwk), KeyError> {
    let kid = base64url::encode(random::bytes::<8>());
    let (pkcs8, material) = match algorithm {
        SigningAlgorithm::Es256 => generate_p256()?,
        SigningAlgorithm::Rs256 => generate_rsa_2048()?,
    };
    let jwk = Jwk { kid: kid.clone(), r#use: "sig".to_owned(), alg: algorithm.as_str().to_owned(), material };
    Ok((PrivateKey { kid, algorithm, pkcs8 }, jwk))
}

fn generate_p256() -> Result<(Zeroizing<Vec<u8>>, KeyMaterial), KeyError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Generation)?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
    let point: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().map_err(|_| KeyError::Generation)?;
    // 0x04, then two coordinates of 32 bytes (SEC 1 §2.3.3).
    let (x, y) = point.as_ref().get(1..).and_then(|point| point.split_at_checked(32)).ok_or(KeyError::Generation)?;
    let material =
        KeyMaterial::EllipticCurve { crv: "P-256".to_owned(), x: base64url::encode(x), y: base64url::encode(y) };
    Ok((Zeroizing::new(pkcs8.as_ref().to_vec()), material))
}

fn generate_rsa_2048() -> Result<(Zeroizing<Vec<u8>>, KeyMaterial), KeyError> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generation)?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generation)?;
    let public = pair.public_key();
    let material = KeyMaterial::Rsa {
        n: base64url::encode(public.modulus().big_endian_without_leading_zero()),
        e: base64url::encode(public.exponent().big_endian_without_leading_zero()),
    };
    Ok((Zeroizing::new(pkcs8.as_ref().to_vec()), material))
}

/// The keys of one ring.
type Keys<K> = Arc<[Slotted<Arc<K>>]>;

/// A ring, as this instance last saw it.
struct Cached<K>(Mutex<Loaded<K>>);

struct Loaded<K> {
    at: Timestamp,
    /// When they were last looked for because one was missing.
    missed_at: Option<Timestamp>,
    keys: Keys<K>,
}

impl<K> Cached<K> {
    fn empty() -> Self {
        Self(Mutex::new(Loaded { at: Timestamp::from_unix(0), missed_at: None, keys: Arc::new([]) }))
    }

    fn lock(&self) -> MutexGuard<'_, Loaded<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was loaded last, however long ago.
    fn all(&self) -> Keys<K> {
        Arc::clone(&self.lock().keys)
    }

    /// What was loaded less than [`RELOAD_AFTER`] ago. No keys at all are never current: the first may be made any
    /// moment.
    fn current(&self, now: Timestamp) -> Option<Keys<K>> {
        let loaded = self.lock();
        let is_current = now.seconds_since(loaded.at) < RELOAD_AFTER && !loaded.keys.is_empty();
        is_current.then(|| Arc::clone(&loaded.keys))
    }

    /// Whether to look for a key that is not among current ones; not again before [`UNKNOWN_KEY_COOLDOWN`] is over.
    fn may_look_again(&self, now: Timestamp) -> bool {
        let mut loaded = self.lock();
        if loaded.missed_at.is_some_and(|at| now.seconds_since(at) < UNKNOWN_KEY_COOLDOWN) {
            return false;
        }
        loaded.missed_at = Some(now);
        true
    }

    fn put(&self, keys: Vec<Slotted<K>>, now: Timestamp) {
        let shared = |Slotted { slot, active_from, key }| Slotted { slot, active_from, key: Arc::new(key) };
        let mut loaded = self.lock();
        loaded.at = now;
        loaded.keys = keys.into_iter().map(shared).collect();
    }
}

fn newest_active<K>(keys: &[Slotted<Arc<K>>], now: Timestamp, fits: impl Fn(&K) -> bool) -> Option<Arc<K>> {
    keys.iter()
        .filter(|slotted| slotted.active_from <= now && fits(&slotted.key))
        .max_by_key(|slotted| slotted.slot)
        .map(|slotted| Arc::clone(&slotted.key))
}

/// What a function uses keys for in nearly every request. IAM lets it read no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Secrets and refresh tokens.
    Mac,
    /// Which devices are known.
    Device,
    /// What is counted, in the items of limits.
    Limit,
    /// What waits in the outbox.
    Outbox,
    /// New access tokens.
    Signing,
    /// Access tokens that come in.
    Public,
}

/// The rings of secrets, each of one use. `rotate-keys` writes them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretRing {
    /// Keys of MACs: secrets and refresh tokens.
    Mac,
    /// Keys of device tokens' MACs.
    Device,
    /// Keys of MACs of what is counted.
    Limit,
    /// Keys that seal what waits in the outbox.
    Outbox,
}

impl SecretRing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mac, Self::Device, Self::Limit, Self::Outbox];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Device => "device",
            Self::Limit => "limit",
            Self::Outbox => "outbox",
        }
    }
}

/// What a search for a key brought.
struct Found<K> {
    key: Option<Arc<K>>,
    /// The table was read for it, and does not have it either.
    looked_in_vain: bool,
}

/// The keys of one deployment, loaded as they are needed.
pub struct KeyRing {
    pub(super) store: Arc<Store>,
    /// How new tokens are signed; `None` where none is.
    algorithm: Option<SigningAlgorithm>,
    /// What makes the first keys; `None` for whoever only verifies.
    rotate_keys: Option<Function>,
    macs: Cached<MacKey>,
    devices: Cached<MacKey>,
    limits: Cached<MacKey>,
    outbox: Cached<SealingKey>,
    signing: Cached<SigningKey>,
    public: Cached<PublicKey>,
}

impl KeyRing {
    /// A ring that has loaded nothing yet, signs with `algorithm`, if it signs at all, and has `rotate_keys` make the first
    /// keys.
    pub fn new(store: Arc<Store>, algorithm: Option<SigningAlgorithm>, rotate_keys: Option<Function>) -> Self {
        let (macs, devices, limits) = (Cached::empty(), Cached::empty(), Cached::empty());
        let (outbox, signing, public) = (Cached::empty(), Cached::empty(), Cached::empty());
        Self { store, algorithm, rotate_keys, macs, devices, limits, outbox, signing, public }
    }

    /// Loads the keys of these uses, before anybody asks for them, in one round trip.
    pub async fn load(&self, uses: &[KeyUse], now: Timestamp) -> Result<(), KeyError> {
        let rings = self.store.find_rings(uses).await?;
        if uses.contains(&KeyUse::Mac) {
            self.macs.put(rings.macs, now);
        }
        if uses.contains(&KeyUse::Device) {
            self.devices.put(rings.devices, now);
        }
        if uses.contains(&KeyUse::Limit) {
            self.limits.put(rings.limits, now);
        }
        if uses.contains(&KeyUse::Outbox) {
            self.outbox.put(rings.outbox, now);
        }
        if uses.contains(&KeyUse::Signing) {
            self.signing.put(usable(rings.signing, |key| Ok(SigningKey::from_stored(key))), now);
        }
        if uses.contains(&KeyUse::Public) {
            self.public.put(usable(rings.public, PublicKey::from_jwk), now);
        }
        Ok(())
    }

    /// The key for new MACs.
    pub async fn mac_key(&self, now: Timestamp) -> Result<Arc<MacKey>, KeyError> {
        self.newest_secret(&self.macs, KeyUse::Mac, now).await
    }

    /// The key of new device tokens.
    pub(super) async fn device_key(&self, now: Timestamp) -> Result<Arc<MacKey>, KeyError> {
        self.newest_secret(&self.devices, KeyUse::Device, now).await
    }

    /// The key of device tokens with this identifier; `None` when there is none.
    pub(super) async fn device_key_with_id(
        &self,
        id: MacKeyId,
        now: Timestamp,
    ) -> Result<Option<Arc<MacKey>>, KeyError> {
        Ok(self.secret_with_id(&self.devices, KeyUse::Device, |key| key.id() == id, now).await?.key)
    }

    /// The key of MACs of what is counted now. What was counted under the one before it counts no more.
    pub async fn limit_key(&self, now: Timestamp) -> Result<Arc<MacKey>, KeyError> {
        self.newest_secret(&self.limits, KeyUse::Limit, now).await
    }

    /// The key that seals what goes into the outbox.
    pub async fn outbox_key(&self, now: Timestamp) -> Result<Arc<SealingKey>, KeyError> {
        self.newest_secret(&self.outbox, KeyUse::Outbox, now).await
    }

    /// The newest active key of a ring of secrets, which is made if there is none.
    async fn newest_secret<K>(&self, ring: &Cached<K>, usage: KeyUse, now: Timestamp) -> Result<Arc<K>, KeyError> {
        let keys = match ring.current(now) {
            Some(keys) => keys,
            None => self.reload(ring, usage, now).await?,
        };
        if let Some(key) = newest_active(&keys, now, |_| true) {
            return Ok(key);
        }
        self.have_keys_made().await?;
        newest_active(&self.reload(ring, usage, now).await?, now.plus(CLOCK_SKEW), |_| true)
            .ok_or_else(|| log_failure(KeyError::Missing))
    }

    /// Has the function that writes keys make those that are missing.
    async fn have_keys_made(&self) -> Result<(), KeyError> {
        let rotate_keys = self.rotate_keys.as_ref().ok_or_else(|| log_failure(KeyError::Missing))?;
        let _: serde::de::IgnoredAny =
            rotate_keys.invoke(&RotateRequest { fill: true, ..RotateRequest::default() }).await?;
        Ok(())
    }

    /// The MAC key with this identifier; `None` when there is none.
    pub async fn mac_key_with_id(&self, id: MacKeyId, now: Timestamp) -> Result<Option<Arc<MacKey>>, KeyError> {
        let found = self.secret_with_id(&self.macs, KeyUse::Mac, |key| key.id() == id, now).await?;
        if found.looked_in_vain {
            SecurityEvent::UnknownKey { credential: Credential::Refresh }.log();
        }
        Ok(found.key)
    }

    /// The key of the outbox with this identifier; `None` when there is none.
    pub async fn outbox_key_with_id(&self, id: MacKeyId, now: Timestamp) -> Result<Option<Arc<SealingKey>>, KeyError> {
        Ok(self.secret_with_id(&self.outbox, KeyUse::Outbox, |key| key.id() == id, now).await?.key)
    }

    async fn secret_with_id<K>(
        &self,
        ring: &Cached<K>,
        usage: KeyUse,
        fits: impl Fn(&K) -> bool,
        now: Timestamp,
    ) -> Result<Found<K>, KeyError> {
        let find = |keys: &[Slotted<Arc<K>>]| {
            keys.iter().find(|slotted| fits(&slotted.key)).map(|slotted| Arc::clone(&slotted.key))
        };
        if let Some(keys) = ring.current(now) {
            let key = find(&keys);
            if key.is_some() || !ring.may_look_again(now) {
                return Ok(Found { key, looked_in_vain: false });
            }
        }
        let key = find(&self.reload(ring, usage, now).await?);
        Ok(Found { looked_in_vain: key.is_none(), key })
    }

    /// Puts a new secret into a slot, unless there is one, or one in the slots `unless`; whether it was put there.
    pub(super) async fn create_secret(
        &self,
        ring: SecretRing,
        slot: u32,
        active_from: Timestamp,
        unless: &[u32],
    ) -> Result<bool, KeyError> {
        let id = MacKeyId::from_bytes(random::bytes());
        let secret = Slotted { slot, active_from, key: (id, Zeroizing::new(random::bytes())) };
        Ok(self.store.create_secret(ring, &secret, unless).await?)
    }

    /// The key for new access tokens.
    pub(super) async fn signing_key(&self, now: Timestamp) -> Result<Arc<SigningKey>, KeyError> {
        let fits = |key: &SigningKey| Some(key.algorithm()) == self.algorithm;
        let keys = match self.signing.current(now) {
            Some(keys) => keys,
            None => self.reload(&self.signing, KeyUse::Signing, now).await?,
        };
        if let Some(key) = newest_active(&keys, now, fits) {
            return Ok(key);
        }
        self.have_keys_made().await?;
        newest_active(&self.reload(&self.signing, KeyUse::Signing, now).await?, now.plus(CLOCK_SKEW), fits)
            .ok_or_else(|| log_failure(KeyError::Missing))
    }

    /// Puts both halves of a new signing key into a slot, unless there are some, or private ones in the slots `unless`;
    /// whether they were put there.
    pub(super) async fn create_signing_key(
        &self,
        slot: u32,
        active_from: Timestamp,
        algorithm: SigningAlgorithm,
        unless: &[u32],
    ) -> Result<bool, KeyError> {
        let (private, public) = generate(algorithm).map_err(log_failure)?;
        let private = Slotted { slot, active_from, key: private };
        Ok(self.store.create_signing_key(&private, &public, unless).await?)
    }

    /// The public key with this name; `None` when there is none.
    pub(super) async fn public_key(&self, kid: &str, now: Timestamp) -> Result<Option<Arc<PublicKey>>, KeyError> {
        let find = |keys: &[Slotted<Arc<PublicKey>>]| {
            keys.iter().find(|slotted| slotted.key.kid == kid).map(|slotted| Arc::clone(&slotted.key))
        };
        if let Some(keys) = self.public.current(now) {
            let found = find(&keys);
            if found.is_some() || !self.public.may_look_again(now) {
                return Ok(found);
            }
        }
        let found = find(&self.reload(&self.public, KeyUse::Public, now).await?);
        if found.is_none() {
            SecurityEvent::UnknownKey { credential: Credential::Access }.log();
        }
        Ok(found)
    }

    /// The key set to publish (RFC 7517 §5).
    pub async fn published_keys(&self, now: Timestamp) -> Result<Vec<Jwk>, KeyError> {
        let keys = match self.public.current(now) {
            Some(keys) => keys,
            None => self.reload(&self.public, KeyUse::Public, now).await?,
        };
        Ok(keys.iter().map(|slotted| slotted.key.jwk.clone()).collect())
    }

    async fn reload<K>(&self, ring: &Cached<K>, usage: KeyUse, now: Timestamp) -> Result<Keys<K>, KeyError> {
        self.load(&[usage], now).await?;
        Ok(ring.all())
    }
}

/// Stored keys, ready for use. One that cannot be read hides none of the others.
fn usable<S, K>(stored: Vec<Slotted<S>>, read: impl Fn(S) -> Result<K, KeyError>) -> Vec<Slotted<K>> {
    let read = |Slotted { slot, active_from, key }| match read(key) {
        Ok(key) => Some(Slotted { slot, active_from, key }),
        Err(error) => {
            log_failure(error);
            None
        }
    };
    stored.into_iter().filter_map(read).collect()
}

/// Logs that a key failed.
pub(super) fn log_failure(error: KeyError) -> KeyError {
    SecurityEvent::KeyFailed.log();
    error
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto;

    use super::*;

    #[test]
    fn generated_halves_belong_together() {
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
            let (private, jwk) = generate(algorithm).expect("a key");
            let signing = SigningKey::from_stored(private);
            let public = PublicKey::from_jwk(jwk).expect("our own key");
            let signature = base64url::encode(signing.sign(b"message").expect("a signature"));
            let genuine = |key: &PublicKey| {
                crypto::verify(&signature, b"message", &key.decoding, algorithm.of_jsonwebtoken()).expect("a verdict")
            };
            assert!(genuine(&public), "{algorithm:?}");
            let (_, other) = generate(algorithm).expect("a key");
            assert!(!genuine(&PublicKey::from_jwk(other).expect("our own key")), "{algorithm:?}");
        }
    }

    #[test]
    fn the_newest_active_key_signs() {
        let slotted =
            |slot, active_from| Slotted { slot, active_from: Timestamp::from_unix(active_from), key: Arc::new(slot) };
        let keys = [slotted(1, 0), slotted(2, 50), slotted(3, 200)];
        assert_eq!(newest_active(&keys, Timestamp::from_unix(100), |_| true).as_deref(), Some(&2));
        assert_eq!(newest_active(&keys, Timestamp::from_unix(200), |_| true).as_deref(), Some(&3));
    }
}
