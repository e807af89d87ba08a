//! Passwords, and the strings that stand for them in the database.

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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
    /// It is among the passwords that leaked somewhere ([`BreachCheck`](crate::breach::BreachCheck)).
    #[error("the password is known from a leak, of this or another service")]
    Breached,
}

/// A password as a request brought it, not yet looked at. Wiped when dropped, never shown.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Password, format = Password, description = "A password, as typed."))]
pub struct CandidatePassword(String);

/// A password to hash or compare: NFKC, 1 to 128 characters. Wiped when dropped, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Password {
    normal: String,
    /// As it was typed, where NFKC changes it: other systems hash that.
    typed: Option<String>,
}

impl CandidatePassword {
    /// Takes a text, from a form for instance.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The password to compare with a stored one. No policy applies: it may be older than the policy.
    /// `None` when no stored password can equal it.
    pub fn to_compare(&self) -> Option<Password> {
        let normal = self.normalised()?;
        (!normal.normal.is_empty()).then_some(normal)
    }

    /// The password to store for a new account of the service of that name.
    pub fn to_store(
        &self,
        minimum: usize,
        username: &Username,
        email: &EmailAddress,
        service_name: &str,
    ) -> Result<Password, WeakPassword> {
        let password = self.strong_for_anyone(minimum, service_name)?;
        let own = own_words(username.as_str()).into_iter().chain(address_words(email)).chain(own_words(service_name));
        if password.is_made_of(own) {
            return Err(WeakPassword::Guessable);
        }
        Ok(password)
    }

    /// What can be said of a new password without knowing whose it will be: [`to_store`](Self::to_store) refuses at least
    /// what this does.
    pub fn check(&self, minimum: usize, service_name: &str) -> Result<(), WeakPassword> {
        self.strong_for_anyone(minimum, service_name).map(drop)
    }

    fn strong_for_anyone(&self, minimum: usize, service_name: &str) -> Result<Password, WeakPassword> {
        let password = self.normalised().ok_or(WeakPassword::TooLong)?;
        if password.normal.chars().count() < minimum {
            return Err(WeakPassword::TooShort { minimum });
        }
        if password.is_common() || password.is_made_of(own_words(service_name)) {
            return Err(WeakPassword::Guessable);
        }
        Ok(password)
    }

    /// Whether it is that name, or a plain variation of it: for a name that comes after the password, at `/verify`.
    pub fn is_made_of(&self, username: &Username) -> bool {
        self.normalised().is_some_and(|password| password.is_made_of(own_words(username.as_str())))
    }

    fn normalised(&self) -> Option<Password> {
        // A character has at most 4 bytes, and 128 are allowed after NFKC; this bounds the work before it.
        if self.0.len() > MAX_LENGTH * 16 {
            return None;
        }
        // Sized so that no growing leaves a copy of the password behind.
        let mut normal = String::with_capacity(self.0.len() * 18);
        normal.extend(self.0.nfkc());
        let typed = (normal != self.0).then(|| self.0.clone());
        let password = Password { normal, typed };
        (password.normal.chars().count() <= MAX_LENGTH).then_some(password)
    }
}

impl Password {
    /// The bytes to hash.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.normal.as_bytes()
    }

    /// The bytes that were typed, for hashes of systems that hash those.
    pub(crate) fn as_typed(&self) -> &[u8] {
        self.typed.as_ref().unwrap_or(&self.normal).as_bytes()
    }

    /// The passwords to try against a stored hash, of which the password is not known any more, for a name that comes
    /// later: the name as it is written, and in lower case. Two at most, as each costs a hash.
    pub fn guesses_from(username: &Username) -> impl Iterator<Item = Self> {
        let name = username.as_str();
        let lower = name.to_lowercase();
        let other = (lower != name).then_some(lower);
        std::iter::once(name.to_owned()).chain(other).map(|normal| Self { normal, typed: None })
    }

    /// Whether it is one that everybody tries: of the list, a repetition or a run (`12345678901`), a season or month
    /// with its year, or a plain variation of such a one: other case, signs for letters, a few digits or signs around,
    /// all of that again and again.
    fn is_common(&self) -> bool {
        let folded = Zeroizing::new(caseless::default_case_fold_str(&self.normal));
        let known = |text: &str| is_common(text.as_bytes()) || CALENDAR.contains(&text);
        is_run(&folded)
            || known(&folded)
            || units(&folded).flat_map(cores).flat_map(units).any(|unit| {
                let plain = |one| Zeroizing::new(unleet(unit, one));
                known(unit) || known(&plain('i')) || known(&plain('l'))
            })
    }

    /// Whether it is nothing but those words, forwards or backwards, with a few digits or signs around or between them.
    fn is_made_of(&self, words: impl IntoIterator<Item = String>) -> bool {
        let mut words: Vec<String> = words.into_iter().collect();
        let reversed: Vec<String> = words.iter().map(|word| word.chars().rev().collect()).collect();
        words.extend(reversed);
        let folded = Zeroizing::new(caseless::default_case_fold_str(&self.normal));
        let digits = folded.chars().filter(|c| c.is_numeric()).count();
        let letters = (digits <= MAX_AROUND).then(|| Zeroizing::new(letters(&folded)));
        letters.is_some_and(|letters| is_tiled(&letters, &words))
            || cores(&folded).chain([&**folded]).any(|core| is_tiled(&Zeroizing::new(plain_form(core)), &words))
    }
}

