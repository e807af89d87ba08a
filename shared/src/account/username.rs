//! User names.
//!
//! A name is unique by a key that is the same for names that differ in case, or look alike in lower case (UTS 39 §4);
//! also for `I`, `l` and `1`, and for `O` and `0`, which only capitals bring together. So `mail` and `mall` are one
//! name. Not kept apart are names that look alike in other capitals alone: the Cyrillic `ВАРА` beside the Latin `BAPA`.
//! A key for both cases at once would take one letter for the other in every alphabet. Apps may show names in lower
//! case.

use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile, MixedScript};

use crate::{random, text};

/// The text cannot be a user name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a user name has 3 to 32 letters or digits of one script, with single _ . - between them")]
pub struct InvalidUsername;

/// A public name: 3 to 32 characters after NFKC, letters with their marks and digits of one script (UTS 39 §5.1) that
/// identifiers may have (UTS 39 §3.1: nothing invisible, nothing obsolete), with single `_`, `.` and `-` between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

/// Letters and digits that look like no other, in lower case.
const UNLIKE: &[u8; UNLIKE_COUNT as usize] = b"abcdefghjkmnpqrstuvwxyz23456789";
const UNLIKE_COUNT: u32 = 31;

/// More marks than this on one letter are no writing (UTS 39 §5.4).
const MAX_MARKS: usize = 4;

impl Username {
    /// Reads a name as a person types or pastes it.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        let text = text::trim(text);
        // NFKC lengthens a text by a factor of 18 at most; nothing beyond this can become short enough.
        if text.len() > 32 * 18 {
            return Err(InvalidUsername);
        }
        let name: String = text.nfkc().collect();
        let length_fits = (3..=32).contains(&name.chars().count());
        if length_fits && name.split(['_', '.', '-']).all(is_word) && is_of_one_script(&name) {
            Ok(Self(name))
        } else {
            Err(InvalidUsername)
        }
    }

    /// A name for somebody who has none: `user-` and 12 characters, of which no two look alike.
    pub fn random() -> Self {
        let character = || char::from(UNLIKE[random::below(UNLIKE_COUNT) as usize]);
        Self(
            std::iter::repeat_with(character)
                .take(12)
                .fold("user-".to_owned(), |name, c| name + c.encode_utf8(&mut [0; 4])),
        )
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which a name is unique: names that differ in case, or look alike, have the same. Not for showing.
    pub fn normalised(&self) -> String {
        unique_form(&self.0)
    }
}

/// Letters and digits with their marks, and at least one of them.
fn is_word(text: &str) -> bool {
    let (mut last, mut marks) = (None, 0);
    for c in text.chars() {
        let is_mark = is_combining_mark(c);
        marks = if is_mark { marks + 1 } else { 0 };
        let belongs = if is_mark { last.is_some_and(|last| last != c) } else { c.is_alphanumeric() };
        if !belongs || marks > MAX_MARKS || !c.identifier_allowed() {
            return false;
        }
        last = Some(c);
    }
    last.is_some()
}

/// One script, and digits of one system (UTS 39 §5.3: `١` and `۱` are of one script).
fn is_of_one_script(name: &str) -> bool {
    let mut zeros = name.chars().filter_map(text::decimal_digit).map(|(zero, _)| zero);
    let first = zeros.next();
    name.is_single_script() && zeros.all(|zero| Some(zero) == first)
}

/// The rounds after which every character has its last form.
const MAX_ROUNDS: usize = 4;

/// What the spellings of one name have in common: the skeleton (UTS 39 §4) of its case-folded form, folded again. As a
/// skeleton may hold a capital (`ቀ` has that of `Φ`), until it stays.
pub(super) fn unique_form(text: &str) -> String {
    let mut form = caseless::default_case_fold_str(&text.nfkc().collect::<String>());
    for _ in 0..MAX_ROUNDS {
        let skeleton: String = unicode_security::skeleton(&form).collect();
        let next = undotted(&caseless::default_case_fold_str(&skeleton));
        if next == form {
            break;
        }
        form = next;
    }
    form.chars().map(collapse).collect()
}

