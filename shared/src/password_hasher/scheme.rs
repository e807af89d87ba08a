//! The ways in which a stored password was hashed: ours, and those of the systems that accounts come from.
//!
//! A hash of another system is stored in the spelling of that system, so that it says by itself how it was made. Those
//! systems hash what is typed, ours its NFKC form; an argon2 that is not ours is told apart by Django's prefix.

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{HashError, argon2_into, current_params, fail};
use crate::account::{Password, PasswordHash};

/// Why a hash from elsewhere cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum UnusableHash {
    /// `$wp$` of `WordPress`, since its version 6.8.
    #[error("hashed as WordPress does ($wp$), which is not supported")]
    WordPress,
    /// phpass: `WordPress` before 6.8, `phpBB`, Drupal.
    #[error("hashed by phpass, which is not supported")]
    Phpass,
    /// Django's MD5 and SHA-1, crypt's `$1$`, `$5$` and `$6$`.
    #[error("hashed by MD5 or SHA, or by crypt, which is not supported")]
    Crypt,
    /// Nothing that is known here, or damaged.
    #[error("hashed in a way that is not known")]
    Unknown,
}

/// A hash from elsewhere that a password can be compared with. Not shown by `Debug`.
pub struct ImportedHash(PasswordHash, Scheme);

impl std::fmt::Debug for ImportedHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ImportedHash(hidden)")
    }
}

/// What a Firebase project adds to the hash of each user: «Password hash parameters» in its console.
#[derive(Clone)]
pub struct FirebaseParameters {
    signer_key: Vec<u8>,
    salt_separator: Vec<u8>,
    rounds: u32,
    mem_cost: u8,
}

impl std::fmt::Debug for FirebaseParameters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FirebaseParameters(hidden)")
    }
}

impl FirebaseParameters {
    /// Reads the parameters as the console shows them: `hash_config { algorithm: SCRYPT, base64_signer_key: …, … }`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",{}".contains(c)).collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| word.strip_suffix(':') == Some(name))?;
            words[at + 1..].iter().find(|word| !word.is_empty()).copied()
        };
        let (rounds, mem_cost) = (value("rounds")?.parse().ok()?, value("mem_cost")?.parse().ok()?);
        Self::new(value("base64_signer_key")?, value("base64_salt_separator")?, rounds, mem_cost)
    }

    /// The parameters, keys in base64; `None` if they cannot be any.
    pub fn new(signer_key: &str, salt_separator: &str, rounds: u32, mem_cost: u8) -> Option<Self> {
        let (signer_key, salt_separator) = (decode(signer_key)?, decode(salt_separator)?);
        let fits = !signer_key.is_empty() && scrypt::Params::new(mem_cost, rounds, 1).is_ok();
        fits.then_some(Self { signer_key, salt_separator, rounds, mem_cost })
    }
}

/// What a comparison with a hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Milliseconds, about, on one processor of Lambda (1769 MB).
    pub milliseconds: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

impl Cost {
    /// Whether it is more than a sign-in should take: a second, or 64 MiB.
    pub const fn is_high(self) -> bool {
        self.milliseconds > 1_000 || self.bytes > 64 << 20
    }

    /// Whether it is more than a function has, which ends after 8 seconds and has 1769 MB: nobody would ever get in.
    pub const fn is_hopeless(self) -> bool {
        self.milliseconds > 6_000 || self.bytes > 1 << 30
    }
}

impl ImportedHash {
    /// Reads a hash as other systems write it: Django's `pbkdf2_sha256$…`, `pbkdf2_sha1$…`, `argon2$…`,
    /// `bcrypt_sha256$…`,
    /// `bcrypt$…` and `scrypt$…`; bcrypt (`$2a$`, `$2b$`, `$2y$`); passlib's `$pbkdf2-sha256$…` and its like;
    /// `$scrypt$…`; Better Auth's `salt:key`; what [`Self::firebase`] made; and Latchkey's own.
    pub fn parse(text: &str) -> Result<Self, UnusableHash> {
        // Django's bcrypt adds nothing but a name.
        let text = text.trim();
        let text = text.strip_prefix("bcrypt$").unwrap_or(text);
        if let Some(scheme) = Scheme::parse(text) {
            return Ok(Self(PasswordHash::from_phc(text.to_owned()), scheme));
        }
        let begins = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
        Err(if begins(&["$wp$"]) {
            UnusableHash::WordPress
        } else if begins(&["$P$", "$H$", "$S$"]) {
            UnusableHash::Phpass
        } else if begins(&["md5$", "sha1$", "unsalted_", "$1$", "$5$", "$6$"]) {
            UnusableHash::Crypt
        } else {
            UnusableHash::Unknown
        })
    }

