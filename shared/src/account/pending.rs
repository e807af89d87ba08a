//! A sign-up that nobody has answered yet, and its three secrets.
//!
//! It owns neither address nor name. It becomes an account when whoever started it shows two things that only the
//! mailbox's owner who also started the sign-up has (DESIGN.md section 4); a mailed secret alone is nothing.

use std::fmt;

use super::id::random_id;
use super::{EmailAddress, PasswordHash, UserId, Username};
use crate::base64url;
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::random;
use crate::session::{Kind, SessionId};
use crate::text;
use crate::token::{Mac, MacKey, MacKeyId};

/// How long a sign-up waits for its answer, and how long its link works: 24 h, in seconds.
pub const SIGNUP_LIFETIME: u64 = 24 * 60 * 60;
/// How long a mailed code works: 10 min, in seconds.
pub const CODE_LIFETIME: u64 = 10 * 60;
/// How often a code may be guessed, over all codes of one sign-up.
pub const CODE_ATTEMPTS: u32 = 5;
/// How often the password may be guessed with a mailed link, over all links of one sign-up.
pub const PASSWORD_ATTEMPTS: u32 = 10;
/// How many mails one sign-up may send, the first included.
pub const MAX_MAILS: u32 = 5;
/// Seconds after a verification within which the same request is answered with the session that it made.
pub const REPEAT_WINDOW: u64 = 10 * 60;
/// Seconds between two mails of one sign-up.
pub const RESEND_COOLDOWN: u64 = 60;

random_id! {
    /// Names a pending sign-up. Not a secret: both `signup_id` and the link's token carry it.
    PendingId
}

/// Eight digits to read from the mail and type.
#[derive(Clone, PartialEq, Eq)]
pub struct VerificationCode([u8; 8]);

impl VerificationCode {
    /// A new code, each equally likely.
    pub fn random() -> Self {
        let mut digits = [0; 8];
        digits.copy_from_slice(format!("{:08}", random::below(100_000_000)).as_bytes());
        Self(digits)
    }

    /// Reads a code as a person types or pastes it: digits of any script, separated or not, whatever is around them.
    pub fn parse(text: &str) -> Option<Self> {
        text::digits(text, 8)?.try_into().ok().map(Self)
    }

    /// The eight digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for VerificationCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VerificationCode(hidden)")
    }
}

/// A secret of 128 bits together with the sign-up it belongs to and the key of its MAC: 40 bytes, as 54 characters of
/// base64url. `signup_id` and the link's `token` are of this form.
#[derive(Clone, PartialEq, Eq)]
pub struct SignupSecret {
    /// The key that the stored MACs were made with.
    pub key_id: MacKeyId,
    /// The sign-up.
    pub pending_id: PendingId,
    secret: [u8; 16],
}

impl SignupSecret {
    fn random(key_id: MacKeyId, pending_id: PendingId) -> Self {
        Self { key_id, pending_id, secret: random::bytes() }
    }

    /// Reads what [`expose`](Self::expose) writes. What mail programs and people add around it (a space, the end of
    /// `<…>`, a full stop) is passed over; not base64's padding, which is another spelling of the same.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '='));
        let bytes: [u8; 40] = base64url::decode_array(text)?;
        let (key_id, rest) = bytes.split_at(8);
        let (pending_id, secret) = rest.split_at(16);
        Some(Self {
            key_id: MacKeyId::from_bytes(key_id.try_into().ok()?),
            pending_id: PendingId::from_bytes(pending_id.try_into().ok()?),
            secret: secret.try_into().ok()?,
        })
    }

    /// The text that is handed out, once.
    pub fn expose(&self) -> String {
        base64url::encode([&self.key_id.as_bytes()[..], self.pending_id.as_bytes(), &self.secret].concat())
    }

    /// The MAC that is stored for it as a `signup_id`.
    pub fn signup_id_mac(&self, key: &MacKey) -> Mac {
        key.mac("signup-id", &[self.pending_id.as_bytes(), &self.secret])
    }

    /// The MAC that is stored for it as a link's token.
    pub fn token_mac(&self, key: &MacKey) -> Mac {
        key.mac("signup-token", &[self.pending_id.as_bytes(), &self.secret])
    }
}

impl fmt::Debug for SignupSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignupSecret").field("pending_id", &self.pending_id).finish_non_exhaustive()
    }
}

/// What a mail carries: a link's token and a code.
#[derive(Debug)]
pub struct SignupSecrets {
    /// The token of the link.
    pub token: SignupSecret,
    /// The code.
    pub code: VerificationCode,
}

impl SignupSecrets {
    /// New ones for a sign-up.
    pub fn random(key_id: MacKeyId, pending_id: PendingId) -> Self {
        Self { token: SignupSecret::random(key_id, pending_id), code: VerificationCode::random() }
    }

    /// The MACs to store.
    pub fn macs(&self, key: &MacKey) -> (Mac, Mac) {
        (self.token.token_mac(key), code_mac(key, self.token.pending_id, &self.code))
    }
}

