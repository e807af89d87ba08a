//! The sender of mails, as a header holds it.

use email_encoding::headers::quoted_string;
use email_encoding::headers::writer::EmailWriter;

use crate::account::EmailAddress;

/// An address with or without a name before it, ready for the header `From`: a name that is not ASCII is encoded
/// (RFC 2047), one with a comma or the like quoted (RFC 5322 §3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(String);

impl Sender {
    /// Reads `no-reply@example.com` or `Example <no-reply@example.com>`, the name quoted or not; `None` for what SES would
    /// refuse.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<')?,
            None => ("", text),
        };
        let address = EmailAddress::parse(address).ok()?;
        let name = name.trim();
        let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if unquoted.chars().any(|c| c.is_control() || matches!(c, '<' | '>')) {
            return None;
        }
        if unquoted.is_empty() {
            return Some(Self(address.as_str().to_owned()));
        }
        let mut encoded = String::new();
        quoted_string::encode(unquoted, &mut EmailWriter::new(&mut encoded, 0, 0, false)).ok()?;
        // SES folds the header itself.
        Some(Self(format!("{} <{}>", encoded.replace("\r\n", ""), address.as_str())))
    }

    /// As the header holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Option<String> {
        Sender::parse(text).map(|sender| sender.0)
    }

    #[test]
    fn a_name_is_written_as_mail_programs_read_it() {
        for (text, expected) in [
            ("no-reply@example.com", "no-reply@example.com"),
            ("Latchkey <no-reply@example.com>", "Latchkey <no-reply@example.com>"),
            ("Ann, Bob & Co <a@b.example>", "\"Ann, Bob & Co\" <a@b.example>"),
            ("\"Ann, Bob\" <a@b.example>", "\"Ann, Bob\" <a@b.example>"),
            ("래치키 <a@b.example>", "=?utf-8?b?656Y7LmY7YKk?= <a@b.example>"),
        ] {
            assert_eq!(header(text).as_deref(), Some(expected));
        }
        let long = header(&format!("{} <a@b.example>", "래치키".repeat(20))).expect("a sender");
        assert!(long.is_ascii() && !long.contains(['\r', '\n']), "{long}");
        assert!(long.split(' ').all(|word| word.len() <= 76), "{long}");
    }

    #[test]
    fn senders_that_ses_rejects_are_rejected() {
        for text in [
            "",
            "Latchkey",
            "Latchkey <>",
            "a@b@c",
            "a b@example.com",
            "An\r\nBcc: x <a@b.example>",
            "<a@b",
            "é@b.example",
        ] {
            assert_eq!(header(text), None, "{text:?}");
        }
    }
}
