//! What operators do to users. Whoever meets another change of the same user reads again and decides anew.
//!
//! The owner is told where the owner's own request would tell them (DESIGN.md section 9): of another address, of a deletion,
//! and by the mails that lead in. A ban, roles and ended sessions are told to nobody but the security log.

use std::str::FromStr;

use export::ExportResponse;
use shared::account::{
    CandidatePassword, EmailAddress, Epoch, MAX_UNDOS, MailedProof, PasswordReset, ProofSubject, Purpose, Role, Roles,
    Status, UNDO_LIFETIME, Undo, UndoId, UndoLink, User, UserId, Username,
};
use shared::clock::Timestamp;
use shared::concurrency::Concurrency;
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{EventType, OutboxItem, QueuedMail};
use shared::password_hasher::{PasswordHasher, nobodys_hash};
use shared::session::Session;
use shared::store::{EmailChanged, Identifier, Undeliverable};
use shared::telemetry::Act;
use shared::token::DeviceEpoch;

use crate::{AdminError, Deployment};

/// How often an act is decided anew that met another change of the user.
const ATTEMPTS: usize = 3;
/// The fewest characters of a password where the deployment's setting is not known.
const PASSWORD_MIN_LENGTH: usize = 8;

/// Whom a command is about: `id:` and the user's identifier, an address, or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// By identifier. The prefix keeps it apart from a name that looks like one.
    Id(UserId),
    /// By address.
    Email(EmailAddress),
    /// By name.
    Username(Username),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(id) = text.strip_prefix("id:") {
            return UserId::parse(id).map(Self::Id).ok_or_else(|| "an id is 22 characters of base64url".to_owned());
        }
        if text.contains('@') {
            return EmailAddress::parse(text).map(Self::Email).map_err(|error| error.to_string());
        }
        Username::parse(text).map(Self::Username).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "id:{id}"),
            Self::Email(email) => formatter.write_str(email.as_str()),
            Self::Username(username) => formatter.write_str(username.as_str()),
        }
    }
}

/// What became of a user.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The user as it is now; of one who was deleted, as it was last.
    pub user: User,
    /// Whether that was done now. Where it was so already, nothing was written.
    pub changed: bool,
}

/// A user with what lies beside it.
#[derive(Debug)]
pub struct Details {
    /// The user.
    pub user: User,
    /// All sessions, ended ones too as long as TTL has not deleted them.
    pub sessions: Vec<Session>,
    /// Why and until when the address is not mailed.
    pub mark: Option<(Undeliverable, Timestamp)>,
}

/// A user to be made.
#[derive(Debug)]
pub struct NewUser {
    /// Its name. Reserved ones may be given.
    pub username: Username,
    /// Its address, for which the operator vouches.
    pub email: EmailAddress,
    /// The language of its mails.
    pub locale: Locale,
    /// Its roles.
    pub roles: Roles,
    /// Its password; without one, the owner is mailed a link to choose it.
    pub password: Option<CandidatePassword>,
}

/// What became of a deletion.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The user as it was.
    pub user: User,
    /// Until when it is only closed, as a change of address may still be taken back; `None`: it is gone.
    pub waits_until: Option<Timestamp>,
    /// Whether that was done now.
    pub changed: bool,
}

impl Deployment {
    /// The user that is meant.
    pub async fn find_user(&self, who: &Who) -> Result<User, AdminError> {
        let identifier = match who {
            Who::Id(id) => return self.user(*id, who).await,
            Who::Email(email) => Identifier::Email(email.clone()),
            Who::Username(username) => Identifier::Username(username.clone()),
        };
        let id = self.store.find_user_id(&identifier).await?;
        self.user(id.ok_or_else(|| nobody(who))?, who).await
    }

    async fn user(&self, id: UserId, who: &Who) -> Result<User, AdminError> {
        self.store.find_user(id).await?.ok_or_else(|| nobody(who))
    }

    /// A user with what lies beside it.
    pub async fn user_details(&self, who: &Who) -> Result<Details, AdminError> {
        let user = self.find_user(who).await?;
        let sessions = self.store.find_sessions(user.id).await?;
        let mark = self.store.find_undeliverable_mark(&user.email).await?;
        Ok(Details { user, sessions, mark })
    }