/// The most characters around a word that leave it guessable: a date, or a year and some marks.
const MAX_AROUND: usize = 8;

/// With a year they are the commonest answer to «change your password».
const CALENDAR: [&str; 41] = [
    "spring",
    "summer",
    "autumn",
    "fall",
    "winter",
    "season",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "봄",
    "여름",
    "가을",
    "겨울",
];

/// What is left of a text without a few characters that are no letters before and after it, in every way; also without
/// a run of any length after it.
fn cores(text: &str) -> impl Iterator<Item = &str> {
    let filler = |c: &char| !c.is_alphabetic();
    let before = text.chars().take(MAX_AROUND).take_while(filler).count();
    let starts = text.char_indices().map(|(start, _)| start).take(before + 1).enumerate();
    let within = starts.flat_map(move |(skipped, start)| {
        let rest = &text[start..];
        let after = rest.chars().rev().take(MAX_AROUND - skipped).take_while(filler).count();
        let ends = rest.char_indices().rev().map(|(end, _)| end).take(after);
        std::iter::once(rest.len()).chain(ends).map(move |end| &rest[..end])
    });
    let letters = text.trim_end_matches(|c: char| !c.is_alphabetic());
    let run = is_run(&text[letters.len()..]).then_some(letters);
    within.chain(run).filter(|core| !core.is_empty())
}

/// Whether each character is the one before it, or the next, or the last, all along (`aaaa`, `1234567890`, `4321`).
fn is_run(text: &str) -> bool {
    let next = |c: char| match c {
        '9' => Some('0'),
        c => char::from_u32(u32::from(c) + 1),
    };
    let mut pairs = text.chars().zip(text.chars().skip(1));
    let first = |one: char| text.starts_with(one);
    text.chars().all(first)
        || pairs.clone().all(|(one, two)| next(one) == Some(two))
        || pairs.all(|(one, two)| next(two) == Some(one))
}

/// What a text is repetitions of: itself, and each of its beginnings that comes again and again up to its end.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let ends = text.char_indices().map(|(end, _)| end).skip(1).take_while(move |end| *end <= text.len() / 2);
    let ends = ends.filter(move |end| bytes.chunks(*end).all(|chunk| *chunk == bytes[..*end]));
    std::iter::once(text).chain(ends.map(move |end| &text[..end]))
}

/// With letters for the digits and signs that stand for them; `one` is what `1` and `!` stand for.
fn unleet(text: &str, one: char) -> String {
    let mut plain = String::with_capacity(text.len());
    plain.extend(text.chars().map(|c| match c {
        '0' => 'o',
        '1' | '!' | '|' => one,
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        c => c,
    }));
    plain
}

/// Letters alone, and those that a digit or sign may stand for under one letter.
fn plain_form(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    plain.extend(unleet(text, 'i').chars().filter(|c| c.is_alphanumeric()).map(|c| if c == 'l' { 'i' } else { c }));
    plain
}

/// The letters of a text, those that one digit or sign may stand for as one.
fn letters(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    letters.extend(text.chars().filter(|c| c.is_alphabetic()).map(|c| if c == 'l' { 'i' } else { c }));
    letters
}

/// A name of the user's or the service's, its parts that say something, and those without the digits around them.
fn own_words(text: &str) -> Vec<String> {
    let folded = caseless::default_case_fold_str(&text.nfkc().collect::<String>());
    let parts = folded.split(|c: char| !c.is_alphanumeric());
    let stems = parts.clone().map(|part| part.trim_matches(|c: char| !c.is_alphabetic()));
    let parts = parts.chain(stems).map(plain_form).filter(|part| part.chars().count() >= 3);
    let whole = Some(plain_form(&folded)).filter(|whole| !whole.is_empty());
    whole.into_iter().chain(parts).collect()
}