    /// A hash of Firebase's own scrypt, which encrypts the project's signer key under what scrypt derives. What is kept
    /// is the key stream alone: it can be compared without the signer key, which then lies nowhere.
    pub fn firebase(parameters: &FirebaseParameters, salt: &str, hash: &str) -> Result<Self, UnusableHash> {
        let (salt, hash) = (decode(salt).ok_or(UnusableHash::Unknown)?, decode(hash).ok_or(UnusableHash::Unknown)?);
        if hash.len() != parameters.signer_key.len() {
            return Err(UnusableHash::Unknown);
        }
        let stream: Vec<u8> = hash.iter().zip(&parameters.signer_key).map(|(hash, key)| hash ^ key).collect();
        let salt = [&salt[..], &parameters.salt_separator].concat();
        let FirebaseParameters { rounds, mem_cost, .. } = parameters;
        let (salt, stream) = (STANDARD.encode(salt), STANDARD.encode(stream));
        Self::parse(&format!("$firebase-scrypt$ln={mem_cost},r={rounds},p=1${salt}${stream}"))
    }

    /// A hash of PBKDF2 as Keycloak stores it: algorithm `pbkdf2` (SHA-1), `pbkdf2-sha256` or `pbkdf2-sha512`, with
    /// salt and value in base64.
    pub fn pbkdf2(algorithm: &str, iterations: u32, salt: &str, value: &str) -> Result<Self, UnusableHash> {
        let recoded = |text: &str| Some(to_passlib(&decode(text)?));
        let (salt, value) = recoded(salt).zip(recoded(value)).ok_or(UnusableHash::Unknown)?;
        Self::parse(&format!("${algorithm}${iterations}${salt}${value}"))
    }

    /// A hash of argon2 (version 1.3) as Keycloak stores it: `kind` is `id`, `i` or `d`, memory is in KiB.
    pub fn argon2(
        kind: &str,
        [memory, passes, lanes]: [u32; 3],
        salt: &str,
        value: &str,
    ) -> Result<Self, UnusableHash> {
        let recoded = |text: &str| Some(STANDARD.encode(decode(text)?));
        let (salt, value) = recoded(salt).zip(recoded(value)).ok_or(UnusableHash::Unknown)?;
        Self::parse(&format!("argon2$argon2{kind}$v=19$m={memory},t={passes},p={lanes}${salt}${value}"))
    }

    /// What a comparison takes.
    pub fn cost(&self) -> Cost {
        self.1.cost()
    }

    /// What is stored.
    pub fn into_stored(self) -> PasswordHash {
        self.0
    }
}

