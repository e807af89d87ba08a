//! E-mail addresses.

use std::fmt;

use email_address::Options;
use thiserror::Error;

/// The text is no address that SES can mail.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an e-mail address")]
pub struct InvalidEmail;

/// An address that can be mailed: an ASCII local part without quotes, and a domain of at least two labels in its
/// ASCII form (IDNA, UTS 46). `Debug` hides it, as logs must not hold addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address as a person types it.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let unquoted = local.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        let address = format!("{local}@{domain}");
        let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
        let valid = unquoted && email_address::EmailAddress::parse_with_options(&address, options).is_ok();
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

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EmailAddress(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_have() {
        for (typed, mailed) in [
            ("ann@example.com", "ann@example.com"),
            ("Ann.O'Neil+tag@Example.COM", "Ann.O'Neil+tag@example.com"),
            ("a@bücher.example", "a@xn--bcher-kva.example"),
            ("민수@example.com", ""),
            ("kim@예시.한국", "kim@xn--vv4b11d.xn--3e0b707e"),
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
        ] {
            assert_eq!(EmailAddress::parse(typed), Err(InvalidEmail), "{typed:?}");
        }
        assert_eq!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(65))), Err(InvalidEmail));
        assert_eq!(EmailAddress::parse(&format!("a@{}com", "abcdefgh.".repeat(30))), Err(InvalidEmail));
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