    /// All that is held about a user, as `GET /me/export` gives it to the owner.
    pub async fn export_user(&self, who: &Who) -> Result<ExportResponse, AdminError> {
        let user = self.find_user(who).await?;
        self.store.put_outbox(&self.act(Act::UserExport, Some(user.id))).await?;
        let Details { user, sessions, mark } = self.user_details(&Who::Id(user.id)).await?;
        Ok(ExportResponse::new(&user, sessions, mark, self.clock.now()))
    }

    /// Makes a user.
    pub async fn create_user(&self, new: NewUser) -> Result<User, AdminError> {
        let NewUser { username, email, locale, roles, password } = new;
        let now = self.clock.now();
        let (status, password_hash) = match password {
            Some(password) => {
                let minimum = self.settings.parameter("PasswordMinLength").and_then(|text| text.parse().ok());
                let service = self.settings.parameter("ServiceName").unwrap_or_default();
                let minimum = minimum.unwrap_or(PASSWORD_MIN_LENGTH);
                let password = password.to_store(minimum, &username, &email, service)?;
                (Status::Enabled, PasswordHasher::new(Concurrency::One).hash(password).await?)
            }
            None => (Status::ResetRequired, nobodys_hash()?),
        };
        let user = User {
            id: UserId::random(),
            username,
            email,
            status,
            epoch: Epoch::FIRST,
            locale,
            created_at: now,
            roles,
            undos: Vec::new(),
            devices: DeviceEpoch::default(),
        };
        let created = OutboxItem::event(EventType::UserCreated, user.id, now);
        let mut told = vec![created, self.act(Act::UserCreate, Some(user.id))];
        let mut reset = None;
        if status == Status::ResetRequired {
            let letter = Letter::AccountCreated { username: user.username.as_str().to_owned() };
            let (link, mail) = self.reset(&user, letter, now).await?;
            reset = Some(link);
            told.push(mail);
        }
        self.store.create_user(&user, &password_hash, reset.as_ref(), &told, now).await?;
        Ok(user)
    }

    /// Bans a user: no session lives on, and no reset, undo or import changes it.
    pub async fn disable_user(&self, who: &Who) -> Result<Changed, AdminError> {
        self.change(who, async |user, _| {
            if user.status == Status::Disabled {
                return Ok(Some(Changed { user, changed: false }));
            }
            let after = User { status: Status::Disabled, epoch: user.epoch.next(), ..user.clone() };
            self.update_standing(&user, after, Act::UserDisable).await
        })
        .await
    }

    /// Lifts a ban. Where something has happened to the account since it was disabled, or before, that asks for a new password,
    /// the user is `reset_required` then.
    pub async fn enable_user(&self, who: &Who) -> Result<Changed, AdminError> {
        self.change(who, async |user, _| match user.status {
            Status::Enabled => Ok(Some(Changed { user, changed: false })),
            Status::Disabled => {
                let told = [self.act(Act::UserEnable, Some(user.id))];
                let status = self.store.enable_user(&user, &told).await?;
                Ok(status.map(|status| Changed { user: User { status, ..user }, changed: true }))
            }
            Status::ResetRequired => Err(AdminError::Refused(
                "only a reset leads out of reset_required: mail one with send-reset".to_owned(),
            )),
            Status::Deleting => Err(being_deleted()),
        })
        .await
    }

