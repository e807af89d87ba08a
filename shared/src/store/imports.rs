//! Users that come from elsewhere: made as they are, without a sign-up, a session or a mail.

use aws_lc_rs::hmac;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::account::owner_item;
use super::item::{Item, Key};
use super::{NOT_THERE, Store, StoreError, emails, number, users};
use crate::account::{EmailAddress, PasswordHash, User, UserId};
use crate::clock::Timestamp;
use crate::{base64url, random};

/// What became of a user, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It was made, or nothing is in its way.
    Created,
    /// It was there.
    AlreadyThere,
    /// Nothing was written: the address has an owner, or is kept for one.
    EmailTaken,
    /// Nothing was written: the name has an owner.
    UsernameTaken,
}

/// The most users that are looked for at once: three keys of each, of the hundred that DynamoDB takes.
pub const MAX_IMPORTED: usize = 33;

/// What the ids of imported users are made with: the same user has the same id in every run, and nobody who does not
/// read the table can tell by an id whose it is.
pub struct ImportSalt(hmac::Key);

impl ImportSalt {
    fn new(secret: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// The id of a user who has this one in another system, with this address. Two systems of one kind may give one id
    /// to two people.
    pub fn user_id(&self, source: &str, id: &str, email: &EmailAddress) -> UserId {
        // Neither the name of a source nor an address holds a line's end.
        let text = format!("{source}\n{}\n{id}", email.normalised());
        let tag = hmac::sign(&self.0, text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag.as_ref()[..16]);
        UserId::from_bytes(bytes)
    }
}

impl std::fmt::Debug for ImportSalt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ImportSalt(hidden)")
    }
}

impl Store {
    /// The salt of this table, which the first import makes; one of no consequence where there is none and `may_make`
    /// is false.
    pub async fn import_salt(&self, may_make: bool) -> Result<ImportSalt, StoreError> {
        let key = Key::import_salt();
        loop {
            if let Some(item) = self.get(&key, None).await? {
                return Ok(ImportSalt::new(item.parsed("salt", base64url::decode_array)?));
            }
            let secret = random::bytes::<32>();
            if !may_make {
                return Ok(ImportSalt::new(secret));
            }
            let item = Item::new(&key).with_text("salt", base64url::encode(secret)).into_attributes();
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
            match put.condition_expression("attribute_not_exists(pk)").send().await {
                Ok(_) => return Ok(ImportSalt::new(secret)),
                // Another import made it.
                Err(error)
                    if matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What would become of users, at most [`MAX_IMPORTED`], that do not meet each other: in one round trip, in their
    /// order.
    pub async fn find_imported(&self, users: &[&User], now: Timestamp) -> Result<Vec<Imported>, StoreError> {
        let keys = |user: &User| [Key::user(user.id), Key::email(&user.email), Key::username(&user.username)];
        let all = users.iter().copied().flat_map(keys).collect();
        let items =
            self.batch_get(&self.table, all, &["pk", "sk", "user_id", "reserved_for", "reserved_until"]).await?;
        let find = |key: &Key| items.iter().find(|item| item.has_key(key));
        users
            .iter()
            .map(|user| {
                let [id, email, username] = keys(user);
                Ok(if find(&id).is_some() {
                    Imported::AlreadyThere
                } else if find(&email).map_or(Ok(None), |item| emails::holder(item, now))?.is_some() {
                    Imported::EmailTaken
                } else if find(&username).is_some() {
                    Imported::UsernameTaken
                } else {
                    Imported::Created
                })
            })
            .collect()
    }

    /// Makes a user with the items of the address and the name, in one transaction that overwrites nothing.
    pub async fn import_user(
        &self,
        user: &User,
        password_hash: &PasswordHash,
        now: Timestamp,
    ) -> Result<Imported, StoreError> {
        let put = |item: Item| Put::builder().table_name(&self.table).set_item(Some(item.into_attributes()));
        let puts = [
            put(users::to_item(user, password_hash)).condition_expression(NOT_THERE),
            put(owner_item(&Key::email(&user.email), user.id))
                .condition_expression(emails::NOBODYS)
                .expression_attribute_values(":now", number(now.unix())),
            put(owner_item(&Key::username(&user.username), user.id)).condition_expression(NOT_THERE),
        ];
        let mut writes = Vec::with_capacity(puts.len());
        for put in puts {
            writes.push(TransactWriteItem::builder().put(put.build()?).build());
        }
        Ok(match self.transact(writes, &[]).await? {
            None => Imported::Created,
            Some(0) => Imported::AlreadyThere,
            Some(1) => Imported::EmailTaken,
            Some(_) => Imported::UsernameTaken,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_source_id_and_address_and_the_salt() {
        let (one, other) = (ImportSalt::new([1; 32]), ImportSalt::new([2; 32]));
        let email = |text: &str| EmailAddress::parse(text).expect("an address");
        let ann = one.user_id("django", "1", &email("ann@example.com"));
        assert_eq!(ann, one.user_id("django", "1", &email("ANN@Example.com")));
        for different in [
            one.user_id("auth0", "1", &email("ann@example.com")),
            one.user_id("django", "2", &email("ann@example.com")),
            one.user_id("django", "1", &email("bob@example.com")),
            other.user_id("django", "1", &email("ann@example.com")),
        ] {
            assert_ne!(ann, different);
        }
    }
}