/// How a password was hashed, with the result.
pub(super) enum Scheme {
    Argon2 { is_ours: bool, algorithm: Algorithm, version: Version, params: Params, salt: Vec<u8>, hash: Vec<u8> },
    Bcrypt { is_prehashed: bool, rounds: u32, salt: [u8; 16], hash: [u8; 23] },
    Pbkdf2 { prf: Prf, iterations: NonZeroU32, salt: Vec<u8>, hash: Vec<u8> },
    Scrypt { of: ScryptOf, params: ScryptParams, salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Prf {
    Sha1,
    Sha256,
    Sha512,
}

/// Who uses scrypt.
#[derive(Clone, Copy, Debug)]
pub(super) enum ScryptOf {
    /// Nearly everyone.
    Typed,
    /// Better Auth, over the NFKC form.
    BetterAuth,
    /// Firebase: what is derived is a key of AES-256-CTR, whose stream is compared.
    Firebase,
}

/// log2 N, r and p (RFC 7914 §2).
#[derive(Clone, Copy, Debug)]
pub(super) struct ScryptParams {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Scheme {
    /// Reads a stored hash.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(foreign) = text.strip_prefix("argon2$") {
            // Passwords are hashed by other parameters elsewhere, and as they were typed.
            return Self::parse_argon2(&format!("${foreign}"), false);
        }
        if let Some(encoded) = text.strip_prefix("bcrypt_sha256$") {
            return Self::parse_bcrypt(encoded, true);
        }
        if let Some((salt, key)) = text.split_once(':') {
            // Better Auth takes the digits of the salt for the salt.
            let params = ScryptParams { log_n: 14, r: 16, p: 1 };
            let is_salt = salt.len() == 32 && unhex(salt).is_some();
            let (salt, hash) = (is_salt.then(|| salt.as_bytes().to_vec())?, unhex(key)?);
            return (hash.len() == 64).then_some(Self::Scrypt { of: ScryptOf::BetterAuth, params, salt, hash });
        }
        let (name, rest) = text.strip_prefix('$').unwrap_or(text).split_once('$')?;
        match (text.starts_with('$'), name) {
            (true, "argon2id" | "argon2i" | "argon2d") => Self::parse_argon2(text, true),
            (true, "2a" | "2b" | "2y") => Self::parse_bcrypt(text, false),
            (true, "pbkdf2") => Self::parse_pbkdf2(Prf::Sha1, rest, from_passlib),
            (true, "pbkdf2-sha256") => Self::parse_pbkdf2(Prf::Sha256, rest, from_passlib),
            (true, "pbkdf2-sha512") => Self::parse_pbkdf2(Prf::Sha512, rest, from_passlib),
            // Django's salts are texts.
            (false, "pbkdf2_sha1") => Self::parse_pbkdf2(Prf::Sha1, rest, |salt| Some(salt.as_bytes().to_vec())),
            (false, "pbkdf2_sha256") => Self::parse_pbkdf2(Prf::Sha256, rest, |salt| Some(salt.as_bytes().to_vec())),
            (true, "scrypt") => Self::parse_scrypt(ScryptOf::Typed, rest),
            (true, "firebase-scrypt") => Self::parse_scrypt(ScryptOf::Firebase, rest),
            (false, "scrypt") => Self::parse_django_scrypt(rest),
            _ => None,
        }
    }

    fn parse_argon2(text: &str, is_ours: bool) -> Option<Self> {
        let phc = Phc::new(text).ok()?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
        // Without one it is the first (argon2's own reading).
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let (salt, hash) = (phc.salt?.as_ref().to_vec(), phc.hash?.as_bytes().to_vec());
        (salt.len() >= 8).then_some(Self::Argon2 { is_ours, algorithm, version, params, salt, hash })
    }

    /// `$2b$12$`, 22 characters of salt, 31 of hash.
    fn parse_bcrypt(text: &str, is_prehashed: bool) -> Option<Self> {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
        let (rounds, encoded) = rest.split_once('$')?;
        let (salt, hash) = encoded.split_at_checked(22)?;
        let salt = BCRYPT.decode(salt).ok()?.try_into().ok()?;
        let hash = BCRYPT.decode(hash).ok()?.try_into().ok()?;
        let is_number = rest.len() == 56 && rounds.bytes().all(|digit| digit.is_ascii_digit());
        let rounds = rounds.parse().ok().filter(|rounds| is_number && (4..=31).contains(rounds))?;
        Some(Self::Bcrypt { is_prehashed, rounds, salt, hash })
    }

    fn parse_pbkdf2(prf: Prf, rest: &str, salt: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let [iterations, text, hash] = fields(rest)?;
        let (salt, hash) = (salt(text)?, from_passlib(hash)?);
        let iterations = iterations.parse().ok()?;
        (8..=128).contains(&hash.len()).then_some(Self::Pbkdf2 { prf, iterations, salt, hash })
    }

    /// `ln=14,r=8,p=1$salt$hash`.
    fn parse_scrypt(of: ScryptOf, rest: &str) -> Option<Self> {
        let [params, salt, hash] = fields(rest)?;
        let [log_n, r, p] = params.split(',').collect::<Vec<_>>().try_into().ok()?;
        let params = ScryptParams {
            log_n: log_n.strip_prefix("ln=")?.parse().ok()?,
            r: r.strip_prefix("r=")?.parse().ok()?,
            p: p.strip_prefix("p=")?.parse().ok()?,
        };
        Self::scrypt(of, params, decode(salt)?, decode(hash)?)
    }

    /// `N$salt$r$p$hash`.
    fn parse_django_scrypt(rest: &str) -> Option<Self> {
        let [n, salt, r, p, hash] = fields(rest)?;
        let n: u32 = n.parse().ok()?;
        let log_n = u8::try_from(n.checked_ilog2().filter(|log_n| n == 1 << log_n)?).ok()?;
        let params = ScryptParams { log_n, r: r.parse().ok()?, p: p.parse().ok()? };
        Self::scrypt(ScryptOf::Typed, params, salt.as_bytes().to_vec(), decode(hash)?)
    }

    fn scrypt(of: ScryptOf, params: ScryptParams, salt: Vec<u8>, hash: Vec<u8>) -> Option<Self> {
        let fits = (8..=128).contains(&hash.len()) && scrypt::Params::new(params.log_n, params.r, params.p).is_ok();
        fits.then_some(Self::Scrypt { of, params, salt, hash })
    }

    /// Whether a password is the one that was hashed.
    pub(super) fn matches(&self, password: &Password, memory: &mut Vec<Block>) -> Result<bool, HashError> {
        match self {
            Self::Argon2 { is_ours, algorithm, version, params, salt, hash } => {
                let bytes = if *is_ours { password.as_bytes() } else { password.as_typed() };
                let mut output = Zeroizing::new(vec![0; hash.len()]);
                let argon2 = Argon2::new(*algorithm, *version, params.clone());
                argon2_into(&argon2, bytes, salt, &mut output, memory)?;
                Ok(output.ct_eq(hash).into())
            }
            Self::Bcrypt { is_prehashed, rounds, salt, hash } => {
                let digest = is_prehashed.then(|| Zeroizing::new(sha256_hex(password.as_typed())));
                let typed = digest.as_ref().map_or_else(|| password.as_typed(), |digest| digest.as_bytes());
                // The C string with its end, or its first 72 bytes. A NUL within counts, as everywhere but in C.
                let mut key = Zeroizing::new([0; BCRYPT_MAX]);
                let length = typed.len().min(BCRYPT_MAX);
                key[..length].copy_from_slice(&typed[..length]);
                let output = Zeroizing::new(bcrypt::bcrypt(*rounds, *salt, &key[..(length + 1).min(BCRYPT_MAX)]));
                Ok(output[..hash.len()].ct_eq(hash).into())
            }
            Self::Pbkdf2 { prf, iterations, salt, hash } => {
                let algorithm = match prf {
                    Prf::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
                    Prf::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Prf::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                Ok(pbkdf2::verify(algorithm, *iterations, salt, password.as_typed(), hash).is_ok())
            }
            Self::Scrypt { of, params, salt, hash } => {
                let bytes = match of {
                    ScryptOf::BetterAuth => password.as_bytes(),
                    ScryptOf::Typed | ScryptOf::Firebase => password.as_typed(),
                };
                let length = if matches!(of, ScryptOf::Firebase) { AES_KEY } else { hash.len() };
                let mut output = Zeroizing::new(vec![0; length]);
                let params = scrypt::Params::new(params.log_n, params.r, params.p).map_err(fail)?;
                scrypt::scrypt(bytes, salt, &params, &mut output).map_err(fail)?;
                if matches!(of, ScryptOf::Firebase) {
                    output = key_stream(&output, hash.len())?;
                }
                Ok(output.ct_eq(hash).into())
            }
        }
    }

    /// Whether a password that matches is to be hashed anew. Of one that bcrypt saw the beginning of, nobody knows that
    /// the rest was typed without a mistake: it stays as it is at its source, until it is changed.
    pub(super) fn is_outdated(&self, password: &Password) -> Result<bool, HashError> {
        Ok(match self {
            Self::Argon2 { is_ours, params, .. } => {
                let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
                !is_ours || costs(params) != costs(&current_params()?)
            }
            Self::Bcrypt { is_prehashed, .. } => *is_prehashed || password.as_typed().len() <= BCRYPT_MAX,
            Self::Pbkdf2 { .. } | Self::Scrypt { .. } => true,
        })
    }

    /// What a comparison takes, by what was measured (docs/import.md).
    fn cost(&self) -> Cost {
        let (nanoseconds, bytes) = match self {
            Self::Argon2 { params, .. } => {
                let kib = u64::from(params.m_cost());
                (kib.saturating_mul(u64::from(params.t_cost())).saturating_mul(ARGON2_KIB), kib << 10)
            }
            Self::Bcrypt { rounds, .. } => (BCRYPT_ROUND << rounds, 4 << 10),
            Self::Pbkdf2 { prf, iterations, hash, .. } => {
                let (length, each) = match prf {
                    Prf::Sha1 => (20, PBKDF2_SHA1),
                    Prf::Sha256 => (32, PBKDF2_SHA256),
                    Prf::Sha512 => (64, PBKDF2_SHA512),
                };
                (hash.len().div_ceil(length) as u64 * each * u64::from(iterations.get()), 0)
            }
            Self::Scrypt { params: ScryptParams { log_n, r, p }, .. } => {
                let block = u64::from(*r) << 7;
                let all = block.saturating_mul(1_u64.checked_shl((*log_n).into()).unwrap_or(u64::MAX));
                let passes = (all >> 10).saturating_mul(u64::from(*p));
                (passes.saturating_mul(SCRYPT_KIB), all.saturating_add(block.saturating_mul((*p).into())))
            }
        };
        Cost { milliseconds: nanoseconds / 1_000_000, bytes }
    }
}

/// Nanoseconds for a KiB and pass of argon2.
const ARGON2_KIB: u64 = 1_000;
/// Nanoseconds for one of bcrypt's 2^rounds.
const BCRYPT_ROUND: u64 = 60_000;
/// Nanoseconds for an iteration of PBKDF2 and block of output.
const PBKDF2_SHA1: u64 = 300;
const PBKDF2_SHA256: u64 = 300;
const PBKDF2_SHA512: u64 = 700;
/// Nanoseconds for a KiB of scrypt's memory, filled and mixed.
const SCRYPT_KIB: u64 = 4_000;

/// The bytes that bcrypt sees.
const BCRYPT_MAX: usize = 72;
const AES_KEY: usize = 32;

const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        // Some implementations of bcrypt leave random ones.
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = engine(&alphabet::URL_SAFE);
const BCRYPT: GeneralPurpose = engine(&alphabet::BCRYPT);
/// passlib's «adapted» base64 has `.` for `+`.
fn to_passlib(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('+', ".")
}

fn from_passlib(text: &str) -> Option<Vec<u8>> {
    decode(&text.replace('.', "+"))
}

/// base64 in either alphabet, with padding or without: exporters differ.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
        }
        _ => None,
    });
    bytes.collect()
}

