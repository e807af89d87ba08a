//! Users, and the two items that make a name and an address unique and find their user.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Item, Key};
use super::{Store, StoreError, emails, number, sessions, string};
use crate::account::{EmailAddress, Epoch, PasswordHash, Roles, Status, Undo, UndoId, User, UserId, Username};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::session::{Session, SessionRef};
use crate::token::DeviceEpoch;

/// What reads of a user ask for. IAM holds the functions that have no business with passwords to this list.
pub(super) const WITHOUT_PASSWORD: [&str; 11] =
    ["pk", "sk", "username", "email", "status", "epoch", "locale", "created_at", "devices", "roles", "undos"];
/// What a session has beside these.
const OF_SESSIONS: [&str; 13] = [
    "kind",
    "generation",
    "authenticated_at",
    "methods",
    "rotated_at",
    "used_at",
    "idle_expires_at",
    "expires_at",
    "key_1",
    "key_2",
    "key_3",
    "device",
    "replaced_by",
];

/// What a person calls themself at login.
#[derive(Clone, Debug)]
pub enum Identifier {
    /// By address.
    Email(EmailAddress),
    /// By name.
    Username(Username),
    /// By something that can be nobody's, in lower case: looked up all the same, so that it costs what a wrong password
    /// costs.
    Nobody(String),
}

impl Identifier {
    /// What a request names: either a name or an address; `None` for both and neither. What cannot be a name or an
    /// address is nobody's.
    pub fn given(username: Option<&str>, email: Option<&str>) -> Option<Self> {
        let nobody = |text: &str| Self::Nobody(text.trim().to_lowercase());
        match (username, email) {
            (Some(text), None) => Some(Username::parse(text).map_or_else(|_| nobody(text), Self::Username)),
            (None, Some(text)) => Some(EmailAddress::parse(text).map_or_else(|_| nobody(text), Self::Email)),
            _ => None,
        }
    }

    /// The key of the item that names its owner.
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Email(email) => Key::email(email),
            Self::Username(username) => Key::username(username),
            Self::Nobody(_) => Key::nobody(),
        }
    }
}

/// What belongs to a user; nothing where there is none.
#[derive(Debug, Default)]
pub struct Account {
    /// The user.
    pub user: Option<User>,
    /// The hash of the user's password.
    pub password_hash: Option<PasswordHash>,
    /// The user's sessions, ended ones too as long as TTL has not deleted them.
    pub sessions: Vec<Session>,
}

/// Which of an address and a name that somebody wants have an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address has one.
    pub email: bool,
    /// The name has one.
    pub username: bool,
}

/// Why an address is not mailed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeliverable {
    /// Its server refused a mail for good.
    Bounce,
    /// Whoever reads it called a mail of ours unwanted.
    Complaint,
}

impl Undeliverable {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::Complaint => "complaint",
        }
    }

    /// Reads what `as_str` writes.
    fn parse(text: &str) -> Option<Self> {
        [Self::Bounce, Self::Complaint].into_iter().find(|reason| reason.as_str() == text)
    }
}

impl Store {
    /// Whether an address and a name are taken.
    pub async fn find_taken(
        &self,
        email: &EmailAddress,
        username: &Username,
        now: Timestamp,
    ) -> Result<Taken, StoreError> {
        let (email, username) = (Key::email(email), Key::username(username));
        let items = self.batch_get(&self.table, vec![email.clone(), username.clone()], &[]).await?;
        let find = |key: &Key| items.iter().find(|item| item.has_key(key));
        // An address that is kept for who had it before is as good as taken.
        let holder = find(&email).map_or(Ok(None), |item| emails::holder(item, now))?;
        Ok(Taken { email: holder.is_some(), username: find(&username).is_some() })
    }

    /// Whether mail to an address came back not long ago.
    pub async fn find_undeliverable(&self, email: &EmailAddress, now: Timestamp) -> Result<bool, StoreError> {
        let items = self.batch_get(&self.table, vec![Key::email(email)], &[]).await?;
        items.first().map_or(Ok(false), |item| is_undeliverable(item, now))
    }