/// The same of an address: of all of it, of what is before the `@`, and of the domain, as it is sent and as it is read
/// (IDNA), with its end and without.
fn address_words(email: &EmailAddress) -> Vec<String> {
    let address = email.normalised();
    let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
    let (read, _) = idna::domain_to_unicode(domain);
    let name = |domain: &str| domain.rsplit_once('.').map(|(name, _)| name.to_owned());
    let names = [name(domain), name(&read)].into_iter().flatten();
    let texts = [&*address, local, domain, &read].map(str::to_owned).into_iter().chain(names);
    texts.flat_map(|text| own_words(&text)).collect()
}

/// Whether a text is one or more of those words and nothing else.
fn is_tiled(text: &str, words: &[String]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for end in 1..=text.len() {
        reached[end] = words.iter().any(|word| {
            end.checked_sub(word.len())
                .is_some_and(|start| reached[start] && text.as_bytes()[start..end] == *word.as_bytes())
        });
    }
    !text.is_empty() && reached[text.len()]
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

/// A PHC string: algorithm, parameters, salt and hash of a password; or a hash as an import brought it
/// ([`ImportedHash`](crate::password_hasher::ImportedHash)). Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string that [`PasswordHasher`](crate::password_hasher::PasswordHasher) made or the database held.
    pub(crate) const fn from_phc(text: String) -> Self {
        Self(text)
    }

    /// The hash as it is stored, for an export from which it is imported again.
    pub fn expose(&self) -> &str {
        &self.0
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

    use proptest::prelude::*;

    use super::*;

    fn store(text: &str) -> Result<Password, WeakPassword> {
        store_for("ann.oneil", "ann.lives.here@example.com", text)
    }

    fn store_for(username: &str, email: &str, text: &str) -> Result<Password, WeakPassword> {
        let username = Username::parse(username).expect("valid");
        let email = EmailAddress::parse(email).expect("valid");
        CandidatePassword::new(text.to_owned()).to_store(8, &username, &email, "Blue Door")
    }

    #[test]
    fn what_is_weak_for_anyone_is_told_without_knowing_whose_it_is() {
        let check = |text: &str| CandidatePassword::new(text.to_owned()).check(8, "Blue Door");
        assert_eq!(check("short"), Err(WeakPassword::TooShort { minimum: 8 }));
        assert_eq!(check(&"x".repeat(129)), Err(WeakPassword::TooLong));
        for guessable in ["password1", "Blue Door 1", "12345678901"] {
            assert_eq!(check(guessable), Err(WeakPassword::Guessable), "{guessable}");
        }
        // Only its owner's own words are left to `to_store`.
        assert_eq!((check("ann.oneil!"), store("ann.oneil!").is_err()), (Ok(()), true));
        assert_eq!(check("seven quiet llamas"), Ok(()));
    }

    fn is_refused(text: &str) -> bool {
        matches!(store(text), Err(WeakPassword::Guessable))
    }

    #[test]
    fn plain_variations_of_what_everybody_tries_are_refused() {
        for text in [
            "P@ssw0rd1",
            "Password2026!",
            "p455w0rd",
            "pa$$w0rd!!",
            "passw0rd",
            "Summer2026",
            "summer2026!",
            "2026Winter",
            "March2026",
            "Dec2025!!",
            "여름2026!!",
            "Dragon123!",
            "!monkey2024",
            "letmein!!",
            "passwordpassword",
            "Qwertyuiop123!",
            "password12345678901234",
            "1234567890123",
            "0987654321098",
            "abcdefghijklmn",
            "99999999",
            "W3lc0me1",
            "adm1n1strat0r",
            "iloveyou<3",
            "monkey19840229",
            "Dragon!!Dragon!!",
            "Summer2026Summer2026",
            "1qaz2wsx3edc4rfv",
            "1234abcd1234abcd1234abcd",
            "qwertyuiopasdfghjklzxcvbnm",
            "unbelievable",
        ] {
            assert!(is_refused(text), "{text}");
        }
    }

    #[test]
    fn what_is_about_the_user_or_the_service_is_refused() {
        for text in [
            "ann.oneil1",
            "Ann-Oneil!",
            "annoneil",
            "oneil2026",
            "OneilOneil",
            "oneil.ann",
            "@nn.0n3il",
            "2026ann.oneil!",
            "ann.lives.here",
            "AnnLivesHere1",
            "lives.here",
            "ann.lives.here@example.com",
            "ann.lives.here@example.com1",
            "example1!",
            "Blue Door",
            "bluedoor",
            "BlueDoor1",
            "8lueD00r!",
            "blue_door_2026",
            "bluedoorbluedoor",
            // Digits between, a date of birth, doubled with its year, and backwards.
            "ann1oneil1",
            "oneil19840229",
            "oneil2026oneil2026",
            "lieno.nna",
            "L13n0!2026",
            "roodeulb",
            "blue2026door",
        ] {
            assert!(is_refused(text), "{text}");
        }
        for text in [
            "seven quiet llamas of ann.oneil",
            "blue door with a key",
            "oneil left at nine",
            "ann8261937450",
            "ann 826 oneil 193 745",
            "oneil knocks twice",
        ] {
            assert!(store(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn each_part_of_name_and_address_counts_however_short_its_own_parts() {
        for (username, email, text) in [
            ("kim42", "a@example.com", "kim2026!!"),
            ("kim42", "a@example.com", "kim42kim42"),
            ("j.d.roe", "a@example.com", "jdroe2026"),
            ("somebody", "jo.li@example.com", "JoLi2026!"),
            ("somebody", "jo.li@example.com", "il.oj.2026"),
            ("somebody", "ann@my-co.example", "myco2026!"),
            ("somebody", "ann@my-co.example", "MyCo.Example"),
            ("somebody", "ann+zaunkoenig@example.com", "zaunkoenig99"),
            ("somebody", "ann@bücher.example", "Bücher2026"),
            ("somebody", "ann@bücher.example", "bücher.example"),
            ("somebody", "kim@예시사이트.한국", "예시사이트2026"),
        ] {
            assert_eq!(store_for(username, email, text).err(), Some(WeakPassword::Guessable), "{text} of {email}");
            assert!(store_for("otto.normal", "otto@elsewhere.test", text).is_ok(), "{text} of somebody else");
        }
    }

    #[test]
    fn a_name_that_comes_later_is_compared_too() {
        let name = Username::parse("Marie.Curie").expect("a name");
        for (text, expected) in
            [("marie.curie", true), ("MarieCurie1!", true), ("curie2026", true), ("radium and polonium", false)]
        {
            assert_eq!(CandidatePassword::new(text.to_owned()).is_made_of(&name), expected, "{text}");
        }
        let guesses: Vec<_> = Password::guesses_from(&name).map(|guess| guess.normal.clone()).collect();
        assert_eq!(guesses, ["Marie.Curie", "marie.curie"]);
    }

    /// ASVS 5.0 6.2.4. Nobody publishes 3,000 of more than 17 characters: there the set is what is known of that length,
    /// and the commonest again and again.
    #[test]
    fn three_thousand_of_each_length_are_refused() {
        let username = Username::parse("ann.oneil").expect("valid");
        let email = EmailAddress::parse("ann.lives.here@example.com").expect("valid");
        for minimum in [8, 12, 15, 17, 18, 24, 40, 64] {
            let fits = |line: &&str| line.chars().count() >= minimum;
            let mut refused: HashSet<String> = COMMON.lines().filter(fits).map(str::to_owned).collect();
            if minimum <= 17 {
                assert!(refused.len() >= 3000, "{} of {minimum} characters and more", refused.len());
            }
            let short = COMMON.lines().filter(|line| line.chars().count() == 8);
            refused.extend(short.map(|line| line.repeat(minimum.div_ceil(8))));
            assert!(refused.len() >= 3000, "{} of {minimum} characters and more", refused.len());
            for text in refused {
                let stored = CandidatePassword::new(text.clone()).to_store(minimum, &username, &email, "Blue Door");
                assert_eq!(stored.err(), Some(WeakPassword::Guessable), "{text} where {minimum} are asked for");
            }
        }
    }

    proptest! {
        #[test]
        fn a_random_password_is_taken(text in "[a-zA-Z0-9!@#$%^&*]{12}") {
            prop_assert!(store(&text).is_ok() || is_run(&text));
        }

        #[test]
        fn a_phrase_of_four_words_is_taken(
            words in proptest::sample::subsequence(WORDS.to_vec(), 4).prop_shuffle(),
            between in "[ ._-]?",
        ) {
            prop_assert!(store(&words.join(&between)).is_ok());
        }

        #[test]
        fn any_text_is_stored_or_not(text in any::<String>()) {
            let _ = store(&text);
        }
    }

    const WORDS: [&str; 16] = [
        "correct", "horse", "battery", "staple", "orbit", "velvet", "cactus", "harbor", "seven", "quiet", "llama",
        "tulip", "summer", "dragon", "password", "monkey",
    ];

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
        assert!(COMMON.lines().all(|line| line.chars().count() >= 5));
        assert!(COMMON.lines().all(|line| caseless::default_case_fold_str(line).nfkc().eq(line.chars())));
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
