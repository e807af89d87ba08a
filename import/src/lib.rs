//! Accounts that come from elsewhere (DESIGN.md section 11, docs/import.md).
//!
//! [`import`] reads a file that another system exported, row by row, and makes a user of each: user, address and name
//! in one transaction that never overwrites anything. Whose id a row gets follows from the row, so that an import that
//! was stopped at any moment is repeated as it was, and makes nobody twice.
//!
//! Nothing is told to anybody: no mail, no event. An address that the source did not verify is not taken unless the
//! operator vouches for it; a hash that cannot be compared leads to a reset.

pub mod cli;
mod formats;
mod source;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use futures_util::future::join_all;
use serde::Serialize;
use shared::account::{EmailAddress, Epoch, PasswordHash, Role, Roles, Status, User, UserId, Username};
use shared::clock::{Clock, Timestamp};
use shared::locale::Locale;
use shared::password_hasher::{FirebaseParameters, HashError, ImportedHash, UnusableHash, nobodys_hash};
use shared::store::{ImportSalt, Imported, MAX_IMPORTED, Store, StoreError};
use shared::token::DeviceEpoch;
use thiserror::Error;

use formats::Row;
pub use formats::{Line, line_of};
use source::Entry;

/// Which system wrote the file.
#[derive(Debug)]
pub enum Format {
    /// JSON lines of our own (docs/import.md), as `export-users` writes them.
    Latchkey,
    /// `manage.py dumpdata auth.user`.
    Django,
    /// `firebase auth:export` to JSON.
    Firebase(FirebaseParameters),
    /// JSON lines of the job `users-exports`, with the hashes that support hands out.
    Auth0,
    /// The CSV of Cognito's own user import.
    Cognito,
    /// The table `auth.users`, as CSV or JSON.
    Supabase,
    /// A realm with its users.
    Keycloak,
}

impl Format {
    /// Its name, as the command line has it, and as ids depend on it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Latchkey => "latchkey",
            Self::Django => "django",
            Self::Firebase(_) => "firebase",
            Self::Auth0 => "auth0",
            Self::Cognito => "cognito",
            Self::Supabase => "supabase",
            Self::Keycloak => "keycloak",
        }
    }
}

/// How to import.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command")]
pub struct Options {
    /// What wrote the file.
    pub format: Format,
    /// Take addresses that the file does not call verified: the operator knows that they are.
    pub trust_addresses: bool,
    /// Keep hashes of which a comparison takes more than a second or 64 MiB.
    pub keep_costly_hashes: bool,
    /// Give a name `user-…` to users whose name cannot be one here.
    pub rename: bool,
    /// The language of mails to users of whom the file does not say it.
    pub locale: Locale,
    /// Read everything, and write nothing.
    pub dry_run: bool,
}

/// Why a row made no user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is not what the format has there.
    #[error("cannot be read: {0}")]
    Malformed(String),
    /// It has no address.
    #[error("no address")]
    NoAddress,
    /// Its address cannot be mailed.
    #[error("the address cannot be mailed")]
    InvalidAddress,
    /// Nobody has verified its address.
    #[error("the address is not verified (--trust-addresses takes it)")]
    Unverified,
    /// Its name cannot be one here.
    #[error("the name cannot be one here (--rename gives another)")]
    InvalidUsername,
    /// A role is none here, or there are too many.
    #[error("roles: {0}")]
    InvalidRoles(String),
    /// It is deleted where it comes from.
    #[error("deleted, or about to be, where it comes from")]
    Deleted,
    /// Its address is another account's.
    #[error("the address has an account")]
    AddressTaken,
    /// Its name is another account's.
    #[error("the name has an account")]
    UsernameTaken,
}

impl Refusal {
    /// Its name in JSON.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NoAddress => "no_address",
            Self::InvalidAddress => "invalid_address",
            Self::Unverified => "unverified",
            Self::InvalidUsername => "invalid_username",
            Self::InvalidRoles(_) => "invalid_roles",
            Self::Deleted => "deleted",
            Self::AddressTaken => "address_taken",
            Self::UsernameTaken => "username_taken",
        }
    }
}

/// What became of all rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows that were read.
    pub read: u64,
    /// Users that were made.
    pub created: u64,
    /// Of those, users who have to choose a new password.
    pub reset_required: u64,
    /// Of those, users who are disabled, as they were at the source.
    pub disabled: u64,
    /// Of those, users who were given a name.
    pub named: u64,
    /// Of those, users whose address the operator vouched for.
    pub trusted: u64,
    /// Of those, users whose hash takes more than a second or 64 MiB: kept or not, as the options say.
    pub costly: u64,
    /// Of those, users whose hash cannot be compared, by the reason.
    pub unusable: BTreeMap<String, u64>,
    /// Rows whose user was made before.
    pub already_there: u64,
    /// Rows that made no user.
    pub refused: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |count: u64, words: &str| match count {
            0 => Ok(()),
            count => writeln!(formatter, "{count:>9}  {words}"),
        };
        line(self.read, "rows read")?;
        line(self.created, "users created")?;
        line(self.reset_required, "  of these have to choose a new password (reset_required)")?;
        for (reason, count) in &self.unusable {
            line(*count, &format!("    as theirs is {reason}"))?;
        }
        line(self.costly, "  of these have a hash of more than a second or 64 MiB (--keep-costly-hashes)")?;
        line(self.disabled, "  of these are disabled, as they were")?;
        line(self.named, "  of these were given a name (user-…)")?;
        line(self.trusted, "  of these have an address that you vouched for (--trust-addresses)")?;
        line(self.already_there, "already there")?;
        line(self.refused, "refused")
    }
}

