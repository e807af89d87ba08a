//! What people and browsers write, and what we read in it.

use shared::account::{CandidatePassword, EmailAddress, ProofSecret, UserId, Username, VerificationCode};
use shared::device;
use shared::http::origin::{ApiUrl, Origin};
use shared::locale::Locale;
use shared::mail::Sender;
use shared::outbox::OutboxRef;
use shared::session::SessionId;
use shared::token::{DeviceToken, DeviceTokens};
use unicode_normalization::UnicodeNormalization;
use url::Url;

fn text(data: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// What surrounds pasted text, and nobody means.
const AROUND: [&str; 4] = [" ", "\r\n", "\u{feff}", "\u{200b}\u{a0}"];

/// An address is read as it is written, is unique by a form that stays, and is not another one for spaces around it.
pub(crate) fn email(data: &[u8]) {
    let typed = text(data);
    let Ok(address) = EmailAddress::parse(&typed) else { return };
    assert!(EmailAddress::parse(address.as_str()).as_ref() == Ok(&address), "{typed:?}: reads itself");
    let normal = address.normalised();
    let again = EmailAddress::parse(&normal).map(|again| again.normalised());
    assert_eq!(again.as_ref(), Ok(&normal), "{typed:?}: its normal form");
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"%!|".contains(&byte);
    assert!(address.as_str().len() <= 254 && address.as_str().bytes().all(is_plain), "{typed:?}");
    // Beyond this length no text is looked at.
    for around in AROUND.iter().filter(|_| typed.len() < 2000) {
        assert!(EmailAddress::parse(&format!("{around}{typed}{around}")).as_ref() == Ok(&address), "{typed:?}");
    }
    let stored = serde_json::to_string(&address).expect("an address is text");
    assert!(serde_json::from_str::<EmailAddress>(&stored).is_ok_and(|read| read == address), "{typed:?}: stored");
}

/// A name is read as it is written, holds nothing that pages, mails or headers could stumble over, and is the same person's in
/// another case.
pub(crate) fn username(data: &[u8]) {
    let typed = text(data);
    let Ok(name) = Username::parse(&typed) else { return };
    assert_eq!(Username::parse(name.as_str()).as_ref(), Ok(&name), "{typed:?}: reads itself");
    assert!((3..=32).contains(&name.as_str().chars().count()), "{typed:?}");
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>&\"'@/\\:;,%".contains(c);
    assert!(name.as_str().chars().all(is_plain), "{typed:?}");
    let normal = name.normalised();
    let upper = name.as_str().to_uppercase();
    let lower = name.as_str().to_lowercase();
    for other in [&normal, &upper, &lower] {
        if let Ok(other) = Username::parse(other) {
            assert_eq!(other.normalised(), normal, "{typed:?} and {other}");
        }
    }
    for around in AROUND.iter().filter(|_| typed.len() < 500) {
        assert_eq!(Username::parse(&format!("{around}{typed}{around}")).as_ref(), Ok(&name), "{typed:?}");
    }
}

/// A password is judged in its normal form alone, and what anybody may not have, nobody may.
pub(crate) fn password(data: &[u8]) {
    let typed = text(data).into_owned();
    let normal: String = typed.nfkc().collect();
    // Beyond this length no text is looked at.
    let fits = |text: &str| text.len() <= 2048;
    let (password, other) = (CandidatePassword::new(typed.clone()), CandidatePassword::new(normal.clone()));
    let length = normal.chars().count();
    assert_eq!(password.to_compare().is_some(), fits(&typed) && (1..=128).contains(&length), "{typed:?}");
    for minimum in [8, 15] {
        let verdict = password.check(minimum, "Latchkey");
        assert!(verdict.is_err() || (minimum..=128).contains(&length), "{typed:?}");
        if fits(&typed) && fits(&normal) {
            assert_eq!(verdict, other.check(minimum, "Latchkey"), "{typed:?} and {normal:?}");
        }
        let name = Username::parse("ann.lee").expect("a name");
        let address = EmailAddress::parse("ann.lee@example.com").expect("an address");
        let for_ann = password.to_store(minimum, &name, &address, "Latchkey");
        assert!(verdict.is_ok() || for_ann.is_err(), "{typed:?}: refused for anyone and stored for somebody");
    }
}

/// A code is eight digits whatever stands between them; a mailed secret is what it is written as.
pub(crate) fn code(data: &[u8]) {
    let typed = text(data);
    if let Some(code) = VerificationCode::parse(&typed) {
        assert!(code.as_str().len() == 8 && code.as_str().bytes().all(|byte| byte.is_ascii_digit()), "{typed:?}");
        assert!(VerificationCode::parse(code.as_str()).as_ref() == Some(&code), "{typed:?}");
        assert!(VerificationCode::parse(&format!(" {typed}-\u{200b}")).as_ref() == Some(&code), "{typed:?}");
    }
    if let Some(secret) = ProofSecret::parse(&typed) {
        let written = secret.expose();
        assert!(typed.contains(&written), "{typed:?} is not {written}");
        assert!(ProofSecret::parse(&written) == Some(secret), "{typed:?}");
    }
}

/// Identifiers, tokens of devices and keys of items have one spelling each.
pub(crate) fn identifiers(data: &[u8]) {
    let typed = text(data);
    if let Some(id) = UserId::parse(&typed) {
        assert_eq!(id.to_string(), typed);
    }
    if let Some(id) = SessionId::parse(&typed) {
        assert_eq!(id.to_string(), typed);
    }
    if let Some(token) = DeviceToken::parse(&typed) {
        assert_eq!(token.expose(), typed);
    }
    let tokens = DeviceTokens::parse(&typed).expose();
    assert_eq!(DeviceTokens::parse(&tokens).expose(), tokens);
    assert!(tokens.split('.').count() <= 5 && tokens.len() <= typed.len(), "{typed:?}");
    let (pk, sk) = typed.split_once('\n').unwrap_or((&typed, ""));
    if let Some(reference) = OutboxRef::parse(pk, sk) {
        assert_eq!(reference.to_keys(), (pk.to_owned(), sk.to_owned()));
    }
}

/// What was asked for counts first, and no header is read in two ways.
pub(crate) fn locale(data: &[u8]) {
    let typed = text(data);
    let (tag, header) = typed.split_once('\n').unwrap_or((&typed, &typed));
    let chosen = Locale::choose(Some(tag), Some(header));
    assert!(Locale::parse(tag).is_none_or(|asked| asked == chosen), "{typed:?}");
    assert_eq!(Locale::parse(chosen.as_str()), Some(chosen));
    let spaced = header.replace(',', " , ").replace(';', " ; ");
    assert_eq!(Locale::choose(None, Some(&spaced)), Locale::choose(None, Some(header)), "{header:?}");
}

/// Whatever a client calls itself, people are shown a few plain words.
pub(crate) fn agent(data: &[u8]) {
    let typed = text(data);
    let words = device::words(&typed);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._-+".contains(c);
    assert!(!words.trim().is_empty() && words.len() <= 70 && words.chars().all(is_plain), "{typed:?}: {words:?}");
}

/// What a deployment is given: origins, URLs and a sender are what they are written as, and bring no secret along.
pub(crate) fn urls(data: &[u8]) {
    let typed = text(data);
    if let Some(origin) = Origin::parse(&typed) {
        assert_eq!(origin.as_str(), typed);
        assert!(!typed.contains([' ', ',', '*', '@', '\\', '#', '?']), "{typed:?}");
    }
    if let Some(url) = ApiUrl::parse(&typed) {
        assert_eq!(ApiUrl::parse(url.as_str()).as_ref(), Some(&url), "{typed:?}");
        let read = Url::parse(url.as_str()).expect("a URL");
        assert!(read.username().is_empty() && read.password().is_none(), "{typed:?}: a secret in a URL");
    }
    let _ = ApiUrl::from_gateway(&typed, Some(&typed));
    if let Some(sender) = Sender::parse(&typed) {
        assert!(sender.as_str().is_ascii() && !sender.as_str().contains(['\r', '\n', '\0']), "{typed:?}");
    }
}