    /// Deletes a user, as the owner would: while a change of address may still be taken back, the account is only closed, and
    /// deleted then. One that is disabled goes at once, as no undo may change that, and so does one with `now`; a receipt that
    /// waits for an account that was closed before is mailed all the same when its time comes.
    pub async fn delete_user(&self, who: &Who, at_once: bool) -> Result<Deleted, AdminError> {
        self.change(who, async |user, now| {
            let letter = Letter::AccountRemoved { username: user.username.as_str().to_owned() };
            let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now);
            let rest = OutboxItem::mail(mail, now).with_deletion(user.id).with_event(EventType::UserDeleted, user.id);
            let act = self.act(Act::UserDelete, Some(user.id));
            let failures = Identifier::all_of(&user, &*self.keys.limit_key(now).await?);
            let waits_until = user.undo_open_until(now).filter(|_| !at_once && user.status != Status::Disabled);
            let is_done = match waits_until {
                None => self.store.delete_account(&user, &failures, &[rest, act]).await?,
                Some(_) if user.status == Status::Deleting => {
                    return Ok(Some(Deleted { user, waits_until, changed: false }));
                }
                Some(lapses_at) => {
                    self.store.mark_deleting(&user, &failures, &[rest.not_before(lapses_at), act]).await?
                }
            };
            Ok(is_done.then_some(Deleted { user, waits_until, changed: true }))
        })
        .await
    }

    /// Mails a user a link that lets its reader set a new password. It counts for as long as any, and changes nothing by itself.
    pub async fn send_reset(&self, who: &Who) -> Result<User, AdminError> {
        let user = self.find_user(who).await?;
        let now = self.clock.now();
        match user.status {
            Status::Enabled | Status::ResetRequired => {}
            Status::Deleting => return Err(being_deleted()),
            Status::Disabled => {
                return Err(AdminError::Refused(
                    "the user is disabled, and no reset changes that: enable it".to_owned(),
                ));
            }
        }
        let letter = Letter::PasswordReset { username: user.username.as_str().to_owned() };
        let (reset, mail) = self.reset(&user, letter, now).await?;
        self.store.create_reset(&reset, &[mail, self.act(Act::UserSendReset, Some(user.id))]).await?;
        Ok(user)
    }

    /// Ends all sessions of a user, and makes all devices unknown.
    pub async fn revoke_sessions(&self, who: &Who) -> Result<Changed, AdminError> {
        self.change(who, async |user, _| {
            let after = User { epoch: user.epoch.next(), ..user.clone() };
            self.update_standing(&user, after, Act::UserRevokeSessions).await
        })
        .await
    }

    /// Gives and takes roles. To take one away ends all sessions.
    pub async fn change_roles(&self, who: &Who, added: &[Role], removed: &[Role]) -> Result<Changed, AdminError> {
        if added.iter().any(|role| removed.contains(role)) {
            return Err(AdminError::Usage("a role cannot be added and removed at once".to_owned()));
        }
        self.change(who, async |user, _| {
            let roles = user.roles.changed(added, removed)?;
            if roles == user.roles {
                return Ok(Some(Changed { user, changed: false }));
            }
            let epoch = if user.roles.is_subset_of(&roles) { user.epoch } else { user.epoch.next() };
            let after = User { roles, epoch, ..user.clone() };
            self.update_standing(&user, after, Act::UserRoles).await
        })
        .await
    }

    /// Gives a user another address, for which the operator vouches. The one before is told, and may take it back for 7 days.
    ///
    /// With `recover` the account is taken back from whoever reads the one before: nothing that was mailed there, and no undo,
    /// opens it any more; all sessions end, and a link to choose a new password goes to the new address.
    pub async fn set_email(&self, who: &Who, email: &EmailAddress, recover: bool) -> Result<Changed, AdminError> {
        self.change(who, async |user, now| {
            if user.email == *email && !recover {
                return Ok(Some(Changed { user, changed: false }));
            }
            let outcome = if recover {
                self.recover_email(&user, email, now).await?
            } else {
                self.replace_email(&user, email, now).await?
            };
            match outcome {
                (EmailChanged::Done, user) => Ok(Some(Changed { user, changed: true })),
                (EmailChanged::Stale | EmailChanged::AlreadyCompleted, _) => Ok(None),
                (EmailChanged::Taken, _) => Err(AdminError::Refused(
                    "the address has an account, or is kept for one that may take it back".to_owned(),
                )),
            }
        })
        .await
    }

    /// As the owner would have changed it.
    async fn replace_email(
        &self,
        user: &User,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<(EmailChanged, User), AdminError> {
        if user.status == Status::Deleting {
            return Err(being_deleted());
        }
        let mut undos: Vec<Undo> = user.undos.iter().filter(|undo| now < undo.until).cloned().collect();
        if undos.len() >= MAX_UNDOS {
            return Err(AdminError::Refused(format!("{MAX_UNDOS} changes of this address may still be taken back")));
        }
        let key = self.keys.mac_key(now).await?;
        let (proof, secrets) = MailedProof::link(Purpose::Undo, &key, UNDO_LIFETIME, now);
        undos.push(Undo {
            id: UndoId::from_bytes(*proof.id.as_bytes()),
            changed_at: now,
            email: user.email.clone(),
            until: proof.expires_at,
        });
        let after = User { email: email.clone(), undos, ..user.clone() };
        let letter =
            Letter::EmailChanged { username: user.username.as_str().to_owned(), new_email: email.as_str().to_owned() };
        let sealing_key = self.keys.outbox_key(now).await?;
        let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now);
        let mail = mail.with_proof(&proof, &secrets, &sealing_key, self.settings.api_url()?)?;
        let notice = OutboxItem::mail(mail, now).with_event(EventType::EmailChanged, user.id);
        let undo = UndoLink { proof, user_id: user.id, completed_at: None };
        let told = [notice, self.act(Act::UserSetEmail, Some(user.id))];
        Ok((self.store.set_email(user, &after, Some(&undo), None, &told, now).await?, after))
    }

    /// Takes the account back from whoever reads the address that it has.
    async fn recover_email(
        &self,
        user: &User,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<(EmailChanged, User), AdminError> {
        let status = if user.status == Status::Disabled { Status::Disabled } else { Status::ResetRequired };
        let after = User { email: email.clone(), status, epoch: user.epoch.next(), undos: Vec::new(), ..user.clone() };
        let username = || user.username.as_str().to_owned();
        let mut told = vec![self.act(Act::UserSetEmail, Some(user.id))];
        if user.email.normalised() != email.normalised() {
            let letter = Letter::EmailReplaced { username: username() };
            let notice = QueuedMail::new(user.email.clone(), user.locale, letter, now);
            told.push(OutboxItem::mail(notice, now).with_event(EventType::EmailChanged, user.id));
        }
        let mut reset = None;
        if status.may_reset() {
            let (link, mail) = self.reset(&after, Letter::PasswordReset { username: username() }, now).await?;
            reset = Some(link);
            told.push(mail);
        }
        Ok((self.store.set_email(user, &after, None, reset.as_ref(), &told, now).await?, after))
    }

    /// A reset of a user's password, and the mail with its link. No device asked for it, so there is no code.
    async fn reset(
        &self,
        user: &User,
        letter: Letter,
        now: Timestamp,
    ) -> Result<(PasswordReset, OutboxItem), AdminError> {
        let key = self.keys.mac_key(now).await?;
        let (proof, _, secrets) = MailedProof::start(Purpose::Reset, &key, now);
        let proof = MailedProof { code_attempts: 0, ..proof };
        let sealing_key = self.keys.outbox_key(now).await?;
        let mail = QueuedMail::new(user.email.clone(), user.locale, letter, now);
        let mail = mail.with_proof(&proof, &secrets, &sealing_key, self.settings.api_url()?)?;
        let reset = PasswordReset { proof, subject: Some(ProofSubject::of(user)), completion: None };
        Ok((reset, OutboxItem::mail(mail, now)))
    }

    async fn update_standing(&self, before: &User, after: User, act: Act) -> Result<Option<Changed>, AdminError> {
        let told = [self.act(act, Some(before.id))];
        let is_done = self.store.update_standing(before, &after, &told).await?;
        Ok(is_done.then_some(Changed { user: after, changed: true }))
    }

    /// Decides on a user as it is, again where it was changed meanwhile (`None`). Once found it stays the same user, whoever has
    /// the name or address by then.
    async fn change<T>(
        &self,
        who: &Who,
        decide: impl AsyncFn(User, Timestamp) -> Result<Option<T>, AdminError>,
    ) -> Result<T, AdminError> {
        let mut user = self.find_user(who).await?;
        for _ in 0..ATTEMPTS {
            let id = user.id;
            if let Some(done) = decide(user, self.clock.now()).await? {
                return Ok(done);
            }
            user = self.user(id, who).await?;
        }
        Err(AdminError::Failed("the user is being changed elsewhere; try again".to_owned()))
    }
}

fn nobody(who: &Who) -> AdminError {
    AdminError::NotFound(format!("there is no user {who}"))
}

fn being_deleted() -> AdminError {
    AdminError::Refused("the user is being deleted by its owner, unless an undo takes that back".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant_is_never_ambiguous() {
        let id = UserId::from_bytes([7; 16]);
        assert_eq!(format!("id:{id}").parse(), Ok(Who::Id(id)));
        let name = "BwcHBwcHBwcHBwcHBwcHBw";
        assert_eq!(id.to_string(), name);
        assert!(matches!(name.parse(), Ok(Who::Username(_))), "a name that looks like an id");
        assert!(matches!("ann@example.com".parse(), Ok(Who::Email(_))));
        for text in ["", "id:", "id:ann", "a@", "@", "a b"] {
            assert!(text.parse::<Who>().is_err(), "{text}");
        }
        for text in [format!("id:{id}"), "ann@example.com".to_owned(), "ann".to_owned()] {
            assert_eq!(text.parse::<Who>().map(|who| who.to_string()), Ok(text));
        }
    }
}
