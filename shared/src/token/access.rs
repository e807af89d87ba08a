//! Access tokens: JWTs of the profile `at+jwt` (RFC 9068), signed with a key of the ring.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::jws::{self, Compact};
use super::keys::{self, KeyError, KeyRing, PublicKey};
use crate::account::{Role, Roles, User, UserId};
use crate::clock::Timestamp;
use crate::http::origin::ApiUrl;
use crate::session::{AuthenticationMethod, Generation, Kind, Lifetimes, Presented, Session, SessionId, SessionRef};
use crate::telemetry::{Credential, SecurityEvent};

const TYP: &str = "at+jwt";

/// What an access token says, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    r#gen: u32,
    kind: String,
    iat: u64,
    exp: u64,
    /// As `amr`, not in tokens that were issued before there was fresh authentication.
    #[serde(default)]
    auth_time: Option<u64>,
    #[serde(default)]
    amr: Vec<String>,
    username: String,
    /// RFC 9068 §2.2.3.1; not there where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
}

/// What a genuine access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whose it is.
    pub user_id: UserId,
    /// The user's name when it was issued.
    pub username: String,
    /// The user's roles then. Whoever reads the user goes by those that are stored.
    pub roles: Roles,
    /// Its session.
    pub session_id: SessionId,
    /// The generation of its session when it was issued.
    pub generation: Generation,
    /// The kind of its session.
    pub kind: Kind,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When the user last proved who they are; `None` in tokens that were issued before they said so.
    pub authenticated_at: Option<Timestamp>,
    /// Who issued it, and for whom: the API's URL.
    pub issuer: String,
}

impl AccessClaims {
    /// Where its session lies.
    pub const fn session(&self) -> SessionRef {
        SessionRef { user_id: self.user_id, session_id: self.session_id }
    }

    /// What it presents of its session.
    pub const fn presented(&self) -> Presented {
        Presented { kind: self.kind, generation: self.generation }
    }

    /// Whether more than half of its life is over.
    pub const fn is_half_spent(&self, now: Timestamp) -> bool {
        self.expires_at.seconds_since(now) < self.expires_at.seconds_since(self.issued_at).div_ceil(2)
    }

    /// These claims if they still hold.
    pub fn unexpired(self, now: Timestamp) -> Result<Self, AccessError> {
        if now < self.expires_at { Ok(self) } else { Err(AccessError::Expired) }
    }
}

/// Why a text is not accepted as an access token.
#[derive(Debug, Error)]
pub enum AccessError {
    /// No token of ours, or one that was changed.
    #[error("the access token is not genuine")]
    Invalid,
    /// It was one.
    #[error("the access token has expired")]
    Expired,
    /// Its key could not be looked up.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl KeyRing {
    /// Issues an access token of `session` in the name of `issuer`, the API's URL, and the seconds that it lives.
    pub async fn issue_access(
        &self,
        user: &User,
        session: &Session,
        lifetimes: &Lifetimes,
        issuer: &str,
        now: Timestamp,
    ) -> Result<(String, u64), KeyError> {
        let key = self.signing_key(now).await?;
        let expires_in = session.access_lifetime(lifetimes, now);
        let claims = Claims {
            iss: issuer.to_owned(),
            aud: issuer.to_owned(),
            sub: user.id.to_string(),
            sid: session.id.to_string(),
            r#gen: session.generation.number(),
            kind: session.kind.as_str().to_owned(),
            iat: now.unix(),
            exp: now.plus(expires_in).unix(),
            auth_time: Some(session.authenticated_at.unix()),
            amr: session.methods.iter().map(|method| method.as_str().to_owned()).collect(),
            username: user.username.as_str().to_owned(),
            roles: user.roles.iter().map(str::to_owned).collect(),
        };
        let token = jws::sign(&key, TYP, &claims).map_err(keys::log_failure)?;
        Ok((token, expires_in))
    }

    /// Verifies an access token that `api_url` issued for itself, whether or not it has expired: a logout ends the
    /// session of an expired one too. Everyone else calls [`AccessClaims::unexpired`] on the outcome.
    pub async fn verify_access(
        &self,
        token: &str,
        api_url: &ApiUrl,
        now: Timestamp,
    ) -> Result<AccessClaims, AccessError> {
        let claims = self.verify_any_access(token, now).await?;
        if claims.issuer == api_url.as_str() { Ok(claims) } else { Err(AccessError::Invalid) }
    }

    /// Verifies an access token of this deployment, whichever of its URLs issued it.
    pub async fn verify_any_access(&self, token: &str, now: Timestamp) -> Result<AccessClaims, AccessError> {
        let compact = Compact::parse(token).ok_or(AccessError::Invalid)?;
        let key = self.public_key(compact.kid(), now).await?.ok_or(AccessError::Invalid)?;
        read(&compact, &key).ok_or_else(|| {
            SecurityEvent::TokenForged { credential: Credential::Access }.log();
            AccessError::Invalid
        })
    }
}

fn read(compact: &Compact<'_>, key: &PublicKey) -> Option<AccessClaims> {
    let claims: Claims = serde_json::from_slice(&compact.verify(key, Some(TYP))?).ok()?;
    if claims.iss != claims.aud || claims.amr.iter().any(|name| AuthenticationMethod::parse(name).is_none()) {
        return None;
    }
    let roles: Result<Vec<Role>, _> = claims.roles.iter().map(|role| Role::parse(role)).collect();
    Some(AccessClaims {
        user_id: UserId::parse(&claims.sub)?,
        username: claims.username,
        roles: Roles::new(roles.ok()?).ok()?,
        session_id: SessionId::parse(&claims.sid)?,
        generation: Generation::from_number(claims.r#gen),
        kind: Kind::parse(&claims.kind)?,
        issued_at: Timestamp::from_unix(claims.iat),
        expires_at: Timestamp::from_unix(claims.exp),
        authenticated_at: claims.auth_time.map(Timestamp::from_unix),
        issuer: claims.iss,
    })
}
