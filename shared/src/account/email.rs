//! E-mail addresses.

use std::fmt;

use email_address::Options;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text;

/// The text is no address that SES can mail.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an e-mail address")]
pub struct InvalidEmail;

/// An address that can be mailed: an ASCII local part without quotes, and a domain of at least two labels in its
/// ASCII form (IDNA, UTS 46). `Debug` hides it, as logs must not hold addresses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl TryFrom<String> for EmailAddress {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        Self::parse(&text)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl EmailAddress {
    /// Reads an address as a person types or pastes it: full-width letters, and `<…>` or `mailto:` around it, are taken
    /// as they were meant.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        // No address of this length becomes short enough; it bounds the work.
        if text.len() > 2048 {
            return Err(InvalidEmail);
        }
        let typed: String = text::trim(text).chars().map(text::half_width).collect();
        let (local, domain) = bare(&typed).rsplit_once('@').ok_or(InvalidEmail)?;
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        let address = format!("{local}@{domain}");
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        let valid = address.len() <= MAX_LENGTH
            && names_a_mailbox(local)
            && has_top_level_domain(&domain)
            && email_address::EmailAddress::parse_with_options(&address, options).is_ok();
        if valid { Ok(Self(address)) } else { Err(InvalidEmail) }
    }

    /// The address as it is mailed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which an address is unique: lower case throughout.
    pub fn normalised(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// The most characters that a server has to take as an address (RFC 5321 §4.5.3.1.3, less its angle brackets).
const MAX_LENGTH: usize = 254;

/// The address in `<…>` or `mailto:…`; none can begin like that itself.
fn bare(text: &str) -> &str {
    let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    match inner.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => text::trim(&inner[7..]),
        _ => text::trim(inner),
    }
}

/// Whether every server takes `local` for the name of a mailbox. Some read more in it: a quoted string, a route to
/// another host (`%`, `!`), a command or file (`|`, `/`), encoded characters (RFC 2047's `=?…?=`).
fn names_a_mailbox(local: &str) -> bool {
    local.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%' | b'!' | b'|'))
        && !local.starts_with('/')
        && !local.contains("=?")
        && !local.contains("?=")
}

/// Whether a domain ends as names do, and IP addresses in any notation do not: in letters alone (RFC 3696 §2), or in
/// an IDN's `xn--`.
fn has_top_level_domain(domain: &str) -> bool {
    domain.rsplit_once('.').is_some_and(|(_, last)| {
        last.starts_with("xn--") || (last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic()))
    })
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EmailAddress(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_accepted_address_is_stable(text in "[a-zA-Z0-9.+@%!=?'_ <>-]{1,30}@[a-zA-Z0-9.é-]{1,20}[.][a-z]{1,4}|\\PC{0,40}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address.clone()));
                let normal = address.normalised();
                prop_assert_eq!(EmailAddress::parse(&normal).map(|address| address.normalised()), Ok(normal));
                prop_assert!(address.as_str().is_ascii() && !address.as_str().contains([' ', '<', '>', '%', '!']));
            }
        }

        #[test]
        fn any_text_is_an_address_or_not(text in any::<String>()) {
            let _ = EmailAddress::parse(&text);
        }
    }

    #[test]
    fn accepts_what_people_have() {
        for (typed, mailed) in [
            ("ann@example.com", "ann@example.com"),
            ("Ann.O'Neil+tag@Example.COM", "Ann.O'Neil+tag@example.com"),
            ("a@bücher.example", "a@xn--bcher-kva.example"),
            ("민수@example.com", ""),
            ("kim@예시.한국", "kim@xn--vv4b11d.xn--3e0b707e"),
            ("o'connor+tag@sub.example.co.uk", "o'connor+tag@sub.example.co.uk"),
            ("a@b.example", "a@b.example"),
            ("first_last-2@mail-1.example.museum", "first_last-2@mail-1.example.museum"),
            ("bounce=ann=example.com@lists.example", "bounce=ann=example.com@lists.example"),
            ("1234@1und1.example", "1234@1und1.example"),
            ("ann@4.example", "ann@4.example"),
            // Pasted.
            ("ann@example.com ", "ann@example.com"),
            ("\u{feff}ann@example.com\r\n", "ann@example.com"),
            ("\u{202a}ann@example.com\u{202c}\u{a0}", "ann@example.com"),
            ("<ann@example.com>", "ann@example.com"),
            ("mailto:ann@example.com", "ann@example.com"),
            ("<MAILTO:ann@example.com>", "ann@example.com"),
            ("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ann@example.com"),
        ] {
            let address = EmailAddress::parse(typed);
            assert_eq!(address.as_ref().map_or("", EmailAddress::as_str), mailed, "{typed}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for typed in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@localhost",
            "ann@[127.0.0.1]",
            "ann@exa mple.com",
            "a nn@example.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann\n@example.com",
            "\"ann\"@example.com",
            "Ann <ann@example.com>",
            "ann@example..com",
            "ann..b@example.com",
            ".ann@example.com",
            "ann@-example.com",
            "ann@example.com,eve@example.com",
            "ann@example.com.",
            "an\u{200b}n@example.com",
            // What servers read more in.
            "=?utf-8?q?=61nn?=@example.com",
            "=?x?q?ann=40example.net=3e=00?=foo@example.com",
            "foo=?iso-8859-1?b?YQ?=@example.com",
            "a%b@example.com",
            "ann%example.net@example.com",
            "a!b@example.com",
            "example.net!ann@example.com",
            "|id@example.com",
            "/var/mail/ann@example.com",
            "@relay.example:ann@example.com",
            "ann@example.net@example.com",
            "a\\@b@example.com",
            "(comment)ann@example.com",
            "mailto:ann@example.com?bcc=eve@example.com",
            "<<ann@example.com>>",
            "mailto:",
            // No host of the mail's world.
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "a@１２７.０.０.１",
            "a@127.1",
            "a@2130706433",
            "a@0x7f.0x1",
            "a@example.123",
            "a@example.c",
            "a@example.4com",
            "a@com",
            "a@.com",
            "a@exa_mple.com",
            "a@xn--0.com",
            "a@example.com/path",
            "a@example.com:25",
        ] {
            assert_eq!(EmailAddress::parse(typed), Err(InvalidEmail), "{typed:?}");
        }
        assert_eq!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(65))), Err(InvalidEmail));
        assert_eq!(EmailAddress::parse(&format!("a@{}com", "abcdefgh.".repeat(30))), Err(InvalidEmail));
        assert_eq!(EmailAddress::parse(&format!("a@{}.com", "b".repeat(64))), Err(InvalidEmail));
        assert!(EmailAddress::parse(&format!("{}@{}.com", "a".repeat(64), "b".repeat(63))).is_ok());
        let domain = format!("{}com", "abcdefghi.".repeat(20));
        assert_eq!(EmailAddress::parse(&format!("{}@{domain}", "a".repeat(64))), Err(InvalidEmail), "255 and more");
        assert!(EmailAddress::parse(&format!("{}@{domain}", "a".repeat(50))).is_ok(), "254");
    }

    #[test]
    fn is_unique_without_regard_to_case() {
        let one = EmailAddress::parse("Ann@Example.com").expect("valid");
        let two = EmailAddress::parse("aNN@eXample.com").expect("valid");
        assert_eq!(one.normalised(), two.normalised());
    }

    #[test]
    fn is_not_shown_by_debug() {
        let address = EmailAddress::parse("ann@example.com").expect("valid");
        assert!(!format!("{address:?}").contains("ann"));
    }
}
