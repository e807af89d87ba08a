//! Text as people type and paste it: what around it and in it is not meant.
//!
//! Passwords never come here: nothing of them may be lost.

/// White space, and what leaves no mark on a page: zero-width characters, byte order marks, bidi marks, variation
/// selectors, tags. Fillers that stand for a letter (those of Hangul) are none of these.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
        || c.is_whitespace()
}

/// `text` without white space and invisible characters around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_invisible)
}

/// A full-width character (U+FF01 to U+FF5E, what East Asian keyboards type) as the ASCII one that was meant.
pub(crate) fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xff01 + 0x21).unwrap_or(c),
        c => c,
    }
}

/// The zero of each run of ten decimal digits (`General_Category` Nd, Unicode 17).
const ZEROS: [char; 77] = [
    '\u{30}',
    '\u{660}',
    '\u{6f0}',
    '\u{7c0}',
    '\u{966}',
    '\u{9e6}',
    '\u{a66}',
    '\u{ae6}',
    '\u{b66}',
    '\u{be6}',
    '\u{c66}',
    '\u{ce6}',
    '\u{d66}',
    '\u{de6}',
    '\u{e50}',
    '\u{ed0}',
    '\u{f20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17e0}',
    '\u{1810}',
    '\u{1946}',
    '\u{19d0}',
    '\u{1a80}',
    '\u{1a90}',
    '\u{1b50}',
    '\u{1bb0}',
    '\u{1c40}',
    '\u{1c50}',
    '\u{a620}',
    '\u{a8d0}',
    '\u{a900}',
    '\u{a9d0}',
    '\u{a9f0}',
    '\u{aa50}',
    '\u{abf0}',
    '\u{ff10}',
    '\u{104a0}',
    '\u{10d30}',
    '\u{10d40}',
    '\u{11066}',
    '\u{110f0}',
    '\u{11136}',
    '\u{111d0}',
    '\u{112f0}',
    '\u{11450}',
    '\u{114d0}',
    '\u{11650}',
    '\u{116c0}',
    '\u{116d0}',
    '\u{116da}',
    '\u{11730}',
    '\u{118e0}',
    '\u{11950}',
    '\u{11bf0}',
    '\u{11c50}',
    '\u{11d50}',
    '\u{11da0}',
    '\u{11de0}',
    '\u{11f50}',
    '\u{16130}',
    '\u{16a60}',
    '\u{16ac0}',
    '\u{16b50}',
    '\u{16d70}',
    '\u{1ccf0}',
    '\u{1d7ce}',
    '\u{1d7d8}',
    '\u{1d7e2}',
    '\u{1d7ec}',
    '\u{1d7f6}',
    '\u{1e140}',
    '\u{1e2f0}',
    '\u{1e4f0}',
    '\u{1e5f1}',
    '\u{1e950}',
    '\u{1fbf0}',
];

/// The zero of the digits that `c` is one of, and its value; `None` where it is no decimal digit.
pub(crate) fn decimal_digit(c: char) -> Option<(char, u8)> {
    let zero = *ZEROS.get(ZEROS.partition_point(|zero| *zero <= c).checked_sub(1)?)?;
    let value = u8::try_from(u32::from(c) - u32::from(zero)).ok()?;
    (value < 10).then_some((zero, value))
}

/// The digits of a code, in ASCII, of whatever script they are. White space, invisible characters, hyphens, dots and
/// the like between them only help the eye; `None` if there is anything else, or more than `most` digits.
pub(crate) fn digits(text: &str, most: usize) -> Option<Vec<u8>> {
    let separates = |c: char| {
        is_invisible(c)
            || matches!(
                c,
                '-' | '.' | ',' | '_' | '\u{b7}' | '\u{2010}'
                    ..='\u{2015}'
                        | '\u{2022}'
                        | '\u{2212}'
                        | '\u{3002}'
                        | '\u{30fb}'
                        | '\u{fe58}'
                        | '\u{fe63}'
                        | '\u{ff0d}'
                        | '\u{ff0e}'
            )
    };
    let mut found = Vec::with_capacity(most);
    for c in text.chars().filter(|c| !separates(*c)) {
        let (_, value) = decimal_digit(c)?;
        if found.len() == most {
            return None;
        }
        found.push(b'0' + value);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_not_meant() {
        for around in
            [" ", "\t", "\r\n", "\u{a0}", "\u{3000}", "\u{200b}", "\u{feff}", "\u{202e}", "\u{2066}", "\u{fe0f}"]
        {
            assert_eq!(trim(&format!("{around}a b{around}{around}")), "a b", "{around:?}");
        }
        // A letter is a letter, though nobody sees it; and a control character no oversight.
        for kept in ["\u{3164}", "\u{1160}", "\0", "\u{7f}", "\u{301}"] {
            assert_eq!(trim(kept), kept, "{kept:?}");
        }
    }

    #[test]
    fn digits_of_all_scripts_are_known() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            for value in 0..10 {
                let c = char::from_u32(u32::from(zero) + u32::from(value)).expect("a character");
                assert_eq!(decimal_digit(c), Some((zero, value)), "{c:?}");
            }
        }
        // Where NFKC knows the ASCII digit that is meant, ours is the same.
        for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
            let normal: String = c.nfkc().collect();
            if let (Some((_, value)), [digit @ b'0'..=b'9']) = (decimal_digit(c), normal.as_bytes()) {
                assert_eq!(b'0' + value, *digit, "{c:?}");
            }
            assert!(decimal_digit(c).is_none() || c.is_numeric(), "{c:?} is no digit");
        }
        for other in ['a', '²', '½', '一', '①', '/', ':'] {
            assert_eq!(decimal_digit(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn trimming_is_idempotent(text in any::<String>()) {
            prop_assert_eq!(trim(trim(&text)), trim(&text));
        }

        #[test]
        fn any_text_has_digits_or_not(text in any::<String>()) {
            if let Some(digits) = digits(&text, 8) {
                prop_assert!(digits.len() <= 8 && digits.iter().all(u8::is_ascii_digit));
            }
        }
    }
}
