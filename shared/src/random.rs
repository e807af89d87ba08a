//! The only source of randomness: the operating system's generator, through AWS-LC.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The generator itself, for what wants to be handed one.
#[expect(clippy::disallowed_methods, reason = "this is the one door for randomness")]
pub(crate) fn source() -> SystemRandom {
    SystemRandom::new()
}

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no randomness to give; nothing safe can be done then.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    source().fill(&mut bytes).expect("the operating system's random generator works");
    bytes
}

/// A number below `bound`, each equally likely.
pub(crate) fn below(bound: u32) -> u32 {
    // Refuses the incomplete last run of `bound`, so that no number is likelier than another.
    let limit = u32::MAX - u32::MAX % bound;
    loop {
        let number = u32::from_be_bytes(bytes());
        if number < limit {
            return number % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_repeat() {
        assert_ne!(bytes::<16>(), bytes::<16>());
    }

    #[test]
    fn stays_below_the_bound_and_reaches_each_number() {
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
