//! Passwords, and the strings that stand for them in the database.

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{EmailAddress, Username};

/// The most characters a password may have, after NFKC.
const MAX_LENGTH: usize = 128;

/// Passwords that everyone tries first; see `data/README.md`.
const COMMON: &str = include_str!("../../data/common-passwords.txt");

/// Why a new password is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WeakPassword {
    /// Fewer characters than the deployment asks for.
    #[error("the password needs at least {minimum} characters")]
    TooShort {
        /// The fewest characters accepted.
        minimum: usize,
    },
    /// More than 128 characters.
    #[error("the password may have at most {MAX_LENGTH} characters")]
    TooLong,
    /// It is among the passwords that are tried first, or is the user's own name or address.
    #[error("the password is too easy to guess")]
    Guessable,
}

/// A password as a request brought it, not yet looked at. Wiped when dropped, never shown.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Password, format = Password, description = "A password, as typed."))]
pub struct CandidatePassword(String);

/// A password to hash or compare: NFKC, 1 to 128 characters. Wiped when dropped, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl CandidatePassword {
    /// Takes a text, from a form for instance.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The password to compare with a stored one. No policy applies: it may be older than the policy.
    /// `None` when no stored password can equal it.
    pub fn to_compare(&self) -> Option<Password> {
        let normal = self.normalised()?;
        (!normal.0.is_empty()).then_some(normal)
    }

    /// The password to store for a new account.
    pub fn to_store(
        &self,
        minimum: usize,
        username: &Username,
        email: &EmailAddress,
    ) -> Result<Password, WeakPassword> {
        let password = self.normalised().ok_or(WeakPassword::TooLong)?;
        if password.0.chars().count() < minimum {
            return Err(WeakPassword::TooShort { minimum });
        }
        if password.is_guessable(username, email) {
            return Err(WeakPassword::Guessable);
        }
        Ok(password)
    }

    fn normalised(&self) -> Option<Password> {
        // A character has at most 4 bytes, and 128 are allowed after NFKC; this bounds the work before it.
        if self.0.len() > MAX_LENGTH * 16 {
            return None;
        }
        // Sized so that no growing leaves a copy of the password behind.
        let mut normal = String::with_capacity(self.0.len() * 18);
        normal.extend(self.0.nfkc());
        let password = Password(normal);
        (password.0.chars().count() <= MAX_LENGTH).then_some(password)
    }
}

impl Password {
    /// The bytes to hash.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn is_guessable(&self, username: &Username, email: &EmailAddress) -> bool {
        let mut folded = caseless::default_case_fold_str(&self.0);
        let address = email.normalised();
        let local_part = address.split('@').next().unwrap_or_default();
        let one_character = folded.chars().all(|c| folded.starts_with(c));
        let guessable = one_character
            || folded == username.normalised()
            || folded == address
            || folded == local_part
            || is_common(folded.as_bytes());
        folded.zeroize();
        guessable
    }
}

/// Whether a text is a line of [`COMMON`], by bisection: to walk all lines takes as long as two calls to the database.
fn is_common(text: &[u8]) -> bool {
    let mut lines = COMMON.as_bytes();
    while !lines.is_empty() {
        let middle = lines.len() / 2;
        let begin = lines[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let end = lines[middle..].iter().position(|byte| *byte == b'\n').map_or(lines.len(), |length| middle + length);
        lines = match text.cmp(&lines[begin..end]) {
            Ordering::Equal => return true,
            Ordering::Less => &lines[..begin],
            Ordering::Greater => lines.get(end + 1..).unwrap_or_default(),
        };
    }
    false
}

impl fmt::Debug for CandidatePassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CandidatePassword(hidden)")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}

/// A PHC string: algorithm, parameters, salt and hash of a password. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string that [`PasswordHasher`](crate::password_hasher::PasswordHasher) made or the database held.
    pub(crate) const fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The PHC string.
    pub(crate) fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn store(text: &str) -> Result<Password, WeakPassword> {
        let username = Username::parse("ann.oneil").expect("valid");
        let email = EmailAddress::parse("ann.lives.here@example.com").expect("valid");
        CandidatePassword::new(text.to_owned()).to_store(8, &username, &email)
    }

    #[test]
    fn accepts_length_without_composition_rules() {
        for text in ["correct horse battery", "zzzzyyyy", "비밀번호는길어야해요", "    spaces    "] {
            assert!(store(text).is_ok(), "{text}");
        }
        assert!(store(&"ab".repeat(64)).is_ok());
    }

    #[test]
    fn refuses_short_long_and_guessable_ones() {
        assert_eq!(store("1234567").unwrap_err(), WeakPassword::TooShort { minimum: 8 });
        assert_eq!(store(&"ab".repeat(65)).unwrap_err(), WeakPassword::TooLong);
        assert_eq!(store(&"a".repeat(100_000)).unwrap_err(), WeakPassword::TooLong);
        for text in [
            "password",
            "PassWord",
            "ｐａｓｓｗｏｒｄ",
            "qwertyuiop",
            "aaaaaaaaaaaa",
            "Ann.ONeil",
            "ann.lives.here@example.com",
            "Ann.Lives.Here",
        ] {
            assert_eq!(store(text).unwrap_err(), WeakPassword::Guessable, "{text}");
        }
    }

    #[test]
    fn two_spellings_of_one_text_are_one_password() {
        let composed = CandidatePassword::new("caf\u{e9} au lait".to_owned()).to_compare().expect("comparable");
        let combining = CandidatePassword::new("cafe\u{301} au lait".to_owned()).to_compare().expect("comparable");
        assert_eq!(composed.as_bytes(), combining.as_bytes());
    }

    #[test]
    fn what_cannot_be_stored_is_not_compared() {
        assert!(CandidatePassword::new(String::new()).to_compare().is_none());
        assert!(CandidatePassword::new("a".repeat(129)).to_compare().is_none());
    }

    #[test]
    fn the_list_is_sorted_lower_case_and_long_enough() {
        assert!(COMMON.lines().all(|line| line.len() >= 8));
        assert!(COMMON.lines().is_sorted());
    }

    #[test]
    fn every_line_of_the_list_is_found_and_nothing_else() {
        let lines: HashSet<&str> = COMMON.lines().collect();
        for line in &lines {
            assert!(is_common(line.as_bytes()), "{line}");
            let shorter: String = line.chars().skip(1).collect();
            for other in [format!("{line}\n"), format!("\n{line}"), format!("{line}!"), shorter] {
                assert_eq!(is_common(other.as_bytes()), lines.contains(&*other), "{other:?}");
            }
        }
        for other in ["", "\n", "!", "~~~~~~~~", "힣힣힣힣힣힣힣힣"] {
            assert!(!is_common(other.as_bytes()), "{other:?}");
        }
    }
}
