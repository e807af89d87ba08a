//! What is proved by a mail: that whoever asked for something reads the mailbox (DESIGN.md sections 4 and 9).
//!
//! Asking hands an identifier to the device that asked (`signup_id`, `reset_id`), and mails a link's token and a code.
//! All are stored as MACs alone, labelled by their purpose, so that a secret of one purpose is none of another. What two
//! of them, or one, are good for is the purpose's own matter.

use std::fmt;

use super::id::random_id;
use super::{EmailAddress, Epoch, User, UserId};
use crate::base64url;
use crate::clock::Timestamp;
use crate::random;
use crate::text;
use crate::token::{Mac, MacKey, MacKeyId};

/// How long a mailed link works: 24 h, in seconds.
pub const LINK_LIFETIME: u64 = 24 * 60 * 60;
/// How long a mailed code works: 10 min, in seconds.
pub const CODE_LIFETIME: u64 = 10 * 60;
/// How often a code may be guessed, over all codes of one proof.
pub const CODE_ATTEMPTS: u32 = 5;
/// Seconds after a proof was accepted within which the same request is answered the same, as its answer may have been
/// lost.
pub const REPEAT_WINDOW: u64 = 10 * 60;

/// What a mail is to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A sign-up.
    Signup,
    /// The reset of a password.
    Reset,
    /// A change of address.
    Change,
    /// That a change of address is taken back.
    Undo,
}

impl Purpose {
    /// Its word in labels and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signup => "signup",
            Self::Reset => "reset",
            Self::Change => "change",
            Self::Undo => "undo",
        }
    }
}

random_id! {
    /// Names a proof. Not a secret: both the device's identifier and the link's token carry it.
    ProofId
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

    fn mac(&self, purpose: Purpose, id: ProofId, key: &MacKey) -> Mac {
        key.mac("mailed-code", &[purpose.as_str().as_bytes(), id.as_bytes(), &self.0])
    }
}

impl fmt::Debug for VerificationCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VerificationCode(hidden)")
    }
}

/// A secret of 128 bits together with the proof it belongs to and the key of its MAC: 40 bytes, as 54 characters of
/// base64url. The device's identifier and the link's token are of this form.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofSecret {
    /// The key that the stored MACs were made with.
    pub key_id: MacKeyId,
    /// The proof.
    pub proof_id: ProofId,
    secret: [u8; 16],
}

impl ProofSecret {
    fn random(key_id: MacKeyId, proof_id: ProofId) -> Self {
        Self { key_id, proof_id, secret: random::bytes() }
    }

    /// Reads what [`expose`](Self::expose) writes. What mail programs and people add around it (a space, the end of
    /// `<…>`, a full stop) is passed over; not base64's padding, which is another spelling of the same.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '='));
        let bytes: [u8; 40] = base64url::decode_array(text)?;
        let (key_id, rest) = bytes.split_at(8);
        let (proof_id, secret) = rest.split_at(16);
        Some(Self {
            key_id: MacKeyId::from_bytes(key_id.try_into().ok()?),
            proof_id: ProofId::from_bytes(proof_id.try_into().ok()?),
            secret: secret.try_into().ok()?,
        })
    }

    /// The text that is handed out, once.
    pub fn expose(&self) -> String {
        base64url::encode([&self.key_id.as_bytes()[..], self.proof_id.as_bytes(), &self.secret].concat())
    }

    /// The MAC that is stored for it as the identifier of the device that asked.
    pub fn id_mac(&self, purpose: Purpose, key: &MacKey) -> Mac {
        self.mac("proof-id", purpose, key)
    }

    /// The MAC that is stored for it as a link's token.
    pub fn token_mac(&self, purpose: Purpose, key: &MacKey) -> Mac {
        self.mac("mailed-token", purpose, key)
    }

    fn mac(&self, label: &str, purpose: Purpose, key: &MacKey) -> Mac {
        key.mac(label, &[purpose.as_str().as_bytes(), self.proof_id.as_bytes(), &self.secret])
    }
}

