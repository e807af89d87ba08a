//! A sign-up that nobody has answered yet.
//!
//! It owns neither address nor name. It becomes an account when whoever started it shows two things that only the
//! mailbox's owner who also started the sign-up has (DESIGN.md section 4); a mailed secret alone is nothing.

use super::{
    EmailAddress, LinkAndCode, MailedProof, PasswordHash, ProofSecret, Purpose, REPEAT_WINDOW, UserId, Username,
};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::session::{Kind, SessionId};
use crate::token::MacKey;

/// How often the password may be guessed with a mailed link, over all links of one sign-up.
pub const PASSWORD_ATTEMPTS: u32 = 10;
/// How many mails one sign-up may send, the first included.
pub const MAX_MAILS: u32 = 5;
/// Seconds between two mails of one sign-up.
pub const RESEND_COOLDOWN: u64 = 60;

/// What may be guessed of a sign-up, a few times only. A right guess is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// The mailed code, by whoever signed up.
    Code,
    /// The password, by whoever has the mailed link.
    Password,
}

/// A pending sign-up as it is stored.
#[derive(Clone, Debug)]
pub struct PendingSignup {
    /// Its identifier and secrets.
    pub proof: MailedProof,
    /// The address to verify.
    pub email: EmailAddress,
    /// The name asked for.
    pub username: Username,
    /// The password chosen.
    pub password_hash: PasswordHash,
    /// The language of its mails.
    pub locale: Locale,
    /// Guesses of the password left.
    pub password_attempts: u32,
    /// Mails sent so far.
    pub mails: u32,
    /// When the newest mail was sent.
    pub mailed_at: Timestamp,
    /// The address had an account already when the sign-up came: it only looks like a sign-up and never verifies.
    pub decoy: bool,
    /// What became of it, once it was verified.
    pub completion: Option<Completion>,
}

/// How a mail was shown to be read, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the device that asked, with the mailed code.
    Code,
    /// With the mailed link; where a sign-up is to be proved, by the device that signed up.
    Link,
    /// By another device, with the mailed link and the password of the sign-up.
    LinkAndPassword,
}

impl Proof {
    const ALL: [Self; 3] = [Self::Code, Self::Link, Self::LinkAndPassword];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Link => "link",
            Self::LinkAndPassword => "link_and_password",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.as_str() == text)
    }

    /// The guess that was spent on it.
    pub const fn guess(self) -> Option<Guess> {
        match self {
            Self::Code => Some(Guess::Code),
            Self::Link => None,
            Self::LinkAndPassword => Some(Guess::Password),
        }
    }
}

/// The account and the session that a sign-up became, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The account.
    pub user_id: UserId,
    /// Its first session.
    pub session_id: SessionId,
    /// The kind of that session.
    pub kind: Kind,
    /// What it was verified by.
    pub proof: Proof,
    /// When.
    pub at: Timestamp,
}

impl Completion {
    /// Whether the request that completed the sign-up may have come again, as its answer was lost: the very same proof,
    /// for a session of the same kind, not much later.
    pub fn may_be_repeated(&self, proof: Proof, kind: Kind, now: Timestamp) -> bool {
        self.proof == proof && self.kind == kind && now.seconds_since(self.at) <= REPEAT_WINDOW
    }
}

impl PendingSignup {
    /// A new sign-up; its `signup_id` and what to mail are beside it.
    pub fn start(
        email: EmailAddress,
        username: Username,
        password_hash: PasswordHash,
        locale: Locale,
        decoy: bool,
        key: &MacKey,
        now: Timestamp,
    ) -> (Self, ProofSecret, LinkAndCode) {
        let (proof, signup_id, secrets) = MailedProof::start(Purpose::Signup, key, now);
        let pending = Self {
            proof,
            email,
            username,
            password_hash,
            locale,
            password_attempts: PASSWORD_ATTEMPTS,
            mails: 1,
            mailed_at: now,
            decoy,
            completion: None,
        };
        (pending, signup_id, secrets)
    }
}