/// Without the dot above letters that have one: nobody sees it, and `İ`, folded, is an `i` with that dot.
fn undotted(text: &str) -> String {
    let mut has_dot = false;
    let is_seen = |c: &char| {
        has_dot = matches!(c, 'i' | 'j') || (has_dot && is_combining_mark(*c));
        !(has_dot && *c == '\u{307}')
    };
    text.chars().filter(is_seen).collect()
}

/// `I` is `i` in another case, and looks like `l` and `1`; `O` is `o` and looks like `0`.
const fn collapse(c: char) -> char {
    match c {
        'i' | '1' => 'l',
        '0' => 'o',
        c => c,
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

    fn parse(text: &str) -> Username {
        Username::parse(text).unwrap_or_else(|_| panic!("{text:?} is a name"))
    }

    #[test]
    fn accepts_names_of_one_script() {
        for name in [
            "ann",
            "Ann_O.Neil-2",
            "민수김",
            "김민수2",
            "たろう山田",
            "Ωμεγα",
            "கண்ணன்",
            "ต้น",
            "สมชาย",
            "प्रिया",
            "রবীন্দ্র",
            "محمد",
            "វិចិត្រ",
            "Đặng_Thị",
            "josé",
            "Ólafur",
            "Владимир",
            "Ծովինար",
            "ნინო",
            "አበበ",
            "王小明",
            "ウルトラマン",
            "김철수_99",
            "١٢٣",
            "007",
        ] {
            assert_eq!(parse(name).as_str(), name.nfkc().collect::<String>());
        }
        assert_eq!(parse("ＡＮＮ").as_str(), "ANN");
        assert_eq!(parse("jose\u{301}").as_str(), "jos\u{e9}");
    }

    #[test]
    fn a_random_name_is_a_name_and_another_each_time() {
        let name = Username::random();
        assert_eq!(Username::parse(name.as_str()), Ok(name.clone()));
        assert!(name.as_str().starts_with("user-") && name.as_str().len() == 17, "{name}");
        assert_ne!(name.normalised(), Username::random().normalised());
    }

    #[test]
    fn what_is_around_it_is_not_meant() {
        for text in [" ann", "ann\n", "\u{feff}ann\u{200b}", "\u{202a}ann\u{202c}", "\u{a0}ann\u{3000}"] {
            assert_eq!(parse(text).as_str(), "ann", "{text:?}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for name in [
            "",
            "an",
            "  a  ",
            "a b c",
            "ann\r\nBcc: x",
            "<b>ann</b>",
            "аnn",
            "annж",
            "an\u{202e}n",
            "an\u{200b}n",
            "an\u{200d}n",
            "a\u{ad}nn",
            "a@b.c",
            "...",
            "___",
            "..a",
            "a..",
            ".ann",
            "ann.",
            "_ann",
            "ann-",
            "an..n",
            "a._n",
            "an…n",
            "ann/../x",
            "ann\0",
            "ann:b",
            "an\u{b7}n",
            "o'neil",
            "ann😀",
            "аdmin",
            "admin€",
            "ann½½",
            // Marks without a letter, doubled, or piled up.
            "\u{301}ann",
            "an_\u{301}n",
            "ann\u{300}\u{301}\u{302}\u{303}\u{304}\u{306}",
            // Digits of two systems.
            "١٢٣۴",
            "ann١",
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
        for (one, two) in [("Ann", "aNN"), ("Straße", "STRASSE"), ("ΣΟΦΟΣ", "σοφος"), ("Привет", "ПРИВЕТ")]
        {
            assert_eq!(parse(one).normalised(), parse(two).normalised());
        }
    }

    #[test]
    fn names_that_look_alike_are_one() {
        for (one, two) in [
            ("admin", "admın"),
            ("admin", "ADMIN"),
            ("admin", "AdmIn"),
            ("scope", "ѕсоре"),
            ("SCOPE", "ЅСОРЕ"),
            // openstreetmap-website#3919: an upper-case i for an l.
            ("limes11", "Iimes11"),
            ("limes11", "limesll"),
            ("paypal", "paypaI"),
            ("paypal", "PAYPA1"),
            ("bob0", "bobo"),
            ("ann0", "annO"),
            ("modern", "rnodern"),
            ("istanbul", "İstanbul"),
            ("istanbul", "i\u{307}stanbul"),
            ("istanbul", "ı\u{307}stanbul"),
            ("ịris", "ị\u{307}ris"),
            ("сосо", "coco"),
            ("νον", "vov"),
            ("раураӏ", "paypal"),
            ("РАУРАӀ", "PayPal"),
            ("mail", "mall"),
            ("modern", "MODERN"),
            ("٥٥٥", "۵۵۵"),
            ("١١١", "lll"),
            ("ーーロ", "一一口"),
        ] {
            assert_eq!(parse(one).normalised(), parse(two).normalised(), "{one} {two}");
        }
        for (one, two) in [
            ("ann", "anna"),
            ("jose", "josé"),
            ("lris", "l\u{307}ris"),
            ("ann.b", "ann-b"),
            ("ann.b", "annb"),
            ("ann1", "ann2"),
            ("민수김", "김민수"),
            ("мария", "марія"),
            ("nnn", "mmm"),
            ("vvv", "www"),
        ] {
            assert_ne!(parse(one).normalised(), parse(two).normalised(), "{one} {two}");
        }
    }

    fn is_of_a_name(c: char) -> bool {
        (c.is_alphanumeric() || is_combining_mark(c)) && c.identifier_allowed()
    }

    /// The characters that a name may have, each as a text.
    fn characters() -> impl Iterator<Item = String> {
        let all = (0..=0x0010_ffff).filter_map(char::from_u32);
        all.filter(|c| is_of_a_name(*c) && c.nfkc().eq([*c])).map(String::from)
    }

    #[test]
    fn a_character_in_another_case_is_the_same() {
        let mut others = Vec::new();
        for c in characters() {
            for other in [c.to_uppercase(), c.to_lowercase(), caseless::default_case_fold_str(&c)] {
                if unique_form(&other) != unique_form(&c) {
                    others.push((c.clone(), other));
                }
            }
        }
        assert_eq!(others, []);
    }

    /// Of characters that are their own case folding: how others are shown depends on their case.
    #[test]
    fn a_character_that_looks_like_another_is_the_same() {
        let (mut compared, mut others) = (0, Vec::new());
        for c in characters().filter(|c| caseless::default_case_fold_str(c) == *c) {
            let skeleton: String = unicode_security::skeleton(&c).collect();
            if skeleton != c && skeleton.nfc().all(is_of_a_name) {
                compared += 1;
                if unique_form(&skeleton) != unique_form(&c) {
                    others.push((c, skeleton));
                }
            }
        }
        assert_eq!(others, []);
        assert!(compared > 1000, "{compared}");
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_stable_and_holds_no_control_characters(text in "\\PC{0,40}|[a-zA-Z0-9._-]{1,34}|[а-яёa-c]{3}") {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&name));
                prop_assert!(!name.as_str().chars().any(char::is_control));
                let form = name.normalised();
                prop_assert_eq!(&again.expect("parsed").normalised(), &form);
                prop_assert_eq!(unique_form(&form), form);
            }
        }

        #[test]
        fn any_text_is_a_name_or_not(text in any::<String>()) {
            let _ = Username::parse(&text);
            let _ = unique_form(&text);
        }

        #[test]
        fn spaces_and_case_make_no_other_name(text in "[a-zA-Z][a-zA-Z0-9]{2,20}", around in "[ \\t\\n\u{200b}\u{feff}]{0,3}") {
            let name = parse(&text).normalised();
            prop_assert_eq!(parse(&format!("{around}{text}{around}")).normalised(), name.clone());
            prop_assert_eq!(parse(&text.to_uppercase()).normalised(), name.clone());
            prop_assert_eq!(parse(&text.to_lowercase()).normalised(), name);
        }
    }
}