    /// Why, and until when, an address is not mailed, as it is stored: also a mark that has ended since.
    pub async fn find_undeliverable_mark(
        &self,
        email: &EmailAddress,
    ) -> Result<Option<(Undeliverable, Timestamp)>, StoreError> {
        let Some(item) = self.get(&Key::email(email), None).await? else { return Ok(None) };
        let until = item.find_time("undeliverable_until")?;
        until.map(|until| Ok((item.parsed("undeliverable_reason", Undeliverable::parse)?, until))).transpose()
    }

    /// Keeps mails from an address until some time, whether or not it has an owner. The mark of an address without one ends
    /// with its item.
    pub async fn mark_undeliverable(
        &self,
        email: &EmailAddress,
        reason: Undeliverable,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let update = |condition: &str, ttl: &str| {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(Key::email(email).to_attributes()))
                .condition_expression(condition)
                .update_expression(format!("SET undeliverable_until = :until, undeliverable_reason = :reason{ttl}"))
                .expression_attribute_values(":until", number(until.unix()))
                .expression_attribute_values(":reason", string(reason.as_str()))
        };
        // An address that nobody owns is not kept beyond its mark; an owner's item is never given an end.
        let unowned =
            update("attribute_not_exists(user_id)", ", #ttl = :until").expression_attribute_names("#ttl", "ttl");
        match unowned.send().await {
            Err(error) if is_condition_failure(error.as_service_error()) => {}
            outcome => return Ok(outcome.map(drop)?),
        }
        match update("attribute_exists(user_id)", "").send().await {
            // The account went meanwhile; whoever repeats the notification marks the address alone.
            Err(error) if is_condition_failure(error.as_service_error()) => {
                Err(StoreError::Unavailable("the address changed hands".into()))
            }
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// The user who owns an address or a name.
    pub async fn find_user_id(&self, identifier: &Identifier) -> Result<Option<UserId>, StoreError> {
        let item = self.get(&identifier.key(), None).await?.filter(has_owner);
        item.map(|item| item.parsed("user_id", UserId::parse)).transpose()
    }

    /// A user with password and sessions. Nobody is looked for as somebody is.
    pub async fn find_account(&self, user_id: Option<UserId>) -> Result<Account, StoreError> {
        let user_id = user_id.unwrap_or_else(UserId::random);
        let key = Key::user(user_id);
        let (found, sessions) = self.both(self.get(&key, None), self.find_sessions(user_id)).await;
        let Some(item) = found? else { return Ok(Account { sessions: sessions?, ..Account::default() }) };
        Ok(Account {
            user: Some(from_item(&item)?),
            password_hash: Some(PasswordHash::from_phc(item.text("password_hash")?.to_owned())),
            sessions: sessions?,
        })
    }

    /// A user.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let item = self.get(&Key::user(id), Some(&WITHOUT_PASSWORD)).await?;
        item.as_ref().map(from_item).transpose()
    }

    /// A user together with the hash of the password.
    pub async fn find_user_with_password(&self, id: UserId) -> Result<Option<(User, PasswordHash)>, StoreError> {
        let item = self.get(&Key::user(id), None).await?;
        item.as_ref().map(with_password).transpose()
    }

    /// A session and its user, in one round trip.
    pub async fn find_session_and_user(
        &self,
        session: SessionRef,
    ) -> Result<(Option<Session>, Option<User>), StoreError> {
        let (session, user) = (Key::session(session), Key::user(session.user_id));
        let attributes: Vec<&str> = WITHOUT_PASSWORD.into_iter().chain(OF_SESSIONS).collect();
        let items = self.batch_get(&self.table, vec![session.clone(), user.clone()], &attributes).await?;
        let find = |key: &Key| items.iter().find(|item| item.has_key(key));
        let session = find(&session).map(sessions::from_item).transpose()?.flatten();
        Ok((session, find(&user).map(from_item).transpose()?))
    }

