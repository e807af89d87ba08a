//! What mails say, in English and Korean, as text and as HTML.
//!
//! Templates are compiled in, and the HTML ones escape what they are given. No text of a stranger reaches a header:
//! the subject holds the service's name alone. The only such text in a body is a [`Username`], which by its type has
//! no control characters, spaces or markup. It may look like a host name (`evil.example`), so the HTML part breaks it
//! with elements where mail programs would see a link; in plain text nothing can stop one that links such words.

use askama::Template;

use crate::account::Username;
use crate::locale::Locale;

/// A mail to write.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// To whoever signed up: a link, and a code while it may still be guessed.
    Verification {
        /// The name typed at sign-up.
        username: &'a Username,
        /// The link to the page that verifies.
        link: &'a str,
        /// The code, eight digits.
        code: Option<&'a str>,
        /// For how many minutes the code works.
        code_minutes: u64,
        /// For how many hours the link works.
        link_hours: u64,
    },
    /// To the owner of an account, when somebody signs up with its address again.
    AlreadyRegistered {
        /// Where the app is.
        app_url: &'a str,
    },
}

/// A mail as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// Declares a template file's type.
macro_rules! template {
    ($name:ident, $path:tt, $escape:tt, { $($field:ident: $type:ty),* }) => {
        #[derive(Template)]
        #[template(path = $path, escape = $escape)]
        struct $name<'a> {
            $($field: $type,)*
        }
    };
}

type Text<'a> = &'a str;
template!(VerificationTextEn, "verification.en.txt", "none",
    { service: Text<'a>, username: Text<'a>, link: Text<'a>, code: Option<Text<'a>>, minutes: u64, hours: u64 });
template!(VerificationTextKo, "verification.ko.txt", "none",
    { service: Text<'a>, username: Text<'a>, link: Text<'a>, code: Option<Text<'a>>, minutes: u64, hours: u64 });
template!(VerificationHtmlEn, "verification.en.html", "html",
    { service: Text<'a>, name_parts: Vec<Text<'a>>, link: Text<'a>, code: Option<Text<'a>>, minutes: u64, hours: u64 });
template!(VerificationHtmlKo, "verification.ko.html", "html",
    { service: Text<'a>, name_parts: Vec<Text<'a>>, link: Text<'a>, code: Option<Text<'a>>, minutes: u64, hours: u64 });
template!(RegisteredTextEn, "already_registered.en.txt", "none", { service: Text<'a>, app_url: Text<'a> });
template!(RegisteredTextKo, "already_registered.ko.txt", "none", { service: Text<'a>, app_url: Text<'a> });
template!(RegisteredHtmlEn, "already_registered.en.html", "html", { service: Text<'a>, app_url: Text<'a> });
template!(RegisteredHtmlKo, "already_registered.ko.html", "html", { service: Text<'a>, app_url: Text<'a> });

impl Message<'_> {
    /// Writes the mail in a language, in the name of `service`.
    pub fn render(&self, locale: Locale, service: &str) -> RenderedMail {
        match *self {
            Message::Verification { username, link, code, code_minutes: minutes, link_hours: hours } => {
                let username = username.as_str();
                let name_parts = username.split_inclusive('.').collect();
                match locale {
                    Locale::En => RenderedMail {
                        subject: one_line(&format!("Confirm your address for {service}")),
                        text: write(&VerificationTextEn { service, username, link, code, minutes, hours }),
                        html: write(&VerificationHtmlEn { service, name_parts, link, code, minutes, hours }),
                    },
                    Locale::Ko => RenderedMail {
                        subject: one_line(&format!("{service} 이메일 주소 확인")),
                        text: write(&VerificationTextKo { service, username, link, code, minutes, hours }),
                        html: write(&VerificationHtmlKo { service, name_parts, link, code, minutes, hours }),
                    },
                }
            }
            Message::AlreadyRegistered { app_url } => match locale {
                Locale::En => RenderedMail {
                    subject: one_line(&format!("You already have an account with {service}")),
                    text: write(&RegisteredTextEn { service, app_url }),
                    html: write(&RegisteredHtmlEn { service, app_url }),
                },
                Locale::Ko => RenderedMail {
                    subject: one_line(&format!("{service} 계정이 이미 있습니다")),
                    text: write(&RegisteredTextKo { service, app_url }),
                    html: write(&RegisteredHtmlKo { service, app_url }),
                },
            },
        }
    }
}

/// Our templates have no part that can fail.
fn write(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// A header is one line, whatever the operator called the service.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://api.example.test/verify?token=AbC_-9";

    fn verification(name: &str, locale: Locale, code: Option<&str>) -> RenderedMail {
        let username = Username::parse(name).expect("a name");
        Message::Verification { username: &username, link: LINK, code, code_minutes: 10, link_hours: 24 }
            .render(locale, "Ann & Co")
    }

    #[test]
    fn both_languages_carry_link_and_code() {
        for (locale, lang) in [(Locale::En, "lang=\"en\""), (Locale::Ko, "lang=\"ko\"")] {
            let mail = verification("ann", locale, Some("01234567"));
            assert!(mail.subject.contains("Ann & Co"));
            assert!(mail.text.lines().any(|line| line == LINK), "{}", mail.text);
            assert!(mail.text.lines().any(|line| line == "01234567"), "{}", mail.text);
            assert_eq!(mail.text.matches("01234567").count(), 1);
            assert!(mail.html.contains(lang) && mail.html.contains("01234567") && mail.html.contains("Ann &#38; Co"));
            assert!(mail.html.contains(&format!("href=\"{LINK}\"")), "{}", mail.html);
        }
    }

    #[test]
    fn without_a_code_only_the_link_is_offered() {
        for locale in [Locale::En, Locale::Ko] {
            let mail = verification("ann", locale, None);
            assert!(mail.text.contains(LINK) && !mail.text.contains("10"), "{}", mail.text);
        }
    }

    #[test]
    fn a_name_that_looks_like_a_host_is_broken_up_in_html() {
        let mail = verification("evil.example", Locale::En, None);
        assert!(!mail.html.contains("evil.example"), "{}", mail.html);
        assert!(mail.html.contains("evil.") && mail.html.contains("example"));
    }

    #[test]
    fn the_owner_of_an_account_is_told_without_link_or_code() {
        for locale in [Locale::En, Locale::Ko] {
            let mail = Message::AlreadyRegistered { app_url: "https://app.example.test/" }.render(locale, "Latchkey");
            assert!(!mail.text.contains("token=") && mail.text.contains("https://app.example.test/"));
            assert!(mail.html.contains("https://app.example.test/"));
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        let subject =
            Message::AlreadyRegistered { app_url: "" }.render(Locale::En, "A\r\nBcc: eve@example.com").subject;
        assert!(!subject.contains(['\r', '\n']));
    }
}