/// What is told meanwhile.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A row made no user.
    Refused {
        /// The line in the file where it begins, from 1.
        line: u64,
        /// Why.
        reason: &'a Refusal,
    },
    /// So much is done.
    Reached {
        /// Bytes of the file.
        bytes: u64,
        /// What became of the rows so far.
        report: &'a Report,
    },
}

/// Why an import ended early. What was made stays, and the same import goes on from there.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be read on from there.
    #[error("line {line}: {reason}")]
    File {
        /// Where.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No hash could be made.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Whoever is told went away.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Imports a file.
///
/// Memory is that of some rows, however long the file is; a dry run remembers 24 bytes or so of each besides, by which
/// it finds the rows that would meet each other.
pub async fn import(
    store: &Store,
    file: impl Read + Send + 'static,
    options: Options,
    clock: &Clock,
    tell: &mut dyn FnMut(Progress<'_>) -> io::Result<()>,
) -> Result<Report, ImportError> {
    let salt = store.import_salt(!options.dry_run).await?;
    let mut import =
        Import { store, options: &options, salt, report: Report::default(), foreseen: Foreseen::default() };
    let mut rows = source::read(file, &options.format);
    let (mut batch, mut keys) = (Vec::new(), HashSet::new());
    while let Some(entry) = rows.recv().await {
        let Entry { line, bytes, row } = entry?;
        import.report.read += 1;
        let outcome = row.and_then(|row| import.arrival(row, clock.now()));
        // Of rows that meet each other, each is looked at after what became of the one before.
        let meets = outcome.as_ref().is_ok_and(|arrival| arrival.keys().iter().any(|key| keys.contains(key)));
        if meets || batch.len() == MAX_BATCH || keys.len() == 3 * MAX_IMPORTED {
            import.settle(std::mem::take(&mut batch), clock, tell).await?;
            keys.clear();
        }
        if let Ok(arrival) = &outcome {
            keys.extend(arrival.keys());
        }
        batch.push(Pending { line, bytes, outcome });
    }
    import.settle(batch, clock, tell).await?;
    Ok(import.report)
}

/// The most rows that wait for each other, refused ones among them.
const MAX_BATCH: usize = 1_000;

/// A row that waits to be settled with others, so that they are told of in the order of the lines.
struct Pending {
    line: u64,
    bytes: u64,
    outcome: Result<Arrival, Refusal>,
}

/// An import under way.
struct Import<'a> {
    store: &'a Store,
    options: &'a Options,
    salt: ImportSalt,
    report: Report,
    foreseen: Foreseen,
}

/// A user to be.
struct Arrival {
    user: User,
    hash: Option<PasswordHash>,
    is_named: bool,
    is_trusted: bool,
    is_costly: bool,
    unusable: Option<UnusableHash>,
}

impl Arrival {
    /// What nobody else may have.
    fn keys(&self) -> [String; 3] {
        let User { id, email, username, .. } = &self.user;
        [format!("id {id}"), format!("email {}", email.normalised()), format!("name {}", username.normalised())]
    }
}

impl Import<'_> {
    /// The user that a row tells of.
    fn arrival(&self, row: Row, now: Timestamp) -> Result<Arrival, Refusal> {
        let email = EmailAddress::parse(&row.email.ok_or(Refusal::NoAddress)?).map_err(|_| Refusal::InvalidAddress)?;
        if !row.is_verified && !self.options.trust_addresses {
            return Err(Refusal::Unverified);
        }
        // Names are public, parts of addresses are not.
        let name = row.username.filter(|name| !name.contains('@'));
        let username = match name.map(|name| Username::parse(&name)).transpose() {
            Ok(username) => username,
            Err(_) if self.options.rename => None,
            Err(_) => return Err(Refusal::InvalidUsername),
        };
        let roles = row.roles.iter().map(|role| Role::parse(role)).collect::<Result<Vec<_>, _>>();
        let roles = roles.and_then(Roles::new).map_err(|error| Refusal::InvalidRoles(error.to_string()))?;

        let (hash, unusable) = match row.hash.transpose() {
            Ok(hash) => (hash, None),
            Err(reason) => (None, Some(reason)),
        };
        let is_costly = hash.as_ref().is_some_and(|hash| hash.cost().is_high());
        let hash = hash.filter(|hash| !is_costly || (self.options.keep_costly_hashes && !hash.cost().is_hopeless()));
        let format = self.options.format.name();
        let kept =
            row.id.as_deref().filter(|_| matches!(self.options.format, Format::Latchkey)).and_then(UserId::parse);
        Ok(Arrival {
            is_named: username.is_none(),
            is_trusted: !row.is_verified,
            is_costly,
            unusable,
            user: User {
                id: kept.unwrap_or_else(|| self.salt.user_id(format, row.id.as_deref().unwrap_or_default(), &email)),
                username: username.unwrap_or_else(Username::random),
                email,
                status: match row.status {
                    Status::Enabled if hash.is_none() => Status::ResetRequired,
                    status => status,
                },
                epoch: Epoch::FIRST,
                locale: row.locale.as_deref().and_then(Locale::parse).unwrap_or(self.options.locale),
                created_at: row.created_at.map_or(now, |created_at| created_at.min(now)),
                devices: DeviceEpoch::default(),
                roles,
                undos: Vec::new(),
            },
            hash: hash.map(ImportedHash::into_stored),
        })
    }

    /// Makes users of rows that do not meet each other.
    async fn settle(
        &mut self,
        batch: Vec<Pending>,
        clock: &Clock,
        tell: &mut dyn FnMut(Progress<'_>) -> io::Result<()>,
    ) -> Result<(), ImportError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let arrivals: Vec<&Arrival> = batch.iter().filter_map(|row| row.outcome.as_ref().ok()).collect();
        let mut outcomes = self.outcomes(&arrivals, clock).await?.into_iter();
        let mut failed = None;
        for Pending { line, outcome, .. } in &batch {
            let outcome = match outcome {
                Err(refusal) => Err(refusal.clone()),
                Ok(arrival) => match outcomes.next() {
                    Some(Ok(found)) => self.count(arrival, found),
                    // Those after it are done or not; the next import finds out.
                    Some(Err(error)) => {
                        failed = failed.or(Some(error));
                        continue;
                    }
                    None => continue,
                },
            };
            if let Err(reason) = outcome {
                self.report.refused += 1;
                tell(Progress::Refused { line: *line, reason: &reason })?;
            }
        }
        tell(Progress::Reached { bytes: last.bytes, report: &self.report })?;
        failed.map_or(Ok(()), Err)
    }

    /// What became of each of them, or would.
    async fn outcomes(
        &mut self,
        arrivals: &[&Arrival],
        clock: &Clock,
    ) -> Result<Vec<Result<Imported, ImportError>>, ImportError> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        let users: Vec<&User> = arrivals.iter().map(|arrival| &arrival.user).collect();
        let found = arrivals.iter().zip(self.store.find_imported(&users, clock.now()).await?);
        if self.options.dry_run {
            return Ok(found.map(|(arrival, found)| Ok(self.foreseen.meet(arrival, found))).collect());
        }
        let store = self.store;
        let made = found.map(async |(arrival, found)| match found {
            Imported::Created => {
                let hash = arrival.hash.clone().map_or_else(nobodys_hash, Ok)?;
                Ok(store.import_user(&arrival.user, &hash, clock.now()).await?)
            }
            found => Ok(found),
        });
        Ok(join_all(made).await)
    }

    fn count(&mut self, arrival: &Arrival, outcome: Imported) -> Result<(), Refusal> {
        let report = &mut self.report;
        match outcome {
            Imported::Created => {
                report.created += 1;
                report.reset_required += u64::from(arrival.user.status == Status::ResetRequired);
                report.disabled += u64::from(arrival.user.status == Status::Disabled);
                report.named += u64::from(arrival.is_named);
                report.trusted += u64::from(arrival.is_trusted);
                report.costly += u64::from(arrival.is_costly);
                if let Some(reason) = arrival.unusable {
                    *report.unusable.entry(reason.to_string()).or_default() += 1;
                }
                Ok(())
            }
            Imported::AlreadyThere => {
                report.already_there += 1;
                Ok(())
            }
            Imported::EmailTaken => Err(Refusal::AddressTaken),
            Imported::UsernameTaken => Err(Refusal::UsernameTaken),
        }
    }
}

/// What a dry run would have made, as short as it can be told apart: of a million users two share a number with a
/// chance of one in ten million.
#[derive(Default)]
struct Foreseen {
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Foreseen {
    /// What would have become of a user, of whom the table has what `found` says.
    fn meet(&mut self, arrival: &Arrival, found: Imported) -> Imported {
        let numbers = arrival.keys().map(|key| self.hasher.hash_one(key));
        let [id, email, username] = numbers.map(|number| self.seen.contains(&number));
        match found {
            Imported::Created if id => Imported::AlreadyThere,
            Imported::Created if email => Imported::EmailTaken,
            Imported::Created if username => Imported::UsernameTaken,
            Imported::Created => {
                self.seen.extend(numbers);
                Imported::Created
            }
            found => found,
        }
    }
}
