//! User names.

use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_security::{GeneralSecurityProfile, MixedScript};

/// The text cannot be a user name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a user name has 3 to 32 letters or digits of one script, or any of _ . -")]
pub struct InvalidUsername;

/// A public name: 3 to 32 characters after NFKC, letters and digits of one script (UTS 39 §5.1) that identifiers may
/// have (UTS 39 §3.1: nothing invisible, nothing obsolete), `_`, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Reads a name as a person types it.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        // NFKC lengthens a text by a factor of 18 at most; nothing beyond this can become short enough.
        if text.len() > 32 * 18 {
            return Err(InvalidUsername);
        }
        let name: String = text.nfkc().collect();
        let length_fits = (3..=32).contains(&name.chars().count());
        let characters_fit =
            name.chars().all(|c| (c.is_alphanumeric() && c.identifier_allowed()) || matches!(c, '_' | '.' | '-'));
        let says_something = name.chars().any(char::is_alphanumeric);
        if length_fits && characters_fit && says_something && name.is_single_script() {
            Ok(Self(name))
        } else {
            Err(InvalidUsername)
        }
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which a name is unique: case-folded, and in NFKC again.
    pub fn normalised(&self) -> String {
        caseless::default_case_fold_str(&self.0).nfkc().collect()
    }
}

impl fmt::Display for Username {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_names_of_one_script() {
        for name in ["ann", "Ann_O.Neil-2", "민수김", "김민수2", "たろう山田", "Ωμεγα", "ＡＮＮ"] {
            assert!(Username::parse(name).is_ok(), "{name}");
        }
        assert_eq!(Username::parse("ＡＮＮ").expect("full width").as_str(), "ANN");
    }

    #[test]
    fn refuses_everything_else() {
        for name in [
            "",
            "an",
            "a b c",
            "ann\r\nBcc: x",
            "<b>ann</b>",
            "аnn",
            "ann\u{202e}",
            "ann\u{200b}",
            "a@b.c",
            "...",
            "ann/../x",
            "ann\0",
            // Letters, says Unicode, that nobody sees: the fillers of Hangul.
            "민수\u{1160}",
            "민수\u{115f}",
            "민수\u{3164}",
            "민수\u{ffa0}",
        ] {
            assert_eq!(Username::parse(name), Err(InvalidUsername), "{name:?}");
        }
        assert!(Username::parse(&"a".repeat(32)).is_ok());
        assert_eq!(Username::parse(&"a".repeat(33)), Err(InvalidUsername));
    }

    #[test]
    fn is_unique_without_regard_to_case() {
        for (one, two) in [("Ann", "aNN"), ("Straße", "STRASSE"), ("ΣΟΦΟΣ", "σοφος")] {
            let (one, two) = (Username::parse(one).expect(one), Username::parse(two).expect(two));
            assert_eq!(one.normalised(), two.normalised());
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_stable_and_holds_no_control_characters(text in "\\PC{0,40}") {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&name));
                prop_assert!(!name.as_str().chars().any(char::is_control));
                prop_assert_eq!(again.expect("parsed").normalised(), name.normalised());
            }
        }
    }
}