/// Exactly `N` fields between `$`.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split('$').collect::<Vec<_>>().try_into().ok()
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The first bytes of AES-256-CTR's key stream, from zero.
fn key_stream(key: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, HashError> {
    let key = UnboundCipherKey::new(&AES_256, key).and_then(EncryptingKey::ctr).map_err(fail)?;
    let mut stream = Zeroizing::new(vec![0; length]);
    key.less_safe_encrypt(&mut stream, EncryptionContext::Iv128([0; 16].into())).map_err(fail)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::account::CandidatePassword;

    proptest! {
        #[test]
        fn any_text_is_a_hash_or_not(
            start in "|bcrypt[$]|bcrypt_sha256[$]|[$]2b[$]|(argon2)?[$]argon2id[$]|pbkdf2_sha256[$]|[$]pbkdf2[$]|[$]?(firebase-)?scrypt[$]",
            rest in "(v=19[$]m=[0-9]{1,6},t=[0-9]{1,11},p=1[$]|ln=[0-9]{1,2},r=[0-9]{1,11},p=[0-9]{1,11}[$]|[0-9]{1,11}[$])?[$a-zA-Z0-9+/=.,:é]{0,80}",
        ) {
            let text = format!("{start}{rest}");
            if let Ok(hash) = ImportedHash::parse(&text) {
                let cost = hash.cost();
                prop_assert!(cost.is_high() || !cost.is_hopeless());
                let stored = hash.into_stored();
                prop_assert_eq!(stored.as_phc(), text.strip_prefix("bcrypt$").unwrap_or(&text));
            }
        }
    }

    /// Hashes that other implementations made (local/tests/import/README.md).
    const HASHES: &str = include_str!("../../../local/tests/import/hashes.json");

    fn password(text: &str) -> Password {
        CandidatePassword::new(text.to_owned()).to_compare().expect("comparable")
    }

    fn matches(stored: &PasswordHash, typed: &str) -> bool {
        let scheme = Scheme::parse(stored.as_phc()).expect("stored hashes can be read");
        scheme.matches(&password(typed), &mut Vec::new()).expect("a verdict")
    }

    /// Checks that a hash is of a password, and of nothing like it.
    #[track_caller]
    fn assert_is_of(hash: &ImportedHash, typed: &str, oracle: &Value) {
        assert!(matches(&hash.0, typed), "{oracle}");
        let last = typed.char_indices().last().expect("a character").0;
        assert!(!matches(&hash.0, &typed[..last]), "{oracle}");
    }

    #[test]
    fn hashes_of_other_implementations_are_of_their_passwords_and_no_others() {
        let hashes: Value = serde_json::from_str(HASHES).expect("JSON");
        let text = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();
        for one in hashes["encoded"].as_array().expect("hashes") {
            let hash = ImportedHash::parse(&text(one, "hash")).unwrap_or_else(|error| panic!("{error}: {one}"));
            let typed = text(one, "password");
            assert_eq!(hash.cost().is_high(), one["cost"] == "memory", "{one} {:?}", hash.cost());
            if one["truncated"] == true {
                // Nothing but the first 72 bytes counts, which are 24 of these syllables.
                assert!(matches(&hash.0, &typed) && matches(&hash.0, &format!("{}!", &typed[..72])), "{one}");
                assert_is_of(&hash, &typed[..72], one);
            } else {
                assert_is_of(&hash, &typed, one);
            }
        }
        let parameters = &hashes["firebase"]["parameters"];
        let parameters = FirebaseParameters::parse(&format!(
            "hash_config {{\n  algorithm: SCRYPT,\n  base64_signer_key: {},\n  base64_salt_separator: {},\n  rounds: 8,\n  \
             mem_cost: 14,\n}}\n",
            text(parameters, "signer_key"),
            text(parameters, "salt_separator"),
        ));
        let parameters = parameters.expect("parameters");
        for one in hashes["firebase"]["hashes"].as_array().expect("hashes") {
            let hash = ImportedHash::firebase(&parameters, &text(one, "salt"), &text(one, "hash")).expect("a hash");
            assert_is_of(&hash, &text(one, "password"), one);
        }
        for one in hashes["keycloak"].as_array().expect("hashes") {
            let part = |name: &str| serde_json::from_str::<Value>(&text(one, name)).expect("JSON");
            let (secret, data) = (part("secretData"), part("credentialData"));
            let (salt, value) = (text(&secret, "salt"), text(&secret, "value"));
            let algorithm = text(&data, "algorithm");
            let hash = if algorithm == "argon2" {
                ImportedHash::argon2("id", [7168, 5, 1], &salt, &value)
            } else {
                let iterations = data["hashIterations"].as_u64().and_then(|number| u32::try_from(number).ok());
                ImportedHash::pbkdf2(&algorithm, iterations.expect("a number"), &salt, &value)
            };
            assert_is_of(&hash.expect("a hash"), &text(one, "password"), one);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name() {
        let b64 = "FkUxoBYJjXS.y9M0QTp3q.oDhVKtkdm9TNEMWY5Kfs59OY3AstGbS";
        for (text, reason) in [
            ("$wp$2y$10$7/vp9fES7.gNoNgEog/vMeNIvWdR4ZuEkwDqMOqVGxRbRHptlyQVy", UnusableHash::WordPress),
            ("$P$BrzyTcqZ0KnfK1Vk3aPpHR0t5BQ8sS.", UnusableHash::Phpass),
            ("$H$9rzyTcqZ0KnfK1Vk3aPpHR0t5BQ8sS.", UnusableHash::Phpass),
            ("$S$DeZyTcqZ0KnfK1Vk3aPpHR0t5BQ8sS.", UnusableHash::Phpass),
            ("md5$salt$f2b31b3a7a7c41093321d0c98c37f5ad", UnusableHash::Crypt),
            ("sha1$salt$f2b31b3a7a7c41093321d0c98c37f5ad", UnusableHash::Crypt),
            ("$6$salt$hash", UnusableHash::Crypt),
            ("", UnusableHash::Unknown),
            ("$", UnusableHash::Unknown),
            ("plain text", UnusableHash::Unknown),
            ("5f4dcc3b5aa765d61d8327deb882cf99", UnusableHash::Unknown),
            (&format!("$2b$03${b64}"), UnusableHash::Unknown),
            (&format!("$2b$32${b64}"), UnusableHash::Unknown),
            (&format!("$2x$05${b64}"), UnusableHash::Unknown),
            (&format!("$2b$05${}", &b64[1..]), UnusableHash::Unknown),
            (&format!("$2b$05${b64}a"), UnusableHash::Unknown),
            (&format!("$2b$+5${b64}"), UnusableHash::Unknown),
            ("$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHQ", UnusableHash::Unknown),
            ("$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", UnusableHash::Unknown),
            ("pbkdf2_sha256$0$salt$9B+JqbsqjuYo51dfQBhTwnmc4pLfwGn2sNIsn7iungs=", UnusableHash::Unknown),
            ("pbkdf2_sha256$1000$salt$", UnusableHash::Unknown),
            ("pbkdf2_sha256$1000$salt$not base64 at all", UnusableHash::Unknown),
            ("scrypt$16383$salt$8$5$pEQeXmTEbmzU9ZArh4BF1EGpbBSWRuP59JtTAhDobv8=", UnusableHash::Unknown),
            ("scrypt$16384$salt$0$5$pEQeXmTEbmzU9ZArh4BF1EGpbBSWRuP59JtTAhDobv8=", UnusableHash::Unknown),
            ("$scrypt$ln=64,r=8,p=1$c2FsdA$pEQeXmTEbmzU9ZArh4BF1EGpbBSWRuP59JtTAhDobv8", UnusableHash::Unknown),
            ("name:value", UnusableHash::Unknown),
        ] {
            assert_eq!(ImportedHash::parse(text).expect_err(text), reason, "{text}");
        }
        let parameters = FirebaseParameters::new("AAAA", "Bw==", 8, 14).expect("parameters");
        // A hash is as long as the signer key.
        assert!(ImportedHash::firebase(&parameters, "c2FsdA==", "AAAAAA==").is_err());
        assert!(FirebaseParameters::new("", "Bw==", 8, 14).is_none());
        assert!(FirebaseParameters::parse("hash_config { rounds: 8, mem_cost: 14 }").is_none());
        assert!(FirebaseParameters::new("AAAA", "Bw==", 8, 99).is_none());
    }

    #[test]
    fn what_costs_more_than_a_second_or_64_mib_is_told() {
        let is_high = |text: &str| ImportedHash::parse(text).expect(text).cost().is_high();
        let bcrypt = |rounds| format!("$2b${rounds}$FkUxoBYJjXS.y9M0QTp3q.oDhVKtkdm9TNEMWY5Kfs59OY3AstGbS");
        assert_eq!(
            ["04", "12", "14", "15", "31"].map(|rounds| is_high(&bcrypt(rounds))),
            [false, false, false, true, true]
        );
        let is_hopeless = |text: &str| ImportedHash::parse(text).expect(text).cost().is_hopeless();
        assert_eq!(["15", "16", "17", "31"].map(|rounds| is_hopeless(&bcrypt(rounds))), [false, false, true, true]);
        let hash = "pEQeXmTEbmzU9ZArh4BF1EGpbBSWRuP59JtTAhDobv8";
        let pbkdf2 = |iterations| format!("pbkdf2_sha256${iterations}$salt${hash}=");
        assert_eq!([1_000_000, 10_000_000, u32::MAX].map(|count| is_high(&pbkdf2(count))), [false, true, true]);
        let scrypt = |n: u32, r: u32| format!("scrypt${n}$salt${r}$1${hash}=");
        assert_eq!(
            [is_high(&scrypt(1 << 15, 8)), is_high(&scrypt(1 << 16, 8)), is_high(&scrypt(1 << 30, 8))],
            [false, true, true]
        );
        let argon2 =
            |memory: u32, passes: u32| format!("argon2$argon2id$v=19$m={memory},t={passes},p=1$c29tZXNhbHQ${hash}");
        assert_eq!(
            [is_high(&argon2(65536, 3)), is_high(&argon2(65537, 1)), is_high(&argon2(65536, 100))],
            [false, true, true]
        );
    }

    #[test]
    fn a_hash_that_saw_only_the_beginning_of_a_password_is_kept() {
        let outdated = |text: &str, typed: &str| {
            Scheme::parse(text).expect("a hash").is_outdated(&password(typed)).expect("an answer")
        };
        let bcrypt = "$2b$05$FkUxoBYJjXS.y9M0QTp3q.oDhVKtkdm9TNEMWY5Kfs59OY3AstGbS";
        assert!(outdated(bcrypt, &"x".repeat(72)) && !outdated(bcrypt, &"x".repeat(73)));
        assert!(outdated(&format!("bcrypt_sha256${bcrypt}"), &"x".repeat(73)));
    }

    #[test]
    fn an_argon2_of_our_own_parameters_is_ours_only_without_djangos_prefix() {
        let ours = super::super::nobodys_hash().expect("a hash");
        let outdated =
            |text: &str| Scheme::parse(text).expect("a hash").is_outdated(&password("any")).expect("an answer");
        assert!(!outdated(ours.as_phc()));
        assert!(outdated(&format!("argon2{}", ours.as_phc())));
        assert_ne!(ours, super::super::nobodys_hash().expect("a hash"));
        assert!(!matches(&ours, "any"));
    }

    /// `cargo test --release -p shared costs -- --ignored --nocapture`: where the constants of [`Scheme::cost`] come
    /// from.
    #[test]
    #[ignore = "measures"]
    fn costs() {
        let hash = "pEQeXmTEbmzU9ZArh4BF1EGpbBSWRuP59JtTAhDobv8";
        for text in [
            "$2b$12$FkUxoBYJjXS.y9M0QTp3q.oDhVKtkdm9TNEMWY5Kfs59OY3AstGbS",
            &format!("pbkdf2_sha256$1000000$salt${hash}"),
            &format!("pbkdf2_sha1$1000000$salt${}", &hash[..26]),
            &format!("$pbkdf2-sha512$1000000$c2FsdA${hash}{hash}"),
            &format!("$scrypt$ln=15,r=8,p=1$c2FsdA${hash}"),
            &format!("argon2$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ${hash}"),
        ] {
            let scheme = Scheme::parse(text).expect("a hash");
            #[expect(clippy::disallowed_methods, reason = "a measurement, no behaviour")]
            let start = std::time::Instant::now();
            scheme.matches(&password("any"), &mut Vec::new()).expect("a verdict");
            println!("{:?} {:?} {text}", start.elapsed(), scheme.cost());
        }
    }
}
