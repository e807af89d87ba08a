//! The password of who is signed in, asked again: for a session that is fresh, and before a new password.
//!
//! A guess is charged to the session before it is compared, by one atomic write beside the read of the user; the right one
//! ends the row. Strangers cannot fill that counter, as they have no session, and it locks nobody out: at
//! [`MAX_WRONG_PASSWORDS`] the session ends, and its owner signs in.
//!
//! The right password replaces the session, so that a copy of its tokens is not fresh too, nor lives on beside a new
//! password. The old session's item stays for a while as a mark. The same request with the same key and the same password is
//! answered by it, also when the access token has expired since, while the new session has never been refreshed.

use std::sync::Arc;

use lambda_http::Request;
use thiserror::Error;

use super::caller::{Caller, CallerError};
use super::credentials::Inbound;
use super::{Code, Problem, idempotency_key};
use crate::account::{CandidatePassword, PasswordHash, User};
use crate::clock::Timestamp;
use crate::outbox::OutboxItem;
use crate::password_hasher::{HashError, PasswordHasher, Verdict};
use crate::session::{InvalidRetryKey, MAX_WRONG_PASSWORDS, Replaced, RetryKey, Session, SessionRef};
use crate::store::{Charged, PasswordChange, ReplaceError, Store, StoreError};
use crate::telemetry::{Credential, SecurityEvent};
use crate::token::{AccessClaims, AccessError, KeyRing};

/// Asks who is signed in for their password again.
#[derive(Clone)]
pub struct Reauthenticator {
    store: Arc<Store>,
    keys: Arc<KeyRing>,
    hasher: PasswordHasher,
}

/// A request whose caller has to give their password.
#[derive(Clone, Copy)]
pub struct PasswordRequest<'a> {
    /// The route, to which an `Idempotency-Key` is bound.
    pub route: &'static str,
    /// The password that was given.
    pub password: &'a CandidatePassword,
    /// The password that the account has once the request has succeeded: whoever repeats it shows that one.
    pub password_afterwards: &'a CandidatePassword,
}

/// Who gave the right password.
#[derive(Debug)]
pub enum Authenticated {
    /// Whose session is to be replaced.
    Now(Box<Proof>),
    /// Whose request succeeded before, and whose answer may have been lost: that answer.
    Before(Box<Successor>),
}

/// The session that followed another.
#[derive(Debug)]
pub struct Successor {
    /// The user.
    pub user: User,
    /// The session.
    pub session: Session,
    /// The one that it follows, whose mark stays in its place.
    pub old: SessionRef,
}

/// What a right password proved.
#[derive(Debug)]
pub struct Proof {
    /// Who is signed in.
    pub caller: Caller,
    /// The hash of their password, as it was read.
    pub password_hash: PasswordHash,
    /// The key of the request.
    key: Option<RetryKey>,
}

/// Why nobody was authenticated again.
#[derive(Debug, Error)]
pub enum ReauthenticationError {
    /// The `Idempotency-Key` has less than 128 bits.
    #[error(transparent)]
    Key(#[from] InvalidRetryKey),
    /// Nobody is signed in.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// It is another password.
    #[error("wrong password")]
    WrongPassword,
    /// No hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReauthenticationError> for Problem {
    fn from(error: ReauthenticationError) -> Self {
        match error {
            ReauthenticationError::Key(error) => Self::new(Code::InvalidRequest).with_detail(error),
            ReauthenticationError::Caller(error) => error.into(),
            ReauthenticationError::WrongPassword => Self::new(Code::WrongPassword),
            ReauthenticationError::Hash(error) => error.into(),
            ReauthenticationError::Store(error) => error.into(),
        }
    }
}

impl From<AccessError> for ReauthenticationError {
    fn from(error: AccessError) -> Self {
        Self::Caller(error.into())
    }
}

impl Reauthenticator {
    /// What asks for passwords, of these parts.
    pub const fn new(store: Arc<Store>, keys: Arc<KeyRing>, hasher: PasswordHasher) -> Self {
        Self { store, keys, hasher }
    }

    /// Whom a request is from, if they gave the right password: one round trip.
    pub async fn authenticate(
        &self,
        request: &Request,
        inbound: &Inbound,
        asked: PasswordRequest<'_>,
        now: Timestamp,
    ) -> Result<Authenticated, ReauthenticationError> {
        let token = inbound.access_token()?.ok_or(CallerError::Missing)?;
        let token = self.keys.verify_access(token, &inbound.api_url, now).await?;
        let key = idempotency_key(request)?;
        let key = key.map(|text| RetryKey::for_route(text, token.session_id, asked.route)).transpose()?;
        let has_expired = now >= token.expires_at;
        if has_expired && key.is_none() {
            return Err(AccessError::Expired.into());
        }
        let (mut charged, mut user) = self.charge(token.session(), key, has_expired, now).await?;
        if let (Charged::Session(session, _), Some((user_now, _)), Some(_)) = (&charged, &user, key)
            && session.epoch < user_now.epoch
        {
            // The password was changed between the two: by the very same request, it may be, and then its mark is there.
            (charged, user) = self.charge(token.session(), key, has_expired, now).await?;
        }
        match charged {
            Charged::Session(session, guesses) => {
                let (user, password_hash) = user.unzip();
                let caller = self.admit(token, Some(session).zip(user), now).await?;
                let reference = caller.session.reference();
                // Who is let in was found.
                let password_hash = password_hash.ok_or(CallerError::SessionEnded)?;
                if self.is_right(asked.password, &password_hash).await? {
                    return Ok(Authenticated::Now(Box::new(Proof { caller, password_hash, key })));
                }
                if guesses >= MAX_WRONG_PASSWORDS {
                    self.store.delete_session(reference).await?;
                }
                SecurityEvent::WrongPassword { session: reference }.log();
                Err(ReauthenticationError::WrongPassword)
            }
            Charged::Replaced(mark) => {
                if self.is_password_of(user, &mark, asked.password_afterwards).await? {
                    return Ok(Authenticated::Before(Box::new(self.first_answer(&mark, now).await?)));
                }
                SecurityEvent::WrongPassword { session: mark.session }.log();
                Err(ReauthenticationError::WrongPassword)
            }
            Charged::Exhausted => {
                self.store.delete_session(token.session()).await?;
                Err(ended(token.session()).into())
            }
            Charged::Ended if has_expired => Err(AccessError::Expired.into()),
            Charged::Ended => Err(ended(token.session()).into()),
        }
    }