/// The MAC that is stored for a code.
pub fn code_mac(key: &MacKey, pending_id: PendingId, code: &VerificationCode) -> Mac {
    key.mac("signup-code", &[pending_id.as_bytes(), &code.0])
}

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
    /// Its identifier.
    pub id: PendingId,
    /// The address to verify.
    pub email: EmailAddress,
    /// The name asked for.
    pub username: Username,
    /// The password chosen.
    pub password_hash: PasswordHash,
    /// The language of its mails.
    pub locale: Locale,
    /// The MAC of `signup_id`.
    pub signup_id_mac: Mac,
    /// The MAC of the newest link's token.
    pub token_mac: Mac,
    /// The MAC of the newest code.
    pub code_mac: Mac,
    /// When the newest code ends.
    pub code_expires_at: Timestamp,
    /// Guesses of a code left.
    pub code_attempts: u32,
    /// Guesses of the password left.
    pub password_attempts: u32,
    /// Mails sent so far.
    pub mails: u32,
    /// When the newest mail was sent.
    pub mailed_at: Timestamp,
    /// When the sign-up ends.
    pub expires_at: Timestamp,
    /// The address had an account already when the sign-up came: it only looks like a sign-up and never verifies.
    pub decoy: bool,
    /// What became of it, once it was verified.
    pub completion: Option<Completion>,
}

/// How a sign-up was shown to be of whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the device that signed up, with the mailed code.
    Code,
    /// By the device that signed up, with the mailed link.
    Link,
    /// By another device, with the mailed link and the password.
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
    /// A new sign-up with its three secrets; its `signup_id` and mailed secrets are returned beside it.
    pub fn start(
        email: EmailAddress,
        username: Username,
        password_hash: PasswordHash,
        locale: Locale,
        decoy: bool,
        key: &MacKey,
        now: Timestamp,
    ) -> (Self, SignupSecret, SignupSecrets) {
        let id = PendingId::random();
        let signup_id = SignupSecret::random(key.id(), id);
        let secrets = SignupSecrets::random(key.id(), id);
        let (token_mac, code_mac) = secrets.macs(key);
        let pending = Self {
            id,
            email,
            username,
            password_hash,
            locale,
            signup_id_mac: signup_id.signup_id_mac(key),
            token_mac,
            code_mac,
            code_expires_at: now.plus(CODE_LIFETIME),
            code_attempts: CODE_ATTEMPTS,
            password_attempts: PASSWORD_ATTEMPTS,
            mails: 1,
            mailed_at: now,
            expires_at: now.plus(SIGNUP_LIFETIME),
            decoy,
            completion: None,
        };
        (pending, signup_id, secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for text in [
            "12345678",
            "1234 5678",
            " 1234-5678 ",
            "12345678\n",
            "\u{feff}12345678\u{200b}",
            "12\u{a0}34\u{2009}56\t78",
            "123.456.78",
            "1234\u{2013}5678",
            "1\u{200d}2345678",
            "１２３４５６７８",
            "١٢٣٤٥٦٧٨",
            "۱۲۳۴ ۵۶۷۸",
            "१२३४५६७८",
        ] {
            assert_eq!(
                VerificationCode::parse(text).as_ref().map(VerificationCode::as_str),
                Some("12345678"),
                "{text}"
            );
        }
        for text in ["", "1234567", "123456789", "1234567a", "1234567²", "12345678/", "一二三四五六七八", "+12345678"]
        {
            assert_eq!(VerificationCode::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_pasted_secret_is_read() {
        let secret = SignupSecret::random(MacKey::random().id(), PendingId::random());
        let text = secret.expose();
        for pasted in [
            format!(" {text}\r\n"),
            format!("{text}>"),
            format!("<{text}>."),
            format!("\u{200b}{text}\u{a0}"),
            format!("\u{feff}{text}"),
        ] {
            assert_eq!(SignupSecret::parse(&pasted), Some(secret.clone()), "{pasted:?}");
        }
        for other in [format!("{text}A"), format!("{text}="), format!("{} {}", &text[..9], &text[9..])] {
            assert_eq!(SignupSecret::parse(&other), None, "{other:?}");
        }
    }

    #[test]
    fn a_secret_is_read_back_and_is_of_one_use_only() {
        let key = MacKey::random();
        let secret = SignupSecret::random(key.id(), PendingId::random());
        assert_eq!(SignupSecret::parse(&secret.expose()), Some(secret.clone()));
        assert!(!secret.token_mac(&key).equals(&secret.signup_id_mac(&key)), "a token must not serve as a signup_id");
        assert_eq!(SignupSecret::parse("AAAA"), None);
    }

    #[test]
    fn a_code_belongs_to_its_sign_up() {
        let (key, code) = (MacKey::random(), VerificationCode::random());
        let (one, two) = (PendingId::random(), PendingId::random());
        assert!(code_mac(&key, one, &code).equals(&code_mac(&key, one, &code)));
        assert!(!code_mac(&key, one, &code).equals(&code_mac(&key, two, &code)));
    }
}
