//! The language of mails and pages.

use serde::{Deserialize, Serialize};

/// A language that we write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// Korean.
    Ko,
}

/// The most ranges of an `Accept-Language` header that are looked at.
const MAX_RANGES: usize = 32;

impl Locale {
    /// As it is stored, and as HTML's `lang` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    /// The language of a tag such as `ko`, `ko-KR` or `en_US` (BCP 47, in any case).
    pub fn parse(tag: &str) -> Option<Self> {
        let language = tag.trim().split(['-', '_']).next()?;
        [Self::En, Self::Ko].into_iter().find(|locale| language.eq_ignore_ascii_case(locale.as_str()))
    }

    /// The language that was asked for, else the best of an `Accept-Language` header (RFC 9110 §12.5.4), else English.
    pub fn choose(requested: Option<&str>, accept_language: Option<&str>) -> Self {
        requested.and_then(Self::parse).or_else(|| Self::best(accept_language?)).unwrap_or_default()
    }

    /// The language of the highest quality; of equal ones the first.
    fn best(accept_language: &str) -> Option<Self> {
        let mut best: Option<(Self, u16)> = None;
        for range in accept_language.split(',').take(MAX_RANGES) {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, ""));
            let (Some(locale), Some(quality)) = (Self::parse(tag), quality(parameter)) else { continue };
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((locale, quality));
            }
        }
        best.map(|(locale, _)| locale)
    }
}

/// A `q=0.8` in thousandths; 1000 where nothing is said, `None` for what is malformed.
fn quality(parameter: &str) -> Option<u16> {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return Some(1000);
    }
    let value: f32 = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000 after the check")]
    (0.0..=1.0).contains(&value).then_some((value * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_wish_counts_first() {
        assert_eq!(Locale::choose(Some("ko-KR"), Some("en")), Locale::Ko);
        assert_eq!(Locale::choose(Some("EN_us"), Some("ko")), Locale::En);
        assert_eq!(Locale::choose(Some("fr"), Some("ko")), Locale::Ko);
        assert_eq!(Locale::choose(None, None), Locale::En);
    }

    #[test]
    fn qualities_are_honoured() {
        for (header, expected) in [
            ("ko", Locale::Ko),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Locale::Ko),
            ("en;q=0.5, ko;q=0.8", Locale::Ko),
            ("ko;q=0, fr", Locale::En),
            ("fr-FR, ko;q=0.1", Locale::Ko),
            ("ko;q=2, en;q=0.1", Locale::En),
            ("ko;q=NaN, ;;, =,*", Locale::En),
            ("", Locale::En),
        ] {
            assert_eq!(Locale::choose(None, Some(header)), expected, "{header}");
        }
    }
}
