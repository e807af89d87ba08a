//! Hashing and comparing passwords: argon2id (RFC 9106) with OWASP's parameters, as PHC strings.
//!
//! In a Lambda the work is done in place with one buffer that is kept and wiped: a thread of its own would fault
//! 4,865 fresh pages for each password, and take twice the time. The local stack serves many people at once and must
//! not block its runtime, so there a thread does it.
//!
//! Hashes that came with an import are compared in the way of their source ([`ImportedHash`]), and replaced by ours at
//! the next sign-in.

mod scheme;

pub use scheme::{Cost, FirebaseParameters, ImportedHash, UnusableHash};

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use thiserror::Error;
use zeroize::Zeroize;

use crate::account::{Password, PasswordHash};
use crate::concurrency::Concurrency;
use crate::random;
use scheme::Scheme;

/// Memory in KiB.
const MEMORY: u32 = 19_456;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes.
const LANES: u32 = 1;
const OUTPUT: usize = 32;

/// A password could not be hashed: a stored PHC string that cannot be read, or no memory.
#[derive(Debug, Error)]
#[error("hashing a password failed: {0}")]
pub struct HashError(String);

/// What a comparison brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another password.
    Wrong,
    /// The password.
    Right {
        /// It was hashed in another way than new passwords are, and should be hashed again.
        outdated: bool,
    },
}

/// Hashes and compares passwords.
#[derive(Clone)]
pub struct PasswordHasher {
    concurrency: Concurrency,
    memory: Arc<Mutex<Vec<Block>>>,
}

impl PasswordHasher {
    /// A hasher for a process that answers so many requests at a time. Its buffer is made at the first use.
    pub fn new(concurrency: Concurrency) -> Self {
        Self { concurrency, memory: Arc::default() }
    }

    /// Hashes a new password under a fresh salt.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.run(move |memory| {
            let salt = random::bytes::<16>();
            let params = current_params()?;
            let output = argon2id(&params, &password, &salt, memory)?;
            to_stored(&params, &salt, &output)
        })
        .await
    }

    /// Compares a password with a stored one. Without a stored one it does the same work, and the answer is
    /// [`Verdict::Wrong`]: nobody learns from the time whether a user exists. The password comes back, in case it has
    /// to be hashed again.
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
    ) -> Result<(Verdict, Password), HashError> {
        self.run(move |memory| {
            let Some(stored) = stored else {
                argon2id(&current_params()?, &password, &[0; 16], memory)?;
                return Ok((Verdict::Wrong, password));
            };
            let scheme = Scheme::parse(stored.as_phc()).ok_or_else(|| fail("a stored password cannot be read"))?;
            if !scheme.matches(&password, memory)? {
                return Ok((Verdict::Wrong, password));
            }
            Ok((Verdict::Right { outdated: scheme.is_outdated(&password)? }, password))
        })
        .await
    }

    /// Runs `work` where this hasher works, with a buffer that is wiped afterwards.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let memory = Arc::clone(&self.memory);
        let locked = move || {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = work(&mut memory);
            memory.iter_mut().for_each(Zeroize::zeroize);
            // What an imported hash took beyond ours is not kept.
            memory.truncate(MEMORY as usize);
            memory.shrink_to_fit();
            outcome
        };
        match self.concurrency {
            Concurrency::One => locked(),
            Concurrency::Many => tokio::task::spawn_blocking(locked).await.map_err(fail)?,
        }
    }
}

impl std::fmt::Debug for PasswordHasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PasswordHasher").field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}

fn current_params() -> Result<Params, HashError> {
    Params::new(MEMORY, PASSES, LANES, Some(OUTPUT)).map_err(fail)
}

fn argon2id(
    params: &Params,
    password: &Password,
    salt: &[u8],
    memory: &mut Vec<Block>,
) -> Result<[u8; OUTPUT], HashError> {
    let mut output = [0; OUTPUT];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2_into(&argon2, password.as_bytes(), salt, &mut output, memory)?;
    Ok(output)
}

fn argon2_into(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<(), HashError> {
    let blocks = argon2.params().block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    argon2.hash_password_into_with_memory(password, salt, output, &mut memory[..blocks]).map_err(fail)
}

fn to_stored(params: &Params, salt: &[u8], output: &[u8]) -> Result<PasswordHash, HashError> {
    let phc = Phc {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(fail)?,
        salt: Some(Salt::new(salt).map_err(fail)?),
        hash: Some(Output::new(output).map_err(fail)?),
    };
    Ok(PasswordHash::from_phc(phc.to_string()))
}

/// The hash of a password that nobody knows, for an account without one. To compare with it takes as long as with any
/// of ours.
pub fn nobodys_hash() -> Result<PasswordHash, HashError> {
    to_stored(&current_params()?, &random::bytes::<16>(), &random::bytes::<OUTPUT>())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`, which passes by value")]
fn fail(error: impl ToString) -> HashError {
    HashError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::CandidatePassword;

    fn password(text: &str) -> Password {
        CandidatePassword::new(text.to_owned()).to_compare().expect("comparable")
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn hashes_verify_and_carry_the_parameters() {
        block_on(async {
            for concurrency in [Concurrency::One, Concurrency::Many] {
                let hasher = PasswordHasher::new(concurrency);
                let hash = hasher.hash(password("correct horse")).await.expect("a hash");
                assert!(hash.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_phc());
                let right = hasher.verify(password("correct horse"), Some(hash.clone())).await;
                assert_eq!(right.expect("a verdict").0, Verdict::Right { outdated: false });
                let wrong = hasher.verify(password("correct house"), Some(hash)).await;
                assert_eq!(wrong.expect("a verdict").0, Verdict::Wrong);
                let nobody = hasher.verify(password("correct horse"), None).await;
                assert_eq!(nobody.expect("a verdict").0, Verdict::Wrong);
            }
        });
    }

    #[test]
    fn a_hash_of_debians_argon2_verifies_and_is_outdated() {
        // echo -n "correct horse" | argon2 somesaltsomesalt -id -t 3 -k 4096 -p 1 -l 32 -e
        let phc = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$acbZCckOfABB/s2U/eE8vrM+V9HWTIj4syKxzIwhax8";
        block_on(async {
            let hasher = PasswordHasher::new(Concurrency::One);
            let stored = PasswordHash::from_phc(phc.to_owned());
            let (verdict, _) = hasher.verify(password("correct horse"), Some(stored)).await.expect("a verdict");
            assert_eq!(verdict, Verdict::Right { outdated: true });
        });
    }

    #[test]
    fn the_memory_is_wiped() {
        block_on(async {
            let hasher = PasswordHasher::new(Concurrency::One);
            hasher.hash(password("correct horse")).await.expect("a hash");
            let memory = hasher.memory.lock().expect("not poisoned");
            assert_eq!(memory.len(), 19_456);
            assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        });
    }
}