impl fmt::Debug for ProofSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProofSecret").field("proof_id", &self.proof_id).finish_non_exhaustive()
    }
}

/// What a mail carries: a link's token and a code.
#[derive(Debug)]
pub struct LinkAndCode {
    /// The token of the link.
    pub token: ProofSecret,
    /// The code.
    pub code: VerificationCode,
}

impl LinkAndCode {
    /// New ones for a proof.
    fn random(key_id: MacKeyId, proof_id: ProofId) -> Self {
        Self { token: ProofSecret::random(key_id, proof_id), code: VerificationCode::random() }
    }

    /// The MACs to store, of token and code.
    fn macs(&self, purpose: Purpose, key: &MacKey) -> (Mac, Mac) {
        (self.token.token_mac(purpose, key), self.code.mac(purpose, self.token.proof_id, key))
    }
}

/// What is stored of a proof, in the item of what it proves.
#[derive(Clone, Debug)]
pub struct MailedProof {
    /// What it proves.
    pub purpose: Purpose,
    /// Its identifier.
    pub id: ProofId,
    /// The MAC of the identifier that the device has.
    pub id_mac: Mac,
    /// The MAC of the newest link's token.
    pub token_mac: Mac,
    /// The MAC of the newest code.
    pub code_mac: Mac,
    /// When the newest code ends.
    pub code_expires_at: Timestamp,
    /// Guesses of a code left.
    pub code_attempts: u32,
    /// When the proof ends.
    pub expires_at: Timestamp,
}

impl MailedProof {
    /// A new one. Beside it are the identifier for the device, and what to mail.
    pub fn start(purpose: Purpose, key: &MacKey, now: Timestamp) -> (Self, ProofSecret, LinkAndCode) {
        let id = ProofId::random();
        let device = ProofSecret::random(key.id(), id);
        let secrets = LinkAndCode::random(key.id(), id);
        let (token_mac, code_mac) = secrets.macs(purpose, key);
        let proof = Self {
            purpose,
            id,
            id_mac: device.id_mac(purpose, key),
            token_mac,
            code_mac,
            code_expires_at: now.plus(CODE_LIFETIME),
            code_attempts: CODE_ATTEMPTS,
            expires_at: now.plus(LINK_LIFETIME),
        };
        (proof, device, secrets)
    }

    /// The same proof with another link and code; those before die. Guesses are not refilled. Beside it is what to mail.
    pub fn renewed(&self, key: &MacKey, now: Timestamp) -> (Self, LinkAndCode) {
        let secrets = LinkAndCode::random(key.id(), self.id);
        let (token_mac, code_mac) = secrets.macs(self.purpose, key);
        (Self { token_mac, code_mac, code_expires_at: now.plus(CODE_LIFETIME), ..self.clone() }, secrets)
    }

    /// A new one without a code, whose link works longer. Beside it is what to mail.
    pub fn link(purpose: Purpose, key: &MacKey, lifetime: u64, now: Timestamp) -> (Self, LinkAndCode) {
        let (proof, _, secrets) = Self::start(purpose, key, now);
        (Self { code_attempts: 0, code_expires_at: now, expires_at: now.plus(lifetime), ..proof }, secrets)
    }

    /// The same proof, if no mail goes with it: no token and no code is its own, and guesses are counted all the same.
    #[must_use]
    pub fn without_mail(self) -> Self {
        let nobodys = || Mac::from_bytes(random::bytes());
        Self { token_mac: nobodys(), code_mac: nobodys(), ..self }
    }

    /// Whether this is the identifier of the device that asked.
    pub fn is_of_device(&self, id: &ProofSecret, key: &MacKey) -> bool {
        self.id_mac.equals(&id.id_mac(self.purpose, key))
    }