    /// Replaces the hash of a user's password by one with other parameters, unless the password has changed since
    /// `old` was read: then nothing happens.
    pub async fn rehash_password(&self, id: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::user(id).to_attributes()))
            .condition_expression("password_hash = :old")
            .update_expression("SET password_hash = :new")
            .expression_attribute_values(":old", string(old.as_phc()))
            .expression_attribute_values(":new", string(new.as_phc()));
        match update.send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends all sessions of a user at once, by raising the user's epoch: one write, however many there are.
    pub async fn revoke_all_sessions(&self, id: UserId) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::user(id).to_attributes()))
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET epoch = epoch + :one")
            .expression_attribute_values(":one", number(1_u32));
        match update.send().await {
            Err(error) if !is_condition_failure(error.as_service_error()) => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn get(&self, key: &Key, attributes: Option<&[&str]>) -> Result<Option<Item>, StoreError> {
        let mut request =
            self.client.get_item().table_name(&self.table).set_key(Some(key.to_attributes())).consistent_read(true);
        if let Some(attributes) = attributes {
            // The names go through placeholders: `status`, say, is reserved.
            let placeholders: Vec<String> = attributes.iter().map(|name| format!("#{name}")).collect();
            request = request.projection_expression(placeholders.join(","));
            for (placeholder, name) in placeholders.into_iter().zip(attributes) {
                request = request.expression_attribute_names(placeholder, *name);
            }
        }
        let answer = request.send().await?;
        Item::of(key, answer.item)
    }
}

/// Whether the item of an address or a name names an owner: one of an address may be there for its mark alone.
pub(super) fn has_owner(item: &Item) -> bool {
    item.find_text("user_id").is_some()
}

fn is_undeliverable(item: &Item, now: Timestamp) -> Result<bool, StoreError> {
    Ok(item.find_time("undeliverable_until")?.is_some_and(|until| now < until))
}

pub(super) fn is_condition_failure(error: Option<&UpdateItemError>) -> bool {
    matches!(error, Some(UpdateItemError::ConditionalCheckFailedException(_)))
}

pub(super) fn to_item(user: &User, password_hash: &PasswordHash) -> Item {
    let item = Item::new(&Key::user(user.id));
    // Most users have none.
    let item = if user.roles.is_empty() { item } else { item.with_text("roles", user.roles.to_text()) };
    item.with_text("username", user.username.as_str())
        .with_text("email", user.email.as_str())
        .with_text("password_hash", password_hash.as_phc())
        .with_text("status", user.status.as_str())
        .with_number("epoch", user.epoch.number())
        .with_text("locale", user.locale.as_str())
        .with_time("created_at", user.created_at)
        .with_items("undos", user.undos.iter().map(undo_to_item))
}

/// An undo, as an element of a user's list.
fn undo_to_item(undo: &Undo) -> Item {
    Item::default()
        .with_text("id", undo.id.to_string())
        .with_time("changed_at", undo.changed_at)
        .with_text("email", undo.email.as_str())
        .with_time("until", undo.until)
}

fn undo_from_item(item: &Item) -> Result<Undo, StoreError> {
    Ok(Undo {
        id: item.parsed("id", UndoId::parse)?,
        changed_at: item.time("changed_at")?,
        email: item.parsed("email", |text| EmailAddress::parse(text).ok())?,
        until: item.time("until")?,
    })
}

/// A user's undos as they are stored; `None` where there are none.
pub(super) fn stored_undos(user: &User) -> Option<AttributeValue> {
    Item::default().with_items("undos", user.undos.iter().map(undo_to_item)).into_attributes().remove("undos")
}

/// Reads a user with the hash of the password.
pub(super) fn with_password(item: &Item) -> Result<(User, PasswordHash), StoreError> {
    Ok((from_item(item)?, PasswordHash::from_phc(item.text("password_hash")?.to_owned())))
}

pub(super) fn from_item(item: &Item) -> Result<User, StoreError> {
    Ok(User {
        id: item.parsed("pk", |pk| UserId::parse(pk.strip_prefix("USER#")?))?,
        username: item.parsed("username", |text| Username::parse(text).ok())?,
        email: item.parsed("email", |text| EmailAddress::parse(text).ok())?,
        status: item.parsed("status", Status::parse)?,
        epoch: item.number("epoch").map(Epoch::from_number)?,
        locale: item.parsed("locale", Locale::parse)?,
        created_at: item.time("created_at")?,
        devices: DeviceEpoch::from_number(item.find_number("devices")?.unwrap_or_default()),
        roles: item.find_text("roles").map_or(Ok(Roles::default()), |_| item.parsed("roles", Roles::parse))?,
        undos: item.items("undos")?.iter().map(undo_from_item).collect::<Result<_, _>>()?,
    })
}
