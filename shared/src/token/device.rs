//! Device tokens: opaque, under keys of their own. They say on which devices an account was signed in to before, and open
//! nothing by themselves (DESIGN.md section 10).

use std::fmt;

use super::keys::{KeyError, KeyRing};
use super::mac::{Mac, MacKey, MacKeyId};
use crate::account::UserId;
use crate::clock::Timestamp;
use crate::{base64url, random};

/// The bytes of a token: key id (8), user id (16), a random id (16), the account's number (4), MAC (32).
const LENGTH: usize = 76;
/// What of it is under the MAC.
const SIGNED: usize = LENGTH - 32;
/// How many people's tokens one browser keeps; the oldest goes.
const MAX_PEOPLE: usize = 5;

/// Counts how often an account has made its devices unknown. Tokens of another number are void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceEpoch(u32);

impl DeviceEpoch {
    /// The one with this number.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The one after it, in which no token of this one counts.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A token, its MAC not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken([u8; LENGTH]);

impl DeviceToken {
    /// Reads what [`expose`](Self::expose) writes.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_array(text).map(Self)
    }

    /// The text that is handed out.
    pub fn expose(&self) -> String {
        base64url::encode(self.0)
    }

    /// Whose device it says that it is of.
    pub fn user_id(&self) -> UserId {
        UserId::from_bytes(self.bytes(8))
    }

    /// The random identifier of the device.
    pub fn id(&self) -> [u8; 16] {
        self.bytes(24)
    }

    /// Whether it was made since the account has last made its devices unknown.
    pub fn is_of(&self, epoch: DeviceEpoch) -> bool {
        u32::from_be_bytes(self.bytes(40)) == epoch.number()
    }

    fn issue(key: &MacKey, user_id: UserId, epoch: DeviceEpoch) -> Self {
        let mut bytes = [0; LENGTH];
        let signed =
            [&key.id().as_bytes()[..], user_id.as_bytes(), &random::bytes::<16>(), &epoch.number().to_be_bytes()]
                .concat();
        bytes[..SIGNED].copy_from_slice(&signed);
        bytes[SIGNED..].copy_from_slice(key.mac("device", &[&signed]).as_bytes());
        Self(bytes)
    }

    fn is_genuine(&self, key: &MacKey) -> bool {
        key.mac("device", &[&self.0[..SIGNED]]).equals(&Mac::from_bytes(self.bytes(SIGNED)))
    }

    fn bytes<const N: usize>(&self, from: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0[from + index])
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DeviceToken").field("user_id", &self.user_id()).finish_non_exhaustive()
    }
}

/// The tokens that a device holds, of different people, the newest first: one where an app sends it, up to five in a
/// browser's cookie.
#[derive(Clone, Debug, Default)]
pub struct DeviceTokens(Vec<DeviceToken>);

impl DeviceTokens {
    /// Reads a cookie's value or an app's token. What is no token is passed over.
    pub fn parse(text: &str) -> Self {
        // No more than a cookie of ours ever has.
        Self(text.split('.').take(MAX_PEOPLE).filter_map(DeviceToken::parse).collect())
    }

    /// The cookie's value.
    pub fn expose(&self) -> String {
        self.0.iter().map(DeviceToken::expose).collect::<Vec<_>>().join(".")
    }

    /// The same with somebody's token first, in place of any other of theirs.
    #[must_use]
    pub fn with(&self, token: DeviceToken) -> Self {
        let user_id = token.user_id();
        let others = self.0.iter().filter(|other| other.user_id() != user_id).cloned();
        Self(std::iter::once(token).chain(others).take(MAX_PEOPLE).collect())
    }

    fn of(&self, user_id: UserId) -> Option<&DeviceToken> {
        self.0.iter().find(|token| token.user_id() == user_id)
    }
}

impl KeyRing {
    /// A token that says that a device is known to an account.
    pub async fn issue_device(
        &self,
        user_id: UserId,
        epoch: DeviceEpoch,
        now: Timestamp,
    ) -> Result<DeviceToken, KeyError> {
        Ok(DeviceToken::issue(&*self.device_key(now).await?, user_id, epoch))
    }

    /// The token that a device was given by an account; `None` where there is none, or no account. Whether the account still knows the
    /// device is for [`DeviceToken::is_of`] to say. What names another account costs nothing; a key that is not known may
    /// cost a look.
    pub async fn device_of(
        &self,
        tokens: &DeviceTokens,
        user_id: Option<UserId>,
        now: Timestamp,
    ) -> Result<Option<DeviceToken>, KeyError> {
        let Some(token) = user_id.and_then(|user_id| tokens.of(user_id)) else { return Ok(None) };
        let key = self.device_key_with_id(MacKeyId::from_bytes(token.bytes(0)), now).await?;
        Ok(key.filter(|key| token.is_genuine(key)).map(|_| token.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    #[test]
    fn a_token_is_read_back_and_genuine_with_its_key_alone() {
        let key = MacKey::random();
        let token = DeviceToken::issue(&key, user(1), DeviceEpoch::from_number(7));
        let read = DeviceToken::parse(&token.expose()).expect("our own");
        assert_eq!((read.user_id(), read.bytes::<4>(40)), (user(1), [0, 0, 0, 7]));
        assert!(read.is_genuine(&key) && !read.is_genuine(&MacKey::random()));
        for index in 0..LENGTH {
            let mut changed = token.clone();
            changed.0[index] ^= 1;
            assert!(!changed.is_genuine(&key), "byte {index}");
        }
        assert_eq!(DeviceToken::parse("AAAA"), None);
    }

    #[test]
    fn a_browser_keeps_five_people_s() {
        let key = MacKey::random();
        let mut tokens = DeviceTokens::default();
        for number in 1..=7 {
            tokens = tokens.with(DeviceToken::issue(&key, user(number), DeviceEpoch::default()));
        }
        let read = DeviceTokens::parse(&tokens.expose());
        let people: Vec<UserId> = read.0.iter().map(DeviceToken::user_id).collect();
        assert_eq!(people, [7, 6, 5, 4, 3].map(user));
        // Somebody who comes back has one still.
        let again = DeviceToken::issue(&key, user(5), DeviceEpoch::default());
        let people: Vec<UserId> = read.with(again).0.iter().map(DeviceToken::user_id).collect();
        assert_eq!(people, [5, 7, 6, 4, 3].map(user));
        assert!(tokens.expose().len() < 600);
    }

    #[test]
    fn what_is_no_token_is_passed_over() {
        let token = DeviceToken::issue(&MacKey::random(), user(1), DeviceEpoch::default()).expose();
        assert_eq!(DeviceTokens::parse(&format!("nonsense.{token}..")).0.len(), 1);
        assert_eq!(DeviceTokens::parse("").0.len(), 0);
    }
}