    /// Whether this is the token of its newest link.
    pub fn has_token(&self, token: &ProofSecret, key: &MacKey) -> bool {
        self.token_mac.equals(&token.token_mac(self.purpose, key))
    }

    /// Whether this is its newest code. A guess has to be spent before.
    pub fn has_code(&self, code: &VerificationCode, key: &MacKey) -> bool {
        self.code_mac.equals(&code.mac(self.purpose, self.id, key))
    }
}

/// The account that a proof was made for, as it was then: the proof holds while epoch and address are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofSubject {
    /// The account.
    pub user_id: UserId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its address, to which the mail went.
    pub email: EmailAddress,
}

impl ProofSubject {
    /// The account as it is now.
    pub fn of(user: &User) -> Self {
        Self { user_id: user.id, epoch: user.epoch, email: user.email.clone() }
    }

    /// Whether the account is still as it was.
    pub fn is_still(&self, user: &User) -> bool {
        *self == Self::of(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(4_102_444_800);

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
        let secret = ProofSecret::random(MacKey::random().id(), ProofId::random());
        let text = secret.expose();
        for pasted in [
            format!(" {text}\r\n"),
            format!("{text}>"),
            format!("<{text}>."),
            format!("\u{200b}{text}\u{a0}"),
            format!("\u{feff}{text}"),
        ] {
            assert_eq!(ProofSecret::parse(&pasted), Some(secret.clone()), "{pasted:?}");
        }
        for other in [format!("{text}A"), format!("{text}="), format!("{} {}", &text[..9], &text[9..])] {
            assert_eq!(ProofSecret::parse(&other), None, "{other:?}");
        }
        assert_eq!(ProofSecret::parse("AAAA"), None);
    }

    #[test]
    fn a_secret_is_of_one_use_and_one_purpose_only() {
        let key = MacKey::random();
        let (proof, device, secrets) = MailedProof::start(Purpose::Signup, &key, NOW);
        let LinkAndCode { token, code } = secrets;
        assert!(proof.is_of_device(&device, &key) && proof.has_token(&token, &key) && proof.has_code(&code, &key));
        assert!(!proof.is_of_device(&token, &key), "a link's token must not serve as the device's identifier");
        assert!(!proof.has_token(&device, &key));
        let other = MailedProof { purpose: Purpose::Reset, ..proof.clone() };
        assert!(!other.is_of_device(&device, &key) && !other.has_token(&token, &key) && !other.has_code(&code, &key));
        let other = MailedProof { id: ProofId::random(), ..proof };
        assert!(!other.has_code(&code, &key), "a code belongs to its proof");
    }

    #[test]
    fn a_renewed_proof_has_another_link_and_code_and_as_many_guesses() {
        let key = MacKey::random();
        let (proof, device, old) = MailedProof::start(Purpose::Signup, &key, NOW);
        let (renewed, new) = MailedProof { code_attempts: 2, ..proof }.renewed(&key, NOW.plus(60));
        assert!(renewed.has_token(&new.token, &key) && renewed.has_code(&new.code, &key));
        assert!(!renewed.has_token(&old.token, &key) && renewed.is_of_device(&device, &key));
        assert_eq!((renewed.code_attempts, renewed.code_expires_at), (2, NOW.plus(60 + CODE_LIFETIME)));
        assert_eq!(renewed.expires_at, NOW.plus(LINK_LIFETIME));
    }

    #[test]
    fn a_proof_without_a_mail_has_neither_token_nor_code() {
        let key = MacKey::random();
        let (proof, device, secrets) = MailedProof::start(Purpose::Reset, &key, NOW);
        let proof = proof.without_mail();
        assert!(!proof.has_token(&secrets.token, &key) && !proof.has_code(&secrets.code, &key));
        assert!(proof.is_of_device(&device, &key), "guesses are still counted");
        assert_eq!(proof.code_attempts, CODE_ATTEMPTS);
    }
}