    /// Charges a guess, and reads the user beside.
    async fn charge(
        &self,
        session: SessionRef,
        key: Option<RetryKey>,
        has_expired: bool,
        now: Timestamp,
    ) -> Result<(Charged, Option<(User, PasswordHash)>), StoreError> {
        let charge = self.store.charge_password(session, key, has_expired, now);
        let (charged, user) = self.store.both(charge, self.store.find_user_with_password(session.user_id)).await;
        Ok((charged?, user?))
    }

    /// Replaces the session of who gave the right password by `new`, with the change of password that goes with it. If the
    /// very same request overtook this one, what that one made.
    pub async fn replace(
        &self,
        proof: &Proof,
        new: Session,
        change: Option<&PasswordChange<'_>>,
        now: Timestamp,
    ) -> Result<Successor, ReauthenticationError> {
        let old = &proof.caller.session;
        let mark = Replaced::new(old, &new, proof.key, now);
        match self.store.replace_session(&mark, &new, change, now).await {
            Ok(()) => {
                let (session, kind) = (new.reference(), new.kind);
                match change {
                    Some(_) => SecurityEvent::PasswordChanged { session, kind }.log(),
                    None => SecurityEvent::Reauthenticated { session, kind }.log(),
                }
                Ok(Successor { user: proof.caller.user.clone(), session: new, old: old.reference() })
            }
            Err(ReplaceError::Repeated(found)) => Ok(self.first_answer(&found, now).await?),
            Err(ReplaceError::Ended) => Err(ended(old.reference()).into()),
            Err(ReplaceError::Store(error)) => {
                // An outage is no guess. If this fails too, the guess stays charged until a right one.
                drop(self.forgive(proof).await);
                Err(error.into())
            }
        }
    }

    /// Ends the row of guesses of who gave the right one, and whose session stays.
    pub async fn forgive(&self, proof: &Proof) -> Result<(), StoreError> {
        self.store.forgive_passwords(proof.caller.session.reference()).await
    }

    /// The caller of a token whose session and user were read. A session whose token was used elsewhere is ended.
    async fn admit(
        &self,
        token: AccessClaims,
        found: Option<(Session, User)>,
        now: Timestamp,
    ) -> Result<Caller, CallerError> {
        let (session, kind) = (token.session(), token.kind);
        let notice = found.as_ref().map(|(session, user)| OutboxItem::session_reused(user, session, now));
        let admitted = Caller::admit(token, found, false, now);
        if let Err(CallerError::Reused(generation)) = admitted
            && self.store.end_reused_session(session, Some(generation), notice.as_slice()).await?
        {
            SecurityEvent::TokenReused { session, kind, credential: Credential::Access }.log();
        }
        admitted
    }

    /// Whether a request that is repeated brings the password of a user who was read before its session's mark was found,
    /// perhaps: before the request that left it had changed the password.
    async fn is_password_of(
        &self,
        user: Option<(User, PasswordHash)>,
        mark: &Replaced,
        given: &CandidatePassword,
    ) -> Result<bool, ReauthenticationError> {
        let (_, read) = user.ok_or_else(|| ended(mark.session))?;
        if self.is_right(given, &read).await? {
            return Ok(true);
        }
        let user = self.store.find_user_with_password(mark.session.user_id).await?;
        let (_, read_again) = user.ok_or_else(|| ended(mark.session))?;
        Ok(read_again != read && self.is_right(given, &read_again).await?)
    }

    async fn is_right(&self, given: &CandidatePassword, stored: &PasswordHash) -> Result<bool, HashError> {
        // What no stored password can equal is a guess like any other.
        let Some(given) = given.to_compare() else { return Ok(false) };
        let (verdict, _) = self.hasher.verify(given, Some(stored.clone())).await?;
        Ok(matches!(verdict, Verdict::Right { .. }))
    }

    /// The session that followed one that was replaced, and its user, if it is as it was then.
    async fn first_answer(&self, mark: &Replaced, now: Timestamp) -> Result<Successor, CallerError> {
        let (session, user) = self.store.find_session_and_user(mark.successor()).await?;
        match (session, user) {
            (Some(session), Some(user)) if session.is_alive(Some(&user), now) && session.was_never_refreshed() => {
                Ok(Successor { user, session, old: mark.session })
            }
            _ => Err(ended(mark.session)),
        }
    }
}

/// The refusal of a genuine access token whose session has ended.
fn ended(session: SessionRef) -> CallerError {
    SecurityEvent::EndedSessionUsed { session, credential: Credential::Access }.log();
    CallerError::SessionEnded
}
